package postgres_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/change"
)

// TestTypes: a value is the same in the snapshot, in the stream and in the old row of
// an update; it is what typeCases says; and put back into the database it is what the
// database has. On Postgres 18 docs/types-postgres.md says the same.
func TestTypes(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres17", "postgres18"} {
		t.Run(server, func(t *testing.T) {
			page := testTypes(t, server)
			if server == "postgres18" {
				comparePage(t, page)
			}
		})
	}
}

func testTypes(t *testing.T, server string) (page string) {
	d := newDatabase(t, server)
	major, _ := strconv.Atoi(strings.TrimPrefix(server, "postgres"))
	cases := slices.DeleteFunc(slices.Clone(typeCases), func(c typeCase) bool { return c.since > major })
	rows := 0
	columns := []string{"id int PRIMARY KEY", "note text"}
	for i, c := range cases {
		columns = append(columns, fmt.Sprintf("c%d %s", i, c.typ))
		rows = max(rows, len(c.edges)/2)
	}
	rows++ // the last one is all NULL
	d.exec(t, "SET lc_monetary = 'C'", "SET extra_float_digits = 3")
	d.exec(t, typeSetup...)
	d.exec(t, "ALTER DATABASE "+d.name+" SET timezone = 'Asia/Tokyo'", "ALTER DATABASE "+d.name+" SET datestyle = 'SQL, DMY'",
		"ALTER DATABASE "+d.name+" SET bytea_output = 'escape'", "ALTER DATABASE "+d.name+" SET extra_float_digits = 0", "ALTER DATABASE "+d.name+" SET intervalstyle = 'sql_standard'",
		"ALTER DATABASE "+d.name+" SET search_path = 'public'", "ALTER DATABASE "+d.name+" SET xmloption = 'document'", "ALTER DATABASE "+d.name+" SET quote_all_identifiers = on",
		"CREATE TABLE types ("+strings.Join(columns, ", ")+")", "ALTER TABLE types REPLICA IDENTITY FULL")
	for n := range rows {
		values := []string{strconv.Itoa(n), "NULL"}
		for _, c := range cases {
			if 2*n < len(c.edges) {
				values = append(values, c.edges[2*n])
			} else {
				values = append(values, "NULL")
			}
		}
		d.exec(t, "INSERT INTO types VALUES ("+strings.Join(values, ", ")+")")
	}
	log := capturetest.NewLog(nil)
	d.harness(t).Start(t, log).Streaming(t)
	var all strings.Builder
	for i := range cases {
		fmt.Fprintf(&all, ", c%d", i)
	}
	d.exec(t, "INSERT INTO types SELECT id + 1000, note"+all.String()+" FROM types ORDER BY id", "UPDATE types SET note = 'x' WHERE id >= 1000")
	log.Wait(t, "all rows", func([]*capturetest.Record) bool { return t.Failed() || len(log.Events("")) == 3*rows })
	events := log.Events("")
	snapshot, stream, update := events[:rows], events[rows:2*rows], events[2*rows:]
	if a, b := snapshot[0].Table.Version, stream[0].Table.Version; a != b {
		t.Errorf("schema of the snapshot is %s, of the stream %s", a, b)
	}
	var list strings.Builder
	for i, c := range cases {
		f := formOf(c.typ)
		for n := range rows {
			v := snapshot[n].After[i+2]
			for _, row := range []change.Row{stream[n].After, update[n].Before, update[n].After} {
				if row[i+2] != v {
					t.Errorf("%s, value %d: the snapshot has %v %.200q, the stream %v %.200q", c.typ, n, v.Kind(), v.Text(), row[i+2].Kind(), row[i+2].Text())
				}
			}
			if 2*n >= len(c.edges) {
				if !v.IsNull() {
					t.Errorf("%s: got %v %q, want NULL", c.typ, v.Kind(), v.Text())
				}
				continue
			}
			kind, want := c.kind, c.edges[2*n+1]
			if text, ok := strings.CutPrefix(want, "@text "); ok {
				kind, want = change.String, text
			}
			if v.Kind() != kind || v.Text() != want && want != "@any" {
				t.Errorf("%s %.200s: got %v %.200q, want %v %.200q", c.typ, c.edges[2*n], v.Kind(), v.Text(), kind, want)
			}
			encoded := string(change.AppendValue(nil, v))
			text, null := f.database(t, decodeJSON(t, encoded))
			if null {
				t.Errorf("%s %.200s: encoded as null", c.typ, c.edges[2*n])
				continue
			}
			// What a value is, by its output function: a cast to text would cut char(n).
			same := d.query(t, fmt.Sprintf("SELECT format('%%s', '%s'::%s) = format('%%s', c%d) FROM types WHERE id = %d", strings.ReplaceAll(text, "'", "''"), c.typ, i, n))
			if same[0][0] != "t" {
				t.Errorf("%s %.200s: %.200q put back is not what the database has", c.typ, c.edges[2*n], text)
			}
			fmt.Fprintf(&list, "| %s | %s | %s |\n", cell(c.typ), cell(c.edges[2*n]), cell(encoded))
		}
	}
	return list.String()
}

// cell is a text as code in a table's cell, cut where it is long.
func cell(s string) string {
	if runes := []rune(s); len(runes) > 130 {
		s = fmt.Sprintf("%s ... %s (%d characters)", string(runes[:40]), string(runes[len(runes)-20:]), len(runes))
	}
	s = strings.ReplaceAll(s, "|", `\|`)
	mark := "`"
	for strings.Contains(s, mark) {
		mark += "`"
	}
	if strings.TrimSpace(s) != s || strings.Trim(s, "`") != s {
		s = " " + s + " "
	}
	return mark + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '�'
		}
		return r
	}, s) + mark
}

const typesPage = "../../docs/types-postgres.md"

// The generated table stands between these lines.
const beginTypes, endTypes = "<!-- values: made by TestTypes -update -->\n", "<!-- end of values -->"

var update = flag.Bool("update", false, "write docs/types-postgres.md anew")

func comparePage(t *testing.T, values string) {
	t.Helper()
	text, err := os.ReadFile(typesPage)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), beginTypes)
	_, tail, ok2 := strings.Cut(rest, endTypes)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the values", typesPage)
	}
	want := head + beginTypes + "\n| Type | SQL | In the stream |\n|---|---|---|\n" + values + "\n" + endTypes + tail
	if *update {
		if err := os.WriteFile(typesPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("%s is not current: go test -run TestTypes ./capture/postgres -update", typesPage)
	}
}

// TestColumns: what the schema says of columns.
func TestColumns(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TYPE mood AS ENUM ('sad', 'ok')",
		`CREATE TABLE "Odd name.x" (b varchar(5), a int NOT NULL, n numeric(8,3), m mood NOT NULL, ts timestamptz(3), l text[], g int GENERATED ALWAYS AS (a * 2) STORED, secret text, PRIMARY KEY (a, b))`)
	cfg := d.config()
	cfg.TableBlocks = append(cfg.TableBlocks, tableConfig("odd", "public.Odd name.x", func(c *tableBlock) {
		c.Exclude = []string{"secret"}
		c.PII = []string{"b"}
	}))
	src := d.open(t, cfg)
	tables, err := src.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []change.Column{
		{Name: "b", Kind: change.String, Type: "character varying(5)", Length: 5, PII: true},
		{Name: "a", Kind: change.Int, Type: "integer", Precision: 32},
		{Name: "n", Kind: change.Decimal, Type: "numeric(8,3)", Nullable: true, Precision: 8, Scale: 3},
		{Name: "m", Kind: change.Enum, Type: "public.mood", Labels: []string{"sad", "ok"}},
		{Name: "ts", Kind: change.TimestampTZ, Type: "timestamp(3) with time zone", Nullable: true, Precision: 3},
		{Name: "l", Kind: change.Array, Type: "text[]", Nullable: true, Element: change.String},
		{Name: "g", Kind: change.Int, Type: "integer", Nullable: true, Precision: 32, Generated: true},
	}
	if len(tables) != 1 {
		t.Fatalf("got %d tables", len(tables))
	}
	diff(t, tables[0].Columns, want)
	diff(t, tables[0].Key, []int{1, 0})
	diff(t, tables[0].Topic, "shop.public.Odd_u0020name.x")
	diff(t, src.TableAliases(), map[string]string{"odd": "public.Odd name.x"})
}
