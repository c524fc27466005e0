package sink

import (
	"context"
	"maps"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// unit is one transaction of a pipeline: what it read, and what it will write. The
// pipeline's own memory changes only after the commit.
type unit struct {
	p      *Pipeline
	tx     state.Tx
	now    int64 // Unix ms
	ledger state.Ledger
	queued [queues]int64
	guards [state.Kinds]state.Guard
	dirty  [state.Kinds]bool // guards to write
	left   int64             // noted keys: see leaves
	// verified is written when it differs from the pipeline's; edits are told of after the commit.
	verified state.Verify
	edits    []Edit

	between  *between        // nil: as the pipeline has it
	snapshot bool            // one is open in the partition: what it has seen must be known at its end
	pos      *state.Position // of the partition that is taken in, up to here; nil for none

	anew func(kept []byte, partition int) (*taken, error)

	recs  map[int64]*rec // by ID
	byKey map[string]*rec
	order []*rec // in the order first touched
	done  []*item
	// history has what changed in the app, changed the records of it.
	history []state.Changed
	changed []*rec
	barring map[[32]byte]struct{} // tombstones that are new: see bar
	start   []*flight
	parked  bool // something waits for a parent now, and what is behind it may go
	marked  bool // children look at their parents again
}

// rec is one record within a unit.
type rec struct {
	sh      *state.Shadow
	pd      *state.Pending // wanted, in the table or to be written to it
	fl      *item          // under way
	stored  bool           // the table has a row for it
	row     state.Queue    // that row's queue
	before  keyState
	was     identity
	inApp   bool // before
	known   bool // the ledger of keys has it
	dirtySh bool
	rekey   bool
	dirtyPd bool
	gone    bool // delete its shadow row
	shared  bool // it was written over another record with its key
}

// keyState is a key's place in the ledger.
type keyState uint8

const (
	keyNone keyState = iota
	keyInSync
	keyPending
	keyUnknown
	keyRejected
	keyHeld
	keyWaiting
	keyExcluded
	keyRemoved
	keyAbsent
)

func (r *rec) state() keyState {
	if r.gone {
		return keyNone
	}
	w := r.pd
	if w == nil && r.fl != nil {
		w = r.fl.want
	}
	switch {
	case w != nil && (w.Queue == state.Held || w.Queue == state.Guarded):
		return keyHeld
	case w != nil && w.Queue == state.Waiting:
		return keyWaiting
	case w != nil && w.Unknown:
		return keyUnknown
	case w != nil:
		return keyPending
	case r.sh.Rejected:
		return keyRejected
	case r.sh.Excluded:
		return keyExcluded
	case r.sh.Standing == state.InApp:
		return keyInSync
	case r.sh.Standing == state.New:
		return keyAbsent
	}
	return keyRemoved
}

func keyCount(k *state.Keys, s keyState) *int64 {
	switch s {
	case keyInSync:
		return &k.InSync
	case keyPending:
		return &k.Pending
	case keyUnknown:
		return &k.Unknown
	case keyRejected:
		return &k.Rejected
	case keyHeld:
		return &k.Held
	case keyWaiting:
		return &k.Waiting
	case keyExcluded:
		return &k.Excluded
	case keyRemoved:
		return &k.Removed
	}
	return &k.Absent
}

// update runs f as one transaction; the caller holds mu. The pipeline's memory follows after the commit.
func (p *Pipeline) update(ctx context.Context, before, after string, f func(u *unit) error) error {
	var u *unit
	err := p.e.o.Store.Update(ctx, func(tx state.Tx) error {
		u = &unit{p: p, tx: tx, now: time.Now().UnixMilli(), ledger: p.ledger, queued: p.queued, guards: p.guards, left: p.left, verified: p.verified,
			recs: map[int64]*rec{}, byKey: map[string]*rec{}}
		u.anew = func(kept []byte, partition int) (*taken, error) { return p.anew(ctx, kept, partition) }
		if err := f(u); err != nil {
			return err
		}
		if err := u.flush(); err != nil {
			return err
		}
		p.e.failpoint(before)
		return nil
	})
	if err != nil {
		return err
	}
	p.follow(u)
	p.e.failpoint(after)
	return nil
}

// follow brings the pipeline's memory to what was committed.
func (p *Pipeline) follow(u *unit) {
	before := p.sendable()
	p.ledger, p.queued, p.guards, p.left, p.verified = u.ledger, u.queued, u.guards, u.left, u.verified
	if p.e.o.OnEdit != nil {
		for _, e := range u.edits {
			p.e.o.OnEdit(e)
		}
	}
	if u.between != nil {
		p.between = u.between
	}
	maps.Copy(p.forgotten, u.barring)
	for _, it := range u.done {
		delete(p.inflight, it.want.Record)
	}
	for _, f := range u.start {
		for _, it := range f.items {
			p.inflight[it.want.Record] = it
		}
	}
	for _, r := range u.order {
		if r.gone {
			delete(p.noted, r.sh.ID)
		}
		if it := p.inflight[r.sh.ID]; it != nil {
			it.sh = r.sh
			it.newer = r.pd != nil && r.pd != it.want
		}
	}
	p.d.waiting.Add(p.sendable() - before)
	if u.marked {
		for _, c := range p.children {
			c.arrived.Store(true)
		}
	}
	if u.marked || u.parked {
		p.d.wake()
	}
}

// sendable counts what waits and is not stopped: by a guard, a pause, a schedule.
func (p *Pipeline) sendable() (n int64) {
	if p.closed.Load() {
		return 0
	}
	for q, rows := range p.queued {
		q := state.Queue(q)
		if q.Ready() && (q.Approved() || !p.guards[q.Kind()].Tripped) {
			n += rows
		}
	}
	return n
}

// add makes a record known to the unit, with its wanted states.
func (u *unit) add(s *state.Shadow) *rec {
	if r := u.recs[s.ID]; r != nil && s.ID != 0 {
		return r
	}
	r := &rec{sh: s}
	if s.ID != 0 {
		u.p.present(s)
		u.recs[s.ID] = r
		r.known = true
		if len(u.p.children) > 0 {
			r.was = identityOf(s)
		}
		r.fl = u.p.inflight[s.ID]
	}
	if s.Key != nil {
		u.byKey[string(s.Key)] = r
	}
	u.order = append(u.order, r)
	return r
}

// create makes a record for a key that has none.
func (u *unit) create(key []byte, partition int) *rec {
	r := u.add(&state.Shadow{Key: append([]byte(nil), key...), Partition: partition, Layout: u.p.layout})
	r.dirtySh = true
	return r
}

// load reads the records of these keys, with their wanted states.
func (u *unit) load(keys [][]byte) error {
	first := len(u.order)
	if err := u.tx.Shadows(u.p.id, keys, func(s *state.Shadow) error {
		u.add(s)
		return nil
	}); err != nil {
		return err
	}
	return u.loadPending(first)
}

func (u *unit) loadByID(ids []int64) error {
	first := len(u.order)
	if err := u.tx.ShadowsByID(u.p.id, ids, func(s *state.Shadow) error {
		u.add(s)
		return nil
	}); err != nil {
		return err
	}
	return u.loadPending(first)
}

// record returns a record by ID, read if need be.
func (u *unit) record(id int64) (*rec, error) {
	if r := u.recs[id]; r != nil {
		return r, nil
	}
	if err := u.loadByID([]int64{id}); err != nil {
		return nil, err
	}
	return u.recs[id], nil
}

// key returns the record of a key, read if need be; nil when there is none.
func (u *unit) key(key []byte) (*rec, error) {
	if r, ok := u.byKey[string(key)]; ok {
		return r, nil
	}
	if err := u.load([][]byte{key}); err != nil {
		return nil, err
	}
	return u.byKey[string(key)], nil
}

// loadPending reads the wanted states of the records from first on, and notes where each key stands.
func (u *unit) loadPending(first int) error {
	var rows int64
	for _, n := range u.p.queued {
		rows += n
	}
	fresh := u.order[first:]
	if rows > 0 {
		ids := make([]int64, len(fresh))
		for i, r := range fresh {
			ids[i] = r.sh.ID
		}
		if err := u.tx.PendingByRecord(u.p.id, ids, func(w *state.Pending) error {
			r := u.recs[w.Record]
			r.pd, r.stored, r.row = w, true, w.Queue
			return nil
		}); err != nil {
			return err
		}
	}
	for _, r := range fresh {
		r.before, r.inApp = r.state(), r.sh.Standing == state.InApp
	}
	return nil
}

// putPending makes w the record's wanted state among the pending. The ledger of events is the caller's matter.
func (u *unit) putPending(r *rec, w *state.Pending) {
	r.pd, r.dirtyPd = w, true
	if w.Seq == 0 {
		w.Seq = u.p.e.seq.Add(1)
	}
}

// dropPending takes the record's wanted state away.
func (u *unit) dropPending(r *rec) { r.pd, r.dirtyPd = nil, true }

// flush writes what changed.
func (u *unit) flush() error {
	if err := u.flushHistory(); err != nil {
		return err
	}
	for _, r := range u.order {
		if err := u.flushRecord(r); err != nil {
			return err
		}
	}
	for _, f := range u.start {
		in := &state.Intent{ID: f.intent, App: u.p.d.name}
		for _, it := range f.items {
			in.Items = append(in.Items, it.want)
		}
		if err := u.tx.PutIntent(u.p.id, in); err != nil {
			return err
		}
		f.intent = in.ID
	}
	for k, dirty := range u.dirty {
		if dirty {
			if err := u.tx.PutGuard(u.p.id, state.Kind(k), &u.guards[k]); err != nil {
				return err
			}
		}
	}
	if u.verified != u.p.verified {
		if err := u.tx.PutVerify(u.p.id, &u.verified); err != nil {
			return err
		}
	}
	if u.ledger == u.p.ledger {
		return nil
	}
	row := u.p.row()
	row.Ledger = u.ledger
	return u.tx.PutPipeline(row)
}

func (u *unit) flushRecord(r *rec) error {
	tx, id := u.tx, u.p.id
	if err := u.mark(r); err != nil {
		return err
	}
	if now := r.state(); now != r.before || r.inApp != (r.sh.Standing == state.InApp && !r.gone) || !r.known {
		if r.known {
			*keyCount(&u.ledger.Keys, r.before)--
			if r.inApp {
				u.ledger.Keys.InApp--
			}
		}
		if now != keyNone {
			*keyCount(&u.ledger.Keys, now)++
			if r.sh.Standing == state.InApp {
				u.ledger.Keys.InApp++
			}
		}
	}
	if r.gone {
		if r.stored {
			u.queued[r.row]--
			if err := tx.DeletePending(id, r.sh.ID); err != nil {
				return err
			}
		}
		if r.sh.ID == 0 {
			return nil
		}
		if err := u.gaveUp(r, change.Value{}); err != nil {
			return err
		}
		if len(u.p.parents) > 0 {
			if err := tx.DeleteReferences(id, r.sh.ID); err != nil {
				return err
			}
		}
		return tx.DeleteShadow(id, r.sh.ID)
	}
	switch {
	case r.rekey && r.sh.ID != 0:
		if err := tx.RekeyShadow(id, r.sh); err != nil {
			return err
		}
	case r.dirtySh:
		if err := tx.PutShadow(id, r.sh); err != nil {
			return err
		}
	}
	if r.fl != nil && r.fl.want.Record != r.sh.ID { // about to go out; one that is out has it, and is not ours to write
		r.fl.want.Record = r.sh.ID
	}
	if !r.dirtyPd {
		return nil
	}
	if r.stored {
		u.queued[r.row]--
	}
	if r.pd == nil {
		if r.stored {
			return tx.DeletePending(id, r.sh.ID)
		}
		return nil
	}
	r.pd.Record = r.sh.ID
	u.queued[r.pd.Queue]++
	return tx.PutPending(id, r.pd)
}
