package change

import (
	"fmt"
	"strconv"
)

// Kind says what a Value is and how its text is to be read.
type Kind uint8

// The kinds. Each comment gives the form of the value's text: the one that the
// exact encoding writes, from which the database's own text can be got back.
const (
	Null        Kind = iota // no text
	Unchanged               // the database did not send the value because it did not change; never the same as Null
	Bool                    // true, false
	Int                     // signed integer, decimal digits
	Uint                    // unsigned integer, decimal digits
	Float                   // JSON number, or NaN, Infinity, -Infinity; -0 kept
	Decimal                 // digits with their scale: 12.50; NaN, Infinity, -Infinity
	String                  // UTF-8 text; also types without a kind of their own, as the database's text
	Bytes                   // the bytes themselves
	Bits                    // 0 and 1
	Date                    // 2026-03-04; infinity, -infinity, signed years outside 0000-9999; 0000-00-00 in MySQL
	Time                    // 13:14:15.123456; MySQL: also beyond a day and negative
	TimeTZ                  // 13:14:15.123456+02:00
	Timestamp               // 2026-03-04T13:14:15.123456, without a zone
	TimestampTZ             // 2026-03-04T13:14:15.123456Z
	Interval                // ISO 8601: P1Y2M3DT4H5M6.789S
	UUID                    // a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11
	Enum                    // the label
	JSON                    // the document's text
	Array                   // a JSON array of element values in their exact forms
	Object                  // a JSON object: composites, hstore, MySQL geometry
	kinds
)

var kindNames = [kinds]string{
	"null", "unchanged", "bool", "int", "uint", "float", "decimal", "text", "bytes", "bits", "date", "time", "timetz",
	"timestamp", "timestamptz", "interval", "uuid", "enum", "json", "array", "object",
}

func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a kind's name.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown kind %q", text)
}

// Value is one column's value: its kind and its text in the form that the kind
// says. A Value that a source emits may point into the source's read buffer: it
// is valid until the call that it was handed to returns; Clone keeps it longer.
type Value struct {
	text string
	kind Kind
}

// Of makes a value from its kind and its text, which must have the kind's form.
func Of(kind Kind, text string) Value { return Value{text: text, kind: kind} }

// OfString makes a text value.
func OfString(s string) Value { return Value{text: s, kind: String} }

// OfInt makes an integer.
func OfInt(n int64) Value { return Value{text: strconv.FormatInt(n, 10), kind: Int} }

// OfBool makes a boolean.
func OfBool(b bool) Value {
	if b {
		return Value{text: "true", kind: Bool}
	}
	return Value{text: "false", kind: Bool}
}

// Kind returns the value's kind.
func (v Value) Kind() Kind { return v.kind }

// Text returns the value's text in its kind's form, empty for Null and Unchanged.
func (v Value) Text() string { return v.text }

// IsNull tells whether the value is NULL. An unchanged value is not.
func (v Value) IsNull() bool { return v.kind == Null }

// IsUnchanged tells whether the database left the value out because it did not change.
func (v Value) IsUnchanged() bool { return v.kind == Unchanged }

// Bool returns a boolean's value.
func (v Value) Bool() bool { return v.kind == Bool && v.text == "true" }

// Int64 returns a number's value as an int64, and whether it fits one.
func (v Value) Int64() (int64, bool) {
	n, err := strconv.ParseInt(v.text, 10, 64)
	return n, err == nil
}

// Clone returns the value with memory of its own.
func (v Value) Clone() Value { return Value{text: string([]byte(v.text)), kind: v.kind} }

// GoString never shows the text, so that a row's value can't reach a log by accident.
func (v Value) GoString() string { return "change.Value(" + v.kind.String() + ")" }

// String shows the kind alone, for the same reason.
func (v Value) String() string { return v.GoString() }

// Row is one row's values, aligned with its Table's columns. A nil Row is no image.
type Row []Value

// Clone returns the row with memory of its own.
func (r Row) Clone() Row {
	if r == nil {
		return nil
	}
	n := 0
	for _, v := range r {
		n += len(v.text)
	}
	buf := make([]byte, 0, n)
	for _, v := range r {
		buf = append(buf, v.text...)
	}
	all := string(buf)
	out := make(Row, len(r))
	for i, v := range r {
		out[i] = Value{text: all[:len(v.text)], kind: v.kind}
		all = all[len(v.text):]
	}
	return out
}
