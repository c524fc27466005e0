package sink_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// lacking is a plant with a customer who enters `where` by an update that leaves the name out; read gives the row as it is now.
func lacking(t *testing.T, read func(id int) (change.Row, bool)) (*plant, *shop, *sinktest.Vendor) {
	v := sinktest.NewVendor("source_id", sink.Limits{Batch: 10, Read: 10, Concurrent: 2})
	s := newShop(1)
	p := newPlant(t, v, 1, func(spec *sink.Spec) { spec.Rows = table{s: s, row: read, lock: &sync.Mutex{}} })
	p.open()
	s.begin()
	s.insert(row(1, "a@x.test", "A", "test", 1, 1))
	s.begin()
	s.update(unsaid(row(1, "a@x.test", "", "pro", 2, 1)))
	return p, s, v
}

func TestRowIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, v := lacking(t, func(int) (change.Row, bool) { return row(1, "a@x.test", "A", "pro", 2, 1), true })
		defer func() { p.stop() }()
		p.take(s, 10)
		p.settle()
		if got := v.Live()["1"]; got["name"] != "A" || got["ver"] != "2" {
			t.Errorf("the app has %v", got)
		}
		if l := p.ledger(); l.Rejected != 0 || l.Applied != 1 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// What the table has by now is not what the event left out: it is left to the events that made it.
func TestNewerRowDoesNotCompleteAnOlderEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := row(1, "a@x.test", "C", "pro", 4, 1)
		p, s, v := lacking(t, func(int) (change.Row, bool) { return now, true })
		defer func() { p.stop() }()
		var seen []string
		v.Observe = func(_ sink.Action, _ string, fields map[string]string) error {
			seen = append(seen, fields["ver"]+fields["name"])
			return nil
		}
		p.take(s, 10)
		<-time.After(10 * time.Second)
		if len(v.Live()) != 0 {
			t.Fatalf("sent before its events: %v", v.Live())
		}
		if st := p.status(); st.Reselected != 1 {
			t.Errorf("%d rows are to be read again, want 1", st.Reselected)
		}
		s.begin()
		s.update(row(1, "a@x.test", "B", "pro", 3, 1))
		p.take(s, 10)
		<-time.After(10 * time.Second)
		s.begin()
		s.update(unsaid(row(1, "a@x.test", "", "pro", 4, 1)))
		p.take(s, 10)
		p.settle()
		if len(seen) != 2 || seen[0] != "3B" || seen[1] != "4B" {
			t.Errorf("the app saw %v", seen)
		}
	})
}

// A row that is gone is left to its delete, and one that stays as it is not is left in quarantine in the end.
func TestRowThatCantBeCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := true
		p, s, v := lacking(t, func(int) (change.Row, bool) { return row(1, "other@x.test", "A", "pro", 2, 1), there })
		defer func() { p.stop() }()
		p.take(s, 10)
		p.settle() // it ends: what was tried often enough keeps nobody waiting
		if l := p.ledger(); l.Rejected != 1 || len(v.Live()) != 0 {
			t.Errorf("ledger %+v, app %v", l, v.Live())
		}
		there = false
		s.begin()
		s.delete(row(1, "a@x.test", "A", "pro", 2, 1))
		p.take(s, 10)
		p.settle()
		if l := p.ledger(); l.Rejected != 0 || len(v.Live()) != 0 {
			t.Errorf("after the delete: ledger %+v, app %v", l, v.Live())
		}
	})
}

// Killed between the read and its use, it is read again.
func TestReselectOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		p, s, v := lacking(t, func(int) (change.Row, bool) { reads++; return row(1, "a@x.test", "A", "pro", 2, 1), reads > 1 })
		p.take(s, 10)
		<-time.After(500 * time.Millisecond)
		p.stop()
		p.open()
		defer func() { p.stop() }()
		p.settle()
		if v.Live()["1"]["name"] != "A" || reads != 2 {
			t.Errorf("after %d reads the app has %v", reads, v.Live())
		}
	})
}
