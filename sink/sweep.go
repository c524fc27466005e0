package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// sweepSize is how many records one transaction of a sweep looks at.
const sweepSize = 500

// settleEvery is how long a snapshot that can't be settled yet is left alone.
const settleEvery = 200 * time.Millisecond

// A truncate, and a snapshot that has ended, make deletes of a partition's keys: of those last seen below the truncate or the
// snapshot's begin. All records are looked through for them, with no lock held; doing it again changes nothing. That of a
// truncate is done before the position moves past it, that of a snapshot beside what is taken in after it: whatever comes for
// a key shows that its row is there.

// truncate makes the deletes of a truncate.
func (p *Pipeline) truncate(ctx context.Context, part *partition, t *taken) error {
	ids, err := p.scan(ctx, part.unseen(t.id))
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.between.late) > 0 {
		if err := p.update(ctx, "", "", func(u *unit) error { return u.dropLate(part.number) }); err != nil {
			return err
		}
	}
	return p.sweep(ctx, ids, part.unseen(t.id), t.id, t.time, state.ByTruncate)
}

// sweeper makes the deletes of snapshots that have ended, until ctx ends.
func (p *Pipeline) sweeper(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.ended:
		}
		p.partsMu.Lock()
		parts := slices.Collect(maps.Values(p.parts))
		p.partsMu.Unlock()
		for _, part := range parts {
			done, err := p.settleSnapshot(ctx, part)
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("look for what a snapshot of pipeline %s did not find: %w", p.spec.Name, err)
			}
			if !done {
				time.AfterFunc(settleEvery, p.ends)
			}
		}
	}
}

// ends has the sweeper look for snapshots that have ended.
func (p *Pipeline) ends() {
	select {
	case p.ended <- struct{}{}:
	default:
	}
}

// settleSnapshot makes the deletes of a snapshot that has ended in a partition, if there is one, and tells whether it is done with.
// It is not while events that came before the end are put off: they tell of rows that are there.
func (p *Pipeline) settleSnapshot(ctx context.Context, part *partition) (done bool, err error) {
	p.mu.Lock()
	bound, end := part.pos.Unseen, part.pos.End
	late := p.between.lateBefore(part.number, end)
	p.mu.Unlock()
	if end.IsZero() || late {
		return end.IsZero(), nil
	}
	ids, err := p.scan(ctx, part.unseen(bound))
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.partition(part.number) != part || part.pos.End != end {
		return part.pos.End.IsZero(), nil // assigned anew; truncated; another one has ended, which finds what this one would have
	}
	if err := p.sweep(ctx, ids, part.unseen(bound), end, time.Now().UnixMilli(), state.BySweep); err != nil {
		return false, err
	}
	to := part.pos
	to.Unseen, to.End, to.Generation = change.ID{}, change.ID{}, part.generation
	if err := p.e.o.Store.Update(ctx, func(tx state.Tx) error { return tx.Advance(p.id, &part.pos, &to) }); err != nil {
		return false, err
	}
	// One by one: LastID and Offset are read by intake with no lock held.
	part.pos.Unseen, part.pos.End = change.ID{}, change.ID{}
	p.d.wake()
	return true, nil
}

// unsettled tells whether it is not known yet what a snapshot that has ended did not find, loading whether one goes on or is that.
func unsettled(pos *state.Position) bool { return !pos.End.IsZero() }
func loading(pos *state.Position) bool   { return pos.Snapshot != "" || unsettled(pos) }

// anywhere tells whether something is so in a partition; the caller holds mu.
func (p *Pipeline) anywhere(is func(*state.Position) bool) bool {
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	for _, part := range p.parts {
		if is(&part.pos) {
			return true
		}
	}
	return false
}

// unseen tells of records whether they are a partition's and were last seen below an event.
func (part *partition) unseen(below change.ID) func(*state.Shadow) bool {
	return func(s *state.Shadow) bool {
		return s.Partition == part.number && s.Key != nil && s.Seen.Compare(below) < 0
	}
}

// sweep makes the deletes of those records that are unseen still, all at once: the guard has to see them before the first is sent.
// The caller holds mu.
func (p *Pipeline) sweep(ctx context.Context, ids []int64, unseen func(*state.Shadow) bool, id change.ID, at int64, cause state.Cause) error {
	for some := range slices.Chunk(ids, sweepSize) {
		err := p.update(ctx, "sweep.before_commit", "sweep.after_commit", func(u *unit) error {
			if err := u.loadByID(some); err != nil {
				return err
			}
			for _, r := range u.order {
				if !unseen(r.sh) {
					continue
				}
				if err := u.sweepAway(r, id, at, cause); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	p.d.wake()
	return nil
}

// scan returns the IDs of some of all records, with no lock held: it takes seconds for a million.
func (p *Pipeline) scan(ctx context.Context, which func(*state.Shadow) bool) (ids []int64, err error) {
	for after, more := int64(0), true; more; {
		n := 0
		if err := p.e.o.Store.View(ctx, func(tx state.Tx) error {
			return tx.ScanShadows(p.id, after, sweepSize, func(s *state.Shadow) error {
				n++
				if after = s.ID; which(s) {
					ids = append(ids, s.ID)
				}
				return nil
			})
		}); err != nil {
			return nil, err
		}
		more = n == sweepSize
	}
	return ids, nil
}

// sweepAway makes a delete of a record that no event of its own deleted; that counts as an event.
func (u *unit) sweepAway(r *rec, id change.ID, at int64, cause state.Cause) error {
	if r.pd != nil && r.pd.Want != state.Put && r.pd.EventID == id {
		return nil // by an earlier try
	}
	if r.sh.Rejected {
		if err := u.supersedeQuarantine(r); err != nil {
			return err
		}
	}
	if !r.sh.Deleted {
		r.sh.Deleted, r.dirtySh = true, true
	}
	inApp := r.sh.Standing == state.InApp || r.fl != nil || r.pd != nil && r.pd.Unknown
	if !inApp {
		u.supersede(r)
		u.dropPending(r)
		if r.sh.Standing == state.New {
			return u.discard(r)
		}
		return nil
	}
	action := u.owed(r, u.p.onDelete(cause == state.ByMove && len(u.p.forgotten) > 0))
	if action == "ignore" {
		u.supersede(r)
		if err := u.doubtKey(r, r.pd); err != nil {
			return err
		}
		u.dropPending(r)
		return nil
	}
	u.supersede(r)
	if u.isSet(r, wantOf(action, cause)) {
		return u.staySet(r)
	}
	w, err := u.removal(r, id, at, action, cause)
	if err != nil {
		return err
	}
	if cause == state.ByTruncate {
		w.Queue = state.Guarded
	}
	u.ledger.Taken++
	*u.place(w.Queue)++
	return nil
}
