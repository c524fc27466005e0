package sink

import (
	"context"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// awaitSize is how many references one transaction looks at.
const awaitSize = 500

// await looks at the references that are due: of parents that have come, or have another record in the app, and of
// those that have not come in time.
func (p *Pipeline) await(ctx context.Context) error {
	if len(p.parents) == 0 || !p.arrived.Swap(false) && (p.nextAwait == state.Settled || time.Now().UnixMilli() < p.nextAwait) {
		return nil
	}
	loading := map[string]bool{}
	for _, of := range p.parents {
		loading[of.Name] = of.of.loading()
	}
	more, err := p.awaitSome(ctx, loading)
	if more { // in the next step: what is ready goes out in between
		p.arrived.Store(true)
		p.d.wake()
	}
	return err
}

// awaits tells whether references are due, so that what waits may be about to go; the caller holds mu.
func (p *Pipeline) awaits(ctx context.Context) (due bool, err error) {
	if len(p.parents) == 0 {
		return false, nil
	}
	return due, p.e.o.Store.View(ctx, func(tx state.Tx) error {
		next, err := tx.NextReference(p.id)
		due = next != state.Settled && next <= time.Now().UnixMilli()
		return err
	})
}

// waitsFor counts what waits for each parent; the caller holds mu. An error of the state ends the process elsewhere.
func (p *Pipeline) waitsFor(ctx context.Context) (all []ParentWait) {
	if len(p.parents) == 0 || p.queued[state.Waiting] == 0 {
		return nil
	}
	_ = p.e.o.Store.View(ctx, func(tx state.Tx) error {
		counts, err := tx.WaitingReferences(p.id)
		for _, of := range p.parents {
			if n := counts[of.Name]; n > 0 {
				all = append(all, ParentWait{of.Name, of.Pipeline, n})
			}
		}
		return err
	})
	return all
}

// loading tells whether a snapshot of the pipeline's table goes on: what has not come yet may come with it.
func (p *Pipeline) loading() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.anywhere(func(part *partition) bool { return loading(&part.pos) })
}

func (p *Pipeline) awaitSome(ctx context.Context, loading map[string]bool) (more bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := awaitSize + len(p.inflight)
	done := 0
	err = p.update(ctx, "await.before_commit", "await.after_commit", func(u *unit) error {
		var refs []*state.Reference
		if err := u.tx.DueReferences(p.id, u.now, limit, func(r *state.Reference) error {
			refs = append(refs, r)
			return nil
		}); err != nil {
			return err
		}
		ids := make([]int64, len(refs))
		keys := map[string][][]byte{}
		for i, ref := range refs {
			ids[i] = ref.Record
			keys[ref.Name] = append(keys[ref.Name], ref.Key)
		}
		if err := u.loadByID(ids); err != nil {
			return err
		}
		found := map[string]map[string]*state.Shadow{}
		for _, of := range p.parents {
			var err error
			if found[of.Name], err = u.parents(of, keys[of.Name]); err != nil {
				return err
			}
		}
		done = 0
		for _, ref := range refs {
			looked, err := u.awaited(ref, found[ref.Name][string(ref.Key)], loading[ref.Name])
			if err != nil {
				return err
			}
			if looked {
				done++
			}
		}
		more = len(refs) == limit && done > 0
		if p.nextAwait, err = u.tx.NextReference(p.id); err != nil {
			return err
		}
		return nil
	})
	if done > 0 {
		p.d.wake()
	}
	return more, err
}

// parentOf returns the parent of a name, as it is configured now, if it is of that pipeline still.
func (p *Pipeline) parentOf(ref *state.Reference) *parent {
	for _, of := range p.parents {
		if of.Name == ref.Name && of.of.id == ref.Parent {
			return of
		}
	}
	return nil
}

// awaited looks at one reference; s is the parent's shadow. False: not now, the record is on its way.
func (u *unit) awaited(ref *state.Reference, s *state.Shadow, loading bool) (bool, error) {
	r, of := u.recs[ref.Record], u.p.parentOf(ref)
	if r == nil || of == nil {
		return true, u.tx.DeleteReference(u.p.id, ref)
	}
	if r.fl != nil {
		return false, nil
	}
	there := s != nil && s.Standing == state.InApp
	named := u.p.named(r, of)
	waits := r.pd != nil && r.pd.Queue == state.Waiting && !u.moving(r.sh.ID) && named.Text() == string(ref.Key)
	due := ref.Due
	ref.Due = state.Settled
	var err error
	switch {
	case waits && there:
		u.unpark(r)
	case waits && (s == nil || !hopeless(s)) && (due == 0 || s != nil || loading): // it is on its way
		ref.Due = u.now + max(time.Second, of.Wait).Milliseconds()
		err = u.tx.DeleteReference(u.p.id, ref) // else the earlier one would stay
	case waits:
		err = u.giveUpParent(r, of, s)
	case r.sh.Rejected:
		if there {
			err = u.relist(r, of, ref, s)
		}
	case !named.IsUnchanged() && named.Text() != string(ref.Key): // it names another one by now
		if !u.associatedFor(r, of, ref, s, there) {
			return true, u.tx.DeleteReference(u.p.id, ref)
		}
	case there:
		err = u.relink(r, of, ref, s)
	case s != nil && hopeless(s):
		var another bool
		if another, err = u.linkedToAnother(r, of, s); another && err == nil {
			err = u.relink(r, of, ref, s)
		}
	}
	if err != nil {
		return false, err
	}
	return true, u.tx.PutReference(u.p.id, ref)
}

// associatedFor tells whether a record that is to name another parent is associated with this one's still, and may name it
// again. When the app has another record for that parent by now, the association is forgotten, so that it is made anew then.
func (u *unit) associatedFor(r *rec, of *parent, ref *state.Reference, s *state.Shadow, there bool) bool {
	if of.field >= len(r.sh.Sent) || r.sh.Sent[of.field].IsUnchanged() || r.sh.Sent[of.field].Text() != string(ref.Key) {
		return false
	}
	if !there || slices.Contains(r.sh.Links, state.Link{Name: of.Name, To: s.AppID}) {
		return true
	}
	r.sh.Sent = slices.Clone(r.sh.Sent)
	r.sh.Sent[of.field], r.dirtySh = change.Of(change.Unchanged, ""), true
	return false
}

// linkedToAnother tells whether a record is associated with the record of another row than its parent's, which had the parent's
// key before.
func (u *unit) linkedToAnother(r *rec, of *parent, s *state.Shadow) (bool, error) {
	for _, l := range r.sh.Links {
		if l.Name != of.Name {
			continue
		}
		if owner, err := u.tx.Owner(of.of.id, l.To); err != nil || owner != 0 && owner != s.ID {
			return err == nil, err
		}
	}
	return false, nil
}

// giveUpParent lists a record whose parent has not come.
func (u *unit) giveUpParent(r *rec, of *parent, s *state.Shadow) error {
	w := r.pd
	code, message := parentError(of, s)
	if err := u.giveUp(r, &taken{id: w.EventID, time: w.Time}); err != nil {
		return err
	}
	u.ledger.Superseded-- // it is that event that is listed
	return u.list(r, w, code, message)
}

// relist takes in what was listed for want of a parent that is there now.
func (u *unit) relist(r *rec, of *parent, ref *state.Reference, s *state.Shadow) error {
	q, err := u.tx.QuarantineByRecord(u.p.id, r.sh.ID)
	if err != nil || q == nil {
		return err
	}
	mine := (q.Code == parentMissing || q.Code == parentGone) && u.p.remap(q.Layout, q.Request)[of.field].Text() == string(ref.Key)
	switch {
	case !mine && u.p.named(r, of).Text() == string(ref.Key): // it is listed for something else, and is in the app as it was before
		return u.relink(r, of, ref, s)
	case !mine:
		return nil
	case len(q.Event) > 0:
		t, err := u.anew(q.Event, q.Partition)
		if err != nil {
			return err
		}
		return u.retake(r, q, t)
	}
	if err := u.supersedeQuarantine(r); err != nil {
		return err
	}
	return u.relink(r, of, ref, s)
}

// relink has a record associated with the record that the app has for its parent now.
func (u *unit) relink(r *rec, of *parent, ref *state.Reference, s *state.Shadow) error {
	key := change.OfString(string(ref.Key))
	n := 0
	for _, l := range r.sh.Links {
		if l.Name == of.Name {
			n++
		}
	}
	sure := of.field < len(r.sh.Sent) && !r.sh.Sent[of.field].IsUnchanged()
	if r.sh.Standing != state.InApp || r.sh.Deleted || r.sh.Excluded || sure && n == 1 && linkTo(r.sh.Links, of.Name) == s.AppID {
		return nil
	}
	sent := u.p.unchanged()
	copy(sent, r.sh.Sent)
	fields := u.p.unchanged()
	sent[of.field], fields[of.field] = change.Of(change.Unchanged, ""), key
	r.sh.Sent, r.dirtySh = sent, true
	if r.pd != nil {
		u.alsoWants(r, fields)
		return nil
	}
	u.ledger.Taken++ // an event of our own
	u.ready(r, &state.Pending{EventID: r.sh.Applied, Time: u.now, Fingerprint: u.p.print, Layout: u.p.layout, Key: r.sh.AppKey, Fields: fields})
	return nil
}
