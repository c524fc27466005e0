package sink_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/sink"
)

func inBubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func cut(l string) (from, to string, ok bool) { return strings.Cut(l, " ") }

// wantLinks compares the associations, by source keys.
func (e *estate) wantLinks(want ...string) {
	e.t.Helper()
	got := slices.Sorted(maps.Keys(e.linked()))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		e.t.Errorf("associations: got %v, want %v", got, want)
	}
}

// A deal waits for its customer without holding up others, and is sent as soon as it is there.
func TestChildWaitsForItsParent(t *testing.T) {
	estates(t, nil, func(t *testing.T, e *estate) {
		e.customers.insert(customer(1))
		e.take("customers")
		e.settle()
		e.deals.insert(deal(1, 1, 1))
		e.deals.insert(deal(2, 2, 1)) // its customer is not there
		e.deals.insert(deal(3, 0, 1)) // has none
		e.deals.insert(deal(4, 2, 1))
		e.deals.begin()
		e.deals.delete(deal(4, 2, 1)) // is gone while it waits
		e.take("deals")
		e.settle()
		live := e.account.Objects["deals"].Live()
		if len(live) != 2 || live["1"] == nil || live["3"] == nil {
			t.Fatalf("the app has the deals %v", live)
		}
		l := e.ledger("deals")
		if l.Waiting != 1 || l.Keys.Waiting != 1 {
			t.Errorf("ledger %+v", l)
		}
		for _, p := range e.engine.Status().Pipelines {
			if p.Name == "deals" && !slices.Equal(p.Parents, []sink.ParentWait{{Name: "contact", Pipeline: "customers", Records: 1}}) {
				t.Errorf("status has %+v", p.Parents)
			}
		}
		e.wantLinks("1-1")

		e.stop()
		e.open()
		e.settle()
		if l := e.ledger("deals"); l.Waiting != 1 {
			t.Errorf("after a restart: ledger %+v", l)
		}
		began := time.Now()
		e.customers.begin()
		e.customers.insert(customer(2))
		e.take("customers")
		e.settle()
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("the deal was sent %s after its customer", waited)
		}
		e.wantLinks("1-1", "2-2")
		if l := e.ledger("deals"); l.Waiting+l.Pending+l.Rejected != 0 || l.Keys.InSync != 3 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// What is associated already makes no call; a changed foreign key moves the association, NULL takes it away.
func TestAssociationFollowsTheForeignKey(t *testing.T) {
	estates(t, nil, func(t *testing.T, e *estate) {
		for id := 1; id <= 3; id++ {
			e.customers.insert(customer(id))
		}
		e.deals.insert(deal(1, 1, 1))
		e.both()
		e.wantLinks("1-1")
		calls, _ := e.account.Associated()
		e.deals.begin()
		e.deals.update(deal(1, 1, 2))
		e.both()
		if again, _ := e.account.Associated(); again != calls {
			t.Errorf("an unchanged association made %d calls", again-calls)
		}
		pushes, _ := e.account.Objects["deals"].Calls()
		e.deals.begin()
		e.deals.update(deal(1, 2, 2))
		e.both()
		e.wantLinks("1-2")
		if again, _ := e.account.Objects["deals"].Calls(); again != pushes {
			t.Errorf("the record was written %d times, though only its parent changed", again-pushes)
		}
		e.deals.begin()
		e.deals.update(deal(1, 0, 2))
		e.both()
		e.wantLinks()
		e.deals.begin()
		e.deals.update(deal(1, 3, 3))
		e.both()
		e.wantLinks("1-3")
		e.deals.begin()
		e.deals.delete(deal(1, 3, 3))
		calls, _ = e.account.Associated()
		e.both()
		if again, _ := e.account.Associated(); again != calls || len(e.account.Objects["deals"].Live()) != 0 {
			t.Errorf("the delete made %d calls for associations", again-calls)
		}
		if l := e.ledger("deals"); l.Waiting+l.Pending+l.Rejected != 0 {
			t.Errorf("ledger %+v", l)
		}
	})
}
