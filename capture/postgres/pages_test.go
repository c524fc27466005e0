package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
)

// TestPages: a table comes page by page, each row once, whatever its key, with no slot and no publication.
func TestPages(t *testing.T) {
	d := newDatabase(t, "postgres18")
	for _, k := range keyKinds {
		d.exec(t, k.prepare...)
		table, end := "t_"+k.name, ""
		if k.name == "partitioned" {
			end = " PARTITION BY LIST (region)"
		}
		d.exec(t, "CREATE TABLE "+table+" ("+k.columns+", v int)"+end)
		switch k.name {
		case "partitioned":
			d.exec(t, "CREATE TABLE t_eu PARTITION OF "+table+" FOR VALUES IN ('eu')", "CREATE TABLE t_us PARTITION OF "+table+" FOR VALUES IN ('us')")
		case "index":
			d.exec(t, "ALTER TABLE "+table+" REPLICA IDENTITY USING INDEX "+table+"_id_key")
		}
		for n := range 20 {
			d.exec(t, fmt.Sprintf("INSERT INTO %s (%s, v) VALUES (%s, %d)", table, strings.Join(k.names, ", "), k.key(n), n))
		}
	}
	d.exec(t, "CREATE TABLE t_keyless (v int)", "CREATE TABLE t_empty (id int PRIMARY KEY)")
	src, err := postgres.Open(&postgres.Config{URL: d.url, Slot: "unused", Tables: []string{"public.*"}}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keyKinds {
		t.Run(k.name, func(t *testing.T) {
			next, done, err := src.Pages(t.Context(), "public.t_"+k.name)
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			seen := map[string]bool{}
			for {
				n, err := next(t.Context(), 3, func(table *change.Table, r change.Row) error {
					var key []string
					for _, i := range table.Key {
						key = append(key, strings.Clone(r[i].Text())) // its memory is used again
					}
					text := strings.Join(key, "\x00")
					if seen[text] {
						return fmt.Errorf("key %q came twice", text)
					}
					seen[text] = true
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if n < 3 {
					break
				}
			}
			if len(seen) != 20 {
				t.Errorf("%d rows came, want 20", len(seen))
			}
			if n, err := next(t.Context(), 3, nil); n != 0 || err != nil {
				t.Errorf("after the end: %d rows, %v", n, err)
			}
		})
	}
	ignore := func(*change.Table, change.Row) error { return nil }
	t.Run("altered", func(t *testing.T) {
		next, done, err := src.Pages(t.Context(), "public.t_bigint")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		if _, err := next(t.Context(), 3, ignore); err != nil {
			t.Fatal(err)
		}
		d.exec(t, "ALTER TABLE t_bigint ADD note text")
		if _, err := next(t.Context(), 3, ignore); err == nil || !strings.Contains(err.Error(), "altered") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("empty", func(t *testing.T) {
		next, done, err := src.Pages(t.Context(), "public.t_empty")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		if n, err := next(t.Context(), 3, ignore); n != 0 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
	})
	for table, want := range map[string]string{"public.t_keyless": "give it a primary key", "public.t_none": "the table is gone"} {
		if _, _, err := src.Pages(t.Context(), table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", table, err)
		}
	}
}

// TestPagesByText reads more than one page by a key of two columns, one of them text in the database's own order.
func TestPagesByText(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TABLE items (region text, id bigint, note text, PRIMARY KEY (region, id))",
		"INSERT INTO items SELECT CASE WHEN n % 3 = 0 THEN 'it''s' WHEN n % 3 = 1 THEN 'B' ELSE 'a' END, n, NULL FROM generate_series(1, 2500) n")
	next, done, err := d.open(t, d.config()).Pages(t.Context(), "public.items")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	seen := map[string]int{}
	for n := 1000; n == 1000; {
		if n, err = next(t.Context(), 1000, func(table *change.Table, row change.Row) error {
			if len(table.Columns) != 3 || !row[2].IsNull() {
				return fmt.Errorf("row %v", row)
			}
			seen[row[0].Text()+row[1].Text()]++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= 2500; n++ {
		if key := []string{"it's", "B", "a"}[n%3] + fmt.Sprint(n); seen[key] != 1 {
			t.Fatalf("row %s was read %d times", key, seen[key])
		}
	}
	if len(seen) != 2500 {
		t.Errorf("%d rows, want 2500", len(seen))
	}
}
