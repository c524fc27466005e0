package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// Verify says how a pipeline looks for what others do in the app to records of ours: to fields of the group source, which
// are put back, and to records, which are treated as OnAppDelete says.
type Verify struct {
	// Every is how often it asks what has changed there; 0: never. The app is a Changer and a Reader then.
	Every time.Duration
	// BeforeWrite: a known record is read before it is written. The app is a Reader then.
	BeforeWrite bool
}

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

// verifyWait is how long a round waits before it goes on when the app can't be asked.
const verifyWait = 30 * time.Second

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

// verify looks in rounds for what others change in the app, until ctx ends; its error is the state's.
func (p *Pipeline) verify(ctx context.Context) error {
	said := ""
	for ctx.Err() == nil {
		timer := time.NewTimer(p.verifyDue(time.Now()))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			break
		}
		err := p.verifyRound(ctx)
		var silent *unreadError
		if err != nil && !errors.As(err, &silent) {
			if ctx.Err() != nil {
				break
			}
			return fmt.Errorf("verify pipeline %s: %w", p.spec.Name, err)
		}
		text := ""
		if err != nil && ctx.Err() == nil {
			text = err.Error()
		}
		p.mu.Lock()
		p.unverified = text
		p.mu.Unlock()
		if text != "" && text != said {
			p.e.log.Warn("edits in the app are not looked for now", "pipeline", p.spec.Name, "app", p.d.name, "error", text)
		}
		said = text
	}
	return nil
}

// verifyDue returns how long the next round is away.
func (p *Pipeline) verifyDue(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := &p.verified
	switch {
	case p.unverified != "" || p.delivery.Paused != 0:
		return verifyWait
	case v.Began > v.Ended || v.Target != p.verifyTarget():
		return 0
	}
	return max(0, time.UnixMilli(v.Began).Add(p.spec.Verify.Every).Sub(now))
}

func (p *Pipeline) verifyTarget() string { return p.spec.App + "/" + p.spec.Object }

// verifyRound asks what has changed since the last round, page by page. Where it is, is kept after each page: what was
// repaired twice is written twice at most.
func (p *Pipeline) verifyRound(ctx context.Context) error {
	p.mu.Lock()
	v, paused := p.verified, p.delivery.Paused != 0
	p.mu.Unlock()
	if paused {
		return nil
	}
	if v.Target != p.verifyTarget() {
		v.Target, v.Cursor, v.Began, v.Ended = p.verifyTarget(), "", 0, 0
	}
	if v.Began <= v.Ended {
		v.Began = max(time.Now().UnixMilli(), v.Ended+1)
	}
	changer, reader := p.d.app.(Changer), p.d.app.(Reader) // New has seen to it
	fields := append(p.names(OwnedBySource), p.spec.Program.KeyField())
	c := &reconciler{p: p, verifies: true, o: ReconcileOptions{Repair: true, CallsPerSecond: p.verifyRate()}, examples: map[Drift]int{},
		out: &Reconciled{Apart: map[string]int64{}, Drift: map[Drift]int64{}}}
	for more := true; more; {
		var page Changes
		if err := c.paced(ctx, func(ctx context.Context) (err error) {
			page, err = changer.Changes(ctx, p.spec.Object, v.Cursor, fields)
			return err
		}); err != nil {
			return err
		}
		ids, err := p.edited(ctx, page.Records)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(ids, p.d.limits(p.spec.Object).Read) {
			if err := c.readBack(ctx, reader, some); err != nil {
				return err
			}
		}
		if page.More && page.Next == v.Cursor {
			return &unreadError{fmt.Errorf("app %s says that there is more and does not go on", p.d.name)}
		}
		v.Cursor, more = page.Next, page.More
		if !more {
			v.Ended = max(time.Now().UnixMilli(), v.Began)
		}
		if err := p.verifiedTo(ctx, &v, int64(len(page.Records))); err != nil {
			return err
		}
		p.d.wake()
	}
	return nil
}

// verifiedTo keeps how far the round is.
func (p *Pipeline) verifiedTo(ctx context.Context, v *state.Verify, looked int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.update(ctx, "", "", func(u *unit) error {
		to := &u.verified
		to.Target, to.Cursor, to.Began, to.Ended = v.Target, v.Cursor, v.Began, v.Ended
		to.Looked += looked
		return nil
	})
}

// verifyRate is how many calls a second a round makes: a quarter of what the app allows.
func (p *Pipeline) verifyRate() float64 {
	if l := p.d.limits(p.spec.Object); l.Calls > 0 && l.Window > 0 {
		return float64(l.Calls) / l.Window.Seconds() / 4
	}
	return reconcileRate
}

// edited returns our records that are not what the app took over, as far as what it says of its changes tells. That may be old
// already: they are read again.
func (p *Pipeline) edited(ctx context.Context, changed []Record) (ids []int64, err error) {
	is := map[int64]*Record{} // nil: it is not there under its own id
	if err := p.e.o.Store.View(ctx, func(tx state.Tx) error {
		note := func(appID string, r *Record) error {
			owner, err := tx.Owner(p.id, appID)
			if err != nil || owner == 0 {
				return err
			}
			if _, twice := is[owner]; !twice || r != nil {
				is[owner] = r
			}
			return nil
		}
		for i := range changed {
			r := &changed[i]
			if err := note(r.ID, r); err != nil {
				return err
			}
			for _, id := range r.Merged {
				if id == r.ID {
					continue
				}
				if err := note(id, nil); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil || len(is) == 0 {
		return nil, err
	}
	ours := make([]int64, 0, len(is))
	for id := range is {
		ours = append(ours, id)
	}
	slices.Sort(ours)
	return ids, p.view(ctx, nil, ours, func(u *unit) error {
		for _, r := range u.order {
			s := r.sh
			if s.Standing != state.InApp || s.Deleted || s.Excluded || u.apart(s.Key, r) != "" {
				continue
			}
			if kind, _ := p.driftOf(s, is[s.ID]); kind != "" {
				ids = append(ids, s.ID)
			}
		}
		return nil
	})
}

// verifyStatus says how far it is; the caller holds mu.
func (p *Pipeline) verifyStatus() VerifyStatus {
	v, o := &p.verified, p.spec.Verify
	s := VerifyStatus{Every: o.Every, BeforeWrite: o.BeforeWrite, Detail: p.unverified, Looked: v.Looked, Edited: v.Edited, Gone: v.Gone, Left: v.Left}
	if v.Began > 0 {
		s.Began = time.UnixMilli(v.Began).UTC()
	}
	if v.Ended > 0 {
		s.Ended = time.UnixMilli(v.Ended).UTC()
	}
	if o.Every > 0 && v.Began > 0 && v.Ended >= v.Began {
		s.Next = s.Began.Add(o.Every)
	}
	return s
}
