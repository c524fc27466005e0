package sink

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// A changed key is a delete that offers its record and a create that claims it: the create's ID follows the
// delete's. The two may be in partitions of their own. A create that comes before its delete is put
// off, and with it what follows on its key, so that each record's events are taken in in order. None waits
// for another in a circle, since a create only waits for a delete of a lower ID.
//
// In one commit a key may be given to a record before the one that had it gives it up (a swap, id = id + 1,
// under a deferred constraint): that one is displaced until its own delete comes. Nothing is kept of rows that the
// app never had; a delete of such a row that comes after another row took its key in the same commit is
// taken for that other row's.

// moveWait is how long a partition must have had nothing to read before a move that it
// did not complete is given up; the halves are published together.
const moveWait = 30 * time.Second

// between is what is between two keys.
type between struct {
	moves     map[change.ID]*state.Move // by token
	displaced map[string]*state.Move    // of moves, by the lost key
	records   map[int64]int             // how many moves a record is in
	late      map[string][]*late        // what was put off, by key
	awaited   map[change.ID]string      // the key of late whose first event waits for that delete
}

// late is an event that was put off.
type late struct {
	row *state.Deferred
	t   *taken
}

func newBetween() *between {
	return &between{map[change.ID]*state.Move{}, map[string]*state.Move{}, map[int64]int{}, map[string][]*late{}, map[change.ID]string{}}
}

func (b *between) clone() *between {
	return &between{maps.Clone(b.moves), maps.Clone(b.displaced), maps.Clone(b.records), maps.Clone(b.late), maps.Clone(b.awaited)}
}

func (b *between) add(m *state.Move) {
	b.moves[m.Token] = m
	b.records[m.Record]++
	if m.Displaced {
		b.displaced[string(m.Key)] = m
	}
}

func (b *between) remove(m *state.Move) {
	delete(b.moves, m.Token)
	if b.records[m.Record]--; b.records[m.Record] == 0 {
		delete(b.records, m.Record)
	}
	if m.Displaced && b.displaced[string(m.Key)] == m {
		delete(b.displaced, string(m.Key))
	}
}

func (b *between) put(l *late) {
	key := string(l.row.Key)
	b.late[key] = append(slices.Clip(b.late[key]), l)
	if len(b.late[key]) == 1 {
		b.awaited[tokenOf(l.t.id)] = key
	}
}

// waiting counts what was put off.
func (b *between) waiting() (n int64) {
	for _, l := range b.late {
		n += int64(len(l))
	}
	return n
}

// lateBefore tells whether something was put off in a partition that came before an event.
func (b *between) lateBefore(partition int, id change.ID) bool {
	for _, all := range b.late {
		if all[0].row.Partition == partition && all[0].t.id.Compare(id) < 0 {
			return true
		}
	}
	return false
}

// keys is for reading, ownKeys for changing.
func (u *unit) keys() *between {
	if u.between != nil {
		return u.between
	}
	return u.p.between
}

func (u *unit) ownKeys() *between {
	if u.between == nil {
		u.between = u.p.between.clone()
	}
	return u.between
}

func (u *unit) putMove(m *state.Move) error {
	u.ownKeys().add(m)
	return u.tx.PutMove(u.p.id, m)
}

func (u *unit) deleteMove(m *state.Move) error {
	u.ownKeys().remove(m)
	return u.tx.DeleteMove(u.p.id, m.Token)
}

func (u *unit) moving(record int64) bool { return u.keys().records[record] > 0 }

// tokenOf returns the ID of the delete that a create of a changed key belongs to.
func tokenOf(create change.ID) change.ID {
	return change.NewID(create.Epoch(), create.Commit(), create.Position(), create.Ordinal()-1)
}

func sameCommit(a, b change.ID) bool { return a.Epoch() == b.Epoch() && a.Commit() == b.Commit() }

// turn takes in an event of a key whose turn it is. forced: nobody offers what it claims.
func (u *unit) turn(partition int, t *taken, forced bool) error {
	if err := u.sweepFirst(partition, t); err != nil {
		return err
	}
	var r *rec
	var err error
	switch {
	case t.moved && !u.isForgotten(t.newKey): // else its row is gone as far as we care
		return u.moveAway(t)
	case t.claims:
		if !forced && u.keys().moves[tokenOf(t.id)] == nil {
			return u.putOff(partition, t)
		}
		r, err = u.moveIn(t)
	case t.op == change.Delete:
		r, err = u.holder(t)
	default:
		r, err = u.key(t.key)
	}
	if err != nil {
		return err
	}
	return u.decide(r, partition, t)
}

// putOff keeps an event until its turn comes.
func (u *unit) putOff(partition int, t *taken) error {
	kept := *t
	kept.key = bytes.Clone(t.key)
	l := &late{&state.Deferred{Key: kept.key, Partition: partition, Time: u.now, Event: t.event}, &kept}
	if err := u.tx.PutDeferred(u.p.id, l.row); err != nil {
		return err
	}
	u.ownKeys().put(l)
	u.ledger.Waiting++
	return nil
}

// resume takes in what was put off on a key, up to an event that must wait in turn. forced: nobody offers
// what the first one claims.
func (u *unit) resume(key string, forced bool) error {
	b := u.ownKeys()
	for len(b.late[key]) > 0 {
		first := b.late[key][0]
		token := tokenOf(first.t.id)
		barred, err := u.barred(first.t, forced)
		if err != nil {
			return err
		}
		if !barred && first.t.claims && !forced && b.moves[token] == nil {
			b.awaited[token] = key
			return nil
		}
		delete(b.awaited, token)
		b.late[key] = b.late[key][1:]
		if err := u.tx.DeleteDeferred(u.p.id, first.row.ID); err != nil {
			return err
		}
		u.ledger.Waiting--
		u.snapshot = true // that of its partition may be open
		if barred {
			u.ledger.Filtered++
			forced = false
			continue
		}
		if err := u.turn(first.row.Partition, first.t, forced); err != nil {
			return err
		}
		forced = false
	}
	delete(b.late, key)
	return nil
}

// dropLate drops what was put off in a partition whose table was emptied after it.
func (u *unit) dropLate(partition int) error {
	for key, all := range u.keys().late {
		if all[0].row.Partition != partition {
			continue
		}
		b := u.ownKeys()
		for _, l := range all {
			if err := u.tx.DeleteDeferred(u.p.id, l.row.ID); err != nil {
				return err
			}
			u.ledger.Waiting--
			u.ledger.Superseded++
		}
		delete(b.awaited, tokenOf(all[0].t.id))
		delete(b.late, key)
	}
	return nil
}

// holder returns the record that a delete is about: one that was displaced from its key, else the key's. What is left of a
// forgotten row is none: it stays until it is erased.
func (u *unit) holder(t *taken) (*rec, error) {
	m := u.keys().displaced[string(t.key)]
	if m == nil || !sameCommit(m.Token, t.id) {
		if u.isForgotten(t.key) {
			return nil, nil
		}
		return u.key(t.key)
	}
	r, err := u.record(m.Record)
	if err != nil {
		return nil, err
	}
	u.unpark(r)
	return r, u.deleteMove(m)
}

// moveAway takes in the delete half of a changed key.
func (u *unit) moveAway(t *taken) error {
	u.ledger.Unchanged++ // the move itself never reaches the app
	r, err := u.holder(t)
	if err != nil {
		return err
	}
	m := &state.Move{Token: t.id, Key: bytes.Clone(t.key), Time: u.now}
	switch {
	case r == nil:
	case r.empty() && !r.sh.Rejected:
		if err := u.discard(r); err != nil {
			return err
		}
	default:
		if err := u.detach(r); err != nil {
			return err
		}
		u.park(r)
		r.sh.Seen, m.Record = t.id, r.sh.ID
	}
	return u.offer(m)
}

// offer has the key that a move goes to take it up, if it waits for it.
func (u *unit) offer(m *state.Move) error {
	if err := u.putMove(m); err != nil {
		return err
	}
	if key, ok := u.keys().awaited[m.Token]; ok {
		return u.resume(key, false)
	}
	return nil
}

// moveIn takes in the create half: it returns the record that the key now has, nil for a new one.
func (u *unit) moveIn(t *taken) (*rec, error) {
	r, err := u.key(t.key)
	if err != nil {
		return nil, err
	}
	if r != nil {
		if err := u.displace(r, t); err != nil {
			return nil, err
		}
	}
	m := u.keys().moves[tokenOf(t.id)]
	if m == nil {
		return nil, nil
	}
	if err := u.deleteMove(m); err != nil || m.Record == 0 {
		return nil, err
	}
	o, err := u.record(m.Record)
	if err != nil {
		return nil, err
	}
	u.attach(o, t.key)
	u.unpark(o)
	return o, nil
}

// displace takes the key from a record for another one. What is wanted of a row that is gone goes on; of one that
// is there, the delete of its key must come in the same commit.
func (u *unit) displace(r *rec, t *taken) error {
	gone := r.sh.Deleted || r.empty() && !r.sh.Rejected && !r.sh.Excluded
	if gone && r.pd == nil && r.fl == nil && r.sh.Standing != state.InApp {
		return u.discard(r)
	}
	if err := u.detach(r); err != nil || gone {
		return err
	}
	u.park(r)
	return u.putMove(&state.Move{Token: t.id, Displaced: true, Record: r.sh.ID, Key: bytes.Clone(t.key), Time: u.now})
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

// detach takes a record's key away; keys are unique, so it is written at once.
func (u *unit) detach(r *rec) error {
	if r.sh.Key == nil {
		return nil
	}
	if !r.gone {
		if err := u.identify(r); err != nil {
			return err
		}
		if err := u.leaves(r, change.Value{}); err != nil {
			return err
		}
	}
	if u.byKey[string(r.sh.Key)] == r {
		u.byKey[string(r.sh.Key)] = nil
	}
	r.sh.Key, r.rekey, r.dirtySh = nil, true, true
	if r.sh.ID == 0 {
		return nil
	}
	return u.tx.RekeyShadow(u.p.id, r.sh)
}

// attach gives a record a key.
func (u *unit) attach(r *rec, key []byte) {
	r.sh.Key, r.rekey, r.dirtySh = bytes.Clone(key), true, true
	u.byKey[string(key)] = r
}

func (r *rec) empty() bool { return r.sh.Standing == state.New && r.pd == nil && r.fl == nil }

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

// expireMoves gives up the moves that all partitions have passed: a record that nobody claimed becomes a delete,
// a create that nothing was offered to a record of its own. The caller holds mu.
func (p *Pipeline) expireMoves(ctx context.Context) error {
	var old []*state.Move
	for _, m := range p.between.moves {
		if p.passed(m.Token, m.Time) {
			old = append(old, m)
		}
	}
	var keys []string
	for token, key := range p.between.awaited {
		if p.passed(token, p.between.late[key][0].row.Time) {
			keys = append(keys, key)
		}
	}
	if len(old)+len(keys) == 0 {
		return nil
	}
	defer p.d.wake()
	return p.update(ctx, "", "", func(u *unit) error {
		for _, key := range keys {
			if all := u.keys().late[key]; len(all) > 0 && u.keys().awaited[tokenOf(all[0].t.id)] == key {
				if err := u.resume(key, true); err != nil {
					return err
				}
			}
		}
		for _, m := range old {
			if u.keys().moves[m.Token] != m {
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

// passed tells whether no partition can bring a move's other half any more.
func (p *Pipeline) passed(token change.ID, since int64) bool {
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	for n := range p.spec.Partitions {
		part := p.parts[n]
		if part == nil {
			return false
		}
		if part.pos.LastID.Compare(token) > 0 && !sameCommit(part.pos.LastID, token) {
			continue
		}
		if part.idleAt.IsZero() || part.idleAt.UnixMilli() < since+moveWait.Milliseconds() {
			return false
		}
	}
	return true
}
