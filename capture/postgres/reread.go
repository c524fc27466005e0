package postgres

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pglogrepl"

	"github.com/penstock-cdc/penstock/change"
)

// Rows reads the rows of a table that have these keys as they are now, in the form of the stream, and hands them to f; those
// that are not there are left out. A key has the values of the table's key columns, in order. With no keys it finds out
// whether the table may be read. The row that f gets is valid until it returns.
//
// The function that Rows returns tells whether all that was committed before the read is durable in the log: as this process
// captures it, or else as the slot says.
func (s *Source) Rows(ctx context.Context, table string, keys []change.Row, f func(*change.Table, change.Row) error) (func(context.Context) (bool, error), error) {
	srv, err := s.inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("read rows of %s again: %w", table, err)
	}
	conn, err := s.connect(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("read rows of %s again: %w", table, err)
	}
	defer closeConn(conn)
	for _, info := range srv.relations {
		m := info.message(srv.storedGenerated)
		t, places := s.cfg.table(s.name, srv.database, &m, info, srv.types)
		if t.QualifiedName() != table {
			continue
		}
		result := conn.ExecParams(ctx, rereadStatement(info, &m, t, keys), nil, nil, nil, nil).Read()
		if result.Err != nil {
			return nil, fmt.Errorf("read rows of %s again: %w", table, result.Err)
		}
		r := newRelation(info.oid, &m, t, places, srv.types)
		for _, row := range result.Rows {
			tuple := make([]field, len(row))
			for i, text := range row {
				if tuple[i] = (field{'t', text}); text == nil {
					tuple[i] = field{kind: 'n'}
				}
			}
			r.reset()
			if err := r.row(r.after, tuple); err != nil {
				return nil, fmt.Errorf("read rows of %s again: %w", table, err)
			}
			if err := f(t, r.after); err != nil {
				return nil, err
			}
		}
		end, err := query(ctx, conn, "SELECT "+walWritten)
		if err != nil {
			return nil, fmt.Errorf("read rows of %s again: %w", table, err)
		}
		lsn, err := pglogrepl.ParseLSN(end[0][0])
		return func(ctx context.Context) (bool, error) { return s.published(ctx, uint64(lsn)) }, err
	}
	return nil, fmt.Errorf("read rows of %s again: the table is not there", table)
}

func rereadStatement(info *relationInfo, m *relationMessage, t *change.Table, keys []change.Row) string {
	statement := selectRows(info, m) + " WHERE "
	if len(keys) == 0 {
		return statement + "false"
	}
	var values []string
	for _, key := range keys {
		values = append(values, "("+keyLiterals(key)+")")
	}
	return statement + "(" + keyNames(t) + ") IN (" + strings.Join(values, ", ") + ")"
}

// keyLiterals writes a key's values as SQL has them.
func keyLiterals(key change.Row) string {
	texts := make([]string, len(key))
	for i, v := range key {
		text := v.Text()
		if v.Kind() == change.Bytes {
			text = `\x` + hex.EncodeToString([]byte(text))
		}
		texts[i] = quoteLiteral(text)
	}
	return strings.Join(texts, ", ")
}

// published tells whether the log has all up to a position.
func (s *Source) published(ctx context.Context, end uint64) (bool, error) {
	if at := s.confirmed.Load(); at > 0 {
		return at >= end, nil
	}
	conn, err := s.connect(ctx, false)
	if err != nil {
		return false, fmt.Errorf("ask for the slot's position: %w", err)
	}
	defer closeConn(conn)
	rows, err := query(ctx, conn, "SELECT confirmed_flush_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = $1", s.cfg.Slot)
	if err != nil || len(rows) == 0 || rows[0][0] == "" {
		return false, err
	}
	at, err := pglogrepl.ParseLSN(rows[0][0])
	return uint64(at) >= end, err
}

func keyNames(t *change.Table) string {
	names := make([]string, len(t.Key))
	for i, k := range t.Key {
		names[i] = quoteIdentifier(t.Columns[k].Name)
	}
	return strings.Join(names, ", ")
}
