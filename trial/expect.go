package trial

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
)

// actions are the words that expect.action takes.
var actions = []string{
	string(sink.WillCreate), string(sink.WillChange), "adopt", string(sink.WillArchive), string(sink.WillDelete), string(sink.WillSet),
	string(sink.WillNothing), string(sink.WillFilter), string(sink.WillReject), string(sink.WillHold),
}

// expected evaluates an expect block.
type expected struct {
	*Case
	ctx   *hcl.EvalContext
	diags hcl.Diagnostics
}

func (e *expected) read() {
	b, out := &e.Test.Expect, &e.Case.expect
	if v, ok := e.value(b.Action, cty.String, "a text"); ok {
		out.verdict = v.AsString()
		if !slices.Contains(actions, out.verdict) {
			hint := ""
			if s := config.Suggest(out.verdict, actions); s != "" {
				hint = fmt.Sprintf("Did you mean %q? ", s)
			}
			e.errorf(b.Action.Range(), fmt.Sprintf("Unknown action %q", out.verdict), fmt.Sprintf("%sIt is one of %s.", hint, strings.Join(actions, ", ")))
		}
	}
	for _, a := range []struct {
		expr hcl.Expression
		into **string
	}{{b.Reject, &out.reason}, {b.Message, &out.message}, {b.Key, &out.key}, {b.Match, &out.match}} {
		if v, ok := e.value(a.expr, cty.String, "a text"); ok {
			s := v.AsString()
			*a.into = &s
		} else if a.expr != nil && len(e.diags) == 0 { // null: none
			*a.into = new(string)
		}
	}
	if v, ok := e.value(b.Exact, cty.Bool, "true or false"); ok {
		out.exact = v.True()
		if b.Fields == nil {
			e.errorf(b.Exact.Range(), "exact without fields", "exact = true says that no other field than those of fields is written.")
		}
	}
	e.fields()
}

// fields reads the fields that are expected to be written.
func (e *expected) fields() {
	b := &e.Test.Expect
	if b.Fields == nil {
		return
	}
	v, diags := b.Fields.Value(e.ctx)
	e.diags = append(e.diags, diags...)
	if diags.HasErrors() {
		return
	}
	if v.IsNull() || !v.IsWhollyKnown() || !v.Type().IsObjectType() && !v.Type().IsMapType() {
		e.errorf(b.Fields.Range(), "fields is not an object", `Write it as { email = "ada@example.com" }.`)
		return
	}
	e.expect.fields = map[string]cty.Value{}
	ranges := elementRanges(b.Fields, e.ctx)
	known := fieldNames(e.pipeline)[1:]
	program := e.pipeline.Spec.Program
	if program.MatchField() != "" {
		known = known[1:]
	}
	for name, value := range v.AsValueMap() {
		rng, ok := ranges[name]
		if !ok {
			rng = b.Fields.Range()
		}
		if !contains(known, name) {
			e.diags = append(e.diags, unknownField(rng, name, known))
			continue
		}
		e.expect.fields[name] = value
	}
}

// value evaluates an attribute; ok is false when it is not there, null or wrong.
func (e *expected) value(expr hcl.Expression, want cty.Type, form string) (cty.Value, bool) {
	if expr == nil {
		return cty.NilVal, false
	}
	v, diags := expr.Value(e.ctx)
	e.diags = append(e.diags, diags...)
	if diags.HasErrors() || v.IsNull() {
		return cty.NilVal, false
	}
	if !v.IsKnown() || v.Type() != want {
		e.errorf(expr.Range(), "Wrong kind of value", fmt.Sprintf("Write %s here, not %s.", form, v.Type().FriendlyName()))
		return cty.NilVal, false
	}
	return v, true
}

func (e *expected) errorf(rng hcl.Range, summary, detail string) {
	e.diags = append(e.diags, config.Errorf("E0501", &rng, summary, detail))
}
