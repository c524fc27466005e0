package postgres_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
)

// markers returns the markers of a topic, as kind and whether they are partial.
func markers(log *capturetest.Log, topic string) (out []string) {
	for _, r := range log.Records() {
		if r.Topic == topic && r.Marker != nil {
			out = append(out, fmt.Sprint(r.Marker.Kind, " ", r.Marker.Partial))
		}
	}
	return out
}

// TestSnapshotWishes: a table is read again while it is streamed, paused, resumed and
// canceled; a wish that was kept while nothing ran is acted on at the next start.
func TestSnapshotWishes(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems, "INSERT INTO items SELECT n, 'x', n FROM generate_series(1, 20) n")
	var held atomic.Bool
	cfg := d.config()
	cfg.SnapshotWorkers = 1
	src, err := postgres.Open(cfg, "shop", postgres.WithChunkRows(5, 0))
	if err != nil {
		t.Fatal(err)
	}
	src.Pace(func(topic string) string {
		if held.Load() && topic == "shop.public.items" {
			return "the pipelines are behind"
		}
		return ""
	})
	log := capturetest.NewLog(nil)
	h := d.harness(t)
	c := h.StartSource(t, log, src, capture.Options{})
	c.Streaming(t)
	wish := func(action string) {
		t.Helper()
		if err := src.Snapshot(t.Context(), action, "public.items"); err != nil {
			t.Fatal(err)
		}
	}
	state := func(want string) {
		t.Helper()
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("wanted %s: %+v, markers %v", want, src.Status(), markers(log, "shop.public.items"))
			}
		})
		capturetest.Poll(t, "state "+want, func() bool { return src.Status().Tables[0].Snapshot == want })
	}
	checkError(t, src.Snapshot(t.Context(), "pause", "public.items"), []string{"no snapshot of table public.items runs"})
	checkError(t, src.Snapshot(t.Context(), "start", "public.other"), []string{`no table "public.other"`})

	held.Store(true)
	wish("start")
	state("reading")
	capturetest.Poll(t, "reason to wait", func() bool { return src.Status().Tables[0].SnapshotWaits == "the pipelines are behind" })
	d.exec(t, "INSERT INTO items VALUES (30, 'while the load waits', 1)") // the stream goes on
	arrived(t, log, 21)
	checkError(t, src.Snapshot(t.Context(), "start", "public.items"), []string{"is being read already"})
	wish("pause")
	held.Store(false)
	state("paused")
	if s := src.Status().Tables[0]; s.SnapshotWaits != "" {
		t.Errorf("a paused load: %+v", s)
	}
	d.exec(t, "UPDATE items SET qty = 100 WHERE id = 20", "DELETE FROM items WHERE id = 1")
	arrived(t, log, 23)
	wish("resume")
	state("done")
	held.Store(true)
	wish("start")
	state("reading")
	wish("cancel")
	held.Store(false)
	c.Streaming(t)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	topic := "shop.public.items"
	ends := []string{"snapshot_begin false", "snapshot_end false", "snapshot_begin false", "snapshot_end false", "snapshot_begin false", "snapshot_abort false"}
	diff(t, markers(log, topic), ends)
	if n := len(log.Events(topic)); n != 20+3+20 {
		t.Errorf("got %d events, want 20 rows, 3 changes and 20 rows", n)
	}

	resume, err := src.Request(t.Context(), log.Resume(), "start", "public.items")
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Flush(t.Context(), resume); err != nil {
		t.Fatal(err)
	}
	h.Start(t, log)
	capturetest.Poll(t, "the kept wish's markers", func() bool { return len(markers(log, topic)) >= len(ends)+2 })
	diff(t, markers(log, topic), append(ends, "snapshot_begin false", "snapshot_end false"))
}

// TestSnapshotWhere: a snapshot with a condition has the rows that meet it, and says that
// what it lacks is not gone.
func TestSnapshotWhere(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems, "INSERT INTO items SELECT n, 'x', n FROM generate_series(1, 20) n",
		"CREATE TABLE lines (n int)", "ALTER TABLE lines REPLICA IDENTITY FULL", "INSERT INTO lines VALUES (1), (2)")
	cfg := d.config()
	cfg.TableBlocks = []tableBlock{tableConfig("items", "public.items", func(c *tableBlock) { c.SnapshotWhere = "qty > 15 -- the rest is old" }),
		tableConfig("lines", "public.lines", func(c *tableBlock) { c.SnapshotWhere = "n = 2" })}
	log := capturetest.NewLog(nil)
	d.harness(t).StartSource(t, log, d.open(t, cfg), capture.Options{}).Streaming(t)
	d.exec(t, "UPDATE items SET qty = 3 WHERE id = 20")
	arrived(t, log, 7)
	var got []string
	for _, topic := range []string{"shop.public.items", "shop.public.lines"} {
		for _, e := range log.Events(topic) {
			got = append(got, e.Op.String()+" "+e.After[0].Text())
		}
		diff(t, markers(log, topic), []string{"snapshot_begin true", "snapshot_end true"})
	}
	diff(t, got, []string{"r 16", "r 17", "r 18", "r 19", "r 20", "u 20", "r 2"})
}
