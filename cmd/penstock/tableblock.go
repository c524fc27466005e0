package main

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/schema"
)

// checkTableBlocks compares the columns that a source's table blocks name with the schema lock. Those of exclude are in
// no lock.
func (p *project) checkTableBlocks(source string, aliases map[string]string, tables []*change.Table) (diags hcl.Diagnostics) {
	for _, block := range p.Sources {
		if block.Name != source {
			continue
		}
		content, _, _ := block.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "table", LabelNames: []string{"alias"}}}})
		for _, b := range content.Blocks {
			i := slices.IndexFunc(tables, func(t *change.Table) bool { return t.QualifiedName() == aliases[b.Labels[0]] })
			if i < 0 {
				continue // said where a pipeline reads it
			}
			attributes, _ := b.Body.JustAttributes()
			for _, name := range []string{"columns", "key", "pii"} {
				if a := attributes[name]; a != nil {
					diags = append(diags, p.namedColumns(a, tables[i])...)
				}
			}
		}
	}
	return diags
}

// namedColumns refuses the names in an attribute's list that are no columns of the table.
func (p *project) namedColumns(a *hcl.Attribute, t *change.Table) (diags hcl.Diagnostics) {
	ctx := config.WithoutEnvironment(p.EvalContext(), "")
	items, ds := hcl.ExprList(a.Expr)
	if ds.HasErrors() {
		items = []hcl.Expression{a.Expr} // a local, or made by for
	}
	var names []string
	for _, c := range t.Columns {
		names = append(names, c.Name)
	}
	for _, item := range items {
		v, _ := item.Value(ctx)
		texts := []cty.Value{v}
		if v.IsWhollyKnown() && v.CanIterateElements() {
			texts = v.AsValueSlice()
		}
		for _, text := range texts {
			if !text.IsKnown() || text.IsNull() || text.Type() != cty.String || t.Column(text.AsString()) >= 0 {
				continue // of another type: refused by the source
			}
			hint := fmt.Sprintf("If it is new, write %s anew: penstock schema pull.", schema.FileName)
			if s := config.Suggest(text.AsString(), names); s != "" {
				hint = fmt.Sprintf("Did you mean %q? ", s) + hint
			}
			diags = append(diags, config.Errorf("E0462", item.Range().Ptr(), fmt.Sprintf("%s names column %q, which %s does not have", a.Name, text.AsString(), t.QualifiedName()), hint))
		}
	}
	return diags
}
