package transform

import (
	"math"
	"strconv"
	"strings"
	"time"

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
	{
		name: "totimestamp", params: []param{{name: "value", types: setOf(text, integer, decimal, float, date, timestamp, timestampTZ)}, {name: "zone", types: textType, constant: true}}, optional: 1, result: returns(timestampTZ), fails: []string{"bad_time"},
		bind: bindTimestamp,
		doc:  "The moment that a text like `2026-03-14T09:05:00Z` or `2026-03-14 09:05` (ISO 8601), a number of seconds since 1970 or a date names. Where it has no zone of its own, `zone` (IANA) says whose clock it is; without one it is refused.", examples: [][2]string{{`tostring(totimestamp("2026-03-14 09:05:00+01:00"))`, `"2026-03-14T08:05:00Z"`}, {`tostring(totimestamp("2026-07-01 12:00", "Europe/Berlin"))`, `"2026-07-01T10:00:00Z"`}, {`tostring(totimestamp(86400))`, `"1970-01-02T00:00:00Z"`}},
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

func bindTimestamp(args []*node) (callFunc, error) {
	var zone *time.Location
	if len(args) > 1 {
		var err error
		if zone, err = loadZone(args[1].val.s); err != nil {
			return nil, err
		}
	}
	return func(w *Worker, a []value) value {
		v := a[0]
		switch v.kind {
		case timestampTZ:
			return v
		case integer, decimal, float:
			return w.fromSeconds(v)
		case text:
			micros, zoned, ok := parseISO(strings.TrimFunc(v.s, isBlank))
			switch {
			case !ok:
				return fail("bad_time")
			case zoned:
				return value{kind: timestampTZ, n: micros}
			}
			v = value{kind: timestamp, n: micros}
		case date:
			n, ok := v.micros()
			if !ok {
				return fail("bad_time")
			}
			v = value{kind: timestamp, n: n}
		}
		if zone == nil {
			return fail("bad_time")
		}
		if v = toTZ(v, zone); v.kind == failed {
			return fail("bad_time")
		}
		return v
	}, nil
}

// fromSeconds makes a moment of seconds since 1970, to the microsecond.
func (w *Worker) fromSeconds(v value) value {
	d := toDecimal(w, []value{v})
	if d.kind == failed {
		return fail("bad_time")
	}
	d = toInt(w, []value{w.quantize(w.decimalOp(opMul, d, ofInt(microsPerSecond)), 0, &roundFloor)})
	if d.kind == failed {
		return fail("bad_time")
	}
	return value{kind: timestampTZ, n: d.n}
}

// parseISO reads ISO 8601's calendar date, with or without a time, with or without a zone.
func parseISO(s string) (micros int64, zoned, ok bool) {
	n, rest, ok := parseDate(s)
	if !ok || n == infinity || n == minusInfinity || rest == "" {
		return n, false, ok && n != infinity && n != minusInfinity
	}
	if rest[0] != 'T' && rest[0] != 't' && rest[0] != ' ' {
		return 0, false, false
	}
	rest = rest[1:]
	c, after, ok := parseClock(rest)
	if !ok && len(rest) >= 5 && rest[2] == ':' {
		c, _, ok = parseClock(rest[:5] + ":00")
		after = rest[5:]
	}
	if !ok || c < 0 || c >= microsPerDay+microsPerSecond {
		return 0, false, false
	}
	after = strings.TrimPrefix(after, " ")
	if after == "" {
		return n + c, false, true
	}
	var t parsed
	if after == "z" {
		after = "Z"
	}
	if rest, ok = t.readZone(after); !ok || rest != "" {
		return 0, false, false
	}
	return n + c - int64(t.offset)*microsPerSecond, true, true
}
