package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/integration/service"
)

const createItems = "CREATE TABLE items (id int PRIMARY KEY, name text, qty int)"

// arrived waits until n events of table items are durable.
func arrived(tb testing.TB, log *capturetest.Log, n int) []*change.Event {
	tb.Helper()
	log.Wait(tb, fmt.Sprintf("%d events", n), func([]*capturetest.Record) bool { return len(log.Events("")) >= n })
	return log.Events("")
}

// TestSmoke: on the versions that have no suite of their own, rows are loaded, streamed,
// and streamed on after a restart, and positions that do not fit are refused.
func TestSmoke(t *testing.T) {
	for _, server := range []string{"postgres15", "postgres16"} {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec(t, createItems, "INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2)")
			h := d.harness(t)
			log := capturetest.NewLog(nil)
			c := h.Start(t, log)
			c.Streaming(t)
			d.exec(t, "UPDATE items SET id = 3 WHERE id = 1", "BEGIN; INSERT INTO items VALUES (9, 'never', 9); ROLLBACK", "INSERT INTO items VALUES (4, NULL, 4)")
			arrived(t, log, 5)
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
			d.exec(t, "DELETE FROM items WHERE id = 2", "TRUNCATE items")
			c = h.Start(t, log)
			c.Streaming(t)
			d.exec(t, "INSERT INTO items VALUES (5, 'e', 5)")
			var got []string
			for _, e := range arrived(t, log, 8) {
				line := e.Op.String()
				if e.Op != change.Truncate {
					line += " " + e.KeyRow()[0].Text()
				}
				got = append(got, line)
			}
			diff(t, got, []string{"r 1", "r 2", "d 1", "c 3", "c 4", "d 2", "t", "c 5"})
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
			d.dropSlot(t)
			checkError(t, d.open(t, d.config()).Check(t.Context(), log.Resume()), []string{"is gone", "penstock source reset shop"})
		})
	}
}

// TestReconnect: a capture lives through the end of its sessions and restarts of the
// server, and emits nothing twice or out of order.
func TestReconnect(t *testing.T) {
	server := service.StartPostgres(t, "18")
	d := &database{url: server.Database("postgres"), name: "postgres"}
	d.connect(t)
	d.exec(t, createItems)
	log := capturetest.NewLog(nil)
	c := d.harness(t).Start(t, log)
	c.Streaming(t)
	n := 0
	write := func() {
		t.Helper()
		for range 20 {
			n++
			d.exec(t, fmt.Sprintf("INSERT INTO items VALUES (%d, 'x', 1)", n))
		}
	}
	again := func() {
		t.Helper()
		d.connect(t)
		write()
		arrived(t, log, n)
	}
	write()
	arrived(t, log, n)

	pid := func() string {
		rows := d.query(t, "SELECT pid FROM pg_stat_replication WHERE application_name = 'penstock shop stream'")
		if len(rows) == 0 {
			return ""
		}
		return rows[0][0]
	}
	first := pid()
	write()
	d.exec(t, "SELECT pg_terminate_backend("+first+")")
	write()
	arrived(t, log, n)
	capturetest.Poll(t, "another walsender", func() bool { p := pid(); return p != "" && p != first })

	write()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	again()

	write()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	capturetest.Poll(t, "notice of the crash", func() bool { return c.Source.Status().State == "waiting" })
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	again()
	for i, e := range log.Events("") {
		if id, _ := e.After[0].Int64(); id != int64(i+1) {
			t.Fatalf("event %d is of row %d", i, id)
		}
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

// TestIdle: while only others write, the slot's confirmed position follows.
func TestIdle(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems, "CREATE TABLE skip_this (v text)")
	log := capturetest.NewLog(nil)
	c := d.harness(t).Start(t, log)
	c.Streaming(t)
	for range 3 {
		d.exec(t, "INSERT INTO skip_this SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
		end := d.query(t, "SELECT pg_current_wal_insert_lsn()")[0][0]
		capturetest.Poll(t, "confirmed position", func() bool {
			return d.query(t, "SELECT confirmed_flush_lsn >= '"+end+"' FROM pg_replication_slots WHERE slot_name = 'slot_"+d.name+"'")[0][0] == "t"
		})
	}
	if len(log.Events("")) != 0 {
		t.Error("something was captured")
	}
}

// TestRetainedWarning: WAL kept for us beyond the limit is named.
func TestRetainedWarning(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems)
	src, err := postgres.Open(d.config(), "shop", postgres.WithRetainedWarning(1))
	if err != nil {
		t.Fatal(err)
	}
	d.harness(t).StartSource(t, capturetest.NewLog(nil), src, capture.Options{}).Streaming(t)
	capturetest.Poll(t, "warning", func() bool {
		s := src.Status()
		return s.RetainedBytes > 1 && slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "WAL for slot") })
	})
}

// TestUnchanged: a large value that an update leaves alone is unchanged with the
// default identity, and known with a full one.
func TestUnchanged(t *testing.T) {
	d := newDatabase(t, "postgres18")
	for _, table := range []string{"a_default", "b_full", "c_index"} {
		d.exec(t, "CREATE TABLE "+table+" (id int PRIMARY KEY, code text NOT NULL, big text)", "ALTER TABLE "+table+" ALTER big SET STORAGE EXTERNAL, ALTER code SET STORAGE EXTERNAL",
			"CREATE UNIQUE INDEX "+table+"_code ON "+table+" (code)")
	}
	d.exec(t, "ALTER TABLE b_full REPLICA IDENTITY FULL", "ALTER TABLE c_index REPLICA IDENTITY USING INDEX c_index_code")
	log := capturetest.NewLog(nil)
	d.harness(t).Start(t, log).Streaming(t)
	for _, table := range []string{"a_default", "b_full", "c_index"} {
		d.exec(t, "INSERT INTO "+table+" VALUES (1, repeat('k', 2500), repeat('b', 5000))", "UPDATE "+table+" SET id = 2")
	}
	log.Wait(t, "events", func([]*capturetest.Record) bool { return len(log.Events("")) >= 3+3+2 })
	e := log.Events("shop.public.a_default")
	if e[1].Op != change.Delete || e[2].Op != change.Create || !e[2].After[2].IsUnchanged() {
		t.Errorf("default identity: got %v %v, big %v", e[1].Op, e[2].Op, e[2].After[2])
	}
	e = log.Events("shop.public.b_full")
	if e[1].Op != change.Delete || len(e[2].After[2].Text()) != 5000 || len(e[1].Before[2].Text()) != 5000 {
		t.Errorf("full identity: got %v, big %v", e[1].Op, e[2].After[2])
	}
	e = log.Events("shop.public.c_index")
	if e[1].Op != change.Update || len(e[1].After[1].Text()) != 2500 || !e[1].After[2].IsUnchanged() {
		t.Errorf("index identity: got %v, code %v, big %v", e[1].Op, e[1].After[1], e[1].After[2])
	}
	diff(t, e[0].Table.Key, []int{1})
}

// TestMessages: logical messages, transactional or not; rolled back ones never.
func TestMessages(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems)
	cfg := d.config()
	cfg.Messages = true
	log := capturetest.NewLog(nil)
	h := d.harness(t)
	h.StartSource(t, log, d.open(t, cfg), capture.Options{}).Streaming(t)
	d.exec(t, "SELECT pg_logical_emit_message(true, 'p', 'one')", "BEGIN; SELECT pg_logical_emit_message(true, 'p', 'never'); ROLLBACK",
		"SELECT pg_logical_emit_message(false, 'p', 'two')", "INSERT INTO items VALUES (1, 'a', 1)")
	log.Wait(t, "messages", func(r []*capturetest.Record) bool { return len(log.Events("")) == 1 })
	var got []string
	for _, r := range log.Records() {
		if r.Topic == "shop.message" {
			got = append(got, string(r.Key)+" "+string(r.Value[strings.Index(string(r.Value), `"message":`):]))
		}
	}
	diff(t, got, []string{`{"prefix":"p"} "message":{"prefix":"p","content":"b25l"}}`, `{"prefix":"p"} "message":{"prefix":"p","content":"dHdv"}}`})
}

// TestSchemaChange: columns that come, go and change while streaming.
func TestSchemaChange(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems)
	log := capturetest.NewLog(nil)
	d.harness(t).Start(t, log).Streaming(t)
	d.exec(t, "INSERT INTO items VALUES (1, 'a', 1)", "ALTER TABLE items ADD more numeric(5,1) DEFAULT 7", "INSERT INTO items VALUES (2, 'b', 2, 3)",
		"ALTER TABLE items DROP qty", "UPDATE items SET name = 'c' WHERE id = 1", "ALTER TABLE items RENAME name TO title", "CREATE TYPE mood AS ENUM ('x')",
		"ALTER TABLE items ALTER title TYPE mood USING 'x'::mood", "INSERT INTO items VALUES (3, 'x', 1)")
	var got []string
	for _, e := range arrived(t, log, 4)[:4] {
		line := e.Op.String()
		for i, c := range e.Table.Columns {
			line += fmt.Sprintf(" %s %s=%s", c.Name, c.Kind, e.After[i].Text())
		}
		got = append(got, line)
	}
	diff(t, got, []string{
		"c id int=1 name text=a qty int=1",
		"c id int=2 name text=b qty int=2 more decimal=3.0",
		"u id int=1 name text=c more decimal=7.0",
		"c id int=3 title enum=x more decimal=1.0",
	})
}

// TestJoin: a table that matches later is read and joined at the next start, while
// what others had in the meantime is streamed.
func TestJoin(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems)
	log := capturetest.NewLog(nil)
	h := d.harness(t)
	c := h.Start(t, log)
	c.Streaming(t)
	d.exec(t, "INSERT INTO items VALUES (1, 'a', 1)")
	arrived(t, log, 1)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	d.exec(t, "CREATE TABLE later (id int PRIMARY KEY, v text)", "INSERT INTO later VALUES (1, 'x'), (2, 'y')", "INSERT INTO items VALUES (2, 'b', 1)", "DELETE FROM later WHERE id = 1")
	c = h.Start(t, log)
	c.Streaming(t)
	d.exec(t, "INSERT INTO later VALUES (3, 'z')")
	arrived(t, log, 4)
	var got []string
	for _, e := range log.Events("shop.public.later") {
		got = append(got, e.Op.String()+" "+e.After[0].Text())
	}
	diff(t, got, []string{"r 2", "c 3"})
	if n := len(log.Events("shop.public.items")); n != 2 {
		t.Errorf("items has %d events, want 2", n)
	}
}

// TestPartitions: partitions are captured as their root, a moved row as delete and create.
func TestPartitions(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TABLE parts (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
		"CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu')", "CREATE TABLE parts_us (v text, region text NOT NULL, id int NOT NULL)",
		"ALTER TABLE parts ATTACH PARTITION parts_us FOR VALUES IN ('us')", "INSERT INTO parts VALUES (1, 'eu', 'a')")
	log := capturetest.NewLog(nil)
	d.harness(t).Start(t, log).Streaming(t)
	d.exec(t, "INSERT INTO parts VALUES (2, 'us', 'b')", "UPDATE parts SET region = 'us' WHERE id = 1")
	var got []string
	for _, e := range arrived(t, log, 4) {
		row := e.KeyRow()
		got = append(got, e.Op.String()+" "+e.Table.Name+" "+row[0].Text()+" "+row[1].Text())
	}
	diff(t, got, []string{"r parts 1 eu", "c parts 2 us", "d parts 1 eu", "c parts 1 us"})
}

// TestDrop: nothing is left at the server.
func TestDrop(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems)
	c := d.harness(t).Start(t, capturetest.NewLog(nil))
	c.Streaming(t)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Source.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Source.Drop(t.Context()); err != nil {
		t.Errorf("dropping twice: %v", err)
	}
	diff(t, d.query(t, "SELECT count(*) FROM pg_publication"), [][]string{{"0"}})
	diff(t, d.query(t, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), [][]string{{"0"}})
}

// TestDropOfAnother: the slot of another database stays, whatever its name.
func TestDropOfAnother(t *testing.T) {
	d, other := newDatabase(t, "postgres18"), newDatabase(t, "postgres18")
	slot := d.config().Slot
	other.exec(t, "SELECT pg_create_logical_replication_slot('"+slot+"', 'pgoutput')")
	src := d.open(t, d.config())
	if err := src.Drop(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing was dropped") {
		t.Errorf("dropping the slot of another database: %v", err)
	}
	diff(t, other.query(t, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), [][]string{{"1"}})
	other.exec(t, "SELECT pg_drop_replication_slot('"+slot+"')")
}

// TestNever: without a snapshot only what comes after the start is captured.
func TestNever(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems, "INSERT INTO items VALUES (1, 'a', 1)")
	cfg := d.config()
	cfg.Snapshot = postgres.SnapshotNever
	log := capturetest.NewLog(nil)
	began := time.Now()
	d.harness(t).StartSource(t, log, d.open(t, cfg), capture.Options{}).Streaming(t)
	d.exec(t, "INSERT INTO items VALUES (2, 'b', 1)")
	e := arrived(t, log, 1)[0]
	if e.Op != change.Create || e.After[0].Text() != "2" || e.CommitTime.Before(began.Add(-time.Minute)) {
		t.Errorf("got %v of row %s at %v", e.Op, e.After[0].Text(), e.CommitTime)
	}
}
