package transform

import (
	"math"
	"math/bits"

	"github.com/cockroachdb/apd/v3"
)

// arithmetic is the context of decimal operations: 34 digits, half to even, and
// the exponents of IEEE 754 decimal128. Nothing is trapped: the
// conditions are looked at.
var arithmetic = apd.Context{Precision: 34, MaxExponent: 6144, MinExponent: -6143, Rounding: apd.RoundHalfEven}

// newDecimal takes a decimal from the worker's store; it is the worker's until the next Eval.
func (w *Worker) newDecimal() *apd.Decimal {
	if w.decimalsUsed == len(w.decimals) {
		w.decimals = append(w.decimals, new(apd.Decimal))
	}
	d := w.decimals[w.decimalsUsed]
	w.decimalsUsed++
	return d
}

// decimal returns an int's or decimal's value. It is read only.
func (w *Worker) decimal(v value) (*apd.Decimal, bool) {
	if v.dec != nil {
		return v.dec, true
	}
	d := w.newDecimal()
	if v.kind == integer && v.s == "" {
		d.SetInt64(v.n)
		return d, true
	}
	_, _, err := d.SetString(v.s)
	return d, err == nil
}

func ofDecimal(d *apd.Decimal) value { return value{kind: decimal, dec: d} }

// operator is a binary operator that is strict about NULL.
type operator uint8

const (
	opAdd operator = iota
	opSub
	opMul
	opDiv
	opMod
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
)

// decimalOp computes with two decimals.
func (w *Worker) decimalOp(op operator, a, b value) value {
	x, ok := w.decimal(a)
	y, ok2 := w.decimal(b)
	if !ok || !ok2 {
		return fail("bad_number")
	}
	d := w.newDecimal()
	var cond apd.Condition
	switch op {
	case opAdd:
		cond, _ = arithmetic.Add(d, x, y)
	case opSub:
		cond, _ = arithmetic.Sub(d, x, y)
	case opMul:
		cond, _ = arithmetic.Mul(d, x, y)
	case opDiv:
		if y.Form == apd.Finite && y.IsZero() {
			return fail("division_by_zero")
		}
		cond, _ = arithmetic.Quo(d, x, y)
		if cond == 0 && d.Form == apd.Finite {
			idealExponent(d, x.Exponent-y.Exponent)
		}
	case opMod:
		if y.Form == apd.Finite && y.IsZero() {
			return fail("division_by_zero")
		}
		cond, _ = arithmetic.Rem(d, x, y)
	}
	switch {
	case cond&(apd.Overflow|apd.SystemOverflow) != 0:
		return fail("overflow")
	case cond&(apd.InvalidOperation|apd.DivisionUndefined|apd.DivisionImpossible|apd.DivisionByZero) != 0:
		return fail("invalid_operation")
	case d.IsZero():
		d.Negative = false // databases' decimals have no -0
		d.Exponent = min(d.Exponent, 0)
	}
	return ofDecimal(d)
}

var ten = apd.NewBigInt(10)

// idealExponent brings an exact quotient as near to the ideal exponent as its digits
// allow, as the General Decimal Arithmetic does: 7.0 / 2 is 3.5, 6.00 / 2 is 3.00.
func idealExponent(d *apd.Decimal, ideal int32) {
	var q, r apd.BigInt
	for d.Exponent < ideal {
		q.QuoRem(&d.Coeff, ten, &r)
		if r.Sign() != 0 {
			return
		}
		d.Coeff.Set(&q)
		d.Exponent++
	}
	for d.Exponent > ideal && d.NumDigits() < int64(arithmetic.Precision) {
		d.Coeff.Mul(&d.Coeff, ten)
		d.Exponent--
	}
}

// intOp computes with two ints; division is not among its operators.
func intOp(op operator, a, b value) value {
	x, ok := a.int()
	y, ok2 := b.int()
	if !ok || !ok2 {
		return fail("bad_number")
	}
	switch op {
	case opAdd:
		z := x + y
		if (z > x) != (y > 0) && y != 0 {
			return fail("overflow")
		}
		return ofInt(z)
	case opSub:
		z := x - y
		if (z < x) != (y > 0) && y != 0 {
			return fail("overflow")
		}
		return ofInt(z)
	case opMul:
		return mulInt(x, y)
	}
	switch y {
	case 0:
		return fail("division_by_zero")
	case -1:
		return ofInt(0)
	}
	return ofInt(x % y)
}

func mulInt(x, y int64) value {
	neg := (x < 0) != (y < 0)
	hi, lo := bits.Mul64(magnitude(x), magnitude(y))
	switch {
	case hi != 0 || lo > 1<<63 || lo == 1<<63 && !neg:
		return fail("overflow")
	case neg:
		return ofInt(int64(-lo))
	}
	return ofInt(int64(lo))
}

func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

// floatOp computes with two floats. A result beyond the range is refused; NaN and
// infinities that come from the row are computed with as IEEE 754 says.
func floatOp(op operator, a, b value) value {
	x, ok := a.float()
	y, ok2 := b.float()
	if !ok || !ok2 {
		return fail("bad_number")
	}
	var z float64
	switch op {
	case opAdd:
		z = x + y
	case opSub:
		z = x - y
	case opMul:
		z = x * y
	default:
		if y == 0 {
			return fail("division_by_zero")
		}
		if op == opDiv {
			z = x / y
		} else {
			z = math.Mod(x, y)
		}
	}
	if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		return fail("overflow")
	}
	return ofFloat(z)
}
