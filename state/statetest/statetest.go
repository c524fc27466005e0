// Package statetest has the suite that every state.Store passes.
package statetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

var values = cmp.Comparer(func(a, b change.Value) bool { return a == b })

// Run runs the suite. Open opens the same store again and again: what one has written the next finds.
func Run(t *testing.T, open func(t *testing.T) state.Store) {
	for name, test := range map[string]func(*testing.T, func(*testing.T) state.Store){
		"rows come back": rowsComeBack, "nothing is kept of a failed update": failedUpdate, "positions compare and set": positions,
		"queues": queues, "references": references, "history": history, "owners": owners, "marks": marks, "a view is one state": view,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

// update runs f in a new pipeline's transaction and returns the pipeline's ID.
func update(t *testing.T, s state.Store, pipeline string, f func(state.Tx, int64) error) int64 {
	t.Helper()
	var id int64
	if err := s.Update(t.Context(), func(tx state.Tx) error {
		p, err := tx.Pipeline(pipeline)
		if err != nil {
			return err
		}
		id = p.ID
		return f(tx, p.ID)
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

func closeStore(t *testing.T, s state.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func rowsComeBack(t *testing.T, open func(*testing.T) state.Store) {
	s := open(t)
	shadow := &state.Shadow{
		Key: []byte(`{"id":1}`), Partition: 3, Standing: state.InApp, Excluded: true, Deleted: true, AppID: "77", AppKey: change.OfInt(1), Applied: change.NewID(1, 2, 3, 4),
		Seen: change.NewID(1, 2, 3, 5), Time: 99, Sent: []change.Value{change.OfString("a\x00b"), change.Of(change.Null, ""), change.Of(change.Unchanged, "")},
		Stored: []state.Stored{{Field: 0, Text: "A"}}, PutBack: []state.PutBack{{Field: 1, Sent: "s", Found: "", Times: 2}, {Field: 0}},
		Links: []state.Link{{Name: "contact", To: "5"}, {Name: "contact", To: "6"}},
	}
	pending := &state.Pending{
		Queue: state.QueueOf(state.Change, state.Backfill, true), Seq: 5, Due: 7, Want: state.Remove, Cause: state.BySweep, Unknown: true, RemovalSent: true, Over: state.Archive,
		Attempts: 2, Since: 3, EventID: change.NewID(9, 8, 7, 6), Time: 4, Fingerprint: "f", Key: change.OfInt(1), Match: change.OfString("m"), Fields: []change.Value{change.OfBool(true)},
		Event: []byte("event"), Error: "e", Links: []state.Link{{Name: "company", To: "9"}},
	}
	quarantine := &state.Quarantine{
		Key: []byte("k"), EventID: change.NewID(1, 1, 1, 1), Partition: 1, Offset: 2, Code: "c", Message: "m", ByApp: true, Time: 3, Fingerprint: "f",
		Event: []byte("e"), Request: []change.Value{change.OfInt(3)},
	}
	move := &state.Move{Token: change.NewID(4, 4, 4, 4), Displaced: true, Time: 1, Key: []byte("k")}
	deferred := &state.Deferred{Key: []byte("k"), Partition: 2, Time: 5, Event: []byte("e")}
	delivery := state.Delivery{Paused: 1, Started: 2, Ended: 3, Since: 4, Backfilled: "p", Approved: "q"}
	verify := state.Verify{Target: "crm/contacts", Cursor: "c", Began: 1, Ended: 2, Looked: 3, Edited: 4, Gone: 5, Left: 6}
	guard := state.Guard{Tripped: true, Since: 1, Base: 2, Sent: []state.Minute{{At: 3, N: 4}}}
	id := update(t, s, "rows", func(tx state.Tx, id int64) error {
		if err := tx.PutShadow(id, shadow); err != nil {
			return err
		}
		pending.Record, quarantine.Record, move.Record = shadow.ID, shadow.ID, shadow.ID
		intent := &state.Intent{App: "crm", Items: []*state.Pending{pending}}
		p, err := tx.Pipeline("rows")
		p.Fingerprint, p.Layouts, p.Ledger = "print", [][]string{{"a", "b"}, {}}, state.Ledger{Taken: 3, Keys: state.Keys{InApp: -2}}
		return errors.Join(err, tx.PutPipeline(&p), tx.PutPending(id, pending), tx.PutIntent(id, intent), tx.PutQuarantine(id, quarantine), tx.PutMove(id, move), tx.PutDeferred(id, deferred),
			tx.PutGuard(id, state.Delete, &guard), tx.PutDelivery(id, &delivery), tx.PutVerify(id, &verify), tx.PutLeaving(id, "k", shadow.ID))
	})
	closeStore(t, s)
	s = open(t)
	defer closeStore(t, s)
	check := func(got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got, values); diff != "" {
			t.Error(diff)
		}
	}
	err := s.View(t.Context(), func(tx state.Tx) error {
		p, err := tx.Pipeline("rows")
		check(p, state.Pipeline{ID: id, Name: "rows", Fingerprint: "print", Layouts: [][]string{{"a", "b"}, {}}, Ledger: state.Ledger{Taken: 3, Keys: state.Keys{InApp: -2}}})
		n := 0
		seen := func(s *state.Shadow) error { n++; check(s, shadow); return nil }
		found, err2 := tx.QuarantineByRecord(id, shadow.ID)
		check(found, quarantine)
		g, err3 := tx.Guard(id, state.Delete)
		check(g, guard)
		d, err4 := tx.Delivery(id)
		check(d, delivery)
		v, err5 := tx.Verify(id)
		check(v, verify)
		err = errors.Join(err, err2, err3, err4, err5,
			tx.Shadows(id, [][]byte{shadow.Key, []byte("none")}, seen), tx.ShadowsByID(id, []int64{shadow.ID}, seen), tx.ScanShadows(id, 0, 10, seen),
			tx.PendingByRecord(id, []int64{shadow.ID}, func(p *state.Pending) error { n++; check(p, pending); return nil }),
			tx.Intents(id, func(in *state.Intent) error {
				n++
				want := *pending
				want.Due = 0
				check(in.Items[0], &want)
				return nil
			}),
			tx.Moves(id, func(m *state.Move) error { n++; check(m, move); return nil }),
			tx.Deferred(id, func(d *state.Deferred) error { n++; check(d, deferred); return nil }))
		check(n, 7)
		keys, err2 := tx.LeavingByRecord(id, shadow.ID)
		check(keys, []string{"k"})
		records, err3 := tx.LeavingByKey(id, "k")
		check(records, []int64{shadow.ID})
		count, err4 := tx.LeavingCount(id)
		check(count, int64(1))
		return errors.Join(err, err2, err3, err4)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func history(t *testing.T, open func(*testing.T) state.Store) {
	s := open(t)
	h := &state.History{Time: 5, Changes: []state.Changed{
		{Record: 1, Key: []byte("k"), Prev: 0, Kind: state.Archived, Cause: state.BySweep, EventID: change.NewID(1, 2, 3, 4), AppID: "9", Layout: 2,
			Fields: []state.ChangedField{{Field: state.KeyField, Old: change.OfInt(1), New: change.Of(change.Null, "")}, {Field: 0, Old: change.Of(change.Unchanged, ""), New: change.OfString("x")}}},
		{Record: 2, Key: []byte("l"), Kind: state.Created},
	}}
	rows := []*state.History{h}
	id := update(t, s, "history", func(tx state.Tx, id int64) error { return tx.PutHistory(id, h) })
	for n := range 500 {
		update(t, s, "history", func(tx state.Tx, id int64) error {
			next := &state.History{Time: int64(10 + n), Changes: []state.Changed{{Record: 2, Prev: rows[len(rows)-1].ID, Kind: state.Updated}}}
			rows = append(rows, next)
			return tx.PutHistory(id, next)
		})
	}
	closeStore(t, s)
	s = open(t)
	defer closeStore(t, s)
	chain := func(record, last int64, limit int) (times []int64) {
		t.Helper()
		err := s.View(t.Context(), func(tx state.Tx) error {
			return tx.HistoryOf(id, &state.Shadow{ID: record, History: last}, limit, func(at int64, c *state.Changed) error {
				if record == 1 {
					if diff := cmp.Diff(&h.Changes[0], c, values); diff != "" {
						t.Error(diff)
					}
				}
				times = append(times, at)
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return times
	}
	last := rows[500].ID
	if got := chain(1, h.ID, 10); len(got) != 1 {
		t.Errorf("record 1: %v", got)
	}
	if got := chain(2, last, 1000); len(got) != 501 || got[0] != 509 || got[500] != 5 {
		t.Errorf("record 2 has %d changes", len(got))
	}
	if got := chain(2, last, 7); len(got) != 7 {
		t.Errorf("%d changes, want the limit", len(got))
	}
	trimmed := func(before, most int64, want int) {
		t.Helper()
		if err := s.TrimHistory(t.Context(), before, most); err != nil {
			t.Fatal(err)
		}
		if got := chain(2, last, 1000); len(got) != want {
			t.Errorf("trimmed to %d changes, want %d", len(got), want)
		}
	}
	trimmed(0, 1<<30, 501)
	trimmed(260, 1<<30, 250)
	size := int64(0)
	if err := s.View(t.Context(), func(tx state.Tx) error {
		return tx.ScanHistory(id, last+1, 10, func(h *state.History) error {
			size++
			if want := last + 1 - size; h.ID != want {
				t.Errorf("row %d, want %d", h.ID, want)
			}
			return nil
		})
	}); err != nil || size != 10 {
		t.Errorf("scanned %d rows, %v", size, err)
	}
	trimmed(0, 1, 0)
}

func failedUpdate(t *testing.T, open func(*testing.T) state.Store) {
	s := open(t)
	defer closeStore(t, s)
	stop := errors.New("stop")
	id := update(t, s, "failed", func(state.Tx, int64) error { return nil })
	err := s.Update(t.Context(), func(tx state.Tx) error {
		if err := tx.PutShadow(id, &state.Shadow{Key: []byte("x")}); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatalf("got %v, want the function's own error", err)
	}
	update(t, s, "failed", func(tx state.Tx, id int64) error {
		return tx.Shadows(id, [][]byte{[]byte("x")}, func(*state.Shadow) error { return errors.New("it was kept") })
	})
}

func positions(t *testing.T, open func(*testing.T) state.Store) {
	s := open(t)
	defer closeStore(t, s)
	zero := state.Position{Topic: "t", Partition: 2}
	at := func(offset, generation int64) *state.Position {
		return &state.Position{Topic: "t", Partition: 2, Offset: offset, Generation: generation, LastID: change.NewID(1, uint64(offset), 0, 0)}
	}
	id := update(t, s, "positions", func(tx state.Tx, id int64) error {
		return errors.Join(tx.Advance(id, &zero, at(10, 1)), tx.Advance(id, at(10, 1), at(20, 2)))
	})
	for name, move := range map[string][2]*state.Position{
		"from another offset": {at(10, 2), at(30, 2)}, "by a former owner": {at(20, 1), at(30, 1)}, "from the start": {&zero, at(5, 9)},
	} {
		err := s.Update(t.Context(), func(tx state.Tx) error { return tx.Advance(id, move[0], move[1]) })
		if !errors.Is(err, state.ErrStale) {
			t.Errorf("%s: got %v, want ErrStale", name, err)
		}
	}
	swept := at(20, 2)
	swept.Snapshot, swept.Begin, swept.Unseen, swept.End = "2", change.NewID(1, 15, 0, 0), change.NewID(1, 8, 0, 0), change.NewID(1, 12, 0, 0)
	for _, want := range []*state.Position{at(20, 2), swept} {
		update(t, s, "positions", func(tx state.Tx, id int64) error {
			if err := tx.Advance(id, at(20, 2), want); err != nil {
				return err
			}
			got, err := tx.Position(id, "t", 2)
			if diff := cmp.Diff(*want, got); diff != "" {
				t.Error(diff)
			}
			return err
		})
	}
}

func queues(t *testing.T, open func(*testing.T) state.Store) {
	s := open(t)
	defer closeStore(t, s)
	q, approved := state.QueueOf(state.Delete, state.Live, false), state.QueueOf(state.Delete, state.Live, true)
	update(t, s, "queues", func(tx state.Tx, id int64) error {
		for i := int64(1); i <= 150; i++ {
			if err := tx.PutPending(id, &state.Pending{Record: 1000 + i, Queue: q, Seq: 200 - i, Due: i % 2 * 100}); err != nil {
				return err
			}
		}
		var got []int64
		err := tx.NextPending(id, q, 50, 3, func(p *state.Pending) error { got = append(got, p.Seq); return nil })
		if diff := cmp.Diff([]int64{50, 52, 54}, got); diff != "" {
			t.Error(diff)
		}
		n, err2 := tx.Requeue(id, q, approved, 59)
		counts, err3 := tx.PendingCounts(id)
		if diff := cmp.Diff(map[state.Queue]int64{q: 140, approved: 10}, counts); n != 10 || diff != "" {
			t.Error(n, diff)
		}
		seq, err4 := tx.MaxSeq()
		if seq != 199 {
			t.Errorf("max seq: got %d, want 199", seq)
		}
		ids := make([]int64, 150)
		for i := range ids {
			ids[i] = 1001 + int64(i)
		}
		found := map[int64]int{}
		err5 := tx.PendingByRecord(id, ids, func(p *state.Pending) error { found[p.Record]++; return nil })
		if len(found) != 150 {
			t.Errorf("found %d of 150", len(found))
		}
		return errors.Join(err, err2, err3, err4, err5)
	})
}

func references(t *testing.T, open func(*testing.T) state.Store) {
	s := open(t)
	const parent = int64(77)
	update(t, s, "references", func(tx state.Tx, id int64) error {
		put := func(record int64, name, key string, due int64) error {
			return tx.PutReference(id, &state.Reference{Record: record, Name: name, Parent: parent, Key: []byte(key), Due: due})
		}
		return errors.Join(
			put(1, "contact", "a", 500), put(1, "contact", "a", 900), // it has waited since the first
			put(1, "company", "a", state.Settled),
			put(2, "contact", "a", 400), put(2, "contact", "b", 900), tx.DeleteOtherReferences(id, &state.Reference{Record: 2, Name: "contact", Key: []byte("b")}),
			put(3, "contact", "b", 600), put(3, "contact", "b", state.Settled),
			put(4, "contact", "a", 300), tx.DeleteReferences(id, 4),
			put(5, "contact", "a", 300), put(5, "company", "a", state.Settled), tx.DeleteReference(id, &state.Reference{Record: 5, Name: "contact", Key: []byte("a")}),
			put(6, "contact", "a", 300), tx.DeleteOtherReferences(id, &state.Reference{Record: 6, Name: "contact"}),
			tx.PutPending(id, &state.Pending{Record: 1, Queue: state.Waiting}), tx.PutPending(id, &state.Pending{Record: 2}))
	})
	closeStore(t, s)
	s = open(t)
	defer closeStore(t, s)
	update(t, s, "references", func(tx state.Tx, id int64) error {
		due := func(now int64) (got []state.Reference) {
			if err := tx.DueReferences(id, now, 10, func(r *state.Reference) error { got = append(got, *r); return nil }); err != nil {
				t.Error(err)
			}
			return got
		}
		if diff := cmp.Diff([]state.Reference{{Record: 1, Name: "contact", Parent: parent, Key: []byte("a"), Due: 500}}, due(899)); diff != "" {
			t.Error(diff)
		}
		waiting, err := tx.WaitingReferences(id)
		if diff := cmp.Diff(map[string]int64{"contact": 1}, waiting); diff != "" {
			t.Error(diff)
		}
		next, err2 := tx.NextReference(id)
		other, err3 := tx.NextReference(id + 1)
		if next != 500 || other != state.Settled {
			t.Errorf("next due: got %d and %d", next, other)
		}
		n, err4 := tx.MarkReferences(parent, []byte("a"))
		none, err5 := tx.MarkReferences(parent+1, []byte("a"))
		if got := due(0); n != 3 || none != 0 || len(got) != 3 {
			t.Errorf("marked: got %d and %d, due %v", n, none, got)
		}
		return errors.Join(err, err2, err3, err4, err5)
	})
}

func owners(t *testing.T, open func(*testing.T) state.Store) {
	s := open(t)
	defer closeStore(t, s)
	update(t, s, "owners", func(tx state.Tx, id int64) error {
		if err := errors.Join(tx.Own(id, "7", 1), tx.Own(id, "7", 1)); err != nil {
			return err
		}
		if err := tx.Own(id, "7", 2); !errors.Is(err, state.ErrOwned) {
			return fmt.Errorf("got %w, want ErrOwned", err)
		}
		return errors.Join(tx.Disown(id, "7"), tx.Own(id, "7", 2))
	})
}

func marks(t *testing.T, open func(*testing.T) state.Store) {
	s := open(t)
	if got, err := s.Load(t.Context(), "shop"); err != nil || got != nil {
		t.Fatalf("got %q, %v, want none", got, err)
	}
	if err := errors.Join(s.Save(t.Context(), "shop", []byte("one")), s.Save(t.Context(), "shop", []byte("two\x00"))); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = open(t)
	defer closeStore(t, s)
	if got, err := s.Load(t.Context(), "shop"); err != nil || string(got) != "two\x00" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func view(t *testing.T, open func(*testing.T) state.Store) {
	s := open(t)
	defer closeStore(t, s)
	id := update(t, s, "view", func(tx state.Tx, id int64) error { return nil })
	err := s.View(t.Context(), func(tx state.Tx) error {
		if _, err := tx.Pipeline("view"); err != nil { // the view's state is that of its first read
			return err
		}
		if err := s.Update(context.Background(), func(tx state.Tx) error { return tx.PutShadow(id, &state.Shadow{Key: []byte("v")}) }); err != nil {
			return err
		}
		if err := tx.PutShadow(id, &state.Shadow{Key: []byte("w")}); err == nil {
			return errors.New("a view was written to")
		}
		return tx.ScanShadows(id, 0, 10, func(*state.Shadow) error { return errors.New("it sees what came later") })
	})
	if err != nil {
		t.Fatal(err)
	}
}
