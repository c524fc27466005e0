// Package trial runs the test blocks of a project: rows written in HCL go through the
// compiled pipeline and the sink's own decision, with no database, app or network.
package trial

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// Now is the commit time of a case that names none, so that results do not depend on the day.
var Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Pipeline is what a pipeline's tests run on.
type Pipeline struct {
	Table *change.Table
	Spec  sink.Spec // program and actions
	Whole bool      // as in sink.Limits
}

// Case is one case of a test block, evaluated: ready to run.
type Case struct {
	Test *config.Test
	// Name is the test's, with the key of for_each in brackets.
	Name string

	pipeline *Pipeline
	event    change.Event
	absent   []int // columns that the row lacks and that can't be NULL
	known    sink.Known
	expect   expectation
	ctx      *hcl.EvalContext // for asserts
}

// expectation is an expect block, evaluated.
type expectation struct {
	verdict string // "": not asked for
	fields  map[string]cty.Value
	exact   bool
	reason  *string
	message *string
	key     *string
	match   *string
}

// Result is what came of a case.
type Result struct {
	Case     *Case
	Problems []Problem // none: it passed
	Duration time.Duration
}

// Problem is one difference between what was expected and what came.
type Problem struct {
	What  string // action, field email, reject, key, assert ...
	Want  string // "" for an assert
	Got   string
	Text  string // of an assert, or why a value is not known
	Range hcl.Range
}

func (p *Problem) String() string {
	if p.Text != "" {
		return p.What + ": " + p.Text
	}
	return fmt.Sprintf("%s: want %s, got %s", p.What, p.Want, p.Got)
}

// Prepare evaluates a test block. What is wrong in it is in the diagnostics.
func Prepare(t *config.Test, p *Pipeline, ctx *hcl.EvalContext) ([]*Case, hcl.Diagnostics) {
	if t.ForEach == nil {
		c, diags := prepare(t, t.Name, p, ctx)
		return []*Case{c}, diags
	}
	all, diags := t.ForEach.Value(ctx)
	if diags.HasErrors() {
		return nil, diags
	}
	rng := t.ForEach.Range()
	if all.IsNull() || !all.IsWhollyKnown() || !all.CanIterateElements() {
		return nil, append(diags, config.Errorf("E0501", &rng, "for_each needs a list or an object", `Write a case for each element: for_each = ["", "nobody", null].`))
	}
	var cases []*Case
	for it := all.ElementIterator(); it.Next(); {
		key, value := it.Element()
		label := ""
		switch {
		case all.Type().IsSetType():
			key, label = value, showCty(value)
		case key.Type() == cty.Number:
			label = showCty(value)
		default:
			label = key.AsString()
		}
		child := ctx.NewChild()
		child.Variables = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})}
		c, ds := prepare(t, fmt.Sprintf("%s [%s]", t.Name, label), p, child)
		diags = append(diags, ds...)
		cases = append(cases, c)
	}
	return cases, diags
}

func prepare(t *config.Test, name string, p *Pipeline, ctx *hcl.EvalContext) (*Case, hcl.Diagnostics) {
	c := &Case{Test: t, Name: name, pipeline: p, ctx: ctx}
	g := &given{Case: c, ctx: ctx}
	g.read()
	e := &expected{Case: c, ctx: ctx}
	e.read()
	return c, append(g.diags, e.diags...)
}

// Run runs a case. It never panics on a row.
func (c *Case) Run() Result {
	began := time.Now()
	var made sink.Made
	worker := c.pipeline.Spec.Program.NewWorker()
	worker.Eval(&c.event, &made)
	r := Result{Case: c}
	if made.Outcome == sink.Reselect {
		r.Problems = []Problem{{What: "row", Text: c.missing(made.Message), Range: c.Test.Given.Row.Range()}}
		r.Duration = time.Since(began)
		return r
	}
	lacking := map[string]bool{}
	specs := c.pipeline.Spec.Program.Fields()
	for i, v := range made.Fields {
		if specs[i].Group == sink.ByParent { // a case is about the record itself
			made.Fields[i] = change.Of(change.Unchanged, notGiven)
			continue
		}
		if v.IsUnchanged() && v.Text() == "" && len(c.absent) > 0 {
			lacking[specs[i].Name] = true
			made.Fields[i] = change.Of(change.Unchanged, notGiven)
		}
	}
	d := sink.NewDecider(c.pipeline.Spec, c.pipeline.Whole).Decide(c.event.Op, &made, c.known)
	c.compare(&r, &d, lacking)
	r.Duration = time.Since(began)
	return r
}

// notGiven marks a field as left out on purpose: what it is made of was not given.
const notGiven = "not given"

func (c *Case) missing(message string) string {
	var names []string
	for _, i := range c.absent {
		names = append(names, c.pipeline.Table.Columns[i].Name)
	}
	if len(names) == 0 {
		return message
	}
	return fmt.Sprintf("an expression needs a column that the row lacks and that can't be NULL: give it a value (%s)", strings.Join(names, ", "))
}

// compare says in what a decision is not as it was expected.
func (c *Case) compare(r *Result, d *sink.Decision, lacking map[string]bool) {
	e, x := &c.expect, &c.Test.Expect
	add := func(what, want, got string, at hcl.Expression) {
		r.Problems = append(r.Problems, Problem{What: what, Want: want, Got: got, Range: at.Range()})
	}
	reason := ""
	if d.Verdict == sink.WillReject {
		reason = d.Reason
	}
	switch {
	case e.verdict != "" && !fits(e.verdict, d):
		got := string(d.Verdict)
		if reason != "" {
			got += fmt.Sprintf(" (%s: %s)", reason, d.Message)
		}
		add("action", e.verdict, got, x.Action)
	case e.reason != nil && *e.reason != reason:
		got := reason
		if got == "" {
			got = "no rejection, action " + string(d.Verdict)
		} else if d.Message != "" {
			got += " (" + d.Message + ")"
		}
		want := *e.reason
		if want == "" {
			want = "no rejection"
		}
		add("reject", want, got, x.Reject)
	}
	if e.message != nil && *e.message != d.Message {
		add("message", fmt.Sprintf("%q", *e.message), fmt.Sprintf("%q", d.Message), x.Message)
	}
	if e.key != nil && *e.key != d.Key.Text() {
		add("key", fmt.Sprintf("%q", *e.key), show(d.Key), x.Key)
	}
	if e.match != nil && *e.match != d.Match.Text() {
		add("match", fmt.Sprintf("%q", *e.match), show(d.Match), x.Match)
	}
	if e.fields != nil {
		c.compareFields(r, d, lacking)
	}
	c.assert(r, d)
}

// fits tells whether a verdict is the expected word; a record that is adopted is changed.
func fits(word string, d *sink.Decision) bool {
	return word == string(d.Verdict) || word == "adopt" && d.Verdict == sink.WillChange && d.Adopted
}

func (c *Case) compareFields(r *Result, d *sink.Decision, lacking map[string]bool) {
	at := c.Test.Expect.Fields
	ranges := elementRanges(at, c.ctx)
	written := map[string]change.Value{}
	var order []string
	for _, f := range d.Write {
		if f.Name == c.pipeline.Spec.Program.KeyField() {
			continue // said by key
		}
		written[f.Name] = f.Value
		order = append(order, f.Name)
	}
	for _, name := range sorted(c.expect.fields) {
		want := c.expect.fields[name]
		rng, ok := ranges[name]
		if !ok {
			rng = at.Range()
		}
		got, sent := written[name]
		switch {
		case !sent && lacking[name]:
			r.Problems = append(r.Problems, Problem{What: "field " + name, Text: c.missing(""), Range: rng})
		case !sent:
			r.Problems = append(r.Problems, Problem{What: "field " + name, Want: showCty(want), Got: "not written", Range: rng})
		case !equals(got, want):
			r.Problems = append(r.Problems, Problem{What: "field " + name, Want: showCty(want), Got: show(got), Range: rng})
		}
	}
	if !c.expect.exact {
		return
	}
	for _, name := range order {
		if d.Verdict == sink.WillCreate && written[name].IsNull() {
			continue // a new record has nothing there anyway
		}
		if _, asked := c.expect.fields[name]; !asked {
			r.Problems = append(r.Problems, Problem{What: "field " + name, Want: "not written", Got: show(written[name]), Range: at.Range()})
		}
	}
}

// assert evaluates the conditions of assert blocks over result, and each.
func (c *Case) assert(r *Result, d *sink.Decision) {
	if len(c.Test.Asserts) == 0 {
		return
	}
	fields := map[string]cty.Value{}
	for _, f := range c.pipeline.Spec.Program.Fields() {
		if f.Group != sink.ByParent {
			fields[f.Name] = cty.NullVal(cty.String)
		}
	}
	written := []cty.Value{}
	for _, f := range d.Write {
		fields[f.Name] = ofField(f.Value)
		written = append(written, cty.StringVal(f.Name))
	}
	text := func(v change.Value) cty.Value {
		if v.IsNull() || v.IsUnchanged() {
			return cty.NullVal(cty.String)
		}
		return cty.StringVal(v.Text())
	}
	reason := cty.NullVal(cty.String)
	if d.Verdict == sink.WillReject {
		reason = cty.StringVal(d.Reason)
	}
	ctx := c.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"result": cty.ObjectVal(map[string]cty.Value{
		"action": cty.StringVal(string(d.Verdict)), "adopted": cty.BoolVal(d.Adopted), "reject": reason, "message": cty.StringVal(d.Message),
		"key": text(d.Key), "match": text(d.Match), "fields": cty.ObjectVal(fields), "written": cty.TupleVal(written),
	})}
	for i := range c.Test.Asserts {
		a := &c.Test.Asserts[i]
		rng := a.Condition.Range()
		v, diags := a.Condition.Value(ctx)
		switch {
		case diags.HasErrors():
			r.Problems = append(r.Problems, Problem{What: "assert", Text: diags[0].Summary + ": " + diags[0].Detail, Range: rng})
		case v.Type() != cty.Bool || v.IsNull():
			r.Problems = append(r.Problems, Problem{What: "assert", Text: "the condition is " + v.Type().FriendlyName() + ", not true or false", Range: rng})
		case v.False():
			message := "the condition is false"
			if a.Message != nil {
				if m, diags := a.Message.Value(ctx); !diags.HasErrors() && !m.IsNull() && m.Type() == cty.String {
					message = m.AsString()
				}
			}
			r.Problems = append(r.Problems, Problem{What: "assert", Text: message, Range: rng})
		}
	}
}

// elementRanges are the places of an object's values, where it is written out.
func elementRanges(e hcl.Expression, ctx *hcl.EvalContext) map[string]hcl.Range {
	pairs, diags := hcl.ExprMap(e)
	if diags.HasErrors() {
		return nil
	}
	out := map[string]hcl.Range{}
	for _, p := range pairs {
		if k, diags := p.Key.Value(ctx); !diags.HasErrors() && !k.IsNull() && k.Type() == cty.String {
			out[k.AsString()] = p.Value.Range()
		}
	}
	return out
}

func sorted(m map[string]cty.Value) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// ours is the shadow of a record whose fields were last agreed to be these texts.
func ours(p *Pipeline, key change.Value, base map[string]string, id string) *state.Shadow {
	sh := &state.Shadow{Standing: state.InApp, AppID: id, AppKey: key}
	for i, f := range p.Spec.Program.Fields() {
		sh.Sent = append(sh.Sent, change.Of(change.Unchanged, ""))
		sh.Stored = append(sh.Stored, state.Stored{Field: i, Text: base[f.Name]})
	}
	return sh
}
