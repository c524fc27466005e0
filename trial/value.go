package trial

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// Row makes a row of values that were written in HCL or JSON, by column. A column that is
// not there is NULL, or counts as not sent where it can't be. The errors name the columns.
func Row(t *change.Table, values map[string]cty.Value) (change.Row, error) {
	var wrong []error
	for _, name := range sorted(values) {
		if t.Column(name) < 0 {
			wrong = append(wrong, fmt.Errorf("table %s has no column %q", t.QualifiedName(), name))
		}
	}
	row := make(change.Row, len(t.Columns))
	for i := range t.Columns {
		v, ok := values[t.Columns[i].Name]
		var err error
		switch {
		case ok:
			if row[i], err = columnValue(&t.Columns[i], v); err != nil {
				wrong = append(wrong, err)
			}
		case !t.Columns[i].Nullable:
			row[i] = change.Of(change.Unchanged, "")
		}
	}
	return row, errors.Join(wrong...)
}

// Guess makes a table of a row alone: each column has the type of its value.
func Guess(values map[string]cty.Value) *change.Table {
	t := &change.Table{Schema: "given", Name: "row"}
	for _, name := range sorted(values) {
		c := change.Column{Name: name}
		c.Kind, c.Element, c.Nullable = guess(values[name])
		c.Type = c.Kind.String()
		t.Columns = append(t.Columns, c)
	}
	return t.Seal()
}

func guess(v cty.Value) (kind, element change.Kind, nullable bool) {
	switch {
	case v.IsNull():
		return change.String, 0, true
	case v.Type() == cty.Bool:
		return change.Bool, 0, false
	case v.Type() == cty.Number:
		if v.AsBigFloat().IsInt() {
			return change.Int, 0, false
		}
		return change.Decimal, 0, false
	case v.Type().IsTupleType():
		element = change.String
		for it := v.ElementIterator(); it.Next(); {
			if _, e := it.Element(); !e.IsNull() {
				element, _, _ = guess(e)
				break
			}
		}
		return change.Array, element, false
	case v.Type().IsObjectType():
		return change.JSON, 0, false
	}
	return change.String, 0, false
}

// columnValue makes a column's value of one that was written in HCL. Its error says what
// to write instead.
func columnValue(c *change.Column, v cty.Value) (change.Value, error) {
	if !v.IsWhollyKnown() {
		return change.Value{}, fmt.Errorf("its value is not known before penstock runs")
	}
	if v.IsNull() {
		if !c.Nullable {
			return change.Value{}, fmt.Errorf("column %s can't be NULL", c.Name)
		}
		return change.Value{}, nil
	}
	text, err := scalar(c.Kind, c.Name, c, v)
	if err != nil {
		return change.Value{}, err
	}
	return change.Of(c.Kind, text), nil
}

// scalar is a value's text in the form of its kind; c is nil for an array's element.
func scalar(kind change.Kind, name string, c *change.Column, v cty.Value) (string, error) {
	wrong := func(form string) error {
		return fmt.Errorf("column %s is %s: write %s, not %s", name, typeWords(kind, c), form, v.Type().FriendlyName())
	}
	bad := func(form string) error {
		return fmt.Errorf("column %s is %s, and this is none: write %s", name, typeWords(kind, c), form)
	}
	isText := v.Type() == cty.String
	switch kind {
	case change.Bool:
		if v.Type() != cty.Bool {
			return "", wrong("true or false")
		}
		return strconv.FormatBool(v.True()), nil
	case change.Int, change.Uint:
		if v.Type() != cty.Number {
			return "", wrong("a number")
		}
		n, acc := v.AsBigFloat().Int(nil)
		if acc != big.Exact {
			return "", bad("a whole number")
		}
		if !fitsInteger(kind, c, n) {
			return "", bad("a number in its range")
		}
		return n.String(), nil
	case change.Decimal:
		return decimal(c, v, wrong, bad)
	case change.Float:
		if isText && slices.Contains([]string{"NaN", "Infinity", "-Infinity"}, v.AsString()) {
			return v.AsString(), nil
		}
		if v.Type() != cty.Number {
			return "", wrong(`a number, or "NaN", "Infinity", "-Infinity"`)
		}
		f, _ := v.AsBigFloat().Float64()
		return strconv.FormatFloat(f, 'g', -1, 64), nil
	case change.JSON, change.Object:
		return document(v, kind == change.Object, wrong, bad)
	case change.Array:
		return array(c, v, wrong)
	}
	if !isText {
		form := "a text"
		if f, ok := forms[kind]; ok {
			form = "a text like " + f.example
		}
		return "", wrong(form)
	}
	s := v.AsString()
	if f, ok := forms[kind]; ok {
		out, ok := f.read(s)
		if !ok {
			return "", bad("it like " + f.example)
		}
		return out, nil
	}
	if kind == change.Enum && c != nil && !slices.Contains(c.Labels, s) {
		hint := ""
		if near := config.Suggest(s, c.Labels); near != "" {
			hint = fmt.Sprintf("; did you mean %q", near)
		}
		return "", fmt.Errorf("%q is none of the labels of column %s: %s%s", s, name, strings.Join(c.Labels, ", "), hint)
	}
	if kind == change.String && c != nil && c.Length > 0 && len([]rune(s)) > c.Length {
		return "", fmt.Errorf("column %s takes %d characters, and this text has %d", name, c.Length, len([]rune(s)))
	}
	return s, nil
}

func typeWords(kind change.Kind, c *change.Column) string {
	if c != nil && c.Type != "" {
		return c.Type
	}
	return kind.String()
}

// fitsInteger tells whether an integer is in the range of a column's bits.
func fitsInteger(kind change.Kind, c *change.Column, n *big.Int) bool {
	bits := 64
	if c != nil && c.Precision > 0 {
		bits = c.Precision
	}
	if kind == change.Uint {
		return n.Sign() >= 0 && n.BitLen() <= bits
	}
	limit := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.Cmp(limit) < 0 && n.Cmp(new(big.Int).Neg(limit)) >= 0
}

// decimal takes a number, or a text where every digit counts, and gives it the column's scale.
func decimal(c *change.Column, v cty.Value, wrong, bad func(string) error) (string, error) {
	var s string
	switch v.Type() {
	case cty.Number:
		s = v.AsBigFloat().Text('f', -1)
	case cty.String:
		s = v.AsString()
		if slices.Contains([]string{"NaN", "Infinity", "-Infinity"}, s) {
			return s, nil
		}
		if !numeral.MatchString(s) {
			return "", bad(`a number, or a text like "12.50"`)
		}
	default:
		return "", wrong(`a number, or a text like "12.50"`)
	}
	if c == nil || c.Precision == 0 {
		return s, nil
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > c.Scale {
		return "", bad(fmt.Sprintf("it with at most %d digits behind the point", c.Scale))
	}
	if digits := len(strings.TrimLeft(strings.TrimPrefix(whole, "-"), "0")); digits > c.Precision-c.Scale {
		return "", bad(fmt.Sprintf("it with at most %d digits before the point", c.Precision-c.Scale))
	}
	if c.Scale > 0 {
		return whole + "." + fraction + strings.Repeat("0", c.Scale-len(fraction)), nil
	}
	return whole, nil
}

var numeral = regexp.MustCompile(`^-?(0|[1-9]\d*)(\.\d+)?$`)

// document takes a text that is JSON, or any other value as the document itself.
func document(v cty.Value, object bool, wrong, bad func(string) error) (string, error) {
	if v.Type() == cty.String {
		s := v.AsString()
		if !json.Valid([]byte(s)) || object && !strings.HasPrefix(strings.TrimSpace(s), "{") {
			return "", bad(`an object like { a = 1 }, or a text that is JSON`)
		}
		return s, nil
	}
	if object && !v.Type().IsObjectType() && !v.Type().IsMapType() {
		return "", wrong("an object like { a = 1 }")
	}
	text, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return "", bad("values that JSON has")
	}
	return string(text), nil
}

// array takes a list; its elements are as the exact encoding has them in a JSON array.
func array(c *change.Column, v cty.Value, wrong func(string) error) (string, error) {
	if !v.Type().IsTupleType() && !v.Type().IsListType() && !v.Type().IsSetType() {
		return "", wrong("a list")
	}
	out := []byte("[")
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		if len(out) > 1 {
			out = append(out, ',')
		}
		switch {
		case e.IsNull():
			out = append(out, "null"...)
			continue
		case e.Type().IsTupleType() || e.Type().IsListType():
			inner, err := array(c, e, wrong)
			if err != nil {
				return "", err
			}
			out = append(out, inner...)
			continue
		}
		text, err := scalar(c.Element, c.Name, nil, e)
		if err != nil {
			return "", err
		}
		switch c.Element {
		case change.Bool, change.Int, change.Uint, change.Float:
			if numeral.MatchString(text) || c.Element == change.Bool || strings.ContainsRune(text, 'e') {
				out = append(out, text...)
				continue
			}
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			return "", err
		}
		out = append(out, quoted...)
	}
	return string(append(out, ']')), nil
}

// form is how a kind's values are written as text.
type form struct {
	example string
	read    func(string) (string, bool)
}

var forms = map[change.Kind]form{
	change.Date: {`"2026-03-04"`, matching(date)},
	change.Time: {`"13:14:15"`, matching(clock)},
	change.TimeTZ: {`"13:14:15+02:00"`, func(s string) (string, bool) {
		return s, clockTZ.MatchString(s)
	}},
	change.Timestamp: {`"2026-03-04 13:14:15"`, func(s string) (string, bool) {
		s = strings.Replace(s, " ", "T", 1)
		day, rest, _ := strings.Cut(s, "T")
		return s, isDate(day) && clock.MatchString(rest)
	}},
	change.TimestampTZ: {`"2026-03-04T13:14:15Z" or "2026-03-04 13:14:15+02:00"`, func(s string) (string, bool) {
		t, err := time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "T", 1))
		if err != nil {
			return "", false
		}
		return t.UTC().Format("2006-01-02T15:04:05.999999Z"), true
	}},
	change.Interval: {`"P1Y2M3DT4H5M6S"`, matching(interval)},
	change.UUID: {`"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`, func(s string) (string, bool) {
		s = strings.ToLower(s)
		return s, uuid.MatchString(s)
	}},
	change.Bits: {`"0101"`, matching(bits)},
	change.Bytes: {`"\\x0102" (hexadecimal), or any other text, which is its UTF-8`, func(s string) (string, bool) {
		digits, ok := strings.CutPrefix(s, `\x`)
		if !ok {
			return s, true
		}
		b, err := hex.DecodeString(digits)
		return string(b), err == nil
	}},
}

var (
	date     = regexp.MustCompile(`^[+-]?\d{4,}-\d\d-\d\d$`)
	clock    = regexp.MustCompile(`^-?\d{2,3}:[0-5]\d:[0-6]\d(\.\d{1,6})?$`)
	clockTZ  = regexp.MustCompile(`^\d\d:[0-5]\d:[0-6]\d(\.\d{1,6})?[+-]\d\d:\d\d(:\d\d)?$`)
	interval = regexp.MustCompile(`^P(-?\d+Y)?(-?\d+M)?(-?\d+W)?(-?\d+D)?(T(-?\d+H)?(-?\d+M)?(-?\d+(\.\d+)?S)?)?$`)
	uuid     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	bits     = regexp.MustCompile(`^[01]+$`)
)

func matching(r *regexp.Regexp) func(string) (string, bool) {
	return func(s string) (string, bool) {
		if r == date {
			return s, isDate(s)
		}
		return s, r.MatchString(s) && s != "P"
	}
}

// isDate tells whether a text is a day that there is, or one of the values that databases
// have for none: infinity, and MySQL's zero date.
func isDate(s string) bool {
	if s == "infinity" || s == "-infinity" || s == "0000-00-00" {
		return true
	}
	if !date.MatchString(s) {
		return false
	}
	_, err := time.Parse("2006-01-02", s)
	return err == nil || len(s) != len("2006-01-02")
}

// fieldText is the text that an app's field has, of a value written in HCL: as the app
// would answer it. Lists are joined with ";".
func fieldText(v cty.Value) (string, error) {
	switch {
	case v.IsNull():
		return "", nil
	case v.Type() == cty.String:
		return v.AsString(), nil
	case v.Type() == cty.Bool:
		return strconv.FormatBool(v.True()), nil
	case v.Type() == cty.Number:
		return v.AsBigFloat().Text('f', -1), nil
	case v.Type().IsTupleType() || v.Type().IsListType() || v.Type().IsSetType():
		var parts []string
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			s, err := fieldText(e)
			if err != nil {
				return "", err
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, ";"), nil
	}
	return "", fmt.Errorf("a field of an app is a text, number, bool or list, not %s", v.Type().FriendlyName())
}

// ofField is the cty value of what would be written to a field, for asserts.
func ofField(v change.Value) cty.Value {
	switch v.Kind() {
	case change.Null, change.Unchanged:
		return cty.NullVal(cty.String)
	case change.Bool:
		return cty.BoolVal(v.Bool())
	case change.Int, change.Uint, change.Decimal, change.Float:
		if n, err := cty.ParseNumberVal(v.Text()); err == nil {
			return n
		}
	case change.Array:
		if t, err := ctyjson.ImpliedType([]byte(v.Text())); err == nil {
			if l, err := ctyjson.Unmarshal([]byte(v.Text()), t); err == nil {
				return l
			}
		}
	}
	return cty.StringVal(v.Text())
}

// equals tells whether a value is the one that was expected: numbers by their value, a
// text by the value's own text, moments by the moment.
func equals(got change.Value, want cty.Value) bool {
	if want.IsNull() {
		return got.IsNull()
	}
	if got.IsNull() {
		return false
	}
	switch {
	case want.Type() == cty.String:
		if want.AsString() == got.Text() {
			return true
		}
		if f, ok := forms[got.Kind()]; ok {
			text, ok := f.read(want.AsString())
			return ok && text == got.Text()
		}
		return false
	case want.Type() == cty.Bool:
		return got.Kind() == change.Bool && got.Bool() == want.True()
	}
	return want.RawEquals(asTuple(ofField(got))) || asTuple(want).RawEquals(asTuple(ofField(got)))
}

// asTuple makes one kind of all lists, for comparing them.
func asTuple(v cty.Value) cty.Value {
	if v.IsNull() || !v.Type().IsListType() && !v.Type().IsSetType() {
		return v
	}
	return cty.TupleVal(v.AsValueSlice())
}

// show is a value as it would be written in HCL.
func show(v change.Value) string {
	switch v.Kind() {
	case change.Null:
		return "null"
	case change.Bool, change.Int, change.Uint, change.Decimal, change.Float, change.Array:
		return v.Text()
	}
	return strconv.Quote(v.Text())
}

func showCty(v cty.Value) string {
	if v.IsNull() {
		return "null"
	}
	if v.Type() == cty.Number {
		return v.AsBigFloat().Text('f', -1)
	}
	text, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return "?"
	}
	return string(text)
}
