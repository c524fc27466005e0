package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/penstock-cdc/penstock/change"
)

// scanSize is how many rows one statement of Scan reads: none is open for long, so that vacuum is not held up.
const scanSize = 1000

// Scan reads all rows of a table that has a key, in the form of the stream and in the database's order of the key, and hands
// them to f. The pages are statements of their own: a row that changes meanwhile is seen before or after, and one whose key
// changes may be seen twice or not at all. The row that f gets is valid until it returns.
func (s *Source) Scan(ctx context.Context, table string, f func(*change.Table, change.Row) error) error {
	srv, err := s.inspect(ctx)
	if err != nil {
		return fmt.Errorf("read table %s: %w", table, err)
	}
	conn, err := s.connect(ctx, false)
	if err != nil {
		return fmt.Errorf("read table %s: %w", table, err)
	}
	defer closeConn(conn)
	for _, info := range srv.relations {
		m := info.message(srv.storedGenerated)
		t, places := s.cfg.table(s.name, srv.database, &m, info, srv.types)
		if t.QualifiedName() != table {
			continue
		}
		if len(t.Key) == 0 {
			return fmt.Errorf("read table %s: it has no key to read it by", table)
		}
		r := newRelation(info.oid, &m, t, places, srv.types)
		tuple := make([]field, len(m.columns))
		for last, n := change.Row(nil), scanSize; n == scanSize; {
			n = 0
			rows := conn.ExecParams(ctx, scanStatement(info, &m, t, last), nil, nil, nil, nil)
			for rows.NextRow() {
				n++
				for i, text := range rows.Values() {
					if tuple[i] = (field{'t', text}); text == nil {
						tuple[i] = field{kind: 'n'}
					}
				}
				r.reset()
				if err := r.row(r.after, tuple); err != nil {
					_, _ = rows.Close() // the row's error says more
					return fmt.Errorf("read table %s: %w", table, err)
				}
				if n == scanSize {
					last = last[:0]
					for _, k := range t.Key {
						last = append(last, r.after[k])
					}
					last = last.Clone()
				}
				if err := f(t, r.after); err != nil {
					_, _ = rows.Close() // f's error says more
					return err
				}
			}
			if _, err := rows.Close(); err != nil {
				return fmt.Errorf("read table %s: %w", table, err)
			}
		}
		return nil
	}
	return fmt.Errorf("read table %s: the table is not there", table)
}

// scanStatement reads the page after a key; nil: the first.
func scanStatement(info *relationInfo, m *relationMessage, t *change.Table, last change.Row) string {
	where := ""
	keys := keyNames(t)
	if last != nil {
		where = " WHERE (" + keys + ") > (" + keyLiterals(last) + ")"
	}
	return fmt.Sprintf("%s%s ORDER BY %s LIMIT %d", selectRows(info, m), where, keys, scanSize)
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

func keyNames(t *change.Table) string {
	names := make([]string, len(t.Key))
	for i, k := range t.Key {
		names[i] = quoteIdentifier(t.Columns[k].Name)
	}
	return strings.Join(names, ", ")
}
