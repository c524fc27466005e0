package sink

import (
	"slices"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// With `action = "set"` a record stays in the app when its row is gone, or is not the pipeline's any more, and gets
// some fields. It goes the way of a removal: through the queue of deletes and its guard. Its shadow stays in the app too,
// marked, with nothing known of its other fields, so that the row's return writes all of them.

// wantOf is what an action of `on "delete"` or `on "leave"` makes of a record.
func wantOf(action string, cause state.Cause) state.Want {
	switch {
	case action == "delete":
		return state.Remove
	case action != "set":
		return state.Archive
	case cause == state.ByLeave:
		return state.SetLeft
	}
	return state.SetDeleted
}

// onDelete is what becomes of a record whose row is gone. away: it has gone to a key that is forgotten, or may have: nothing
// of it may stay in the app.
func (p *Pipeline) onDelete(away bool) string {
	if away && p.spec.OnDelete == "set" {
		return "archive"
	}
	return p.spec.OnDelete
}

// setFields are the fields that such a want writes.
func (p *Pipeline) setFields(w state.Want) []Field {
	if w == state.SetLeft {
		return p.spec.SetOnLeave
	}
	return p.spec.SetOnDelete
}

// heed makes of a removal that waited what the configuration says now, if it was to set fields and there are none.
func (p *Pipeline) heed(w *state.Pending) {
	action := p.spec.OnDelete
	if w.Want == state.SetLeft {
		action = p.spec.OnLeave
	}
	if w.Want.Sets() && action != "set" && action != "ignore" { // to ignore: planSet has nothing to write
		w.Want = wantOf(action, w.Cause)
	}
}

// hasSet tells whether the app has the fields already.
func (p *Pipeline) hasSet(s *state.Shadow, w state.Want) bool {
	if !w.Sets() {
		return false
	}
	switch s.Marked {
	case state.MarkDeleted:
		return w == state.SetDeleted || slices.Equal(p.spec.SetOnDelete, p.spec.SetOnLeave)
	case state.MarkLeft:
		return w == state.SetLeft || slices.Equal(p.spec.SetOnDelete, p.spec.SetOnLeave)
	}
	return false
}

// isSet tells whether a record has the fields already, and nothing is under way that would change that.
func (u *unit) isSet(r *rec, w state.Want) bool {
	return w.Sets() && r.sh.Standing == state.InApp && r.fl == nil && (r.pd == nil || !r.pd.Unknown) && u.p.hasSet(r.sh, w)
}

// staySet leaves a record as it is; what was wanted of its row since is not.
func (u *unit) staySet(r *rec) error {
	u.dropPending(r)
	return u.leaves(r, change.Value{})
}

// kept tells whether a record is in the app without its row, for `action = "set"`.
func kept(s *state.Shadow) bool { return s.Marked != state.Unmarked && (s.Deleted || s.Excluded) }

// planSet works out what to send for an item that is to stay with fields set.
func (it *item) planSet(p *Pipeline) bool {
	it.action, it.write, it.sent = Update, it.write[:0], it.sent[:0]
	set := p.setFields(it.want.Want)
	if it.appID == "" || len(set) == 0 {
		it.state = nothing
		return false
	}
	if p.whole { // what is left out would be gone
		for i, v := range it.base.Sent {
			named := func(f Field) bool { return f.Name == p.fields[i].Name }
			if !v.IsUnchanged() && p.fields[i].Group != ByParent && !slices.ContainsFunc(set, named) {
				it.write = append(it.write, Field{p.fields[i].Name, v})
			}
		}
	}
	it.write = append(it.write, set...)
	return it.state == todo
}

// wasSet tells whether a field of a record has, or may have, what `action = "set"` put there.
func (p *Pipeline) wasSet(s *state.Shadow, field int) bool {
	named := func(f Field) bool { return f.Name == p.fields[field].Name }
	return s.Marked != state.Unmarked && (slices.ContainsFunc(p.spec.SetOnDelete, named) || slices.ContainsFunc(p.spec.SetOnLeave, named))
}

// wasSet brings a record up to fields that were set. The key is not among them: the keys that the app may have for it
// stay noted, but where it was looked for and found.
func (u *unit) wasSet(r *rec, it *item) error {
	if ok, err := u.own(r, it); !ok {
		return err
	}
	u.ledger.Applied++
	s := r.sh
	if !it.found.IsNull() {
		s.AppKey = it.found
	}
	sent := u.p.unchanged()
	for i, f := range u.p.fields {
		for _, set := range u.p.setFields(it.want.Want) {
			if set.Name == f.Name {
				sent[i] = set.Value
			}
		}
	}
	if u.p.whole {
		for i, v := range s.Sent {
			if i < len(sent) && sent[i].IsUnchanged() {
				sent[i] = v
			}
		}
	}
	s.Stored = storedOf(u.p, it.result, sent)
	s.AppID, s.Standing, s.Sent, s.Layout = it.appID, state.InApp, sent, u.p.layout
	s.Applied, s.Time, s.Marked = it.want.EventID, u.now, state.MarkDeleted
	if it.want.Want == state.SetLeft {
		s.Marked = state.MarkLeft
	}
	r.dirtySh = true
	if it.found.IsNull() {
		if err := u.doubtKey(r, it.want); err != nil {
			return err
		}
	} else if err := u.gaveUp(r, s.AppKey); err != nil {
		return err
	}
	return u.rekind(r)
}

// maybeSet notes that it is not known whether the fields were set, in a record that may be in the app without our knowing.
func (u *unit) maybeSet(r *rec, w *state.Pending) {
	if !w.Want.Sets() {
		return
	}
	if r.sh.Standing == state.InApp {
		r.sh.Sent, r.sh.Stored = u.p.unchanged(), nil
	}
	r.sh.Marked, r.dirtySh = state.MayBeMarked, true
}
