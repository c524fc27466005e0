package config

import (
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
)

// defaultWait is how long a record waits for a required parent before it is listed.
const defaultWait = time.Hour

var parentSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "pipeline", Required: true}, {Name: "required"}, {Name: "wait"}, {Name: "association"}},
	Blocks:     []hcl.BlockHeaderSchema{{Type: "key"}},
}

// decodeParent decodes a parent block.
func (p *Pipeline) decodeParent(b *hcl.Block, ctx *hcl.EvalContext) hcl.Diagnostics {
	content, diags := b.Body.Content(parentSchema)
	if diags.HasErrors() {
		return diags
	}
	out := Parent{Name: b.Labels[0], Required: true, Wait: defaultWait, Range: b.DefRange}
	text := func(name string, to *string, rng *hcl.Range) {
		if attr := content.Attributes[name]; attr != nil {
			var ds hcl.Diagnostics
			*to, _, ds = constant(attr.Expr, ctx)
			*rng = attr.Expr.Range()
			diags = append(diags, ds...)
		}
	}
	text("pipeline", &out.Pipeline, &out.PipelineRange)
	if attr := content.Attributes["association"]; attr != nil {
		diags = append(diags, notYet(attr.NameRange.Ptr(), "association"))
	}
	if attr := content.Attributes["required"]; attr != nil {
		diags = append(diags, gohcl.DecodeExpression(attr.Expr, ctx, &out.Required)...)
	}
	if attr := content.Attributes["wait"]; attr != nil {
		out.Wait, diags = durationOr(attr.Expr, ctx, defaultWait, diags)
		if rng := attr.Expr.Range(); !out.Required {
			diags = append(diags, Errorf("E0107", &rng, "Nothing waits for it", "A record does not wait for a parent with required = false: leave wait out."))
		}
	}
	for i, key := range content.Blocks {
		if i > 0 {
			return append(diags, Errorf("E0105", key.DefRange.Ptr(), "Second block: key", "Put both into one.", Place{content.Blocks[0].DefRange, "the first is here"}))
		}
		var ds hcl.Diagnostics
		out.Key, ds = attributes(key.Body)
		diags = append(diags, ds...)
	}
	if len(out.Key) == 0 && !diags.HasErrors() {
		return append(diags, Errorf("E0103", &b.DefRange, "No key block", `Say which row is the parent: key { id = row.customer_id }, the key columns of the parent's table.`))
	}
	p.Parents = append(p.Parents, out)
	return diags
}
