package postgres_test

// table picks a table that a session sees.
func (a *alterations) table(s *alterSession) string {
	_, rows, ok := a.rows(s, "SELECT c.relname FROM pg_class c WHERE c.relnamespace = '"+a.schema+"'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'sentinel' ORDER BY 1")
	if !ok || len(rows) == 0 {
		return "none"
	}
	return *rows[a.rnd.IntN(len(rows))][0]
}

// tableState is a table as a session sees it.
type tableState struct {
	name     string
	identity string
	root     string // the table that its rows are published as
	columns  []columnState
	key      []string // what keys of its rows have
}

type columnState struct {
	name, typ, generated string
	notNull              bool
}

func (a *alterations) describe(s *alterSession, table string) *tableState {
	_, rows, ok := a.rows(s, "SELECT c.relname, c.relreplident, c.relispartition, (SELECT relname FROM pg_class WHERE oid = COALESCE((SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid AND c.relispartition), c.oid)) FROM pg_class c WHERE c.oid = '"+table+"'::regclass")
	if !ok {
		return nil
	}
	st := &tableState{name: table, identity: *rows[0][1], root: *rows[0][3]}
	if _, rows, ok = a.rows(s, "SELECT attname, format_type(atttypid, -1), attgenerated, attnotnull FROM pg_attribute WHERE attrelid = '"+table+"'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"); !ok {
		return nil
	}
	for _, r := range rows {
		st.columns = append(st.columns, columnState{*r[0], *r[1], *r[2], *r[3] == "t"})
	}
	index := func(which string) (names []string) {
		_, rows, ok := a.rows(s, "SELECT a.attname FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(n, o) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n WHERE i.indrelid = '"+table+"'::regclass AND "+which+" ORDER BY k.o")
		if ok {
			for _, r := range rows {
				names = append(names, *r[0])
			}
		}
		return names
	}
	primary, replica := index("i.indisprimary"), index("i.indisreplident")
	switch st.identity {
	case "d", "f":
		st.key = primary
	case "i":
		if st.key = replica; len(primary) > 0 && contains(replica, primary) {
			st.key = primary
		}
	}
	return st
}

func contains(all, some []string) bool {
	for _, s := range some {
		found := false
		for _, x := range all {
			found = found || x == s
		}
		if !found {
			return false
		}
	}
	return true
}

// published tells whether a column's values are in the stream.
func (a *alterations) published(c columnState) bool {
	return c.generated == "" || c.generated == "s" && a.new
}
