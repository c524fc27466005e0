package transform

import (
	"fmt"
	"sort"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// binding is a name that an expression has besides the roots: a variable of a `for`, a
// function's parameter.
type binding struct {
	name string
	node *node
}

// bound finds the innermost binding of a name.
func (c *checker) bound(name string, rng hcl.Range) *node {
	for i := len(c.scope) - 1; i >= 0; i-- {
		if c.scope[i].name == name {
			n := *c.scope[i].node
			n.rng = rng
			if c.facts[slot{n.kind, n.index}] && n.isSlot() {
				n.typ.null = false
			}
			return &n
		}
	}
	return nil
}

// variable makes a slot of its own for a value at run time.
func (c *checker) variable(t typ) *node {
	c.slots++
	return &node{kind: variable, typ: t, index: c.slots - 1}
}

// object checks {a = 1, (row.name) = 2}.
func (c *checker) object(e *hclsyntax.ObjectConsExpr) *node {
	n := &node{kind: objectCons, typ: typ{base: composite}, rng: e.SrcRange}
	names := map[string]hcl.Range{}
	known, bad := true, false
	for _, item := range e.Items {
		key := c.objectKey(item.KeyExpr)
		value := c.expr(item.ValueExpr)
		if key.isFailed() || value.isFailed() {
			bad = true
			continue
		}
		if key.isConst() {
			if first, ok := names[key.val.s]; ok {
				c.errorRelated("E0331", key.rng, "Defined twice", related(first, "first here"), "The object has %q already.", key.val.s)
				bad = true
			}
			names[key.val.s] = key.rng
		} else {
			known = false
		}
		n.kids = append(n.kids, key, value)
	}
	if bad {
		return c.invalid(e.SrcRange)
	}
	if known {
		n.typ.attrs = []attribute{}
		for i := 0; i < len(n.kids); i += 2 {
			n.typ.attrs = append(n.typ.attrs, attribute{n.kids[i].val.s, n.kids[i+1].typ})
		}
		sort.Slice(n.typ.attrs, func(i, j int) bool { return n.typ.attrs[i].name < n.typ.attrs[j].name })
		return c.fold(n)
	}
	elem := typ{}
	for i := 1; i < len(n.kids); i += 2 {
		t, ok := unify(elem, n.kids[i].typ)
		if !ok {
			return c.errorf("E0311", n.kids[i].rng, "Values of different types", "An object whose names come from the row has values of one type, but here are %s and %s.%s", elem, n.kids[i].typ, convertHint(elem, n.kids[i].typ))
		}
		elem = t
	}
	for i := 1; i < len(n.kids); i += 2 {
		n.kids[i] = c.widen(n.kids[i], elem)
	}
	n.typ.elem = &elem
	return c.fold(n)
}

// objectKey is a name as it stands, or an expression in parentheses or quotes.
func (c *checker) objectKey(e hclsyntax.Expression) *node {
	rng := e.Range()
	if name := hcl.ExprAsKeyword(e); name != "" {
		if k, ok := e.(*hclsyntax.ObjectConsKeyExpr); !ok || !k.ForceNonLiteral {
			return &node{kind: constant, typ: typ{base: text}, rng: rng, val: ofText(name)}
		}
	}
	if k, ok := e.(*hclsyntax.ObjectConsKeyExpr); ok {
		e = k.Wrapped
	}
	n := c.expr(e)
	switch {
	case n.isFailed():
	case n.typ.base != text:
		return c.errorf("E0310", rng, "Name is not text", "The names of an object are texts, but this is %s.%s", n.typ, convertHint(n.typ, typ{base: text}))
	}
	return n
}

// steps resolves what follows a value: .name, ["name"], [0].
func (c *checker) steps(n *node, steps hcl.Traversal, rng hcl.Range) *node {
	for _, s := range steps {
		if n.isFailed() {
			return n
		}
		switch s := s.(type) {
		case hcl.TraverseAttr:
			n = c.index(n, &node{kind: constant, typ: typ{base: text}, rng: s.SrcRange, val: ofText(s.Name)}, rng)
		case hcl.TraverseIndex:
			k, ok := c.fromCty(s.Key, s.SrcRange)
			if !ok {
				return c.errorf("E0307", rng, "Wrong index", "A list is indexed by an int, an object by a text.")
			}
			n = c.index(n, k, rng)
		default:
			return c.errorf("E0306", rng, "Unsupported expression", "This form of expression is not part of row expressions.")
		}
	}
	return n
}

// index is collection[key]. What is not there is NULL, but for the names of an object
// that are known.
func (c *checker) index(n, key *node, rng hcl.Range) *node {
	if n.isFailed() || key.isFailed() {
		return c.invalid(rng)
	}
	t := n.typ
	switch {
	case t.base == list:
		if b := key.typ.base; b != integer && b != isNull {
			return c.errorf("E0307", rng, "Wrong index", "A list is indexed by an int, but this is %s. Use a splat, list[*].name, for the names of its objects.", key.typ)
		}
		out := typ{null: true}
		if t.elem != nil {
			out = *t.elem
			out.null = true
		}
		return c.fold(&node{kind: indexOf, typ: out, rng: rng, kids: []*node{n, key}})
	case t.base == composite && !t.opaque():
		if b := key.typ.base; b != text && b != isNull {
			return c.errorf("E0307", rng, "Wrong index", "An object is indexed by a text, but this is %s.", key.typ)
		}
		if t.attrs != nil && key.isConst() {
			a := t.attr(key.val.s)
			if a == nil {
				var names []string
				for _, x := range t.attrs {
					names = append(names, x.name)
				}
				return c.errorf("E0307", rng, "Unknown name", "The object has no %q. %s", key.val.s, didYouMean(key.val.s, names))
			}
			out := *a
			out.null = out.null || t.null
			return c.fold(&node{kind: indexOf, typ: out, rng: rng, kids: []*node{n, key}})
		}
		out, ok := valuesType(t)
		if !ok {
			return c.errorf("E0311", rng, "Values of different types", "The object's values have different types, so its name must be known before anything runs; here it comes from the row.")
		}
		out.null = true
		return c.fold(&node{kind: indexOf, typ: out, rng: rng, kids: []*node{n, key}})
	case t.base == document || t.base == composite:
		return c.errorf("E0307", rng, "Reference goes too deep", "Read inside a JSON document or composite with json_get(value, \"path\"), or go through it with for.")
	case t.base == isNull:
		return c.errorf("E0307", rng, "Reference goes too deep", "Nothing can be read from null.")
	}
	hint := ""
	if key.isConst() && key.typ.base == text && (IsFunction(key.val.s) || c.env.Functions[key.val.s] != nil) {
		hint = fmt.Sprintf(" A function stands in front: %s(value).", key.val.s)
	}
	return c.errorf("E0307", rng, "Reference goes too deep", "A value of type %s is one value; nothing can be read below it with a dot or an index.%s", t, hint)
}

// each describes what `for` and splats go through.
func (c *checker) each(n *node, rng hcl.Range) (key, val typ, ok bool) {
	t := n.typ
	switch {
	case n.isFailed():
		return key, val, false
	case t.base == list:
		key, val = typ{base: integer}, typ{null: true}
		if t.elem != nil {
			val = *t.elem
		}
	case t.base == document, t.opaque():
		key, val = typ{base: text, pii: t.pii}, typ{base: document, null: true, pii: t.pii}
	case t.base == composite:
		key = typ{base: text}
		if val, ok = valuesType(t); !ok {
			c.errorf("E0311", rng, "Values of different types", "The object's values have different types; for goes through values of one type.")
			return key, val, false
		}
	default:
		c.errorf("E0310", rng, "Not a list", "for goes through lists, objects and JSON, but this is %s.", t)
		return key, val, false
	}
	val.pii = val.pii || t.pii
	return key, val, true
}

// forEach checks [for v in list : v if condition] and {for k, v in object : k => v}.
func (c *checker) forEach(e *hclsyntax.ForExpr) *node {
	coll := c.expr(e.CollExpr)
	keyType, valType, ok := c.each(coll, e.CollExpr.Range())
	if !ok {
		return c.invalid(e.SrcRange)
	}
	key, val := c.variable(keyType), c.variable(valType)
	outer, facts := len(c.scope), c.facts
	if e.KeyVar != "" {
		c.scope = append(c.scope, binding{e.KeyVar, key})
	}
	c.scope = append(c.scope, binding{e.ValVar, val})
	n := &node{kind: forEach, rng: e.SrcRange, index: key.index, group: e.Group}
	n.typ.null = coll.typ.null
	cond := &node{kind: constant, typ: typ{base: boolean}, val: trueVal}
	if e.CondExpr != nil {
		cond = c.condition(e.CondExpr, "The condition of for")
		more := knownOf(cond)
		c.facts = facts.with(more)
	}
	name := &node{kind: constant, typ: typ{}, val: null}
	if e.KeyExpr != nil {
		if name = c.expr(e.KeyExpr); !name.isFailed() && name.typ.base != text {
			name = c.errorf("E0310", e.KeyExpr.Range(), "Name is not text", "The names of an object are texts, but this is %s.%s", name.typ, convertHint(name.typ, typ{base: text}))
		}
	}
	body := c.expr(e.ValExpr)
	c.scope, c.facts = c.scope[:outer], facts
	if cond.isFailed() || name.isFailed() || body.isFailed() {
		return c.invalid(e.SrcRange)
	}
	elem := body.typ
	if e.Group {
		elem = listType(elem)
	}
	n.typ.elem = &elem
	n.typ.base = list
	if e.KeyExpr != nil {
		n.typ.base = composite
		n.named = true
	}
	n.typ.pii = elem.pii || name.typ.pii
	n.kids = []*node{coll, cond, name, body}
	n.elem = valType.base
	return n
}

// knownOf has what holds where a condition is true.
func knownOf(cond *node) facts {
	f := facts{}
	f.known(cond, true)
	return f
}

// splat is list[*].name: the rest for each element.
func (c *checker) splat(e *hclsyntax.SplatExpr) *node {
	coll := c.expr(e.Source)
	if !coll.isFailed() && coll.typ.base != list {
		return c.errorf("E0310", e.SrcRange, "Not a list", "A splat goes through a list, but this is %s.", coll.typ)
	}
	_, valType, ok := c.each(coll, e.Source.Range())
	if !ok {
		return c.invalid(e.SrcRange)
	}
	key, val := c.variable(typ{base: integer}), c.variable(valType)
	outer := len(c.scope)
	c.items = append(c.items, splatItem{e.Item, val})
	body := c.expr(e.Each)
	c.items, c.scope = c.items[:len(c.items)-1], c.scope[:outer]
	if body.isFailed() {
		return c.invalid(e.SrcRange)
	}
	t := listType(body.typ)
	t.null, t.pii = coll.typ.null, body.typ.pii
	always := &node{kind: constant, typ: typ{base: boolean}, val: trueVal}
	none := &node{kind: constant, val: null}
	return &node{kind: forEach, typ: t, rng: e.SrcRange, index: key.index, elem: valType.base, kids: []*node{coll, always, none, body}}
}

// splatItem is the element that stands in for the rest of a splat.
type splatItem struct {
	symbol *hclsyntax.AnonSymbolExpr
	node   *node
}

func (c *checker) anonymous(e *hclsyntax.AnonSymbolExpr) *node {
	for _, item := range c.items {
		if item.symbol == e {
			n := *item.node
			n.rng = e.SrcRange
			return &n
		}
	}
	return c.errorf("E0306", e.SrcRange, "Unsupported expression", "This form of expression is not part of row expressions.")
}

// joinTemplate is %{ for } in a template: the texts of all turns, one after the other.
func (c *checker) joinTemplate(e *hclsyntax.TemplateJoinExpr) *node {
	parts := c.expr(e.Tuple)
	if parts.isFailed() {
		return parts
	}
	elem := typ{base: text}
	if parts.typ.elem != nil {
		elem = *parts.typ.elem
	}
	t := typ{base: text, null: parts.typ.null || elem.null, pii: parts.typ.pii}
	return &node{kind: joinText, typ: t, rng: e.Range(), kids: []*node{parts}}
}

// relative is a traversal of what an expression gives: f(x).name, (x)[0].
func (c *checker) relative(e *hclsyntax.RelativeTraversalExpr) *node {
	return c.steps(c.expr(e.Source), e.Traversal, e.SrcRange)
}

func (c *checker) indexExpr(e *hclsyntax.IndexExpr) *node {
	if t, ok := e.Collection.(*hclsyntax.ScopeTraversalExpr); ok && len(t.Traversal) == 1 && c.bound(t.Traversal.RootName(), e.SrcRange) == nil {
		if root := t.Traversal.RootName(); root == "row" || root == "old" || root == "clean" || root == "meta" || root == "local" || root == "var" {
			key := c.expr(e.Key)
			if key.isFailed() {
				return key
			}
			if key.isConst() && key.val.kind == text {
				return c.traversal(hcl.Traversal{t.Traversal[0], hcl.TraverseIndex{Key: cty.StringVal(key.val.s), SrcRange: e.SrcRange}})
			}
			return c.errorf("E0307", e.SrcRange, "Reference is not constant", "Which of %s is meant must be known before anything runs.", root)
		}
	}
	return c.index(c.expr(e.Collection), c.expr(e.Key), e.SrcRange)
}
