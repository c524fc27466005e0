package sink

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// A record may have a key in the app that its source row has no more: until the app is told, another row's
// create with that key would be written over it. Such keys are noted when intake learns of it, by record, and
// forgotten when the app has answered. Where the app's key is made of the table's key alone, a key that a row still has needs
// no note: no other row has it. Else two rows may exchange theirs, one event after the other, so all keys are noted, from
// before a call that gives one to a record.

// appKeys are the keys that the app may have for a record, as far as shadow and what is under way say.
func (u *unit) appKeys(r *rec) (keys [2]change.Value, err error) {
	if r.sh.Standing == state.InApp {
		keys[0] = r.sh.AppKey
	}
	if r.fl != nil {
		sent, err := u.sentKey(r, r.fl.want)
		if err != nil {
			return keys, err
		}
		if sent {
			keys[1] = r.fl.want.Key
		}
	}
	return keys, nil
}

// sentKey tells whether a wanted state that is among the intents may have been sent with its key. What was unknown
// before is looked for first, and is not sent while another record may have its key: see lookByKey.
func (u *unit) sentKey(r *rec, w *state.Pending) (bool, error) {
	if w.Want != state.Put || w.Key.IsNull() {
		return false, nil
	}
	if !w.Unknown || u.left == 0 || r.sh.Standing == state.InApp { // one that is in the app is not looked for
		return true, nil
	}
	if noted, err := u.noted(r, w.Key); noted || err != nil {
		return noted, err
	}
	holders, err := u.tx.LeavingByKey(u.p.id, w.Key.Text())
	return !others(holders, w.Record), err
}

// others tells whether there is another record than this one.
func others(holders []int64, record int64) bool {
	return slices.ContainsFunc(holders, func(id int64) bool { return id != record })
}

// noted tells whether a key is among a record's.
func (u *unit) noted(r *rec, key change.Value) (bool, error) {
	have, err := u.leaving(r)
	return !key.IsNull() && slices.Contains(have, key.Text()), err
}

// leaving returns the noted keys of a record.
func (u *unit) leaving(r *rec) ([]string, error) {
	if !r.sh.Leaving {
		return nil, nil
	}
	return u.tx.LeavingByRecord(u.p.id, r.sh.ID)
}

// leaves notes the keys that a record has, or may have, in the app, but for that of its row (null: the row has
// none, or it is not known).
func (u *unit) leaves(r *rec, next change.Value) error {
	keys, err := u.appKeys(r)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if !key.IsNull() && key != next {
			if err := u.mayHave(r, key.Text()); err != nil {
				return err
			}
		}
	}
	return nil
}

// unanswered notes what may have been done by a call with no answer: the key it was sent with, and the fields, of which
// it is not known any more what the app has.
func (u *unit) unanswered(r *rec, w *state.Pending, key change.Value) error {
	if w.Want != state.Put {
		u.maybeSet(r, w)
		return nil
	}
	if r.sh.Standing == state.InApp {
		if r.sh.Marked != state.Unmarked && !hollow(w) {
			r.sh.Marked = state.MayBeMarked
		}
		r.sh.Sent, r.sh.Stored = u.p.doubt(r.sh, u.p.remap(w.Layout, w.Fields))
		r.dirtySh = true
		if r.sh.AppKey == key {
			return nil
		}
	}
	if key.IsNull() {
		return nil
	}
	return u.mayHave(r, key.Text())
}

// doubt returns what a shadow says of the app's fields when it is not known whether these were written.
func (p *Pipeline) doubt(s *state.Shadow, fields []change.Value) ([]change.Value, []state.Stored) {
	sent := p.unchanged()
	copy(sent, s.Sent)
	var stored []state.Stored
	for _, f := range s.Stored {
		if same(s, f.Field, fields[f.Field]) {
			stored = append(stored, f)
		}
	}
	for i, v := range fields {
		if !same(s, i, v) {
			sent[i] = change.Of(change.Unchanged, "")
		}
	}
	return sent, stored
}

// doubtKey notes, as a wanted state ends that did not settle what was sent with no answer before it, that it is not known which
// key the record has in the app: the next event of the row writes it.
func (u *unit) doubtKey(r *rec, w *state.Pending) error {
	if w == nil || !w.Unknown || r.sh.Standing != state.InApp || r.sh.AppKey.IsNull() {
		return nil
	}
	if err := u.mayHave(r, r.sh.AppKey.Text()); err != nil {
		return err
	}
	r.sh.AppKey, r.dirtySh = change.Value{}, true
	return nil
}

// mayHave notes one key.
func (u *unit) mayHave(r *rec, key string) error {
	if err := u.identify(r); err != nil {
		return err
	}
	have, err := u.leaving(r)
	if err != nil || slices.Contains(have, key) {
		return err
	}
	u.left++
	if !r.sh.Leaving {
		r.sh.Leaving, r.dirtySh = true, true
	}
	return u.tx.PutLeaving(u.p.id, key, r.sh.ID)
}

// gaveUp notes that a record has no other key in the app than this one (null: none at all), and nothing if no other row can
// have that while this one has it.
func (u *unit) gaveUp(r *rec, has change.Value) error {
	own := u.p.spec.Program.KeyOfKey() && u.rowHas(r, has)
	return u.forget(r, func(key string) bool { return own || has.IsNull() || key != has.Text() })
}

// rowHas tells whether a record's row has this key as far as is known.
func (u *unit) rowHas(r *rec, key change.Value) bool {
	if r.sh.Key == nil || r.sh.Rejected || r.sh.Deleted || r.sh.Excluded {
		return false
	}
	switch {
	case r.pd != nil:
		return r.pd.Want == state.Put && r.pd.Key == key
	case r.fl != nil:
		return r.fl.want.Want == state.Put && r.fl.want.Key == key
	}
	return r.sh.Standing == state.InApp && r.sh.AppKey == key
}

// forget drops notes.
func (u *unit) forget(r *rec, which func(key string) bool) error {
	have, err := u.leaving(r)
	if err != nil {
		return err
	}
	rest := len(have)
	for _, key := range have {
		if !which(key) {
			continue
		}
		if err := u.tx.DeleteLeaving(u.p.id, key, r.sh.ID); err != nil {
			return err
		}
		u.left--
		rest--
	}
	if r.sh.Leaving && rest == 0 {
		r.sh.Leaving, r.dirtySh = false, true
	}
	return nil
}

// blocked tells whether a record must wait since another one may have its key in the app. One that has nothing on
// its way (its newest event was refused) is made to give the key up. When the other row has the key as far as is
// known, the event that gives one of the two another key is on its way.
func (u *unit) blocked(r *rec) (bool, error) {
	w := r.pd
	inApp := r.sh.Standing == state.InApp
	ofKey := u.p.spec.Program.KeyOfKey()
	if w.Want != state.Put || w.Key.IsNull() || inApp && r.sh.AppKey == w.Key && !hollow(w) || ofKey && u.left == 0 {
		return false, nil
	}
	holders, err := u.tx.LeavingByKey(u.p.id, w.Key.Text())
	if err != nil {
		return false, err
	}
	if hollow(w) && others(holders, r.sh.ID) { // its row has another key by now, or is refused: it gives way
		w.Key = change.Value{}
		return false, nil
	}
	blocked := false
	for _, id := range holders {
		if id == r.sh.ID {
			continue
		}
		h, err := u.record(id)
		if err != nil {
			return false, err
		}
		if u.rowHas(h, w.Key) {
			if w.Since == 0 {
				w.Since = u.now
			}
			if !u.p.inVain(w) {
				blocked = true
			} else if !inApp {
				w.Unknown = true // it is looked for before it is sent, and refused when it is another row's still: see lookByKey
			}
			continue
		}
		waits, err := u.holds(h, w.Key)
		if err != nil {
			return false, err
		}
		// A changed key waits for what is about to free it by itself; records that change keys among each other
		// must not wait in a circle: see passKeys.
		goes := h.pd != nil && h.pd.Want == state.Put && len(h.pd.Event) > 0 && h.sh.Standing == state.InApp
		if waits && !(inApp && goes && (h.fl == nil || h.fl.want.Key != w.Key)) {
			blocked = true
		}
	}
	if blocked && !inApp && w.Unknown { // it is looked for under the keys that it was sent with, and not sent: see keysOf
		return false, nil
	}
	if blocked || ofKey {
		return blocked, nil
	}
	return false, u.mayHave(r, w.Key.Text())
}

// inVain tells whether a record waits for its key, which is another row's, though no partition can bring the event that gives
// that row another key any more: where keys are not unique in the source, none comes. The caller holds mu.
func (p *Pipeline) inVain(w *state.Pending) bool {
	return w.Since > 0 && time.Now().UnixMilli() >= w.Since+moveWait.Milliseconds() && p.passed(w.EventID, w.Since)
}

var errSharedKey = errors.New("another row's record has the same key, which is to change")

// holds tells whether a record may have a noted key, and has it given up when nothing else will do so.
func (u *unit) holds(h *rec, key change.Value) (bool, error) {
	drop := func() error { return u.forget(h, func(k string) bool { return k == key.Text() }) }
	switch {
	case h.fl != nil || u.moving(h.sh.ID), h.pd != nil && (h.sh.Standing == state.InApp || h.pd.Unknown || h.pd.Want == state.Put && h.pd.Key == key):
		return true, nil
	case h.sh.Standing == state.InApp && kept(h.sh): // it stays, but its key is for rows
	case h.sh.Standing != state.InApp, h.sh.Deleted: // deleted: kept in the app on purpose, see own
		return false, drop()
	}
	w := &state.Pending{EventID: h.sh.Seen, Time: u.now, Fingerprint: u.p.print, Layout: u.p.layout, Fields: u.p.unchanged(),
		Unknown: h.sh.AppKey != key} // what it has is written over in any case
	u.ledger.Taken++ // an event of our own
	u.ready(h, w)
	return true, nil
}

// unchanged are fields of which none is known.
func (p *Pipeline) unchanged() []change.Value {
	fields := make([]change.Value, len(p.fields))
	for i := range fields {
		fields[i] = change.Of(change.Unchanged, "")
	}
	return fields
}

// keysOf returns the keys under which the app may have what was sent of an item with no answer, and whether
// another record may have the item's own key, which then is not noted.
func (p *Pipeline) keysOf(it *item) (keys []string, taken bool, err error) {
	err = p.e.o.Store.View(context.Background(), func(tx state.Tx) error {
		if keys, err = tx.LeavingByRecord(p.id, it.want.Record); err != nil || it.want.Key.IsNull() {
			return err
		}
		holders, err := tx.LeavingByKey(p.id, it.want.Key.Text())
		taken = others(holders, it.want.Record) || !p.spec.Program.KeyOfKey() && !slices.Contains(keys, it.want.Key.Text())
		return err
	})
	return keys, taken, err
}
