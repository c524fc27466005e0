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
	// flightWait is how long the end of a flight is waited for, which wakes the dispatcher.
	flightWait = time.Second
)

// dispatcher sends to one app: one budget for all its pipelines, one circuit for each object.
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
	blocked  time.Time // no call before, as the app said
	circuits map[string]*circuit
	halted   error
	calls    context.Context //nolint:containedctx // of the flights, which outlive what starts them
	fatal    error
	flights  sync.WaitGroup
	turn     int // index of the pipeline that is served next
}

// circuit is how calls for one object of the app went: one that the app does not take must not hold up the others.
type circuit struct {
	active   int       // flights
	failures int       // calls in a row that failed as a whole
	blocked  time.Time // no call before
	last     error     // of the last call that failed as a whole
}

// downAfter is how many calls in a row fail before an object is said to be down.
const downAfter = 5

func newDispatcher(e *Engine, name string, app App) *dispatcher {
	return &dispatcher{e: e, name: name, app: app, kick: make(chan struct{}, 1), freed: make(chan struct{}, 1), circuits: map[string]*circuit{}}
}

// circuit returns an object's; the caller holds mu.
func (d *dispatcher) circuit(object string) *circuit {
	c := d.circuits[object]
	if c == nil {
		c = &circuit{}
		d.circuits[object] = c
	}
	return c
}

// occupy counts n flights more, or less, for an object; the caller holds mu.
func (d *dispatcher) occupy(object string, n int) {
	d.active += n
	d.circuit(object).active += n
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
	object  string
	flights int
	batch   int
}

func (c *claim) release(n int) {
	if n <= 0 {
		return
	}
	c.d.mu.Lock()
	c.d.occupy(c.object, -n)
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
	c := claim{d: d, object: p.spec.Object, batch: l.Batch}
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
		if !d.running || d.circuit(p.spec.Object).failures > 0 || p.closed.Load() {
			d.mu.Unlock()
			return c
		}
		got, _, _ := d.reserve(p.spec.Object, l, want, 0)
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

// reserve takes up to want flights for an object that may start now; the caller holds mu. When none may, it returns how
// long to wait (0: until a flight ends), and whether only that object has to.
func (d *dispatcher) reserve(object string, l Limits, want, keep int) (n int, wait time.Duration, own bool) {
	now := time.Now()
	c := d.circuit(object)
	switch {
	case d.halted != nil || now.Before(d.blocked):
		return 0, max(time.Millisecond, d.blocked.Sub(now)), false
	case now.Before(c.blocked):
		return 0, c.blocked.Sub(now), true
	}
	d.budget.set(l.Calls, l.Window)
	d.budget.told(l.Used, l.UsedAt)
	if w := d.saves(l, now); w > 0 {
		return 0, w, false
	}
	if c.failures > 0 { // one flight to see whether it goes again
		if want = 1; c.active > 0 {
			return 0, flightWait, true
		}
	}
	if d.spare {
		want = 1 // to see whether the quota is renewed
	}
	for n < want && d.active < l.Concurrent {
		if w := d.budget.wait(now, keep); w > 0 {
			if n == 0 {
				return 0, w, false
			}
			break
		}
		d.budget.take(now)
		d.asked = now
		d.occupy(object, 1)
		n++
	}
	return n, 0, false
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
	return min(wait, d.rest()), nil
}

// rest returns when the first of the objects that did not answer may be called again.
func (d *dispatcher) rest() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait, now := time.Second, time.Now()
	for _, c := range d.circuits {
		if now.Before(c.blocked) {
			wait = min(wait, c.blocked.Sub(now))
		}
	}
	return wait
}

// serve starts what may start of a lane, the pipelines by turns: one that could not start anything, since no call was free,
// keeps its turn; one whose object does not answer is passed over. It returns how long nothing more can, 0 when nothing
// more is there.
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
// With a wait nothing can start for any of them.
func (d *dispatcher) start(ctx context.Context, p *Pipeline, lane state.Lane, several int) (started, more bool, wait time.Duration, err error) {
	l := d.limits(p.spec.Object)
	keep := 0
	if lane == state.Backfill {
		keep = l.Calls / 100 // for live changes; calls are spread, so that another is never far
	}
	d.mu.Lock()
	n, wait, own := d.reserve(p.spec.Object, l, (l.Concurrent+several-1)/several, keep)
	d.mu.Unlock()
	if n == 0 {
		switch {
		case own:
			wait = 0 // see rest
		case wait == 0:
			wait = flightWait
		}
		return false, false, wait, nil
	}
	c := claim{d: d, object: p.spec.Object, flights: n, batch: l.Batch}
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
			d.occupy(f.p.spec.Object, -1)
			d.mu.Unlock()
			d.signalFreed()
			d.wake()
		})
	}
}

// answered notes how a call as a whole went.
func (d *dispatcher) answered(object string, err error, after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	c := d.circuit(object)
	if err == nil {
		if c.failures >= downAfter {
			d.e.log.Info("object is back", "app", d.name, "object", object)
		}
		c.failures, c.last, c.blocked = 0, nil, time.Time{}
		return
	}
	c.last = err
	if after > 0 {
		d.blocked = later(d.blocked, now.Add(after))
		return
	}
	c.failures++
	c.blocked = later(c.blocked, now.Add(backOff(c.failures)))
	if c.failures == downAfter {
		d.e.log.Warn("object of the app is down", "app", d.name, "object", object, "error", err)
	}
}

// notBefore obeys an app that names a time.
func (d *dispatcher) notBefore(after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocked = later(d.blocked, time.Now().Add(after))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
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
	d.halted, d.blocked = nil, time.Time{}
	for _, c := range d.circuits {
		c.failures, c.blocked = 0, time.Time{}
	}
	return nil
}
