package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty/function"
)

// Test is one test block, decoded and not evaluated: its expressions may use each, and in
// asserts result and given.
type Test struct {
	Pipeline, Name string
	PipelineRange  hcl.Range      // of the label that names the pipeline
	ForEach        hcl.Expression // nil: one case
	Given          Given
	Expect         Expect
	Asserts        []Assert
	Range          hcl.Range
}

// Given is what a case begins with; expressions that are not there are nil.
type Given struct {
	Op, Row, Old   hcl.Expression
	Base, App, Now hcl.Expression
	Range          hcl.Range
}

// Expect is what is to come of it; expressions that are not there are nil.
type Expect struct {
	Action, Fields, Exact hcl.Expression
	Reject, Message       hcl.Expression
	Key, Match            hcl.Expression
	Range                 hcl.Range
}

// Assert is a condition of its own.
type Assert struct {
	Condition, Message hcl.Expression // Message may be nil
	Range              hcl.Range
}

var testSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "for_each"}},
	Blocks:     []hcl.BlockHeaderSchema{{Type: "given"}, {Type: "expect"}, {Type: "assert"}},
}

func decodeTest(block *hcl.Block) (*Test, hcl.Diagnostics) {
	t := &Test{Pipeline: block.Labels[0], Name: block.Labels[1], PipelineRange: block.LabelRanges[0], Range: block.DefRange}
	content, diags := block.Body.Content(testSchema)
	if a := content.Attributes["for_each"]; a != nil {
		t.ForEach = a.Expr
	}
	seen := map[string]hcl.Range{}
	for _, b := range content.Blocks {
		if first, twice := seen[b.Type]; twice && b.Type != "assert" {
			diags = append(diags, Errorf("E0105", b.DefRange.Ptr(), fmt.Sprintf("Second block: %s", b.Type), "Put both into one.", Place{first, "the first is here"}))
			continue
		}
		seen[b.Type] = b.DefRange
		switch b.Type {
		case "given":
			g := &t.Given
			g.Range = b.DefRange
			diags = append(diags, expressions(b, map[string]*hcl.Expression{"op": &g.Op, "row": &g.Row, "old": &g.Old, "base": &g.Base, "app": &g.App, "now": &g.Now}, "row")...)
		case "expect":
			e := &t.Expect
			e.Range = b.DefRange
			diags = append(diags, expressions(b, map[string]*hcl.Expression{
				"action": &e.Action, "fields": &e.Fields, "exact": &e.Exact, "reject": &e.Reject, "message": &e.Message, "key": &e.Key, "match": &e.Match,
			}, "")...)
		case "assert":
			a := Assert{Range: b.DefRange}
			diags = append(diags, expressions(b, map[string]*hcl.Expression{"condition": &a.Condition, "message": &a.Message}, "condition")...)
			t.Asserts = append(t.Asserts, a)
		}
	}
	switch {
	case seen["given"] == hcl.Range{} && !diags.HasErrors():
		diags = append(diags, Errorf("E0103", &block.DefRange, "No given block", "Say which row the test is about: given { row = { id = 1 } }."))
	case seen["expect"] == hcl.Range{} && seen["assert"] == hcl.Range{} && !diags.HasErrors():
		diags = append(diags, Errorf("E0103", &block.DefRange, "Nothing is expected", `Say what is to come of it: expect { action = "create" }, or assert { condition = ... }.`))
	}
	return t, diags
}

// expressions takes a block's attributes as they are.
func expressions(b *hcl.Block, into map[string]*hcl.Expression, required string) hcl.Diagnostics {
	schema := &hcl.BodySchema{}
	for name := range into {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name, Required: name == required})
	}
	content, diags := b.Body.Content(schema)
	for name, a := range content.Attributes {
		*into[name] = a.Expr
	}
	return diags
}

// CheckTests refuses tests of pipelines that are not there, and two of one name.
func (p *Project) CheckTests() (diags hcl.Diagnostics) {
	var names []string
	for _, pipe := range p.Pipelines {
		names = append(names, pipe.Name)
	}
	first := map[[2]string]hcl.Range{}
	for _, t := range p.Tests {
		label, _, _ := strings.Cut(t.Pipeline, ".")
		if p.Pipeline(t.Pipeline) == nil && !p.nameless[label] {
			diags = append(diags, unknown(&t.PipelineRange, "pipeline", t.Pipeline, names))
		}
		id := [2]string{t.Pipeline, t.Name}
		if rng, twice := first[id]; twice {
			diags = append(diags, Errorf("E0105", &t.Range, fmt.Sprintf("Second test %q of pipeline %q", t.Name, t.Pipeline), "Give one of them another name.", Place{rng, "the first is here"}))
		} else {
			first[id] = t.Range
		}
	}
	return diags
}

// Pipeline returns the pipeline of a name, nil for none.
func (p *Project) Pipeline(name string) *Pipeline {
	for _, pipe := range p.Pipelines {
		if pipe.Name == name {
			return pipe
		}
	}
	return nil
}

// TestContext is what the expressions of test blocks may use besides each: what settings may.
func (p *Project) TestContext() *hcl.EvalContext { return p.settings() }

// WithoutEnvironment gives settings that need no environment: env() of a variable that is
// not set, and has no default, is the placeholder. For tests, which connect to nothing.
func WithoutEnvironment(ctx *hcl.EvalContext, placeholder string) *hcl.EvalContext {
	child := ctx.NewChild()
	child.Functions = map[string]function.Function{"env": text(func(args []string) (string, error) {
		if len(args) == 1 {
			args = append(args, placeholder)
		}
		return env(args)
	})}
	return child
}
