package transform

import (
	"github.com/penstock-cdc/penstock/change"
)

// base is the base of a type and the tag of a value. The first two are not types
// of values: isNull is NULL (as a type: that of the literal null), failed is a
// failed evaluation (as a type: an expression already reported as wrong).
type base uint8

const (
	isNull base = iota
	failed
	boolean
	integer // 64 bits, signed
	decimal // 34 digits, half to even, scale kept
	float   // 64 bits
	text
	bytes
	date
	clock       // a time of day
	clockTZ     // a time of day with an offset
	timestamp   // without a zone
	timestampTZ // an instant
	interval
	uuid
	document // JSON
	list
	composite // a composite column: read with json_get
	bases
)

var baseNames = [bases]string{
	"null", "invalid", "bool", "int", "decimal", "float", "text", "bytes", "date", "time", "timetz", "timestamp", "timestamptz",
	"interval", "uuid", "json", "list", "object",
}

func (b base) String() string { return baseNames[b] }

func (b base) numeric() bool  { return b == integer || b == decimal || b == float }
func (b base) temporal() bool { return b == date || b == clock || b == timestamp || b == timestampTZ }
func (b base) ordered() bool  { return b.numeric() || b.temporal() || b == text || b == uuid }
func (b base) isText() bool   { return b == text }

// typ is the static type of an expression.
type typ struct {
	base   base
	elem   base     // of a list's elements; isNull where the list is empty
	null   bool     // may be NULL
	labels []string // non-nil: text that is one of these
	length int      // text has at most so many characters; 0: not known
}

// String is the type in the words of a diagnostic: text, list of int.
func (t typ) String() string {
	switch {
	case t.base == list && t.elem != isNull:
		return "list of " + t.elem.String()
	case t.labels != nil:
		return "enum"
	}
	return t.base.String()
}

// columnType is the type that a column's values have.
func columnType(c *change.Column) typ {
	t := typ{base: kindBase(c.Kind), null: c.Nullable}
	switch c.Kind {
	case change.Uint:
		// An unsigned 64-bit integer does not fit an int; a smaller one does.
		t.base = decimal
		if c.Precision > 0 && c.Precision < 64 {
			t.base = integer
		}
	case change.Enum:
		t.labels = c.Labels
	case change.String:
		t.length = c.Length
	case change.Array:
		t.elem = kindBase(c.Element)
	}
	return t
}

// kindBase maps the kinds of column values to types.
func kindBase(k change.Kind) base {
	switch k {
	case change.Bool:
		return boolean
	case change.Int:
		return integer
	case change.Uint, change.Decimal:
		return decimal
	case change.Float:
		return float
	case change.Bytes:
		return bytes
	case change.Date:
		return date
	case change.Time:
		return clock
	case change.TimeTZ:
		return clockTZ
	case change.Timestamp:
		return timestamp
	case change.TimestampTZ:
		return timestampTZ
	case change.Interval:
		return interval
	case change.UUID:
		return uuid
	case change.JSON:
		return document
	case change.Array:
		return list
	case change.Object:
		return composite
	case change.Null:
		return isNull
	}
	return text // String, Enum, Bits and what may come
}

// baseKind maps types to the kinds of result values.
func baseKind(b base) change.Kind {
	switch b {
	case boolean:
		return change.Bool
	case integer:
		return change.Int
	case decimal:
		return change.Decimal
	case float:
		return change.Float
	case bytes:
		return change.Bytes
	case date:
		return change.Date
	case clock:
		return change.Time
	case clockTZ:
		return change.TimeTZ
	case timestamp:
		return change.Timestamp
	case timestampTZ:
		return change.TimestampTZ
	case interval:
		return change.Interval
	case uuid:
		return change.UUID
	case document:
		return change.JSON
	case list:
		return change.Array
	case composite:
		return change.Object
	case isNull:
		return change.Null
	}
	return change.String
}

// unify returns the one type that values of both types have, and whether there is
// one: numbers widen (int to decimal to float), null takes the other's type.
func unify(a, b typ) (typ, bool) {
	out := typ{null: a.null || b.null}
	switch {
	case a.base == failed || b.base == failed:
		return typ{base: failed, null: true}, true
	case a.base == isNull:
		b.null = true
		return b, true
	case b.base == isNull:
		a.null = true
		return a, true
	case a.base.numeric() && b.base.numeric():
		out.base = max(a.base, b.base)
		return out, true
	case a.base != b.base:
		return out, false
	case a.base == list:
		out.base = list
		e, ok := unify(typ{base: a.elem}, typ{base: b.elem})
		out.elem = e.base
		return out, ok && (a.elem == b.elem || a.elem == isNull || b.elem == isNull)
	}
	out.base = a.base
	if a.labels != nil && b.labels != nil {
		out.labels = append(append([]string{}, a.labels...), b.labels...)
	}
	if a.length > 0 && b.length > 0 {
		out.length = max(a.length, b.length)
	}
	return out, true
}
