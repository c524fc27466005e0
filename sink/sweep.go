package sink

import (
	"context"
	"slices"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// sweepSize is how many records one transaction of a sweep looks at.
const sweepSize = 500

// sweep makes deletes of the keys of a partition that a truncate took, or that a
// snapshot did not find: those last seen below the truncate or the snapshot's begin.
// It is done before the position moves past t, and doing it again changes nothing.
func (p *Pipeline) sweep(ctx context.Context, part *partition, t *taken) error {
	bound, cause := t.id, state.ByTruncate
	if t.marker != nil {
		if part.pos.Snapshot == "" || part.pos.Snapshot != t.marker.Snapshot || t.marker.Partial {
			return nil
		}
		bound, cause = part.pos.Begin, state.BySweep
	}
	left := func(s *state.Shadow) bool {
		return s.Partition == part.number && s.Key != nil && s.Seen.Compare(bound) < 0
	}
	ids, err := p.scan(ctx, left)
	if err != nil {
		return err
	}
	// All of them at once: the guard has to see them before the first is sent.
	p.mu.Lock()
	defer p.mu.Unlock()
	if cause == state.ByTruncate && len(p.between.late) > 0 {
		if err := p.update(ctx, "", "", func(u *unit) error { return u.dropLate(part.number) }); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(ids, sweepSize) {
		err := p.update(ctx, "sweep.before_commit", "sweep.after_commit", func(u *unit) error {
			if err := u.loadByID(some); err != nil {
				return err
			}
			for _, r := range u.order {
				if !left(r.sh) {
					continue
				}
				if err := u.sweepAway(r, t.id, t.time, cause); err != nil {
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
