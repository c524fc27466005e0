package sink_test

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

func newVendor() *sinktest.Vendor {
	v := sinktest.NewVendor("source_id", sink.Limits{Batch: 10, Read: 10, Concurrent: 3})
	v.Unique = "email"
	return v
}

// onCall fails one call, the first being 1.
func onCall(n int, fault sinktest.Fault) func(int, sink.Action, []sink.Change) sinktest.Fault {
	return func(call int, _ sink.Action, _ []sink.Change) sinktest.Fault {
		if call == n {
			return fault
		}
		return sinktest.None
	}
}

func TestRowsBecomeRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor()
		p := newPlant(t, v, 2, nil)
		p.open()
		defer func() { p.stop() }()
		s := newShop(2)
		s.begin()
		for id := 1; id <= 25; id++ {
			s.insert(row(id, "c"+itoa(id)+"@x.test", "C", "pro", 1, id))
		}
		s.insert(row(90, "", "no mail", "pro", 1, 90))
		s.insert(row(91, "t@x.test", "test", "test", 1, 91))
		s.begin()
		s.update(row(3, "c3@x.test", "New", "pro", 2, 3))
		s.update(row(4, "c4@x.test", "C", "test", 2, 4))
		s.delete(row(5, "c5@x.test", "C", "pro", 1, 5))
		p.take(s, 7)
		p.settle()
		live := v.Live()
		if got, want := len(live), 23; got != want {
			t.Errorf("records: got %d, want %d", got, want)
		}
		want := map[string]string{"id": live["3"]["id"], "source_id": "3", "email": "c3@x.test", "name": "New", "ver": "2", "ident": "3", "stage": "lead"}
		if diff := cmp.Diff(want, live["3"]); diff != "" {
			t.Error(diff)
		}
		if live["4"] != nil || live["5"] != nil {
			t.Error("what left or was deleted is still there")
		}
		l := p.ledger()
		if l.Rejected != 1 || l.Keys.InSync != 23 {
			t.Errorf("ledger: %+v", l)
		}
		if err := v.Err(); err != nil {
			t.Error(err)
		}
	})
}
