package sink_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

// works is an engine with several pipelines, each of a shop of its own, into several vendors.
type works struct {
	t      *testing.T
	engine *sink.Engine
	shops  map[string]*shop
	next   map[string]int64
}

// newWorks has a pipeline for each of the names, into the app given.
func newWorks(t *testing.T, apps map[string]sink.App, into map[string]string) *works {
	store, err := state.OpenSQLite(t.TempDir()+"/state.db", state.SQLiteOptions{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	w := &works{t: t, shops: map[string]*shop{}, next: map[string]int64{}}
	o := sink.Options{Store: store, Apps: apps}
	var names []string
	for name := range into {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		o.Pipelines = append(o.Pipelines, sink.Spec{Name: name, Topic: customers.Topic, App: into[name], Object: name, Program: program{print: "1"},
			OnDelete: "archive", OnLeave: "archive", OnAppDelete: "hold", Guard: sink.DefaultGuard, Schema: schema})
		w.shops[name] = newShop(1)
	}
	if w.engine, err = sink.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, err := w.engine.Pipeline(name).Assign(t.Context(), customers.Topic, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, store.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// rows inserts n rows from id on and takes them in.
func (w *works) rows(pipeline string, id, n int) {
	w.t.Helper()
	s := w.shops[pipeline]
	s.begin()
	for i := range n {
		s.insert(row(id+i, pipeline+itoa(id+i)+"@x.test", "N", "pro", 1, id+i))
	}
	all := s.parts[0]
	if err := w.engine.Pipeline(pipeline).Take(w.t.Context(), customers.Topic, 0, all[w.next[pipeline]:]); err != nil {
		w.t.Fatal(err)
	}
	w.next[pipeline] = int64(len(all))
}

// pending is how many records of a pipeline wait.
func (w *works) pending(pipeline string) int64 {
	for _, p := range w.engine.Status().Pipelines {
		if p.Name == pipeline {
			return p.Ledger.Pending
		}
	}
	w.t.Fatalf("there is no pipeline %s", pipeline)
	return 0
}

func (w *works) app(name string) sink.AppStatus {
	for _, a := range w.engine.Status().Apps {
		if a.Name == name {
			return a
		}
	}
	w.t.Fatalf("there is no app %s", name)
	return sink.AppStatus{}
}

// until returns how long it takes until f is true, 10 minutes at most.
func (w *works) until(what string, f func() bool) time.Duration {
	w.t.Helper()
	start := time.Now()
	for !f() {
		if time.Since(start) > 10*time.Minute {
			w.t.Fatalf("%s: not within 10 minutes; %+v", what, w.engine.Status())
		}
		<-time.After(10 * time.Millisecond)
	}
	return time.Since(start)
}

// slow makes a vendor's calls take a while, and notes who made them, in order.
type slow struct {
	*sinktest.Vendor
	takes time.Duration
	mu    sync.Mutex
	calls []string
}

func (s *slow) Push(ctx context.Context, object string, action sink.Action, changes []sink.Change) ([]sink.Result, error) {
	s.mu.Lock()
	s.calls = append(s.calls, object)
	s.mu.Unlock()
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.Vendor.Push(ctx, object, action, changes)
}

// TestBacklogLeavesRoomForOthers: live changes of one pipeline go out within two seconds while another one of the same app has
// a backlog of 1,000 calls; two backlogs share the calls.
func TestBacklogLeavesRoomForOthers(t *testing.T) {
	for name, bounds := range map[string]sink.Limits{
		"the pace is short": {Batch: 5, Concurrent: 6, Calls: 100, Window: 10 * time.Second},
		"slots are short":   {Batch: 5, Concurrent: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &slow{Vendor: sinktest.NewVendor("source_id", bounds), takes: 300 * time.Millisecond}
				w := newWorks(t, map[string]sink.App{"crm": v}, map[string]string{"a_small": "crm", "big": "crm", "quiet": "crm"})
				w.rows("big", 1, 5000)
				for n := range 10 {
					before := w.pending("big")
					w.rows("a_small", 100_000+n, 1)
					if took := w.until("a live change", func() bool { return w.pending("a_small") == 0 }); took > 2*time.Second {
						t.Errorf("change %d waited %s behind the backlog of another pipeline", n, took)
					}
					<-time.After(3 * time.Second)
					if w.pending("big") >= before {
						t.Error("the backlog does not get smaller")
					}
				}
				w.rows("a_small", 200_000, 2000)
				v.mu.Lock()
				v.calls = nil
				v.mu.Unlock()
				<-time.After(30 * time.Second)
				v.mu.Lock()
				small := 0
				for _, object := range v.calls {
					if object == "a_small" {
						small++
					}
				}
				if share := float64(small) / float64(len(v.calls)); share < 0.4 || share > 0.6 {
					t.Errorf("%d of %d calls are of one of two backlogs", small, len(v.calls))
				}
				v.mu.Unlock()
			})
		})
	}
}

// TestAppThatIsDown: its pipelines wait with longer and longer pauses, those of another app do not notice, and it comes back by itself.
func TestAppThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, up := sinktest.NewVendor("source_id", sink.Limits{Batch: 10, Concurrent: 2}), sinktest.NewVendor("source_id", sink.Limits{Batch: 10, Concurrent: 2})
		w := newWorks(t, map[string]sink.App{"down": down, "up": up}, map[string]string{"one": "down", "two": "down", "three": "up"})
		down.SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault { return sinktest.Broken })
		w.rows("one", 1, 100)
		w.rows("two", 1000, 100)
		w.until("it is seen", func() bool { return w.app("down").State == "down" })
		before, _ := down.Calls()
		for n := range 60 {
			w.rows("three", 10_000+n, 1)
			if took := w.until("the other app", func() bool { return w.pending("three") == 0 }); took > 100*time.Millisecond {
				t.Errorf("the other app's change took %s", took)
			}
			<-time.After(10 * time.Second)
		}
		if calls, _ := down.Calls(); calls-before > 2*30 || calls-before < 2*8 { // two objects, each tried by itself
			t.Errorf("%d calls in 10 minutes to an app that is down", calls-before)
		}
		if s := w.app("down"); s.Detail == "" || s.Next.IsZero() || w.app("up").State != "open" {
			t.Errorf("%+v, %+v", s, w.app("up"))
		}
		down.SetFault(nil)
		if took := w.until("it is back", func() bool { return w.pending("one")+w.pending("two") == 0 }); took > time.Minute+time.Second {
			t.Errorf("it took %s to go on", took)
		}
		if w.app("down").State != "open" {
			t.Errorf("%+v", w.app("down"))
		}
	})
}

// partly is a vendor that answers 500 to all that is said of one object.
type partly struct {
	*sinktest.Vendor
	broken string
	mu     sync.Mutex
	calls  int // for that object
}

func (p *partly) Push(ctx context.Context, object string, action sink.Action, changes []sink.Change) ([]sink.Result, error) {
	p.mu.Lock()
	broken := object == p.broken
	if broken {
		p.calls++
	}
	p.mu.Unlock()
	if broken {
		return nil, errors.New("500 Internal Server Error")
	}
	return p.Vendor.Push(ctx, object, action, changes)
}

// TestObjectThatIsDown: the pipelines of the app's other objects do not notice.
func TestObjectThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &partly{Vendor: sinktest.NewVendor("source_id", sink.Limits{Batch: 10, Concurrent: 2}), broken: "tickets"}
		w := newWorks(t, map[string]sink.App{"crm": v}, map[string]string{"contacts": "crm", "tickets": "crm"})
		w.rows("tickets", 1, 100)
		w.until("it is seen", func() bool { return w.app("crm").State == "down" })
		for n := range 60 {
			w.rows("contacts", 10_000+n, 1)
			if took := w.until("the other object", func() bool { return w.pending("contacts") == 0 }); took > 100*time.Millisecond {
				t.Errorf("the other object's change took %s", took)
			}
			<-time.After(10 * time.Second)
		}
		v.mu.Lock()
		if v.calls > 40 || v.calls < 8 {
			t.Errorf("%d calls in 10 minutes for an object that is down", v.calls)
		}
		v.broken = ""
		v.mu.Unlock()
		if s := w.app("crm"); s.Detail != "tickets: 500 Internal Server Error" || s.Next.IsZero() {
			t.Errorf("%+v", s)
		}
		if took := w.until("it is back", func() bool { return w.pending("tickets") == 0 }); took > time.Minute+time.Second {
			t.Errorf("it took %s to go on", took)
		}
		if s := w.app("crm"); s.State != "open" || s.Detail != "" {
			t.Errorf("%+v", s)
		}
	})
}

// TestRevokedTokenStopsOneApp: no calls but a probe every half minute, until it is let in again.
func TestRevokedTokenStopsOneApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &pinged{Vendor: sinktest.NewVendor("source_id", sink.Limits{Batch: 10})}, sinktest.NewVendor("source_id", sink.Limits{Batch: 10})
		w := newWorks(t, map[string]sink.App{"bad": bad, "good": good}, map[string]string{"one": "bad", "two": "good"})
		bad.SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault { return sinktest.Halted })
		bad.refuse(errors.New("token revoked"))
		w.rows("one", 1, 100)
		w.until("it is stopped", func() bool { return w.app("bad").State == "stopped" })
		before, _ := bad.Calls()
		<-time.After(10 * time.Minute)
		w.rows("two", 1000, 10)
		w.until("the other app", func() bool { return w.pending("two") == 0 })
		if calls, _ := bad.Calls(); calls != before {
			t.Errorf("%d calls to an app that is stopped", calls-before)
		}
		if n := bad.count(); n < 15 || n > 25 {
			t.Errorf("%d probes in 10 minutes", n)
		}
		if s := w.app("bad"); s.State != "stopped" || s.Detail == "" {
			t.Errorf("%+v", s)
		}
		bad.SetFault(nil)
		bad.refuse(nil)
		if took := w.until("it goes on", func() bool { return w.pending("one") == 0 }); took > 31*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// pinged is a vendor whose Ping fails at times.
type pinged struct {
	*sinktest.Vendor
	mu    sync.Mutex
	err   error
	pings int
}

func (p *pinged) Ping(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pings++
	return p.err
}

func (p *pinged) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *pinged) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pings
}

// asked is a vendor that answers as it is told.
type asked struct {
	*sinktest.Vendor
	mu   sync.Mutex
	errs []error
	at   []time.Time
}

func (a *asked) Push(ctx context.Context, object string, action sink.Action, changes []sink.Change) ([]sink.Result, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = append(a.at, time.Now())
	if len(a.errs) > 0 {
		err := a.errs[0]
		a.errs = a.errs[1:]
		return nil, err
	}
	return a.Vendor.Push(ctx, object, action, changes)
}

// TestNamedTimeIsObeyed: no call is made to an app before the time that it names, whether nothing was done or that is not known.
func TestNamedTimeIsObeyed(t *testing.T) {
	for name, refusal := range map[string]error{
		"nothing was done": sink.RetryAfter(errors.New("status 429"), 90*time.Second),
		"not known":        sink.Unknown(sink.RetryAfter(errors.New("status 503"), 90*time.Second)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &asked{Vendor: sinktest.NewVendor("source_id", sink.Limits{Batch: 100, Read: 100, Concurrent: 3}), errs: []error{refusal}}
				w := newWorks(t, map[string]sink.App{"crm": v}, map[string]string{"one": "crm", "two": "crm"})
				w.rows("one", 1, 10)
				<-time.After(time.Second)
				w.rows("two", 1000, 10)
				w.until("both", func() bool { return w.pending("one")+w.pending("two") == 0 })
				v.mu.Lock()
				defer v.mu.Unlock()
				if pause := v.at[1].Sub(v.at[0]); pause < 90*time.Second || pause > 92*time.Second {
					t.Errorf("the next call came after %s", pause)
				}
			})
		})
	}
}
