package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/integration/service"
)

// show writes an event as "c items id=1 name=x", a deleted row by what is known of it.
func show(e *change.Event) string {
	line := e.Op.String() + " " + e.Table.Name
	row := e.After
	if row == nil {
		row = e.Before
	}
	for i, v := range row {
		switch {
		case v.IsNull() && e.After == nil:
		case v.IsNull():
			line += " " + e.Table.Columns[i].Name + "=null"
		case v.IsUnchanged():
			line += " " + e.Table.Columns[i].Name + "=unchanged"
		default:
			line += " " + e.Table.Columns[i].Name + "=" + v.Text()
		}
	}
	return line
}

// shown waits for n events of all tables and shows them; more are an error.
func shown(t *testing.T, log *capturetest.Log, n int) []string {
	t.Helper()
	var out []string
	for _, e := range arrived(t, log, n) {
		out = append(out, show(e))
	}
	return out
}

// TestGenerated: a generated column is in the rows of both snapshot and stream or of
// neither: a stored one where the server can publish it.
func TestGenerated(t *testing.T) {
	for server, want := range map[string][]string{
		"postgres14": {"r items id=1 n=2", "c items id=2 n=3", "u items id=2 n=5"},
		"postgres17": {"r items id=1 n=2", "c items id=2 n=3", "u items id=2 n=5"},
		"postgres18": {"r items id=1 n=2 twice=4", "c items id=2 n=3 twice=6", "u items id=2 n=5 twice=10"},
	} {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec(t, "CREATE TABLE items (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)")
			if server == "postgres18" {
				d.exec(t, "ALTER TABLE items ADD thrice int GENERATED ALWAYS AS (n * 3) VIRTUAL")
			}
			d.exec(t, "INSERT INTO items (id, n) VALUES (1, 2)")
			log := capturetest.NewLog(nil)
			d.harness(t).Start(t, log).Streaming(t)
			d.exec(t, "INSERT INTO items (id, n) VALUES (2, 3)", "UPDATE items SET n = 5 WHERE id = 2")
			diff(t, shown(t, log, 3), want)
		})
	}
	t.Run("not published", func(t *testing.T) {
		d := newDatabase(t, "postgres18")
		d.exec(t, "CREATE TABLE items (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)", "INSERT INTO items (id, n) VALUES (1, 2)",
			"CREATE PUBLICATION shop FOR TABLE items WITH (publish_via_partition_root = true)")
		log := capturetest.NewLog(nil)
		d.harness(t).Start(t, log).Streaming(t)
		d.exec(t, "INSERT INTO items (id, n) VALUES (2, 3)")
		diff(t, shown(t, log, 2), []string{"r items id=1 n=2", "c items id=2 n=3"})
	})
}

// TestTruncateCascade: each table of a TRUNCATE has an event of its own, those that a
// cascade reaches included.
func TestTruncateCascade(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY REFERENCES a)", "CREATE TABLE c (id int PRIMARY KEY)", "CREATE TABLE skip_d (id int PRIMARY KEY REFERENCES a)")
	log := capturetest.NewLog(nil)
	d.harness(t).Start(t, log).Streaming(t)
	d.exec(t, "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)", "BEGIN; TRUNCATE a, c CASCADE; INSERT INTO a VALUES (2); COMMIT", "TRUNCATE c RESTART IDENTITY")
	got := shown(t, log, 7)
	diff(t, got[:2], []string{"c a id=1", "c b id=1"})
	seen := map[string]bool{}
	for _, line := range got[2:5] {
		seen[line] = true
	}
	diff(t, seen, map[string]bool{"t a": true, "t b": true, "t c": true})
	diff(t, got[5:], []string{"c a id=2", "t c"})
}

// TestInheritance: parent and children are tables of their own.
func TestInheritance(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres18"} {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec(t, "CREATE TABLE parent (id int PRIMARY KEY, v text)", "CREATE TABLE child (more int, PRIMARY KEY (id)) INHERITS (parent)", "CREATE TABLE skip_child (PRIMARY KEY (id)) INHERITS (parent)",
				"INSERT INTO parent VALUES (1, 'a')", "INSERT INTO child VALUES (2, 'b', 7)", "INSERT INTO skip_child VALUES (3, 'c')")
			log := capturetest.NewLog(nil)
			d.harness(t).Start(t, log).Streaming(t)
			d.exec(t, "UPDATE parent SET v = v || '!' WHERE id < 3", "UPDATE parent SET v = 'not captured' WHERE id = 3", "DELETE FROM parent WHERE id = 2")
			got := shown(t, log, 5)
			slices.Sort(got[:2]) // tables are loaded side by side
			diff(t, got, []string{"r child id=2 v=b more=7", "r parent id=1 v=a", "u parent id=1 v=a!", "u child id=2 v=b! more=7", "d child id=2"})
		})
	}
}

// TestPartitionsChange: partitions of partitions, and such that come and go while streaming.
func TestPartitionsChange(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres18"} {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec(t, "CREATE TABLE p (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
				"CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu', 'uk') PARTITION BY RANGE (id)", "CREATE TABLE p_eu_1 PARTITION OF p_eu FOR VALUES FROM (0) TO (100)", "INSERT INTO p VALUES (1, 'eu')")
			log := capturetest.NewLog(nil)
			d.harness(t).Start(t, log).Streaming(t)
			d.exec(t, "CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us')", "INSERT INTO p VALUES (2, 'us')", "INSERT INTO p_eu_1 VALUES (3, 'uk')", "UPDATE p SET region = 'uk' WHERE id = 2",
				"TRUNCATE p_us", "DELETE FROM p WHERE id = 3", "TRUNCATE p")
			want := []string{"r p id=1 region=eu", "c p id=2 region=us", "c p id=3 region=uk", "d p id=2 region=us", "c p id=2 region=uk", "d p id=3 region=uk", "t p"}
			diff(t, shown(t, log, len(want)), want)
		})
	}
}

// TestNames: tables and columns of any name.
func TestNames(t *testing.T) {
	d := newDatabase(t, "postgres18")
	names := []string{`With "quotes" and 'more'`, "Größe.日本", `back\slash`, strings.Repeat("n", 63), strings.Repeat("é", 31), "select", " ", "💧"}
	for i, name := range names {
		q := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		d.exec(t, fmt.Sprintf("CREATE TABLE %s (%s int PRIMARY KEY, \"id \" text)", q, q), fmt.Sprintf("INSERT INTO %s VALUES (%d, 'r')", q, i))
	}
	log := capturetest.NewLog(nil)
	d.harness(t).Start(t, log).Streaming(t)
	for i, name := range names {
		q := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		d.exec(t, fmt.Sprintf("UPDATE %s SET \"id \" = 'u' WHERE %s = %d", q, q, i))
	}
	events := arrived(t, log, 2*len(names))
	for i, name := range names {
		e := events[len(names)+i]
		diff(t, show(e), fmt.Sprintf("u %s %s=%d id =u", name, name, i))
		diff(t, e.Table.Topic, change.Topic("shop", "public", name))
		if strings.ContainsAny(e.Table.Topic, `"' \`) {
			t.Errorf("topic %q", e.Table.Topic)
		}
	}
}

// TestWidth: a table without a column, one with as many as there can be, and one without a key.
func TestWidth(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres18"} {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			columns := []string{"id int PRIMARY KEY"}
			values := []string{"1"}
			for i := 1; i < 1600; i++ {
				columns, values = append(columns, fmt.Sprintf("c%d bool", i)), append(values, "true")
			}
			d.exec(t, "CREATE TABLE wide ("+strings.Join(columns, ", ")+")", "INSERT INTO wide VALUES ("+strings.Join(values, ", ")+")",
				"CREATE TABLE none ()", "ALTER TABLE none REPLICA IDENTITY FULL", "INSERT INTO none DEFAULT VALUES",
				"CREATE TABLE loose (a int, b text)", "ALTER TABLE loose REPLICA IDENTITY FULL", "INSERT INTO loose VALUES (1, 'x'), (1, 'x'), (NULL, NULL)")
			log := capturetest.NewLog(nil)
			d.harness(t).Start(t, log).Streaming(t)
			d.exec(t, "UPDATE wide SET c1599 = NULL", "INSERT INTO none DEFAULT VALUES", "UPDATE loose SET b = 'y' WHERE a IS NULL", "DELETE FROM loose WHERE a = 1", "DELETE FROM none")
			want := []string{"r loose a=1 b=x", "r loose a=1 b=x", "r loose a=null b=null", "r none", "", "", "c none", "u loose a=null b=y", "d loose a=1 b=x", "d loose a=1 b=x", "d none", "d none"}
			events := arrived(t, log, len(want))
			for i, e := range events {
				if e.Table.Name == "wide" {
					if len(e.After) != 1600 || e.After[1598].Text() != "true" || e.After[1599].IsNull() != (e.Op == change.Update) {
						t.Errorf("wide: %v with %d columns, the last %v", e.Op, len(e.After), e.After[len(e.After)-1])
					}
					continue
				}
				if got := show(e); got != want[i] {
					t.Errorf("event %d: got %q, want %q", i, got, want[i])
				}
			}
			for _, r := range log.Records() {
				if r.Topic == "shop.public.loose" && r.Marker == nil && (r.Key != nil || r.Tombstone()) {
					t.Errorf("a record without key has key %s, tombstone %v", r.Key, r.Tombstone())
				}
			}
		})
	}
}

// TestPublications: publications that someone else made: of all tables, of a schema.
func TestPublications(t *testing.T) {
	for _, what := range []string{"FOR ALL TABLES", "FOR TABLES IN SCHEMA public"} {
		t.Run(what, func(t *testing.T) {
			d := newDatabase(t, "postgres18")
			d.exec(t, createItems, "CREATE SCHEMA other", "CREATE TABLE other.x (id int PRIMARY KEY)", "CREATE TABLE skip_y (id int PRIMARY KEY)", "INSERT INTO items VALUES (1, 'a', 1)", "CREATE PUBLICATION shop "+what)
			log := capturetest.NewLog(nil)
			d.harness(t).Start(t, log).Streaming(t)
			d.exec(t, "INSERT INTO other.x VALUES (1)", "INSERT INTO skip_y VALUES (1)", "INSERT INTO items VALUES (2, 'b', 1)")
			diff(t, shown(t, log, 2), []string{"r items id=1 name=a qty=1", "c items id=2 name=b qty=1"})
		})
	}
}

// TestEncodings: a database's encoding is not the stream's business: it is UTF-8 there.
func TestEncodings(t *testing.T) {
	for encoding, text := range map[string]string{"LATIN1": "Größe ½", "EUC_JP": "日本語", "WIN1251": "Привет", "WIN1252": "Größe €", "SQL_ASCII": "é☃"} {
		t.Run(encoding, func(t *testing.T) {
			d := newEncoded(t, encoding)
			d.exec(t, createItems, "INSERT INTO items VALUES (1, '"+text+"', 1)")
			log := capturetest.NewLog(nil)
			c := d.harness(t).Start(t, log)
			c.Streaming(t)
			d.exec(t, "INSERT INTO items VALUES (2, '"+text+"', 1)", `CREATE TABLE "skip_`+text+`" ()`)
			diff(t, shown(t, log, 2), []string{"r items id=1 name=" + text + " qty=1", "c items id=2 name=" + text + " qty=1"})
			if err := c.Stop(); err != nil {
				t.Error(err)
			}
			if encoding != "SQL_ASCII" {
				return
			}
			// Such a database takes any bytes. What is no UTF-8 cannot be in JSON, and is named.
			d.exec(t, "INSERT INTO items VALUES (3, E'\\xe9', 1)")
			c = d.harness(t).StartSource(t, log, d.open(t, d.config()), capture.Options{})
			checkError(t, c.Wait(), []string{"(E0436)", "invalid byte sequence", "SQL_ASCII", "associated LSN", "penstock source reset shop"})
		})
	}
}

// newEncoded makes a database with an encoding of its own.
func newEncoded(t *testing.T, encoding string) *database {
	t.Helper()
	server := service.Shared(t, "postgres18")
	name := "enc_" + strings.ToLower(encoding) + "_" + strings.ToLower(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:])
	name = fmt.Sprintf("%s_%d", name, len(t.TempDir()))
	drop := func() {
		ctx := context.Background()
		src, err := postgres.Open((&database{url: server.Database(name), name: name}).config(), "shop")
		if err == nil {
			err = src.Drop(ctx)
		}
		if err == nil {
			err = server.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		}
		if err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	}
	if err := server.Exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING '"+encoding+"' LOCALE 'C'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(drop)
	d := &database{url: server.Database(name) + "&client_encoding=UTF8", name: name}
	d.connect(t)
	return d
}
