package sink_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// wholeTable reads all of the shop's rows, as a source does.
type wholeTable struct {
	table
	rows map[int]change.Row
	// found is called after each read of rows by key.
	found func()
}

func newWholeTable(s *shop) *wholeTable {
	w := &wholeTable{rows: map[int]change.Row{}, found: func() {}}
	w.table = table{s: s, lock: &sync.Mutex{}, row: func(id int) (change.Row, bool) { r, ok := w.rows[id]; return r, ok }}
	return w
}

func (w *wholeTable) Scan(_ context.Context, page func([]*sink.Message) error) error {
	enc := change.NewEncoder(change.Source{Connector: change.Postgres, Name: "shop", Version: "test"})
	for _, r := range w.rows {
		e := change.Event{Op: change.Read, Table: customers, After: r, ID: change.NewPointID(1, 1, 1, 0), CommitTime: time.Unix(1700000000, 0)}
		m := &sink.Message{}
		if err := enc.Encode(&e, time.Unix(1700000001, 0), func(rec *change.Record) error {
			m.Key, m.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
			for _, h := range rec.Headers {
				m.Headers = append(m.Headers, change.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
			}
			return nil
		}); err != nil {
			return err
		}
		if err := page([]*sink.Message{m}); err != nil {
			return err
		}
	}
	return nil
}

func (w *wholeTable) Find(ctx context.Context, keys [][]byte) (map[string]*sink.Message, func(context.Context) (map[int]int64, error), error) {
	events := make([]*sink.Message, len(keys))
	for i, key := range keys {
		events[i] = &sink.Message{Key: key}
	}
	defer w.found()
	return w.Rows(ctx, events)
}

// reconciling is a plant with customers 1 to 6 in the app, the 5th but for what `where` says.
func reconciling(t *testing.T, change func(*sink.Spec)) (*plant, *shop, *wholeTable, *sinktest.Vendor) {
	v := sinktest.NewVendor("source_id", sink.Limits{Batch: 10, Read: 4, Concurrent: 2})
	v.Canon = func(field, value string) string {
		if field == "name" {
			return value + "!"
		}
		return value
	}
	s := newShop(1)
	w := newWholeTable(s)
	p := newPlant(t, v, 1, func(spec *sink.Spec) {
		spec.Rows = w
		if change != nil {
			change(spec)
		}
	})
	p.open()
	for id := 1; id <= 6; id++ {
		plan := "pro"
		if id == 5 {
			plan = "test"
		}
		w.rows[id] = row(id, itoa(id)+"@x.test", "N", plan, 1, id)
		s.begin()
		s.insert(w.rows[id])
	}
	p.take(s, 10)
	p.settle()
	return p, s, w, v
}

func (p *plant) reconcile(o sink.ReconcileOptions) *sink.Reconciled {
	p.t.Helper()
	o.Examples = 10
	r, err := p.engine.Reconcile(p.t.Context(), "crm", o)
	if err != nil {
		p.t.Fatal(err)
	}
	if r.Wrong != "" {
		p.t.Error(r.Wrong)
	}
	return r
}

// drifted checks the kinds found.
func drifted(t *testing.T, r *sink.Reconciled, want map[sink.Drift]int64) {
	t.Helper()
	if !maps.Equal(r.Drift, want) {
		t.Errorf("drift %v, want %v; apart %v", r.Drift, want, r.Apart)
	}
}

// TestReconcileRows: changes of rows that never came as events are found and taken in.
func TestReconcileRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, w, v := reconciling(t, nil)
		defer func() { p.stop() }()
		if r := p.reconcile(sink.ReconcileOptions{}); r.Total() != 0 || r.Rows != 6 || r.InApp != 5 {
			t.Fatalf("at first: %+v", r)
		}
		w.rows[1] = row(1, "new@x.test", "N", "pro", 2, 1)
		w.rows[2] = row(2, "2@x.test", "N", "test", 2, 2)
		w.rows[5] = row(5, "5@x.test", "N", "pro", 2, 5)
		w.rows[7] = row(7, "", "N", "pro", 1, 7) // is rejected
		delete(w.rows, 3)
		r := p.reconcile(sink.ReconcileOptions{})
		drifted(t, r, map[sink.Drift]int64{sink.RowDiffers: 1, sink.RowLeft: 1, sink.RowMissing: 1, sink.RowGone: 1})
		if r.Apart["rejected"] != 1 || r.Plan.Changes != 1 || r.Plan.Creates != 1 || r.Plan.Removals != 2 {
			t.Errorf("apart %v, plan %+v", r.Apart, r.Plan)
		}
		for _, e := range r.Examples {
			if e.Kind == sink.RowDiffers && (len(e.Fields) != 2 || e.Fields[0].Name != "email" || e.Fields[0].Want.Text() != "new@x.test" || e.Fields[0].Have.Text() != "1@x.test") {
				t.Errorf("%+v", e)
			}
		}
		before := p.ledger()
		done := p.reconcile(sink.ReconcileOptions{Only: r.Refs, Repair: true})
		if done.Repaired != 4 {
			t.Errorf("%d repaired", done.Repaired)
		}
		p.settle()
		if l := p.ledger(); l.Taken != before.Taken+4 || l.Applied != before.Applied+4 {
			t.Errorf("ledger %+v, before %+v", l, before)
		}
		drifted(t, p.reconcile(sink.ReconcileOptions{}), map[sink.Drift]int64{})
		live := v.Live()
		if len(live) != 4 || live["1"]["email"] != "new@x.test" || live["5"] == nil {
			t.Errorf("the app has %v", live)
		}
		if err := v.Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestReconcileApp: what people did in the app is found, compared in the app's own form, and put back as the pipeline says.
func TestReconcileApp(t *testing.T) {
	for _, onGone := range []string{"hold", "recreate", "forget"} {
		t.Run(onGone, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _, _, v := reconciling(t, func(spec *sink.Spec) { spec.OnAppDelete = onGone })
				defer func() { p.stop() }()
				v.Edit("1", map[string]string{"email": "mine@x.test", "stage": "customer"})
				v.Edit("2", map[string]string{"source_id": "stray"})
				v.Archive("3")
				if err := v.Erase(t.Context(), "contacts", "4"); err != nil {
					t.Fatal(err)
				}
				r := p.reconcile(sink.ReconcileOptions{})
				drifted(t, r, map[sink.Drift]int64{sink.AppDiffers: 2, sink.AppArchived: 1, sink.AppMissing: 1})
				_, reads := v.Calls()
				done := p.reconcile(sink.ReconcileOptions{Only: r.Refs, Repair: true})
				if _, after := v.Calls(); done.Repaired != 4 || after != reads+1 {
					t.Errorf("%d repaired with %d reads", done.Repaired, after-reads)
				}
				p.settle()
				live := v.Live()
				want := map[string]int{"hold": 3, "recreate": 5, "forget": 3}[onGone]
				if len(live) != want || live["1"]["email"] != "1@x.test" || live["1"]["stage"] != "customer" || live["2"] == nil {
					t.Errorf("the app has %v", live)
				}
				again := p.reconcile(sink.ReconcileOptions{})
				drifted(t, again, map[sink.Drift]int64{})
				if onGone == "hold" && again.Apart["held"] != 2 || onGone == "forget" && again.Apart["forgotten"] != 2 {
					t.Errorf("apart %v", again.Apart)
				}
			})
		})
	}
}

// TestReconcileWhileRowsChange: an event that is on its way is no drift, and a row that was repaired meanwhile is not
// written over with what it was.
func TestReconcileWhileRowsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, w, v := reconciling(t, nil)
		defer func() { p.stop() }()
		w.rows[1] = row(1, "second@x.test", "N", "pro", 2, 1)
		n := 0
		w.found = func() {
			// After the row was read for the second time its next change is taken in, before the repair.
			if n++; n == 2 {
				w.rows[1] = row(1, "1@x.test", "N", "pro", 1, 1)
				s.begin()
				s.update(w.rows[1])
				p.take(s, 10)
			}
		}
		key, err := json.Marshal(map[string]int{"id": 1})
		if err != nil {
			t.Fatal(err)
		}
		r := p.reconcile(sink.ReconcileOptions{Only: []sink.DriftRef{{Kind: sink.RowDiffers, Key: key}}, Repair: true})
		if n < 3 || r.Total() != 0 || r.Repaired != 0 {
			t.Errorf("%d reads, %+v", n, r)
		}
		p.settle()
		if got := v.Live()["1"]["email"]; got != "1@x.test" {
			t.Errorf("the app has %q", got)
		}
	})
}

// TestReconcilePace: the app is read no faster than was asked for, and by default at a tenth of what it allows.
func TestReconcilePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _, v := reconciling(t, nil)
		defer func() { p.stop() }()
		took := func(o sink.ReconcileOptions) time.Duration {
			start := time.Now()
			if r := p.reconcile(o); r.Calls != 2 {
				t.Errorf("%d calls for 5 records, 4 in each", r.Calls)
			}
			return time.Since(start).Round(100 * time.Millisecond)
		}
		if d := took(sink.ReconcileOptions{CallsPerSecond: 0.1}); d != 10*time.Second {
			t.Errorf("two calls at one in 10 s took %s", d)
		}
		v.Bounds.Calls, v.Bounds.Window = 100, 10*time.Second
		if d := took(sink.ReconcileOptions{}); d != time.Second {
			t.Errorf("two calls at a tenth of 10 a second took %s", d)
		}
	})
}

// TestReconcilePlanAsksTheGuard: the plan says that a guard would stop it, and it does.
func TestReconcilePlanAsksTheGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, w, v := reconciling(t, nil)
		defer func() { p.stop() }()
		for id := 10; id < 50; id++ {
			w.rows[id] = row(id, itoa(id)+"@x.test", "N", "pro", 1, id)
			s.begin()
			s.insert(w.rows[id])
		}
		p.take(s, 100)
		p.settle()
		for id := 10; id < 50; id++ {
			delete(w.rows, id)
		}
		r := p.reconcile(sink.ReconcileOptions{})
		if r.Plan.Removals != 40 || len(r.Plan.Guards) != 1 {
			t.Fatalf("plan %+v", r.Plan)
		}
		p.reconcile(sink.ReconcileOptions{Only: r.Refs, Repair: true})
		p.settle()
		if stops := p.engine.Guards(); len(stops) != 1 || stops[0].Queued != 40 || len(v.Live()) != 45 {
			t.Errorf("guards %+v, %d live", stops, len(v.Live()))
		}
	})
}
