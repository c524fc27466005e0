package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// Edit is what someone did in the app to a record of ours, and what became of it.
type Edit struct {
	Time     time.Time
	Pipeline string
	Key      []byte // of the row, JSON; nil while it is between two keys
	AppID    string
	// Found is AppDiffers, with the fields: Want is what they had been, Have what was put there; AppMissing or AppArchived.
	Found  Drift
	Fields []DriftField
	// Left: the fields stay as they are, since the app itself makes that of what is written.
	Left bool
}

// An app may store another form of a value than it was sent, and not say so. Then a value that is put back is found changed
// again, to the same as before. It is taken for the app's own doing, and left, when the record was not changed since the app
// answered that it took the value, or when it was put back so often in vain.
const putBackMost = 3

// edit is a field of ours that the app has otherwise than it took over.
type edit struct {
	field int // state.KeyField for the key
	want  string
	have  string
	left  bool // it stays so
}

// edits compares the app's record with what the app took over.
func (p *Pipeline) edits(s *state.Shadow, r *Record) (all []edit) {
	if have := r.Fields[p.spec.Program.KeyField()]; !s.AppKey.IsNull() && have != s.AppKey.Text() {
		all = append(all, edit{state.KeyField, s.AppKey.Text(), have, false})
	}
	for i, f := range p.fields {
		if f.Group != OwnedBySource || i >= len(s.Sent) || s.Sent[i].IsUnchanged() {
			continue
		}
		want := s.Sent[i].Text()
		for _, st := range s.Stored {
			if st.Field == i {
				want = st.Text
			}
		}
		if have := r.Fields[f.Name]; have != want {
			all = append(all, edit{i, want, have, isOwnForm(s, i, have, r.Updated)})
		}
	}
	return all
}

// isOwnForm tells whether the app itself makes this of what a field is sent; updated is when the record was last changed.
func isOwnForm(s *state.Shadow, field int, have string, updated time.Time) bool {
	for _, b := range s.PutBack {
		if b.Field == field && b.Sent == s.Sent[field].Text() && b.Found == have {
			return b.Times >= putBackMost || !updated.IsZero() && updated.UnixMilli() <= s.Time
		}
	}
	return false
}

// told names edits for those who look.
func (p *Pipeline) toldEdits(all []edit) (out []DriftField) {
	for _, e := range all {
		f := DriftField{Name: p.spec.Program.KeyField(), Want: change.OfString(e.want), Have: change.OfString(e.have), PII: p.spec.Program.KeyPII()}
		if e.field != state.KeyField {
			f.Name, f.PII = p.fields[e.field].Name, p.fields[e.field].PII
		}
		out = append(out, f)
	}
	return out
}

// split takes those edits apart that stay.
func split(all []edit) (undone, left []edit) {
	for _, e := range all {
		if e.left {
			left = append(left, e)
		} else {
			undone = append(undone, e)
		}
	}
	return undone, left
}

// drifted notes edits of a record, which is that of r as the app had it before they are undone, or written over.
func (u *unit) drifted(r *rec, edits []edit) {
	undone, left := split(edits)
	note := func(some []edit, why string) {
		if len(some) == 0 {
			return
		}
		c := state.Changed{Key: r.sh.Key, EventID: r.sh.Applied, Layout: u.p.layout, AppID: r.sh.AppID, Kind: state.Drifted, Note: why}
		for _, e := range some {
			c.Fields = append(c.Fields, state.ChangedField{Field: e.field, Old: change.OfString(e.want), New: change.OfString(e.have)})
		}
		if u.p.e.o.History.Keep > 0 {
			u.note(r, c)
		}
		u.edits = append(u.edits, Edit{Time: time.UnixMilli(u.now).UTC(), Pipeline: u.p.spec.Name, Key: r.sh.Key, AppID: r.sh.AppID, Found: AppDiffers, Fields: u.p.toldEdits(some), Left: why != ""})
	}
	note(undone, "")
	note(left, "left: the app makes that of what it is sent")
	if len(undone) > 0 {
		u.verified.Edited++
	}
	u.verified.Left += int64(len(left))
	for _, e := range left {
		r.sh.Stored, r.dirtySh = setStored(slices.Clone(r.sh.Stored), state.Stored{Field: e.field, Text: e.have}), true
	}
}

// putBack counts that fields of a shadow are written again over what the app had.
func (u *unit) putBack(s *state.Shadow, edits []edit, sent func(field int) change.Value) {
	for _, e := range edits {
		if e.left || e.field == state.KeyField {
			continue
		}
		b := state.PutBack{Field: e.field, Sent: sent(e.field).Text(), Found: e.have, Times: 1}
		all := make([]state.PutBack, 0, len(s.PutBack)+1)
		for _, old := range s.PutBack {
			switch {
			case old.Field != b.Field:
				all = append(all, old)
			case old.Sent == b.Sent && old.Found == b.Found:
				b.Times = old.Times + 1
			}
		}
		s.PutBack = append(all, b)
	}
}

// vanished does what the pipeline says about a record that the app was read not to have any more.
func (u *unit) vanished(r *rec, kind Drift) error {
	was := *r.sh
	w := &state.Pending{EventID: was.Applied, Time: u.now, Fingerprint: u.p.print, Layout: u.p.layout, Key: was.AppKey, Fields: u.p.unchanged()}
	copy(w.Fields, was.Sent)
	it := &item{want: w, base: &was, sh: r.sh, state: absent}
	u.ledger.Taken++ // an event of our own
	u.verified.Gone++
	u.edits = append(u.edits, Edit{Time: time.UnixMilli(u.now).UTC(), Pipeline: u.p.spec.Name, Key: was.Key, AppID: was.AppID, Found: kind})
	if err := u.absent(r, it); err != nil {
		return err
	}
	u.remember(&was, r, it)
	return nil
}

// readBefore reads the records that are about to be written, and notes what was done to them in the app before that is
// written over.
func (d *dispatcher) readBefore(ctx context.Context, f *flight, reader Reader, l Limits, items []*item, fills []string) error {
	p := f.p
	fields := append(slices.Clone(fills), p.names(OwnedBySource)...)
	var edited []*item
	if err := d.read(ctx, f, reader, l, items, "id", func(it *item) string { return it.appID }, fields, func(it *item, found []Record) {
		if len(found) == 0 || found[0].Archived {
			it.state, it.result, it.read = absent, Result{Err: ErrGone}, true
			return
		}
		it.result.Stored = stored(found[0])
		it.edits = slices.DeleteFunc(p.edits(it.base, &found[0]), func(e edit) bool {
			return e.field == state.KeyField && it.want.Unknown || e.left && !it.keeps(p, e.field) // what was sent with no answer; a value that is new
		})
		if len(it.edits) > 0 {
			edited = append(edited, it)
		}
	}); err != nil || len(edited) == 0 {
		return err
	}
	if err := p.noteEdits(ctx, edited); err != nil {
		d.fail(fmt.Errorf("note edits found in %s for pipeline %s: %w", d.name, p.spec.Name, err))
		return err
	}
	return nil
}

// keeps tells whether a field is to have the value that it had.
func (it *item) keeps(p *Pipeline, field int) bool {
	v := p.remap(it.want.Layout, it.want.Fields)[field]
	return v.IsUnchanged() || v == it.base.Sent[field]
}

// noteEdits keeps what was found, once for as long as this process tries to write over it.
func (p *Pipeline) noteEdits(ctx context.Context, items []*item) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	noted := map[int64]string{}
	for _, it := range items {
		if text := fmt.Sprint(it.edits); p.noted[it.want.Record] != text {
			noted[it.want.Record] = text
		}
	}
	if len(noted) == 0 {
		return nil
	}
	if err := p.update(ctx, "", "", func(u *unit) error {
		if err := u.loadByID(slices.Sorted(maps.Keys(noted))); err != nil {
			return err
		}
		for _, it := range items {
			if r := u.recs[it.want.Record]; r != nil && noted[it.want.Record] != "" {
				u.drifted(r, it.edits)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	maps.Copy(p.noted, noted)
	return nil
}

// edited returns what someone made of a field of an item, if it is to be undone.
func (it *item) edited(field int) (have string, yes bool) {
	for _, e := range it.edits {
		if e.field == field && !e.left {
			return e.have, true
		}
	}
	return "", false
}

// overwrote brings a record up to a call that has undone edits, or written over them; was is the shadow before it, and
// becomes what the app had.
func (u *unit) overwrote(was *state.Shadow, r *rec, it *item) {
	if it.state == absent && it.read {
		u.verified.Gone++
		u.edits = append(u.edits, Edit{Time: time.UnixMilli(u.now).UTC(), Pipeline: u.p.spec.Name, Key: was.Key, AppID: was.AppID, Found: AppMissing})
	}
	if len(it.edits) == 0 || it.state != applied && it.state != nothing {
		return
	}
	delete(u.p.noted, r.sh.ID)
	if r.sh.Standing != state.InApp || r.sh.AppID != it.appID {
		return
	}
	had := slices.Clone(was.Sent)
	for _, e := range it.edits {
		switch {
		case e.field == state.KeyField:
			was.AppKey = change.OfString(e.have)
		case e.left || e.field >= len(had):
		default:
			if r.sh.Sent[e.field] == had[e.field] {
				u.putBack(r.sh, []edit{e}, func(field int) change.Value { return r.sh.Sent[field] })
				r.dirtySh = true
			}
			had[e.field] = change.OfString(e.have)
		}
	}
	was.Sent = had
}
