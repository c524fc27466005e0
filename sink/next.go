package sink

import (
	"context"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// flight is one batch on its way to the app; its intent is durable.
type flight struct {
	p      *Pipeline
	intent int64
	items  []*item
	paid   bool // its first call is in the budget already
}

// item is one record's wanted state on its way.
type item struct {
	want  *state.Pending
	base  *state.Shadow // as it was when the item went out; never changed
	sh    *state.Shadow // as it is now: the pipeline's to lock
	newer bool          // a newer wanted state of the record waits

	action Action
	appID  string // sh's, or the one to adopt
	adopt  bool
	looked bool         // the app was asked for what may have been sent
	found  change.Value // the key under which it has it
	hold   bool         // its key is another record's for a while yet
	taken  string       // the app's id of the record that has its key, which is another row's
	bare   bool         // its key was cleared in the app, for another record to take it
	write  []Field
	sent   []int // indexes of fields that are settled once the call is answered
	result Result
	edits  []edit // what others made of its record, as it was read
	read   bool   // that the record is gone was read before anything was sent
	ties   []*tie // associations to be made and taken away
	state  itemState
	due    time.Duration // to wait before the next try
}

// key is the key that the record is to have in the app.
func (it *item) key() change.Value {
	if !it.found.IsNull() && len(it.want.Event) == 0 {
		return it.found // only to be settled: see settleLater
	}
	return it.want.Key
}

// itemState is where an item's way has come to.
type itemState uint8

const (
	todo    itemState = iota // not tried, or to be tried again: nothing was done
	applied                  // the app has it
	nothing                  // there was nothing to do
	refused                  // result.Err says why
	unsure                   // it may have been done
	absent                   // the app has lost the record
	failed                   // a plain error of this record alone
)

// has tells whether a lane has something ready.
func (p *Pipeline) has(lane state.Lane) bool {
	if p.closed.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range state.Kind(state.Kinds) {
		if p.queued[state.QueueOf(k, lane, false)] > 0 || p.queued[state.QueueOf(k, lane, true)] > 0 {
			return true
		}
	}
	return false
}

// kindOrder is in which order kinds take turns to go out.
var kindOrder = [...]state.Kind{state.Change, state.Create, state.Delete}

// next makes flights of what waits in a lane, as many as are claimed.
func (p *Pipeline) next(ctx context.Context, lane state.Lane, c claim) ([]*flight, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() || !p.filled(lane, c.batch) {
		return nil, nil
	}
	var flights []*flight
	err := p.update(ctx, "dispatch.before_intent", "dispatch.after_intent", func(u *unit) error {
		first := p.turn // where calls are scarce, small changes that keep coming would else take them all
		for i := range kindOrder {
			kind := kindOrder[(first+i)%len(kindOrder)]
			for _, approved := range []bool{true, false} {
				q := state.QueueOf(kind, lane, approved)
				if u.queued[q] == 0 || len(u.start) >= c.flights {
					continue
				}
				if !approved && !u.lets(kind, 0) {
					continue
				}
				before := len(u.start)
				if err := u.fill(q, c); err != nil {
					return err
				}
				if len(u.start) > before {
					p.turn = (first + i + 1) % len(kindOrder)
				}
			}
		}
		flights = u.start
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(flights) > 0 {
		p.linger = time.Time{}
	}
	return flights, nil
}

// filled tells whether a batch may go: it is full, or has waited long enough.
func (p *Pipeline) filled(lane state.Lane, batch int) bool {
	if p.spec.Linger <= 0 {
		return true
	}
	var n int64
	for q := range p.queued {
		if q := state.Queue(q); q.Ready() && q.Lane() == lane {
			n += p.queued[q]
		}
	}
	if n >= int64(batch) {
		return true
	}
	if p.linger.IsZero() {
		p.linger = time.Now().Add(p.spec.Linger)
	}
	return !time.Now().Before(p.linger)
}

// fill takes from one queue into flights.
func (u *unit) fill(q state.Queue, c claim) error {
	room := (c.flights - len(u.start)) * c.batch
	more := int(min(u.left, blockedMost)) // blocked ones must not keep those behind them from going out
	var rows []*state.Pending
	if err := u.tx.NextPending(u.p.id, q, u.now, room+len(u.p.inflight)+more, func(w *state.Pending) error {
		if bound := u.p.run.bound; bound > 0 && w.Seq > bound {
			return nil // for the next run of the schedule
		}
		if u.p.inflight[w.Record] == nil && len(rows) < room+more {
			rows = append(rows, w)
		}
		return nil
	}); err != nil || len(rows) == 0 {
		return err
	}
	ids := make([]int64, len(rows))
	for i, w := range rows {
		ids[i] = w.Record
	}
	if err := u.tx.ShadowsByID(u.p.id, ids, func(s *state.Shadow) error {
		u.add(s)
		return nil
	}); err != nil {
		return err
	}
	for _, w := range rows {
		r := u.recs[w.Record]
		u.p.heed(w)
		r.pd, r.stored, r.row = w, true, w.Queue
		r.before, r.inApp = r.state(), r.sh.Standing == state.InApp
	}
	recs := make([]*rec, 0, len(rows))
	for _, w := range rows {
		if len(recs) == room {
			break
		}
		r := u.recs[w.Record]
		blocked, err := u.blocked(r)
		if err != nil {
			return err
		}
		if blocked {
			again := *w
			again.Due, again.Error = u.now+keyWait.Milliseconds(), waitsForKey
			u.putPending(r, &again)
			continue
		}
		recs = append(recs, r)
	}
	recs, err := u.resolve(recs)
	if err != nil {
		return err
	}
	u.board(recs, c)
	if !q.Approved() {
		u.sent(q.Kind(), int64(len(recs)))
	}
	return nil
}

// blockedMost is how many records that wait for their key are passed over at once.
const blockedMost = 200

const (
	// keyWait is how long a create waits before it looks again whether its key is free.
	keyWait = 300 * time.Millisecond
	// waitsForKey is what such a record's wanted state says.
	waitsForKey = "its key is another record's in the app, which is to give it up first"
)

// board puts records' wanted states into flights of full batches.
func (u *unit) board(recs []*rec, c claim) {
	for len(recs) > 0 && len(u.start) < c.flights {
		n := min(len(recs), c.batch)
		f := &flight{p: u.p, items: make([]*item, n)}
		for i, r := range recs[:n] {
			f.items[i] = &item{want: r.pd, sh: r.sh, base: r.sh}
			r.fl = f.items[i]
			if r.stored {
				u.dropPending(r)
			} else {
				r.pd, r.dirtyPd = nil, false
			}
		}
		u.start = append(u.start, f)
		recs = recs[n:]
	}
}

// takeOff puts what intake has just decided into flights at once, so that it is never among the pending.
func (u *unit) takeOff(c claim) error {
	for _, k := range kindOrder {
		var recs []*rec
		for _, r := range u.order {
			if r.pd == nil || !r.dirtyPd || r.stored || r.fl != nil || r.gone || !r.pd.Queue.Ready() || r.pd.Due != 0 || r.pd.Queue.Kind() != k {
				continue
			}
			blocked, err := u.blocked(r)
			if err != nil {
				return err
			}
			if !blocked {
				recs = append(recs, r)
			}
		}
		if len(recs) == 0 || !u.lets(k, int64(len(recs))) {
			continue
		}
		recs, err := u.resolve(recs)
		if err != nil {
			return err
		}
		before := len(u.start)
		u.board(recs, c)
		n := 0
		for _, f := range u.start[before:] {
			n += len(f.items)
		}
		u.sent(k, int64(n))
	}
	return nil
}

// soon returns when a batch has waited long enough to fill, a record may be tried again, or a run is due; zero: not known.
// What it does not know is found by looking each second.
func (p *Pipeline) soon() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.retry.IsZero() && (p.linger.IsZero() || p.retry.Before(p.linger)) {
		t := p.retry
		if !time.Now().Before(t) {
			p.retry = time.Time{}
		}
		return t
	}
	switch {
	case p.delivery.Paused != 0:
		return time.Time{}
	case p.closed.Load():
		return p.due
	}
	return p.linger
}
