package sink_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

// bubble runs a test in virtual time with an open plant of one partition.
func bubble(t *testing.T, change func(*sink.Spec), test func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor)) {
	t.Helper()
	bubbleOf(t, 1, change, test)
}

func bubbleOf(t *testing.T, partitions int, change func(*sink.Spec), test func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := newVendor()
		p := newPlant(t, v, partitions, change)
		p.open()
		defer func() { p.stop() }()
		test(t, p, newShop(partitions), v)
		if err := v.Err(); err != nil {
			t.Error(err)
		}
	})
}

func customer(id int) change.Row { return row(id, "c"+itoa(id)+"@x.test", "C", "pro", 1, id) }

func (p *plant) fill(s *shop, n int) {
	s.begin()
	for id := 1; id <= n; id++ {
		s.insert(customer(id))
	}
	p.take(s, 100)
	p.settle()
}

func TestGuardStopsMassDelete(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 100)
		s.begin()
		for id := 1; id <= 30; id++ {
			s.delete(customer(id))
		}
		s.update(row(50, "c50@x.test", "New", "pro", 2, 50))
		p.take(s, 100)
		if g := p.settle(); g.Guarded != 30 {
			t.Fatalf("guarded: got %d, want 30", g.Guarded)
		}
		live := v.Live()
		if len(live) != 100 || live["50"]["name"] != "New" {
			t.Fatalf("%d records, want 100 and the change let through", len(live))
		}
		p.stop()
		p.open()
		stops := p.engine.Guards()
		if len(stops) != 1 || stops[0].Queued != 30 || stops[0].Limit != 20 {
			t.Fatalf("after a restart: %+v", stops)
		}
		s.begin()
		s.delete(customer(31)) // after it was listed
		p.take(s, 100)
		n, err := p.engine.Approve(t.Context(), stops[0])
		if err != nil || n != 30 {
			t.Fatalf("approve: %d, %v", n, err)
		}
		p.settle()
		if got := len(v.Live()); got > 70 || got < 69 {
			t.Errorf("%d records after the approval, want what was seen gone", got)
		}
	})
}

func TestTruncateIsHeld(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 5)
		s.truncate()
		s.begin()
		s.insert(row(2, "c2@x.test", "Back", "pro", 2, 2))
		p.take(s, 100)
		if g := p.settle(); g.Held != 4 {
			t.Errorf("held: got %d, want 4", g.Held)
		}
		live := v.Live()
		if len(live) != 5 || live["2"]["name"] != "Back" {
			t.Errorf("%d records, key 2 %v", len(live), live["2"])
		}
		stops := p.engine.Guards()
		if len(stops) != 1 || stops[0].Kind != "truncate" {
			t.Fatalf("guards: %+v", stops)
		}
		if _, err := p.engine.Approve(t.Context(), stops[0]); err != nil {
			t.Fatal(err)
		}
		p.settle()
		if live := v.Live(); len(live) != 1 {
			t.Errorf("%d records after the approval, want 1", len(live))
		}
	})
}

func TestSnapshotFindsWhatWasDeleted(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 10)
		pushes, _ := v.Calls()
		s.marker(change.SnapshotBegin, "1")
		s.begin()
		for id := 1; id <= 8; id++ {
			s.read(customer(id), id)
		}
		s.begin()
		s.insert(customer(11))
		s.marker(change.SnapshotEnd, "1")
		p.take(s, 3)
		p.settle()
		live := v.Live()
		if len(live) != 9 || live["9"] != nil || live["10"] != nil || live["11"] == nil {
			t.Errorf("records: %v", len(live))
		}
		if again, _ := v.Calls(); again-pushes != 2 {
			t.Errorf("%d calls, want 2: rows that did not change make none", again-pushes)
		}
	})
}

// The first snapshot's row 2 has another key and e-mail owner by the second, of which only the end tells that 2 is gone.
func TestSnapshotTakesWhatAGoneRowHeld(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		v.Unique = "email"
		p.fill(s, 4)
		s.marker(change.SnapshotBegin, "1")
		s.begin()
		for _, id := range []int{1, 3, 4} {
			s.read(customer(id), id)
		}
		s.read(row(9, "c2@x.test", "C", "pro", 2, 9), 9)
		p.take(s, 3)
		<-time.After(time.Hour)
		if n := p.ledger().Rejected; n != 0 {
			t.Errorf("%d records in quarantine before the snapshot's end", n)
		}
		s.marker(change.SnapshotEnd, "1")
		p.take(s, 3)
		p.settle()
		live := v.Live()
		if len(live) != 4 || live["2"] != nil || live["9"]["email"] != "c2@x.test" {
			t.Errorf("the app has %v", live)
		}
		if l := p.ledger(); l.Rejected != 0 {
			t.Errorf("ledger %+v", l)
		}
	})
}

func TestRecordsThereBeforeAreAdopted(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		id := v.Add(map[string]string{"email": "C1@x.test", "stage": "customer"})
		v.Add(map[string]string{"email": "c2@x.test", "source_id": "other"})
		p.fill(s, 3)
		live := v.Live()
		if live["1"]["id"] != id || live["1"]["name"] != "C" || live["1"]["stage"] != "customer" {
			t.Errorf("adopted: %v", live["1"])
		}
		if live["3"] == nil || live["2"] != nil {
			t.Error("the others are not as they should be")
		}
		var codes []string
		if err := p.engine.Quarantined(t.Context(), sink.QuarantineFilter{}, func(_ string, q *state.Quarantine) error {
			codes = append(codes, q.Code+" "+string(q.Key))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(codes) != 1 || codes[0] != `conflict {"id":2}` {
			t.Errorf("quarantine: %q", codes)
		}
	})
}

// All values of match must be a record's. The app keeps the e-mail unique, so a row that shares that alone is a conflict.
func TestMatchBySeveralFields(t *testing.T) {
	also := func(s *sink.Spec) { s.Program = program{print: "1", also: []string{"name"}} }
	bubble(t, also, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		id := v.Add(map[string]string{"email": "c1@x.test", "name": "c"})
		v.Add(map[string]string{"email": "c2@x.test", "name": "Another"})
		p.fill(s, 3)
		live := v.Live()
		if live["1"]["id"] != id || live["2"] != nil || live["3"] == nil {
			t.Errorf("the app has %v", live)
		}
		if l := p.ledger(); l.Rejected != 1 {
			t.Errorf("ledger %+v, want the second in quarantine", l)
		}
	})
}

func TestPoisonIsQuarantinedAndReplayed(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		v.SetFault(func(_ int, _ sink.Action, changes []sink.Change) sinktest.Fault {
			for _, c := range changes {
				if c.Key.Value.Text() == "7" {
					return sinktest.Refuse
				}
			}
			return sinktest.None
		})
		p.fill(s, 10)
		if got := len(v.Live()); got != 9 {
			t.Fatalf("%d records, want all but the poison", got)
		}
		v.SetFault(nil)
		var id int64
		if err := p.engine.Quarantined(t.Context(), sink.QuarantineFilter{Code: "VALIDATION"}, func(_ string, q *state.Quarantine) error { id = q.ID; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := p.engine.Replay(t.Context(), "crm", id); err != nil {
			t.Fatal(err)
		}
		p.settle()
		if v.Live()["7"] == nil || p.ledger().Rejected != 0 {
			t.Errorf("after the replay: ledger %+v", p.ledger())
		}
	})
}

func TestRemovedInTheAppIsHeld(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 2)
		v.Archive(v.Live()["1"]["id"])
		s.begin()
		s.update(row(1, "c1@x.test", "New", "pro", 2, 1))
		p.take(s, 10)
		if g := p.settle(); g.Held != 1 || len(v.Live()) != 1 {
			t.Errorf("%+v, %d records", g, len(v.Live()))
		}
	})
}

func TestVendorsFormCausesNoSecondWrite(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		v.Canon = func(field, value string) string {
			if field == "name" {
				return "+" + value
			}
			return value
		}
		p.fill(s, 1)
		pushes, _ := v.Calls()
		for range 3 {
			s.begin()
			s.update(customer(1))
			p.take(s, 10)
			p.settle()
		}
		if again, _ := v.Calls(); again != pushes {
			t.Errorf("%d more calls, want none", again-pushes)
		}
	})
}

func TestFormerOwnerIsRefused(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 1)
		if _, err := p.engine.Pipeline("crm").Assign(t.Context(), customers.Topic, 0, 5); err != nil {
			t.Fatal(err)
		}
		if _, err := p.engine.Pipeline("crm").Assign(t.Context(), customers.Topic, 0, 4); err == nil {
			t.Error("an older generation was let in")
		}
	})
}

// What becomes of a record does not depend on how fast the app was: a removal that waits is not undone by what happens to
// its key after.
func TestLaterEventsUndoNoRemoval(t *testing.T) {
	for _, onLeave := range []string{"ignore", "set"} {
		t.Run("a row that does not pass takes the key, "+onLeave, func(t *testing.T) {
			bubble(t, func(s *sink.Spec) { s.OnDelete, s.OnLeave, s.SetOnLeave = "archive", onLeave, setTo("left") }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
				p.fill(s, 2)
				s.begin()
				s.delete(customer(1))
				s.begin()
				s.insert(row(1, "new@x.test", "New", "test", 1, 9))
				p.take(s, 100)
				p.settle()
				if live := v.Live(); len(live) != 1 || live["2"] == nil {
					t.Errorf("the app has %v", live)
				}
			})
		})
	}
	t.Run("a row that left is deleted", func(t *testing.T) {
		bubble(t, func(s *sink.Spec) { s.OnDelete, s.OnLeave = "ignore", "archive" }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
			p.fill(s, 2)
			s.begin()
			s.update(row(1, "c1@x.test", "C", "test", 2, 1))
			s.begin()
			s.delete(row(1, "c1@x.test", "C", "test", 2, 1))
			p.take(s, 100)
			p.settle()
			if live := v.Live(); len(live) != 1 || live["2"] == nil {
				t.Errorf("the app has %v", live)
			}
		})
	})
}
