package hubspot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/simulator"
)

// input is one record of a write, its values checked and in canonical form.
type input struct {
	id         string
	idProperty string
	trace      string
	fields     []simulator.Field // sorted by name; an empty value clears
	problems   []problem
	target     *record // filled in under the lock
}

// key is how the log of calls names the record.
func (in *input) key() string {
	if in.id != "" {
		return in.id
	}
	return value(in.fields, "email")
}

// maxInputs is the size of a batch ([contacts]; community.hubspot.com message 84091).
const maxInputs = 100

// inputs reads the body of a batch write. Values must be strings: the API describes
// properties as a map of strings.
func (a *app) inputs(t *objectType, body []byte) ([]input, *apiError) {
	s := scanner{body: body}
	if !json.Valid(body) {
		return nil, s.malformed(body)
	}
	defs := t.defs.Load()
	var list []input
	found := false
	err := s.object(func(key []byte) error {
		if string(key) != "inputs" {
			return s.skip()
		}
		found = true
		return s.array(func() error {
			var in input
			list = append(list, in)
			return a.input(&s, defs, &list[len(list)-1])
		})
	})
	switch {
	case err != nil:
		return nil, badRequest("Invalid input JSON on line 1, column %d: %v", s.at+1, err)
	case !found:
		return nil, badRequest("Invalid input JSON on line 1, column 1: Some required fields were not set: [inputs]")
	case len(list) == 0:
		return nil, badRequest("The batch has no inputs")
	case len(list) > maxInputs:
		return list, badRequest("The batch has %d inputs, the maximum is %d", len(list), maxInputs)
	}
	return list, nil
}

func (a *app) input(s *scanner, defs *properties, in *input) error {
	return s.object(func(key []byte) (err error) {
		switch string(key) {
		case "id":
			in.id, err = s.text()
		case "idProperty":
			in.idProperty, err = s.text()
		case "objectWriteTraceId":
			in.trace, err = s.text()
		case "properties":
			in.fields = make([]simulator.Field, 0, 12)
			err = s.object(func(key []byte) error {
				d := defs.byName[string(key)]
				value, err := s.text()
				if err != nil {
					return err
				}
				a.set(in, d, string(key), value)
				return nil
			})
			in.sort()
		default:
			return s.skip()
		}
		return err
	})
}

// set checks a value and notes it, or what is wrong with it.
func (a *app) set(in *input, d *property, name, value string) {
	if d == nil {
		in.problems = append(in.problems, problem{name, "PROPERTY_DOESNT_EXIST", fmt.Sprintf("Property %q does not exist", name)})
		return
	}
	if d.Modification.ReadOnlyValue {
		in.problems = append(in.problems, problem{name, "READ_ONLY_VALUE", fmt.Sprintf("%q is a read only property; its value cannot be set.", name)})
		return
	}
	canonical, bad := a.canonical(d, value)
	if bad != nil {
		in.problems = append(in.problems, *bad)
		return
	}
	if bad := d.broken(canonical); bad != nil {
		in.problems = append(in.problems, *bad)
		return
	}
	in.fields = append(in.fields, simulator.Field{Name: d.Name, Value: canonical})
}

// sort orders the fields by name; of a name given twice the last value counts.
func (in *input) sort() {
	slices.SortStableFunc(in.fields, func(a, b simulator.Field) int { return cmpString(a.Name, b.Name) })
	out := in.fields[:0]
	for i, f := range in.fields {
		if i+1 < len(in.fields) && in.fields[i+1].Name == f.Name {
			continue
		}
		out = append(out, f)
	}
	in.fields = out
}

// scanner walks JSON that is known to be well formed.
type scanner struct {
	body []byte
	at   int
}

func (s *scanner) malformed(body []byte) *apiError {
	err := json.Unmarshal(body, new(json.RawMessage))
	at := int64(len(body))
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
		at = syntax.Offset
	}
	line := 1 + bytes.Count(body[:min(at, int64(len(body)))], []byte("\n"))
	return badRequest("Invalid input JSON on line %d, column %d: the body is not well formed", line, at)
}

func (s *scanner) space() byte {
	for s.at < len(s.body) {
		switch c := s.body[s.at]; c {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) object(member func(key []byte) error) error {
	if s.space() != '{' {
		return errors.New("expected an object")
	}
	s.at++
	for {
		switch s.space() {
		case '}':
			s.at++
			return nil
		case ',':
			s.at++
			continue
		}
		key := s.rawString()
		if bytes.IndexByte(key, '\\') >= 0 {
			key = []byte(unescape(key))
		}
		s.space()
		s.at++ // the colon
		if err := member(key); err != nil {
			return err
		}
	}
}

func (s *scanner) array(element func() error) error {
	if s.space() != '[' {
		return errors.New("expected an array")
	}
	s.at++
	for {
		switch s.space() {
		case ']':
			s.at++
			return nil
		case ',':
			s.at++
			continue
		}
		if err := element(); err != nil {
			return err
		}
	}
}

// rawString passes a string and returns what is between its quotes.
func (s *scanner) rawString() []byte {
	s.at++
	start := s.at
	for s.body[s.at] != '"' {
		if s.body[s.at] == '\\' {
			s.at++
		}
		s.at++
	}
	s.at++
	return s.body[start : s.at-1]
}

func (s *scanner) text() (string, error) {
	if s.space() != '"' {
		return "", errors.New("cannot deserialize a value of type `java.lang.String`: values must be JSON strings")
	}
	raw := s.rawString()
	if bytes.IndexByte(raw, '\\') >= 0 {
		return unescape(raw), nil
	}
	return strings.ToValidUTF8(string(raw), "\ufffd"), nil
}

func unescape(raw []byte) string {
	var text string
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	_ = json.Unmarshal(quoted, &text) // well formed, as the whole body is
	return text
}

// skip passes any value.
func (s *scanner) skip() error {
	switch s.space() {
	case '{':
		return s.object(func([]byte) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		s.rawString()
		return nil
	}
	for s.at < len(s.body) && strings.IndexByte(",]} \t\r\n", s.body[s.at]) < 0 {
		s.at++
	}
	return nil
}
