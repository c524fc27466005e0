package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
)

// replay reads what a slot has, made before the statements, with the catalog as it is after them.
func replay(t *testing.T, before, statements []string, events int) []string {
	t.Helper()
	d := newDatabase(t, "postgres18")
	d.exec(t, before...)
	d.exec(t, "CREATE PUBLICATION shop FOR ALL TABLES WITH (publish_via_partition_root = true)", "SELECT pg_create_logical_replication_slot('slot_"+d.name+"', 'pgoutput')")
	d.exec(t, statements...)
	cfg := d.config()
	cfg.Snapshot = postgres.SnapshotNever
	log := capturetest.NewLog(nil)
	d.harness(t).StartSource(t, log, d.open(t, cfg), capture.Options{}).Streaming(t)
	arrived(t, log, events)
	var out []string
	for _, r := range log.Records() {
		if r.Event == nil {
			continue
		}
		line := string(r.Key) + " " + show(r.Event)
		for _, c := range r.Event.Table.Columns {
			if !c.Nullable {
				line += " " + c.Name + ":not-null"
			}
		}
		out = append(out, line)
	}
	return out
}

// TestOldRows: rows that were written when the table was another one are not described
// by what the catalog says of it now.
func TestOldRows(t *testing.T) {
	for _, c := range []struct {
		name               string
		before, statements []string
		want               []string
	}{
		{
			"a shorter primary key",
			[]string{"CREATE TABLE items (a int, b int, PRIMARY KEY (a, b))"},
			[]string{
				"INSERT INTO items VALUES (1, 1), (1, 2)", "DELETE FROM items WHERE b = 2", "ALTER TABLE items DROP CONSTRAINT items_pkey, ADD PRIMARY KEY (a)", "ALTER TABLE items ALTER b DROP NOT NULL",
				"INSERT INTO items VALUES (2, 2)",
			},
			[]string{
				`{"a":1,"b":1} c items a=1 b=1 a:not-null`, `{"a":1,"b":2} c items a=1 b=2 a:not-null`, `{"a":1,"b":2} d items a=1 b=2 a:not-null`, `{"a":2} c items a=2 b=2 a:not-null`,
			},
		},
		{
			"not null since",
			[]string{"CREATE TABLE items (id int PRIMARY KEY, v text)"},
			[]string{"INSERT INTO items VALUES (1, NULL), (2, 'x')", "UPDATE items SET v = 'y'", "DELETE FROM items WHERE id = 2", "ALTER TABLE items ALTER v SET NOT NULL", "INSERT INTO items VALUES (3, 'z')"},
			[]string{
				`{"id":1} c items id=1 v=null id:not-null`, `{"id":2} c items id=2 v=x id:not-null`, `{"id":1} u items id=1 v=y id:not-null`, `{"id":2} u items id=2 v=y id:not-null`,
				`{"id":2} d items id=2 id:not-null`, `{"id":3} c items id=3 v=z id:not-null v:not-null`,
			},
		},
		{
			"a table that is gone",
			[]string{"CREATE TABLE items (b int, a int, PRIMARY KEY (a, b))", "CREATE TABLE other (id int PRIMARY KEY)"},
			[]string{"INSERT INTO items VALUES (1, 2)", "DROP TABLE items", "CREATE TABLE items (id text PRIMARY KEY)", "INSERT INTO items VALUES ('new')"},
			[]string{`{"b":1,"a":2} c items b=1 a=2`, `{"id":"new"} c items id=new id:not-null`},
		},
		{
			"attributes of another time",
			[]string{"CREATE TYPE pair AS (a int, b text)", "CREATE TABLE items (id int PRIMARY KEY, p pair, ps pair[])"},
			[]string{"INSERT INTO items VALUES (1, '(1,x)', '{\"(2,y)\"}')", "ALTER TYPE pair RENAME ATTRIBUTE a TO z", "ALTER TYPE pair DROP ATTRIBUTE b", "ALTER TYPE pair ADD ATTRIBUTE c text", "INSERT INTO items VALUES (2, '(2,y)', NULL)"},
			[]string{`{"id":1} c items id=1 p=(1,x) ps={"(2,y)"} id:not-null`, `{"id":2} c items id=2 p=(2,y) ps=null id:not-null`},
		},
	} {
		t.Run(c.name, func(t *testing.T) { diff(t, replay(t, c.before, c.statements, len(c.want)), c.want) })
	}
}

// TestKeyWhileStreaming: a primary key that comes, and a column that becomes NOT NULL, while
// the table is streamed. Beside a full identity the stream does not say so.
func TestKeyWhileStreaming(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TABLE items (a int, b int)", "ALTER TABLE items REPLICA IDENTITY FULL")
	log := capturetest.NewLog(nil)
	c := d.harness(t).Start(t, log)
	c.Streaming(t)
	d.exec(t, "INSERT INTO items VALUES (1, 1)")
	arrived(t, log, 1)
	d.exec(t, "ALTER TABLE items ADD PRIMARY KEY (b)", "INSERT INTO items VALUES (2, 2)")
	arrived(t, log, 2)
	d.exec(t, "ALTER TABLE items ALTER a SET NOT NULL", "INSERT INTO items VALUES (3, 3)")
	var got []string
	events := arrived(t, log, 3)
	for _, r := range log.Records() {
		if r.Event != nil {
			columns := r.Event.Table.Columns
			got = append(got, fmt.Sprintf("%s %s %v %v", r.Key, show(r.Event), columns[0].Nullable, columns[1].Nullable))
		}
	}
	diff(t, got, []string{" c items a=1 b=1 true true", `{"b":2} c items a=2 b=2 true false`, `{"b":3} c items a=3 b=3 false false`})
	capturetest.Poll(t, "version in the status", func() bool {
		s := c.Source.Status()
		return len(s.Tables) == 1 && strings.HasSuffix(s.Tables[0].Name, "items") && s.Tables[0].SchemaVersion == events[2].Table.Version
	})
}

// TestKeyAtRestart: beside a full identity the stream does not say what the primary key is. Where it
// was another one at the position, capture does not go on with a guess.
func TestKeyAtRestart(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TABLE items (a int PRIMARY KEY, b int)", "ALTER TABLE items REPLICA IDENTITY FULL", "CREATE TABLE gone (a int PRIMARY KEY)", "ALTER TABLE gone REPLICA IDENTITY FULL")
	log := capturetest.NewLog(nil)
	h := d.harness(t)
	c := h.Start(t, log)
	c.Streaming(t)
	d.exec(t, "INSERT INTO items VALUES (1, 1)")
	arrived(t, log, 1)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	d.exec(t, "INSERT INTO gone VALUES (5)", "DROP TABLE gone")
	c = h.Start(t, log)
	c.Streaming(t)
	arrived(t, log, 2)
	if last := log.Records()[len(log.Records())-1]; string(last.Key) != `{"a":5}` {
		t.Errorf("a row of a table that is gone has key %s", last.Key)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	d.exec(t, "INSERT INTO items VALUES (2, 2)", "ALTER TABLE items DROP CONSTRAINT items_pkey, ADD PRIMARY KEY (b)")
	checkError(t, h.Start(t, log).Wait(), []string{"(E0434)", "table public.items has the primary key (b) now and had (a) at", "REPLICA IDENTITY FULL", "penstock source reset shop"})
	if n := len(log.Events("")); n != 2 {
		t.Errorf("the log has %d events, want 2", n)
	}
}

// TestKeyAnalyzedAway: where the primary key is gone and the table was analyzed, the server no longer
// says what the key of older rows was.
func TestKeyAnalyzedAway(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TABLE items (id int PRIMARY KEY, v int)")
	log := capturetest.NewLog(nil)
	h := d.harness(t)
	c := h.Start(t, log)
	c.Streaming(t)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	d.exec(t, "INSERT INTO items VALUES (1, 1)", "UPDATE items SET v = 2", "ALTER TABLE items DROP CONSTRAINT items_pkey", "ANALYZE items", "ALTER TABLE items REPLICA IDENTITY FULL")
	checkError(t, h.Start(t, log).Wait(), []string{"(E0433)", "table public.items had a primary key", "penstock source reset shop"})
}
