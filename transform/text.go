package transform

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var textFunctions = []*function{
	{
		name: "lower", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(w *Worker, a []value) value { return ofText(w.mapRunes(a[0].s, unicode.ToLower)) },
		doc:  "In lower case.", examples: [][2]string{{`lower("ÄPFEL")`, `"äpfel"`}},
	},
	{
		name: "upper", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(w *Worker, a []value) value { return ofText(w.mapRunes(a[0].s, unicode.ToUpper)) },
		doc:  "In upper case.", examples: [][2]string{{`upper("äpfel")`, `"ÄPFEL"`}},
	},
	{
		name: "trim", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(_ *Worker, a []value) value { return ofText(strings.TrimFunc(a[0].s, isBlank)) },
		doc:  "Without white space at both ends; no-break, zero-width and byte order mark characters count as white space.", examples: [][2]string{{`trim("  Ada ")`, `"Ada"`}},
	},
	{
		name: "collapse", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(w *Worker, a []value) value { return ofText(w.collapse(a[0].s)) },
		doc:  "Trimmed, and each run of white space within is one space.", examples: [][2]string{{`collapse(" Ada   King ")`, `"Ada King"`}},
	},
	{
		name: "title_case", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(w *Worker, a []value) value { return ofText(w.titleCase(a[0].s)) },
		doc:  "As names are written: each word with a capital, also after hyphens and after O', D' and their like. Words in mixed case (McDonald) stay.", examples: [][2]string{{`title_case("jean-luc O'BRIEN")`, `"Jean-Luc O'Brien"`}, {`title_case("Ann McDonald")`, `"Ann McDonald"`}},
	},
	{
		name: "replace", params: []param{{name: "text", types: textType}, {name: "old", types: textType}, {name: "new", types: textType}}, result: returns(text),
		call: func(_ *Worker, a []value) value {
			if a[1].s == "" {
				return a[0]
			}
			return ofText(strings.ReplaceAll(a[0].s, a[1].s, a[2].s))
		},
		doc: "Every `old` replaced by `new`; an empty `old` replaces nothing.", examples: [][2]string{{`replace("a-b-c", "-", "+")`, `"a+b+c"`}},
	},
	{
		name: "regex_replace", params: []param{{name: "text", types: textType}, {name: "pattern", types: textType, constant: true}, {name: "new", types: textType}}, result: returns(text),
		bind: bindRegex(func(re *regexp.Regexp) callFunc {
			return func(_ *Worker, a []value) value {
				if !re.MatchString(a[0].s) {
					return a[0]
				}
				return ofText(re.ReplaceAllString(a[0].s, a[2].s))
			}
		}),
		doc: "Every match of the regular expression (RE2 syntax) replaced; `$1` in `new` is the first group, `$$` a dollar sign.", examples: [][2]string{{`regex_replace("tel 12-34", "[^0-9]", "")`, `"1234"`}},
	},
	{
		name: "regex_match", params: []param{{name: "text", types: textType}, {name: "pattern", types: textType, constant: true}}, result: returns(boolean),
		bind: bindRegex(func(re *regexp.Regexp) callFunc {
			return func(_ *Worker, a []value) value { return ofBool(re.MatchString(a[0].s)) }
		}),
		doc: "Whether the regular expression (RE2 syntax) matches anywhere; anchor it with `^` and `$`.", examples: [][2]string{{`regex_match("AB-12", "^[A-Z]+-[0-9]+$")`, `true`}},
	},
	{
		name: "substr", params: []param{{name: "text", types: textType}, {name: "start", types: intType}, {name: "length", types: intType}}, optional: 1, result: returns(text),
		call: substr,
		doc:  "Characters from `start` (0 is the first; negative: from the end), at most `length` of them. What lies outside is left out.", examples: [][2]string{{`substr("Größe", 2, 2)`, `"öß"`}, {`substr("Größe", -2)`, `"ße"`}},
	},
	{
		name: "split", params: []param{{name: "separator", types: textType}, {name: "text", types: textType}},
		result: func([]*node) typ { return listType(typ{base: text}) },
		call:   split,
		doc:    "The parts between separators; none of an empty text.", examples: [][2]string{{`split(",", "a,b,,c")`, `["a", "b", "", "c"]`}},
	},
	{
		name: "join", params: []param{{name: "separator", types: textType}, {name: "list", types: setOf(list)}}, result: returns(text), fails: []string{"bad_list"},
		bind: bindElement(1, func(elem base) callFunc {
			return func(w *Worker, a []value) value {
				items, ok := w.items(a[1], elem)
				if !ok {
					return fail("bad_list")
				}
				return w.joined(a[0].s, items)
			}
		}),
		doc: "The elements as text with the separator between them; NULL elements are left out.", examples: [][2]string{{`join(";", ["a", "b"])`, `"a;b"`}},
	},
	{
		name: "concat_ws", params: []param{{name: "separator", types: textType}, {name: "value", types: scalars}}, variadic: true, lenient: true,
		result: func(args []*node) typ { return typ{base: text, null: args[0].typ.null} },
		call: func(w *Worker, a []value) value {
			if a[0].kind == isNull {
				return null
			}
			return w.joined(a[0].s, a[1:])
		},
		doc: "The values as text with the separator between them; NULLs are left out.", examples: [][2]string{{`concat_ws(" ", "Ada", null, "King")`, `"Ada King"`}},
	},
	{
		name: "starts_with", params: []param{{name: "text", types: textType}, {name: "prefix", types: textType}}, result: returns(boolean),
		call: func(_ *Worker, a []value) value { return ofBool(strings.HasPrefix(a[0].s, a[1].s)) },
		doc:  "Whether the text begins so.", examples: [][2]string{{`starts_with("invoice 7", "inv")`, `true`}},
	},
	{
		name: "ends_with", params: []param{{name: "text", types: textType}, {name: "suffix", types: textType}}, result: returns(boolean),
		call: func(_ *Worker, a []value) value { return ofBool(strings.HasSuffix(a[0].s, a[1].s)) },
		doc:  "Whether the text ends so.", examples: [][2]string{{`ends_with("a@example.com", ".com")`, `true`}},
	},
	{
		name: "contains", params: []param{{name: "in", types: setOf(text, list)}, {name: "value", types: scalars}}, result: returns(boolean), fails: []string{"bad_list"},
		bind: bindContains,
		doc:  "Whether the text has the other text in it, or the list the element.", examples: [][2]string{{`contains("penstock", "stock")`, `true`}, {`contains(["a", "b"], "c")`, `false`}},
	},
	{
		name: "length", params: []param{{name: "value", types: setOf(text, bytes, list)}}, result: returns(integer), fails: []string{"bad_list"},
		bind: bindElement(0, func(elem base) callFunc {
			return func(w *Worker, a []value) value {
				switch a[0].kind {
				case text:
					return ofInt(int64(utf8.RuneCountInString(a[0].s)))
				case bytes:
					return ofInt(int64(len(a[0].s)))
				}
				items, ok := w.items(a[0], elem)
				if !ok {
					return fail("bad_list")
				}
				return ofInt(int64(len(items)))
			}
		}),
		doc: "How many characters, bytes or elements.", examples: [][2]string{{`length("Größe")`, `5`}, {`length([1, 2])`, `2`}},
	},
}

// scalars are the types that have a text of their own to be written into others.
var scalars = anyType &^ setOf(list, composite, bytes)

// isBlank is white space, and the invisible characters that come with pasted data.
func isBlank(r rune) bool {
	return unicode.IsSpace(r) || r == '\u200b' || r == '\u2060' || r == '\ufeff'
}

// mapRunes maps each character; bytes that are no UTF-8 stay. A text that does not change is returned as it is.
func (w *Worker) mapRunes(s string, f func(rune) rune) string {
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		if f(r) == r || r == utf8.RuneError && size == 1 {
			i += size
			continue
		}
		start := len(w.buf)
		w.buf = append(w.buf, s[:i]...)
		for i < len(s) {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				w.buf = append(w.buf, s[i])
			} else {
				w.buf = utf8.AppendRune(w.buf, f(r))
			}
			i += size
		}
		return w.string(start)
	}
	return s
}

func (w *Worker) collapse(s string) string {
	s = strings.TrimFunc(s, isBlank)
	start, blank := len(w.buf), false
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if isBlank(r) {
			blank = true
		} else {
			if blank {
				w.buf, blank = append(w.buf, ' '), false
			}
			w.buf = append(w.buf, s[i:i+size]...)
		}
		i += size
	}
	return w.string(start)
}

// joined writes the values that are not NULL with a separator.
func (w *Worker) joined(separator string, items []value) value {
	start, first := len(w.buf), true
	for _, item := range items {
		if item.kind == isNull {
			continue
		}
		if !first {
			w.buf = append(w.buf, separator...)
		}
		first = false
		w.buf = appendText(w.buf, item)
	}
	return ofText(w.string(start))
}

func substr(_ *Worker, a []value) value {
	s := a[0].s
	start, ok := a[1].int()
	length, ok2 := int64(len(s)), true
	if len(a) > 2 {
		length, ok2 = a[2].int()
	}
	if !ok || !ok2 {
		return fail("bad_number")
	}
	if start < 0 {
		start = max(0, start+int64(utf8.RuneCountInString(s)))
	}
	from, to, at := len(s), len(s), int64(0)
	for i := range s {
		if at == start {
			from = i
		}
		if at >= start && at-start >= length {
			to = i
			break
		}
		at++
	}
	return ofText(s[min(from, to):to])
}

func split(_ *Worker, a []value) value {
	var items []value
	if a[1].s != "" {
		parts := strings.Split(a[1].s, a[0].s)
		items = make([]value, len(parts))
		for i, p := range parts {
			items[i] = ofText(p)
		}
	}
	return value{kind: list, list: &items}
}

func bindRegex(call func(*regexp.Regexp) callFunc) func([]*node) (callFunc, error) {
	return func(args []*node) (callFunc, error) {
		re, err := regexp.Compile(args[1].val.s)
		if err != nil {
			return nil, badArg(1, "the pattern is wrong: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		return call(re), nil
	}
}

// bindElement hands over the type of a list argument's elements.
func bindElement(index int, call func(elem base) callFunc) func([]*node) (callFunc, error) {
	return func(args []*node) (callFunc, error) { return call(args[index].typ.elemBase()), nil }
}

func bindContains(args []*node) (callFunc, error) {
	in, of := args[0].typ, args[1].typ
	if in.base != list {
		if of.base != text && of.base != isNull {
			return nil, badArg(1, "a text has only text in it, but this is %s; use tostring()", of)
		}
		return func(_ *Worker, a []value) value { return ofBool(strings.Contains(a[0].s, a[1].s)) }, nil
	}
	t, ok := unify(typ{base: in.elemBase()}, typ{base: of.base})
	if !ok {
		return nil, badArg(1, "the list has elements of type %s, but this is %s", in.elemBase(), of)
	}
	wide, elem := t.base, in.elemBase()
	return func(w *Worker, a []value) value {
		items, ok := w.items(a[0], elem)
		if !ok {
			return fail("bad_list")
		}
		want := a[1]
		if want.kind != wide && wide.numeric() {
			want = w.toBase(want, wide)
		}
		for _, item := range items {
			if item.kind != isNull && item.kind != wide && wide.numeric() {
				item = w.toBase(item, wide)
			}
			if w.same(item, want) {
				return trueVal
			}
		}
		return falseVal
	}, nil
}
