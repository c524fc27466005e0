package sink

import (
	"bytes"
	"context"
	"maps"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// A changed key is a delete that offers its record and a create that claims it. The two are in partitions of
// their own, so either may be taken in first; they find each other by the delete's ID, which
// the create's follows. In one commit a key may be given to a record before the one that had it gives it
// up (a swap, id = id + 1, under a deferred constraint): that one is displaced until its own delete comes.
// Nothing is kept of rows that the app never had; a delete of such a row that comes after another row took its key in
// the same commit is taken for that other row's.

// moveWait is how long a partition must have had nothing to read before a move that it
// did not complete is given up; the halves are published together.
const moveWait = 30 * time.Second

func (u *unit) ownMoves() map[change.ID]*state.Move {
	if u.moves == nil {
		u.moves = maps.Clone(u.p.moves)
	}
	return u.moves
}

// allMoves is for reading.
func (u *unit) allMoves() map[change.ID]*state.Move {
	if u.moves != nil {
		return u.moves
	}
	return u.p.moves
}

func (u *unit) move(token change.ID) *state.Move {
	return u.allMoves()[token]
}

func (u *unit) putMove(m *state.Move) error {
	u.ownMoves()[m.Token] = m
	return u.tx.PutMove(u.p.id, m)
}

func (u *unit) deleteMove(m *state.Move) error {
	delete(u.ownMoves(), m.Token)
	return u.tx.DeleteMove(u.p.id, m.Token)
}

// identify gives a new record its ID at once.
func (u *unit) identify(r *rec) error {
	if r.sh.ID != 0 {
		return nil
	}
	if err := u.tx.PutShadow(u.p.id, r.sh); err != nil {
		return err
	}
	u.recs[r.sh.ID] = r
	return nil
}

// tokenOf returns the ID of the delete that a create of a changed key belongs to.
func tokenOf(create change.ID) change.ID {
	return change.NewID(create.Epoch(), create.Commit(), create.Position(), create.Ordinal()-1)
}

func sameCommit(a, b change.ID) bool { return a.Epoch() == b.Epoch() && a.Commit() == b.Commit() }

// detach takes a record's key away; keys are unique, so it is written at once.
func (u *unit) detach(r *rec) error {
	if r.sh.Key == nil {
		return nil
	}
	if u.byKey[string(r.sh.Key)] == r {
		u.byKey[string(r.sh.Key)] = nil
	}
	r.sh.Key, r.rekey, r.dirtySh = nil, true, true
	if r.sh.ID == 0 {
		return nil
	}
	if !r.gone {
		if err := u.leaves(r, change.Value{}); err != nil {
			return err
		}
	}
	return u.tx.RekeyShadow(u.p.id, r.sh)
}

// leaves notes that a record which has, or may get, a key in the app is about to have another (null: it is
// not known yet which).
func (u *unit) leaves(r *rec, next change.Value) error {
	var had [3]change.Value
	if r.sh.Standing == state.InApp {
		had[0] = r.sh.AppKey
	}
	if r.fl != nil {
		had[1] = r.fl.want.Key
	}
	if r.pd != nil && r.pd.Unknown {
		had[2] = r.pd.Key
	}
	for _, key := range had {
		if key.IsNull() || key == next {
			continue
		}
		if err := u.identify(r); err != nil {
			return err
		}
		u.ownLeaving()[leaving{key.Text(), r.sh.ID}] = true
		if err := u.tx.PutLeaving(u.p.id, key.Text(), r.sh.ID); err != nil {
			return err
		}
	}
	if !next.IsNull() {
		return u.stays(r, next)
	}
	return nil
}

// leaving is an app key that a record still has in the app, or may have, and is about to give up.
type leaving struct {
	key    string
	record int64
}

func (u *unit) ownLeaving() map[leaving]bool {
	if u.left == nil {
		u.left = maps.Clone(u.p.leaving)
	}
	return u.left
}

// allLeaving is for reading.
func (u *unit) allLeaving() map[leaving]bool {
	if u.left != nil {
		return u.left
	}
	return u.p.leaving
}

// stays takes back that a record gives a key up.
func (u *unit) stays(r *rec, key change.Value) error {
	l := leaving{key.Text(), r.sh.ID}
	if !u.allLeaving()[l] {
		return nil
	}
	delete(u.ownLeaving(), l)
	return u.tx.DeleteLeaving(u.p.id, l.key, l.record)
}

// takenKey tells whether another record than this one still has an app key.
func takenKey(all map[leaving]bool, key string, record int64) bool {
	for l := range all {
		if l.key == key && l.record != record {
			return true
		}
	}
	return false
}

// gaveUp notes that a record has no other key in the app than this one (null: none at all).
func (u *unit) gaveUp(r *rec, has change.Value) error {
	if len(u.allLeaving()) == 0 {
		return nil
	}
	for l := range u.ownLeaving() {
		if l.record == r.sh.ID && (has.IsNull() || l.key != has.Text()) {
			delete(u.left, l)
			if err := u.tx.DeleteLeaving(u.p.id, l.key, l.record); err != nil {
				return err
			}
		}
	}
	return nil
}

// attach gives a record a key.
func (u *unit) attach(r *rec, key []byte) {
	r.sh.Key, r.rekey, r.dirtySh = bytes.Clone(key), true, true
	u.byKey[string(key)] = r
}

func (r *rec) empty() bool {
	return r.sh.Standing == state.New && r.pd == nil && r.fl == nil && !r.waits
}

// discard drops a record that has nothing to it.
func (u *unit) discard(r *rec) error {
	r.gone = true
	return u.detach(r)
}

// park keeps the wanted state of a record that is between two keys from being sent: it has the old key.
func (u *unit) park(r *rec) {
	if r.pd == nil || !r.pd.Queue.Ready() {
		return
	}
	w := *r.pd
	*u.place(w.Queue)--
	w.Queue = state.Waiting
	u.ledger.Waiting++
	u.putPending(r, &w)
}

// unpark lets it be sent, or superseded, again.
func (u *unit) unpark(r *rec) {
	if r.pd == nil || r.pd.Queue != state.Waiting {
		return
	}
	u.ledger.Waiting--
	w := *r.pd
	u.ready(r, &w)
}

// moveAway takes in the delete half of a changed key.
func (u *unit) moveAway(part *partition, t *taken) error {
	u.ledger.Unchanged++ // the move itself never reaches the app
	var r *rec
	var err error
	for _, m := range u.allMoves() {
		if m.Displaced && sameCommit(m.Token, t.id) && bytes.Equal(m.Key, t.key) {
			if r, err = u.record(m.Record); err != nil {
				return err
			}
			if err := u.deleteMove(m); err != nil {
				return err
			}
			break
		}
	}
	if r == nil {
		if r, err = u.key(t.key); err != nil {
			return err
		}
	}
	if r != nil {
		if r.sh.Rejected {
			if err := u.supersedeQuarantine(r); err != nil {
				return err
			}
		}
		// A record that waits for a move of its own is not empty.
		waits := r.pd != nil && r.pd.Queue == state.Waiting || u.claimant(r)
		if r.empty() && !waits {
			if err := u.discard(r); err != nil {
				return err
			}
			r = nil
		}
	}
	claim := u.move(t.id)
	if r == nil {
		if claim != nil {
			return u.release(claim)
		}
		return u.putMove(&state.Move{Token: t.id, Offered: true, Time: u.now})
	}
	if err := u.identify(r); err != nil {
		return err
	}
	if err := u.detach(r); err != nil {
		return err
	}
	r.sh.Seen = t.id
	if claim == nil {
		u.park(r)
		return u.putMove(&state.Move{Token: t.id, Offered: true, Record: r.sh.ID, Time: u.now})
	}
	return u.absorb(r, claim)
}

// claimant tells whether the record waits for an offer.
func (u *unit) claimant(r *rec) bool {
	if r.sh.ID == 0 {
		return false
	}
	for _, m := range u.allMoves() {
		if !m.Offered && !m.Displaced && m.Record == r.sh.ID {
			return true
		}
	}
	return false
}

// moveIn takes in the create half: it returns the record that the key now has. r is the one it had.
func (u *unit) moveIn(r *rec, part *partition, t *taken) (*rec, error) {
	token := tokenOf(t.id)
	m := u.move(token)
	if m != nil && m.Offered && m.Record == 0 {
		return r, u.deleteMove(m)
	}
	if r != nil {
		if r.empty() && !u.claimant(r) {
			if r.sh.Rejected {
				if err := u.supersedeQuarantine(r); err != nil {
					return nil, err
				}
			}
			if err := u.discard(r); err != nil {
				return nil, err
			}
		} else {
			if err := u.identify(r); err != nil {
				return nil, err
			}
			if err := u.detach(r); err != nil {
				return nil, err
			}
			u.park(r)
			if err := u.putMove(&state.Move{Token: t.id, Displaced: true, Record: r.sh.ID, Key: bytes.Clone(t.key), Time: u.now}); err != nil {
				return nil, err
			}
		}
	}
	if m != nil && m.Offered {
		o, err := u.record(m.Record)
		if err != nil {
			return nil, err
		}
		u.attach(o, t.key)
		if o.waits = u.claimant(o); !o.waits {
			u.unpark(o)
		}
		return o, u.deleteMove(m)
	}
	c := u.create(t.key, part.number)
	c.waits = true
	if err := u.identify(c); err != nil {
		return nil, err
	}
	return c, u.putMove(&state.Move{Token: token, Record: c.sh.ID, Time: u.now})
}

// release lets a claimant go on as a record of its own: nothing was offered.
func (u *unit) release(claim *state.Move) error {
	c, err := u.record(claim.Record)
	if err != nil {
		return err
	}
	if err := u.deleteMove(claim); err != nil {
		return err
	}
	c.waits = false
	if c.pd == nil || c.pd.Queue != state.Waiting {
		return nil
	}
	u.ledger.Waiting--
	if c.pd.Want != state.Put && c.sh.Standing != state.InApp {
		u.ledger.Unchanged++
		u.dropPending(c)
		return nil
	}
	w := *c.pd
	u.ready(c, &w)
	return nil
}

// ready queues a wanted state as pending, by what the app has.
func (u *unit) ready(r *rec, w *state.Pending) {
	kind := state.Create
	switch {
	case w.Want != state.Put:
		kind = state.Delete
	case r.sh.Standing == state.InApp:
		kind = state.Change
	}
	w.Queue = state.QueueOf(kind, state.Live, false)
	u.ledger.Pending++
	u.putPending(r, w)
}

// absorb gives the claimant's key and wanted state to the record that was offered.
func (u *unit) absorb(r *rec, claim *state.Move) error {
	c, err := u.record(claim.Record)
	if err != nil {
		return err
	}
	if err := u.deleteMove(claim); err != nil {
		return err
	}
	for _, m := range u.ownMoves() {
		if m.Record == c.sh.ID {
			again := *m
			again.Record = r.sh.ID
			if err := u.putMove(&again); err != nil {
				return err
			}
		}
	}
	if key := c.sh.Key; key != nil {
		if err := u.detach(c); err != nil {
			return err
		}
		u.attach(r, key)
	}
	r.sh.Partition, r.sh.Seen, r.sh.Excluded, r.dirtySh = c.sh.Partition, c.sh.Seen, c.sh.Excluded, true
	if c.sh.Rejected {
		q, err := u.tx.QuarantineByRecord(u.p.id, c.sh.ID)
		if err != nil {
			return err
		}
		if q != nil {
			q.Record = r.sh.ID
			if err := u.tx.PutQuarantine(u.p.id, q); err != nil {
				return err
			}
			r.sh.Rejected = true
		}
	}
	w := c.pd
	c.pd, c.gone = nil, true
	if w == nil {
		if r.pd != nil && r.pd.Queue == state.Waiting && !u.claimant(r) {
			if r.pd.Unknown {
				u.unpark(r)
			} else {
				u.supersede(r)
				u.dropPending(r)
			}
		}
		if r.sh.Rejected && (r.pd == nil || r.pd.Queue.Ready()) && !u.claimant(r) {
			u.giveUp(r, &taken{id: r.sh.Seen, time: u.now})
		}
		return nil
	}
	u.ledger.Waiting--
	again := *w
	older := r.pd
	if older == nil && r.fl != nil {
		older = r.fl.want
	}
	u.supersede(r)
	if older != nil {
		if r.pd != nil {
			again.Unknown, again.RemovalSent = r.pd.Unknown, r.pd.RemovalSent
		}
		if older.Want == state.Put && again.Want == state.Put {
			was := u.p.remap(older.Layout, older.Fields)
			for i := range again.Fields {
				if again.Fields[i].IsUnchanged() {
					again.Fields[i] = was[i]
				}
			}
		}
	}
	if u.claimant(r) {
		// The offered record waits itself: its own move decides.
		again.Queue = state.Waiting
		u.ledger.Waiting++
		u.putPending(r, &again)
		return nil
	}
	if again.Want != state.Put && r.sh.Standing != state.InApp && r.fl == nil && !again.Unknown {
		u.ledger.Unchanged++
		u.dropPending(r)
		return nil
	}
	u.ready(r, &again)
	return nil
}

// expireMoves gives up the moves that all partitions have passed: an unclaimed record becomes a delete, a
// claimant a record of its own. The caller holds mu.
func (p *Pipeline) expireMoves(ctx context.Context) error {
	var old []*state.Move
	for _, m := range p.moves {
		if p.passed(m) {
			old = append(old, m)
		}
	}
	if len(old) == 0 {
		return nil
	}
	defer p.d.wake()
	return p.update(ctx, "", "", func(u *unit) error {
		for _, m := range old {
			if u.move(m.Token) == nil {
				continue
			}
			if !m.Offered && !m.Displaced {
				if err := u.release(m); err != nil {
					return err
				}
				continue
			}
			if err := u.deleteMove(m); err != nil {
				return err
			}
			if m.Record == 0 {
				continue
			}
			r, err := u.record(m.Record)
			if err != nil {
				return err
			}
			if err := u.sweepAway(r, m.Token, u.now, state.ByMove); err != nil {
				return err
			}
		}
		return nil
	})
}

// passed tells whether no partition can bring the move's other half any more.
func (p *Pipeline) passed(m *state.Move) bool {
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	for n := range p.spec.Partitions {
		part := p.parts[n]
		if part == nil {
			return false
		}
		if part.pos.LastID.Compare(m.Token) > 0 && !sameCommit(part.pos.LastID, m.Token) {
			continue
		}
		if part.idleAt.IsZero() || part.idleAt.UnixMilli() < m.Time+moveWait.Milliseconds() {
			return false
		}
	}
	return true
}
