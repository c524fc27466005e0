package transform

import (
	"fmt"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// alwaysSame warns of == and != that have one result whatever the row is.
func (c *checker) alwaysSame(rng hcl.Range, kind nodeKind, a, b *node) {
	says := func(result bool, why string, args ...any) {
		c.warnf("W0303", rng, fmt.Sprint("Comparison is always ", result), why, args...)
	}
	if a.isSlot() && a.kind == b.kind && a.index == b.index {
		says(kind == equal, "Both sides are the same value.")
		return
	}
	if b.isConst() {
		a, b = b, a
	}
	if !a.isConst() || b.isConst() {
		return
	}
	never := kind == notEqual
	switch t := b.typ; {
	case a.isNull():
		if !t.null {
			says(never, "The value is never NULL here.")
		}
	case a.val.kind == text && t.labels != nil:
		if !contains(t.labels, a.val.s) {
			says(never, "%q is not one of the enum's labels. %s", a.val.s, didYouMean(a.val.s, t.labels))
		}
	case a.val.kind == text && t.length > 0 && b.kind == column:
		if n := utf8.RuneCountInString(a.val.s); n > t.length {
			says(never, "The text has %d characters, and the column at most %d.", n, t.length)
		}
	case a.val.kind == decimal && t.base == integer && a.val.dec != nil:
		if !whole(a.val.dec) {
			says(never, "An int is never a number with a fraction.")
		}
	case a.val.kind == decimal && t.base == decimal && b.kind == column && t.precision > 0 && a.val.dec != nil:
		if d := a.val.dec; fraction(d) > t.scale {
			says(never, "The column has %d digits after the point, and the number more.", t.scale)
		}
	}
}

// contradiction warns of x != a || x != b, which every x is, and of x == a && x == b, which none is.
// What is constant only because a variable is, is no mistake: just literals are told.
func (c *checker) contradiction(e *hclsyntax.BinaryOpExpr, kind nodeKind, a, b *node) {
	rng := e.SrcRange
	for i, k := range []*node{a, b} {
		if _, literal := []hclsyntax.Expression{e.LHS, e.RHS}[i].(*hclsyntax.LiteralValueExpr); literal && k.val.kind == boolean {
			decides := k.val.isTrue() == (kind == or)
			if decides {
				c.warnf("W0303", rng, fmt.Sprint("Condition is always ", k.val.isTrue()), "One side is %v whatever the row is.", k.val.isTrue())
			} else {
				c.warnf("W0303", k.rng, "Condition is always the same", "This side is %v whatever the row is: take it out.", k.val.isTrue())
			}
			return
		}
	}
	of := equal
	if kind == or {
		of = notEqual
	}
	x, v := comparedTo(a, of)
	y, u := comparedTo(b, of)
	if x == nil || y == nil || x.kind != y.kind || x.index != y.index || v.val.kind != u.val.kind || v.val.kind != text && v.val.kind != integer {
		return
	}
	if v.val.s == u.val.s && v.val.n == u.val.n {
		return
	}
	if kind == or {
		c.warnf("W0303", rng, "Condition is always true", "A value always differs from one of the two: && is meant.")
	} else {
		c.warnf("W0303", rng, "Condition is always false", "A value is never both: || is meant.")
	}
}

// comparedTo returns the slot and the constant of slot == constant.
func comparedTo(n *node, kind nodeKind) (at, to *node) {
	if n.kind != kind {
		return nil, nil
	}
	a, b := n.kids[0], n.kids[1]
	if a.isConst() {
		a, b = b, a
	}
	if !a.isSlot() || !b.isConst() {
		return nil, nil
	}
	return a, b
}

func whole(d *apd.Decimal) bool { return fraction(d) == 0 }

// fraction counts the digits after the point that are not trailing zeros.
func fraction(d *apd.Decimal) int {
	var r apd.Decimal
	r.Reduce(d)
	return max(0, int(-r.Exponent))
}

// alwaysFails warns of what rejects each row for which it is computed.
func (c *checker) alwaysFails(rng hcl.Range, reason string) {
	if text := reasons[reason]; text != "" && c.tried == 0 {
		c.warnf("W0309", rng, "Always fails", "Whenever this is computed the row is rejected as %s: %s.", reason, text)
	}
}

// isZero tells whether a number is the constant 0.
func (c *checker) isZero(n *node) bool {
	if !n.isConst() {
		return false
	}
	switch n.typ.base {
	case integer:
		i, ok := n.val.int()
		return ok && i == 0
	case decimal:
		d, ok := c.scratch.decimal(n.val)
		return ok && d.IsZero() && d.Form == apd.Finite
	case float:
		f, ok := n.val.float()
		return ok && f == 0
	}
	return false
}
