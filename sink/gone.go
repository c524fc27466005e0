package sink

import (
	"slices"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// absent does what the pipeline says about a record that someone removed in the app.
func (u *unit) absent(r *rec, it *item) error {
	if r.sh.AppID != "" {
		if err := u.tx.Disown(u.p.id, r.sh.AppID); err != nil {
			return err
		}
	}
	s := r.sh
	w := it.want
	for _, wanted := range []*state.Pending{w, r.pd} {
		u.fillFromShadow(s, wanted)
	}
	if s.Rejected && len(s.Sent) > 0 {
		if err := u.fillRefused(s); err != nil {
			return err
		}
	}
	lose(s, state.New)
	r.dirtySh = true
	if err := u.gaveUp(r, change.Value{}); err != nil {
		return err
	}
	if r.pd != nil && r.pd.Want != state.Put { // what it was to do is done
		*u.place(r.pd.Queue)--
		u.ledger.Superseded++
		u.ledger.Applied++
		u.dropPending(r)
		s.Standing = state.Removed
		return nil
	}
	onGone := u.p.spec.OnAppDelete
	switch {
	case r.pd == nil && w.Want.Sets(): // the row is gone too
		u.ledger.Unchanged++
		if s.Standing = state.Removed; onGone == "forget" {
			s.Standing = state.Forgotten
		}
		return nil
	case r.pd == nil && hollow(w) && onGone != "forget":
		u.ledger.Unchanged++
		return nil
	case w.RemovalSent:
		onGone = "recreate" // it was us
	}
	switch onGone {
	case "recreate":
		if r.pd != nil {
			u.ledger.Superseded++
			return u.rekind(r)
		}
		if s.Rejected || s.Deleted || s.Excluded { // it is not its row's newest state: see giveUp and leave
			u.ledger.Superseded++
			if !s.Rejected {
				s.Standing = state.Removed
			}
			return nil
		}
		w.Queue, w.Unknown, w.RemovalSent = state.QueueOf(state.Create, w.Queue.Lane(), false), false, false
		u.ledger.Pending++
		u.putPending(r, w)
		if s.Key == nil {
			u.park(r) // its row is between two keys: another row may have this one by now
		}
		return nil
	case "forget":
		s.Standing = state.Forgotten
		u.ledger.Unchanged++
		if r.pd != nil {
			u.supersede(r)
			u.dropPending(r)
		}
		return nil
	}
	if r.pd != nil {
		u.ledger.Superseded++
		w = r.pd
		*u.place(w.Queue)--
	}
	w.Queue, w.Unknown, w.RemovalSent = state.Held, false, false
	u.ledger.Held++
	u.putPending(r, w)
	return nil
}

// lose forgets what is known of the app's record, which is not there, or another's.
func lose(s *state.Shadow, to state.Standing) {
	s.Standing, s.AppID, s.AppKey, s.Sent, s.Stored, s.Links, s.Marked = to, "", change.Value{}, nil, nil, nil, state.Unmarked
}

// hollow tells whether a wanted state has no value to be written: see settleLater and holds.
func hollow(w *state.Pending) bool {
	return w.Want == state.Put && len(w.Event) == 0 && !slices.ContainsFunc(w.Fields, func(v change.Value) bool { return !v.IsUnchanged() })
}

// fillFromShadow gives a wanted state what the app had of the fields that it leaves as they are.
func (u *unit) fillFromShadow(s *state.Shadow, w *state.Pending) {
	if w == nil || w.Want != state.Put || len(s.Sent) == 0 || hollow(w) {
		return
	}
	w.Layout, w.Fields = u.p.layout, u.filled(w.Layout, w.Fields, s)
}

// fillRefused does the same for a record's entry in quarantine: an event that replaces it may leave these values out.
func (u *unit) fillRefused(s *state.Shadow) error {
	q, err := u.tx.QuarantineByRecord(u.p.id, s.ID)
	if err != nil || q == nil {
		return err
	}
	q.Layout, q.Request = u.p.layout, u.filled(q.Layout, q.Request, s)
	return u.tx.PutQuarantine(u.p.id, q)
}

// filled returns fields with what the app had of those that are left as they are.
func (u *unit) filled(layout int, fields []change.Value, s *state.Shadow) []change.Value {
	fields = slices.Clone(u.p.remap(layout, fields))
	for i, v := range fields {
		if v.IsUnchanged() && v.Text() == "" {
			fields[i] = s.Sent[i]
		}
	}
	return fields
}
