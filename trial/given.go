package trial

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
)

// given makes an event, and what is known of its record, of a given block.
type given struct {
	*Case
	ctx   *hcl.EvalContext
	block *config.Given
	diags hcl.Diagnostics
}

func (g *given) errorf(rng hcl.Range, summary, detail string, args ...any) {
	g.diags = append(g.diags, config.Errorf("E0501", &rng, summary, fmt.Sprintf(detail, args...)))
}

// optional is the expression of an attribute that may be left out, also by null; nil: it
// is. App's null says something, where there is a base: see record.
func (g *given) optional(expr hcl.Expression) hcl.Expression {
	if expr == nil {
		return nil
	}
	if v, diags := expr.Value(g.ctx); !diags.HasErrors() && v.IsNull() {
		return nil
	}
	return expr
}

func (g *given) read() {
	b := g.Test.Given
	b.Op, b.Old, b.Base, b.Now = g.optional(b.Op), g.optional(b.Old), g.optional(b.Base), g.optional(b.Now)
	g.block = &b
	t := g.pipeline.Table
	e := &g.event
	e.Table, e.CommitTime = t, Now
	if v, ok := g.text(b.Now, "now"); ok {
		at, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			g.errorf(b.Now.Range(), "now is no moment", "%q is the commit time of the row: write it like \"2026-03-04T13:14:15Z\".", v)
		}
		e.CommitTime = at
	}
	e.Op = g.op()
	row := g.row(b.Row, "row", e.Op == change.Delete)
	if e.Op == change.Delete {
		e.Before = row
	} else {
		e.After = row
	}
	if b.Old != nil {
		switch {
		case e.Op != change.Update:
			g.errorf(b.Old.Range(), "No former row here", "old is the row before an update; op is %s.", e.Op)
		case !t.FullBefore:
			g.errorf(b.Old.Range(), "No former row here", "Table %s sends only the key of former rows, so penstock never has old. Postgres: ALTER TABLE %s REPLICA IDENTITY FULL.", t.QualifiedName(), t.QualifiedName())
		default:
			e.Before = g.row(b.Old, "old", false)
		}
	}
	if row != nil && !g.diags.HasErrors() {
		g.record()
	}
}

// ops are the words for op, with the letters that the stream has.
var ops = map[string]change.Op{
	"create": change.Create, "c": change.Create, "update": change.Update, "u": change.Update,
	"delete": change.Delete, "d": change.Delete, "read": change.Read, "r": change.Read,
}

func (g *given) op() change.Op {
	b := g.block
	word, ok := g.text(b.Op, "op")
	switch {
	case !ok && (b.Old != nil || b.Base != nil):
		return change.Update
	case !ok:
		return change.Create
	case ops[word] == 0:
		hint := ""
		if s := config.Suggest(word, []string{"create", "update", "delete", "read"}); s != "" {
			hint = fmt.Sprintf("Did you mean %q? ", s)
		}
		g.errorf(b.Op.Range(), fmt.Sprintf("Unknown op %q", word), "%sIt is \"create\", \"update\", \"delete\" or \"read\" (a row that a snapshot found).", hint)
		return change.Create
	}
	return ops[word]
}

// text evaluates an attribute that is a text; ok is false when it is not there.
func (g *given) text(expr hcl.Expression, name string) (string, bool) {
	if expr == nil {
		return "", false
	}
	v, diags := expr.Value(g.ctx)
	if diags.HasErrors() {
		g.diags = append(g.diags, diags...)
		return "", false
	}
	if v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
		g.errorf(expr.Range(), fmt.Sprintf("%s is not a text", name), "Write it as a text.")
		return "", false
	}
	return v.AsString(), true
}

// object evaluates an attribute that is an object; nil when it is not.
func (g *given) object(expr hcl.Expression, name, example string) map[string]cty.Value {
	v, diags := expr.Value(g.ctx)
	g.diags = append(g.diags, diags...)
	if diags.HasErrors() {
		return nil
	}
	if v.IsNull() || !v.IsKnown() || !v.Type().IsObjectType() && !v.Type().IsMapType() {
		g.errorf(expr.Range(), fmt.Sprintf("%s is not an object", name), "Write it as %s.", example)
		return nil
	}
	out := v.AsValueMap()
	if out == nil {
		out = map[string]cty.Value{}
	}
	return out
}

// row makes a row. A column that is not given is NULL; one that can't be NULL counts as
// not sent, so that whatever needs it says so.
func (g *given) row(expr hcl.Expression, name string, former bool) change.Row {
	t := g.pipeline.Table
	values := g.object(expr, name, "{ id = 1 }")
	if values == nil {
		return nil
	}
	ranges := elementRanges(expr, g.ctx)
	at := func(column string) hcl.Range {
		if rng, ok := ranges[column]; ok {
			return rng
		}
		return expr.Range()
	}
	var columns []string
	for i := range t.Columns {
		columns = append(columns, t.Columns[i].Name)
	}
	for _, column := range sorted(values) {
		if t.Column(column) >= 0 {
			continue
		}
		hint := ""
		if s := config.Suggest(column, columns); s != "" {
			hint = fmt.Sprintf(" Did you mean %q?", s)
		}
		g.diags = append(g.diags, config.Errorf("E0302", at(column).Ptr(), "Unknown column", fmt.Sprintf("Table %s has no column %q.%s", t.QualifiedName(), column, hint)))
	}
	row := make(change.Row, len(t.Columns))
	for i := range t.Columns {
		c := &t.Columns[i]
		v, ok := values[c.Name]
		switch {
		case !ok && !c.Nullable && !former:
			row[i] = change.Of(change.Unchanged, "")
			g.absent = append(g.absent, i)
		case ok:
			value, err := columnValue(c, v)
			if err != nil {
				message := err.Error()
				g.errorf(at(c.Name), "Value does not fit the column", "%s.", strings.ToUpper(message[:1])+message[1:])
			}
			row[i] = value
		}
	}
	return row
}

// record says what is known of the row's record: base is what was last agreed of one that
// is ours, app what the app has.
func (g *given) record() {
	b := g.block
	var base, app map[string]string
	if b.Base != nil {
		base = g.fields(b.Base, "base")
	}
	gone := false
	if b.App != nil {
		if v, diags := b.App.Value(g.ctx); !diags.HasErrors() && v.IsNull() {
			gone = base != nil // null: the app has no such record
		} else {
			app = g.fields(b.App, "app")
		}
	}
	if g.diags.HasErrors() {
		return
	}
	const id = "1"
	if base != nil {
		var key change.Value
		if own, ok := base[g.pipeline.Spec.Program.KeyField()]; ok {
			key = change.OfString(own)
		} else {
			key = g.key()
		}
		g.known.Shadow, g.known.Gone = ours(g.pipeline, key, base, id), gone
	}
	if app == nil {
		app = base
	} else if base == nil {
		// A record that was there before us: found by what it names of key and match, else it is the row's.
		program := g.pipeline.Spec.Program
		_, byKey := app[program.KeyField()]
		_, byMatch := app[program.MatchField()]
		if !byKey && (program.MatchField() == "" || !byMatch) {
			if program.MatchField() != "" {
				app[program.MatchField()] = g.matchText()
			} else {
				app[program.KeyField()] = g.key().Text()
			}
		}
	}
	if app != nil {
		g.known.App = &sink.Record{ID: id, Fields: app}
	}
}

// made computes the row, for its key and match.
func (g *given) made() sink.Made {
	var m sink.Made
	e := g.event
	if e.Op == change.Delete { // its key is that of the row as it was
		e.Op, e.After = change.Create, e.Before
	}
	g.pipeline.Spec.Program.NewWorker().Eval(&e, &m)
	return m
}

func (g *given) key() change.Value { return g.made().Key }
func (g *given) matchText() string { return g.made().Match.Text() }

// fields are the texts of an app's record, by field; others than the pipeline's are refused.
func (g *given) fields(expr hcl.Expression, name string) map[string]string {
	values := g.object(expr, name, `{ email = "ada@example.com" }`)
	if values == nil {
		return nil
	}
	ranges := elementRanges(expr, g.ctx)
	known := fieldNames(g.pipeline)
	out := map[string]string{}
	for _, field := range sorted(values) {
		rng, ok := ranges[field]
		if !ok {
			rng = expr.Range()
		}
		if !contains(known, field) {
			g.diags = append(g.diags, unknownField(rng, field, known))
			continue
		}
		text, err := fieldText(values[field])
		if err != nil {
			g.errorf(rng, "Value can't be an app's", "%s.", err)
		}
		out[field] = text
	}
	return out
}

// fieldNames are the app's fields that a pipeline is about.
func fieldNames(p *Pipeline) []string {
	names := []string{p.Spec.Program.KeyField()}
	if m := p.Spec.Program.MatchField(); m != "" {
		names = append(names, m)
	}
	for _, f := range p.Spec.Program.Fields() {
		if f.Group != sink.ByParent {
			names = append(names, f.Name)
		}
	}
	return names
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

func unknownField(rng hcl.Range, field string, known []string) *hcl.Diagnostic {
	hint := "It has " + strings.Join(known, ", ") + "."
	if s := config.Suggest(field, known); s != "" {
		hint = fmt.Sprintf("Did you mean %q?", s)
	}
	return config.Errorf("E0502", &rng, "Field is not the pipeline's", fmt.Sprintf("The pipeline has no field %q. %s", field, hint))
}
