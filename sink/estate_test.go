package sink_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

// deals is a table of children: customer names one of customers.
var deals = (&change.Table{
	Database: "shop", Schema: "public", Name: "deals", Topic: "shop.public.deals", Key: []int{0},
	Columns: []change.Column{
		{Name: "id", Kind: change.Int, Type: "bigint"},
		{Name: "customer", Kind: change.Int, Type: "bigint", Nullable: true},
		{Name: "ver", Kind: change.Int, Type: "bigint"},
	},
}).Seal()

// deal is a row of deals; customer 0 is NULL.
func deal(id, customer, ver int) change.Row {
	r := change.Row{change.OfInt(int64(id)), change.OfInt(int64(customer)), change.OfInt(int64(ver))}
	if customer == 0 {
		r[1] = change.Value{}
	}
	return r
}

const contactField, sellerField = "parent.contact", "parent.seller"

// dealProgram makes deals, each with its customer as parent; with sellers the customer whose id is ver is another one.
type dealProgram struct {
	print   string
	sellers bool
}

func (p dealProgram) Fields() []sink.FieldSpec {
	all := []sink.FieldSpec{{Name: "ver", Group: sink.OwnedBySource}, {Name: contactField, Group: sink.ByParent}}
	if p.sellers {
		all = append(all, sink.FieldSpec{Name: sellerField, Group: sink.ByParent})
	}
	return all
}
func (p dealProgram) KeyField() string       { return "source_id" }
func (p dealProgram) KeyPII() bool           { return false }
func (p dealProgram) KeyOfKey() bool         { return true }
func (p dealProgram) MatchField() string     { return "" }
func (p dealProgram) MatchAlso() []string    { return nil }
func (p dealProgram) Fingerprint() string    { return p.print }
func (p dealProgram) NewWorker() sink.Worker { return p }

func (p dealProgram) Eval(e *change.Event, m *sink.Made) {
	r := e.After
	m.Outcome, m.Key = sink.Pass, change.OfString(r[0].Text())
	parent := r[1]
	if !parent.IsNull() && !parent.IsUnchanged() {
		parent = change.OfString(`{"id":` + parent.Text() + `}`)
	}
	m.Fields = append(m.Fields[:0], r[2], parent)
	if p.sellers {
		m.Fields = append(m.Fields, change.OfString(`{"id":`+r[2].Text()+`}`))
	}
}

// estate is an engine with two pipelines into one account: customers are the parents of deals.
type estate struct {
	t         testing.TB
	path      string
	account   *sinktest.Account
	store     *state.SQLite
	engine    *sink.Engine
	specs     []sink.Spec
	customers *shop
	deals     *shop
	next      map[string][]int64
	point     func(string)
	dead      chan struct{} // closed by a point that ends the process
	stop      func()
	rounds    int
}

var unguarded = sink.Guard{Deletes: sink.Quota{Share: -1, Count: -1}, Changes: sink.Quota{Share: -1, Count: -1}, Creates: sink.Quota{Share: -1, Count: -1}}

func newEstate(t testing.TB, partitions int, change func(deals *sink.Spec)) *estate {
	bounds := sink.Limits{Batch: 10, Read: 10, Associate: 20, Concurrent: 2}
	e := &estate{t: t, path: filepath.Join(t.TempDir(), "state.db"), customers: newShop(partitions), deals: newShop(partitions)}
	e.deals.table = deals
	e.account = sinktest.NewAccount(bounds, map[string]*sinktest.Vendor{"contacts": sinktest.NewVendor("source_id", bounds), "deals": sinktest.NewVendor("source_id", bounds)})
	base := sink.Spec{App: "crm", Partitions: partitions, OnDelete: "archive", OnLeave: "archive", OnAppDelete: "recreate", Guard: unguarded, Schema: tables}
	contacts, children := base, base
	contacts.Name, contacts.Topic, contacts.Object, contacts.Program = "customers", customers.Topic, "contacts", program{print: "1"}
	children.Name, children.Topic, children.Object, children.Program = "deals", deals.Topic, "deals", dealProgram{print: "1"}
	children.Parents = []sink.Parent{{Name: "contact", Field: contactField, Pipeline: "customers", Required: true, Wait: time.Hour}}
	if change != nil {
		change(&children)
	}
	e.specs = []sink.Spec{children, contacts} // the parents need not come first
	return e
}

func tables(_ context.Context, topic, _ string) (*change.Table, error) {
	if topic == deals.Topic {
		return deals, nil
	}
	return customers, nil
}

// estates runs a test on an estate with 1 and with 6 partitions.
func estates(t *testing.T, change func(deals *sink.Spec), test func(t *testing.T, e *estate)) {
	for _, partitions := range []int{1, 6} {
		t.Run(itoa(partitions)+" partitions", func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				e := newEstate(t, partitions, change)
				e.open()
				defer func() { e.stop() }()
				test(t, e)
				if err := e.account.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func (e *estate) open() {
	e.t.Helper()
	var err error
	if e.store, err = state.OpenSQLite(e.path, state.SQLiteOptions{Reserve: -1}); err != nil {
		e.t.Fatal(err)
	}
	e.engine, err = sink.New(e.t.Context(), sink.Options{Store: e.store, Apps: map[string]sink.App{"crm": e.account}, Pipelines: e.specs,
		History: sink.HistoryOptions{Keep: 24 * time.Hour},
		Failpoint: func(name string) {
			if e.point != nil {
				e.point(name)
			}
		}})
	if err != nil {
		e.t.Fatal(err)
	}
	e.next = map[string][]int64{}
	for _, spec := range e.specs {
		next := make([]int64, spec.Partitions)
		for n := range next {
			if next[n], err = e.engine.Pipeline(spec.Name).Assign(e.t.Context(), spec.Topic, n, 1); err != nil {
				e.t.Fatal(err)
			}
			next[n] = max(next[n], 0)
		}
		e.next[spec.Name] = next
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.engine.Run(ctx) }()
	stopped := false
	e.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			e.t.Error(err)
		}
		if err := e.store.Close(); err != nil {
			e.t.Error(err)
		}
	}
}

// take takes in all that was published of one pipeline's table.
func (e *estate) take(pipeline string) {
	e.t.Helper()
	s := e.customers
	if pipeline == "deals" {
		s = e.deals
	}
	for n, all := range s.parts {
		if rest := all[e.next[pipeline][n]:]; len(rest) > 0 {
			if err := e.engine.Pipeline(pipeline).Take(e.t.Context(), s.table.Topic, n, rest); err != nil {
				e.t.Fatal(err)
			}
			e.next[pipeline][n] += int64(len(rest))
		}
	}
}

// revive starts the process again after a crash.
func (e *estate) revive() {
	synctest.Wait()
	select {
	case <-e.dead:
	default:
		return
	}
	e.dead, e.point = nil, nil
	e.stop()
	e.open()
}

// settle waits until nothing that can be sent waits, and counts the ledgers anew.
func (e *estate) settle() {
	e.t.Helper()
	for range 200_000 {
		e.revive()
		caught := true
		for _, name := range []string{"customers", "deals"} { // parents first: what they bring is then known
			g, err := e.engine.Progress(name, nil)
			if err != nil {
				e.t.Fatal(err)
			}
			caught = caught && g.CaughtUp()
		}
		if caught {
			for _, name := range []string{"customers", "deals"} {
				if err := e.engine.Recount(e.t.Context(), name); err != nil {
					e.t.Fatal(err)
				}
			}
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	e.t.Fatalf("not caught up: %+v", e.engine.Status())
}

// both takes in and settles both pipelines.
func (e *estate) both() {
	e.t.Helper()
	e.take("deals")
	e.take("customers")
	e.settle()
}

func (e *estate) ledger(pipeline string) state.Ledger {
	for _, p := range e.engine.Status().Pipelines {
		if p.Name == pipeline {
			return p.Ledger
		}
	}
	e.t.Fatalf("there is no pipeline %s", pipeline)
	return state.Ledger{}
}

// linked returns for each deal in the app the customers that it is associated with, by source key: "1-7".
func (e *estate) linked() map[string]bool {
	names := map[string]string{}
	for object, v := range e.account.Objects {
		for key, fields := range v.Live() {
			names[object+"/"+fields["id"]] = key
		}
	}
	out := map[string]bool{}
	for _, l := range e.account.Linked() {
		from, to, _ := cut(l)
		out[names[from]+"-"+names[to]] = true
	}
	return out
}

// listed returns the codes of the quarantine of deals, by source key.
func (e *estate) listed() map[string]string {
	out := map[string]string{}
	if err := e.engine.Quarantined(e.t.Context(), sink.QuarantineFilter{Pipeline: "deals"}, func(_ string, q *state.Quarantine) error {
		out[string(q.Key)] = q.Code
		return nil
	}); err != nil {
		e.t.Fatal(err)
	}
	return out
}
