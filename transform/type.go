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

// typ is the static type of an expression.
type typ struct {
	base   base
	elem   *typ        // of a list's elements, or of an object's values where its names are not known; nil: none known
	attrs  []attribute // of an object whose names are known, sorted by name; nil: not known
	null   bool        // may be NULL
	skip   bool        // may be skip()
	pii    bool        // made of a column with personal data
	labels []string    // non-nil: text that is one of these
	length int         // text has at most so many characters; 0: not known
	// precision and scale are a decimal's: at most so many digits, so many of them after the point. Precision 0: not known.
	precision, scale int
}

// attribute is one name of an object.
type attribute struct {
	name string
	typ  typ
}

func (t typ) attr(name string) *typ {
	for i := range t.attrs {
		if t.attrs[i].name == name {
			return &t.attrs[i].typ
		}
	}
	return nil
}

// elemBase is the base of a list's elements, isNull where they are not known.
func (t typ) elemBase() base {
	if t.elem == nil {
		return isNull
	}
	return t.elem.base
}

// opaque tells an object whose parts have no types: a composite column.
func (t typ) opaque() bool { return t.base == composite && t.elem == nil && t.attrs == nil }

func listType(elem typ) typ { return typ{base: list, elem: &elem} }

// String is the type in the words of a diagnostic: text, list of int.
func (t typ) String() string {
	switch {
	case t.base == list && t.elem != nil && t.elem.base != isNull:
		return "list of " + t.elem.String()
	case t.labels != nil:
		return "enum"
	}
	return t.base.String()
}

// columnType is the type that a column's values have.
func columnType(c *change.Column) typ {
	t := typ{base: kindBase(c.Kind), null: c.Nullable, pii: c.PII}
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
	case change.Decimal:
		t.precision, t.scale = c.Precision, c.Scale
	case change.Array:
		t.elem = &typ{base: kindBase(c.Element), null: true, pii: c.PII}
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
	out := typ{null: a.null || b.null, skip: a.skip || b.skip, pii: a.pii || b.pii}
	switch {
	case a.base == failed || b.base == failed:
		return typ{base: failed, null: true}, true
	case a.base == isNull, b.base == isNull:
		t := a
		if a.base == isNull {
			t = b
		}
		t.null, t.skip, t.pii = out.null, out.skip, out.pii
		return t, true
	case a.base.numeric() && b.base.numeric():
		out.base = max(a.base, b.base)
		if a.base == decimal && b.base == decimal && a.precision > 0 && b.precision > 0 {
			out.scale = max(a.scale, b.scale)
			out.precision = max(a.precision-a.scale, b.precision-b.scale) + out.scale
		}
		return out, true
	case a.base != b.base:
		return out, false
	}
	out.base = a.base
	switch a.base {
	case list:
		return unifyParts(out, a, b)
	case composite:
		return unifyObjects(out, a, b)
	}
	if a.labels != nil && b.labels != nil {
		out.labels = append(append([]string{}, a.labels...), b.labels...)
	}
	if a.length > 0 && b.length > 0 {
		out.length = max(a.length, b.length)
	}
	return out, true
}

// unifyParts is for what holds elements: numbers in them are not widened.
func unifyParts(out, a, b typ) (typ, bool) {
	switch {
	case a.elem == nil:
		out.elem = b.elem
		return out, true
	case b.elem == nil:
		out.elem = a.elem
		return out, true
	}
	e, ok := unify(*a.elem, *b.elem)
	out.elem = &e
	return out, ok && (a.elem.base == b.elem.base || a.elem.base == isNull || b.elem.base == isNull)
}

func unifyObjects(out, a, b typ) (typ, bool) {
	switch {
	case a.opaque() && b.opaque():
		return out, true
	case a.opaque() || b.opaque():
		return out, false
	case a.attrs == nil && b.attrs == nil:
		return unifyParts(out, a, b)
	case a.attrs == nil || b.attrs == nil || len(a.attrs) != len(b.attrs):
		return out, false
	}
	for i := range a.attrs {
		x, y := a.attrs[i], b.attrs[i]
		t, ok := unify(x.typ, y.typ)
		if !ok || x.name != y.name || x.typ.base != y.typ.base && x.typ.base != isNull && y.typ.base != isNull {
			return out, false
		}
		out.attrs = append(out.attrs, attribute{x.name, t})
	}
	return out, true
}
