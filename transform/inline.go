package transform

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/config"
)

// maxInlined bounds what functions that call functions can grow to.
const maxInlined = 10_000

// inline puts a function's result in place of its call: its parameters are the
// arguments, so it is typed anew for each call. An argument is computed at most once,
// when the result first needs it.
func (c *checker) inline(e *hclsyntax.FunctionCallExpr, f *config.Function) *node {
	rng := e.Range()
	args := make([]*node, len(e.Args))
	bad := false
	for i, a := range e.Args {
		args[i] = c.expr(a)
		bad = bad || args[i].isFailed()
	}
	switch {
	case e.ExpandFinal:
		return c.errorf("E0306", rng, "Unsupported expression", "A list can't be expanded into the arguments of a function of the configuration.")
	case len(args) != len(f.Params):
		return c.errorRelated("E0313", rng, "Wrong number of arguments", related(f.Range, "defined here"), "%s has %d arguments here. It is called as %s(%s).", e.Name, len(args), f.Name, strings.Join(f.Params, ", "))
	case bad:
		return c.invalid(rng)
	}
	for _, name := range c.inlining {
		if name == f.Name {
			return c.errorRelated("E0334", e.NameRange, "Function calls itself", related(f.Range, "defined here"), "%s is computed from itself; functions can't be recursive.", f.Name)
		}
	}
	if c.inlined++; c.inlined > maxInlined {
		return c.errorf("E0334", rng, "Functions grow too large", "The functions in this pipeline call each other more than %d times.", maxInlined)
	}
	let := &node{kind: let, rng: rng, kids: []*node{nil}}
	var scope []binding
	for i, a := range args {
		if !a.isConst() && !a.isSlot() && a.kind != metaField {
			v := c.variable(a.typ)
			v.kind, v.ref = lazy, a
			let.kids, let.slots = append(let.kids, a), append(let.slots, v.index)
			a = v
		}
		scope = append(scope, binding{f.Params[i], a})
	}
	outerScope, outerItems, before := c.scope, c.items, len(c.diags)
	c.scope, c.items, c.inlining = scope, nil, append(c.inlining, f.Name)
	body := c.check(f.Result)
	c.scope, c.items, c.inlining = outerScope, outerItems, c.inlining[:len(c.inlining)-1]
	for _, d := range c.diags[before:] {
		config.Relate(d, related(rng, "called here"))
	}
	if body.isFailed() || len(let.slots) == 0 {
		return body
	}
	let.kids[0], let.typ = body, body.typ
	if body.isConst() {
		return body
	}
	return let
}

// CheckFunctions checks what can be known of functions before they are called: names
// that are taken, and what no call could mend.
func CheckFunctions(all map[string]*config.Function) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, name := range sortedNames(all) {
		f := all[name]
		if own, _ := lookup(name); own != nil {
			diags = append(diags, config.Errorf("E0335", f.Range.Ptr(), fmt.Sprintf("Function %q is one of penstock's own", name), "Give yours another name."))
		}
		if e, ok := f.Result.(hclsyntax.Expression); ok {
			diags = append(diags, hclsyntax.Walk(e, &functionWalk{all})...)
		}
	}
	return diags
}

// functionWalk looks for calls of functions that do not exist.
type functionWalk struct{ all map[string]*config.Function }

// Enter is called before a node's parts are visited.
func (w *functionWalk) Enter(n hclsyntax.Node) hcl.Diagnostics {
	if call, ok := n.(*hclsyntax.FunctionCallExpr); ok {
		if own, _ := lookup(call.Name); own == nil && w.all[call.Name] == nil {
			return hcl.Diagnostics{config.Errorf("E0304", &call.NameRange, "Unknown function", fmt.Sprintf("There is no function %q. %s", call.Name, unknownFunction(call.Name, keysOf(w.all))))}
		}
	}
	return nil
}

// Exit is called after them.
func (w *functionWalk) Exit(hclsyntax.Node) hcl.Diagnostics { return nil }

// unknownFunction says what may have been meant.
func unknownFunction(name string, own []string) string {
	if why, ok := impure[name]; ok {
		return why
	}
	if base, ok := strings.CutSuffix(name, "_or"); ok && functions[base] != nil {
		return fmt.Sprintf("%s() never fails, so it needs no fallback.", base)
	}
	return didYouMean(name, append(functionNames(), own...))
}
