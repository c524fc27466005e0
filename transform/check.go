package transform

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// checker turns HCL's expressions into typed nodes and gathers what is wrong with them.
type checker struct {
	pipeline *config.Pipeline
	table    *change.Table
	env      Env
	diags    hcl.Diagnostics
	cleans   []*clean
	facts    facts
	scratch  *Worker // for folding constants
	scope    []binding
	items    []splatItem
	slots    int      // handed out
	inlining []string // functions that are being put in place
	inlined  int
	secretOK bool // a secret may stand here
	tried    int  // within so many calls of try()
	unfolded bool // constants are left to run time: tests compare both
}

// clean is one attribute of the clean block, checked at its first use.
type clean struct {
	config.NamedExpr
	node  *node
	state int // 0 not looked at, 1 being checked, 2 checked
	used  bool
}

func (c *checker) errorf(code string, rng hcl.Range, summary, detail string, args ...any) *node {
	c.diags = append(c.diags, config.Errorf(code, &rng, summary, fmt.Sprintf(detail, args...)))
	return &node{kind: constant, typ: typ{base: failed, null: true}, rng: rng, val: fail("invalid")}
}

// related is the second place of a diagnostic.
func related(rng hcl.Range, text string) config.Place { return config.Place{Range: rng, Note: text} }

func (c *checker) errorRelated(code string, rng hcl.Range, summary string, second config.Place, detail string, args ...any) *node {
	n := c.errorf(code, rng, summary, detail, args...)
	config.Relate(c.diags[len(c.diags)-1], second)
	return n
}

func (c *checker) warnf(code string, rng hcl.Range, summary, detail string, args ...any) {
	c.diags = append(c.diags, config.Warnf(code, &rng, summary, fmt.Sprintf(detail, args...)))
}

// check checks an expression of the pipeline.
func (c *checker) check(e hcl.Expression) *node {
	if e == nil {
		return c.errorf("E0306", c.pipeline.Range, "Missing expression", "An expression is missing in this pipeline.")
	}
	syntax, ok := e.(hclsyntax.Expression)
	if !ok {
		return c.errorf("E0306", e.Range(), "Unsupported expression", "Row expressions are written in HCL's native syntax.")
	}
	return c.expr(syntax)
}

func (c *checker) expr(e hclsyntax.Expression) *node {
	rng := e.Range()
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return c.expr(e.Expression)
	case *hclsyntax.LiteralValueExpr:
		return c.literal(e)
	case *hclsyntax.TemplateExpr:
		return c.template(e.Parts, rng, false)
	case *hclsyntax.TemplateWrapExpr:
		return c.template([]hclsyntax.Expression{e.Wrapped}, rng, false)
	case *hclsyntax.ScopeTraversalExpr:
		return c.traversal(e.Traversal)
	case *hclsyntax.ConditionalExpr:
		return c.conditional(e)
	case *hclsyntax.BinaryOpExpr:
		return c.binary(e)
	case *hclsyntax.UnaryOpExpr:
		return c.unary(e)
	case *hclsyntax.FunctionCallExpr:
		return c.call(e)
	case *hclsyntax.TupleConsExpr:
		return c.list(e)
	case *hclsyntax.ForExpr:
		return c.forEach(e)
	case *hclsyntax.SplatExpr:
		return c.splat(e)
	case *hclsyntax.AnonSymbolExpr:
		return c.anonymous(e)
	case *hclsyntax.IndexExpr:
		return c.indexExpr(e)
	case *hclsyntax.RelativeTraversalExpr:
		return c.relative(e)
	case *hclsyntax.ObjectConsExpr:
		return c.object(e)
	case *hclsyntax.TemplateJoinExpr:
		return c.joinTemplate(e)
	}
	return c.errorf("E0306", rng, "Unsupported expression", "This form of expression is not part of row expressions.")
}

// template checks the parts of a template. Its value is text; NULL where a part is
// NULL, except in messages, which write NULL.
func (c *checker) template(parts []hclsyntax.Expression, rng hcl.Range, nulls bool) *node {
	n := &node{kind: template, typ: typ{base: text}, rng: rng, nulls: nulls}
	bad := false
	for _, p := range parts {
		k := c.expr(p)
		switch {
		case k.isFailed():
			bad = true
		case k.typ.base == list || k.typ.base == composite || k.typ.base == bytes:
			return c.errorf("E0310", p.Range(), "Wrong type in template", "A value of type %s can't be written into text; use join() for a list, sha256() or json_get() for others.", k.typ)
		}
		n.typ.null = n.typ.null || k.typ.null && !nulls
		n.kids = append(n.kids, k)
	}
	if bad {
		return c.invalid(rng)
	}
	return c.fold(n)
}

func (c *checker) conditional(e *hclsyntax.ConditionalExpr) *node {
	cond := c.condition(e.Condition, "The condition of ?:")
	outer := c.facts
	when := facts{}
	when.known(cond, true)
	c.facts = outer.with(when)
	yes := c.expr(e.TrueResult)
	unless := facts{}
	unless.known(cond, false)
	c.facts = outer.with(unless)
	no := c.expr(e.FalseResult)
	c.facts = outer
	if cond.isFailed() || yes.isFailed() || no.isFailed() {
		return c.invalid(e.SrcRange)
	}
	t, ok := unify(yes.typ, no.typ)
	if !ok {
		return c.errorf("E0311", e.SrcRange, "Branches of different types", "The result is %s where the condition is true and %s where it is not; both must have one type.%s", yes.typ, no.typ, convertHint(yes.typ, no.typ))
	}
	return c.fold(&node{kind: conditional, typ: t, rng: e.SrcRange, kids: []*node{cond, c.widen(yes, t), c.widen(no, t)}})
}

// condition checks an expression that must be a bool.
func (c *checker) condition(e hclsyntax.Expression, what string) *node {
	n := c.expr(e)
	if b := n.typ.base; b != boolean && b != isNull && b != failed {
		hint := ""
		switch {
		case b == text && strings.HasSuffix(what, "||"):
			hint = " Join texts with a template, \"${a}${b}\", or with concat_ws(); else compare it, or use tobool()."
		case b == text || b == integer:
			hint = " Compare it, or use tobool()."
		}
		return c.errorf("E0318", e.Range(), "Not a condition", "%s must be a bool, but this is %s.%s", what, n.typ, hint)
	}
	return n
}

// widen makes a number of the wider type that it is unified to.
func (c *checker) widen(n *node, t typ) *node {
	if n.typ.base == t.base || !n.typ.base.numeric() || !t.base.numeric() {
		return n
	}
	return c.fold(&node{kind: widen, typ: typ{base: t.base, null: n.typ.null}, rng: n.rng, kids: []*node{n}})
}

func (c *checker) unary(e *hclsyntax.UnaryOpExpr) *node {
	if e.Op == hclsyntax.OpLogicalNot {
		k := c.condition(e.Val, "The operand of !")
		if k.isFailed() {
			return k
		}
		return c.fold(&node{kind: not, typ: typ{base: boolean, null: k.typ.null}, rng: e.SrcRange, kids: []*node{k}})
	}
	k := c.expr(e.Val)
	if k.isFailed() {
		return k
	}
	if b := k.typ.base; !b.numeric() && b != isNull {
		return c.errorf("E0310", e.SrcRange, "Wrong type of operand", "- needs a number, but this is %s.", k.typ)
	}
	return c.fold(&node{kind: negate, typ: typ{base: k.typ.base, null: k.typ.null}, rng: e.SrcRange, kids: []*node{k}})
}

// binaryOps maps HCL's operators; those that are not strict about NULL have a kind of their own.
var binaryOps = map[*hclsyntax.Operation]struct {
	sign string
	op   operator
}{
	hclsyntax.OpAdd: {"+", opAdd}, hclsyntax.OpSubtract: {"-", opSub}, hclsyntax.OpMultiply: {"*", opMul}, hclsyntax.OpDivide: {"/", opDiv}, hclsyntax.OpModulo: {"%", opMod},
	hclsyntax.OpLessThan: {"<", opLess}, hclsyntax.OpLessThanOrEqual: {"<=", opLessEqual}, hclsyntax.OpGreaterThan: {">", opGreater}, hclsyntax.OpGreaterThanOrEqual: {">=", opGreaterEqual},
}

func (c *checker) binary(e *hclsyntax.BinaryOpExpr) *node {
	switch e.Op {
	case hclsyntax.OpLogicalAnd, hclsyntax.OpLogicalOr:
		return c.logic(e)
	case hclsyntax.OpEqual, hclsyntax.OpNotEqual:
		return c.equality(e)
	}
	a, b := c.expr(e.LHS), c.expr(e.RHS)
	o := binaryOps[e.Op]
	if a.isFailed() || b.isFailed() {
		return c.invalid(e.SrcRange)
	}
	t, same := unify(a.typ, b.typ)
	if o.op >= opLess {
		if !same || !t.base.ordered() && t.base != isNull {
			return c.errorf("E0310", e.SrcRange, "Values can't be compared", "%s compares numbers, texts, dates, times or timestamps of one type, but these are %s and %s.%s", o.sign, a.typ, b.typ, convertHint(a.typ, b.typ))
		}
		return c.fold(&node{kind: binary, op: o.op, typ: typ{base: boolean, null: t.null}, rng: e.SrcRange, kids: []*node{c.widen(a, t), c.widen(b, t)}})
	}
	if !same || !t.base.numeric() && t.base != isNull {
		hint := convertHint(a.typ, b.typ)
		if o.op == opAdd && a.typ.base == text && b.typ.base == text {
			hint = ` Join text with a template: "${a} ${b}".`
		}
		return c.errorf("E0310", e.SrcRange, "Wrong type of operand", "%s needs numbers, but these are %s and %s.%s", o.sign, a.typ, b.typ, hint)
	}
	t = typ{base: t.base, null: t.null}
	if o.op == opDiv && t.base == integer {
		t.base = decimal // 7 / 2 is 3.5
	}
	return c.fold(&node{kind: binary, op: o.op, typ: t, rng: e.SrcRange, kids: []*node{c.widen(a, t), c.widen(b, t)}})
}

func (c *checker) logic(e *hclsyntax.BinaryOpExpr) *node {
	kind, sign := and, "&&"
	if e.Op == hclsyntax.OpLogicalOr {
		kind, sign = or, "||"
	}
	a := c.condition(e.LHS, "An operand of "+sign)
	outer := c.facts
	more := facts{}
	more.known(a, kind == and)
	c.facts = outer.with(more)
	b := c.condition(e.RHS, "An operand of "+sign)
	c.facts = outer
	if a.isFailed() || b.isFailed() {
		return c.invalid(e.SrcRange)
	}
	c.contradiction(e, kind, a, b)
	return c.fold(&node{kind: kind, typ: typ{base: boolean, null: a.typ.null || b.typ.null}, rng: e.SrcRange, kids: []*node{a, b}})
}

func (c *checker) equality(e *hclsyntax.BinaryOpExpr) *node {
	kind, sign := equal, "=="
	if e.Op == hclsyntax.OpNotEqual {
		kind, sign = notEqual, "!="
	}
	if n := c.oldEquality(e, kind); n != nil {
		return n
	}
	a, b := c.expr(e.LHS), c.expr(e.RHS)
	if a.isFailed() || b.isFailed() {
		return c.invalid(e.SrcRange)
	}
	t, same := unify(a.typ, b.typ)
	if !same {
		return c.errorf("E0310", e.SrcRange, "Values can't be compared", "%s compares values of one type, but these are %s and %s.%s", sign, a.typ, b.typ, convertHint(a.typ, b.typ))
	}
	c.alwaysSame(e.SrcRange, kind, a, b)
	return c.fold(&node{kind: kind, typ: typ{base: boolean}, rng: e.SrcRange, kids: []*node{c.widen(a, t), c.widen(b, t)}})
}

// oldEquality is `old == null`: whether there is a former row.
func (c *checker) oldEquality(e *hclsyntax.BinaryOpExpr, kind nodeKind) *node {
	isOld := func(x hclsyntax.Expression) bool {
		t, ok := x.(*hclsyntax.ScopeTraversalExpr)
		return ok && len(t.Traversal) == 1 && t.Traversal.RootName() == "old"
	}
	isNullLiteral := func(x hclsyntax.Expression) bool {
		l, ok := x.(*hclsyntax.LiteralValueExpr)
		return ok && l.Val.IsNull()
	}
	if !(isOld(e.LHS) && isNullLiteral(e.RHS) || isOld(e.RHS) && isNullLiteral(e.LHS)) {
		return nil
	}
	if !c.table.FullBefore {
		return c.noFullBefore(e.SrcRange)
	}
	n := &node{kind: oldIsNull, typ: typ{base: boolean}, rng: e.SrcRange}
	if kind == notEqual {
		n = &node{kind: not, typ: n.typ, rng: n.rng, kids: []*node{n}}
	}
	return n
}

// list checks [a, b].
func (c *checker) list(e *hclsyntax.TupleConsExpr) *node {
	n := &node{kind: listOf, rng: e.SrcRange}
	elem := typ{}
	for _, x := range e.Exprs {
		k := c.expr(x)
		t, ok := unify(elem, k.typ)
		if !ok {
			return c.errorf("E0311", x.Range(), "Elements of different types", "A list has elements of one type, but here are %s and %s.%s", elem, k.typ, convertHint(elem, k.typ))
		}
		elem = t
		n.kids = append(n.kids, k)
	}
	if elem.base == failed {
		return c.invalid(e.SrcRange)
	}
	for i, k := range n.kids {
		n.kids[i] = c.widen(k, elem)
	}
	n.typ = listType(elem)
	if len(n.kids) == 0 {
		n.typ.elem = nil
	}
	return c.fold(n)
}

// convertHint says how two types are brought together.
func convertHint(a, b typ) string {
	x, y := a.base, b.base
	if x > y {
		x, y = y, x
	}
	switch {
	case x.numeric() && y == text:
		return " There is no implicit conversion: use tostring() on the number, or toint() or todecimal() on the text."
	case x == timestamp && y == timestampTZ:
		return " Give the timestamp a zone with to_tz(value, \"Europe/Berlin\")."
	case x == date && (y == timestamp || y == timestampTZ):
		return " Make a date of the timestamp with todate()."
	case y == text || x == text && (y.temporal() || y == uuid || y == document):
		return " There is no implicit conversion: use tostring()."
	}
	return ""
}

// fold replaces a node whose parts are constants by its value, unless it fails: that
// is for the rows that get there.
func (c *checker) fold(n *node) *node {
	for _, k := range n.kids {
		n.typ.skip = n.typ.skip || k.typ.skip
		n.typ.pii = n.typ.pii || k.typ.pii && n.typ.base != boolean && !(n.kind == call && n.fn.hides)
	}
	if n.kind == call && n.fn.reads || c.unfolded {
		return n
	}
	if n.kind == binary && (n.op == opDiv || n.op == opMod) && c.isZero(n.kids[1]) {
		c.alwaysFails(n.rng, "division_by_zero")
		return n
	}
	for _, k := range n.kids {
		if !k.isConst() {
			return n
		}
	}
	v := compile(n)(c.scratch)
	c.scratch.fail = failure{}
	if v.kind == failed {
		c.alwaysFails(n.rng, v.s)
		return n
	}
	t := n.typ
	t.null = v.kind == isNull
	if v.kind == text {
		t.labels, t.length = nil, 0
	}
	return &node{kind: constant, typ: t, rng: n.rng, val: v.keep(c.scratch)}
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}
