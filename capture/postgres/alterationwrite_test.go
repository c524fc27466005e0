package postgres_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/change"
)

// value makes a value of a type, as SQL.
func (a *alterations) value(typ string) string {
	n := a.rnd.IntN(100000)
	if a.rnd.IntN(8) == 0 {
		return "NULL"
	}
	switch typ {
	case "integer", "bigint", "smallint":
		return fmt.Sprint(n % 30000)
	case "numeric", "amount":
		return fmt.Sprintf("%d.%02d", n/100, n%100)
	case "text", "character varying":
		large, lines := 12, 150
		if a.streaming != "" {
			large, lines = 2, 600
		}
		if a.rnd.IntN(large) == 0 {
			return fmt.Sprintf("(SELECT string_agg(md5((%d + i)::text), '') FROM generate_series(1, %d) i)", n, lines)
		}
		return fmt.Sprintf("'%d %s'", n, a.pick("é", "x", `"`, `\`, "NULL", ""))
	case "boolean":
		return a.pick("true", "false")
	case "timestamp with time zone":
		return fmt.Sprintf("'2026-01-01 00:00:00.5+00'::timestamptz + %d * interval '1 s'", n)
	case "date":
		return fmt.Sprintf("'2026-01-01'::date + %d", n%10000)
	case "integer[]":
		return fmt.Sprintf("'{%d,NULL,%d}'", n, n+1)
	case "mood":
		return "(enum_range(NULL::mood))[1 + " + fmt.Sprint(n) + " % array_length(enum_range(NULL::mood), 1)]"
	case "mood[]":
		return "(enum_range(NULL::mood))[1:1 + " + fmt.Sprint(n%3) + "]"
	case "pair":
		return "pair"
	}
	return "NULL"
}

// pairValue makes a value of the composite type as it is now.
func (a *alterations) pairValue(s *alterSession) string {
	_, rows, ok := a.rows(s, "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'pair'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum")
	if !ok {
		return "NULL"
	}
	var parts []string
	for _, r := range rows {
		parts = append(parts, a.value(*r[0]))
	}
	return "ROW(" + strings.Join(parts, ", ") + ")::pair"
}

// write does an INSERT, UPDATE, DELETE or TRUNCATE and keeps what is to be expected of it.
func (a *alterations) write(s *alterSession) bool {
	st := a.describe(s, a.table(s))
	if st == nil {
		return false
	}
	values := func(st *tableState, some bool) (names, list []string) {
		for _, c := range st.columns {
			if c.generated != "" || some && a.rnd.IntN(3) > 0 {
				continue
			}
			v := a.value(c.typ)
			switch {
			case c.name == "region":
				v = fmt.Sprint(a.rnd.IntN(3))
			case v == "pair":
				v = a.pairValue(s)
			case v == "NULL" && c.notNull:
				v = "DEFAULT"
			}
			names, list = append(names, c.name), append(list, v)
		}
		return names, list
	}
	switch n := a.rnd.IntN(20); {
	case n < 10:
		names, list := values(st, false)
		if len(names) == 0 {
			return false
		}
		sql := fmt.Sprintf("INSERT INTO %s AS zz (%s) VALUES (%s)", st.name, strings.Join(names, ", "), strings.Join(list, ", "))
		return a.returning(s, st, sql, "c", nil)
	case n < 16:
		old, where := a.victim(s, st)
		names, list := values(st, true)
		if old == nil || len(names) == 0 {
			return false
		}
		for i := range names {
			names[i] += " = " + list[i]
		}
		return a.returning(s, st, fmt.Sprintf("UPDATE %s AS zz SET %s WHERE %s", st.name, strings.Join(names, ", "), where), "u", old)
	case n < 19:
		old, where := a.victim(s, st)
		if old == nil {
			return false
		}
		return a.returning(s, st, fmt.Sprintf("DELETE FROM %s AS zz WHERE %s", st.name, where), "d", old)
	default:
		if !a.try(s, "TRUNCATE "+st.name) {
			return false
		}
		if st.root == st.name { // one of a partition is nothing that its root shows
			a.expect(s, st, &expected{op: "t", statement: "TRUNCATE " + st.name})
		}
		return true
	}
}

// victim picks a row; nil: there is none.
func (a *alterations) victim(s *alterSession, st *tableState) (row *expected, where string) {
	names, rows, ok := a.rows(s, fmt.Sprintf("SELECT zz.*, row_to_json(zz), zz.ctid, zz.tableoid FROM %s zz ORDER BY random() LIMIT 1", st.name))
	if !ok || len(rows) == 0 {
		return nil, ""
	}
	n := len(names)
	last := rows[0]
	e := a.image(st, names[:n-3], last[:n-2])
	e.statement = *last[n-1]
	return e, fmt.Sprintf("zz.ctid = '%s' AND zz.tableoid = %s", *last[n-2], *last[n-1])
}

// image makes what is to be expected of a row whose last value is row_to_json of it.
func (a *alterations) image(st *tableState, names []string, row []*string) *expected {
	e := &expected{identity: st.identity}
	d := json.NewDecoder(strings.NewReader(*row[len(row)-1]))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		panic(err)
	}
	key := map[string]any{}
	for _, c := range st.columns { // in this order, which a partition's own may not be
		i := slices.Index(names, c.name)
		if i < 0 || !a.published(c) {
			continue
		}
		text := ""
		if row[i] != nil {
			text = *row[i]
		}
		e.names, e.values, e.texts = append(e.names, c.name), append(e.values, canonical(object[c.name])), append(e.texts, text)
		if contains(st.key, []string{c.name}) {
			key[c.name] = object[c.name]
		}
	}
	if len(key) > 0 {
		e.key = canonical(key)
	}
	return e
}

// returning runs a statement that writes one row.
func (a *alterations) returning(s *alterSession, st *tableState, sql, op string, old *expected) bool {
	names, rows, ok := a.rows(s, sql+" RETURNING zz.*, row_to_json(zz), zz.tableoid")
	a.note(s, sql, ok)
	if !ok {
		return false
	}
	if len(rows) == 0 {
		return true
	}
	n := len(names)
	root := st
	if st.root != st.name { // published as its root, by whose columns and identity
		if root = a.describe(s, st.root); root == nil {
			return false
		}
	}
	e := a.image(root, names[:n-2], rows[0][:n-1])
	e.op, e.statement = op, sql
	if op != "u" {
		a.expect(s, root, e)
		return true
	}
	switch {
	case old.statement != *rows[0][n-1]: // into another partition
		gone := *old
		gone.op, gone.statement = "d", sql
		a.expect(s, root, &gone)
		e.op = "c"
	case old.key != e.key && root.identity != "n":
		e.op = "moved"
	}
	a.expect(s, root, e)
	return true
}

func (a *alterations) expect(s *alterSession, st *tableState, e *expected) {
	if strings.HasPrefix(st.name, "skip_") {
		return
	}
	s.pending = append(s.pending, &pendingEvent{change.Topic("shop", a.schema, st.name), e})
}
