package sink

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// record writes what became of a flight's items: shadows, what is to be tried again, the
// quarantine and the ledgers, and the end of its intent, in one transaction.
func (d *dispatcher) record(f *flight) error {
	p := f.p
	p.mu.Lock()
	defer p.mu.Unlock()
	defer d.wake()
	for _, it := range f.items {
		if it.adopt && p.adopting[it.appID] == it.want.Record {
			delete(p.adopting, it.appID)
		}
	}
	var retry time.Time
	// What was answered is written even when the process is asked to end.
	err := p.update(context.Background(), "dispatch.before_record", "dispatch.after_record", func(u *unit) error {
		retry = time.Time{}
		var newer []int64
		for _, it := range f.items {
			s := *it.sh
			r := u.add(&s)
			r.before, r.inApp = keyPending, s.Standing == state.InApp
			if it.newer {
				newer = append(newer, s.ID)
			}
		}
		if err := u.tx.PendingByRecord(p.id, newer, func(w *state.Pending) error {
			r := u.recs[w.Record]
			r.pd, r.stored, r.row = w, true, w.Queue
			return nil
		}); err != nil {
			return err
		}
		for _, it := range f.items {
			r := u.recs[it.want.Record]
			// It is counted where it stood before this: under way, with or without a newer one.
			r.before = r.state()
			r.fl = nil
			was := *r.sh
			due, err := u.settle(r, it)
			if err != nil {
				return err
			}
			u.overwrote(&was, r, it)
			u.remember(&was, r, it)
			if due > 0 {
				if t := time.UnixMilli(due); retry.IsZero() || t.Before(retry) {
					retry = t
				}
			}
		}
		u.done = f.items
		return u.tx.DeleteIntent(p.id, f.intent)
	})
	if err != nil {
		return err
	}
	p.run.landed = time.Now()
	if !retry.IsZero() && (p.retry.IsZero() || retry.Before(p.retry)) {
		p.retry = retry
	}
	return nil
}

// settle brings a record up to an item's outcome. It returns when the item may be tried again, Unix ms, 0 for at once or never.
func (u *unit) settle(r *rec, it *item) (int64, error) {
	if it.looked || it.state == absent { // if this is not committed, the item is still as it went out
		own, want := *it, *it.want
		it, own.want = &own, &want
	}
	u.ledger.Pending--
	// What is sent again has its key still, even if its row has another by now.
	var again change.Value
	if r.pd == nil && (it.state == todo || it.state == failed || it.state == unsure) {
		again = it.want.Key
	}
	if it.bare && it.state != applied {
		r.sh.AppKey, r.dirtySh = change.Value{}, true
		if err := u.gaveUp(r, again); err != nil {
			return 0, err
		}
	}
	if it.looked && it.state != applied {
		if err := u.looked(r, it, again); err != nil {
			return 0, err
		}
	}
	if it.state == unsure {
		if err := u.unanswered(r, it.want, it.key()); err != nil {
			return 0, err
		}
	}
	if w := it.want; again.IsNull() && w.Want == state.Put && !w.Unknown && (it.state == todo || it.state == failed || it.state == refused) && (r.sh.Standing != state.InApp || r.sh.AppKey != w.Key && !r.sh.AppKey.IsNull()) {
		// Nothing was done with its key, and it is not one that the record may have since before: see doubtKey.
		if err := u.forget(r, func(key string) bool { return key == w.Key.Text() }); err != nil {
			return 0, err
		}
	}
	if it.taken != "" && it.state == todo {
		if err := u.takenBy(r, it); err != nil {
			return 0, err
		}
	}
	switch it.state {
	case applied:
		if err := u.applied(r, it); err != nil {
			return 0, err
		}
		if r.shared {
			again, want := *it, *it.want
			want.Unknown, want.RemovalSent = false, false // it was answered
			again.state, again.result.Err, again.want = failed, errSharedKey, &want
			return u.again(r, &again), nil
		}
		return u.linked(r, it)
	case nothing:
		if it.tied() {
			u.ledger.Applied++
		} else {
			u.ledger.Unchanged++
		}
		if err := u.nothing(r, it); err != nil {
			return 0, err
		}
		return u.linked(r, it)
	case refused:
		return 0, u.refused(r, it)
	case absent:
		return 0, u.absent(r, it)
	}
	return u.again(r, it), nil
}

// takenBy notes that another row's record has the key of an item, which waits for it.
func (u *unit) takenBy(r *rec, it *item) error {
	id, err := u.tx.Owner(u.p.id, it.taken)
	if err != nil || id == 0 || id == r.sh.ID {
		return err
	}
	o, err := u.record(id)
	if err != nil || o == nil || o.gone {
		return err
	}
	return u.mayHave(o, it.want.Key.Text())
}

// looked notes what was found of what was sent with no answer.
func (u *unit) looked(r *rec, it *item, again change.Value) error {
	if it.found.IsNull() {
		// Nothing is unknown any more, unless it was sent again.
		it.want.Unknown, it.want.RemovalSent = it.state == unsure, false
		return u.gaveUp(r, again)
	}
	err := u.tx.Own(u.p.id, it.appID, r.sh.ID)
	if errors.Is(err, state.ErrOwned) {
		return nil
	}
	r.sh.AppID, r.sh.AppKey, r.sh.Standing, r.dirtySh = it.appID, it.found, state.InApp, true
	return err
}

// sharedMost is how often a record that was written over another one's is tried again.
const sharedMost = 100

// own makes the app's record this record's; false: it is another's, and the item is refused.
func (u *unit) own(r *rec, it *item) (bool, error) {
	if it.appID == "" || r.sh.AppID == it.appID && r.sh.Standing == state.InApp {
		return true, nil
	}
	err := u.tx.Own(u.p.id, it.appID, r.sh.ID)
	if !errors.Is(err, state.ErrOwned) {
		return err == nil, err
	}
	id, err := u.tx.Owner(u.p.id, it.appID)
	if err != nil {
		return false, err
	}
	o, err := u.record(id)
	if err != nil {
		return false, err
	}
	if o == nil { // the state has lost its record: see reconcile
		if err := u.tx.Disown(u.p.id, it.appID); err != nil {
			return false, err
		}
		return true, u.tx.Own(u.p.id, it.appID, r.sh.ID)
	}
	if (o.sh.Deleted || kept(o.sh)) && o.pd == nil && o.fl == nil {
		// It was left in the app when its row was deleted (`on delete = ignore`), or set.
		lose(o.sh, state.Removed)
		o.dirtySh = true
		if err := u.tx.Disown(u.p.id, it.appID); err != nil {
			return false, err
		}
		if err := u.gaveUp(o, change.Value{}); err != nil {
			return false, err
		}
		o.gone = o.sh.Key == nil && !u.moving(o.sh.ID)
		return true, u.tx.Own(u.p.id, it.appID, r.sh.ID)
	}
	if it.action == Upsert && it.state == applied {
		o.mayHaveLinks(it.want.Links)
		u.rewrite(o)
		if it.want.Attempts < sharedMost { // one of the two rows is about to have another key
			r.shared = true
			return false, u.mayHave(o, it.key().Text())
		}
	}
	it.result.Err = Reject("conflict", errors.New("the app's record belongs to another key"))
	return false, u.refused(r, it)
}

// rewrite restores a record that another one with the same key was written over. What is under way for it may have been
// done before that.
func (u *unit) rewrite(o *rec) {
	was := *o.sh
	o.sh.Sent, o.sh.Stored, o.dirtySh = nil, nil, true
	w := &state.Pending{EventID: was.Applied, Key: was.AppKey, Layout: was.Layout, Fields: was.Sent}
	switch {
	case o.pd != nil:
		if o.pd.Want == state.Put {
			newer := *o.pd
			u.fillFromShadow(&was, &newer)
			u.putPending(o, &newer)
		}
		return
	case o.fl != nil && o.fl.want.Want == state.Put && !hollow(o.fl.want):
		sent := *o.fl.want
		u.fillFromShadow(&was, &sent)
		w.EventID, w.Key, w.Layout, w.Fields = sent.EventID, sent.Key, sent.Layout, sent.Fields
	case o.fl != nil && o.fl.want.Want != state.Put, was.Standing != state.InApp:
		return
	}
	w.Time, w.Fingerprint = u.now, u.p.print
	u.ledger.Taken++ // an event of our own
	u.ready(o, w)
}

func (u *unit) applied(r *rec, it *item) error {
	s := r.sh
	switch w := it.want.Want; {
	case w.Removes():
		u.ledger.Applied++
		return u.removed(r, it)
	case w.Sets():
		return u.wasSet(r, it)
	}
	if ok, err := u.own(r, it); !ok {
		return err
	}
	u.ledger.Applied++
	s.AppID, s.Standing = it.appID, state.InApp
	u.wrote(s, it)
	r.dirtySh = true
	if err := u.gaveUp(r, s.AppKey); err != nil {
		return err
	}
	return u.rekind(r)
}

// wrote brings a shadow up to what was sent.
func (u *unit) wrote(s *state.Shadow, it *item) {
	fields := u.p.remap(it.want.Layout, it.want.Fields)
	sent := make([]change.Value, len(u.p.fields))
	for i := range sent {
		sent[i] = change.Of(change.Unchanged, "")
		if i < len(s.Sent) {
			sent[i] = s.Sent[i]
		}
	}
	written := map[int]bool{}
	for _, i := range it.sent {
		if sent[i] != fields[i] {
			written[i] = true
		}
		sent[i] = fields[i]
	}
	var stored []state.Stored
	for _, f := range s.Stored {
		if !written[f.Field] {
			stored = append(stored, f)
		}
	}
	for _, f := range storedOf(u.p, it.result, sent) {
		if u.p.fields[f.Field].Group == OwnedBySource && it.state == applied {
			stored = setStored(stored, f)
		}
	}
	s.Sent, s.Stored, s.Layout = sent, stored, u.p.layout
	s.AppKey, s.Applied, s.Time = it.key(), it.want.EventID, u.now
	if !hollow(it.want) {
		s.Marked = state.Unmarked
	}
}

func setStored(all []state.Stored, f state.Stored) []state.Stored {
	for i := range all {
		if all[i].Field == f.Field {
			all[i] = f
			return all
		}
	}
	return append(all, f)
}

// removed ends a record's life in the app.
func (u *unit) removed(r *rec, it *item) error {
	s := r.sh
	id := s.AppID
	if id == "" {
		id = it.appID
	}
	lose(s, state.Removed)
	s.Applied, s.Time = it.want.EventID, u.now
	r.dirtySh = true
	if id != "" {
		if err := u.tx.Disown(u.p.id, id); err != nil {
			return err
		}
	}
	if err := u.gaveUp(r, change.Value{}); err != nil {
		return err
	}
	if len(u.p.parents) > 0 && r.pd == nil && !s.Rejected { // else its row waits for a parent yet, or is listed for it
		if err := u.tx.DeleteReferences(u.p.id, s.ID); err != nil {
			return err
		}
	}
	if s.Key == nil && r.pd == nil && !u.moving(s.ID) {
		r.gone = true
	}
	return u.rekind(r)
}

// nothing ends an item for which no call was needed.
func (u *unit) nothing(r *rec, it *item) error {
	if it.want.Want == state.Put {
		if it.adopt {
			if ok, err := u.own(r, it); !ok {
				return err
			}
			r.sh.AppID, r.sh.Standing = it.appID, state.InApp
		}
		u.wrote(r.sh, it)
		r.dirtySh = true
		if r.sh.Standing != state.InApp {
			if err := u.gaveUp(r, change.Value{}); err != nil {
				return err
			}
		}
	} else if r.sh.Standing == state.New && r.pd == nil && !r.sh.Rejected && !u.moving(r.sh.ID) {
		return u.discard(r)
	}
	return u.rekind(r)
}

// rekind puts a newer wanted state into the queue of its kind, now that it is known what the app has.
func (u *unit) rekind(r *rec) error {
	w := r.pd
	if w == nil || !w.Queue.Ready() || w.Want != state.Put {
		return nil
	}
	kind := state.Create
	if r.sh.Standing == state.InApp {
		kind = state.Change
	}
	if w.Queue.Kind() != kind {
		w.Queue = state.QueueOf(kind, w.Queue.Lane(), false)
		u.putPending(r, w)
	}
	return nil
}

// refused puts an item's event into the quarantine, unless a newer one of its key is there.
func (u *unit) refused(r *rec, it *item) error {
	w, newer := it.want, r.pd != nil
	unseen := w.RemovalSent && r.sh.Standing == state.InApp // refused before it could be seen whether the record is there
	switch {
	case newer:
		if unseen {
			r.pd.Unknown, r.pd.RemovalSent = true, true
		}
		r.pd.Unknown = r.pd.Unknown || w.Unknown && w.Want == state.Put
		u.passOver(r, w)
		u.putPending(r, r.pd)
	case w.Over != state.Put:
		if err := u.removeFormer(r, w.Over, w.EventID, w.Time); err != nil {
			return err
		}
		if unseen && r.pd != nil {
			r.pd.Unknown, r.pd.RemovalSent = true, true
		}
		if err := u.doubtKey(r, w); err != nil {
			return err
		}
	case unseen:
		u.settleLater(r, w, w.EventID, w.Time)
	default:
		if err := u.doubtKey(r, w); err != nil {
			return err
		}
	}
	if newer || r.sh.Rejected {
		u.ledger.Superseded++
		return u.rekind(r)
	}
	q := &state.Quarantine{Record: r.sh.ID, Key: r.sh.Key, EventID: it.want.EventID, Partition: r.sh.Partition, Offset: -1, ByApp: true, Time: u.now,
		Fingerprint: it.want.Fingerprint, Event: it.want.Event, Layout: it.want.Layout, Request: it.want.Fields}
	var reject *RejectError
	switch {
	case errors.As(it.result.Err, &reject):
		q.Code, q.Message = reject.Code, reject.Err.Error()
	default:
		q.Code, q.Message = "conflict", it.result.Err.Error()
	}
	u.ledger.Rejected++
	r.sh.Rejected, r.dirtySh = true, true
	return u.tx.PutQuarantine(u.p.id, q)
}

// passOver hands an older wanted state, if it was a removal, or the one whose place it took, on to the newer one that waits.
func (u *unit) passOver(r *rec, older *state.Pending) {
	switch {
	case r.pd.Want != state.Put || r.pd.Over != state.Put:
	case older.Want != state.Put:
		r.pd.Over = older.Want
	default:
		r.pd.Over = older.Over
	}
}

// outdates tells whether an event that came while a wanted state was under way was refused, and would have dropped it: its row
// may have lost the key. See giveUp.
func (r *rec) outdates(w *state.Pending) bool {
	return r.sh.Rejected && w.Want == state.Put && w.Over == state.Put && len(w.Event) > 0
}

// again puts an item back among the pending, or gives way to a newer one.
func (u *unit) again(r *rec, it *item) int64 {
	unknown := it.want.Unknown || it.state == unsure
	removal := it.want.RemovalSent || it.state == unsure && it.want.Want.Removes()
	var late int64
	if it.state == unsure {
		late = u.late()
	}
	if r.pd != nil {
		u.ledger.Superseded++
		if unknown && !r.pd.Unknown || removal {
			r.pd.Unknown, r.pd.RemovalSent = unknown, removal
		}
		r.pd.Due = max(r.pd.Due, late)
		u.passOver(r, it.want)
		u.putPending(r, r.pd)
		return r.pd.Due
	}
	if r.outdates(it.want) {
		u.ledger.Superseded++
		if unknown {
			older := *it.want
			older.RemovalSent, older.Due = removal, late
			u.settleLater(r, &older, it.want.EventID, it.want.Time)
		}
		return 0
	}
	w := *it.want
	w.Unknown, w.RemovalSent, w.Due, w.Links = unknown, removal, late, nil
	if it.result.Err != nil {
		w.Error = it.result.Err.Error()
	}
	switch {
	case it.state == failed:
		w.Attempts++
		w.Due = u.now + backOff(w.Attempts).Milliseconds()
	case it.due > 0:
		w.Due = u.now + it.due.Milliseconds()
	}
	u.ledger.Pending++
	u.putPending(r, &w)
	if w.Want == state.Put && r.sh.Key == nil && u.moving(r.sh.ID) {
		u.park(r) // its row is between two keys
	}
	return w.Due
}
