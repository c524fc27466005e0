package postgres_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// form is how a type's exact encoding is turned back into the text that Postgres
// reads: the way back that a consumer of the stream would write.
type form struct {
	scalar  func(string) string // of a JSON string; nil: as it is
	bits    bool                // true and false are 1 and 0
	element *form               // of an array
	delim   string
	fields  []string // of a composite, in order
	forms   map[string]form
	hstore  bool
}

// forms are the types that are not text as it is.
func forms() map[string]form {
	bytea := form{scalar: func(s string) string {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return "not base64"
		}
		return `\x` + hex.EncodeToString(b)
	}}
	year := form{scalar: plainYear}
	bit := form{bits: true}
	array := func(f form) form { return form{element: &f, delim: ","} }
	pair := form{fields: []string{"a", "b", "c"}, forms: map[string]form{"c": array(form{})}}
	nest := form{
		fields: []string{"p", "q r", "at", "flag", "data", "bits", "m", "d"},
		forms:  map[string]form{"p": pair, "q r": array(pair), "at": year, "data": bytea, "bits": bit, "d": array(form{})},
	}
	return map[string]form{
		"bytea": bytea, "date": year, "timestamp": year, "timestamp(3)": year, "timestamptz": year, "timestamptz(0)": year,
		"bit(1)": bit, "bit1": bit, "pair": pair, "couple": pair, "nest": nest, "nothing": {fields: []string{}}, "hstore": {hstore: true}, "ints": array(form{}),
	}
}

// formOf finds the form of a type by its name.
func formOf(typ string) form {
	if element, ok := strings.CutSuffix(typ, "[]"); ok {
		f := formOf(element)
		delim := ","
		if element == "box" {
			delim = ";"
		}
		return form{element: &f, delim: delim}
	}
	return forms()[typ]
}

// plainYear writes a date or timestamp with a signed year as Postgres does.
func plainYear(s string) string {
	s = strings.TrimPrefix(s, "+")
	bc := strings.HasPrefix(s, "-") && s != "-infinity" || strings.HasPrefix(s, "0000-")
	if !bc {
		return s
	}
	s = strings.TrimPrefix(s, "-")
	n := strings.IndexByte(s, '-')
	year, err := strconv.Atoi(s[:n])
	if err != nil {
		return "no year"
	}
	return fmt.Sprintf("%04d%s BC", year+1, s[n:])
}

// database turns a decoded JSON value into the text of the type's input function; NULL
// is the second result.
func (f form) database(tb testing.TB, v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case bool:
		if f.bits {
			return map[bool]string{true: "1", false: "0"}[v], false
		}
		return strconv.FormatBool(v), false
	case json.Number:
		return v.String(), false
	case string:
		if f.scalar != nil {
			return f.scalar(v), false
		}
		return v, false
	case []any:
		if f.element == nil {
			tb.Errorf("an array that is not one of the type")
			return "", false
		}
		return f.array(tb, v), false
	case object:
		if f.hstore {
			return v.hstore(), false
		}
		var parts []string
		if len(v) != len(f.fields) {
			tb.Errorf("an object with %d members, want %d", len(v), len(f.fields))
			return "", false
		}
		for i, m := range v {
			if m.name != f.fields[i] {
				tb.Errorf("member %d is %q, want %q", i, m.name, f.fields[i])
			}
			text, null := f.forms[m.name].database(tb, m.value)
			if null {
				parts = append(parts, "")
			} else {
				parts = append(parts, quoted(text))
			}
		}
		return "(" + strings.Join(parts, ",") + ")", false
	}
	tb.Errorf("a value of type %T", v)
	return "", false
}

func (f form) array(tb testing.TB, elements []any) string {
	var parts []string
	for _, e := range elements {
		if nested, ok := e.([]any); ok && f.element.element == nil { // one dimension more
			parts = append(parts, f.array(tb, nested))
			continue
		}
		if text, null := f.element.database(tb, e); null {
			parts = append(parts, "NULL")
		} else {
			parts = append(parts, quoted(text))
		}
	}
	return "{" + strings.Join(parts, f.delim) + "}"
}

func quoted(s string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`) + `"`
}

// object is a JSON object in its order.
type object []member

type member struct {
	name  string
	value any
}

func (o object) hstore() string {
	var parts []string
	for _, m := range o {
		value := "NULL"
		if s, ok := m.value.(string); ok {
			value = quoted(s)
		}
		parts = append(parts, quoted(m.name)+"=>"+value)
	}
	return strings.Join(parts, ",")
}

// ordered decodes a JSON value; objects keep their order.
func ordered(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	case json.Delim('{'):
		o := object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			text, _ := name.(string)
			o = append(o, member{text, v})
		}
		_, err = d.Token()
		return o, err
	}
	return token, nil
}

// decodeJSON decodes a text that is one JSON value.
func decodeJSON(tb testing.TB, text string) any {
	tb.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v, err := ordered(d)
	if err != nil {
		tb.Fatalf("decode %.100q: %v", text, err)
	}
	return v
}
