package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/penstock-cdc/penstock/state"
)

// Schedule says when a pipeline sends; taking in never waits for it.
type Schedule interface {
	// Next returns the first tick after a moment, zero for none.
	Next(after time.Time) time.Time
	String() string
}

// A tick begins a run: all that was taken in when it began is sent, and what belongs to it, then the run ends. A tick that
// comes while a run goes on is passed over. Ticks that were missed, since no process ran or the pipeline was paused, are
// made good by one run.
const (
	// runGathers is how long a run waits for the partitions to be read to their ends before it is settled what belongs to it.
	runGathers = time.Minute
	// runTries is how long a run goes on for records alone that fail again and again: they go with the next one.
	runTries = 10 * time.Minute
)

// errSeen ends the reading of what waits: enough was seen.
var errSeen = errors.New("enough was seen")

// run is the present run of a schedule, as far as it is kept in memory alone.
type run struct {
	began time.Time // here: a run that a former process began goes on
	bound int64     // the last Seq that belongs to it, 0: not settled yet
	// landed is when the last flight's outcome was recorded: what waited for its key before that may be free by now.
	landed time.Time
}

// going tells whether a run of the schedule goes on.
func (p *Pipeline) going() bool { return p.delivery.Started > p.delivery.Ended }

// gate brings what may be sent to what the delivery says; the caller holds mu.
func (p *Pipeline) gate() {
	before := p.sendable()
	p.closed.Store(p.delivery.Paused != 0 || p.spec.Schedule != nil && !p.going())
	p.d.waiting.Add(p.sendable() - before)
	p.due = time.Time{}
	if p.spec.Schedule != nil {
		p.due = p.spec.Schedule.Next(time.UnixMilli(p.delivery.Since))
	}
}

// deliver changes the delivery durably; the caller holds mu.
func (p *Pipeline) deliver(ctx context.Context, d state.Delivery) error {
	if err := p.e.o.Store.Update(ctx, func(tx state.Tx) error { return tx.PutDelivery(p.id, &d) }); err != nil {
		return err
	}
	p.delivery = d
	p.gate()
	p.d.wake()
	return nil
}

// tick begins a run that is due, and ends one that has nothing left.
func (p *Pipeline) tick(ctx context.Context) error {
	if p.spec.Schedule == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case p.delivery.Paused != 0:
		return nil
	case !p.going():
		if p.due.IsZero() || now.Before(p.due) {
			return nil
		}
		return p.begin(ctx, now)
	}
	return p.finish(ctx, now)
}

// begin begins a run; the caller holds mu.
func (p *Pipeline) begin(ctx context.Context, now time.Time) error {
	d := p.delivery
	d.Started, d.Since = max(now.UnixMilli(), d.Ended+1), now.UnixMilli()
	p.run = run{began: now}
	return p.deliver(ctx, d)
}

// finish ends the run when all that belongs to it is sent; the caller holds mu.
func (p *Pipeline) finish(ctx context.Context, now time.Time) error {
	if p.run.began.IsZero() {
		p.run.began = now
	}
	if p.run.bound == 0 {
		if !p.idleSince(p.run.began) && now.Sub(p.run.began) < runGathers {
			return nil
		}
		p.run.bound = max(p.e.seq.Load(), 1)
	}
	if len(p.inflight) > 0 {
		return nil
	}
	horizon, tried := int64(math.MaxInt64), now.Sub(p.run.began) > runTries
	if tried {
		horizon = now.UnixMilli()
	}
	left := false
	err := p.e.o.Store.View(ctx, func(tx state.Tx) error {
		for q, rows := range p.queued {
			q := state.Queue(q)
			if rows == 0 || !q.Ready() || !q.Approved() && p.guards[q.Kind()].Tripped {
				continue
			}
			if err := tx.NextPending(p.id, q, horizon, int(rows), func(w *state.Pending) error { // by Seq
				// What waits for a key that a record gives up in a later run, or that is held, would keep this one from ending.
				stuck := w.Error == waitsForKey && (tried || w.Due-keyWait.Milliseconds() > p.run.landed.UnixMilli())
				if left = w.Seq <= p.run.bound && !stuck; left || w.Seq > p.run.bound {
					return errSeen
				}
				return nil
			}); err != nil && !errors.Is(err, errSeen) || left {
				return err
			}
		}
		return nil
	})
	if left {
		return nil
	}
	if err != nil {
		return err
	}
	d := p.delivery
	d.Ended = max(now.UnixMilli(), d.Started)
	d.Since = d.Ended
	return p.deliver(ctx, d)
}

// idleSince tells whether every partition had nothing to read at some time since.
func (p *Pipeline) idleSince(since time.Time) bool {
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	for n := range p.spec.Partitions {
		if part := p.parts[n]; part == nil || part.idleAt.Before(since) {
			return false
		}
	}
	return true
}

// Pause stops sending for one pipeline, durably, or lets it go on; taking in goes on in any case, and calls under way end.
func (e *Engine) Pause(ctx context.Context, pipeline string, paused bool) error {
	p, err := e.find(pipeline)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.delivery
	switch {
	case paused && d.Paused == 0:
		d.Paused = time.Now().UnixMilli()
	case !paused:
		d.Paused = 0
	}
	if d == p.delivery {
		return nil
	}
	if err := p.deliver(ctx, d); err != nil {
		return fmt.Errorf("pause or resume %s: %w", pipeline, err)
	}
	return nil
}

// RunNow begins a run of a pipeline's schedule; when no process runs, the next one begins with it.
func (e *Engine) RunNow(ctx context.Context, pipeline string) error {
	p, err := e.find(pipeline)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.spec.Schedule == nil:
		return fmt.Errorf("pipeline %s sends at once, it has no schedule to be run out of turn", pipeline)
	case p.delivery.Paused != 0:
		return fmt.Errorf("pipeline %s is paused: penstock resume %s first", pipeline, pipeline)
	case p.going():
		return errors.New("a run goes on: " + pipeline + " is sending what was taken in before it began")
	}
	if err := p.begin(ctx, time.Now()); err != nil {
		return fmt.Errorf("run %s: %w", pipeline, err)
	}
	return nil
}
