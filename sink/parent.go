package sink

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// A record names its parents, records of other pipelines of the same app, by their source keys. These are fields of the
// group ByParent, so that they are coalesced, compared and kept as all others are; what is sent for one is not a field but an
// association with the record that the app has for the parent. The app's id of that one is found when a record is about to
// go out, in the parent's shadow. The state has a reference for each parent that a record names, by which a change of the
// parent finds the records that wait for it, or have an association with the record that it had before.

// Parent says of which pipeline the records are that a field of the group ByParent names.
type Parent struct {
	Name     string // of the parent block
	Field    string // the FieldSpec's name
	Pipeline string
	Kind     string // of association, in the app's words; "": its default
	// Required: a record is not sent without it, and is listed when the parent has not come within Wait.
	Required bool
	Wait     time.Duration
}

// parent is a Parent of a pipeline that runs.
type parent struct {
	Parent
	field int // index of Field
	of    *Pipeline
}

// codes of the quarantine for a parent that never came, and for one that the app says it has lost.
const (
	parentMissing = "parent_missing"
	parentGone    = "parent_gone"
)

// connect finds the pipelines of the parents.
func (e *Engine) connect() error {
	for _, p := range e.order {
		for _, spec := range p.spec.Parents {
			of := e.pipelines[spec.Pipeline]
			field := slices.IndexFunc(p.fields, func(f FieldSpec) bool { return f.Group == ByParent && f.Name == spec.Field })
			switch {
			case of == nil:
				return fmt.Errorf("open pipeline %s: parent %s: there is no pipeline %q", p.spec.Name, spec.Name, spec.Pipeline)
			case of.d != p.d || of == p:
				return fmt.Errorf("open pipeline %s: parent %s: pipeline %s is not another one of the same app", p.spec.Name, spec.Name, spec.Pipeline)
			case field < 0:
				return fmt.Errorf("open pipeline %s: parent %s: the program has no field %q", p.spec.Name, spec.Name, spec.Field)
			}
			if _, ok := p.d.app.(Associator); !ok {
				return fmt.Errorf("open pipeline %s: parent %s: app %s can't associate records", p.spec.Name, spec.Name, p.d.name)
			}
			p.parents = append(p.parents, &parent{spec, field, of})
			if !slices.Contains(of.children, p) {
				of.children = append(of.children, p)
			}
		}
		p.arrived.Store(len(p.parents) > 0)
	}
	return nil
}

// identity is which app's record a key has, "" for none.
type identity struct{ key, appID string }

func identityOf(s *state.Shadow) identity {
	id := identity{key: string(s.Key)}
	if s.Standing == state.InApp {
		id.appID = s.AppID
	}
	return id
}

// mark has the children of a record look at it again when the app has another record for its key than before, or none
// is to be expected.
func (u *unit) mark(r *rec) error {
	if len(u.p.children) == 0 || r.gone || r.sh.Key == nil {
		return nil
	}
	now := identityOf(r.sh)
	arrived := now.appID != "" && now != r.was
	if lost := now.appID == "" && hopeless(r.sh) && (r.state() != r.before || now.key != r.was.key); !arrived && !lost {
		return nil
	}
	n, err := u.tx.MarkReferences(u.p.id, r.sh.Key)
	u.marked = u.marked || n > 0
	return err
}

// hopeless tells whether a record is not about to get into the app.
func hopeless(s *state.Shadow) bool {
	return s.Standing != state.InApp && (s.Rejected || s.Deleted || s.Excluded || s.Standing != state.New)
}

// wanted returns what a wanted state says of a parent, and whether something is to be done about it: the key, or null
// for none.
func (p *Pipeline) wanted(s *state.Shadow, w *state.Pending, of *parent) (change.Value, bool) {
	if w.Want != state.Put {
		return change.Value{}, false
	}
	v := p.remap(w.Layout, w.Fields)[of.field]
	settled := s.Standing == state.InApp && !w.Unknown && of.field < len(s.Sent) && s.Sent[of.field] == v
	return v, !v.IsUnchanged() && !settled
}

// resolve finds the app's records of the parents of what is about to go out. What must wait for one is put aside.
func (u *unit) resolve(recs []*rec) ([]*rec, error) {
	if len(u.p.parents) == 0 {
		return recs, nil
	}
	found := make([]map[string]*state.Shadow, len(u.p.parents))
	for n, of := range u.p.parents {
		var keys [][]byte
		for _, r := range recs {
			if v, ok := u.p.wanted(r.sh, r.pd, of); ok && !v.IsNull() {
				keys = append(keys, []byte(v.Text()))
			}
		}
		var err error
		if found[n], err = u.parents(of, keys); err != nil {
			return nil, err
		}
	}
	var going []*rec
	for _, r := range recs {
		waits, err := u.refer(r, found)
		if err != nil {
			return nil, err
		}
		if !waits {
			going = append(going, r)
		}
	}
	return going, nil
}

// parents reads parents' shadows by source key.
func (u *unit) parents(of *parent, keys [][]byte) (map[string]*state.Shadow, error) {
	found := map[string]*state.Shadow{}
	if len(keys) == 0 {
		return found, nil
	}
	return found, u.tx.Shadows(of.of.id, keys, func(s *state.Shadow) error {
		found[string(s.Key)] = s
		return nil
	})
}

// refer notes which parents a wanted state has, and in it their records in the app. True: it waits for one.
func (u *unit) refer(r *rec, found []map[string]*state.Shadow) (waits bool, err error) {
	w := *r.pd
	w.Links = nil
	for n, of := range u.p.parents {
		v, ok := u.p.wanted(r.sh, &w, of)
		if !ok {
			continue
		}
		if err := u.identify(r); err != nil {
			return false, err
		}
		if v.IsNull() {
			continue
		}
		ref := &state.Reference{Record: r.sh.ID, Name: of.Name, Parent: of.of.id, Key: []byte(v.Text()), Due: state.Settled}
		switch s := found[n][v.Text()]; {
		case s != nil && s.Standing == state.InApp:
			w.Links = append(w.Links, state.Link{Name: of.Name, To: s.AppID})
		case !of.Required || w.Unknown: // what was sent with no answer is settled first
		default:
			waits = true
			ref.Due = u.now + of.Wait.Milliseconds()
			if s != nil && hopeless(s) {
				ref.Due = u.now
			}
		}
		if err := u.tx.PutReference(u.p.id, ref); err != nil {
			return false, err
		}
	}
	if !waits {
		r.pd = &w
		return false, nil
	}
	w.Links, w.Error = nil, "it waits for its parent"
	*u.place(w.Queue)--
	w.Queue = state.Waiting
	u.ledger.Waiting++
	u.putPending(r, &w)
	u.p.arrived.Store(true) // when the first is due is another time now
	u.parked = true
	return true, nil
}

// named returns the key that a record names as a parent, as far as it is known: by what is wanted of it, else by what it is
// associated with.
func (p *Pipeline) named(r *rec, of *parent) change.Value {
	if r.pd != nil && r.pd.Want == state.Put {
		if v := p.remap(r.pd.Layout, r.pd.Fields)[of.field]; !v.IsUnchanged() {
			return v
		}
	}
	if of.field < len(r.sh.Sent) {
		return r.sh.Sent[of.field]
	}
	return change.Of(change.Unchanged, "")
}

// linkTo returns the app's id in the link to a parent, "" for none.
func linkTo(all []state.Link, name string) string {
	for _, l := range all {
		if l.Name == name {
			return l.To
		}
	}
	return ""
}

// withLink returns links with one more, without those that are there twice.
func withLink(all []state.Link, l state.Link) []state.Link {
	if slices.Contains(all, l) {
		return all
	}
	return append(slices.Clip(all), l)
}

// mayHaveLinks notes associations that may have been made.
func (r *rec) mayHaveLinks(all []state.Link) {
	for _, l := range all {
		if links := withLink(r.sh.Links, l); len(links) > len(r.sh.Links) {
			r.sh.Links, r.dirtySh = links, true
		}
	}
}

// parentError says that a record is listed since its parent is not there.
func parentError(of *parent, s *state.Shadow) (code, message string) {
	why := fmt.Sprintf("has not come within %s", of.Wait)
	if s != nil && hopeless(s) {
		why = "was refused, or is not to be in the app"
	}
	return parentMissing, fmt.Sprintf("its parent %s (pipeline %s) %s; it is sent as soon as the parent is there", of.Name, of.Pipeline, why)
}

var errParentGone = errors.New("the app has lost the record or its parent's; it is associated as soon as the parent has another one")
