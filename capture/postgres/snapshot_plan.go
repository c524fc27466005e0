package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/change"
)

// plan is how a table is read by its key, as the table was at one look at the catalog.
type plan struct {
	info      *relationInfo
	message   relationMessage
	table     *change.Table
	places    []int
	types     types
	relation  *relation // of the stream's goroutine
	signature string
	keys      []planKey
	only      string // "ONLY " where descendants are not part of the table
}

// planKey is a column of the key.
type planKey struct {
	place   int    // in the tuple
	name    string // quoted
	typ     string // for a cast
	collate string // " COLLATE x", or ""
	schema  string // quoted, of the operators by which a btree index orders the type
}

// errNoChunks: the table has no key by which it could be read in parts.
var errNoChunks = errors.New("the table has no unique key without NULLs")

// errGone: there is no such table any more, or it is not captured.
var errGone = errors.New("the table is gone")

// uniqueKey tells whether the key of a table's rows is that of a unique index without
// NULLs, so that the table can be read in parts.
func uniqueKey(info *relationInfo, t *change.Table) bool {
	if len(t.Key) == 0 {
		return false
	}
	var names []string
	for _, k := range t.Key {
		names = append(names, t.Columns[k].Name)
		if c := info.column(t.Columns[k].Name); c == nil || !c.notNull {
			return false
		}
	}
	slices.Sort(names)
	for _, index := range [][]string{info.primary, info.index} {
		index = slices.Clone(index)
		slices.Sort(index)
		if slices.Equal(names, index) {
			return true
		}
	}
	return false
}

// signatureQuery gives a text that changes with all that a plan is made of. Its arguments
// are an OID three times and a table's quoted name.
const signatureQuery = `SELECT pg_catalog.concat_ws(' ', c.oid, n.nspname, c.relname, c.relreplident,
 pg_catalog.hashtextextended((SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated), ',' ORDER BY a.attnum)
  FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), 0),
 (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', i.indexrelid, i.indkey, i.indisprimary, i.indisreplident, i.indimmediate), ',' ORDER BY i.indexrelid)
  FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND (i.indisprimary OR i.indisreplident)))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = `

const collationsQuery = `
SELECT a.attname, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(co.collname) FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation JOIN pg_catalog.pg_namespace n ON n.oid = co.collnamespace
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped`

// makePlan looks at a table in a transaction that holds it as it is. Its errors errGone
// and errNoChunks are no failures.
func (s *Source) makePlan(ctx context.Context, srv *server, oid uint32) (*plan, error) {
	conn, err := s.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	name, err := query(ctx, conn, "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1 AND c.relkind IN ('r', 'p')", strconv.FormatUint(uint64(oid), 10))
	if err != nil {
		return nil, err
	}
	if len(name) == 0 || !s.cfg.captures(name[0][0], name[0][1]) {
		return nil, errGone
	}
	quoted := quoteIdentifier(name[0][0]) + "." + quoteIdentifier(name[0][1])
	if err := exec(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE "+quoted+" IN ACCESS SHARE MODE"); err != nil {
		return nil, err
	}
	p := &plan{types: types{}}
	signature, err := query(ctx, conn, signatureQuery+strconv.FormatUint(uint64(oid), 10))
	if err != nil {
		return nil, err
	}
	if len(signature) == 0 {
		return nil, errGone
	}
	p.signature = signature[0][0]
	found, err := readRelations(ctx, conn, s.cfg.Publication, p.types, func(r *relationInfo) bool { return r.oid == oid })
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || found[0].sql() != quoted {
		return nil, errGone
	}
	p.info = found[0]
	if !p.info.partitioned {
		p.only = "ONLY "
	}
	p.message = p.info.message(srv.storedGenerated)
	p.table, p.places = s.cfg.table(s.name, srv.database, &p.message, p.info, p.types)
	if !uniqueKey(p.info, p.table) {
		return nil, errNoChunks
	}
	return p, p.findKeys(ctx, conn)
}

// operatorsQuery finds the schemas of the operators > of types whose own are not those of
// pg_catalog, such as citext. A session's search_path must not decide how keys compare.
const operatorsQuery = `
SELECT oc.opcintype, n.nspname FROM pg_catalog.pg_opclass oc JOIN pg_catalog.pg_am am ON am.oid = oc.opcmethod AND am.amname = 'btree'
JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype AND ao.amopstrategy = 5
JOIN pg_catalog.pg_operator o ON o.oid = ao.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
WHERE oc.opcdefault AND oc.opcintype = ANY ($1::oid[])`

// findKeys fills p.keys.
func (p *plan) findKeys(ctx context.Context, conn *pgconn.PgConn) error {
	rows, err := query(ctx, conn, collationsQuery, strconv.FormatUint(uint64(p.info.oid), 10))
	if err != nil {
		return err
	}
	collations := map[string]string{}
	for _, row := range rows {
		collations[row[0]] = " COLLATE " + row[1]
	}
	var bases []uint32
	for _, k := range p.table.Key {
		name := p.table.Columns[k].Name
		column := p.info.column(name)
		p.keys = append(p.keys, planKey{
			place: slices.Index(p.places, k), name: quoteIdentifier(name), typ: column.words, collate: collations[name], schema: "pg_catalog",
		})
		base := column.typ
		if t := p.types[column.typ]; t != nil {
			t, _ = t.resolved(-1)
			base = t.oid
		}
		bases = append(bases, base)
	}
	if rows, err = query(ctx, conn, operatorsQuery, oidArray(bases)); err != nil {
		return err
	}
	for _, row := range rows {
		for i, base := range bases {
			if parseOID(row[0]) == base {
				p.keys[i].schema = quoteIdentifier(row[1])
			}
		}
	}
	return nil
}

// describe names the key's columns and types: progress is of no use with others.
func (p *plan) describe() string {
	var b strings.Builder
	for _, k := range p.keys {
		b.WriteString(k.name + " " + k.typ + k.collate + ",")
	}
	return b.String()
}

// keyColumns is the key as SQL has it: a, b.
func (p *plan) keyColumns() string {
	names := make([]string, len(p.keys))
	for i, k := range p.keys {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}

// value is a value of the key's column i as SQL has it.
func (p *plan) value(i int, text string) string {
	return quoteLiteral(text) + "::" + p.keys[i].typ + p.keys[i].collate
}

// condition compares column i of the key.
func (p *plan) condition(i int, op, text string) string {
	return fmt.Sprintf("%s OPERATOR(%s.%s) %s", p.keys[i].name, p.keys[i].schema, op, p.value(i, text))
}

// equals is the condition that a row has a key.
func (p *plan) equals(key []string) string {
	parts := make([]string, len(key))
	for i, text := range key {
		parts[i] = p.condition(i, "=", text)
	}
	return "(" + strings.Join(parts, " AND ") + ")"
}

// compare is the condition that a row's key is above (op >) or not above (op <=) another.
func (p *plan) compare(op string, key []string) string {
	same := true
	values := make([]string, len(key))
	for i, text := range key {
		values[i] = p.value(i, text)
		same = same && p.keys[i].schema == p.keys[0].schema
	}
	if len(key) == 1 {
		return p.condition(0, op, key[0])
	}
	if same { // what an index can be searched for
		return fmt.Sprintf("ROW(%s) OPERATOR(%s.%s) ROW(%s)", p.keyColumns(), p.keys[0].schema, op, strings.Join(values, ", "))
	}
	strict := op[:1]
	last := len(key) - 1
	out := p.condition(last, op, key[last])
	for i := last - 1; i >= 0; i-- {
		out = fmt.Sprintf("(%s OR %s AND %s)", p.condition(i, strict, key[i]), p.condition(i, "=", key[i]), out)
	}
	return p.condition(0, strict+"=", key[0]) + " AND " + out
}

// copyStatement reads the rows of a chunk, in the order of their key.
func (p *plan) copyStatement(c *chunk, where string) string {
	var b strings.Builder
	b.WriteString("COPY (" + selectRows(p.info, &p.message) + " WHERE true")
	if c.keys != nil {
		conditions := make([]string, len(c.keys))
		for i, key := range c.keys {
			conditions[i] = p.equals(key)
		}
		b.WriteString(" AND (" + strings.Join(conditions, " OR ") + ")")
	} else {
		if c.low != nil {
			b.WriteString(" AND " + p.compare(">", c.low))
		}
		if c.high != nil {
			b.WriteString(" AND " + p.compare("<=", c.high))
		}
	}
	if where != "" {
		b.WriteString(" AND (" + where + "\n)") // a comment at its end must not hide the bracket
	}
	b.WriteString(" ORDER BY " + p.keyColumns())
	if c.limit > 0 {
		fmt.Fprintf(&b, " LIMIT %d", c.limit)
	}
	b.WriteString(") TO STDOUT")
	return b.String()
}

// lockStatement begins a chunk's transaction. The lock comes before the snapshot, so that
// no TRUNCATE and no ALTER TABLE, which do not keep to snapshots, falls between the two.
func (p *plan) lockStatement() string {
	return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE " + p.only + p.info.sql() + " IN ACCESS SHARE MODE; " +
		"SELECT pg_catalog.pg_current_snapshot(), " + walInserted + ", pg_catalog.current_setting('wal_block_size'), (" + signatureQuery + quoteLiteral(p.info.sql()) + "::pg_catalog.regclass); "
}

// selectRows is the beginning of a statement that reads a table's rows as the stream has them.
func selectRows(info *relationInfo, m *relationMessage) string {
	columns := make([]string, len(m.columns))
	for i, c := range m.columns {
		columns[i] = quoteIdentifier(c.name)
	}
	only := "ONLY "
	if info.partitioned {
		only = ""
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + only + info.sql()
}
