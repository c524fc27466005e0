package transform

import (
	"sort"
	"strings"
)

// listFunctions work on lists and objects.
var listFunctions = []*function{
	{
		name: "keys", params: []param{{name: "object", types: setOf(document, composite)}}, fails: []string{"bad_json"},
		result: func([]*node) typ { return listType(typ{base: text}) },
		call: func(w *Worker, a []value) value {
			names, _, ok := w.members(a[0])
			if !ok {
				return fail("bad_json")
			}
			items := make([]value, len(names))
			for i, n := range names {
				items[i] = ofText(n)
			}
			return value{kind: list, list: &items}
		},
		doc: "The names of an object, or of a JSON document that is one: of an object sorted, of a document as written.", examples: [][2]string{{`keys({b = 1, a = 2})`, `["a", "b"]`}},
	},
	{
		name: "values", params: []param{{name: "object", types: setOf(document, composite)}}, fails: []string{"bad_json"},
		result: func(args []*node) typ {
			t, _ := valuesType(args[0].typ)
			return listType(t)
		},
		bind: func(args []*node) (callFunc, error) {
			t, ok := valuesType(args[0].typ)
			if !ok {
				return nil, badArg(0, "the object's values have different types, a list's have one")
			}
			return func(w *Worker, a []value) value {
				_, items, ok := w.members(a[0])
				if !ok {
					return fail("bad_json")
				}
				items = append([]value{}, items...)
				for i := range items {
					items[i] = w.widened(items[i], t.base)
				}
				return value{kind: list, list: &items}
			}, nil
		},
		doc: "The values of an object, or of a JSON document that is one (as json), in the order of `keys`.", examples: [][2]string{{`values({b = 1, a = 2})`, `[2, 1]`}},
	},
	{
		name: "lookup_map", params: []param{{name: "key", types: textType}, {name: "map", types: setOf(composite)}, {name: "default", types: anyType}}, optional: 1, lenient: true,
		result: func(args []*node) typ {
			t, _ := lookupType(args)
			return t
		},
		bind: bindLookup,
		doc:  "The value that the map has under the key; the default, or NULL, where it has none or the key is NULL.", examples: [][2]string{{`lookup_map("DE", {DE = "EUR", US = "USD"}, "?")`, `"EUR"`}, {`lookup_map("FR", {DE = "EUR"})`, `null`}},
	},
	{
		name: "one_of", params: []param{{name: "value", types: scalars}, {name: "list", types: setOf(list)}}, fails: []string{"bad_option", "bad_list"},
		result: func(args []*node) typ {
			t := typ{base: args[0].typ.base, pii: args[0].typ.pii}
			if labels, ok := constantTexts(args[1]); ok {
				t.labels = labels
			}
			return t
		},
		bind: func(args []*node) (callFunc, error) {
			has, err := bindContains([]*node{args[1], args[0]})
			if err != nil {
				return nil, badArg(0, "%s", err)
			}
			return func(w *Worker, a []value) value {
				switch v := has(w, []value{a[1], a[0]}); {
				case v.kind == failed:
					return v
				case v.isTrue():
					return a[0]
				}
				return fail("bad_option")
			}, nil
		},
		doc: "The value, if the list has it; else it is refused.", examples: [][2]string{{`one_of("lead", ["lead", "customer"])`, `"lead"`}, {`one_of_or("x", ["lead", "customer"], "lead")`, `"lead"`}},
	},
	{
		name: "sort", params: []param{{name: "list", types: setOf(list)}}, fails: []string{"bad_list", "bad_value"}, result: firstList,
		bind: func(args []*node) (callFunc, error) {
			t := args[0].typ
			if b := t.elemBase(); !b.ordered() && b != isNull {
				return nil, badArg(0, "values of type %s have no order", t.elem)
			}
			return bindItems(t, sortItems), nil
		},
		doc: "The elements from the least to the greatest, NULLs last.", examples: [][2]string{{`sort([3, 1, 2])`, `[1, 2, 3]`}},
	},
	{
		name: "distinct", params: []param{{name: "list", types: setOf(list)}}, fails: []string{"bad_list"}, result: firstList,
		bind: func(args []*node) (callFunc, error) {
			return bindItems(args[0].typ, func(w *Worker, items []value) value {
				var out []value
				for _, v := range items {
					seen := false
					for _, o := range out {
						if seen = w.same(v, o); seen {
							break
						}
					}
					if !seen {
						out = append(out, v)
					}
				}
				return value{kind: list, list: &out}
			}), nil
		},
		doc: "The elements without those that were there before.", examples: [][2]string{{`distinct(["a", "b", "a"])`, `["a", "b"]`}},
	},
	{
		name: "sum", params: []param{{name: "list", types: setOf(list)}}, fails: []string{"bad_list", "bad_number", "overflow", "invalid_operation"},
		result: func(args []*node) typ {
			if b := args[0].typ.elemBase(); b.numeric() {
				return typ{base: b}
			}
			return typ{base: integer}
		},
		bind: func(args []*node) (callFunc, error) {
			b := args[0].typ.elemBase()
			if !b.numeric() && b != isNull {
				return nil, badArg(0, "only numbers have a sum, but this is %s", args[0].typ)
			}
			return bindItems(args[0].typ, func(w *Worker, items []value) value {
				total := ofInt(0)
				if b == decimal || b == float {
					total = w.toBase(total, b)
				}
				for _, v := range items {
					if v.kind == isNull {
						continue
					}
					switch b {
					case decimal:
						total = w.decimalOp(opAdd, total, v)
					case float:
						total = floatOp(opAdd, total, v)
					default:
						total = intOp(opAdd, total, v)
					}
					if total.kind == failed {
						return total
					}
				}
				return total
			}), nil
		},
		doc: "The sum of the elements that are not NULL, 0 of none.", examples: [][2]string{{`sum([1, 2, null])`, `3`}},
	},
	{
		name: "count", params: []param{{name: "list", types: setOf(list)}}, fails: []string{"bad_list"}, result: returns(integer),
		bind: func(args []*node) (callFunc, error) {
			return bindItems(args[0].typ, func(_ *Worker, items []value) value {
				n := int64(0)
				for _, v := range items {
					if v.kind != isNull {
						n++
					}
				}
				return ofInt(n)
			}), nil
		},
		doc: "How many elements are not NULL (`length` counts all).", examples: [][2]string{{`count(["a", null])`, `1`}},
	},
}

func firstList(args []*node) typ {
	return typ{base: list, elem: args[0].typ.elem}
}

// bindItems hands over a list's elements.
func bindItems(t typ, call func(w *Worker, items []value) value) callFunc {
	elem := t.elemBase()
	return func(w *Worker, a []value) value {
		items, ok := w.items(a[0], elem)
		if !ok {
			return fail("bad_list")
		}
		return call(w, items)
	}
}

func sortItems(w *Worker, items []value) value {
	out, bad := append([]value{}, items...), false
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].kind == isNull || out[j].kind == isNull {
			return out[i].kind != isNull && out[j].kind == isNull
		}
		c, how := w.compare(out[i], out[j])
		bad = bad || how == notComparable
		if how == unordered { // NaN is above all numbers
			f, _ := out[j].float()
			return f != f // only NaN is not itself
		}
		return c < 0
	})
	if bad {
		return fail("bad_value")
	}
	return value{kind: list, list: &out}
}

// valuesType is the one type of an object's values.
func valuesType(t typ) (typ, bool) {
	switch {
	case t.base == document || t.opaque() && t.base == composite:
		return typ{base: document}, true
	case t.elem != nil:
		return *t.elem, true
	}
	out := typ{}
	for _, a := range t.attrs {
		var ok bool
		if out, ok = unify(out, a.typ); !ok {
			return out, false
		}
	}
	return out, true
}

// widened brings a number to the type that it was unified to.
func (w *Worker) widened(v value, b base) value {
	if v.kind == b || v.absent() || !b.numeric() {
		return v
	}
	return w.toBase(v, b)
}

func lookupType(args []*node) (typ, bool) {
	t, ok := valuesType(args[1].typ)
	if len(args) < 3 {
		t.null = true
		return t, ok
	}
	u, ok2 := unify(t, args[2].typ)
	return u, ok && ok2
}

func bindLookup(args []*node) (callFunc, error) {
	if args[1].typ.opaque() {
		return nil, badArg(1, "the parts of a composite column have no types; use json_get()")
	}
	values, ok := valuesType(args[1].typ)
	if !ok {
		return nil, badArg(1, "the map's values have different types")
	}
	t, ok := lookupType(args)
	if !ok {
		return nil, badArg(2, "the map has values of type %s, but the default is %s", values, args[2].typ)
	}
	find := func(w *Worker, m value, key string) (value, bool) {
		names, items, _ := w.members(m)
		for i, n := range names {
			if n == key {
				return items[i], true
			}
		}
		return null, false
	}
	if args[1].isConst() && args[1].val.list != nil { // the same for every row
		table := make(map[string]value, len(*args[1].val.list)/2)
		for i := 0; i+1 < len(*args[1].val.list); i += 2 {
			table[(*args[1].val.list)[i].s] = (*args[1].val.list)[i+1]
		}
		find = func(_ *Worker, _ value, key string) (value, bool) {
			v, ok := table[key]
			return v, ok
		}
	}
	return func(w *Worker, a []value) value {
		if a[0].kind != isNull && a[1].kind != isNull {
			if v, ok := find(w, a[1], a[0].s); ok {
				return w.widened(v, t.base)
			}
		}
		if len(a) > 2 {
			return w.widened(a[2], t.base)
		}
		return null
	}, nil
}

// constantTexts returns the texts of a list that is known beforehand.
func constantTexts(n *node) ([]string, bool) {
	if !n.isConst() || n.val.list == nil {
		return nil, false
	}
	out := []string{}
	for _, v := range *n.val.list {
		if v.kind != text {
			return nil, false
		}
		out = append(out, v.s)
	}
	return out, true
}

// members returns the names and values of an object, or of a document that is one.
func (w *Worker) members(v value) (names []string, values []value, ok bool) {
	if v.list != nil {
		all := *v.list
		for i := 0; i+1 < len(all); i += 2 {
			names, values = append(names, all[i].s), append(values, all[i+1])
		}
		return names, values, true
	}
	s := trimJSON(v.s)
	if s == "" || s[0] != '{' || !validJSON(s) {
		return nil, nil, false
	}
	ok = jsonEach(s, func(name, raw string) {
		names, values = append(names, name), append(values, ofDocument(raw))
	})
	return names, values, ok
}

// ofDocument makes a value of a part of a document; null in it is NULL.
func ofDocument(raw string) value {
	if raw == "null" {
		return null
	}
	return value{kind: document, s: raw}
}

// elements returns the parts of a document that is an array.
func (w *Worker) elements(v value) ([]value, bool) {
	s := trimJSON(v.s)
	if s == "" || s[0] != '[' || !validJSON(s) {
		return nil, false
	}
	var out []value
	ok := jsonEach(s, func(_, raw string) { out = append(out, ofDocument(raw)) })
	return out, ok
}

// appendNatural appends a value as JSON as people write it: numbers are numbers.
func appendNatural(dst []byte, v value) []byte {
	switch v.kind {
	case decimal:
		start := len(dst)
		dst = appendText(dst, v)
		if c := dst[len(dst)-1]; !isDigit(c) { // NaN, Infinity
			return quoteTail(dst, start)
		}
		return dst
	case document:
		return append(dst, v.s...)
	case list:
		if v.list == nil {
			return append(dst, v.s...)
		}
		dst = append(dst, '[')
		for i, item := range *v.list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendNatural(dst, item)
		}
		return append(dst, ']')
	case composite:
		if v.list == nil {
			return append(dst, v.s...)
		}
		return appendObject(dst, *v.list, appendNatural)
	}
	return appendJSON(dst, v)
}

// appendObject appends names and values in turn as a JSON object.
func appendObject(dst []byte, parts []value, part func([]byte, value) []byte) []byte {
	dst = append(dst, '{')
	for i := 0; i+1 < len(parts); i += 2 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendJSONString(dst, parts[i].s), ':')
		dst = part(dst, parts[i+1])
	}
	return append(dst, '}')
}

// objectOf makes an object of names and values; the last of a name counts.
func objectOf(names []string, values []value) value {
	order := make([]int, 0, len(names))
	last := make(map[string]int, len(names))
	for i, n := range names {
		last[n] = i
	}
	for i, n := range names {
		if last[n] == i {
			order = append(order, i)
		}
	}
	sort.Slice(order, func(a, b int) bool { return strings.Compare(names[order[a]], names[order[b]]) < 0 })
	parts := make([]value, 0, 2*len(order))
	for _, i := range order {
		parts = append(parts, ofText(names[i]), values[i])
	}
	return value{kind: composite, list: &parts}
}
