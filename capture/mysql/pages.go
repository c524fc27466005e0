package mysql

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/penstock-cdc/penstock/change"
)

// pages reads a table in the order of its primary key, each page in a statement of its own.
type pages struct {
	reader *snapshotReader
	view   *session
	d      *declaration
	form   [][]string // of the columns: see columnsQuery
	row    change.Row
	last   []string // key of the last row, as literals
	end    bool
}

// columnsQuery gives what must stay the same from page to page.
const columnsQuery = "SELECT column_name, column_type, coalesce(collation_name, ''), is_nullable FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"

// Pages begins to read a table's rows as they are now, in the form of the stream and in the order of its primary key. Next
// hands up to limit rows to f, each valid until f returns, and returns how many there were: fewer than limit at the end. It
// writes and locks nothing, and no transaction outlives a page.
func (s *Source) Pages(ctx context.Context, table string) (next func(ctx context.Context, limit int, f func(*change.Table, change.Row) error) (int, error), done func(), err error) {
	fail := func(err error) error { return fmt.Errorf("read table %s: %w", table, err) }
	view, err := s.address.connect(ctx)
	if err != nil {
		return nil, nil, fail(err)
	}
	pg, err := s.pages(view, table)
	if err != nil {
		view.close()
		return nil, nil, fail(err)
	}
	return func(ctx context.Context, limit int, f func(*change.Table, change.Row) error) (int, error) {
		n, err := pg.next(ctx, limit, f)
		if err != nil {
			err = fail(err)
		}
		return n, err
	}, view.close, nil
}

func (s *Source) pages(view *session, table string) (*pages, error) {
	facts, err := s.readFacts(view)
	if err != nil {
		return nil, err
	}
	declared, err := declarations(view, facts, s.selected)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(declared, func(d *declaration) bool { return d.qualifiedName() == table })
	if i < 0 {
		return nil, errors.New("the table is gone, or not captured")
	}
	d := declared[i]
	if len(d.key) == 0 {
		return nil, errors.New("it has no primary key by which it could be read in parts: give it one")
	}
	for _, k := range d.key {
		if kind, err := d.columns[k].kind(); err != nil || !ordered(kind) {
			return nil, fmt.Errorf("column %s of its primary key has a type (%s) by which tables are not read in parts in this version", d.columns[k].name, d.columns[k].text)
		}
	}
	t, place, err := s.tableOf(d)
	if err != nil {
		return nil, err
	}
	pg := &pages{reader: &snapshotReader{table: t}, view: view, d: d, row: make(change.Row, len(t.Columns))}
	for i := range d.columns {
		if place[i] >= 0 {
			pg.reader.fields = append(pg.reader.fields, &d.columns[i])
		}
	}
	pg.form, err = pg.columns()
	return pg, err
}

// ordered tells whether values of a kind compare with a literal as ORDER BY compares them: labels of an ENUM do not, and
// floats lose digits on the way.
func ordered(k change.Kind) bool {
	switch k {
	case change.Int, change.Uint, change.Decimal, change.String, change.Bytes, change.Date, change.Time, change.Timestamp, change.TimestampTZ:
		return true
	}
	return false
}

func (pg *pages) columns() ([][]string, error) {
	return pg.view.query(fmt.Sprintf(columnsQuery, literal(pg.d.database), literal(pg.d.name)))
}

func (pg *pages) next(ctx context.Context, limit int, f func(*change.Table, change.Row) error) (n int, err error) {
	if pg.end {
		return 0, nil
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	form, err := pg.columns()
	if err != nil {
		return 0, err
	}
	if !slices.EqualFunc(form, pg.form, slices.Equal) {
		return 0, errors.New("the table was altered while it was read")
	}
	var result gomysql.Result
	var own error // what the callback ended with; the driver wraps it
	err = pg.view.conn.ExecuteSelectStreaming(pg.statement(limit), &result, func(row []gomysql.FieldValue) error {
		n++
		own = pg.take(row, f)
		return own
	}, nil)
	if own != nil {
		return n, own
	}
	pg.end = n < limit
	return n, plain(err)
}

func (pg *pages) take(row []gomysql.FieldValue, f func(*change.Table, change.Row) error) error {
	r := pg.reader
	r.arena = r.arena[:0]
	for i, c := range r.fields {
		v, err := r.value(c, &row[i])
		if err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
		pg.row[i] = v
	}
	pg.last = pg.last[:0]
	for i, k := range pg.d.key {
		text, err := keyLiteral(&pg.d.columns[k], &row[len(row)-len(pg.d.key)+i])
		if err != nil {
			return err
		}
		pg.last = append(pg.last, text)
	}
	return f(r.table, pg.row)
}

// keyLiteral writes a key column's value for SQL.
func keyLiteral(c *declaredColumn, v *gomysql.FieldValue) (string, error) {
	switch v.Type {
	case gomysql.FieldValueTypeSigned:
		return strconv.FormatInt(v.AsInt64(), 10), nil
	case gomysql.FieldValueTypeUnsigned:
		return strconv.FormatUint(v.AsUint64(), 10), nil
	case gomysql.FieldValueTypeString:
		kind, err := c.kind()
		switch {
		case err != nil:
			return "", err
		case kind == change.Decimal: // as a text it would be compared as a float
			return string(v.AsString()), nil
		case kind == change.Bytes:
			return "x'" + hex.EncodeToString(v.AsString()) + "'", nil
		}
		return literal(string(v.AsString())), nil
	}
	return "", fmt.Errorf("column %s: %w", c.name, errValueType)
}

// statement reads the rows above the last key.
func (pg *pages) statement(limit int) string {
	keys := make([]string, len(pg.d.key))
	for i, k := range pg.d.key {
		keys[i] = quote(pg.d.columns[k].name)
	}
	list := strings.Join(keys, ", ")
	where := ""
	if pg.last != nil {
		last := len(keys) - 1
		where = keys[last] + " > " + pg.last[last]
		for i := last - 1; i >= 0; i-- {
			where = fmt.Sprintf("(%s > %s OR %[1]s = %[2]s AND %s)", keys[i], pg.last[i], where)
		}
		if last > 0 { // what the index can be searched for
			where = keys[0] + " >= " + pg.last[0] + " AND " + where
		}
		where = " WHERE " + where
	}
	return fmt.Sprintf("SELECT %s, %s FROM %s.%s%s ORDER BY %[2]s LIMIT %[6]d", columnList(pg.reader.fields), list, quote(pg.d.database), quote(pg.d.name), where, limit)
}
