package transform

import (
	"math"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// compileBinary is for the operators that give NULL for a NULL operand. Both operands
// are computed, left first; the first failure counts more than a NULL.
func compileBinary(n *node, a, b eval) eval {
	op, both := n.op, max(n.kids[0].typ.base, n.kids[1].typ.base)
	var apply func(w *Worker, x, y value) value
	switch {
	case op >= opLess:
		apply = func(w *Worker, x, y value) value {
			c, ok := w.compare(x, y)
			switch {
			case ok == notComparable:
				return fail("bad_value")
			case ok == unordered:
				return falseVal
			case op == opLess:
				return ofBool(c < 0)
			case op == opLessEqual:
				return ofBool(c <= 0)
			case op == opGreater:
				return ofBool(c > 0)
			}
			return ofBool(c >= 0)
		}
	case both == integer && op != opDiv:
		apply = func(_ *Worker, x, y value) value { return intOp(op, x, y) }
	case both == float:
		apply = func(_ *Worker, x, y value) value { return floatOp(op, x, y) }
	default:
		apply = func(w *Worker, x, y value) value { return w.decimalOp(op, x, y) }
	}
	return func(w *Worker) value {
		x := a(w)
		if x.kind == failed {
			return x
		}
		y := b(w)
		if y.absent() {
			return y
		}
		if x.kind == isNull {
			return x
		}
		return apply(w, x, y)
	}
}

// compileEquality is == and !=: NULL equals NULL and nothing else, so the result is never NULL.
func compileEquality(n *node, a, b eval) eval {
	want := n.kind == equal
	if n.kids[1].isConst() && n.kids[1].val.kind == isNull {
		return func(w *Worker) value {
			x := a(w)
			if x.kind == failed {
				return x
			}
			return ofBool((x.kind == isNull) == want)
		}
	}
	return func(w *Worker) value {
		x := a(w)
		if x.kind == failed {
			return x
		}
		y := b(w)
		if y.kind == failed {
			return y
		}
		return ofBool(w.same(x, y) == want)
	}
}

// same tells whether two values of one type are the same value; 1.50 and 1.5 are.
func (w *Worker) same(x, y value) bool {
	if x.kind == isNull || y.kind == isNull {
		return x.kind == y.kind
	}
	switch x.kind {
	case boolean:
		return x.n == y.n
	case integer, decimal, float, date, clock, timestamp, timestampTZ:
		if x.s != "" && x.s == y.s {
			return true // zero dates and NaN too
		}
		c, ok := w.compare(x, y)
		return ok == sorted && c == 0
	case list:
		return w.sameList(x, y)
	case composite:
		if x.list != nil && y.list != nil {
			return w.sameList(x, y)
		}
	}
	return w.text(x) == w.text(y)
}

func (w *Worker) sameList(x, y value) bool {
	if x.list == nil && y.list == nil {
		return x.s == y.s
	}
	elem := func(v value) base {
		if v.list != nil {
			for _, item := range *v.list {
				if item.kind != isNull {
					return item.kind
				}
			}
		}
		return text
	}
	e := elem(x)
	if x.list == nil {
		e = elem(y)
	}
	a, ok := w.items(x, e)
	b, ok2 := w.items(y, e)
	if !ok || !ok2 || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !w.same(a[i], b[i]) {
			return false
		}
	}
	return true
}

// comparison is how a comparison went.
type comparison uint8

const (
	sorted        comparison = iota
	unordered                // NaN with a number
	notComparable            // a value that names nothing, such as the date 0000-00-00
)

// compare orders two values of one type: numbers by value, text bytewise, times by
// time. NaN is unordered, but of decimals: there it is above all, as in Postgres.
func (w *Worker) compare(x, y value) (int, comparison) {
	switch x.kind {
	case integer:
		a, ok := x.int()
		b, ok2 := y.int()
		return order(a, b), whether(ok && ok2)
	case float:
		a, ok := x.float()
		b, ok2 := y.float()
		switch {
		case !ok || !ok2:
			return 0, notComparable
		case math.IsNaN(a) && math.IsNaN(b):
			return 0, sorted
		case math.IsNaN(a) || math.IsNaN(b):
			return 0, unordered
		}
		return order(a, b), sorted
	case decimal:
		a, ok := w.decimal(x)
		b, ok2 := w.decimal(y)
		if !ok || !ok2 {
			return 0, notComparable
		}
		an, bn := a.Form >= apd.NaNSignaling, b.Form >= apd.NaNSignaling
		if an || bn {
			return order(bit(an), bit(bn)), sorted
		}
		return a.Cmp(b), sorted
	case date, clock, timestamp, timestampTZ:
		a, ok := x.micros()
		b, ok2 := y.micros()
		return order(a, b), whether(ok && ok2)
	}
	return strings.Compare(w.text(x), w.text(y)), sorted
}

func whether(ok bool) comparison {
	if ok {
		return sorted
	}
	return notComparable
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func order[T int | int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
