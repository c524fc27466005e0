package capturetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

func testSnapshot(t *testing.T, h *Harness) {
	h.create(t, "items", "empty")
	for i := range 30 {
		h.Exec(t, fmt.Sprintf("INSERT INTO %s VALUES (%d, 'row %d', %d, %d.5, 'text')", h.name("items"), i, i, i, i))
	}
	log := NewLog(nil)
	c := h.Start(t, log)
	c.Streaming(t)
	h.Exec(t, "INSERT INTO "+h.name("items")+" VALUES (100, 'new', 1, 1, NULL)")
	waitEvents(t, log, h.topic("items"), 31)
	markers := map[string][]string{}
	reads, ended := 0, false
	for _, r := range log.Records() {
		switch {
		case r.Marker != nil:
			markers[r.Topic] = append(markers[r.Topic], string(r.Marker.Kind))
			if r.Marker.Snapshot == "" || !r.Everywhere || r.Key != nil {
				t.Errorf("marker %v, everywhere %v, key %q", *r.Marker, r.Everywhere, r.Key)
			}
			if r.Topic == h.topic("items") {
				ended = r.Marker.Kind == change.SnapshotEnd
			}
		case r.Event != nil && r.Event.Op == change.Read:
			reads++
			if ended || r.Event.Snapshot == "" || !r.ID.IsPoint() {
				t.Errorf("snapshot row %s: after the end marker %v, snapshot %q", r.Key, ended, r.Event.Snapshot)
			}
		}
	}
	want := []string{"snapshot_begin", "snapshot_end"}
	for _, table := range []string{"items", "empty"} {
		compare(t, "markers of "+table, markers[h.topic(table)], want)
	}
	if reads != 30 {
		t.Errorf("got %d snapshot rows, want 30", reads)
	}
	events := log.Events(h.topic("items"))
	if first, last := events[0].Snapshot, events[29].Snapshot; first != "first" || last != "last" && last != "true" {
		t.Errorf("first and last snapshot row have %q and %q", first, last)
	}
	h.checkTable(t, log, "items")
	checkOrder(t, log.Records())
	for _, st := range c.Source.Status().Tables {
		if st.Snapshot != "done" || strings.HasSuffix(st.Name, "items") && st.SnapshotRows != 30 {
			t.Errorf("status of table: %+v", st)
		}
	}
}

// load changes the table items at random until its context ends, in transactions of
// which some roll back. Texts may be large.
func (h *Harness) load(ctx context.Context, t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		var statements []string
		for range 1 + random.IntN(5) {
			id := random.IntN(200)
			switch random.IntN(6) {
			case 0, 1:
				statements = append(statements, fmt.Sprintf("DELETE FROM %s WHERE id = %d", h.name("items"), id),
					fmt.Sprintf("INSERT INTO %s VALUES (%d, 'n%d', %d, %d.75, REPEAT('long ', %d))", h.name("items"), id, random.IntN(1000), random.IntN(1000), random.IntN(1000), random.IntN(2000)))
			case 2, 3:
				statements = append(statements, fmt.Sprintf("UPDATE %s SET qty = %d, name = 'u%d' WHERE id = %d", h.name("items"), random.IntN(1000), random.IntN(1000), id))
			case 4:
				statements = append(statements, fmt.Sprintf("DELETE FROM %s WHERE id = %d", h.name("items"), id))
			case 5:
				other := random.IntN(200)
				statements = append(statements, fmt.Sprintf("DELETE FROM %s WHERE id = %d AND %d <> %d", h.name("items"), other, other, id),
					fmt.Sprintf("UPDATE %s SET id = %d WHERE id = %d", h.name("items"), other, id))
			}
		}
		h.Tx(t, random.IntN(10) > 0, statements...)
	}
}

// loadFor runs load beside f.
func (h *Harness) loadFor(t *testing.T, seed uint64, f func()) {
	t.Helper()
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.load(ctx, t, seed)
	}()
	f()
	cancel()
	<-done
}

// fence writes a row whose arrival says that all before it has arrived.
func (h *Harness) fence(t *testing.T, log *Log) {
	t.Helper()
	h.Exec(t, "INSERT INTO "+h.name("items")+" VALUES (-1, 'fence', 0, 0, NULL)")
	log.Wait(t, "fence", func(records []*Record) bool {
		for _, r := range slices.Backward(records) {
			if r.Event != nil && r.Event.After != nil && r.Event.After[0].Text() == "-1" {
				return true
			}
		}
		return false
	})
}

func testSnapshotUnderLoad(t *testing.T, h *Harness) {
	h.create(t, "items")
	var log *Log
	h.loadFor(t, rand.Uint64(), func() {
		Poll(t, "rows", func() bool { return len(h.Query(t, "SELECT id FROM "+h.name("items"))) > 50 })
		log = NewLog(nil)
		h.Start(t, log).Streaming(t)
		waitEvents(t, log, h.topic("items"), 500)
	})
	h.fence(t, log)
	h.checkTable(t, log, "items")
	checkOrder(t, log.Records())
}

// testSnapshotCrash ends capture in the middle of a snapshot: it goes on or begins anew,
// with ids that were not used before.
func testSnapshotCrash(t *testing.T, h *Harness) {
	h.create(t, "items")
	var rows []string
	for i := range 2000 {
		rows = append(rows, fmt.Sprintf("(%d, 'row %d', %d, 1, '%s')", i, i, i, strings.Repeat("x", 500)))
	}
	h.Exec(t, "INSERT INTO "+h.name("items")+" VALUES "+strings.Join(rows, ", "))
	log := NewLog(nil)
	limit := &limitLog{Log: log, limit: 1000}
	src := h.Open(t)
	if err := src.Check(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	err := capture.Run(t.Context(), src, limit, change.NewEncoder(h.Identity), capture.Options{BatchBytes: 1000, BufferBytes: 20_000})
	if !errors.Is(err, errLimit) {
		t.Fatalf("capture ended with %v, want that of the log", err)
	}
	h.Exec(t, "DELETE FROM "+h.name("items")+" WHERE id = 5")
	log.Crash()
	h.Start(t, log).Streaming(t)
	h.fence(t, log)
	h.checkTable(t, log, "items")
	checkOrder(t, log.Records())
	seen := map[string]bool{}
	for _, r := range log.Records() {
		if r.Marker != nil && r.Marker.Kind == change.SnapshotBegin {
			seen[r.Marker.Snapshot] = true
		}
	}
	if want := map[bool]int{false: 2, true: 1}[h.Resumes]; len(seen) != want {
		t.Errorf("two attempts have the snapshots %v, want %d", slices.Sorted(maps.Keys(seen)), want)
	}
}
