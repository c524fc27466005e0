package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// tie is an association to be made, or taken away, once its record is written.
type tie struct {
	it     *item
	parent int // index of the pipeline's
	to     string
	remove bool
	done   bool
	err    error
}

// ties works out what is to be done about the associations of a record that is written. What was sent with no answer, of
// the record or of an association, is done again: an app takes an association twice.
func (it *item) tiesOf(p *Pipeline) (all []*tie) {
	w := it.want
	for n, of := range p.parents {
		v, ok := p.wanted(it.base, w, of)
		if !ok {
			continue
		}
		to := linkTo(w.Links, of.Name)
		known := it.base.Standing == state.InApp && !w.Unknown && of.field < len(it.base.Sent) && !it.base.Sent[of.field].IsUnchanged()
		have := known && slices.Contains(it.base.Links, state.Link{Name: of.Name, To: to})
		if !v.IsNull() && to != "" && !have {
			all = append(all, &tie{it: it, parent: n, to: to})
		}
		for _, l := range it.base.Links {
			if l.Name == of.Name && l.To != to {
				all = append(all, &tie{it: it, parent: n, to: l.To, remove: true, done: it.shared(p, n, l.To)})
			}
		}
	}
	return all
}

// shared tells whether a record that is not a parent's any more is another parent's still, in the same object: what is between
// the two stays.
func (it *item) shared(p *Pipeline, not int, to string) bool {
	for n, of := range p.parents {
		if n == not || of.of.spec.Object != p.parents[not].of.spec.Object {
			continue
		}
		links := it.want.Links
		if _, changes := p.wanted(it.base, it.want, of); !changes {
			links = it.base.Links
		}
		if slices.Contains(links, state.Link{Name: of.Name, To: to}) {
			return true
		}
	}
	return false
}

// associate makes the associations of the records that were written, then takes away those that they have no more.
func (d *dispatcher) associate(ctx context.Context, f *flight, l Limits) {
	app, ok := d.app.(Associator)
	if !ok || len(f.p.parents) == 0 {
		return
	}
	for _, it := range f.items {
		if (it.state == applied || it.state == nothing) && it.want.Want == state.Put && it.appID != "" {
			it.ties = it.tiesOf(f.p)
		}
	}
	for _, remove := range []bool{false, true} {
		for n := range f.p.parents {
			var some []*tie
			for _, it := range f.items {
				for _, t := range it.ties {
					if t.parent == n && t.remove == remove && !t.done {
						some = append(some, t)
					}
				}
			}
			for batch := range slices.Chunk(some, max(1, l.Associate)) {
				if !d.tie(ctx, f, app, batch) {
					return
				}
			}
		}
	}
}

// tie makes one call; the ties are of one parent and all to be made or all to be taken away. False: the app can't be called now.
func (d *dispatcher) tie(ctx context.Context, f *flight, app Associator, ties []*tie) bool {
	if !d.pace(ctx, f) {
		return false
	}
	of := f.p.parents[ties[0].parent]
	a := Associations{From: f.p.spec.Object, To: of.of.spec.Object, Kind: of.Kind, Remove: ties[0].remove, Pairs: make([]Pair, len(ties))}
	for i, t := range ties {
		a.Pairs[i] = Pair{t.it.appID, t.to}
	}
	d.e.failpoint("dispatch.before_associate")
	call, cancel := context.WithTimeout(ctx, d.e.o.Timeout)
	errs, err := app.Associate(call, a)
	cancel()
	d.e.failpoint("dispatch.after_associate")
	if err == nil && len(errs) != len(ties) {
		err = fmt.Errorf("app %s gave %d results for %d associations", d.name, len(errs), len(ties))
	}
	var reject *RejectError
	var batch *BatchError
	var retry *RetryError
	var halt *HaltError
	switch {
	case err == nil:
	case errors.As(err, &halt):
		d.halt(err)
		return false
	case errors.As(err, &retry):
		d.answered(f.p.spec.Object, err, max(retry.After, 1))
		return false
	case errors.As(err, &reject), errors.As(err, &batch):
		d.answered(f.p.spec.Object, nil, 0)
		if half := len(ties) / 2; half > 0 {
			return d.tie(ctx, f, app, ties[:half]) && d.tie(ctx, f, app, ties[half:])
		}
		ties[0].take(err)
		return true
	default:
		for _, t := range ties {
			t.take(err)
		}
		d.answered(f.p.spec.Object, err, 0)
		return false
	}
	d.answered(f.p.spec.Object, nil, 0)
	for i, t := range ties {
		if errors.As(errs[i], &halt) {
			d.halt(errs[i])
			return false
		}
		t.take(errs[i])
	}
	return true
}

// take notes a tie's own result. What is to be taken away from a record that is gone is gone with it.
func (t *tie) take(err error) {
	if t.remove && errors.Is(err, ErrGone) {
		err = nil
	}
	t.done, t.err = err == nil, err
}

// tied tells whether associations were made or taken away, and none is left to do.
func (it *item) tied() bool {
	return len(it.ties) > 0 && !slices.ContainsFunc(it.ties, func(t *tie) bool { return !t.done })
}

// linked brings a record up to the associations that were made with it. What could not be done is wanted still: it is tried
// again, or listed if the app refuses it. It returns when it may be tried again, Unix ms.
func (u *unit) linked(r *rec, it *item) (int64, error) {
	p, s := u.p, r.sh
	if len(p.parents) == 0 || it.want.Want != state.Put || s.Standing != state.InApp || s.AppID != it.appID || len(s.Sent) != len(p.fields) {
		return 0, nil
	}
	left := p.unchanged()
	var first error
	undone := 0
	for n, of := range p.parents {
		v, ok := p.wanted(it.base, it.want, of)
		if !ok {
			continue
		}
		s.Sent[of.field], r.dirtySh = v, true
		others := &state.Reference{Record: s.ID, Name: of.Name}
		if !v.IsNull() {
			others.Key = []byte(v.Text())
		}
		if r.pd == nil && !s.Rejected { // else a newer one, or what is listed, may have one of its own
			if err := u.tx.DeleteOtherReferences(p.id, others); err != nil {
				return 0, err
			}
		}
		for _, t := range it.ties {
			if t.parent != n {
				continue
			}
			link := state.Link{Name: of.Name, To: t.to}
			if t.remove && t.done {
				s.Links = slices.DeleteFunc(slices.Clone(s.Links), func(l state.Link) bool { return l == link })
			} else {
				s.Links = withLink(s.Links, link)
			}
			if !t.done {
				s.Sent[of.field], left[of.field] = change.Of(change.Unchanged, ""), v
				undone++
				if first == nil {
					first = t.err
				}
			}
		}
	}
	if undone == 0 {
		return 0, nil
	}
	return u.tieAgain(r, it, left, first)
}

// tieAgain has associations tried again.
func (u *unit) tieAgain(r *rec, it *item, left []change.Value, err error) (int64, error) {
	var unknown *UnknownError
	var late int64
	if errors.As(err, &unknown) {
		late = u.late()
	}
	if r.pd != nil {
		u.alsoWants(r, left)
		if late > r.pd.Due {
			w := *r.pd
			w.Due = late
			u.putPending(r, &w)
		}
		return r.pd.Due, nil
	}
	var reject *RejectError
	var batch *BatchError
	w := &state.Pending{EventID: it.want.EventID, Time: u.now, Fingerprint: u.p.print, Layout: u.p.layout, Key: r.sh.AppKey, Fields: left, Attempts: it.want.Attempts}
	u.ledger.Taken++ // an event of our own
	switch {
	case errors.Is(err, ErrGone):
		return 0, u.list(r, w, parentGone, errParentGone.Error())
	case errors.As(err, &reject):
		return 0, u.list(r, w, reject.Code, reject.Err.Error())
	case errors.As(err, &batch):
		return 0, u.list(r, w, batch.Code, batch.Err.Error())
	case err != nil:
		w.Error = err.Error()
		w.Attempts++
		w.Due = max(late, u.now+backOff(w.Attempts).Milliseconds())
		var retry *RetryError
		if errors.As(err, &retry) {
			w.Due = max(late, u.now+max(1, retry.After.Milliseconds()))
		}
	}
	u.ready(r, w)
	if r.sh.Key == nil && u.moving(r.sh.ID) {
		u.park(r)
	}
	return w.Due, nil
}

// alsoWants has a newer wanted state name the parents that an older one named, where it says nothing of them itself.
func (u *unit) alsoWants(r *rec, named []change.Value) {
	if r.pd.Want != state.Put {
		return
	}
	w := *r.pd
	w.Layout, w.Fields = u.p.layout, slices.Clone(u.p.remap(w.Layout, w.Fields))
	for _, of := range u.p.parents {
		if w.Fields[of.field].IsUnchanged() {
			w.Fields[of.field] = named[of.field]
		}
	}
	u.putPending(r, &w)
}

// list puts a wanted state into the quarantine; the caller has counted it as taken in and nothing else.
func (u *unit) list(r *rec, w *state.Pending, code, message string) error {
	if r.sh.Rejected { // a newer event of the key is there
		u.ledger.Superseded++
		return nil
	}
	u.ledger.Rejected++
	r.sh.Rejected, r.dirtySh = true, true
	return u.tx.PutQuarantine(u.p.id, &state.Quarantine{Record: r.sh.ID, Key: r.sh.Key, EventID: w.EventID, Partition: r.sh.Partition, Offset: -1, Code: code, Message: message,
		Time: u.now, Fingerprint: w.Fingerprint, Event: w.Event, Layout: w.Layout, Request: w.Fields})
}
