package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// must runs a statement that cannot fail.
func (a *alterations) must(t *testing.T, s *alterSession, sql string) {
	t.Helper()
	a.note(s, sql, true)
	if _, err := s.conn.Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// try runs a statement that Postgres may refuse, and tells whether it did not.
func (a *alterations) try(s *alterSession, sql string) bool {
	_, err := s.conn.Exec(context.Background(), sql).ReadAll()
	a.note(s, sql, err == nil)
	return err == nil
}

// note keeps what was done for the account of a failure.
func (a *alterations) note(s *alterSession, sql string, ok bool) {
	line := fmt.Sprintf("session %d: %.200s", slices.Index(a.sessions, s), sql)
	if !ok {
		line += " (refused)"
	}
	a.trace = append(a.trace, line)
}

// rows runs a query in a session; false: it was refused.
func (a *alterations) rows(s *alterSession, sql string) (names []string, rows [][]*string, ok bool) {
	result := s.conn.ExecParams(context.Background(), sql, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, nil, false
	}
	for _, f := range result.FieldDescriptions {
		names = append(names, f.Name)
	}
	for _, r := range result.Rows {
		var row []*string
		for _, v := range r {
			if v == nil {
				row = append(row, nil)
				continue
			}
			text := string(v)
			row = append(row, &text)
		}
		rows = append(rows, row)
	}
	return names, rows, true
}

// step does one thing in one of the sessions: a statement, or it begins or ends a transaction.
func (a *alterations) step(t *testing.T) {
	s := a.sessions[a.rnd.IntN(len(a.sessions))]
	switch n := a.rnd.IntN(100); {
	case n < 12 && !s.open:
		a.must(t, s, "BEGIN")
		s.open = true
		return
	case n < 20 && s.open:
		a.end(t, s, a.rnd.IntN(6) > 0)
		return
	}
	if !s.open && a.rnd.IntN(12) == 0 { // what no transaction may have
		a.analyzed = true
		a.count(a.try(s, fmt.Sprintf(a.pick("VACUUM FULL %s", "VACUUM %s", "ANALYZE %s", "CREATE INDEX CONCURRENTLY ON %s ((1))"), a.table(s))))
		return
	}
	alone := !s.open
	if alone {
		a.must(t, s, "BEGIN")
		s.open = true
	}
	a.must(t, s, "SAVEPOINT here")
	before := len(s.pending)
	ok := false
	if a.rnd.IntN(100) < 35 {
		ok = a.alter(s)
		a.count(ok)
	} else {
		ok = a.write(s)
	}
	if ok && a.rnd.IntN(12) > 0 {
		a.must(t, s, "RELEASE here")
	} else { // a subtransaction that is rolled back, refused or not
		s.pending = s.pending[:before]
		a.must(t, s, "ROLLBACK TO here")
	}
	if alone {
		a.end(t, s, a.rnd.IntN(8) > 0)
	}
}

func (a *alterations) count(ok bool) {
	if ok {
		a.counts.Alterations++
	} else {
		a.counts.Refused++
	}
}

// end commits a transaction, whose rows are then to be expected, or rolls it back.
func (a *alterations) end(t *testing.T, s *alterSession, commit bool) {
	t.Helper()
	if !s.open {
		return
	}
	s.open = false
	tag := ""
	if commit {
		if results, err := s.conn.Exec(t.Context(), "COMMIT").ReadAll(); err == nil && len(results) == 1 {
			tag = results[0].CommandTag.String()
		}
	}
	a.note(s, "COMMIT", tag == "COMMIT")
	if tag == "COMMIT" {
		for _, e := range s.pending {
			a.want[e.topic] = append(a.want[e.topic], e.expected)
			a.counts.Rows++
		}
	} else {
		a.must(t, s, "ROLLBACK")
		a.counts.RolledBack++
	}
	s.pending = nil
}

// alter alters a table or a type; false: it was refused.
func (a *alterations) alter(s *alterSession) bool {
	table := a.table(s)
	if a.rnd.IntN(5) == 0 {
		return a.alterType(s)
	}
	st := a.describe(s, table)
	if st == nil {
		return false
	}
	column := "none"
	var ints []string
	for _, c := range st.columns {
		if (c.typ == "integer" || c.typ == "bigint") && c.generated == "" {
			ints = append(ints, c.name)
		}
	}
	if len(ints) > 0 && a.rnd.IntN(3) == 0 {
		column = a.pick(ints...)
	} else if len(st.columns) > 0 {
		column = st.columns[a.rnd.IntN(len(st.columns))].name
	}
	number := "1"
	if len(ints) > 0 {
		number = a.pick(ints...)
	}
	alter := "ALTER TABLE " + table + " "
	typ := a.pick("int", "bigint", "text", "varchar(60)", "numeric(14,3)", "boolean", "date", "timestamptz", "int[]", "mood", "mood[]", "pair", "amount")
	switch a.rnd.IntN(22) {
	case 0, 1:
		return a.try(s, alter+"ADD "+a.name("c")+" "+typ)
	case 2:
		return a.try(s, alter+"ADD "+a.name("c")+" "+a.pick("int NOT NULL DEFAULT 7", "text DEFAULT 'x' || random()", "numeric(8,2) DEFAULT 1.5", "timestamptz NOT NULL DEFAULT now()", "text NOT NULL DEFAULT 'd'"))
	case 3:
		return a.try(s, alter+"ADD "+a.name("g")+" bigint GENERATED ALWAYS AS ("+number+" * 2) "+a.pick("STORED", "STORED", "VIRTUAL"))
	case 4, 5:
		a.rekey = true
		return a.try(s, alter+"DROP "+column+" CASCADE")
	case 6:
		return a.try(s, alter+"RENAME "+column+" TO "+a.pick("id", "a", "b", "v", a.name("r")))
	case 7:
		return a.try(s, alter+"ALTER "+column+" TYPE text")
	case 8:
		return a.try(s, alter+"ALTER "+column+" TYPE "+a.pick("bigint", "varchar(50)", "varchar", "numeric(20,4)", "numeric"))
	case 9:
		return a.try(s, alter+"ALTER "+column+" TYPE "+a.pick("int USING 5", "int USING length("+column+"::text)", "int[] USING '{1,2}'", "mood USING 'ok'"))
	case 10:
		return a.try(s, alter+"ALTER "+column+a.pick(" SET DEFAULT NULL", " DROP DEFAULT", " SET NOT NULL", " DROP NOT NULL", " SET STORAGE EXTERNAL", " SET STATISTICS 10"))
	case 11:
		// The server describes a partitioned table anew when its partitions change, not when its name does.
		return !strings.HasPrefix(table, "p") && a.try(s, alter+"RENAME TO "+a.pick("t1", "t2", "t3", "skip_a", a.name("t")))
	case 12:
		other := a.table(s)
		return table[0] != 'p' && other[0] != 'p' && a.try(s, fmt.Sprintf("ALTER TABLE %s RENAME TO between; ALTER TABLE %s RENAME TO %[1]s; ALTER TABLE between RENAME TO %[2]s", table, other))
	case 13:
		return a.try(s, fmt.Sprintf("DROP TABLE %s; CREATE TABLE %[1]s (%s)", table, a.pick("id int PRIMARY KEY, v text", "v text, id bigint, a int, PRIMARY KEY (a, id)", "id int PRIMARY KEY, m mood, p pair", "a int, b int")))
	case 14:
		return a.try(s, fmt.Sprintf("CREATE TABLE %s (%s)", a.pick("t1", "t2", "t3", a.name("t")), a.pick("id int PRIMARY KEY, v text, ms mood[]", "id bigint, v text", "b int, a int, l int[], PRIMARY KEY (a, b)")))
	case 15:
		// A partition's old rows are what its own identity has, whatever its root's is.
		return !strings.HasPrefix(table, "p") && a.try(s, alter+"REPLICA IDENTITY "+a.pick("FULL", "FULL", "DEFAULT", "NOTHING"))
	case 16:
		index := a.name("i")
		return !strings.HasPrefix(table, "p") && a.try(s, fmt.Sprintf("CREATE UNIQUE INDEX %s ON %s (%s); ALTER TABLE %[2]s REPLICA IDENTITY USING INDEX %[1]s", index, table, number))
	case 17:
		ok := a.try(s, fmt.Sprintf("CLUSTER %s USING %[1]s_pkey", table))
		return ok
	case 18:
		a.rekey = true
		return a.try(s, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %[1]s_pkey%s", table, a.pick("", ", ADD PRIMARY KEY ("+number+")")))
	case 19:
		a.rekey = true
		return a.try(s, alter+"ADD PRIMARY KEY ("+a.pick(number, a.pick(append(ints, number)...)+", "+number)+")")
	case 20:
		// Postgres 14 goes on publishing the rows of a partition that was detached as its former root's.
		return a.new && a.try(s, a.pick("CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2)", "ALTER TABLE p DETACH PARTITION p_1", "ALTER TABLE p ATTACH PARTITION p_1 FOR VALUES IN (1)", "DROP TABLE p_2",
			"CREATE TABLE p_2 (region int NOT NULL, v text, id int NOT NULL); ALTER TABLE p ATTACH PARTITION p_2 FOR VALUES IN (2)"))
	default:
		return a.try(s, "DROP TABLE "+table)
	}
}

// alterType alters an enum or a composite type, or makes one anew.
func (a *alterations) alterType(s *alterSession) bool {
	_, rows, ok := a.rows(s, "SELECT attname FROM pg_attribute WHERE attrelid = 'pair'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum")
	attribute := "none"
	if ok && len(rows) > 0 {
		attribute = *rows[a.rnd.IntN(len(rows))][0]
	}
	switch a.rnd.IntN(7) {
	case 0, 1:
		return a.try(s, "ALTER TYPE mood ADD VALUE '"+a.name("m")+"'"+a.pick("", " BEFORE 'ok'"))
	case 2:
		a.relabelled = true
		return a.try(s, "ALTER TYPE mood RENAME VALUE '"+a.pick("sad", "m1")+"' TO '"+a.pick("sad", a.name("m"))+"'")
	case 3:
		return a.try(s, "ALTER TYPE pair ADD ATTRIBUTE "+a.name("x")+" "+a.pick("int", "text", "numeric"))
	case 4:
		return a.try(s, "ALTER TYPE pair DROP ATTRIBUTE "+attribute)
	case 5:
		return a.try(s, "ALTER TYPE pair RENAME ATTRIBUTE "+attribute+" TO "+a.name("y"))
	default:
		a.rekey = true // columns go with their type
		return a.try(s, a.pick("DROP TYPE mood CASCADE; CREATE TYPE mood AS ENUM ('sad', 'ok')", "DROP TYPE pair CASCADE; CREATE TYPE pair AS (a int, b text)", "ALTER TYPE mood RENAME TO other; ALTER TYPE other RENAME TO mood"))
	}
}
