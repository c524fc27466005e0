package mysql_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture/mysql"
	"github.com/penstock-cdc/penstock/change"
)

// pageKeys are primary keys and the values, as SQL, that row n has there.
var pageKeys = []struct {
	name, columns, key, value string
}{
	{"ints", "id int PRIMARY KEY", "id", "%[1]d - 10"},
	{"unsigneds", "id bigint unsigned PRIMARY KEY", "id", "18446744073709551600 - %[1]d"},
	{"decimals", "id decimal(30,5) PRIMARY KEY", "id", "9007199254740993.00001 + %[1]d * 0.00001"},
	{"texts", "id varchar(40) CHARACTER SET utf8mb4 PRIMARY KEY", "id", `'k\'\\%[1]d é'`},
	{"latins", "id varchar(40) CHARACTER SET latin1 PRIMARY KEY", "id", "'é%[1]d'"},
	{"bytes", "id varbinary(20) PRIMARY KEY", "id", "concat(unhex('ff00'), %[1]d)"},
	{"moments", "id datetime(6) PRIMARY KEY", "id", "'2026-03-04 13:14:15.000001' + interval %[1]d microsecond"},
	{"stamps", "id timestamp PRIMARY KEY", "id", "'2026-03-04 13:14:15' + interval %[1]d second"},
	{"pairs", "a varchar(10), b int, PRIMARY KEY (b, a)", "a, b", "'x%[1]d', %[1]d %% 4"},
}

// TestPages: a table comes page by page, each row once, whatever its key.
func TestPages(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			h := harness(t, server)
			for _, k := range pageKeys {
				statements := []string{"CREATE TABLE " + k.name + " (" + k.columns + ", v int)"}
				for n := range 20 {
					statements = append(statements, fmt.Sprintf("INSERT INTO "+k.name+" ("+k.key+", v) VALUES ("+k.value+", %[1]d)", n))
				}
				h.Exec(t, statements...)
			}
			h.Exec(t, "CREATE TABLE labels (id enum('b', 'a') PRIMARY KEY)", "CREATE TABLE keyless (v int)")
			src, ok := h.Open(t).(*mysql.Source)
			if !ok {
				t.Fatal("the harness opens another source")
			}
			for _, k := range pageKeys {
				next, done, err := src.Pages(t.Context(), h.Schema+"."+k.name)
				if err != nil {
					t.Errorf("%s: %v", k.name, err)
					continue
				}
				seen := map[string]bool{}
				var keys []change.Row
				for n := 3; n == 3 && err == nil; {
					n, err = next(t.Context(), 3, func(table *change.Table, r change.Row) error {
						v := strings.Clone(r[table.Column("v")].Text()) // its memory is used again
						if seen[v] {
							return fmt.Errorf("row %s came twice", v)
						}
						seen[v] = true
						var key change.Row
						for _, i := range table.Key {
							key = append(key, r[i])
						}
						keys = append(keys, key.Clone())
						return nil
					})
				}
				done()
				if err != nil || len(seen) != 20 {
					t.Errorf("%s: %d rows came, want 20: %v", k.name, len(seen), err)
					continue
				}
				found := map[string]bool{}
				passed, err := src.Find(t.Context(), h.Schema+"."+k.name, keys[5:12], func(table *change.Table, r change.Row) error {
					found[strings.Clone(r[table.Column("v")].Text())] = true
					return nil
				})
				if err != nil || len(found) != 7 {
					t.Errorf("%s: %d rows were found by 7 keys: %v", k.name, len(found), err)
					continue
				}
				if ok, err := passed(t.Context()); ok || err != nil {
					t.Errorf("%s: it says that a log has it all, and there is none: %v", k.name, err)
				}
			}
			next, done, err := src.Pages(t.Context(), h.Schema+".ints")
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			ignore := func(*change.Table, change.Row) error { return nil }
			if _, err := next(t.Context(), 3, ignore); err != nil {
				t.Fatal(err)
			}
			h.Exec(t, "ALTER TABLE ints ADD note int")
			if _, err := next(t.Context(), 3, ignore); err == nil || !strings.Contains(err.Error(), "altered") {
				t.Errorf("got %v", err)
			}
			for table, want := range map[string]string{"labels": "(enum('b','a'))", "keyless": "no primary key", "none": "gone"} {
				if _, _, err := src.Pages(t.Context(), h.Schema+"."+table); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v", table, err)
				}
			}
		})
	}
}
