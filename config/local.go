package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// local is one attribute of a locals block.
type local struct {
	NamedExpr
	state int // 0 not looked at, 1 being computed, 2 computed
}

// nameLocals finds the locals, so that references to them can be checked.
func (p *Project) nameLocals(blocks hcl.Blocks) hcl.Diagnostics {
	var diags hcl.Diagnostics
	p.locals, p.Locals = map[string]*local{}, map[string]cty.Value{}
	for _, block := range blocks {
		if block.Type != "locals" {
			continue
		}
		attrs, ds := attributes(block.Body)
		diags = append(diags, ds...)
		for _, a := range attrs {
			if first := p.locals[a.Name]; first != nil {
				diags = append(diags, Errorf("E0105", &a.NameRange, fmt.Sprintf("Second local named %q", a.Name), "Give one of them another name.", Place{first.NameRange, "the first is here"}))
				continue
			}
			p.locals[a.Name] = &local{NamedExpr: a}
		}
	}
	return diags
}

// decodeLocals evaluates the locals, each after those that it needs.
func (p *Project) decodeLocals() hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, name := range slices.Sorted(maps.Keys(p.locals)) {
		diags = append(diags, p.computeLocal(name)...)
	}
	return diags
}

func (p *Project) computeLocal(name string) (diags hcl.Diagnostics) {
	l := p.locals[name]
	if l.state != 0 {
		return nil
	}
	l.state = 1
	p.Locals[name] = cty.DynamicVal // for those that ask in a circle
	for _, ref := range l.Expr.Variables() {
		rng := ref.SourceRange()
		switch root, other := ref.RootName(), stepName(ref); {
		case root == "local" && p.locals[other] != nil:
			if p.locals[other].state == 1 {
				diags = append(diags, Errorf("E0117", &rng, "Circular local", fmt.Sprintf("local.%s is computed from itself.", name)))
				l.state = 2
				return diags
			}
			diags = append(diags, p.computeLocal(other)...)
		case root == "row" || root == "old" || root == "clean" || root == "meta" || root == "each":
			diags = append(diags, Errorf("E0203", &rng, fmt.Sprintf("%s is not known here", root),
				"Locals are computed once, before anything runs. What depends on a row goes into a pipeline's clean block, or into a function."))
		case root == "secret":
			diags = append(diags, Errorf("E0203", &rng, "Secrets do not go into locals", "Use secret."+other+" in the setting that needs it."))
		}
	}
	l.state = 2
	if diags.HasErrors() {
		return diags
	}
	value, ds := l.Expr.Value(&hcl.EvalContext{Functions: settingFunctions, Variables: map[string]cty.Value{
		"var": object(p.Vars, p.unknownNames["var"]), "local": object(p.localsOf(l.Expr), p.unknownNames["local"]),
	}})
	if diags = append(diags, ds...); !ds.HasErrors() {
		p.Locals[name] = value
	}
	return diags
}

// localsOf are the locals that an expression refers to; all, where it refers to them as a whole.
func (p *Project) localsOf(e hcl.Expression) map[string]cty.Value {
	out := map[string]cty.Value{}
	for _, ref := range e.Variables() {
		if ref.RootName() != "local" {
			continue
		}
		name := stepName(ref)
		if name == "" {
			return p.Locals
		}
		if v, ok := p.Locals[name]; ok {
			out[name] = v
		}
	}
	return out
}

// stepName is the name after a traversal's root: x of local.x and local["x"].
func stepName(t hcl.Traversal) string {
	if len(t) < 2 {
		return ""
	}
	switch s := t[1].(type) {
	case hcl.TraverseAttr:
		return s.Name
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && s.Key.IsKnown() && !s.Key.IsNull() {
			return s.Key.AsString()
		}
	}
	return ""
}

// object makes an object of values; names that were refused already are in it as unknown.
func object(values map[string]cty.Value, refused []string) cty.Value {
	out := maps.Clone(values)
	if out == nil {
		out = map[string]cty.Value{}
	}
	for _, name := range refused {
		out[name] = cty.DynamicVal
	}
	return cty.ObjectVal(out)
}

// unmarked is object for settings, which may use sensitive values.
func unmarked(values map[string]cty.Value, refused ...string) cty.Value {
	v, _ := object(values, refused).UnmarkDeep()
	return v
}
