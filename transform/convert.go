package transform

import (
	"math"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

var conversionFunctions = []*function{
	{
		name: "tostring", params: []param{{name: "value", types: anyType &^ setOf(bytes)}}, result: func(args []*node) typ {
			if t := args[0].typ; t.base == text {
				return typ{base: text, labels: t.labels, length: t.length}
			}
			return typ{base: text}
		},
		call: func(w *Worker, a []value) value { return ofText(w.text(a[0])) },
		doc:  "The value's exact text, as it is in the stream: decimals with their scale, times in ISO 8601, lists as JSON.", examples: [][2]string{{`tostring(12.50)`, `"12.50"`}, {`tostring(true)`, `"true"`}},
	},
	{
		name: "toint", params: []param{{name: "value", types: setOf(text, integer, decimal, float)}}, result: returns(integer), fails: []string{"bad_number"},
		call: toInt,
		doc:  "The whole number that the text or number is; refused where it has a fraction (use round, floor or ceil first) or does not fit.", examples: [][2]string{{`toint(" 42 ")`, `42`}, {`toint_or("4.2", 0)`, `0`}},
	},
	{
		name: "todecimal", params: []param{{name: "value", types: setOf(text, integer, decimal, float)}}, result: returns(decimal), fails: []string{"bad_number"},
		call: toDecimal,
		doc:  "The decimal that the text or number is, with its scale. A text has digits with an optional point, sign and exponent; a float gives its shortest text.", examples: [][2]string{{`todecimal("12.50")`, `12.50`}, {`todecimal_or("12,50", null)`, `null`}},
	},
	{
		name: "tobool", params: []param{{name: "value", types: setOf(text, integer, boolean)}}, result: returns(boolean), fails: []string{"bad_bool"},
		call: toBool,
		doc:  "True of `true t yes y on 1`, false of `false f no n off 0`, in any case; anything else is refused.", examples: [][2]string{{`tobool("Yes")`, `true`}, {`tobool_or("maybe", false)`, `false`}},
	},
	{
		name: "todate", params: []param{{name: "value", types: setOf(text, date, timestamp, timestampTZ)}}, result: returns(date), fails: []string{"bad_date"},
		call: toDate,
		doc:  "The day of a timestamp (of a timestamptz in UTC: use to_tz first for another zone's day), or of a text like 2026-03-14.", examples: [][2]string{{`tostring(todate("2026-03-14"))`, `"2026-03-14"`}, {`todate_or("14.3.26", null)`, `null`}},
	},
}

func toInt(w *Worker, a []value) value {
	v := a[0]
	switch v.kind {
	case integer:
		return v
	case float:
		f, ok := v.float()
		if !ok || f != math.Trunc(f) || f < -(1<<63) || f >= 1<<63 {
			return fail("bad_number")
		}
		return ofInt(int64(f))
	case decimal:
		x, ok := w.decimal(v)
		if !ok || x.Form != apd.Finite || x.Exponent > 20 {
			return fail("bad_number")
		}
		d := w.newDecimal()
		if cond, _ := roundFloor.Quantize(d, x, 0); cond&apd.Inexact != 0 {
			return fail("bad_number")
		}
		n, err := d.Int64()
		if err != nil {
			return fail("bad_number")
		}
		return ofInt(n)
	}
	n, err := strconv.ParseInt(strings.TrimFunc(v.s, isBlank), 10, 64)
	if err != nil {
		return fail("bad_number")
	}
	return ofInt(n)
}

func toDecimal(w *Worker, a []value) value {
	v := a[0]
	s := ""
	switch v.kind {
	case decimal:
		return v
	case integer:
		return w.toBase(v, decimal)
	case float:
		f, ok := v.float()
		if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
			return fail("bad_number")
		}
		s = strconv.FormatFloat(f, 'g', -1, 64)
	default:
		s = strings.TrimFunc(v.s, isBlank)
		if !isNumeral(s) {
			return fail("bad_number")
		}
	}
	d := w.newDecimal()
	if _, _, err := d.SetString(s); err != nil || d.Exponent > 1000 || d.Exponent < -1000 {
		return fail("bad_number")
	}
	apdPlain(d)
	if d.IsZero() {
		d.Negative = false
	}
	return ofDecimal(d)
}

// isNumeral: digits with an optional point, sign and exponent.
func isNumeral(s string) bool {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	mantissa, exponent, has := strings.Cut(strings.ToLower(s), "e")
	if has {
		if exponent != "" && (exponent[0] == '+' || exponent[0] == '-') {
			exponent = exponent[1:]
		}
		if exponent == "" || len(exponent) > 4 || strings.Trim(exponent, "0123456789") != "" {
			return false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	return whole+fraction != "" && strings.Trim(whole, "0123456789") == "" && strings.Trim(fraction, "0123456789") == ""
}

func toBool(_ *Worker, a []value) value {
	v := a[0]
	switch v.kind {
	case boolean:
		return v
	case integer:
		n, ok := v.int()
		if !ok || n != 0 && n != 1 {
			return fail("bad_bool")
		}
		return ofBool(n == 1)
	}
	s := strings.TrimFunc(v.s, isBlank)
	for _, yes := range [...]string{"true", "t", "yes", "y", "on", "1"} {
		if strings.EqualFold(s, yes) {
			return trueVal
		}
	}
	for _, no := range [...]string{"false", "f", "no", "n", "off", "0"} {
		if strings.EqualFold(s, no) {
			return falseVal
		}
	}
	return fail("bad_bool")
}

func toDate(_ *Worker, a []value) value {
	v := a[0]
	if v.kind == date {
		return v
	}
	if v.kind == text {
		v = value{kind: date, s: strings.TrimFunc(v.s, isBlank)}
		if v.s == "" {
			return fail("bad_date")
		}
	}
	n, ok := v.micros()
	switch {
	case !ok:
		return fail("bad_date")
	case n == infinity || n == minusInfinity:
		return value{kind: date, n: n}
	}
	return value{kind: date, n: floorDiv(n, microsPerDay) * microsPerDay}
}
