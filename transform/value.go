package transform

import (
	"math"
	"strconv"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/penstock-cdc/penstock/change"
)

// value is a value at run time. What comes from a column keeps the column's text
// in s and is only parsed where an operation needs it; what was computed has s
// empty and the value in n or dec. Text, bytes, uuid, interval, json: always s.
type value struct {
	kind base
	n    int64 // bool 0 or 1; int; float's bits; date, time, timestamps: microseconds; failed: index of the unchanged column
	s    string
	dec  *apd.Decimal
	list *[]value
}

var (
	null     = value{}
	trueVal  = value{kind: boolean, n: 1}
	falseVal = value{kind: boolean}
)

func ofBool(b bool) value {
	if b {
		return trueVal
	}
	return falseVal
}
func ofInt(n int64) value     { return value{kind: integer, n: n} }
func ofText(s string) value   { return value{kind: text, s: s} }
func ofFloat(f float64) value { return value{kind: float, n: int64(math.Float64bits(f))} }

// fail is a failed evaluation; the reason is a stable code (see reasons).
func fail(reason string) value { return value{kind: failed, s: reason, n: -1} }

// absent tells NULL and failures from values: operations that are strict about NULL hand both on.
func (v value) absent() bool { return v.kind <= failed }
func (v value) isTrue() bool { return v.kind == boolean && v.n != 0 }

// fromColumn reads a column's value. Unchanged values are the caller's matter.
func fromColumn(v change.Value, as base) value {
	switch v.Kind() {
	case change.Null, change.Unchanged:
		return null
	case change.Bool:
		return ofBool(v.Text() == "true")
	}
	return value{kind: as, s: v.Text()}
}

// int returns an int's value.
func (v value) int() (int64, bool) {
	if v.s == "" {
		return v.n, true
	}
	n, err := strconv.ParseInt(v.s, 10, 64)
	return n, err == nil
}

// float returns any number as a float.
func (v value) float() (float64, bool) {
	switch v.kind {
	case integer:
		n, ok := v.int()
		return float64(n), ok
	case decimal:
		if v.dec != nil {
			f, err := v.dec.Float64()
			return f, err == nil
		}
	default:
		if v.s == "" {
			return math.Float64frombits(uint64(v.n)), true
		}
	}
	f, err := strconv.ParseFloat(v.s, 64)
	return f, err == nil
}

// output turns a value into the event's kind of value. Its text lives until the worker's next Eval.
func (w *Worker) output(v value) change.Value {
	if v.absent() {
		return change.Value{}
	}
	return change.Of(baseKind(v.kind), w.text(v))
}

// text returns a value's text in its kind's exact form.
func (w *Worker) text(v value) string {
	switch v.kind {
	case text, bytes:
		return v.s
	case boolean:
		if v.n != 0 {
			return "true"
		}
		return "false"
	}
	if v.s != "" {
		return v.s
	}
	start := len(w.buf)
	w.buf = appendText(w.buf, v)
	return w.string(start)
}

// appendText appends a value's text in its kind's exact form.
func appendText(dst []byte, v value) []byte {
	if v.s != "" {
		return append(dst, v.s...)
	}
	switch v.kind {
	case boolean:
		return strconv.AppendBool(dst, v.n != 0)
	case integer:
		return strconv.AppendInt(dst, v.n, 10)
	case decimal:
		return v.dec.Append(dst, 'f')
	case float:
		return appendFloat(dst, math.Float64frombits(uint64(v.n)))
	case date, clock, timestamp, timestampTZ:
		return appendTemporal(dst, v.kind, v.n)
	case composite:
		return appendObject(dst, *v.list, appendJSON)
	case list:
		dst = append(dst, '[')
		for i, item := range *v.list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, item)
		}
		return append(dst, ']')
	}
	return dst
}

// appendFloat writes a float as the exact encoding does.
func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	// Large and tiny ones with an exponent, as JSON encoders commonly do.
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// instant makes a timestamptz of a time, to the microsecond.
func instant(t time.Time) value { return value{kind: timestampTZ, n: t.UnixMicro()} }
