package postgres_test

import (
	"fmt"
	"testing"

	"github.com/penstock-cdc/penstock/change"
)

// TestScan reads more than one page by a key of two columns, one of them text in the database's own order.
func TestScan(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TABLE items (region text, id bigint, note text, PRIMARY KEY (region, id))",
		"INSERT INTO items SELECT CASE WHEN n % 3 = 0 THEN 'it''s' WHEN n % 3 = 1 THEN 'B' ELSE 'a' END, n, NULL FROM generate_series(1, 2500) n",
		"CREATE TABLE empty (id int PRIMARY KEY)")
	src := d.open(t, d.config())
	seen := map[string]int{}
	if err := src.Scan(t.Context(), "public.items", func(table *change.Table, row change.Row) error {
		if len(table.Columns) != 3 || !row[2].IsNull() {
			return fmt.Errorf("row %v", row)
		}
		seen[row[0].Text()+row[1].Text()]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2500; n++ {
		if key := []string{"it's", "B", "a"}[n%3] + fmt.Sprint(n); seen[key] != 1 {
			t.Fatalf("row %s was read %d times", key, seen[key])
		}
	}
	if len(seen) != 2500 {
		t.Errorf("%d rows, want 2500", len(seen))
	}
	none := func(*change.Table, change.Row) error { return fmt.Errorf("a row of an empty table") }
	if err := src.Scan(t.Context(), "public.empty", none); err != nil {
		t.Error(err)
	}
	if err := src.Scan(t.Context(), "public.nowhere", none); err == nil {
		t.Error("a table that is not there was read")
	}
}
