package sink_test

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
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

// A newer event of a deal that waits may have another parent, or none.
func TestForeignKeyChangesWhileItWaits(t *testing.T) {
	estates(t, nil, func(t *testing.T, e *estate) {
		e.customers.insert(customer(1))
		e.deals.insert(deal(1, 2, 1))
		e.deals.insert(deal(2, 2, 1))
		e.both()
		e.wantLinks()
		e.deals.begin()
		e.deals.update(deal(1, 1, 2))
		e.deals.update(deal(2, 0, 2))
		e.both()
		e.wantLinks("1-1")
		if live := e.account.Objects["deals"].Live(); len(live) != 2 || live["2"]["ver"] != "2" {
			t.Errorf("the app has the deals %v", live)
		}
		// One that is in the app waits too when its new customer is not there, and stays as it is until then.
		e.deals.begin()
		e.deals.update(deal(1, 3, 3))
		e.both()
		e.wantLinks("1-1")
		if l := e.ledger("deals"); l.Waiting != 1 {
			t.Errorf("ledger %+v", l)
		}
		e.customers.begin()
		e.customers.insert(customer(3))
		e.both()
		e.wantLinks("1-3")
	})
}

// A deal whose customer never comes is listed, and goes by itself when it comes after all.
func TestParentThatNeverComesIsListed(t *testing.T) {
	estates(t, nil, func(t *testing.T, e *estate) {
		e.deals.insert(deal(1, 7, 1))
		e.both()
		<-time.After(59 * time.Minute)
		e.settle()
		if l := e.ledger("deals"); l.Waiting != 1 || len(e.listed()) != 0 {
			t.Fatalf("before the hour is over: %v, ledger %+v", e.listed(), l)
		}
		// A newer event does not make it wait longer.
		e.deals.begin()
		e.deals.update(deal(1, 7, 2))
		e.both()
		<-time.After(2 * time.Minute)
		e.settle()
		if got := e.listed()[`{"id":1}`]; got != "parent_missing" {
			t.Fatalf("listed as %q", got)
		}
		if l := e.ledger("deals"); l.Waiting != 0 || l.Keys.Rejected != 1 {
			t.Errorf("ledger %+v", l)
		}
		e.stop()
		e.open()
		e.customers.begin()
		e.customers.insert(customer(7))
		e.both()
		e.wantLinks("1-7")
		if live := e.account.Objects["deals"].Live(); live["1"]["ver"] != "2" || len(e.listed()) != 0 {
			t.Errorf("the app has %v, listed are %v", live, e.listed())
		}
	})
}

// While the customer is on its way, or its table is being loaded, the wait is not over.
func TestParentOnItsWayIsWaitedFor(t *testing.T) {
	estates(t, func(deals *sink.Spec) { deals.Parents[0].Wait = time.Minute }, func(t *testing.T, e *estate) {
		e.account.Objects["contacts"].SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault { return sinktest.Broken })
		e.customers.insert(customer(1))
		e.deals.insert(deal(1, 1, 1))
		e.take("deals")
		e.take("customers")
		<-time.After(10 * time.Minute)
		if got := e.listed(); len(got) != 0 {
			t.Fatalf("listed while its parent was on its way: %v", got)
		}
		e.account.Objects["contacts"].SetFault(nil)
		e.settle()
		e.wantLinks("1-1")
		e.customers.marker(change.SnapshotBegin, "s")
		e.take("customers")
		e.deals.begin()
		e.deals.insert(deal(2, 2, 1))
		e.take("deals")
		<-time.After(10 * time.Minute)
		if got := e.listed(); len(got) != 0 {
			t.Fatalf("listed while its parent's table was loaded: %v", got)
		}
		e.customers.read(customer(1), 1)
		e.customers.marker(change.SnapshotEnd, "s")
		e.take("customers")
		<-time.After(10 * time.Minute)
		e.settle()
		if got := e.listed()[`{"id":2}`]; got != "parent_missing" {
			t.Errorf("listed as %q", got)
		}
	})
}

// A customer that is refused is not waited for; mended, it brings its deals with it.
func TestParentRejectedThenFixed(t *testing.T) {
	estates(t, nil, func(t *testing.T, e *estate) {
		e.deals.insert(deal(1, 1, 1))
		e.take("deals")
		e.settle()
		e.customers.insert(row(1, "", "C", "pro", 1, 1)) // no e-mail
		e.take("customers")
		e.settle()
		e.deals.begin()
		e.deals.insert(deal(2, 1, 1))
		e.take("deals")
		e.settle()
		if got := e.listed(); got[`{"id":1}`] != "parent_missing" || got[`{"id":2}`] != "parent_missing" {
			t.Fatalf("listed are %v", got)
		}
		e.customers.begin()
		e.customers.update(row(1, "c1@x.test", "C", "pro", 2, 1))
		e.both()
		e.wantLinks("1-1", "2-1")
		if got := e.listed(); len(got) != 0 {
			t.Errorf("listed are %v", got)
		}
	})
}

// A customer that is removed and made anew has another record in the app: its deals are associated with that.
func TestParentMadeAnew(t *testing.T) {
	estates(t, nil, func(t *testing.T, e *estate) {
		e.customers.insert(customer(1))
		e.deals.insert(deal(1, 1, 1))
		e.both()
		e.customers.begin()
		e.customers.delete(customer(1))
		e.both()
		e.wantLinks()
		e.customers.begin()
		e.customers.insert(customer(1))
		e.both()
		e.wantLinks("1-1")
		// The same when someone removes it in the app, and its row changes.
		e.account.Objects["contacts"].Archive(e.account.Objects["contacts"].Live()["1"]["id"])
		e.wantLinks()
		e.customers.begin()
		e.customers.update(row(1, "c1@x.test", "New", "pro", 2, 1))
		e.both()
		e.wantLinks("1-1")
		// A customer whose key changes takes its deals with it: there is nothing to do in the app.
		calls, _ := e.account.Associated()
		e.customers.begin()
		e.customers.rekey(row(1, "c1@x.test", "New", "pro", 2, 1), row(5, "c1@x.test", "New", "pro", 3, 1))
		e.deals.begin()
		e.deals.update(deal(1, 5, 2))
		e.both()
		e.wantLinks("1-5")
		if again, _ := e.account.Associated(); again != calls {
			t.Errorf("a customer's new key made %d calls", again-calls)
		}
	})
}

// The app has lost the customer's record, and nobody has noticed: the deal is listed until the customer has another one.
func TestParentGoneFromTheApp(t *testing.T) {
	estates(t, nil, func(t *testing.T, e *estate) {
		e.customers.insert(customer(1))
		e.both()
		e.account.Objects["contacts"].Archive(e.account.Objects["contacts"].Live()["1"]["id"])
		e.deals.begin()
		e.deals.insert(deal(1, 1, 1))
		e.both()
		if got := e.listed()[`{"id":1}`]; got != "parent_gone" {
			t.Fatalf("listed as %q", got)
		}
		e.customers.begin()
		e.customers.update(row(1, "c1@x.test", "New", "pro", 2, 1))
		e.both()
		e.wantLinks("1-1")
		if got := e.listed(); len(got) != 0 {
			t.Errorf("listed are %v", got)
		}
	})
}

// A deal that is listed for its new customer keeps its association with the one before, also when that has another record, and
// goes to the new one once it comes.
func TestListedChildIsAssociatedAsBefore(t *testing.T) {
	estates(t, nil, func(t *testing.T, e *estate) {
		e.customers.insert(customer(1))
		e.deals.insert(deal(1, 1, 1))
		e.both()
		e.deals.begin()
		e.deals.update(deal(1, 2, 2))
		e.both()
		<-time.After(61 * time.Minute)
		e.settle()
		if got := e.listed()[`{"id":1}`]; got != "parent_missing" {
			t.Fatalf("listed as %q", got)
		}
		e.customers.begin()
		e.customers.delete(customer(1))
		e.both()
		e.customers.begin()
		e.customers.insert(customer(1))
		e.both()
		e.wantLinks("1-1")
		e.customers.begin()
		e.customers.insert(customer(2))
		e.both()
		e.wantLinks("1-2")
		if got := e.listed(); len(got) != 0 {
			t.Errorf("listed are %v", got)
		}
	})
}

// A call for associations may fail in every way, and the process end at every step: they are made all the same.
func TestAssociationsThroughFaultsAndCrashes(t *testing.T) {
	faults := map[string]sinktest.Fault{"busy": sinktest.Busy, "drop": sinktest.Drop, "drop after": sinktest.DropAfter, "late": sinktest.Late, "broken": sinktest.Broken, "partial": sinktest.Partial}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			estates(t, nil, func(t *testing.T, e *estate) {
				fail := 3
				e.account.SetFault(func(int, sink.Associations) sinktest.Fault {
					if fail--; fail >= 0 {
						return fault
					}
					return sinktest.None
				})
				e.moveDeals()
			})
		})
	}
	for _, point := range []string{"dispatch.after_intent", "dispatch.after_call", "dispatch.before_associate", "dispatch.after_associate", "dispatch.before_record", "dispatch.after_record", "await.before_commit", "await.after_commit"} {
		t.Run(point, func(t *testing.T) {
			estates(t, nil, func(t *testing.T, e *estate) {
				for nth := range 6 { // each time it gets there for the nth time
					seen, dead := 0, make(chan struct{})
					e.point = func(name string) {
						if name == point {
							if seen++; seen == nth+1 {
								close(dead)
								runtime.Goexit()
							}
						}
					}
					e.dead = dead
					e.moveDeals()
					e.point, e.dead = nil, nil
				}
			})
		})
	}
}

// moveDeals gives some deals customers, before these are there, and other ones then.
func (e *estate) moveDeals() {
	e.t.Helper()
	e.rounds++
	first := e.rounds * 100
	for n := first; n < first+3; n++ {
		e.deals.begin()
		e.deals.insert(deal(n, n, 1))
	}
	e.take("deals")
	e.revive()
	e.customers.begin()
	for n := first; n < first+3; n++ {
		e.customers.insert(customer(n))
	}
	e.both()
	e.deals.begin()
	e.deals.update(deal(first, first+1, 2))
	e.deals.update(deal(first+1, 0, 2))
	e.deals.update(deal(first+2, first+2, 2))
	e.both()
	want := map[string]bool{itoa(first) + "-" + itoa(first+1): true, itoa(first+2) + "-" + itoa(first+2): true}
	for l := range e.linked() {
		if from, _, _ := strings.Cut(l, "-"); len(from) == len(itoa(first)) && from[0] == itoa(first)[0] {
			if !want[l] {
				e.t.Errorf("deal and customer %s are associated", l)
			}
			delete(want, l)
		}
	}
	for l := range want {
		e.t.Errorf("deal and customer %s are not associated", l)
	}
	if l := e.ledger("deals"); l.Waiting+l.Pending+l.Rejected != 0 {
		e.t.Errorf("ledger %+v", l)
	}
}

// Two parents of one object: what both name stays until neither does.
func TestTwoParentsOfOneObject(t *testing.T) {
	estates(t, func(deals *sink.Spec) {
		deals.Program = dealProgram{print: "1", sellers: true}
		deals.Parents = append(deals.Parents, sink.Parent{Name: "seller", Field: sellerField, Pipeline: "customers", Required: true, Wait: time.Hour})
	}, func(t *testing.T, e *estate) {
		for _, id := range []int{1, 3} {
			e.customers.insert(customer(id))
		}
		e.deals.insert(deal(1, 1, 2))
		e.both()
		e.wantLinks() // one of the two is not there
		e.customers.begin()
		e.customers.insert(customer(2))
		e.both()
		e.wantLinks("1-1", "1-2")
		for _, step := range []struct {
			buyer, seller int
			want          []string
		}{{2, 2, []string{"1-2"}}, {2, 3, []string{"1-2", "1-3"}}, {0, 3, []string{"1-3"}}, {3, 1, []string{"1-1", "1-3"}}} {
			e.deals.begin()
			e.deals.update(deal(1, step.buyer, step.seller))
			e.both()
			e.wantLinks(step.want...)
		}
		if l := e.ledger("deals"); l.Waiting+l.Pending+l.Rejected != 0 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// A parent that is added to a pipeline, or is another pipeline's now, is associated with what is there.
func TestParentsAreAddedLater(t *testing.T) {
	estates(t, nil, func(t *testing.T, e *estate) {
		for id := 1; id <= 2; id++ {
			e.customers.insert(customer(id))
		}
		e.deals.insert(deal(1, 1, 2))
		e.both()
		e.wantLinks("1-1")
		e.stop()
		e.specs[0].Program = dealProgram{print: "2", sellers: true}
		e.specs[0].Parents = append(e.specs[0].Parents, sink.Parent{Name: "seller", Field: sellerField, Pipeline: "customers", Required: true, Wait: time.Hour})
		e.open()
		e.deals.begin()
		e.deals.read(deal(1, 1, 2), 1) // the backfill of changed rules
		e.both()
		e.wantLinks("1-1", "1-2")
	})
}
