package capturetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

var errLimit = errors.New("the log is full")

// limitLog takes so many records and then fails.
type limitLog struct {
	*Log
	limit int
}

func (l *limitLog) Add(r *change.Record) (int, error) {
	if l.limit--; l.limit < 0 {
		return 0, errLimit
	}
	return l.Log.Add(r)
}

// noConfirm keeps the database from forgetting what an older position needs.
type noConfirm struct{ capture.Source }

func (noConfirm) Confirm([]byte) {}

// testRestartEverywhere restarts from the resume point of every commit: what follows
// is emitted again, the same events with the same ids.
func testRestartEverywhere(t *testing.T, h *Harness) {
	h.create(t, "items")
	h.Exec(t, "INSERT INTO "+h.name("items")+" VALUES (1, 'one', 1, 1, NULL)")
	log := NewLog(nil)
	c := h.StartSource(t, log, noConfirm{h.Open(t)}, capture.Options{})
	c.Streaming(t)
	insert := func(id int) string {
		return fmt.Sprintf("INSERT INTO %s VALUES (%d, 'x', 1, 1, NULL), (%d, 'y', 1, 1, NULL)", h.name("items"), id, id+1)
	}
	steps := []struct {
		statements []string
		events     int
	}{
		{[]string{insert(10)}, 2},
		{[]string{insert(20), "UPDATE " + h.name("items") + " SET qty = 5 WHERE id < 15"}, 2 + 3},
		{[]string{"UPDATE " + h.name("items") + " SET id = 50 WHERE id = 10", "DELETE FROM " + h.name("items") + " WHERE id = 11"}, 3},
		{[]string{"DELETE FROM " + h.name("items")}, 4},
		{[]string{insert(30), insert(40)}, 4},
	}
	n := 1
	for _, step := range steps {
		h.Tx(t, true, step.statements...)
		n += step.events
		waitEvents(t, log, h.topic("items"), n)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	all := log.Records()
	want := lines(all)
	tried := map[int]bool{}
	for _, f := range log.Flushes() {
		if tried[f.Records] || f.Records == len(all) || all[f.Records].ID.IsPoint() || f.Records > 0 && all[f.Records-1].Marker != nil && all[f.Records-1].Marker.Kind != change.SnapshotEnd {
			continue // positions within the snapshot begin it anew
		}
		tried[f.Records] = true
		again := NewLog(f.Resume)
		c := h.StartSource(t, again, noConfirm{h.Open(t)}, capture.Options{})
		again.Wait(t, "same events", func(r []*Record) bool { return len(r) >= len(all)-f.Records })
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
		compare(t, fmt.Sprintf("events after record %d", f.Records), lines(again.Records()), want[f.Records:])
	}
	if len(tried) < len(steps) {
		t.Errorf("only %d restarts were tried", len(tried))
	}
}

func lines(records []*Record) []string {
	var out []string
	for _, r := range records {
		line := r.ID.String() + " " + string(r.Key)
		if e := r.Event; e != nil {
			line += fmt.Sprint(" ", show(e), " ", e.TxID, " ", e.TxOrder, " ", e.TableOrder, " ", e.CommitTime.UTC(), " ", e.Log)
		}
		out = append(out, line)
	}
	return out
}

// testCrashUnderLoad ends capture at random again and again while the database works.
func testCrashUnderLoad(t *testing.T, h *Harness) {
	h.create(t, "items")
	log := NewLog(nil)
	h.loadFor(t, rand.Uint64(), func() {
		for i := range 6 {
			c := h.Start(t, log)
			before := len(log.Records())
			log.Wait(t, "progress", func(r []*Record) bool { return len(r) > before+100 })
			c.Stop() //nolint:errcheck // the log may have been caught in a flush
			if i%2 == 0 {
				log.Crash()
			}
		}
		h.Start(t, log).Streaming(t)
	})
	h.fence(t, log)
	h.checkTable(t, log, "items")
	checkOrder(t, log.Records())
}

func testLogFails(t *testing.T, h *Harness) {
	h.create(t, "items")
	log := NewLog(nil)
	c := h.Start(t, log)
	c.Streaming(t)
	h.Exec(t, "INSERT INTO "+h.name("items")+" VALUES (0, 'a', 1, 1, NULL)")
	waitEvents(t, log, h.topic("items"), 1) // the snapshot's end is durable with it
	full := errors.New("disk full")
	log.Fail(full)
	h.Exec(t, "INSERT INTO "+h.name("items")+" VALUES (1, 'a', 1, 1, NULL)")
	if err := c.Wait(); !errors.Is(err, full) {
		t.Errorf("capture ended with %v, want the log's error", err)
	}
	log.Fail(nil)
	log.Crash()
	h.Start(t, log).Streaming(t)
	compare(t, "events", waitEvents(t, log, h.topic("items"), 2), []string{"c after 0 a 1 1.00 NULL", "c after 1 a 1 1.00 NULL"})
}

// testConfirm: what is durable is confirmed, and no more than that.
func testConfirm(t *testing.T, h *Harness) {
	h.create(t, "items")
	log := NewLog(nil)
	c := h.Start(t, log)
	c.Streaming(t)
	h.Exec(t, "INSERT INTO "+h.name("items")+" VALUES (1, 'a', 1, 1, NULL)")
	waitEvents(t, log, h.topic("items"), 1)
	Poll(t, "confirmed position", func() bool { s := c.Source.Status(); return s.Confirmed != "" && s.Position != "" })
}
