package sink_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// TestModel does random things to a table while a vendor fails at random, messages come
// twice and the process crashes at failpoints; in the end the app has what the table says.
func TestModel(t *testing.T) {
	seeded(t, 500, func(t *testing.T, seed uint64) { newModel(t, seed).run() })
}

type mrow struct {
	id, ver, ident    int
	code              int
	email, name, plan string
	left              bool // a filtered event may have had a name that the app was not given
	lacks             bool // and one that passed left it out: only the database has it
	dark              bool // no event told of it yet
	unread            bool // no event told of all that it is
}

// hidden tells whether nothing is kept of the row: that it has its key yet can't be known (see move.go).
func (r *mrow) hidden() bool { return r.plan == "test" || r.dark }

func (r *mrow) row() change.Row {
	vs := row(r.id, r.email, r.name, r.plan, r.ver, r.ident)
	vs[6] = change.OfInt(int64(r.code))
	return vs
}

// image is the row as an update of was brings it: the database may leave out a name that did not change.
func (m *model) image(was mrow, r *mrow) change.Row {
	vs := r.row()
	r.dark = false
	if r.lacks, r.left = was.lacks, was.left || was.dark; m.toast && was.name == r.name && m.rnd.IntN(2) == 0 {
		vs[2] = change.Of(change.Unchanged, "")
		r.left = r.left || r.plan == "test"
		r.lacks = r.lacks || r.left && r.plan != "test"
		return vs
	}
	r.lacks, r.left = false, r.plan == "test"
	return vs
}

// poisoned tells whether the vendor refuses a record for good.
func poisoned(ver string) bool { return strings.HasSuffix(ver, "3") }

type model struct {
	t       *testing.T
	rnd     *rand.Rand
	s       *shop
	p       *plant
	v       *sinktest.Vendor
	rows    map[int]*mrow // by id
	byCode  bool          // the app's key is the code
	poison  bool          // the vendor refuses some
	toast   bool          // updates leave out what they do not change
	space   int           // keys are up to this one
	dirty   int           // one in so many has no e-mail
	rereads bool          // rows that lack something are read again
	table   sync.Mutex    // rows and s
	pauses  bool          // sending is paused at times
	people  bool          // someone archives records in the app
	gone    map[int]bool  // of them: the rows' ident
	purge   bool          // keys are forgotten
	reloads bool          // the table is truncated, and loaded again after changes that nobody saw
	loading modelLoad
	stale   map[int]bool // keys of rows that are gone, which only a snapshot tells
	lost    map[int]bool // of such rows: the rows' ident
	loads   int
	ident   int
	logs    sync.Mutex
	log     []string
	mu      sync.Mutex
	vers    map[string]int    // by app id: highest version seen
	owner   map[string]string // ident by app id
	marked  map[string]bool   // by app id: its row is gone, or left
	emptied map[string]bool   // by ident: its row was truncated
	crash   int               // in how many failpoints
	dead    bool
	faults  atomic.Bool
	luck    *rand.Rand // of faults and crashes, so that the table's history depends on the seed alone; mu's
}

// errCrash is what a crashing failpoint panics with.
type errCrash struct{ name string }

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), luck: rand.New(rand.NewPCG(seed, 2)), rows: map[int]*mrow{}, stale: map[int]bool{}, lost: map[int]bool{}, gone: map[int]bool{}, vers: map[string]int{}, owner: map[string]string{}, marked: map[string]bool{}, emptied: map[string]bool{}}
	m.v = sinktest.NewVendor("source_id", sink.Limits{Batch: 1 + m.rnd.IntN(12), Read: 5, Concurrent: 1 + m.rnd.IntN(4)})
	if m.rnd.IntN(2) == 0 {
		m.v.Bounds.Calls, m.v.Bounds.Window = 5, time.Second
	}
	partitions := 1
	if m.rnd.IntN(2) == 0 {
		partitions = 6
	}
	m.s = newShop(partitions)
	m.v.Fault = m.fault
	m.v.Observe = m.observe
	if m.rnd.IntN(3) == 0 {
		m.v.Canon = func(field, value string) string {
			if field == "name" {
				return "<" + value + ">"
			}
			return value
		}
	}
	if m.byCode = m.rnd.IntN(3) == 0; m.byCode {
		t.Log("the app's key is the code")
	}
	m.toast = m.rnd.IntN(2) == 0
	m.people = m.rnd.IntN(3) == 0
	m.purge = m.rnd.IntN(4) == 0
	m.reloads = m.rnd.IntN(3) == 0
	m.space, m.dirty = 2+m.rnd.IntN(19), 2+m.rnd.IntN(12)
	if m.poison = m.rnd.IntN(3) == 0; m.poison {
		m.v.Poison = func(c sink.Change) bool {
			for _, f := range c.Fields {
				if f.Name == "ver" {
					return poisoned(f.Value.Text())
				}
			}
			return false
		}
	}
	m.p = newPlant(t, m.v, partitions, func(s *sink.Spec) {
		s.Program = program{print: "1", byCode: m.byCode}
		s.Guard = sink.Guard{Deletes: sink.Quota{Share: -1, Count: -1}, Changes: sink.Quota{Share: -1, Count: -1}, Creates: sink.Quota{Share: -1, Count: -1}}
		s.OnDelete = []string{"archive", "delete", "set"}[m.rnd.IntN(3)]
		s.OnLeave = []string{"archive", "set"}[m.rnd.IntN(2)]
		s.SetOnDelete, s.SetOnLeave = setTo("gone"), setTo([]string{"gone", "left"}[m.rnd.IntN(2)])
		s.OnAppDelete = "recreate"
	})
	if m.rnd.IntN(4) == 0 {
		m.p.spec.Schedule = interval(time.Duration(1+m.rnd.IntN(20)) * time.Second)
	}
	m.pauses = m.rnd.IntN(4) == 0
	if m.toast && m.rnd.IntN(3) > 0 {
		m.rereads = true
		m.p.spec.Rows = table{s: m.s, row: m.read, lock: &m.table}
	}
	m.p.point = m.failpoint
	m.p.watched = true
	return m
}

func (m *model) logf(format string, args ...any) {
	m.logs.Lock()
	defer m.logs.Unlock()
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// code returns one that no row has.
func (m *model) code() int {
	for {
		code := 1 + m.rnd.IntN(60)
		free := true
		for _, r := range m.rows {
			free = free && r.code != code
		}
		if free {
			return code
		}
	}
}

// key is the key that a row has in the app.
func (m *model) key(r *mrow) string {
	if m.byCode {
		return itoa(r.code)
	}
	return itoa(r.id)
}

// read is called with the table locked.
func (m *model) read(id int) (change.Row, bool) {
	r := m.rows[id]
	if r == nil {
		return nil, false
	}
	return r.row(), true
}

// act does one transaction to the table.
func (m *model) act() {
	m.table.Lock()
	defer m.table.Unlock()
	s := m.s
	s.begin()
	for range 1 + m.rnd.IntN(4) {
		id := 1 + m.rnd.IntN(m.space)
		r := m.rows[id]
		var was mrow
		if r != nil {
			was = *r
		}
		switch k := m.rnd.IntN(20); {
		case r == nil && k < 14:
			r = m.made(id)
			m.rows[id] = r
			s.insert(r.row())
			m.logf("insert %+v", *r)
		case r == nil:
		case m.byCode && k < 4: // to another code, which may be another row's for a while yet
			other := m.rows[1+m.rnd.IntN(m.space)]
			r.ver++
			if other == nil || other == r {
				r.code = m.code()
				s.update(m.image(was, r))
				m.logf("recode %+v", *r)
				break
			}
			wasOther := *other
			other.ver++
			r.code, other.code = other.code, r.code
			s.update(m.image(was, r))
			s.update(m.image(wasOther, other))
			m.logf("exchange codes of %+v and %+v", *r, *other)
		case k < 10:
			r.ver++
			r.name, r.plan = "n"+itoa(m.rnd.IntN(3)), m.plan()
			r.email = m.email(r)
			s.update(m.image(was, r))
			m.logf("update %+v", *r)
		case k < 14:
			s.delete(r.row())
			delete(m.rows, id)
			m.logf("delete %+v", *r)
		case k < 18: // to another key
			to := 1 + m.rnd.IntN(m.space)
			old := *r
			switch other := m.rows[to]; {
			case to == id:
				r.ver++
				s.update(m.image(was, r))
				m.logf("update %+v", *r)
			case other == nil:
				r.ver++
				r.id = to
				delete(m.rows, id)
				m.rows[to] = r
				s.rekey(old.row(), m.image(old, r))
				m.logf("rekey %+v to %d", old, to)
				if m.stale[to] {
					return
				}
			case r.hidden() || other.hidden():
			default: // a swap, under a deferred constraint
				was := *other
				r.ver++
				other.ver++
				r.id, other.id = to, id
				m.rows[to], m.rows[id] = r, other
				s.rekey(old.row(), m.image(old, r))
				s.rekey(was.row(), m.image(was, other))
				m.logf("swap %+v and %+v", old, was)
			}
		default: // id = id + 1 from some id on, up to a gap
			var chain []*mrow
			for n := id; m.rows[n] != nil && n < 30; n++ {
				chain = append(chain, m.rows[n])
			}
			if m.rows[id+len(chain)] != nil {
				break
			}
			if slices.ContainsFunc(chain, (*mrow).hidden) || m.rnd.IntN(2) == 0 { // the far end first
				for i, j := 0, len(chain)-1; i < j; i, j = i+1, j-1 {
					chain[i], chain[j] = chain[j], chain[i]
				}
			}
			for _, r := range chain {
				delete(m.rows, r.id)
			}
			for _, r := range chain {
				old := *r
				r.id++
				r.ver++
				m.rows[r.id] = r
				s.rekey(old.row(), m.image(old, r))
				m.logf("shift %+v", old)
			}
			if m.stale[id+len(chain)] {
				return
			}
		}
	}
}

// made returns a new row.
func (m *model) made(id int) *mrow {
	m.ident++
	// Versions of a key only grow, whoever has it: an older row's late write would be seen.
	r := &mrow{id: id, ver: m.ident * 1000, ident: m.ident, name: "n" + itoa(m.rnd.IntN(3)), plan: m.plan()}
	r.email, r.code = m.email(r), m.code()
	r.left = r.plan == "test"
	return r
}

func (m *model) plan() string {
	if m.rnd.IntN(8) == 0 {
		return "test"
	}
	return "pro"
}

func (m *model) email(r *mrow) string {
	if m.rnd.IntN(m.dirty) == 0 {
		return ""
	}
	return "c" + itoa(r.ident) + "@x.test"
}

// guarded runs f; a crash in it or anywhere else ends this life of the process. It tells whether there was one.
func (m *model) guarded(f func()) (crashed bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(errCrash); !ok {
				panic(r)
			}
			crashed = true
		}
	}()
	f()
	return false
}

func (m *model) run() {
	m.p.open()
	defer func() { m.p.stop() }()
	defer func() {
		for _, line := range m.log {
			if m.t.Failed() {
				m.t.Log(line)
			}
		}
	}()
	for range (6 + m.rnd.IntN(10)) * (1 + m.rnd.IntN(4)) {
		for range 1 + m.rnd.IntN(5) {
			m.act()
		}
		if m.reloads {
			m.load()
			if m.rnd.IntN(12) == 0 {
				m.truncate()
			}
			if m.rnd.IntN(2) == 0 {
				m.approve()
			}
		}
		if m.people && m.rnd.IntN(4) == 0 {
			m.archive()
		}
		if m.pauses {
			m.pause(m.chance(3) == 0)
		}
		if m.purge && m.rnd.IntN(8) == 0 {
			m.forget(1 + m.rnd.IntN(m.space))
		}
		m.faults.Store(m.rnd.IntN(3) > 0)
		size := 1 + m.rnd.IntN(9)
		if m.rnd.IntN(3) == 0 {
			m.mu.Lock()
			m.crash = 1 + m.rnd.IntN(12)
			m.mu.Unlock()
		}
		if m.guarded(func() { m.p.take(m.s, size) }) {
			m.logf("crash")
			m.p.stop()
			m.p.open()
			m.mu.Lock()
			m.crash = 0
			m.mu.Unlock()
		}
		if m.rnd.IntN(2) == 0 {
			<-time.After(time.Duration(m.rnd.IntN(3000)) * time.Millisecond)
		}
		m.revive()
		if err := m.p.engine.Recount(m.t.Context(), "crm"); err != nil {
			m.t.Fatalf("%v: %+v", err, m.p.ledger())
		}
		switch m.rnd.IntN(4) {
		case 0:
			if m.loading.name == "" { // else a row may wait for what is not read yet
				m.settle()
			}
		case 1: // messages come again
			for n, all := range m.s.parts {
				if k := int(m.p.next[n]); k > 0 {
					from := max(0, k-5)
					if err := m.p.engine.Pipeline("crm").Take(m.t.Context(), customers.Topic, n, all[from:k]); err != nil {
						m.t.Fatal(err)
					}
				}
			}
		case 2:
			m.p.stop()
			m.p.open()
		}
	}
	m.mu.Lock()
	m.crash = 0
	m.mu.Unlock()
	m.faults.Store(false)
	m.endLoad()
	m.settle()
	m.table.Lock()
	for _, id := range slices.Sorted(maps.Keys(m.rows)) { // what people did is noticed with the next change
		if r := m.rows[id]; m.gone[r.ident] {
			r.ver++
			m.s.begin()
			m.s.update(m.image(*r, r))
			m.logf("touch %+v", *r)
		}
	}
	m.table.Unlock()
	m.settle()
	<-time.After(2 * time.Minute)
	m.idle()
	m.settle()
	m.check()
}

// idle says that there is nothing more to read: moves that nobody claims are given up.
func (m *model) idle() {
	for n := range m.s.parts {
		if err := m.p.engine.Pipeline("crm").Idle(m.t.Context(), customers.Topic, n, m.p.next[n]); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *model) pause(paused bool) {
	if err := m.p.engine.Pause(m.t.Context(), "crm", paused); err != nil {
		m.t.Fatal(err)
	}
	m.logf("paused: %v", paused)
}

// forget has a key forgotten, through a crash in the middle of it.
func (m *model) forget(id int) {
	m.mu.Lock()
	m.crash = m.luck.IntN(4)
	m.mu.Unlock()
	for m.guarded(func() {
		done, err := m.p.engine.Forget(m.t.Context(), "crm", fmt.Appendf(nil, `{"id":%d}`, id), true)
		m.logf("forget %d: %+v, %v", id, done, err)
		if err != nil && !strings.Contains(err.Error(), "try again") {
			m.t.Error(err)
		}
	}) {
		m.logf("crash in forget")
		m.p.stop()
		m.p.open()
	}
	m.mu.Lock()
	m.crash = 0
	m.mu.Unlock()
	m.revive()
}
