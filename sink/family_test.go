package sink_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// TestFamilies does random things to customers and their deals while the app fails at random, people archive customers in it
// and the process crashes at failpoints; in the end each deal is in the app, associated with its customer and no other, or it is
// listed since that is not there.
func TestFamilies(t *testing.T) {
	seeded(t, 40, func(t *testing.T, seed uint64) { newFamily(t, seed).run() })
}

// person is a row of customers, contract one of deals.
type person struct {
	id, ver, ident int
	email          string
}

type contract struct{ id, customer, ver int }

type family struct {
	*estate
	t       *testing.T
	rnd     *rand.Rand
	people  map[int]*person
	deals   map[int]*contract
	idents  int
	touched map[int]bool // idents of customers that were archived in the app
	mu      sync.Mutex
	luck    *rand.Rand // of faults and crashes
	faults  bool
	crash   int
	died    bool
	log     []string
}

func newFamily(t *testing.T, seed uint64) *family {
	f := &family{t: t, rnd: rand.New(rand.NewPCG(seed, 3)), luck: rand.New(rand.NewPCG(seed, 4)), people: map[int]*person{}, deals: map[int]*contract{}, touched: map[int]bool{}}
	partitions := 1
	if f.rnd.IntN(2) == 0 {
		partitions = 6
	}
	f.estate = newEstate(t, partitions, func(deals *sink.Spec) {
		deals.Parents[0].Required = f.rnd.IntN(3) > 0
		deals.Parents[0].Wait = time.Duration(f.rnd.IntN(600)) * time.Second
		deals.OnDelete = []string{"archive", "delete"}[f.rnd.IntN(2)]
	})
	bounds := sink.Limits{Batch: 1 + f.rnd.IntN(8), Read: 5, Associate: 1 + f.rnd.IntN(5), Concurrent: 1 + f.rnd.IntN(3)}
	f.account.Bounds = bounds
	for _, v := range f.account.Objects {
		v.Bounds = bounds
		v.Fault = func(int, sink.Action, []sink.Change) sinktest.Fault { return f.fault() }
	}
	f.account.Fault = func(_ int, a sink.Associations) sinktest.Fault {
		fault := f.fault()
		f.logf("    associate, remove %v, fault %d: %v", a.Remove, fault, a.Pairs)
		return fault
	}
	f.point = f.failpoint
	return f
}

func (f *family) logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, fmt.Sprintf(format, args...))
}

func (f *family) fault() sinktest.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.faults {
		return sinktest.None
	}
	switch r := f.luck.IntN(100); {
	case r < 5:
		return sinktest.Busy
	case r < 10:
		return sinktest.Drop
	case r < 18:
		return sinktest.DropAfter
	case r < 22:
		return sinktest.Broken
	case r < 28:
		return sinktest.Partial
	case r < 31:
		return sinktest.Late
	}
	return sinktest.None
}

func (f *family) failpoint(name string) {
	engine := strings.HasPrefix(name, "dispatch.") || strings.HasPrefix(name, "await.")
	f.mu.Lock()
	hit := f.crash > 0 && f.luck.IntN(f.crash) == 0
	if hit {
		f.crash = 0
		f.died = f.died || engine
		f.log = append(f.log, "crash at "+name)
	}
	f.mu.Unlock()
	switch {
	case hit && engine:
		runtime.Goexit()
	case hit:
		panic(errCrash{name})
	}
}

// again starts the process anew if it has died.
func (f *family) again(died bool) {
	f.mu.Lock()
	died = died || f.died
	f.died, f.crash = false, 0
	f.mu.Unlock()
	if died {
		f.stop()
		f.open()
	}
}

// crashes runs what may crash outside of the engine's own goroutines.
func crashes(do func()) (crashed bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(errCrash); !ok {
				panic(r)
			}
			crashed = true
		}
	}()
	do()
	return false
}

// act does one transaction to each of the two tables.
func (f *family) act() {
	f.customers.begin()
	f.estate.deals.begin()
	for range 1 + f.rnd.IntN(3) {
		if f.rnd.IntN(5) < 2 {
			f.actPeople()
		} else {
			f.actDeals()
		}
	}
}

func (f *family) actPeople() {
	id := 1 + f.rnd.IntN(8)
	p := f.people[id]
	email := "c@x.test"
	if f.rnd.IntN(6) == 0 {
		email = "" // refused
	}
	switch k := f.rnd.IntN(10); {
	case p == nil:
		f.idents++
		p = &person{id: id, ver: f.idents * 1000, ident: f.idents, email: email}
		f.people[id] = p
		f.customers.insert(row(id, p.email, "C", "pro", p.ver, p.ident))
		f.logf("insert customer %+v", *p)
	case k < 4:
		p.ver++
		p.email = email
		f.customers.update(row(id, p.email, "C", "pro", p.ver, p.ident))
		f.logf("update customer %+v", *p)
	case k < 6:
		f.customers.delete(row(id, p.email, "C", "pro", p.ver, p.ident))
		delete(f.people, id)
		f.logf("delete customer %+v", *p)
		if f.rnd.IntN(2) == 0 { // ON DELETE SET NULL
			f.refer(id, 0)
		}
	case k < 8:
		to := 1 + f.rnd.IntN(8)
		if f.people[to] != nil {
			return
		}
		was := *p
		p.id = to
		p.ver++
		delete(f.people, id)
		f.people[to] = p
		f.customers.rekey(row(id, was.email, "C", "pro", was.ver, was.ident), row(to, p.email, "C", "pro", p.ver, p.ident))
		f.logf("rekey customer %d to %+v", id, *p)
		f.refer(id, to) // ON UPDATE CASCADE
	}
}

// refer changes a foreign key in all deals that have it.
func (f *family) refer(from, to int) {
	for _, id := range slices.Sorted(maps.Keys(f.deals)) {
		if d := f.deals[id]; d.customer == from {
			d.customer = to
			f.estate.deals.update(deal(d.id, d.customer, d.ver))
			f.logf("deal %+v", *d)
		}
	}
}

func (f *family) actDeals() {
	id := 1 + f.rnd.IntN(12)
	d := f.deals[id]
	switch k := f.rnd.IntN(10); {
	case d == nil:
		f.idents++
		d = &contract{id: id, customer: f.rnd.IntN(9), ver: f.idents * 1000}
		f.deals[id] = d
		f.estate.deals.insert(deal(d.id, d.customer, d.ver))
		f.logf("insert deal %+v", *d)
	case k < 3:
		d.ver++
		f.estate.deals.update(deal(d.id, d.customer, d.ver))
		f.logf("update deal %+v", *d)
	case k < 7:
		d.customer = f.rnd.IntN(9)
		f.estate.deals.update(deal(d.id, d.customer, d.ver))
		f.logf("move deal %+v", *d)
	case k < 9:
		f.estate.deals.delete(deal(d.id, d.customer, d.ver))
		delete(f.deals, id)
		f.logf("delete deal %+v", *d)
	default:
		to := 1 + f.rnd.IntN(12)
		if f.deals[to] != nil {
			return
		}
		was := *d
		d.id = to
		d.ver++
		delete(f.deals, id)
		f.deals[to] = d
		f.estate.deals.rekey(deal(was.id, was.customer, was.ver), deal(d.id, d.customer, d.ver))
		f.logf("rekey deal %d to %+v", was.id, *d)
	}
}

// archive does what a person may do in the app.
func (f *family) archive() {
	live := f.account.Objects["contacts"].Live()
	if len(live) == 0 {
		return
	}
	keys := slices.Sorted(maps.Keys(live))
	have := live[keys[f.rnd.IntN(len(keys))]]
	f.account.Objects["contacts"].Archive(have["id"])
	ident, _ := strconv.Atoi(have["ident"])
	f.touched[ident] = true
	f.logf("someone archives customer %s, record %s", have["source_id"], have["id"])
}

// calm waits until all is sent, through crashes.
func (f *family) calm() {
	for range 400 {
		<-time.After(5 * time.Second)
		f.again(false)
		f.take("deals")
		f.take("customers")
		caught := true
		for _, name := range []string{"customers", "deals"} {
			g, err := f.engine.Progress(name, nil)
			if err != nil {
				f.t.Fatal(err)
			}
			caught = caught && g.CaughtUp()
		}
		if caught {
			f.estate.settle()
			return
		}
	}
	f.tell()
	f.t.Fatalf("it does not settle: %+v", f.engine.Status())
}

func (f *family) run() {
	f.open()
	defer func() { f.stop() }()
	for range 6 + f.rnd.IntN(20) {
		for range 1 + f.rnd.IntN(4) {
			f.act()
		}
		if f.rnd.IntN(6) == 0 {
			f.archive()
		}
		f.mu.Lock()
		f.faults = f.luck.IntN(3) > 0
		if f.luck.IntN(2) == 0 {
			f.crash = 1 + f.luck.IntN(20)
		}
		f.mu.Unlock()
		f.again(crashes(func() {
			for _, name := range [][]string{{"deals", "customers"}, {"customers", "deals"}, {"deals"}, {"customers"}}[f.rnd.IntN(4)] {
				f.take(name)
			}
		}))
		if f.rnd.IntN(2) == 0 {
			<-time.After(time.Duration(f.rnd.IntN(400_000)) * time.Millisecond)
			f.again(false)
		}
		for _, name := range []string{"customers", "deals"} {
			if err := f.engine.Recount(f.t.Context(), name); err != nil {
				f.tell()
				f.t.Fatal(err)
			}
		}
		switch f.rnd.IntN(5) {
		case 0:
			f.calm()
		case 1:
			f.again(true)
		}
	}
	f.mu.Lock()
	f.faults, f.crash = false, 0
	f.mu.Unlock()
	f.calm()
	f.customers.begin()
	for _, id := range slices.Sorted(maps.Keys(f.people)) { // what people did is noticed with the next change
		if p := f.people[id]; f.touched[p.ident] {
			p.ver++
			f.customers.update(row(id, p.email, "C", "pro", p.ver, p.ident))
			f.logf("touch customer %+v", *p)
		}
	}
	f.calm()
	<-time.After(time.Hour)
	for _, s := range []struct {
		name string
		s    *shop
	}{{"customers", f.customers}, {"deals", f.estate.deals}} {
		for n := range s.s.parts { // keys that changed to nothing
			if err := f.engine.Pipeline(s.name).Idle(f.t.Context(), s.s.table.Topic, n, f.next[s.name][n]); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	f.calm()
	f.check()
}

// check compares the app with the tables. Records are told apart by what stays with a row whatever its key: a row that is refused
// may have the record, and the key, of before.
func (f *family) check() {
	contacts, live, listed := map[string]string{}, map[string]map[string]string{}, f.listed()
	ids := map[string]string{} // of records: the app's id by contact and deal
	for _, have := range f.account.Objects["contacts"].Live() {
		contacts[have["ident"]] = have["ver"]
		ids["contacts/"+have["id"]] = "c" + have["ident"]
	}
	for _, have := range f.account.Objects["deals"].Live() {
		ver, _ := strconv.Atoi(have["ver"])
		live[itoa(ver/1000)] = have
		ids["deals/"+have["id"]] = "d" + itoa(ver/1000)
	}
	linked := map[string][]string{}
	for _, l := range f.account.Linked() {
		from, to, _ := cut(l)
		linked[ids[from]] = append(linked[ids[from]], ids[to])
	}
	for _, p := range f.people {
		if have := contacts[itoa(p.ident)]; p.email != "" && have != itoa(p.ver) {
			f.t.Errorf("customer %+v has version %q in the app", *p, have)
		}
	}
	idents := map[string]bool{}
	for id, d := range f.deals {
		ident := itoa(d.ver / 1000)
		idents[ident] = true
		have, code, links := live[ident], listed[`{"id":`+itoa(id)+`}`], linked["d"+ident]
		want := ""
		if p := f.people[d.customer]; p != nil && contacts[itoa(p.ident)] != "" {
			want = "c" + itoa(p.ident)
		}
		switch {
		case code != "" && (want != "" || d.customer == 0 || code == "parent_missing" && !f.specs[0].Parents[0].Required):
			f.t.Errorf("deal %+v is listed as %s, and its customer is %q", *d, code, want)
		case code != "":
		case have == nil || have["ver"] != itoa(d.ver) || have["source_id"] != itoa(id):
			f.t.Errorf("deal %+v is %v in the app", *d, have)
		case d.customer != 0 && f.people[d.customer] == nil: // it may have been sent when another row had the key
		case want == "" && len(links) > 0 || want != "" && !slices.Equal(links, []string{want}):
			f.t.Errorf("deal %+v is associated with %v, want %q", *d, links, want)
		}
	}
	for ident, have := range live {
		if !idents[ident] {
			f.t.Errorf("the app has the deal %v, which the table has not", have)
		}
	}
	l := f.ledger("deals")
	if l.Waiting != 0 || l.Held != 0 || l.Pending != 0 || l.Rejected-l.Dropped != int64(len(listed)) {
		f.t.Errorf("ledger at the end: %+v, listed are %v", l, listed)
	}
	if err := f.account.Err(); err != nil {
		f.t.Error(err)
	}
	if f.t.Failed() {
		f.tell()
	}
}

func (f *family) tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.log {
		f.t.Log(line)
	}
}
