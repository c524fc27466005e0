package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// Options has what an Engine works with.
type Options struct {
	Store     state.Store
	Apps      map[string]App // by the app's name in the configuration
	Pipelines []Spec
	Log       *slog.Logger // nil: nothing is logged
	// Failpoint is called at each of Failpoints; tests crash in it. nil: not called.
	Failpoint func(name string)
	// Timeout bounds one call to an app, 0: 60 s; Grace what calls that are under way may take when Run ends, 0: 10 s.
	Timeout, Grace time.Duration
	History        HistoryOptions
	Quarantine     QuarantineOptions
	// OnEdit is told what was found that people did in the apps, once it is kept; nil: nobody is.
	OnEdit func(Edit)
}

// Spec is one pipeline, ready to run.
type Spec struct {
	Name    string
	Topic   string
	App     string
	Object  string
	Program Program
	// Schema returns the topic's table by version.
	Schema func(ctx context.Context, topic, version string) (*change.Table, error)
	// Partitions is how many the topic has; 0: 1.
	Partitions int
	// OnDelete and OnLeave: archive, delete, ignore or set. OnAppDelete: hold, recreate or forget.
	OnDelete, OnLeave, OnAppDelete string
	// SetOnDelete and SetOnLeave are the fields of the action set.
	SetOnDelete, SetOnLeave []Field
	// MatchFirst: look up Match before each create, since the app does not keep it unique.
	MatchFirst bool
	Linger     time.Duration
	Rows       Rows     // nil: rows are not read again
	Schedule   Schedule // nil: what is taken in is sent at once
	Guard      Guard
	Verify     Verify
	Parents    []Parent
}

// Guard limits what a pipeline may do in a rolling hour.
type Guard struct{ Deletes, Changes, Creates Quota }

// Quota is a share of the records in the app or a count, negative for not given; the larger of it and
// guardFloor applies, and there is no limit when neither is given.
type Quota struct {
	Share float64
	Count int64
}

// DefaultGuard is the guard of a pipeline without a guard block.
var DefaultGuard = Guard{Deletes: Quota{Share: 0.05, Count: -1}, Changes: Quota{-1, -1}, Creates: Quota{-1, -1}}

// Engine runs pipelines into apps.
type Engine struct {
	o         Options
	log       *slog.Logger
	apps      map[string]*dispatcher
	pipelines map[string]*Pipeline
	order     []*Pipeline
	seq       atomic.Int64
}

// New reads the pipelines' state and settles what a crash left: calls whose outcome is
// unknown become wanted states that are looked up before they are sent again.
func New(ctx context.Context, o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	e := &Engine{o: o, log: o.Log, apps: map[string]*dispatcher{}, pipelines: map[string]*Pipeline{}}
	for name, app := range o.Apps {
		e.apps[name] = newDispatcher(e, name, app)
	}
	for i := range o.Pipelines {
		spec := o.Pipelines[i]
		d := e.apps[spec.App]
		if d == nil {
			return nil, fmt.Errorf("open pipeline %s: there is no app %q", spec.Name, spec.App)
		}
		if e.pipelines[spec.Name] != nil {
			return nil, fmt.Errorf("open pipeline %s: there are two of that name", spec.Name)
		}
		_, reads := d.app.(Reader)
		_, tells := d.app.(Changer)
		if v := spec.Verify; v.BeforeWrite && !reads || v.Every > 0 && !(reads && tells) {
			return nil, fmt.Errorf("open pipeline %s: app %s can't be verified", spec.Name, spec.App)
		}
		p := newPipeline(e, d, spec)
		e.pipelines[spec.Name] = p
		e.order = append(e.order, p)
		d.pipelines = append(d.pipelines, p)
	}
	if err := e.connect(); err != nil {
		return nil, err
	}
	for _, p := range e.order {
		if err := p.open(ctx); err != nil {
			return nil, fmt.Errorf("open pipeline %s: %w", p.spec.Name, err)
		}
	}
	return e, nil
}

// Pipeline returns the pipeline of that name, nil for none. It takes in its topic's messages.
func (e *Engine) Pipeline(name string) *Pipeline { return e.pipelines[name] }

// find returns a pipeline by name, or an error that says that there is none.
func (e *Engine) find(name string) (*Pipeline, error) {
	if p := e.pipelines[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("there is no pipeline %q", name)
}

// Run sends what is wanted to the apps until ctx ends (nil) or the state can't be
// written. When ctx ends, calls under way may finish within Options.Grace.
func (e *Engine) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, 0, len(e.apps))
	var mu sync.Mutex
	start := func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				stop()
			}
		})
	}
	var keeper sync.WaitGroup
	keeper.Go(func() {
		if err := e.keep(ctx); err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
			stop()
		}
	})
	for _, d := range e.apps {
		start(d.run)
	}
	for _, p := range e.order {
		start(p.sweeper)
		if p.spec.Rows != nil {
			start(p.reselect)
		}
		if p.spec.Verify.Every > 0 {
			start(p.verify)
		}
	}
	wg.Wait()
	stop()
	keeper.Wait()
	return errors.Join(errs...)
}

func (e *Engine) failpoint(name string) {
	if e.o.Failpoint != nil && name != "" {
		e.o.Failpoint(name)
	}
}
