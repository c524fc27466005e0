package transform

import (
	"math"
	"strconv"

	"github.com/cockroachdb/apd/v3"
)

var numberFunctions = []*function{
	{
		name: "round", params: []param{{name: "number", types: numbers}, {name: "digits", types: intType}}, optional: 1, result: sameAsFirst, fails: []string{"overflow"},
		call: func(w *Worker, a []value) value {
			digits := int64(0)
			if len(a) > 1 {
				digits, _ = a[1].int()
			}
			return w.quantize(a[0], int32(max(-100, min(100, digits))), &roundHalfUp)
		},
		doc: "Rounded to so many digits after the point (0 if left out; negative: before it), ties away from zero, as databases' ROUND does.", examples: [][2]string{{`round(2.345, 2)`, `2.35`}, {`round(1250, -2)`, `1300`}},
	},
	{
		name: "floor", params: []param{{name: "number", types: numbers}}, result: sameAsFirst,
		call: func(w *Worker, a []value) value { return w.quantize(a[0], 0, &roundFloor) },
		doc:  "The largest whole number that is not above.", examples: [][2]string{{`tostring(floor(-1.5))`, `"-2"`}},
	},
	{
		name: "ceil", params: []param{{name: "number", types: numbers}}, result: sameAsFirst,
		call: func(w *Worker, a []value) value { return w.quantize(a[0], 0, &roundCeil) },
		doc:  "The smallest whole number that is not below.", examples: [][2]string{{`tostring(ceil(1.2))`, `"2"`}},
	},
	{
		name: "abs", params: []param{{name: "number", types: numbers}}, result: sameAsFirst, fails: []string{"overflow"},
		call: abs,
		doc:  "Without its sign.", examples: [][2]string{{`abs(-3)`, `3`}},
	},
	{
		name: "min", params: []param{{name: "value", types: ordered}}, variadic: true, unify: true, result: unified, fails: []string{"bad_value"},
		call: func(w *Worker, a []value) value { return w.extreme(a, -1) },
		doc:  "The least of the values.", examples: [][2]string{{`min(3, 1, 2)`, `1`}},
	},
	{
		name: "max", params: []param{{name: "value", types: ordered}}, variadic: true, unify: true, result: unified, fails: []string{"bad_value"},
		call: func(w *Worker, a []value) value { return w.extreme(a, 1) },
		doc:  "The greatest of the values.", examples: [][2]string{{`max("a", "b")`, `"b"`}},
	},
	{
		name: "major", params: []param{{name: "amount", types: setOf(integer, decimal)}, {name: "currency", types: textType}}, result: returns(decimal), fails: []string{"bad_currency"},
		bind: bindCurrency(major),
		doc:  "An amount in minor units (cents) in major ones, with the currency's digits (ISO 4217).", examples: [][2]string{{`tostring(major(1250, "EUR"))`, `"12.50"`}, {`tostring(major(1250, "JPY"))`, `"1250"`}},
	},
	{
		name: "minor", params: []param{{name: "amount", types: setOf(integer, decimal)}, {name: "currency", types: textType}}, result: returns(integer), fails: []string{"bad_currency", "not_exact", "overflow"},
		bind: bindCurrency(minor),
		doc:  "An amount in the currency's minor units; one with more digits than the currency is refused: round it first.", examples: [][2]string{{`minor(12.5, "EUR")`, `1250`}},
	},
	{
		name: "percent", params: []param{{name: "part", types: numbers}, {name: "whole", types: numbers}, {name: "digits", types: intType}}, optional: 1, result: returns(decimal), fails: []string{"division_by_zero", "bad_number", "overflow", "invalid_operation"},
		call: percent,
		doc:  "How many per cent of the whole the part is, rounded to so many digits after the point (2 if left out).", examples: [][2]string{{`tostring(percent(1, 3))`, `"33.33"`}, {`percent_or(1, 0, null)`, `null`}},
	},
}

func sameAsFirst(args []*node) typ { return typ{base: args[0].typ.base} }

func unified(args []*node) typ {
	t := args[0].typ
	for _, a := range args {
		t, _ = unify(t, a.typ)
	}
	t.null = false
	return t
}

// The contexts of rounding have room for any column's digits.
var (
	roundHalfUp = apd.Context{Precision: 200_000, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent, Rounding: apd.RoundHalfUp}
	roundFloor  = apd.Context{Precision: 200_000, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent, Rounding: apd.RoundFloor}
	roundCeil   = apd.Context{Precision: 200_000, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent, Rounding: apd.RoundCeiling}
)

// quantize brings a number to so many digits after the point. NaN and infinities stay.
func (w *Worker) quantize(v value, digits int32, c *apd.Context) value {
	if v.kind == integer && digits >= 0 {
		return v
	}
	in := v
	if v.kind == float {
		f, ok := v.float()
		if !ok {
			return fail("bad_number")
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return v
		}
		// The float's shortest text is what people see: 2.675 rounds to 2.68.
		in = value{kind: decimal, s: strconv.FormatFloat(f, 'g', -1, 64)}
	}
	x, ok := w.decimal(in)
	if !ok {
		return fail("bad_number")
	}
	if x.Form != apd.Finite {
		return v
	}
	d := w.newDecimal()
	if v.kind == decimal && -x.Exponent <= digits && c == &roundHalfUp {
		d.Set(x) // no digits to lose: the scale is kept
	} else if cond, _ := c.Quantize(d, x, -digits); cond&apd.InvalidOperation != 0 {
		return fail("overflow")
	}
	if d.IsZero() {
		d.Negative = false
	}
	switch v.kind {
	case integer:
		if digits < 0 {
			apdPlain(d)
		}
		n, err := d.Int64()
		if err != nil {
			return fail("overflow")
		}
		return ofInt(n)
	case float:
		f, _ := d.Float64()
		return ofFloat(f)
	}
	apdPlain(d)
	return ofDecimal(d)
}

// apdPlain makes a positive exponent zero, so that the text has no exponent.
func apdPlain(d *apd.Decimal) {
	for d.Exponent > 0 {
		d.Coeff.Mul(&d.Coeff, ten)
		d.Exponent--
	}
}

func abs(w *Worker, a []value) value {
	v := a[0]
	switch v.kind {
	case integer:
		n, ok := v.int()
		switch {
		case !ok:
			return fail("bad_number")
		case n == math.MinInt64:
			return fail("overflow")
		case n < 0:
			return ofInt(-n)
		}
		return v
	case float:
		f, ok := v.float()
		if !ok {
			return fail("bad_number")
		}
		return ofFloat(math.Abs(f))
	}
	x, ok := w.decimal(v)
	if !ok {
		return fail("bad_number")
	}
	return ofDecimal(w.newDecimal().Abs(x))
}

// extreme returns the least (-1) or greatest (1) of the values.
func (w *Worker) extreme(a []value, sign int) value {
	best := a[0]
	for _, v := range a[1:] {
		c, ok := w.compare(v, best)
		if ok == notComparable {
			return fail("bad_value")
		}
		if ok == sorted && c*sign > 0 {
			best = v
		}
	}
	return best
}

func percent(w *Worker, a []value) value {
	digits := int64(2)
	if len(a) > 2 {
		var ok bool
		if digits, ok = a[2].int(); !ok || digits < 0 || digits > 30 {
			return fail("bad_number")
		}
	}
	part, whole := toDecimal(w, a[:1]), toDecimal(w, a[1:2])
	if part.kind == failed || whole.kind == failed {
		return fail("bad_number")
	}
	q := w.decimalOp(opMul, part, ofInt(100))
	if q.kind == decimal {
		q = w.decimalOp(opDiv, q, whole)
	}
	if q.kind != decimal || q.dec.Form != apd.Finite {
		if q.kind == failed {
			return q
		}
		return fail("bad_number")
	}
	d := w.newDecimal()
	if cond, _ := roundHalfUp.Quantize(d, q.dec, -int32(digits)); cond&apd.InvalidOperation != 0 {
		return fail("overflow")
	}
	if d.IsZero() {
		d.Negative = false
	}
	return ofDecimal(d)
}

// bindCurrency checks a currency that is known beforehand.
func bindCurrency(compute func(w *Worker, amount value, digits int32) value) func([]*node) (callFunc, error) {
	return func(args []*node) (callFunc, error) {
		if k := args[1]; k.isConst() && k.val.kind == text {
			if _, ok := currencyDigits(k.val.s); !ok {
				return nil, badArg(1, "%q is not a currency of ISO 4217", k.val.s)
			}
		}
		return func(w *Worker, a []value) value {
			digits, ok := currencyDigits(a[1].s)
			if !ok {
				return fail("bad_currency")
			}
			return compute(w, a[0], digits)
		}, nil
	}
}

func major(w *Worker, amount value, digits int32) value {
	d, ok := w.decimal(amount)
	if !ok {
		return fail("bad_number")
	}
	out := w.newDecimal().Set(d)
	if out.Form == apd.Finite {
		out.Exponent -= digits
	}
	return ofDecimal(out)
}

func minor(w *Worker, amount value, digits int32) value {
	x, ok := w.decimal(amount)
	if !ok {
		return fail("bad_number")
	}
	d := w.newDecimal().Set(x)
	if d.Form != apd.Finite {
		return fail("overflow")
	}
	d.Exponent += digits
	if d.Exponent > 40 {
		return fail("overflow")
	}
	q := w.newDecimal()
	if cond, _ := roundFloor.Quantize(q, d, 0); cond&apd.Inexact != 0 {
		return fail("not_exact")
	}
	n, err := q.Int64()
	if err != nil {
		return fail("overflow")
	}
	return ofInt(n)
}
