package postgres

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"unsafe"

	"github.com/penstock-cdc/penstock/change"
)

// A convert appends the exact form of a value to dst; text is what the type's output
// function gives under sessionSettings.
type convert func(dst, text []byte) ([]byte, error)

// codec is how the values of one column become change.Values.
type codec struct {
	kind    change.Kind
	convert convert // nil: the database's text is the exact form
}

// value makes a column's value. Its text is text itself where that needs no change,
// else it is in scratch, which is returned with it.
func (c *codec) value(text, scratch []byte) (change.Value, []byte, error) {
	if c.convert == nil {
		return change.Of(c.kind, view(text)), scratch, nil
	}
	if c.kind == change.Bool {
		return change.OfBool(len(text) == 1 && (text[0] == 't' || text[0] == '1')), scratch, nil
	}
	if c.kind == change.Array && len(text) > 0 && text[0] == '[' { // lower bounds of its own: no JSON keeps them
		return change.Of(change.String, view(text)), scratch, nil
	}
	start := len(scratch)
	scratch, err := c.convert(scratch, text)
	if err != nil {
		return change.Value{}, scratch, err
	}
	return change.Of(c.kind, view(scratch[start:])), scratch, nil
}

// view is b as a string without a copy: valid as long as b is not written to.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// codec returns how values of the type are read.
func (t *dataType) codec(typmod int32) codec {
	r, typmod := t.resolved(typmod)
	switch r.kind {
	case change.Bool:
		return codec{change.Bool, appendBool}
	case change.Bits:
		if oneBit(r, typmod) {
			return codec{change.Bool, appendBool}
		}
	case change.Bytes:
		return codec{r.kind, appendBytes}
	case change.Date:
		return codec{r.kind, appendDate}
	case change.TimeTZ:
		return codec{r.kind, appendTimeTZ}
	case change.Timestamp:
		return codec{r.kind, appendTimestamp}
	case change.TimestampTZ:
		return codec{r.kind, appendTimestampTZ}
	case change.Array:
		element := r.element.codec(typmod)
		return codec{r.kind, func(dst, text []byte) ([]byte, error) { return appendArray(dst, text, r.delim, &element) }}
	case change.Object:
		if r.hstore {
			return codec{r.kind, appendHstore}
		}
		fields := make([]objectField, len(r.fields))
		for i, f := range r.fields {
			fields[i] = objectField{append(change.AppendString(nil, f.name), ':'), f.typ.codec(f.typmod)}
		}
		return codec{r.kind, func(dst, text []byte) ([]byte, error) { return appendComposite(dst, text, fields) }}
	}
	return codec{kind: r.kind}
}

func appendBool(dst, text []byte) ([]byte, error) {
	if len(text) == 1 && (text[0] == 't' || text[0] == '1') {
		return append(dst, "true"...), nil
	}
	return append(dst, "false"...), nil
}

// appendBytes reads bytea_output = hex.
func appendBytes(dst, text []byte) ([]byte, error) {
	if len(text) < 2 || text[0] != '\\' || text[1] != 'x' {
		return dst, fmt.Errorf("bytea value does not begin with \\x: the session's bytea_output is not hex")
	}
	return hex.AppendDecode(dst, text[2:])
}

var beforeChrist = []byte(" BC")

// appendYear appends a date or timestamp whose year is written as Postgres does
// ("0044-03-15 BC", "12026-01-01"): a year before 1 BC or beyond 9999 gets a sign,
// and 1 BC is year 0000. What is not a date (infinity) stays.
func appendYear(dst, text []byte) []byte {
	bc := bytes.HasSuffix(text, beforeChrist)
	if bc {
		text = text[:len(text)-len(beforeChrist)]
	}
	n := bytes.IndexByte(text, '-')
	if n <= 0 { // infinity, -infinity
		return append(dst, text...)
	}
	if !bc {
		if n > 4 {
			dst = append(dst, '+')
		}
		return append(dst, text...)
	}
	year := 0
	for _, c := range text[:n] {
		year = year*10 + int(c-'0')
	}
	year--
	if year > 0 {
		dst = append(dst, '-')
	}
	return append(fmt.Appendf(dst, "%04d", year), text[n:]...)
}

func appendDate(dst, text []byte) ([]byte, error) {
	if len(text) == 10 {
		return append(dst, text...), nil
	}
	return appendYear(dst, text), nil
}

func appendTimestamp(dst, text []byte) ([]byte, error) {
	start := len(dst)
	if n := len(text); n >= 19 && text[4] == '-' && text[n-1] != 'C' {
		dst = append(dst, text...)
	} else {
		dst = appendYear(dst, text)
	}
	if i := bytes.IndexByte(dst[start:], ' '); i >= 0 {
		dst[start+i] = 'T'
	}
	return dst, nil
}

// appendTimestampTZ reads a timestamptz under TimeZone = UTC: "2026-03-04 11:14:15+00".
func appendTimestampTZ(dst, text []byte) ([]byte, error) {
	if bytes.HasSuffix(text, []byte("y")) { // infinity
		return append(dst, text...), nil
	}
	bc := bytes.HasSuffix(text, beforeChrist)
	zone := len(text) - len("+00")
	if bc {
		zone -= len(beforeChrist)
	}
	if zone < 0 || string(text[zone:zone+3]) != "+00" {
		return dst, fmt.Errorf("timestamptz value is not in UTC: the session's TimeZone was changed")
	}
	if bc { // the year's mark stands behind the zone
		text = append(bytes.Clone(text[:zone]), beforeChrist...)
		dst, _ = appendTimestamp(dst, text)
	} else {
		dst, _ = appendTimestamp(dst, text[:zone])
	}
	return append(dst, 'Z'), nil
}

// appendTimeTZ writes the minutes of an offset that has none: +02 becomes +02:00.
func appendTimeTZ(dst, text []byte) ([]byte, error) {
	dst = append(dst, text...)
	if n := len(text); n > 3 && (text[n-3] == '+' || text[n-3] == '-') {
		dst = append(dst, ":00"...)
	}
	return dst, nil
}
