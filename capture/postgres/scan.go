package postgres

import (
	"context"
	"strings"

	"github.com/penstock-cdc/penstock/change"
)

// scanSize is how many rows one statement of Scan reads: none is open for long, so that vacuum is not held up.
const scanSize = 1000

// Scan reads all rows of a table that has a key, in the form of the stream and in the database's order of the key, and hands
// them to f. The pages are statements of their own: a row that changes meanwhile is seen before or after, and one whose key
// changes may be seen twice or not at all. The row that f gets is valid until it returns. See Pages.
func (s *Source) Scan(ctx context.Context, table string, f func(*change.Table, change.Row) error) error {
	next, done, err := s.Pages(ctx, table)
	if err != nil {
		return err
	}
	defer done()
	for {
		if n, err := next(ctx, scanSize, f); err != nil || n < scanSize {
			return err
		}
	}
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
