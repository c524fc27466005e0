package mysql

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/penstock-cdc/penstock/change"
)

// Find reads rows of a table by the values of their keys, as they are now, and hands them to f, each valid until f returns;
// what is not there is left out. Passed tells whether all that was committed before the read is durable in the log; it is
// never true where this process does not capture the source.
func (s *Source) Find(ctx context.Context, table string, keys []change.Row, f func(*change.Table, change.Row) error) (passed func(context.Context) (bool, error), err error) {
	fail := func(err error) error { return fmt.Errorf("read rows of %s again: %w", table, err) }
	view, err := s.address.connect(ctx)
	if err != nil {
		return nil, fail(err)
	}
	defer view.close()
	facts, err := s.readFacts(view)
	if err != nil {
		return nil, fail(err)
	}
	pg, err := s.pages(view, table)
	if err != nil {
		return nil, fail(err)
	}
	if len(keys) > 0 {
		statement, err := pg.byKeys(keys)
		if err != nil {
			return nil, fail(err)
		}
		var result gomysql.Result
		var own error // what the callback ended with; the driver wraps it
		err = view.conn.ExecuteSelectStreaming(statement, &result, func(row []gomysql.FieldValue) error {
			own = pg.take(row, f)
			return own
		}, nil)
		if own != nil {
			return nil, own
		}
		if err != nil {
			return nil, fail(plain(err))
		}
	}
	// What a read has seen was in the binlog before it could be seen.
	at, err := readEnd(view, facts)
	if err != nil {
		return nil, fail(err)
	}
	end, err := commitPosition(at.file, at.pos)
	if err != nil {
		return nil, fail(err)
	}
	return func(context.Context) (bool, error) { return s.durable(end) }, nil
}

// durable tells whether the log has all up to a position.
func (s *Source) durable(end uint64) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.confirmed == nil {
		return false, nil
	}
	position, err := commitPosition(s.confirmed.File, s.confirmed.Pos)
	return err == nil && position >= end, err
}

// byKeys selects the rows of these keys.
func (pg *pages) byKeys(keys []change.Row) (string, error) {
	names := make([]string, len(pg.d.key))
	for i, k := range pg.d.key {
		names[i] = quote(pg.d.columns[k].name)
	}
	list := strings.Join(names, ", ")
	var all strings.Builder
	for n, key := range keys {
		if len(key) != len(names) {
			return "", errors.New("its primary key is another than the table had")
		}
		values := make([]string, len(key))
		for i, v := range key {
			kind, err := pg.d.columns[pg.d.key[i]].kind()
			if err != nil {
				return "", err
			}
			values[i] = valueLiteral(kind, v.Text())
		}
		if n > 0 {
			all.WriteString(", ")
		}
		all.WriteString("(" + strings.Join(values, ", ") + ")")
	}
	return fmt.Sprintf("SELECT %s, %s FROM %s.%s WHERE (%[2]s) IN (%[5]s)", columnList(pg.reader.fields), list, quote(pg.d.database), quote(pg.d.name), all.String()), nil
}

// valueLiteral writes a key column's value, as events have it, for SQL.
func valueLiteral(kind change.Kind, text string) string {
	switch kind {
	case change.Int, change.Uint, change.Decimal: // a text would be compared as a float
		return text
	case change.Bytes:
		return "x'" + hex.EncodeToString([]byte(text)) + "'"
	case change.TimestampTZ: // the session's zone is UTC
		return literal(strings.TrimSuffix(text, "Z"))
	}
	return literal(text)
}
