package transform

import (
	"crypto/sha256"
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
}

var identityFunctions = []*function{
	{
		name: "sha256", params: []param{{name: "value", types: setOf(text, bytes)}}, result: returns(text),
		call: func(w *Worker, a []value) value {
			start := len(w.buf)
			w.buf = append(w.buf, a[0].s...)
			sum := sha256.Sum256(w.buf[start:])
			w.buf = hex.AppendEncode(w.buf[:start], sum[:])
			return ofText(w.string(start))
		},
		doc: "The SHA-256 hash of the bytes, in 64 hex digits.", examples: [][2]string{{`substr(sha256("abc"), 0, 8)`, `"ba7816bf"`}},
	},
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

// jsonStep returns the text of an object's member (the last of that name) or an array's element.
func jsonStep(s string, want step) (string, bool) {
	if s == "" || want.isKey && s[0] != '{' || !want.isKey && s[0] != '[' {
		return "", false
	}
	var elements []string
	found, ok := "", false
	rest := trimJSON(s[1:])
	for rest != "" && rest[0] != '}' && rest[0] != ']' {
		name := ""
		if want.isKey {
			end := jsonEnd(rest)
			name = rest[:end]
			if json.Unmarshal([]byte(name), &name) != nil {
				return "", false
			}
			rest = trimJSON(strings.TrimPrefix(trimJSON(rest[end:]), ":"))
		}
		end := jsonEnd(rest)
		if end == 0 {
			return "", false
		}
		if !want.isKey {
			elements = append(elements, rest[:end])
		} else if name == want.name {
			found, ok = rest[:end], true
		}
		rest = trimJSON(strings.TrimPrefix(trimJSON(rest[end:]), ","))
	}
	if want.isKey {
		return found, ok
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
