package transform

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // for UUIDs of version 5
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
)

var structureFunctions = []*function{
	{
		name: "json_get", params: []param{{name: "document", types: setOf(document, composite, text)}, {name: "path", types: textType, constant: true}}, fails: []string{"bad_json"},
		result: func([]*node) typ { return typ{base: text, null: true} },
		bind: func(args []*node) (callFunc, error) {
			path, err := parsePath(args[1].val.s)
			if err != nil {
				return nil, badArg(1, "%s", err)
			}
			return func(_ *Worker, a []value) value { return jsonGet(a[0], path) }, nil
		},
		doc: "What lies at the path (`address.city`, `tags[0]`; from the end with `[-1]`) as text: a text's own, numbers and bools as they are written, objects and arrays as JSON. NULL where there is nothing, or null.", examples: [][2]string{{`json_get("{\"a\": {\"b\": [10, 20]}}", "a.b[1]")`, `"20"`}, {`json_get("{}", "a")`, `null`}},
	},
	{
		name: "json_parse", params: []param{{name: "text", types: textType}}, result: func([]*node) typ { return typ{base: document, null: true} }, fails: []string{"bad_json"},
		call: func(_ *Worker, a []value) value {
			s := trimJSON(a[0].s)
			if !validJSON(s) {
				return fail("bad_json")
			}
			return ofDocument(s)
		},
		doc: "The JSON document that the text is; the document `null` is NULL.", examples: [][2]string{{`keys(json_parse("{\"b\": 1, \"a\": 2}"))`, `["b", "a"]`}, {`json_parse_or("{", null)`, `null`}},
	},
	{
		name: "json_string", params: []param{{name: "value", types: anyType}}, result: returns(text),
		call: func(w *Worker, a []value) value {
			start := len(w.buf)
			w.buf = appendNatural(w.buf, a[0])
			return ofText(w.string(start))
		},
		doc: "The value as JSON: text in quotes, numbers as numbers with all their digits, lists and objects, bytes in base64.", examples: [][2]string{{`json_string({total = 12.50, tags = ["a"]})`, `"{\"tags\":[\"a\"],\"total\":12.50}"`}, {`json_string("a\"b")`, `"\"a\\\"b\""`}},
	},
}

var identityFunctions = []*function{
	{
		name: "sha256", hides: true, params: []param{{name: "value", types: setOf(text, bytes)}}, result: returns(text),
		call: func(w *Worker, a []value) value {
			start := len(w.buf)
			w.buf = append(w.buf, a[0].s...)
			sum := sha256.Sum256(w.buf[start:])
			w.buf = hex.AppendEncode(w.buf[:start], sum[:])
			return ofText(w.string(start))
		},
		doc: "The SHA-256 hash of the bytes, in 64 hex digits.", examples: [][2]string{{`substr(sha256("abc"), 0, 8)`, `"ba7816bf"`}},
	},
	{
		name: "hmac", hides: true, params: []param{{name: "key", types: textType, secret: true}, {name: "value", types: setOf(text, bytes)}}, result: returns(text),
		call: func(w *Worker, a []value) value {
			mac := hmac.New(sha256.New, []byte(a[0].s))
			mac.Write([]byte(a[1].s))
			start := len(w.buf)
			w.buf = hex.AppendEncode(w.buf, mac.Sum(nil))
			return ofText(w.string(start))
		},
		doc: "HMAC-SHA-256 (RFC 2104) of the bytes, in 64 hex digits. The key may be a secret: `hmac(secret.salt, clean.email)`.", examples: [][2]string{{`substr(hmac("key", "value"), 0, 8)`, `"90fbfcf1"`}},
	},
	{
		name: "uuid_v5", hides: true, params: []param{{name: "namespace", types: setOf(text, uuid)}, {name: "name", types: textType}}, result: returns(uuid), fails: []string{"bad_uuid"},
		call: func(w *Worker, a []value) value {
			space, ok := namespace(w.text(a[0]))
			if !ok {
				return fail("bad_uuid")
			}
			sum := sha1.Sum(append(space[:], a[1].s...)) //nolint:gosec // RFC 9562 says so
			sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
			start := len(w.buf)
			for i, b := range sum[:16] {
				if i == 4 || i == 6 || i == 8 || i == 10 {
					w.buf = append(w.buf, '-')
				}
				w.buf = hex.AppendEncode(w.buf, []byte{b})
			}
			return value{kind: uuid, s: w.string(start)}
		},
		doc: "The UUID of a name within a namespace (RFC 9562, version 5): a UUID, or `dns`, `url`, `oid`, `x500`. The same name has the same UUID always.", examples: [][2]string{{`tostring(uuid_v5("dns", "www.example.com"))`, `"2ed6657d-e927-568b-95e1-2665a8aea6a2"`}},
	},
	{
		name: "base64", params: []param{{name: "value", types: setOf(text, bytes)}}, result: returns(text),
		call: func(w *Worker, a []value) value {
			start := len(w.buf)
			w.buf = base64.StdEncoding.AppendEncode(w.buf, []byte(a[0].s))
			return ofText(w.string(start))
		},
		doc: "The bytes in base64 (RFC 4648, with padding).", examples: [][2]string{{`base64("penstock")`, `"cGVuc3RvY2s="`}},
	},
}

// namespace reads a UUID in any case, with braces or not, or the name of one of RFC 9562's own.
func namespace(s string) (out [16]byte, ok bool) {
	switch strings.ToLower(s) {
	case "dns":
		s = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	case "url":
		s = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
	case "oid":
		s = "6ba7b812-9dad-11d1-80b4-00c04fd430c8"
	case "x500":
		s = "6ba7b814-9dad-11d1-80b4-00c04fd430c8"
	}
	s = strings.ReplaceAll(strings.Trim(s, "{}"), "-", "")
	if len(s) != 32 {
		return out, false
	}
	_, err := hex.Decode(out[:], []byte(s))
	return out, err == nil
}

// step is one step of a path: a name, or an index where the name is not meant.
type step struct {
	name  string
	index int
	isKey bool
}

func parsePath(s string) ([]step, error) {
	var out []step
	rest := s
	for rest != "" {
		if rest[0] == '[' {
			inside, after, ok := strings.Cut(rest[1:], "]")
			n, err := strconv.Atoi(inside)
			if !ok || err != nil {
				return nil, badArg(1, "the path has no number and ] after a [")
			}
			out = append(out, step{index: n})
			rest = strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return nil, badArg(1, "the path has an empty name in it")
		}
		out = append(out, step{name: rest[:end], isKey: true})
		rest = strings.TrimPrefix(rest[end:], ".")
	}
	if len(out) == 0 || strings.HasSuffix(s, ".") {
		return nil, badArg(1, "the path is empty or ends with a dot")
	}
	return out, nil
}

// jsonGet walks a document without building it.
func jsonGet(v value, path []step) value {
	if v.kind == text && !json.Valid([]byte(v.s)) {
		return fail("bad_json")
	}
	at := trimJSON(v.s)
	for _, s := range path {
		var ok bool
		if at, ok = jsonStep(at, s); !ok {
			return null
		}
	}
	switch {
	case at == "" || at == "null":
		return null
	case at[0] != '"':
		return ofText(at)
	case strings.IndexByte(at, '\\') < 0 && len(at) >= 2:
		return ofText(at[1 : len(at)-1])
	}
	var s string
	if json.Unmarshal([]byte(at), &s) != nil {
		return fail("bad_json")
	}
	return ofText(s)
}

func trimJSON(s string) string { return strings.Trim(s, " \t\r\n") }

func validJSON(s string) bool { return json.Valid([]byte(s)) }

// jsonEach visits the members of an object or the elements of an array, whose name is empty.
func jsonEach(s string, visit func(name, raw string)) bool {
	object := s[0] == '{'
	rest := trimJSON(s[1:])
	for rest != "" && rest[0] != '}' && rest[0] != ']' {
		name := ""
		if object {
			end := jsonEnd(rest)
			name = rest[:end]
			if json.Unmarshal([]byte(name), &name) != nil {
				return false
			}
			rest = trimJSON(strings.TrimPrefix(trimJSON(rest[end:]), ":"))
		}
		end := jsonEnd(rest)
		if end == 0 {
			return false
		}
		visit(name, rest[:end])
		rest = trimJSON(strings.TrimPrefix(trimJSON(rest[end:]), ","))
	}
	return true
}

// jsonStep returns the text of an object's member (the last of that name) or an array's element.
func jsonStep(s string, want step) (string, bool) {
	if s == "" || want.isKey && s[0] != '{' || !want.isKey && s[0] != '[' {
		return "", false
	}
	var elements []string
	found, ok := "", false
	whole := jsonEach(s, func(name, raw string) {
		switch {
		case !want.isKey:
			elements = append(elements, raw)
		case name == want.name:
			found, ok = raw, true
		}
	})
	if want.isKey || !whole {
		return found, ok && whole
	}
	i := want.index
	if i < 0 {
		i += len(elements)
	}
	if i < 0 || i >= len(elements) {
		return "", false
	}
	return elements[i], true
}

// jsonEnd returns where the value at the front of a text ends.
func jsonEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(s))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return i
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(s)
}
