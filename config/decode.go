package config

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

var pipelineSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "for_each"}, {Name: "from", Required: true}, {Name: "to", Required: true}, {Name: "run"}, {Name: "where"}, {Name: "backfill"}},
	Blocks: []hcl.BlockHeaderSchema{
		{Type: "clean"},
		{Type: "reject", LabelNames: []string{"name"}},
		{Type: "key"},
		{Type: "match"},
		{Type: "fields", LabelNames: []string{"owner"}},
		{Type: "field", LabelNames: []string{"name"}},
		{Type: "parent", LabelNames: []string{"name"}},
		{Type: "write_back"},
		{Type: "on", LabelNames: []string{"event"}},
		{Type: "verify"},
		{Type: "deliver"},
		{Type: "guard"},
	},
}

// once has the blocks that a pipeline has at most one of.
var once = map[string]bool{"clean": true, "key": true, "match": true, "deliver": true, "guard": true, "verify": true}

// decodePipeline decodes a pipeline block; each has each.key and each.value, nil without for_each.
func (project *Project) decodePipeline(block *hcl.Block, each map[string]cty.Value) (*Pipeline, hcl.Diagnostics) {
	ctx := project.settings()
	if each != nil {
		ctx.Variables["each"] = unmarked(each)
	}
	p := &Pipeline{
		Name: block.Labels[0], Each: each, Range: block.DefRange, Backfill: "auto", On: On{Delete: "archive", Leave: "archive", AppDelete: "hold"},
		Guard: Guard{MaxDeletes: Quota{Share: 0.05, Count: -1}, MaxChanges: Quota{Share: -1, Count: -1}, MaxCreates: Quota{Share: -1, Count: -1}},
	}
	content, diags := block.Body.Content(pipelineSchema)
	for name, attr := range content.Attributes {
		switch name {
		case "from":
			steps, ds := reference(attr.Expr, ctx, "source", "source.postgres.shop.customers: kind, source and table")
			diags = append(diags, ds...)
			p.From = TableRef{Kind: steps[0], Source: steps[1], Table: steps[2], Range: attr.Expr.Range()}
		case "to":
			steps, ds := reference(attr.Expr, ctx, "app", "app.hubspot.crm.contacts: kind, app and object")
			diags = append(diags, ds...)
			p.To = ObjectRef{Kind: steps[0], App: steps[1], Object: steps[2], Range: attr.Expr.Range()}
		case "where":
			p.Where = attr.Expr
		case "run":
			run, ds := decodeRun(attr, ctx)
			p.Run, diags = run, append(diags, ds...)
		case "backfill":
			if s, _, ds := constant(attr.Expr, ctx); ds.HasErrors() {
				diags = append(diags, ds...)
			} else if modes := []string{"auto", "ask", "never"}; slices.Contains(modes, s) {
				p.Backfill = s
			} else {
				diags = append(diags, unknown(attr.Expr.Range().Ptr(), "backfill", s, modes))
			}
		}
	}
	seen := map[string]hcl.Range{}
	for _, b := range content.Blocks {
		what := b.Type
		if len(b.Labels) > 0 {
			what += " " + b.Labels[0]
		}
		if first, twice := seen[what]; twice && (once[b.Type] || b.Type == "on" || b.Type == "reject" || b.Type == "parent") {
			diags = append(diags, Errorf("E0105", b.DefRange.Ptr(), fmt.Sprintf("Second block: %s", what), "Put both into one.", Place{first, "the first is here"}))
			continue
		}
		seen[what] = b.DefRange
		diags = append(diags, p.decodeBlock(b, ctx)...)
	}
	if p.Key.Expr == nil {
		diags = append(diags, Errorf("E0103", &block.DefRange, "No key block", `Say by which unique field of the app our record is found again: key { shop_customer_id = tostring(row.id) }.`))
	}
	if len(p.Fields) == 0 {
		diags = append(diags, Errorf("E0103", &block.DefRange, "No fields", `Say what to write: fields "source" { email = row.email }.`))
	}
	return p, diags
}

func (p *Pipeline) decodeBlock(b *hcl.Block, ctx *hcl.EvalContext) (diags hcl.Diagnostics) {
	switch b.Type {
	case "clean":
		p.Clean, diags = attributes(b.Body)
	case "reject":
		var raw struct {
			When    hcl.Expression `hcl:"when"`
			Message hcl.Expression `hcl:"message,optional"`
		}
		diags = needs(gohcl.DecodeBody(b.Body, nil, &raw), b, "when", raw.When)
		r := Reject{Name: b.Labels[0], When: raw.When, Range: b.DefRange}
		if raw.Message != nil && hasText(raw.Message) {
			r.Message = raw.Message
		}
		if diags.HasErrors() {
			return diags
		}
		p.Rejects = append(p.Rejects, r)
	case "key":
		var keys []NamedExpr
		if keys, diags = attributes(b.Body); len(keys) == 1 {
			p.Key = keys[0]
		} else {
			diags = append(diags, Errorf("E0107", b.DefRange.Ptr(), "A key block has one field", "The app's field that is unique, with its value."))
			p.Key = NamedExpr{Expr: hcl.StaticExpr(nilText, b.DefRange)}
		}
	case "match":
		p.Match, diags = attributes(b.Body)
	case "fields":
		group := Group(b.Labels[0])
		switch group {
		case OwnedBySource, OwnedByApp, Fill:
			named, ds := attributes(b.Body)
			for _, n := range named {
				p.Fields = append(p.Fields, FieldExpr{NamedExpr: n, Group: group})
			}
			diags = ds
		case "latest", "union", "max", "min":
			diags = append(diags, notYet(b.DefRange.Ptr(), fmt.Sprintf("fields %q", group)))
		default:
			diags = append(diags, unknown(&b.LabelRanges[0], "group of fields", b.Labels[0], []string{"source", "app", "fill"}))
		}
	case "parent":
		diags = p.decodeParent(b, ctx)
	case "on":
		diags = p.decodeOn(b, ctx)
	case "deliver":
		var raw struct {
			Linger hcl.Expression `hcl:"linger,optional"`
		}
		diags = gohcl.DecodeBody(b.Body, ctx, &raw)
		p.Deliver.Linger, diags = durationOr(raw.Linger, ctx, 0, diags)
	case "guard":
		diags = p.decodeGuard(b, ctx)
	case "verify":
		diags = p.decodeVerify(b, ctx)
	default:
		diags = append(diags, notYet(b.DefRange.Ptr(), fmt.Sprintf("%s blocks", b.Type)))
	}
	return diags
}

func (p *Pipeline) decodeOn(b *hcl.Block, ctx *hcl.EvalContext) hcl.Diagnostics {
	target, set, allowed := &p.On.Delete, &p.On.SetDelete, []string{"archive", "delete", "ignore", "set"}
	schema := &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "action", Required: true}}, Blocks: []hcl.BlockHeaderSchema{{Type: "fields"}}}
	switch b.Labels[0] {
	case "delete":
	case "leave":
		target, set = &p.On.Leave, &p.On.SetLeave
	case "app_delete":
		target, set, allowed, schema.Blocks = &p.On.AppDelete, nil, []string{"hold", "recreate", "forget"}, nil
	default:
		return hcl.Diagnostics{unknown(&b.LabelRanges[0], "event", b.Labels[0], []string{"delete", "leave", "app_delete"})}
	}
	content, diags := b.Body.Content(schema)
	if diags.HasErrors() {
		return diags
	}
	expr := content.Attributes["action"].Expr
	action, _, ds := constant(expr, ctx)
	if diags = append(diags, ds...); ds.HasErrors() {
		return diags
	}
	if !slices.Contains(allowed, action) {
		return append(diags, unknown(expr.Range().Ptr(), "action", action, allowed))
	}
	*target = action
	for i, fields := range content.Blocks {
		switch {
		case action != "set":
			return append(diags, Errorf("E0107", fields.DefRange.Ptr(), "Fields that nothing sets", `A fields block here belongs to action = "set".`))
		case i > 0:
			return append(diags, Errorf("E0105", fields.DefRange.Ptr(), "Second block: fields", "Put both into one.", Place{content.Blocks[0].DefRange, "the first is here"}))
		}
		*set, ds = attributes(fields.Body)
		diags = append(diags, ds...)
	}
	if action == "set" && len(*set) == 0 && !diags.HasErrors() {
		diags = append(diags, Errorf("E0103", &b.DefRange, "No fields to set", `Say what the app's record is to have then: fields { status = "former" }.`))
	}
	return diags
}

func (p *Pipeline) decodeGuard(b *hcl.Block, ctx *hcl.EvalContext) hcl.Diagnostics {
	var raw struct {
		Deletes hcl.Expression `hcl:"max_deletes,optional"`
		Changes hcl.Expression `hcl:"max_changes,optional"`
		Creates hcl.Expression `hcl:"max_creates,optional"`
	}
	diags := gohcl.DecodeBody(b.Body, ctx, &raw)
	for _, limit := range []struct {
		expr hcl.Expression
		to   *Quota
	}{{raw.Deletes, &p.Guard.MaxDeletes}, {raw.Changes, &p.Guard.MaxChanges}, {raw.Creates, &p.Guard.MaxCreates}} {
		text, ok, ds := constant(limit.expr, ctx)
		diags = append(diags, ds...)
		if !ok {
			continue
		}
		q, err := ParseQuota(text)
		if err != nil {
			diags = append(diags, badSetting(limit.expr.Range(), err))
			continue
		}
		*limit.to = q
	}
	return diags
}

func (p *Pipeline) decodeVerify(b *hcl.Block, ctx *hcl.EvalContext) hcl.Diagnostics {
	var raw struct {
		Every  hcl.Expression `hcl:"every,optional"`
		Before bool           `hcl:"before_write,optional"`
	}
	diags := gohcl.DecodeBody(b.Body, ctx, &raw)
	if diags.HasErrors() {
		return diags
	}
	p.Verify.BeforeWrite, p.Verify.Range = raw.Before, b.DefRange
	p.Verify.Every, diags = durationOr(raw.Every, ctx, 0, diags)
	switch given := raw.Every != nil && hasText(raw.Every); {
	case diags.HasErrors():
	case given && p.Verify.Every < leastEvery:
		diags = append(diags, badSetting(raw.Every.Range(), errors.New(`every is at least "1s"`)))
	case !given && !raw.Before:
		diags = append(diags, Errorf("E0103", &b.DefRange, "verify does not say when", `Write every = "1h", before_write = true, or both.`))
	}
	return diags
}

// needs adds that a required expression is missing: gohcl takes expressions for optional.
func needs(diags hcl.Diagnostics, b *hcl.Block, name string, expr hcl.Expression) hcl.Diagnostics {
	if diags.HasErrors() || expr != nil && hasText(expr) {
		return diags
	}
	return append(diags, Errorf("E0103", &b.DefRange, "Missing required argument", fmt.Sprintf("%[1]q is required: write %[1]s = ... in this block.", name)))
}

// decodeApp takes what all apps have out of the block; the rest is the connector's.
func (p *Project) decodeApp(block *hcl.Block) (*App, hcl.Diagnostics) {
	app := &App{Kind: block.Labels[0], Name: block.Labels[1], Range: block.DefRange}
	content, rest, diags := block.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "pii"}}})
	app.Body = rest
	if attr := content.Attributes["pii"]; attr != nil {
		diags = append(diags, gohcl.DecodeExpression(attr.Expr, p.settings(), &app.PII)...)
	}
	return app, diags
}

// attributes returns a body's attributes in the order written.
func attributes(body hcl.Body) ([]NamedExpr, hcl.Diagnostics) {
	attrs, diags := body.JustAttributes()
	out := make([]NamedExpr, 0, len(attrs))
	for _, a := range attrs {
		out = append(out, NamedExpr{Name: a.Name, Expr: a.Expr, NameRange: a.NameRange})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].NameRange.Start.Byte < out[j].NameRange.Start.Byte })
	return out, diags
}

// reference reads root.a.b.c, where a step may be an index that settings can compute: app.hubspot[each.key].contacts.
func reference(expr hcl.Expression, ctx *hcl.EvalContext, root, form string) (steps [3]string, diags hcl.Diagnostics) {
	rng := expr.Range()
	names, known, diags := path(expr, ctx)
	switch {
	case diags.HasErrors() || !known:
		return steps, diags
	case len(names) != 4 || names[0] != root:
		return steps, hcl.Diagnostics{Errorf("E0107", &rng, "Not a reference of this kind", "Write "+form+".")}
	}
	copy(steps[:], names[1:])
	return steps, nil
}

// path returns the names that a reference is made of; none where it is something else.
// Known is false where an index is not known, for what it is made of was refused.
func path(expr hcl.Expression, ctx *hcl.EvalContext) (names []string, known bool, diags hcl.Diagnostics) {
	add := func(t hcl.Traversal) bool {
		for _, step := range t {
			switch s := step.(type) {
			case hcl.TraverseRoot:
				names = append(names, s.Name)
			case hcl.TraverseAttr:
				names = append(names, s.Name)
			case hcl.TraverseIndex:
				if s.Key.Type() != cty.String {
					return false
				}
				names = append(names, s.Key.AsString())
			default:
				return false
			}
		}
		return true
	}
	switch e := expr.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		if !add(e.Traversal) {
			names = nil
		}
		return names, true, nil
	case *hclsyntax.RelativeTraversalExpr:
		if names, known, diags = path(e.Source, ctx); known && len(names) > 0 && !add(e.Traversal) {
			names = nil
		}
		return names, known, diags
	case *hclsyntax.IndexExpr:
		if names, known, diags = path(e.Collection, ctx); !known || len(names) == 0 {
			return nil, known, diags
		}
		if v, ds := e.Key.Value(ctx); !ds.HasErrors() && !v.IsKnown() {
			return nil, false, nil
		}
		key, ok, ds := constant(e.Key, ctx)
		if !ok {
			return nil, true, ds
		}
		return append(names, key), true, nil
	}
	return nil, true, nil
}
