package sink

import (
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// take decides about one message.
func (u *unit) take(part *partition, pos *state.Position, t *taken) error {
	if t.skip {
		return nil
	}
	pos.LastID = t.id
	if t.marker != nil {
		switch t.marker.Kind {
		case change.SnapshotBegin:
			pos.Snapshot, pos.Begin = t.marker.Snapshot, t.id
		case change.SnapshotEnd, change.SnapshotAbort:
			if t.marker.Kind == change.SnapshotEnd && pos.Snapshot != "" && pos.Snapshot == t.marker.Snapshot && !t.marker.Partial {
				pos.Unseen, pos.End = pos.Begin, t.id // see sweeper
			}
			pos.Snapshot, pos.Begin = "", change.ID{}
		}
		return nil
	}
	u.ledger.Taken++
	if t.op == change.Truncate {
		u.ledger.Applied++ // its deletes are events of their own
		pos.Unseen, pos.End = change.ID{}, change.ID{}
		return nil
	}
	if t.key == nil {
		return u.reject(nil, part.number, t)
	}
	if len(u.keys().late[string(t.key)]) > 0 {
		return u.putOff(part.number, t)
	}
	if barred, err := u.barred(t, false); barred || err != nil {
		u.ledger.Filtered++
		return err
	}
	u.snapshot, u.pos = loading(pos), pos
	return u.turn(part.number, t, false)
}

// decide brings a record's wanted state up to an event; r is nil for a key that has no record.
func (u *unit) decide(r *rec, partition int, t *taken) error {
	if r != nil {
		r.sh.Seen = t.id
		gone := t.op == change.Delete
		if u.snapshot || r.sh.Partition != partition || r.sh.Deleted != gone {
			r.sh.Partition, r.sh.Deleted, r.dirtySh = partition, gone, true
		}
		t.gap = t.gap || r.sh.Excluded
		if r.sh.Rejected {
			if err := u.complete(r, partition, t); err != nil {
				return err
			}
			if err := u.supersedeQuarantine(r); err != nil {
				return err
			}
		}
		if r.sh.Standing == state.Forgotten && r.pd == nil {
			u.ledger.Unchanged++
			return nil
		}
	}
	switch {
	case t.op == change.Delete:
		return u.leave(r, t, u.p.onDelete(t.moved), state.ByRow)
	case t.outcome == Filtered:
		return u.leave(r, t, u.p.spec.OnLeave, state.ByLeave)
	case t.outcome == Rejected:
		if r == nil {
			r = u.create(t.key, partition)
			r.sh.Seen = t.id
		}
		return u.reject(r, partition, t)
	}
	if r == nil {
		r = u.create(t.key, partition)
		r.sh.Seen = t.id
	}
	for i, v := range t.known {
		if !t.gap && t.leftOut(i) {
			t.fields[i] = v
		}
	}
	if t.lacks(r) {
		t.outcome, t.reason = Rejected, needsReselect
		t.message = "the database left out a value that did not change, and the app has no record that has it" + mendUnchanged
		return u.reject(r, partition, t)
	}
	return u.want(r, t)
}

const mendUnchanged = ": touch the row's large columns, or ALTER TABLE ... REPLICA IDENTITY FULL (MySQL: binlog_row_image=FULL), so that the next change brings it"

// leftOut tells whether the database did not send what a field is made of.
func (t *taken) leftOut(field int) bool {
	v := t.fields[field]
	return v.IsUnchanged() && v.Text() == "" // with a text: left out on purpose, by skip()
}

// lacks tells whether a record would be made, or left, without a value that the database has and did not send.
func (t *taken) lacks(r *rec) bool {
	if !t.gap && (r.sh.Standing == state.InApp || r.pd != nil || r.fl != nil) {
		return false
	}
	for i := range t.fields {
		if t.leftOut(i) {
			return true
		}
	}
	return false
}

// supersede accounts for a wanted state whose place a newer event takes.
func (u *unit) supersede(r *rec) {
	if r.pd == nil {
		return
	}
	*u.place(r.pd.Queue)--
	u.ledger.Superseded++
}

// place returns the ledger's count of what waits in a queue.
func (u *unit) place(q state.Queue) *int64 {
	switch q {
	case state.Held, state.Guarded:
		return &u.ledger.Held
	case state.Waiting:
		return &u.ledger.Waiting
	}
	return &u.ledger.Pending
}

// leave takes in that the source's row is gone, or is not the pipeline's any more.
func (u *unit) leave(r *rec, t *taken, action string, cause state.Cause) error {
	count := &u.ledger.Unchanged
	if cause == state.ByLeave {
		count = &u.ledger.Filtered
	}
	if r == nil {
		*count++
		return nil
	}
	if excluded := cause == state.ByLeave; r.sh.Excluded != excluded {
		r.sh.Excluded, r.dirtySh = excluded, true
	}
	u.supersede(r)
	unknown := r.pd != nil && r.pd.Unknown
	inApp := r.sh.Standing == state.InApp || r.fl != nil || unknown
	action = u.owed(r, action)
	if inApp && u.isSet(r, wantOf(action, cause)) {
		*count++
		return u.staySet(r)
	}
	if action == "ignore" || !inApp {
		*count++
		if err := u.doubtKey(r, r.pd); err != nil {
			return err
		}
		u.dropPending(r)
		if r.sh.Standing == state.New && r.fl == nil && !unknown {
			return u.discard(r)
		}
		return nil
	}
	w, err := u.removal(r, t.id, t.time, action, cause)
	if err != nil {
		return err
	}
	*u.place(w.Queue)++
	return nil
}

// owed is what becomes of a record whose row has gone, or left, with this action. A removal that waits is not undone: its
// row, or the one before under the same key, is gone from the app as it would be had the app answered by now. That may have become
// this row's record with a call that was not answered; where keys are forgotten it goes all the same, for the one before may be
// that of a forgotten row.
func (u *unit) owed(r *rec, action string) string {
	switch {
	case r.pd != nil && r.pd.Want.Removes():
		return removalOf(r.pd.Want)
	case r.pd != nil && r.pd.Over.Removes() && (!r.pd.Unknown || len(u.p.forgotten) > 0):
		return removalOf(r.pd.Over)
	case r.fl != nil && r.fl.want.Want.Removes():
		return removalOf(r.fl.want.Want)
	}
	return action
}

func removalOf(w state.Want) string {
	if w == state.Remove {
		return "delete"
	}
	return "archive"
}

// removal makes a removal the record's wanted state.
func (u *unit) removal(r *rec, id change.ID, at int64, action string, cause state.Cause) (*state.Pending, error) {
	if err := u.leaves(r, change.Value{}); err != nil {
		return nil, err
	}
	w := &state.Pending{EventID: id, Time: at, Want: wantOf(action, cause), Cause: cause, Fingerprint: u.p.print, Layout: u.p.layout, Key: r.sh.AppKey}
	w.Queue = state.QueueOf(state.Delete, state.Live, false)
	switch {
	case r.pd != nil:
		// A new place in the order: an approval of what was seen does not cover it.
		w.Unknown, w.RemovalSent, w.Due = r.pd.Unknown, r.pd.RemovalSent, u.notBefore(r.pd)
		if w.Key.IsNull() {
			w.Key = r.pd.Key
		}
	case r.fl != nil && w.Key.IsNull():
		w.Key = r.fl.want.Key
	}
	u.putPending(r, w)
	return w, nil
}

// want takes in what the record is to become.
func (u *unit) want(r *rec, t *taken) error {
	p := u.p
	if r.sh.Excluded {
		r.sh.Excluded, r.dirtySh = false, true
	}
	lane := state.Live
	if t.op == change.Read {
		lane = state.Backfill
	}
	fields := t.fields
	older := r.pd
	if older == nil && r.fl != nil {
		older = r.fl.want
	}
	if older != nil && older.Want == state.Put {
		was := p.remap(older.Layout, older.Fields)
		for i := range fields {
			if fields[i].IsUnchanged() {
				fields[i] = was[i]
			}
		}
	}
	sure := r.fl == nil && (r.pd == nil || !r.pd.Unknown && r.pd.Queue.Ready())
	if sure && r.sh.Standing == state.InApp && !p.differs(r.sh, t.appKey, fields) {
		u.supersede(r)
		if r.pd != nil {
			u.dropPending(r)
		}
		u.ledger.Unchanged++
		return u.gaveUp(r, t.appKey)
	}
	if err := u.leaves(r, t.appKey); err != nil {
		return err
	}
	w := &state.Pending{EventID: t.id, Time: t.time, Want: state.Put, Fingerprint: p.print, Layout: p.layout,
		Key: t.appKey, Match: t.match, Fields: fields, Event: t.event}
	kind := state.Create
	if r.sh.Standing == state.InApp {
		kind = state.Change
	}
	w.Queue = state.QueueOf(kind, lane, false)
	if o := r.pd; o != nil {
		u.supersede(r)
		w.Unknown, w.RemovalSent, w.Over, w.Due = o.Unknown, o.RemovalSent, o.Over, u.notBefore(o)
		if o.Want != state.Put {
			w.Over = o.Want
		}
		if u.limit(kind) < 0 {
			w.Seq = o.Seq
		}
		switch {
		case o.Queue == state.Waiting && !u.moving(r.sh.ID): // it may have another parent: see resolve
		case !o.Queue.Ready() && o.Queue != state.Guarded:
			w.Queue = o.Queue
		case o.Queue.Ready() && o.Queue.Lane() == state.Live:
			w.Queue = state.QueueOf(kind, state.Live, false)
		}
	}
	*u.place(w.Queue)++
	u.putPending(r, w)
	return nil
}

// lateMost is how long a call that was not answered may still be carried out: its records are not looked up before, and no newer
// state of them is sent, which could else be overtaken.
const lateMost = 2 * time.Second

// late returns when a call that was not answered just now is carried out if it is at all, Unix ms.
func (u *unit) late() int64 { return u.now + lateMost.Milliseconds() }

// notBefore returns until when what takes a wanted state's place is not sent either: a call that was not answered, of the record
// or of an association, may still be carried out.
func (u *unit) notBefore(w *state.Pending) int64 { return min(w.Due, u.late()) }

// differs tells whether the app has anything else than these, as far as the pipeline owns it.
func (p *Pipeline) differs(s *state.Shadow, key change.Value, fields []change.Value) bool {
	if s.AppKey != key || len(s.Sent) != len(fields) || s.Marked != state.Unmarked {
		return true
	}
	for i, v := range fields {
		if p.fields[i].Group != OwnedByApp && !same(s, i, v) {
			return true
		}
	}
	return false
}

// same tells whether field i needs no writing: it is not known, is what was sent last, or is what the app made of that.
func same(s *state.Shadow, i int, v change.Value) bool {
	if v.IsUnchanged() || i < len(s.Sent) && s.Sent[i] == v {
		return true
	}
	for _, f := range s.Stored {
		if f.Field == i {
			return f.Text == v.Text()
		}
	}
	return false
}
