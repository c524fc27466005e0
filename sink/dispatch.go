package sink

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/state"
)

const (
	backOffFirst = 200 * time.Millisecond
	backOffMost  = time.Minute
	// probeEvery is how often an app that was halted is asked whether it is back.
	probeEvery = 30 * time.Second
	// slotWait is how long intake waits for a free call before it queues a large batch: less than queueing costs.
	slotWait = 10 * time.Millisecond
)

// dispatcher sends to one app: one budget and one circuit for all its pipelines.
type dispatcher struct {
	e         *Engine
	name      string
	app       App
	pipelines []*Pipeline
	waiting   atomic.Int64 // wanted states in ready queues of all pipelines
	kick      chan struct{}
	freed     chan struct{} // a slot was freed

	mu       sync.Mutex
	running  bool
	active   int // flights
	budget   budget
	quota    quota
	asked    time.Time // the last call
	spare    bool      // the day's quota is used up to the reserve
	blocked  time.Time // no call before
	failures int       // calls in a row that failed as a whole
	halted   error
	last     error // of the last call that failed as a whole
	calls    context.Context
	fatal    error
	flights  sync.WaitGroup
	turn     int // index of the pipeline that is served next
}

func newDispatcher(e *Engine, name string, app App) *dispatcher {
	return &dispatcher{e: e, name: name, app: app, kick: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
}

func (d *dispatcher) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

func (d *dispatcher) limits(object string) Limits {
	l := d.app.Limits(object)
	l.Batch, l.Concurrent = max(l.Batch, 1), max(l.Concurrent, 1)
	if l.Read <= 0 {
		l.Read = 1
	}
	return l
}

// run starts calls until ctx ends, then lets those under way finish within the grace.
func (d *dispatcher) run(ctx context.Context) error {
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	d.mu.Lock()
	d.calls, d.running = calls, true
	d.mu.Unlock()
	for ctx.Err() == nil {
		wait, err := d.step(ctx)
		if err != nil && ctx.Err() == nil {
			d.fail(err)
		}
		if d.broken() != nil {
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-d.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
	d.mu.Lock()
	d.running = false
	d.mu.Unlock()
	end := time.AfterFunc(d.e.o.Grace, cut)
	d.flights.Wait()
	end.Stop()
	return d.broken()
}

// fail notes that the state can't be written: the process must end.
func (d *dispatcher) fail(err error) {
	d.mu.Lock()
	if d.fatal == nil {
		d.fatal = err
	}
	d.mu.Unlock()
	d.wake()
}

func (d *dispatcher) broken() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fatal
}

// claim is the right to start some flights.
type claim struct {
	d       *dispatcher
	flights int
	batch   int
}

func (c *claim) release(n int) {
	if n <= 0 {
		return
	}
	c.d.mu.Lock()
	c.d.active -= n
	for range n {
		c.d.budget.giveBack()
	}
	c.d.mu.Unlock()
	c.d.signalFreed()
}

func (d *dispatcher) signalFreed() {
	select {
	case d.freed <- struct{}{}:
	default:
	}
}

// claim reserves flights for n records of intake, none when something waits already or the app may not be called now.
func (d *dispatcher) claim(ctx context.Context, p *Pipeline, n int) claim {
	l := d.limits(p.spec.Object)
	c := claim{d: d, batch: l.Batch}
	if p.spec.Linger > 0 && n < l.Batch || p.spec.Schedule != nil {
		return c
	}
	want := min((n+l.Batch-1)/l.Batch+2, l.Concurrent)
	var timer *time.Timer
	for {
		if d.waiting.Load() > 0 {
			return c
		}
		d.mu.Lock()
		if !d.running || d.failures > 0 || p.closed.Load() {
			d.mu.Unlock()
			return c
		}
		got, _ := d.reserve(l, want, 0)
		d.mu.Unlock()
		if got > 0 || n < 100 {
			c.flights = got
			return c
		}
		if timer == nil {
			timer = time.NewTimer(slotWait)
			defer timer.Stop()
		}
		select {
		case <-d.freed:
		case <-timer.C:
			return c
		case <-ctx.Done():
			return c
		}
	}
}

// reserve takes up to want flights that may start now; the caller holds mu. When none may, it returns how long to wait
// (0: until a flight ends).
func (d *dispatcher) reserve(l Limits, want, keep int) (int, time.Duration) {
	now := time.Now()
	if d.halted != nil || now.Before(d.blocked) {
		return 0, max(time.Millisecond, d.blocked.Sub(now))
	}
	slots := l.Concurrent
	if d.failures > 0 {
		slots = 1 // a probe
	}
	d.budget.set(l.Calls, l.Window)
	d.budget.told(l.Used, l.UsedAt)
	if w := d.saves(l, now); w > 0 {
		return 0, w
	}
	if d.spare {
		want = 1 // to see whether the quota is renewed
	}
	n := 0
	for n < want && d.active < slots {
		if w := d.budget.wait(now, keep); w > 0 {
			if n == 0 {
				return 0, w
			}
			break
		}
		d.budget.take(now)
		d.asked = now
		d.active++
		n++
	}
	return n, 0
}

// spend waits for the app's budget and takes a call from it, for what is done beside the flights; keep calls of the window
// are left to others.
func (d *dispatcher) spend(ctx context.Context, keep int) error {
	for {
		l := d.limits("")
		d.mu.Lock()
		now := time.Now()
		wait := d.blocked.Sub(now)
		if d.halted != nil {
			defer d.mu.Unlock()
			return d.halted
		}
		d.budget.set(l.Calls, l.Window)
		d.budget.told(l.Used, l.UsedAt)
		if wait <= 0 {
			wait = d.budget.wait(now, keep)
		}
		if wait <= 0 {
			d.budget.take(now)
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// saves returns how long no call is made since what is left of the day's quota is others'; the caller holds mu.
func (d *dispatcher) saves(l Limits, now time.Time) time.Duration {
	d.quota.observe(l, now)
	if d.spare = l.Reserve > 0 && l.Day > 0 && float64(l.DayLeft) <= l.Reserve*float64(l.Day); !d.spare {
		return 0
	}
	return d.asked.Add(quotaProbe).Sub(now)
}

// step starts what may start, and returns how long nothing new can.
func (d *dispatcher) step(ctx context.Context) (time.Duration, error) {
	for _, p := range d.pipelines {
		if err := p.tick(ctx); err != nil {
			return 0, err
		}
		if err := p.await(ctx); err != nil {
			return 0, err
		}
	}
	if err := d.probe(ctx); err != nil {
		return probeEvery, nil //nolint:nilerr // halted: see status
	}
	for _, lane := range []state.Lane{state.Live, state.Backfill} {
		if wait, err := d.serve(ctx, lane); err != nil || wait > 0 {
			return wait, err
		}
	}
	wait := time.Second
	for _, p := range d.pipelines {
		if t := p.soon(); !t.IsZero() {
			wait = min(wait, max(time.Millisecond, time.Until(t)))
		}
	}
	return wait, nil
}

// serve starts what may start of a lane, the pipelines by turns: one that could not start anything, since no call was free,
// keeps its turn. It returns how long nothing more can, 0 when nothing more is there.
func (d *dispatcher) serve(ctx context.Context, lane state.Lane) (time.Duration, error) {
	var ready []*Pipeline
	for i := range d.pipelines {
		if p := d.pipelines[(d.turn+i)%len(d.pipelines)]; p.has(lane) {
			ready = append(ready, p)
		}
	}
	for len(ready) > 0 {
		p := ready[0]
		started, more, wait, err := d.start(ctx, p, lane, len(ready))
		if err != nil || wait > 0 {
			return wait, err
		}
		if started {
			d.turn = slices.Index(d.pipelines, p) + 1
		}
		if ready = ready[1:]; more {
			ready = append(ready, p)
		}
	}
	return 0, nil
}

// start starts flights of one of several pipelines that have something in a lane, its share of them; more: there may be more.
func (d *dispatcher) start(ctx context.Context, p *Pipeline, lane state.Lane, several int) (started, more bool, wait time.Duration, err error) {
	l := d.limits(p.spec.Object)
	keep := 0
	if lane == state.Backfill {
		keep = l.Calls / 100 // for live changes; calls are spread, so that another is never far
	}
	d.mu.Lock()
	n, wait := d.reserve(l, (l.Concurrent+several-1)/several, keep)
	d.mu.Unlock()
	if n == 0 {
		if wait == 0 {
			wait = time.Second // a flight's end wakes us
		}
		return false, false, wait, nil
	}
	c := claim{d: d, flights: n, batch: l.Batch}
	flights, err := p.next(ctx, lane, c)
	c.release(n - len(flights))
	if err != nil {
		return false, false, 0, err
	}
	d.launch(flights)
	return len(flights) > 0, len(flights) == n, 0, nil
}

// launch makes the flights' calls. Their slots are reserved and their intents durable.
func (d *dispatcher) launch(flights []*flight) {
	if len(flights) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running {
		// Ending: the intents are settled at the next start.
		return
	}
	ctx := d.calls
	for _, f := range flights {
		f.paid = true
		d.flights.Go(func() {
			d.fly(ctx, f)
			d.mu.Lock()
			d.active--
			d.mu.Unlock()
			d.signalFreed()
			d.wake()
		})
	}
}

// answered notes how a call as a whole went.
func (d *dispatcher) answered(err error, after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if err == nil {
		d.failures, d.last = 0, nil
		return
	}
	d.last = err
	if after > 0 {
		if until := now.Add(after); until.After(d.blocked) {
			d.blocked = until
		}
		return
	}
	d.failures++
	if until := now.Add(backOff(d.failures)); until.After(d.blocked) {
		d.blocked = until
	}
	if d.failures == 5 {
		d.e.log.Warn("app is down", "app", d.name, "error", err)
	}
}

// notBefore obeys an app that names a time.
func (d *dispatcher) notBefore(after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if until := time.Now().Add(after); until.After(d.blocked) {
		d.blocked = until
	}
}

// backOff returns the pause after n failures, with jitter: 50 to 100 % of a doubling time.
func backOff(n int) time.Duration {
	most := backOffFirst << min(n-1, 20)
	if most > backOffMost || most <= 0 {
		most = backOffMost
	}
	return most/2 + rand.N(most/2)
}

// halt stops the app until a probe says that it is back.
func (d *dispatcher) halt(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.halted == nil {
		d.e.log.Error("app stopped", "app", d.name, "error", err)
	}
	d.halted, d.blocked = err, time.Now().Add(probeEvery)
}

// probe asks a halted app whether it is back, and returns why it is not.
func (d *dispatcher) probe(ctx context.Context) error {
	d.mu.Lock()
	halted, blocked := d.halted, d.blocked
	d.mu.Unlock()
	if halted == nil {
		return nil
	}
	if time.Now().Before(blocked) {
		return halted
	}
	ctx, cancel := context.WithTimeout(ctx, d.e.o.Timeout)
	defer cancel()
	err := d.app.Ping(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.blocked = time.Now().Add(probeEvery)
		return err
	}
	d.e.log.Info("app is back", "app", d.name)
	d.halted, d.blocked, d.failures = nil, time.Time{}, 0
	return nil
}
