package transform

import (
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/penstock-cdc/penstock/change"
)

// eval computes one node on the event that the worker is at.
type eval func(w *Worker) value

// compile turns a checked expression into closures. The types are known, so each
// closure does one thing; nothing in it is shared that changes.
func compile(n *node) eval {
	if n.kind == let {
		return compileLet(n, compile(n.kids[0])) // the arguments are compiled where they are used
	}
	kids := make([]eval, len(n.kids))
	for i, k := range n.kids {
		kids[i] = compile(k)
	}
	switch n.kind {
	case constant:
		v := n.val
		return func(*Worker) value { return v }
	case column:
		return compileColumn(n.index, n.typ.base)
	case oldColumn:
		i, as := n.index, n.typ.base
		return func(w *Worker) value {
			if w.old == nil {
				return null
			}
			return fromColumn(w.old[i], as)
		}
	case oldIsNull:
		return func(w *Worker) value { return ofBool(w.old == nil) }
	case cleanVar:
		i := n.index
		return func(w *Worker) value { return w.clean(i) }
	case metaField:
		return compileMeta(metaKey(n.index))
	case template:
		return compileTemplate(n, kids)
	case conditional:
		cond, yes, no := kids[0], kids[1], kids[2]
		return func(w *Worker) value {
			c := cond(w)
			switch {
			case c.kind == failed:
				return c
			case c.isTrue():
				return yes(w)
			}
			return no(w)
		}
	case and, or:
		return compileLogic(kids[0], kids[1], n.kind == and)
	case not:
		k := kids[0]
		return func(w *Worker) value {
			v := k(w)
			if v.absent() {
				return v
			}
			return ofBool(!v.isTrue())
		}
	case equal, notEqual:
		return compileEquality(n, kids[0], kids[1])
	case binary:
		return compileBinary(n, kids[0], kids[1])
	case negate:
		return compileNegate(n.typ.base, kids[0])
	case widen:
		return compileWiden(n.typ.base, kids[0])
	case listOf:
		return compileList(kids)
	case objectCons:
		return compileObject(n, kids)
	case indexOf:
		return compileIndex(n, kids[0], kids[1])
	case forEach:
		return compileFor(n, kids)
	case joinText:
		return compileJoin(kids[0])
	case variable:
		i := n.index
		return func(w *Worker) value { return w.vars[i] }
	case lazy:
		return compileLazy(n)
	}
	return compileCall(n, kids)
}

// compileColumn reads a column of the row; the former row's value where it did not change.
func compileColumn(i int, as base) eval {
	return func(w *Worker) value {
		v := w.row[i]
		if v.Kind() == change.Unchanged {
			if w.before == nil || w.before[i].Kind() == change.Unchanged {
				return value{kind: failed, s: reasonUnchanged, n: int64(i)}
			}
			v = w.before[i]
		}
		return fromColumn(v, as)
	}
}

func compileMeta(key metaKey) eval {
	switch key {
	case metaOp:
		return func(w *Worker) value { return ofText(opNames[byte(w.event.Op)]) }
	case metaSource:
		return func(w *Worker) value { return ofText(w.program.source) }
	case metaTable:
		return func(w *Worker) value { return ofText(w.program.table.QualifiedName()) }
	case metaTS:
		return func(w *Worker) value { return instant(w.event.CommitTime) }
	case metaSnapshot:
		return func(w *Worker) value { return ofBool(w.event.Snapshot != "") }
	}
	return func(w *Worker) value {
		start := len(w.buf)
		w.buf, _ = w.event.ID.AppendText(w.buf)
		return ofText(w.string(start))
	}
}

// opNames spares a conversion per event.
var opNames = [256]string{'r': "r", 'c': "c", 'u': "u", 'd': "d", 't': "t", 'm': "m"}

// compileTemplate joins the parts, all of which are computed first: each may use the text buffer itself.
func compileTemplate(n *node, kids []eval) eval {
	nulls := n.nulls
	return func(w *Worker) value {
		base := len(w.stack)
		absent := false
		for _, k := range kids {
			v := k(w)
			if v.kind == failed {
				w.stack = w.stack[:base]
				return v
			}
			absent = absent || v.kind == isNull
			w.stack = append(w.stack, v)
		}
		if absent && !nulls {
			w.stack = w.stack[:base]
			return null
		}
		start := len(w.buf)
		for _, v := range w.stack[base:] {
			if v.kind == isNull {
				w.buf = append(w.buf, "NULL"...)
				continue
			}
			w.buf = appendText(w.buf, v)
		}
		w.stack = w.stack[:base]
		return ofText(w.string(start))
	}
}

// compileLogic is three-valued: false && x is false and true || x is true whatever x
// is, and then x is not computed.
func compileLogic(a, b eval, isAnd bool) eval {
	return func(w *Worker) value {
		x := a(w)
		if x.kind == failed || x.kind == boolean && x.isTrue() != isAnd {
			return x
		}
		y := b(w)
		if y.kind == failed || y.kind == boolean && y.isTrue() != isAnd {
			return y
		}
		if x.kind == isNull || y.kind == isNull {
			return null
		}
		return y
	}
}

// compileNegate: - of a number.
func compileNegate(b base, k eval) eval {
	return func(w *Worker) value {
		v := k(w)
		if v.absent() {
			return v
		}
		switch b {
		case integer:
			return intOp(opSub, ofInt(0), v)
		case float:
			f, ok := v.float()
			if !ok {
				return fail("bad_number")
			}
			return ofFloat(-f)
		}
		x, ok := w.decimal(v)
		if !ok {
			return fail("bad_number")
		}
		d := w.newDecimal().Neg(x)
		if d.IsZero() {
			d.Negative = false // there is no -0 in databases' decimals
		}
		return ofDecimal(d)
	}
}

func compileWiden(b base, k eval) eval {
	return func(w *Worker) value {
		v := k(w)
		if v.absent() {
			return v
		}
		return w.toBase(v, b)
	}
}

// toBase makes a number of a wider type.
func (w *Worker) toBase(v value, b base) value {
	if b == float {
		f, ok := v.float()
		if !ok {
			return fail("bad_number")
		}
		return ofFloat(f)
	}
	if v.s != "" {
		return value{kind: decimal, s: v.s}
	}
	return ofDecimal(w.newDecimal().SetInt64(v.n))
}

func compileList(kids []eval) eval {
	return func(w *Worker) value {
		items := make([]value, len(kids))
		for i, k := range kids {
			if items[i] = k(w); items[i].kind == failed {
				return items[i]
			}
		}
		return value{kind: list, list: &items}
	}
}

// compileCall computes the arguments from left to right and calls the function. A
// failed argument ends it; a NULL one makes NULL, once all are computed.
func compileCall(n *node, kids []eval) eval {
	f, impl, expand := n.fn, n.impl, n.expand
	elem := isNull
	if expand {
		elem = n.kids[len(n.kids)-1].typ.elemBase()
	}
	var fallback eval
	if n.orTo {
		fallback, kids = kids[len(kids)-1], kids[:len(kids)-1]
	}
	if f.catch {
		return func(w *Worker) value {
			before := w.fail
			v := null
			for _, k := range kids {
				v = k(w)
				if v.kind != failed || v.s == reasonUnchanged || v.s == reasonSkip {
					w.fail = before
					return v
				}
			}
			return v
		}
	}
	if f.lazy {
		return func(w *Worker) value {
			for i, k := range kids {
				v := k(w)
				if expand && i == len(kids)-1 && !v.absent() {
					v = w.firstOf(v, elem)
				}
				if v.kind != isNull {
					return v
				}
			}
			return null
		}
	}
	return func(w *Worker) value {
		base := len(w.stack)
		absent := false
		for i, k := range kids {
			v := k(w)
			if v.kind == failed {
				w.stack = w.stack[:base]
				return v
			}
			if expand && i == len(kids)-1 && v.kind != isNull {
				items, ok := w.items(v, elem)
				if !ok {
					w.stack = w.stack[:base]
					return fail("bad_list")
				}
				absent = absent || len(w.stack)+len(items) == base // none at all
				for _, item := range items {
					absent = absent || item.kind == isNull
					w.stack = append(w.stack, item)
				}
				continue
			}
			absent = absent || v.kind == isNull
			w.stack = append(w.stack, v)
		}
		if absent && !f.lenient {
			w.stack = w.stack[:base]
			return null
		}
		v := impl(w, w.stack[base:])
		w.stack = w.stack[:base]
		if v.kind == failed {
			if fallback != nil {
				return fallback(w)
			}
			w.fail.function = f.name
		}
		return v
	}
}

// firstOf returns the first element that is not NULL.
func (w *Worker) firstOf(v value, elem base) value {
	items, ok := w.items(v, elem)
	if !ok {
		return fail("bad_list")
	}
	for _, item := range items {
		if item.kind != isNull {
			return item
		}
	}
	return null
}

// keep returns a value with memory of its own, for constants.
func (v value) keep(w *Worker) value {
	v.s = strings.Clone(v.s)
	if v.dec != nil {
		v.dec = new(apd.Decimal).Set(v.dec)
	}
	if v.list != nil {
		items := make([]value, len(*v.list))
		for i, x := range *v.list {
			items[i] = x.keep(w)
		}
		v.list = &items
	}
	return v
}
