package sink

import (
	"errors"
	"slices"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// Verdict is what becomes of a row, in the words of tests and plans.
type Verdict string

// The verdicts.
const (
	WillCreate  Verdict = "create"
	WillChange  Verdict = "change" // a record of ours, or one that is adopted
	WillArchive Verdict = "archive"
	WillDelete  Verdict = "delete"
	WillSet     Verdict = "set" // it stays, and the fields of `action = "set"` are written
	WillReject  Verdict = "reject"
	WillFilter  Verdict = "filter" // `where` is not true, and nothing has to be taken away
	WillHold    Verdict = "hold"   // the record was removed in the app: a person decides
	WillNothing Verdict = "none"   // the app has it already, or is to have nothing
)

// Decision is a verdict with what would be sent.
type Decision struct {
	Verdict Verdict
	Adopted bool   // the record was there before us, and was found by match
	Reason  string // of a rejection
	Message string
	Key     change.Value
	Match   change.Value
	// Write are the fields that the call would set; the key is among them only where it changes.
	Write []Field
}

// Known is what is known of a row's record before the row is decided about.
type Known struct {
	Shadow *state.Shadow // nil: none of ours; its Layout is 0, its values are aligned with the program's fields
	App    *Record       // the record in the app that has its key or match; nil: not known, or there is none
	Gone   bool          // our record was removed in the app by others
}

// Decider works out what a pipeline would do about a row, by the rules of intake and
// dispatch, with no state and no app. It belongs to one goroutine.
type Decider struct{ p *Pipeline }

// NewDecider makes the decider of a pipeline; of the spec it uses the program and the
// actions. Whole is as in Limits.
func NewDecider(spec Spec, whole bool) *Decider {
	p := &Pipeline{spec: spec, fields: spec.Program.Fields(), whole: whole, print: spec.Program.Fingerprint()}
	names := make([]string, len(p.fields))
	for i, f := range p.fields {
		names[i] = f.Name
	}
	p.layouts = [][]string{names}
	return &Decider{p}
}

// Align brings a shadow of the state, which has one of the pipeline's layouts, to the form that Known has.
func (d *Decider) Align(s *state.Shadow, layouts [][]string) {
	all := append(slices.Clone(layouts), d.p.layouts[0])
	p := &Pipeline{spec: d.p.spec, fields: d.p.fields, layouts: all, layout: len(layouts)}
	if s.Layout < len(layouts) {
		p.present(s)
	} else {
		s.Sent, s.Stored = nil, nil
	}
	s.Layout = 0
}

// Matches says by which value of the match field the app's record of a row is found, "" for none, and tells of a record
// that has it whether it has the other values of match too.
func (d *Decider) Matches(m *Made) (value string, has func(Record) bool) {
	if d.p.spec.Program.MatchField() == "" || m.Match.Text() == "" {
		return "", nil
	}
	it := &item{want: &state.Pending{Match: m.Match}}
	value = d.p.matchOf(it)[0]
	return value, func(r Record) bool {
		return !r.Archived && sameText(r.Fields[d.p.spec.Program.MatchField()], value) && d.p.matches(it, r)
	}
}

// Fills are the fields of which an app's record must be known: those that are filled where they are empty.
func (d *Decider) Fills() []string { return d.p.names(Fill) }

// Decide says what would become of a row.
func (d *Decider) Decide(op change.Op, m *Made, known Known) Decision {
	p, sh := d.p, known.Shadow
	if sh == nil {
		sh = &state.Shadow{}
	}
	inApp := sh.Standing == state.InApp
	switch {
	case sh.Standing == state.Forgotten:
		return Decision{Verdict: WillNothing, Key: m.Key, Match: m.Match}
	case op == change.Delete:
		return p.removalOf(p.spec.OnDelete, state.ByRow, sh, known.Gone, WillNothing)
	case m.Outcome == Filtered:
		return p.removalOf(p.spec.OnLeave, state.ByLeave, sh, known.Gone, WillFilter)
	case m.Outcome == Rejected:
		return Decision{Verdict: WillReject, Reason: m.Reason, Message: m.Message}
	case m.Outcome == Reselect:
		return Decision{Verdict: WillReject, Reason: "needs_reselect", Message: m.Message}
	}
	t := &taken{appKey: m.Key, match: m.Match, fields: m.Fields}
	out := Decision{Verdict: WillNothing, Key: m.Key, Match: m.Match}
	if !inApp && t.lacks(&rec{sh: sh}) {
		return Decision{Verdict: WillReject, Reason: "needs_reselect", Message: "the database left out a value that did not change, and the app has no record that has it"}
	}
	if inApp && !p.differs(sh, m.Key, m.Fields) {
		return out
	}
	it := &item{want: &state.Pending{Want: state.Put, Key: m.Key, Match: m.Match, Fields: m.Fields}, base: sh, sh: sh}
	switch {
	case inApp && known.Gone:
		return d.gone(it, out)
	case inApp:
		it.appID = sh.AppID
		if known.App != nil {
			it.result.Stored = stored(*known.App)
		}
	case known.App != nil:
		if err := d.adopts(it, known.App); err != nil {
			out.Verdict, out.Reason, out.Message = WillReject, "conflict", err.Error()
			return out
		}
		out.Adopted = it.adopt
	}
	if !it.plan(p) {
		if inApp && p.refersAnew(sh, m.Fields) {
			out.Verdict = WillChange
		}
		return out
	}
	out.Write = it.write
	out.Verdict = WillChange
	if it.action == Upsert && (known.App == nil || known.App.Fields[p.spec.Program.KeyField()] != m.Key.Text()) {
		out.Verdict = WillCreate
	}
	return out
}

// removalOf is what becomes of a row that the app is not to have any more.
func (p *Pipeline) removalOf(action string, cause state.Cause, sh *state.Shadow, gone bool, otherwise Verdict) Decision {
	want := wantOf(action, cause)
	switch {
	case sh.Standing != state.InApp || gone || action == "ignore" || want.Sets() && p.hasSet(sh, want):
		return Decision{Verdict: otherwise}
	case want.Sets():
		return Decision{Verdict: WillSet, Write: p.setFields(want)}
	case action == "delete":
		return Decision{Verdict: WillDelete}
	}
	return Decision{Verdict: WillArchive}
}

// gone is what becomes of a record that others have removed in the app, when there is
// something to write to it.
func (d *Decider) gone(it *item, out Decision) Decision {
	it.appID = it.base.AppID
	if !it.plan(d.p) {
		return out
	}
	switch d.p.spec.OnAppDelete {
	case "forget":
		return out
	case "recreate":
		anew := &item{want: it.want, base: &state.Shadow{}, sh: &state.Shadow{}}
		if anew.plan(d.p) {
			out.Verdict, out.Write = WillCreate, anew.write
		}
		return out
	}
	out.Verdict = WillHold
	return out
}

// adopts takes over a record that has the row's match and no key, or nobody's; one that
// has the row's key is found by the upsert itself.
func (d *Decider) adopts(it *item, r *Record) error {
	program := d.p.spec.Program
	key := r.Fields[program.KeyField()]
	if key == it.want.Key.Text() {
		return nil
	}
	if field := program.MatchField(); field == "" || it.want.Match.Text() == "" || !sameText(r.Fields[field], d.p.matchOf(it)[0]) || !d.p.matches(it, *r) {
		return nil // it is not the row's
	}
	if key != "" {
		return errors.New("the app's record with this match value belongs to another key")
	}
	it.appID, it.adopt = r.ID, true
	it.result.Stored = stored(*r)
	return nil
}

// refersAnew tells whether a row has other parents than the app's record is associated with.
func (p *Pipeline) refersAnew(s *state.Shadow, fields []change.Value) bool {
	for i, v := range fields {
		if p.fields[i].Group == ByParent && !same(s, i, v) {
			return true
		}
	}
	return false
}

// Removes tells whether a verdict counts for the guard of deletes.
func (v Verdict) Removes() bool { return v == WillArchive || v == WillDelete || v == WillSet }
