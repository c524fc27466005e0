package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// sweepSize is how many records one transaction of a sweep looks at.
const sweepSize = 500

// endEvery is how long a snapshot whose deletes can't be made yet is left alone.
const endEvery = 200 * time.Millisecond

// A truncate, and a snapshot that has ended, make deletes of a partition's keys: of those last seen below the truncate or the
// snapshot's begin. All records are looked through for them, with no lock held; doing it again changes nothing. That of a
// truncate is done before the position moves past it, that of a snapshot beside what is taken in after it: whatever comes for
// a key shows that its row is there.

// unseen are records of a partition that an event shows to be gone, unless it is seen that they are there.
type unseen struct {
	part  *partition
	below change.ID // they were last seen below this one
	id    change.ID // of the event
	time  int64     // its, Unix ms
	cause state.Cause
	ids   []int64
}

func (g *unseen) is(s *state.Shadow) bool {
	return s.Partition == g.part.number && s.Key != nil && s.Seen.Compare(g.below) < 0
}

// stands tells whether an event still shows what it did: its partition is not assigned anew, nor was its snapshot's table truncated
// since, or another snapshot has ended, which finds what this one would have. The caller holds mu.
func (p *Pipeline) stands(g *unseen) bool {
	return p.partition(g.part.number) == g.part && (g.cause == state.ByTruncate || g.part.pos.End == g.id)
}

// truncate makes the deletes of a truncate. A guard holds them all.
func (p *Pipeline) truncate(ctx context.Context, part *partition, t *taken) error {
	g := &unseen{part: part, below: t.id, id: t.id, time: t.time, cause: state.ByTruncate}
	if err := p.find(ctx, g); err != nil {
		return err
	}
	if err := p.dropLate(ctx, part); err != nil {
		return err
	}
	_, err := p.sweep(ctx, g)
	return err
}

func (p *Pipeline) dropLate(ctx context.Context, part *partition) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.between.late) == 0 {
		return nil
	}
	return p.update(ctx, "", "", func(u *unit) error { return u.dropLate(part.number) })
}

// sweeper makes the deletes of snapshots that have ended, until ctx ends.
func (p *Pipeline) sweeper(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.ended:
		}
		done, err := p.endSnapshots(ctx)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("look for what a snapshot of pipeline %s did not find: %w", p.spec.Name, err)
		}
		if !done {
			time.AfterFunc(endEvery, p.ends)
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

// endSnapshots makes the deletes of snapshots that have ended, and tells whether that is all of them. One has to wait while events
// that came before its end are put off: they tell of rows that are there.
func (p *Pipeline) endSnapshots(ctx context.Context) (done bool, err error) {
	ended, done := p.toEnd()
	if len(ended) == 0 {
		return done, nil
	}
	if err := p.find(ctx, ended...); err != nil {
		return false, err
	}
	for _, g := range ended {
		n, err := p.sweep(ctx, g)
		if err != nil {
			return false, err
		}
		if err := p.endSnapshot(ctx, g); err != nil {
			return false, err
		}
		if n > 0 {
			p.e.log.Info("rows that a snapshot did not find are gone", "pipeline", p.spec.Name, "partition", g.part.number, "rows", n)
		}
	}
	return done, nil
}

// toEnd returns the snapshots that have ended, and whether none of them has to wait.
func (p *Pipeline) toEnd() (all []*unseen, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	done = true
	for _, part := range p.parts {
		switch pos := &part.pos; {
		case !pos.Unsettled():
		case p.between.lateBefore(part.number, pos.End):
			done = false
		default:
			all = append(all, &unseen{part: part, below: pos.Unseen, id: pos.End, time: time.Now().UnixMilli(), cause: state.BySweep})
		}
	}
	return all, done
}

// endSnapshot notes that the deletes of a snapshot are made, if it is the last one that has ended still.
func (p *Pipeline) endSnapshot(ctx context.Context, g *unseen) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	part := g.part
	if !p.stands(g) {
		return nil
	}
	to := part.pos
	to.Unseen, to.End, to.Generation = change.ID{}, change.ID{}, part.generation
	err := p.e.o.Store.Update(ctx, func(tx state.Tx) error { return tx.Advance(p.id, &part.pos, &to) })
	if errors.Is(err, state.ErrStale) {
		return nil // its new owner does it
	}
	if err != nil {
		return err
	}
	// One by one: LastID and Offset are read by intake with no lock held.
	part.pos.Unseen, part.pos.End = change.ID{}, change.ID{}
	part.sweeping = false
	p.d.wake()
	return nil
}

// sweepFirst has the record of an event's key go, if the event comes after a snapshot that did not find it and that is not known yet:
// a key that another row takes is free then.
func (u *unit) sweepFirst(partition int, t *taken) error {
	pos := u.pos
	if pos != nil && pos.Partition == partition && !pos.Unsettled() {
		return nil // nearly always
	}
	part := u.p.partition(partition)
	if part == nil {
		return nil
	}
	if pos == nil || pos.Partition != partition {
		pos = &part.pos
	}
	if !pos.Unsettled() || t.id.Compare(pos.End) < 0 {
		return nil
	}
	g := unseen{part: part, below: pos.Unseen}
	r, err := u.key(t.key)
	if err != nil || r == nil || !g.is(r.sh) {
		return err
	}
	part.sweeping = true
	return u.sweepAway(r, pos.End, u.now, state.BySweep)
}

// loading tells whether a snapshot goes on, or it is not known yet what it did not find.
func loading(pos *state.Position) bool { return pos.Snapshot != "" || pos.Unsettled() }

// anywhere tells whether something is so of a partition; the caller holds mu.
func (p *Pipeline) anywhere(is func(*partition) bool) bool {
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	for _, part := range p.parts {
		if is(part) {
			return true
		}
	}
	return false
}

// find looks all records through for those that are unseen, with no lock held: it takes seconds for a million.
func (p *Pipeline) find(ctx context.Context, all ...*unseen) error {
	return scan(func(after int64, limit int) (last int64, n int, err error) {
		err = p.e.o.Store.View(ctx, func(tx state.Tx) error {
			return tx.ScanShadows(p.id, after, limit, func(s *state.Shadow) error {
				n++
				last = s.ID
				for _, g := range all {
					if g.is(s) {
						g.ids = append(g.ids, s.ID)
					}
				}
				return nil
			})
		})
		return last, n, err
	})
}

// sweep makes the deletes of what was found and is unseen still, while the event stands; it returns how many. Others go on between
// its transactions, but for deletes: the guard has to see all of them before the first is sent.
func (p *Pipeline) sweep(ctx context.Context, g *unseen) (n int64, err error) {
	for some := range slices.Chunk(g.ids, sweepSize) {
		made, err := p.sweepSome(ctx, g, some)
		if err != nil {
			return n, err
		}
		n += made
	}
	return n, nil
}

func (p *Pipeline) sweepSome(ctx context.Context, g *unseen, ids []int64) (n int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stands(g) {
		return 0, nil
	}
	if g.cause == state.BySweep {
		g.part.sweeping = true
	}
	err = p.update(ctx, "sweep.before_commit", "sweep.after_commit", func(u *unit) error {
		if err := u.loadByID(ids); err != nil {
			return err
		}
		before := u.ledger.Taken
		for _, r := range u.order {
			if !g.is(r.sh) {
				continue
			}
			if err := u.sweepAway(r, g.id, g.time, g.cause); err != nil {
				return err
			}
		}
		n = u.ledger.Taken - before
		return nil
	})
	p.d.wake()
	return n, err
}

// sweeping tells whether the deletes of a snapshot are being made. The caller holds mu.
func (p *Pipeline) sweeping() bool {
	return p.anywhere(func(part *partition) bool { return part.sweeping && part.pos.Unsettled() })
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
