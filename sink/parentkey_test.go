package sink_test

import (
	"testing"

	"github.com/penstock-cdc/penstock/sink"
)

// A parent that is not required is not waited for, and associated when it comes.
func TestOptionalParent(t *testing.T) {
	estates(t, func(deals *sink.Spec) { deals.Parents[0].Required = false }, func(t *testing.T, e *estate) {
		e.deals.insert(deal(1, 1, 1))
		e.both()
		if live := e.account.Objects["deals"].Live(); len(live) != 1 {
			t.Fatalf("the app has the deals %v", live)
		}
		pushes, _ := e.account.Objects["deals"].Calls()
		e.customers.insert(customer(1))
		e.customers.insert(customer(2))
		e.both()
		e.wantLinks("1-1")
		if again, _ := e.account.Objects["deals"].Calls(); again != pushes {
			t.Errorf("the deal was written %d times for its parent", again-pushes)
		}
		e.deals.begin()
		e.deals.update(deal(1, 9, 1)) // to one that is not there
		e.both()
		e.wantLinks()
		e.deals.begin()
		e.deals.update(deal(1, 2, 1))
		e.both()
		e.wantLinks("1-2")
	})
}

// The parent's row gets another key, and the row that has its key now is refused: the deal names that one, and is not
// associated with the former's record any more.
func TestParentsKeyGoesToARefusedRow(t *testing.T) {
	estates(t, func(deals *sink.Spec) { deals.Parents[0].Required = false }, func(t *testing.T, e *estate) {
		e.customers.insert(customer(1))
		e.deals.insert(deal(1, 1, 1))
		e.both()
		e.wantLinks("1-1")
		e.customers.begin()
		e.customers.rekey(customer(1), row(5, "c1@x.test", "C", "pro", 2, 1))
		e.customers.insert(row(1, "", "C", "pro", 3, 2))
		e.both()
		e.wantLinks()
		e.customers.begin()
		e.customers.update(row(1, "c2@x.test", "C", "pro", 4, 2))
		e.both()
		e.wantLinks("1-1")

		e.customers.begin() // the same with a row that was refused under another key
		e.customers.insert(row(2, "", "C", "pro", 5, 3))
		e.both()
		e.customers.begin()
		e.customers.rekey(row(1, "c2@x.test", "C", "pro", 4, 2), row(6, "c2@x.test", "C", "pro", 6, 2))
		e.both()
		e.customers.begin()
		e.customers.rekey(row(2, "", "C", "pro", 5, 3), row(1, "", "C", "pro", 7, 3))
		e.both()
		e.wantLinks()
	})
}

// The foreign key goes to a parent that never comes, and back; in between another row has got the key of the parent.
func TestForeignKeyComesBack(t *testing.T) {
	for name, between := range map[string]func(e *estate){
		"nothing": func(*estate) {},
		"another row": func(e *estate) {
			e.customers.delete(customer(1))
			e.take("customers")
			e.settle()
			e.customers.begin()
			e.customers.insert(row(1, "c2@x.test", "C", "pro", 2, 2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			estates(t, nil, func(t *testing.T, e *estate) {
				e.customers.insert(customer(1))
				e.deals.insert(deal(1, 1, 1))
				e.both()
				e.wantLinks("1-1")
				e.deals.begin()
				e.deals.update(deal(1, 9, 2))
				e.both()
				e.customers.begin()
				between(e)
				e.both()
				e.deals.begin()
				e.deals.update(deal(1, 1, 2))
				e.both()
				e.wantLinks("1-1")
				e.customers.begin() // what becomes of the parent still matters
				e.customers.rekey(row(1, "c2@x.test", "C", "pro", 2, 2), row(7, "c2@x.test", "C", "pro", 3, 2))
				e.customers.insert(row(1, "c3@x.test", "C", "pro", 4, 3))
				e.both()
				e.wantLinks("1-1")
			})
		})
	}
}
