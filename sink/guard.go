package sink

import (
	"context"
	"fmt"

	"github.com/penstock-cdc/penstock/state"
)

// guardFloor is the least that a guard lets through in an hour.
const guardFloor = 20

// limit returns how many of a kind may go out in an hour; negative: any number.
func (u *unit) limit(k state.Kind) int64 { return u.p.spec.Guard.limit(k, u.ledger.Keys.InApp) }

func (g Guard) limit(k state.Kind, inApp int64) int64 {
	q := g.Creates
	switch k {
	case state.Change:
		q = g.Changes
	case state.Delete:
		q = g.Deletes
	}
	if q.Share < 0 && q.Count < 0 {
		return -1
	}
	n := int64(guardFloor)
	if q.Share >= 0 {
		n = max(n, int64(q.Share*float64(inApp)))
	}
	return max(n, q.Count)
}

// Foresee says what the guard would make of n more of a kind that nobody has approved, given the records that the app has,
// what the guard remembers, and the Unix ms that it is: the limit in an hour, negative for none, what went out in the last
// hour (of one that has stopped: before that), and whether it would stop, or has.
func (g Guard) Foresee(k state.Kind, n, inApp int64, kept state.Guard, now int64) (limit, sent int64, stops bool) {
	limit = g.limit(k, inApp)
	if sent = hour(&kept, now); kept.Tripped {
		sent = kept.Base
	}
	return limit, sent, limit >= 0 && n > 0 && n+sent > limit
}

// lets tells whether the guard lets a kind's unapproved queue out; more are about to be queued. What is
// queued counts: when all of it would not fit, none goes. Nor does a delete while there is no telling how many there are.
func (u *unit) lets(k state.Kind, more int64) bool {
	if k == state.Delete && u.p.sweeping() {
		return false
	}
	limit := u.limit(k)
	g := &u.guards[k]
	if limit < 0 {
		return true
	}
	queued := more + u.queued[state.QueueOf(k, state.Live, false)] + u.queued[state.QueueOf(k, state.Backfill, false)]
	if g.Tripped {
		if queued+g.Base > limit {
			return false
		}
		*g = state.Guard{Sent: g.Sent}
		u.dirty[k] = true
		return true
	}
	sent := hour(g, u.now)
	if queued+sent <= limit {
		return true
	}
	g.Tripped, g.Since, g.Base = true, u.now, sent
	u.dirty[k] = true
	u.p.e.log.Warn("guard stopped "+k.String(), "pipeline", u.p.spec.Name, "queued", queued, "sent_in_hour", sent, "limit", limit)
	return false
}

// hour returns what went out in the rolling hour.
func hour(g *state.Guard, now int64) (n int64) {
	for _, m := range g.Sent {
		if m.At > now/60000-60 {
			n += m.N
		}
	}
	return n
}

// sent counts what goes out unapproved.
func (u *unit) sent(k state.Kind, n int64) {
	if u.limit(k) < 0 {
		return
	}
	g := &u.guards[k]
	minute := u.now / 60000
	kept := make([]state.Minute, 0, len(g.Sent)+1)
	for _, m := range g.Sent {
		if m.At > minute-60 {
			kept = append(kept, m)
		}
	}
	if l := len(kept); l > 0 && kept[l-1].At == minute {
		kept[l-1].N += n
	} else {
		kept = append(kept, state.Minute{At: minute, N: n})
	}
	g.Sent = kept
	u.dirty[k] = true
}

// GuardStop is what a guard holds back.
type GuardStop struct {
	Pipeline string
	Kind     string // creates, changes, deletes; truncate
	Queued   int64
	Sent     int64 // in the hour before it stopped
	Limit    int64
	Since    int64 // Unix ms
	Seen     int64 // names what was queued when it was listed: see Approve
}

// Guards lists what guards hold back.
func (e *Engine) Guards() []GuardStop {
	var all []GuardStop
	for _, p := range e.order {
		p.mu.Lock()
		u := &unit{p: p, ledger: p.ledger, queued: p.queued}
		for k := range p.guards {
			if g := &p.guards[k]; g.Tripped {
				kind := state.Kind(k)
				n := p.queued[state.QueueOf(kind, state.Live, false)] + p.queued[state.QueueOf(kind, state.Backfill, false)]
				if n > 0 {
					all = append(all, GuardStop{p.spec.Name, kind.String(), n, g.Base, u.limit(kind), g.Since, e.seq.Load()})
				}
			}
		}
		if n := p.queued[state.Guarded]; n > 0 {
			all = append(all, GuardStop{Pipeline: p.spec.Name, Kind: "truncate", Queued: n, Seen: e.seq.Load()})
		}
		p.mu.Unlock()
	}
	return all
}

// unknown counts what waits in a queue with Seq at most seq and may have been sent.
func (u *unit) unknown(q state.Queue, seq int64) (n int64, err error) {
	err = scan(func(after int64, limit int) (last int64, rows int, err error) {
		err = u.tx.ScanPending(u.p.id, after, limit, func(w *state.Pending) error {
			rows++
			last = w.Record
			if w.Queue == q && w.Seq <= seq && w.Unknown {
				n++
			}
			return nil
		})
		return last, rows, err
	})
	return n, err
}

// Approve lets through what a listed guard held back when it was listed, and nothing queued
// or changed since. It returns how many that is.
func (e *Engine) Approve(ctx context.Context, stop GuardStop) (int64, error) {
	p, err := e.find(stop.Pipeline)
	if err != nil {
		return 0, fmt.Errorf("approve: %w", err)
	}
	moves := [][2]state.Queue{{state.Guarded, state.QueueOf(state.Delete, state.Live, true)}}
	if stop.Kind != "truncate" {
		moves = nil
		for k := range state.Kind(state.Kinds) {
			if k.String() == stop.Kind {
				for _, l := range []state.Lane{state.Live, state.Backfill} {
					moves = append(moves, [2]state.Queue{state.QueueOf(k, l, false), state.QueueOf(k, l, true)})
				}
			}
		}
		if moves == nil {
			return 0, fmt.Errorf("approve: a guard has no kind %q", stop.Kind)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var total int64
	err = p.update(ctx, "", "", func(u *unit) error {
		for _, m := range moves {
			var unknown int64
			if m[0] == state.Guarded {
				if unknown, err = u.unknown(m[0], stop.Seen); err != nil {
					return err
				}
			}
			n, err := u.tx.Requeue(p.id, m[0], m[1], stop.Seen)
			if err != nil {
				return err
			}
			u.queued[m[0]] -= n
			u.queued[m[1]] += n
			total += n
			if m[0] == state.Guarded {
				u.ledger.Held -= n
				u.ledger.Pending += n
				u.ledger.Keys.Held -= n
				u.ledger.Keys.Pending += n - unknown
				u.ledger.Keys.Unknown += unknown
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("approve: %w", err)
	}
	p.d.wake()
	return total, nil
}
