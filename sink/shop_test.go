package sink_test

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/fnv"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

// customers is the table of the tests: ver counts a row's versions, ident stays with a row whatever its id, code is
// unique and another row may have it after.
var customers = (&change.Table{
	Database: "shop", Schema: "public", Name: "customers", Topic: "shop.public.customers", Key: []int{0},
	Columns: []change.Column{
		{Name: "id", Kind: change.Int, Type: "bigint"},
		{Name: "email", Kind: change.String, Type: "text", Nullable: true},
		{Name: "name", Kind: change.String, Type: "text", Nullable: true},
		{Name: "plan", Kind: change.String, Type: "text", Nullable: true},
		{Name: "ver", Kind: change.Int, Type: "bigint"},
		{Name: "ident", Kind: change.Int, Type: "bigint"},
		{Name: "code", Kind: change.Int, Type: "bigint"},
	},
}).Seal()

// program is the tests' transform: plan "test" is filtered, an empty e-mail rejected.
type program struct {
	print  string
	fill   bool
	also   []string // match by these too: the name
	byCode bool     // the app's key is code, not id
}

func (p program) Fields() []sink.FieldSpec {
	fs := []sink.FieldSpec{{Name: "email", Group: sink.OwnedBySource}, {Name: "name", Group: sink.OwnedBySource}, {Name: "ver", Group: sink.OwnedBySource},
		{Name: "ident", Group: sink.OwnedBySource}, {Name: "stage", Group: sink.OwnedByApp}}
	if p.fill {
		fs = append(fs, sink.FieldSpec{Name: "title", Group: sink.Fill})
	}
	return fs
}
func (p program) KeyField() string       { return "source_id" }
func (p program) KeyPII() bool           { return false }
func (p program) KeyOfKey() bool         { return !p.byCode }
func (p program) MatchField() string     { return "email" }
func (p program) MatchAlso() []string    { return p.also }
func (p program) Fingerprint() string    { return p.print }
func (p program) NewWorker() sink.Worker { return worker{p} }

type worker struct{ p program }

func (w worker) Eval(e *change.Event, m *sink.Made) {
	r := e.After
	switch {
	case r[3].Text() == "test":
		m.Outcome = sink.Filtered
		return
	case r[1].Kind() == change.String && r[1].Text() == "":
		m.Outcome, m.Reason, m.Message = sink.Rejected, "no_email", "the customer has no e-mail"
		return
	}
	m.Outcome, m.Key, m.Match = sink.Pass, change.OfString(r[0].Text()), r[1]
	if w.p.also != nil {
		all, _ := json.Marshal([]string{r[1].Text(), r[2].Text()})
		m.Match = change.OfString(string(all))
	}
	if w.p.byCode {
		m.Key = change.OfString(r[6].Text())
	}
	m.Fields = append(m.Fields[:0], r[1], r[2], r[4], r[5], change.OfString("lead"))
	if w.p.fill {
		m.Fields = append(m.Fields, r[2])
	}
}

// shop is the tests' database: it turns what is done to it into the stream's messages.
type shop struct {
	table  *change.Table
	enc    *change.Encoder
	parts  [][]sink.Message
	commit uint64
	order  uint32
}

func newShop(partitions int) *shop {
	return &shop{table: customers, enc: change.NewEncoder(change.Source{Connector: change.Postgres, Name: "shop", Version: "test"}), parts: make([][]sink.Message, partitions), commit: 100}
}

func (s *shop) begin() { s.commit += 10; s.order = 0 }

func row(id int, email, name, plan string, ver, ident int) change.Row {
	return change.Row{change.OfInt(int64(id)), change.OfString(email), change.OfString(name), change.OfString(plan), change.OfInt(int64(ver)), change.OfInt(int64(ident)),
		change.OfInt(int64(id))}
}

func (s *shop) emit(e change.Event) {
	e.Table = s.table
	if e.ID.IsZero() {
		e.ID = change.NewID(1, s.commit, 1, s.order)
		s.order++
	}
	e.CommitTime = time.Unix(1700000000, 0)
	err := s.enc.Encode(&e, time.Unix(1700000001, 0), func(r *change.Record) error { s.publish(r); return nil })
	if err != nil {
		panic(err)
	}
}

func (s *shop) publish(r *change.Record) {
	first, last := 0, len(s.parts)-1
	if !r.Everywhere {
		h := fnv.New32a()
		h.Write(r.Key)
		first = int(h.Sum32() % uint32(len(s.parts)))
		last = first
	}
	for n := first; n <= last; n++ {
		m := sink.Message{Topic: s.table.Topic, Partition: n, Offset: int64(len(s.parts[n]))}
		if r.Key != nil {
			m.Key = append([]byte{}, r.Key...)
		}
		if r.Value != nil {
			m.Value = append([]byte{}, r.Value...)
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, change.Header{Key: h.Key, Value: append([]byte{}, h.Value...)})
		}
		s.parts[n] = append(s.parts[n], m)
	}
}

func (s *shop) insert(r change.Row)     { s.emit(change.Event{Op: change.Create, After: r}) }
func (s *shop) update(r change.Row)     { s.emit(change.Event{Op: change.Update, After: r}) }
func (s *shop) delete(r change.Row)     { s.emit(change.Event{Op: change.Delete, Before: r}) }
func (s *shop) rekey(old, r change.Row) { s.moveOut(old, r); s.moveInto(old, r) }
func (s *shop) moveOut(old, r change.Row) {
	s.emit(change.Event{Op: change.Delete, Before: old, NewKey: r})
}
func (s *shop) moveInto(old, r change.Row) {
	s.emit(change.Event{Op: change.Create, After: r, OldKey: old})
}

func (s *shop) truncate() { s.begin(); s.emit(change.Event{Op: change.Truncate}) }

func (s *shop) marker(kind change.MarkerKind, snapshot string) {
	s.begin()
	s.publish(change.MarkerRecord(s.table, change.NewPointID(1, s.commit, 1, 0), change.Marker{Kind: kind, Snapshot: snapshot}))
}

func (s *shop) read(r change.Row, ordinal int) {
	s.emit(change.Event{Op: change.Read, After: r, ID: change.NewPointID(1, s.commit, 2, uint32(ordinal)), Snapshot: "true"})
}

// table reads rows again, as they are in the shop now.
type table struct {
	s    *shop
	row  func(id int) (change.Row, bool) // nil, false: it is not there
	lock sync.Locker                     // held while it is read
}

func (t table) Rows(_ context.Context, events []*sink.Message) (map[string]*sink.Message, func(context.Context) (map[int]int64, error), error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	rows := map[string]*sink.Message{}
	enc := change.NewEncoder(change.Source{Connector: change.Postgres, Name: "shop", Version: "test"})
	for _, m := range events {
		var key struct{ ID int }
		if err := json.Unmarshal(m.Key, &key); err != nil {
			return nil, nil, err
		}
		r, ok := t.row(key.ID)
		if !ok {
			continue
		}
		e := change.Event{Op: change.Read, Table: customers, After: r, ID: change.NewPointID(1, 1, 1, 0), CommitTime: time.Unix(1700000000, 0)}
		if err := enc.Encode(&e, time.Unix(1700000001, 0), func(r *change.Record) error {
			got := &sink.Message{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
			for _, h := range r.Headers {
				got.Headers = append(got.Headers, change.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
			}
			rows[string(m.Key)] = got
			return nil
		}); err != nil {
			return nil, nil, err
		}
	}
	ends := t.s.ends()
	return rows, func(context.Context) (map[int]int64, error) { return ends, nil }, nil
}

func (s *shop) ends() map[int]int64 {
	ends := map[int]int64{}
	for n, all := range s.parts {
		ends[n] = int64(len(all))
	}
	return ends
}

// plant is an engine over a state file, with a vendor.
type plant struct {
	t      testing.TB
	store  *state.SQLite
	engine *sink.Engine
	vendor *sinktest.Vendor
	path   string
	spec   sink.Spec
	stop   func()
	point  func(string)
	next   []int64
	app    sink.App // nil: the vendor
	// watched: the ledgers are looked at all the time.
	watched bool
	bounds  sink.QuarantineOptions
	onEdit  func(sink.Edit)
}

func newPlant(t testing.TB, vendor *sinktest.Vendor, partitions int, change func(*sink.Spec)) *plant {
	p := &plant{t: t, vendor: vendor, path: filepath.Join(t.TempDir(), "state.db")}
	p.spec = sink.Spec{Name: "crm", Topic: customers.Topic, App: "crm", Object: "contacts", Program: program{print: "1"}, Partitions: partitions,
		OnDelete: "archive", OnLeave: "archive", OnAppDelete: "hold", Guard: sink.DefaultGuard, Schema: schema}
	if change != nil {
		change(&p.spec)
	}
	return p
}

func schema(context.Context, string, string) (*change.Table, error) { return customers, nil }

// open opens state and engine, and assigns all partitions.
func (p *plant) open() {
	p.t.Helper()
	var err error
	if p.store, err = state.OpenSQLite(p.path, state.SQLiteOptions{Reserve: -1}); err != nil {
		p.t.Fatal(err)
	}
	app := p.app
	if app == nil {
		app = p.vendor
	}
	p.engine, err = sink.New(p.t.Context(), sink.Options{Store: p.store, Apps: map[string]sink.App{"crm": app}, Pipelines: []sink.Spec{p.spec},
		History: sink.HistoryOptions{Keep: 24 * time.Hour}, Quarantine: p.bounds, OnEdit: p.onEdit,
		Failpoint: func(name string) {
			if p.point != nil {
				p.point(name)
			}
		}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.next = make([]int64, p.spec.Partitions)
	for n := range p.next {
		if p.next[n], err = p.engine.Pipeline("crm").Assign(p.t.Context(), customers.Topic, n, 1); err != nil {
			p.t.Fatal(err)
		}
		p.next[n] = max(p.next[n], 0)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.engine.Run(ctx) }()
	unwatch := func() {}
	if p.watched {
		unwatch = p.watch()
	}
	stopped := false
	p.stop = func() {
		if stopped {
			return
		}
		stopped = true
		unwatch()
		cancel()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
		if err := p.store.Close(); err != nil {
			p.t.Error(err)
		}
	}
}

// take takes in all that the shop has published, size messages at once.
func (p *plant) take(s *shop, size int) {
	p.t.Helper()
	for n, all := range s.parts {
		for p.next[n] < int64(len(all)) {
			some := all[p.next[n]:min(int64(len(all)), p.next[n]+int64(size))]
			if err := p.engine.Pipeline("crm").Take(p.t.Context(), customers.Topic, n, some); err != nil {
				p.t.Fatal(err)
			}
			p.next[n] += int64(len(some))
		}
	}
}

// settle waits until nothing that can be sent waits.
func (p *plant) settle() sink.Progress {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Minute); ; {
		g, err := p.engine.Progress("crm", nil)
		if err != nil {
			p.t.Fatal(err)
		}
		if g.CaughtUp() {
			if err := p.engine.Recount(p.t.Context(), "crm"); err != nil {
				p.t.Fatal(err)
			}
			return g
		}
		if time.Now().After(end) {
			p.t.Fatalf("not caught up: %+v, status %+v", g, p.engine.Status())
		}
		<-time.After(time.Millisecond)
	}
}

func (p *plant) ledger() state.Ledger { return p.engine.Status().Pipelines[0].Ledger }

func itoa(n int) string { return strconv.Itoa(n) }
