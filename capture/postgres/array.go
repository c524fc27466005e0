package postgres

import (
	"bytes"
	"errors"

	"github.com/penstock-cdc/penstock/change"
)

var errNested = errors.New("the text of an array, composite or hstore value is not as Postgres writes it")

// appendElement appends a value inside an array or object, as JSON in the exact
// encoding.
func appendElement(dst, text []byte, c *codec) ([]byte, error) {
	switch {
	case c.kind == change.Bool && (len(text) != 1 || !bytes.Contains([]byte("tf10"), text)),
		(c.kind == change.Int || c.kind == change.Uint) && !isInteger(text), c.kind == change.Float && !isFloat(text):
		return dst, errNested // of a type that the attribute has no more; raw in JSON it could say anything
	case c.kind == change.Bool:
		return appendBool(dst, text)
	}
	if c.convert == nil {
		return change.AppendValue(dst, change.Of(c.kind, view(text))), nil
	}
	value, err := c.convert(nil, text)
	if err != nil {
		return dst, err
	}
	return change.AppendValue(dst, change.Of(c.kind, view(value))), nil
}

// isInteger tells whether a text is an integer as Postgres writes it.
func isInteger(text []byte) bool {
	if len(text) > 1 && text[0] == '-' {
		text = text[1:]
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) > 0 && (text[0] != '0' || len(text) == 1)
}

// isFloat tells whether a text is a float as Postgres writes it.
func isFloat(text []byte) bool {
	switch string(text) {
	case "NaN", "Infinity", "-Infinity":
		return true
	}
	digits, rest := 0, text
	if len(rest) > 0 && rest[0] == '-' {
		rest = rest[1:]
	}
	if len(rest) > 1 && rest[0] == '0' && rest[1] != '.' && rest[1] != 'e' {
		return false
	}
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if digits == 0 {
		return false
	}
	if rest = rest[digits:]; len(rest) > 0 && rest[0] == '.' {
		for digits = 1; digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9'; digits++ {
		}
		if digits == 1 {
			return false
		}
		rest = rest[digits:]
	}
	if len(rest) == 0 {
		return true
	}
	if len(rest) < 2 || rest[0] != 'e' {
		return false
	}
	if rest = rest[1:]; rest[0] == '+' || rest[0] == '-' {
		rest = rest[1:]
	}
	for _, c := range rest {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(rest) > 0
}

// appendArray appends a JSON array. An array with lower bounds of its own
// ("[0:1]={1,2}") has no form as JSON that keeps them: it becomes a string with the
// database's text.
func appendArray(dst, text []byte, delim byte, element *codec) ([]byte, error) {
	if len(text) > 0 && text[0] == '[' {
		return change.AppendString(dst, view(text)), nil
	}
	at, quoted := 0, []byte(nil)
	var err error
	for at < len(text) {
		switch ch := text[at]; ch {
		case '{':
			dst = append(dst, '[')
			at++
		case '}':
			dst = append(dst, ']')
			at++
		case delim:
			dst = append(dst, ',')
			at++
		case '"':
			if quoted, at, err = unquote(quoted[:0], text, at, false); err != nil {
				return dst, err
			}
			if dst, err = appendElement(dst, quoted, element); err != nil {
				return dst, err
			}
		default:
			end := at
			for end < len(text) && text[end] != delim && text[end] != '}' {
				end++
			}
			if string(text[at:end]) == "NULL" {
				dst = append(dst, "null"...)
			} else if dst, err = appendElement(dst, text[at:end], element); err != nil {
				return dst, err
			}
			at = end
		}
	}
	return dst, nil
}

// unquote reads a quoted value that begins at text[at]; with doubled, "" stands for
// one quote. It returns the value in dst and where the text goes on.
func unquote(dst, text []byte, at int, doubled bool) ([]byte, int, error) {
	for at++; at < len(text); at++ {
		switch text[at] {
		case '\\':
			if at++; at == len(text) {
				return dst, at, errNested
			}
			dst = append(dst, text[at])
		case '"':
			if !doubled || at+1 == len(text) || text[at+1] != '"' {
				return dst, at + 1, nil
			}
			at++
			dst = append(dst, '"')
		default:
			dst = append(dst, text[at])
		}
	}
	return dst, at, errNested
}

type objectField struct {
	name  []byte // `"name":`
	codec codec
}

// appendComposite appends a composite value, `(1,"two words",)`, as a JSON object.
func appendComposite(dst, text []byte, fields []objectField) ([]byte, error) {
	if len(text) < 2 || text[0] != '(' || text[len(text)-1] != ')' {
		return dst, errNested
	}
	at, value := 1, []byte(nil)
	var err error
	dst = append(dst, '{')
	for i := range fields {
		if i > 0 {
			if at >= len(text) || text[at] != ',' {
				return dst, errNested
			}
			at++
			dst = append(dst, ',')
		}
		dst = append(dst, fields[i].name...)
		value = value[:0]
		null := true
		for at < len(text) && text[at] != ',' && text[at] != ')' {
			null = false
			switch text[at] {
			case '"': // quotes may stand anywhere in a value
				if value, at, err = unquote(value, text, at, true); err != nil {
					return dst, err
				}
			case '\\':
				if at+1 == len(text) {
					return dst, errNested
				}
				value = append(value, text[at+1])
				at += 2
			default:
				value = append(value, text[at])
				at++
			}
		}
		if null {
			dst = append(dst, "null"...)
		} else if dst, err = appendElement(dst, value, &fields[i].codec); err != nil {
			return dst, err
		}
	}
	if at != len(text)-1 {
		return dst, errNested
	}
	return append(dst, '}'), nil
}

// appendHstore appends an hstore, `"a"=>"1", "b"=>NULL`, as a JSON object of strings.
func appendHstore(dst, text []byte) ([]byte, error) {
	dst = append(dst, '{')
	var word []byte
	var err error
	for at := 0; at < len(text); {
		if text[at] != '"' {
			return dst, errNested
		}
		if word, at, err = unquote(word[:0], text, at, false); err != nil {
			return dst, err
		}
		dst = append(change.AppendString(dst, view(word)), ':')
		rest, ok := bytes.CutPrefix(text[at:], []byte("=>"))
		if !ok {
			return dst, errNested
		}
		at = len(text) - len(rest)
		if after, null := bytes.CutPrefix(rest, []byte("NULL")); null {
			dst = append(dst, "null"...)
			at = len(text) - len(after)
		} else if len(rest) > 0 && rest[0] == '"' {
			if word, at, err = unquote(word[:0], text, at, false); err != nil {
				return dst, err
			}
			dst = change.AppendString(dst, view(word))
		} else {
			return dst, errNested
		}
		if rest, more := bytes.CutPrefix(text[at:], []byte(", ")); more {
			dst = append(dst, ',')
			at = len(text) - len(rest)
		} else if at != len(text) {
			return dst, errNested
		}
	}
	return append(dst, '}'), nil
}
