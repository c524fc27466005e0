package hubspot

import (
	"strconv"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// write is one transaction on a type's records, under app.mu: either a whole batch or
// one input of a batch whose inputs stand alone.
type write struct {
	a       *app
	t       *objectType
	at      time.Time
	person  bool // by hand
	done    []step
	changes []simulator.Change
}

// step is what one change replaced, for taking it back.
type step struct {
	r       *record
	before  *version
	older   []*version
	created bool
}

func (a *app) begin(t *objectType) *write {
	return &write{a: a, t: t, at: a.env.Now()}
}

// commit makes the changes known. rollback takes them back, unless committed.
func (w *write) commit() {
	for _, c := range w.changes {
		w.a.env.Record(c)
	}
	w.done, w.changes = nil, nil
}

func (w *write) rollback() {
	t := w.t
	for i := len(w.done) - 1; i >= 0; i-- {
		s := w.done[i]
		t.unlink(s.r)
		if s.created {
			delete(t.byID, s.r.id)
			t.ordered = t.ordered[:len(t.ordered)-1] // ids only grow, so it is the last
			t.next = s.r.id
			continue
		}
		s.r.now, s.r.older = s.before, s.older
		if s.r.live() {
			t.link(s.r)
		}
	}
	w.done, w.changes = nil, nil
}

func (w *write) note(r *record, action string, fields []simulator.Field) {
	w.changes = append(w.changes, simulator.Change{
		Time: w.at, Object: w.t.name, ID: strconv.FormatUint(r.id, 10), Action: action, Fields: fields, ByPerson: w.person,
	})
}

// create makes a record of sorted fields.
func (w *write) create(fields []simulator.Field) (*record, *apiError) {
	all, _ := merged(nil, fields)
	defs := w.t.defs.Load()
	for i := range all { // nothing there yet to add to
		if defs.byName[all[i].Name].FieldType == "checkbox" {
			all[i].Value = strings.TrimPrefix(all[i].Value, ";")
		}
	}
	if e := w.t.missing(all); e != nil {
		return nil, e
	}
	if e := w.free(nil, all); e != nil {
		return nil, e
	}
	r := &record{id: w.t.next, created: w.at.UnixNano(), now: &version{fields: all, at: w.at.UnixNano()}}
	w.t.insert(r)
	w.done = append(w.done, step{r: r, created: true})
	w.note(r, "create", all)
	return r, nil
}

// update changes a record; byPerson is not held to the rule of lifecycle stages.
func (w *write) update(r *record, fields []simulator.Field, byPerson bool) *apiError {
	fields = w.effective(r, fields, byPerson)
	all, changed := merged(r.now.fields, fields)
	if len(changed) > 0 && len(w.t.required) > 0 { // one cannot be cleared either (assumed)
		if e := w.t.missing(all); e != nil && w.t.missing(r.now.fields) == nil {
			return e
		}
	}
	if e := w.free(r, changed); e != nil {
		return e
	}
	w.put(r, &version{fields: all, at: w.at.UnixNano()})
	w.note(r, "update", changed)
	return nil
}

// effective resolves values that depend on what the record has: values added to
// checkboxes (one semicolon in front), and lifecycle stages, which only
// move forward unless cleared first in a request of their own; a step back is
// accepted and ignored (integrate.hubspot.com/t/update-lifecycle-stage-using-api/1333).
func (w *write) effective(r *record, fields []simulator.Field, byPerson bool) []simulator.Field {
	defs := w.t.defs.Load()
	out := fields
	copied := false
	for i := 0; i < len(out); i++ {
		f := out[i]
		adds := len(f.Value) > 1 && f.Value[0] == ';' && defs.byName[f.Name].FieldType == "checkbox"
		back := f.Name == "lifecyclestage" && f.Value != "" && !byPerson && w.backward(defs, r, f.Value)
		if !adds && !back {
			continue
		}
		if !copied {
			out, copied = append([]simulator.Field(nil), out...), true
		}
		if back {
			out = append(out[:i], out[i+1:]...)
			i--
			continue
		}
		out[i].Value = union(value(r.now.fields, f.Name), f.Value[1:])
	}
	return out
}

func (w *write) backward(defs *properties, r *record, to string) bool {
	d := defs.byName["lifecyclestage"]
	from := value(r.now.fields, "lifecyclestage")
	return d != nil && from != "" && d.rank[to] < d.rank[from]
}

func union(have, more string) string {
	if have == "" {
		return more
	}
	all := strings.Split(have, ";")
	for v := range strings.SplitSeq(more, ";") {
		if !contains(all, v) {
			all = append(all, v)
		}
	}
	return strings.Join(all, ";")
}

func contains(list []string, v string) bool {
	for _, have := range list {
		if have == v {
			return true
		}
	}
	return false
}

// free refuses values of unique properties that another live record has. Archived
// records do not count: a contact can be made anew with the address of one in the
// recycle bin, which then cannot be restored ([restore]).
func (w *write) free(r *record, fields []simulator.Field) *apiError {
	for _, name := range w.t.defs.Load().unique {
		v := value(fields, name)
		if v == "" {
			continue
		}
		if name == "email" && w.t.blocked[v] {
			return invalid([]problem{{name, "INVALID_EMAIL", "Email address was deleted under GDPR and cannot be used"}})
		}
		other := w.t.index[name][v]
		if other == nil || other == r {
			continue
		}
		if name == w.t.identifier {
			return exists(w.t, other.id)
		}
		id := w.t.next
		if r != nil {
			id = r.id
		}
		return taken(w.a, w.t, name, v, id, other.id)
	}
	return nil
}

func (w *write) put(r *record, v *version) {
	w.done = append(w.done, step{r: r, before: r.now, older: r.older})
	w.t.put(r, v, w.a.searchLag)
}

// archive moves a record to the recycle bin.
func (w *write) archive(r *record) {
	w.put(r, &version{fields: r.now.fields, at: w.at.UnixNano(), archived: true})
	w.note(r, "archive", nil)
}

// restore takes a record out of the recycle bin, unless another has its address ([restore]).
func (w *write) restore(r *record) *apiError {
	if e := w.free(r, r.now.fields); e != nil {
		return e
	}
	w.put(r, &version{fields: r.now.fields, at: w.at.UnixNano()})
	w.note(r, "restore", nil)
	return nil
}

// erase deletes a record for good. It cannot be rolled back.
func (w *write) erase(r *record) {
	w.t.unlink(r)
	w.a.inherit(end{w.t, r.id}, end{})
	r.erased = true
	r.now, r.older = &version{at: w.at.UnixNano(), archived: true}, nil
	w.t.gone++
	w.note(r, "erase", nil)
}

// merge joins loser into winner: the winner's values stay, its gaps are filled, the
// loser's addresses become further ones, and its id finds the winner from now on
// (hs_merged_object_ids; assumed). It cannot be rolled back.
func (w *write) merge(winner, loser *record) {
	t := w.t
	t.unlink(loser)
	w.a.inherit(end{t, loser.id}, end{t, winner.id})
	lost := loser.now.fields
	loser.into = winner
	t.gone++

	var fill []simulator.Field
	for _, f := range lost {
		if value(winner.now.fields, f.Name) == "" && f.Name != "hs_additional_emails" && f.Name != "hs_merged_object_ids" {
			fill = append(fill, f)
		}
	}
	set := func(name, v string) {
		if v != "" {
			fill = append(fill, simulator.Field{Name: name, Value: v})
		}
	}
	join := func(values ...string) string {
		all := ""
		for _, v := range values {
			if v != "" {
				all = union(all, v)
			}
		}
		return all
	}
	if t.identifier == "email" {
		first := value(winner.now.fields, "email")
		second := ""
		if first != "" {
			second = value(lost, "email")
		}
		set("hs_additional_emails", join(value(winner.now.fields, "hs_additional_emails"), second, value(lost, "hs_additional_emails")))
	}
	set("hs_merged_object_ids", join(value(winner.now.fields, "hs_merged_object_ids"), strconv.FormatUint(loser.id, 10), value(lost, "hs_merged_object_ids")))
	in := input{fields: fill}
	in.sort()
	all, changed := merged(winner.now.fields, in.fields)
	t.put(winner, &version{fields: all, at: w.at.UnixNano()}, w.a.searchLag)
	w.note(loser, "merge", nil)
	w.changes[len(w.changes)-1].Into = strconv.FormatUint(winner.id, 10)
	w.note(winner, "update", changed)
}
