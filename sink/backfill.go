package sink

import (
	"context"
	"fmt"
	"math"

	"github.com/penstock-cdc/penstock/state"
)

// Backfill says whether a pipeline is to have the rows that are there, since it is new or its rules changed.
type Backfill struct {
	Why      string // new, changed; "" when it is not
	Approved bool
	Records  int64 // rows that the pipeline has seen so far
}

// noHistory is what a new pipeline was backfilled by.
const noHistory = "new"

// Backfill tells whether a pipeline is to have the rows that are there.
func (e *Engine) Backfill(pipeline string) (b Backfill) {
	p := e.pipelines[pipeline]
	if p == nil {
		return b
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backfill()
}

func (p *Pipeline) backfill() Backfill {
	d := &p.delivery
	if d.Backfilled == p.print {
		return Backfill{}
	}
	k := &p.ledger.Keys
	b := Backfill{Why: "changed", Approved: d.Approved == p.print, Records: k.InSync + k.Pending + k.Unknown + k.Rejected + k.Held + k.Waiting + k.Excluded}
	if d.Backfilled == noHistory {
		b.Why = "new"
	}
	return b
}

// ApproveBackfill lets a pipeline have the rows that are there.
func (e *Engine) ApproveBackfill(ctx context.Context, pipeline string) error {
	p, err := e.find(pipeline)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.backfill().Why == "" {
		return fmt.Errorf("pipeline %s is neither new nor changed: there is nothing to approve", pipeline)
	}
	d := p.delivery
	d.Approved = p.print
	return p.deliver(ctx, d)
}

// Backfilled notes that the rows that are there are on their way, or not wanted.
func (e *Engine) Backfilled(ctx context.Context, pipeline string) error {
	p, err := e.find(pipeline)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.delivery
	d.Backfilled, d.Approved = p.print, ""
	return p.deliver(ctx, d)
}

// since returns the delivery of a pipeline that was last opened with a program of this fingerprint, "" for never.
func (p *Pipeline) since(d state.Delivery, print string) state.Delivery {
	if d.Backfilled == "" {
		if d.Backfilled = print; print == "" {
			d.Backfilled = noHistory
		}
	}
	if d.Backfilled == p.print && print != p.print {
		d.Backfilled = print // rules in between have written records
	}
	return d
}

// lapse takes back what was let through guards: it was made by other rules.
func (p *Pipeline) lapse(ctx context.Context) error {
	return p.update(ctx, "", "", func(u *unit) error {
		for k := range state.Kind(state.Kinds) {
			for _, lane := range []state.Lane{state.Live, state.Backfill} {
				from, to := state.QueueOf(k, lane, true), state.QueueOf(k, lane, false)
				n, err := u.tx.Requeue(p.id, from, to, math.MaxInt64)
				if err != nil {
					return err
				}
				u.queued[from] -= n
				u.queued[to] += n
			}
		}
		return nil
	})
}
