package transform

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// appendJSON appends a value as an element of an array in the exact encoding.
func appendJSON(dst []byte, v value) []byte {
	switch v.kind {
	case isNull, failed:
		return append(dst, "null"...)
	case boolean, integer, list, composite:
		return appendText(dst, v)
	case float:
		start := len(dst)
		dst = appendText(dst, v)
		if last := dst[len(dst)-1]; last == 'N' || last == 'y' { // NaN, Infinity
			return quoteTail(dst, start)
		}
		return dst
	case bytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.s))
		return append(dst, '"')
	}
	start := len(dst)
	dst = appendText(dst, v)
	return quoteTail(dst, start)
}

// quoteTail replaces what was appended since start by a JSON string of it.
func quoteTail(dst []byte, start int) []byte {
	plain := true
	for _, c := range dst[start:] {
		if c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		dst = append(dst, 0)
		copy(dst[start+1:], dst[start:])
		dst[start] = '"'
		return append(dst, '"')
	}
	tail := string(dst[start:])
	return appendJSONString(dst[:start], tail)
}

// appendJSONString appends a JSON string; nothing beyond what JSON demands is escaped, and bytes are kept.
func appendJSONString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// items returns a list's elements. A column's array is parsed at its first use; its
// elements have the element type. Nested arrays are refused.
func (w *Worker) items(v value, elem base) ([]value, bool) {
	if v.list != nil {
		return *v.list, true
	}
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(v.s), &raw); err != nil {
		return nil, false
	}
	out := make([]value, len(raw))
	for i, r := range raw {
		switch {
		case len(r) == 0, elem != document && (r[0] == '[' || r[0] == '{' && elem != composite):
			return nil, false
		case string(r) == "null":
		case string(r) == "true" || string(r) == "false":
			out[i] = ofBool(r[0] == 't')
		case r[0] == '"':
			var s string
			if json.Unmarshal(r, &s) != nil {
				return nil, false
			}
			if elem == bytes {
				b, err := base64.StdEncoding.DecodeString(s)
				if err != nil {
					return nil, false
				}
				s = string(b)
			}
			out[i] = value{kind: elem, s: s}
		default:
			out[i] = value{kind: elem, s: string(r)}
		}
	}
	return out, true
}
