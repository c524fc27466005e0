package transform

import "strings"

var nullFunctions = []*function{
	{
		name: "coalesce", params: []param{{name: "value", types: anyType}}, variadic: true, unify: true, lenient: true, lazy: true,
		result: func(args []*node) typ {
			t := args[0].typ
			null := true
			for _, a := range args {
				t, _ = unify(t, a.typ)
				null = null && a.typ.null
			}
			t.null = null
			return t
		},
		doc: "The first value that is not NULL; those after it are not computed.", examples: [][2]string{{`coalesce(null, "US")`, `"US"`}},
	},
	{
		name: "nullif", params: []param{{name: "value", types: anyType}, {name: "other", types: anyType}}, unify: true, lenient: true,
		result: func(args []*node) typ {
			t := args[0].typ
			t.null = true
			return t
		},
		call: func(w *Worker, a []value) value {
			if w.same(a[0], a[1]) {
				return null
			}
			return a[0]
		},
		doc: "NULL where both are equal, else the first.", examples: [][2]string{{`nullif("n/a", "n/a")`, `null`}, {`nullif(5, 0)`, `5`}},
	},
	{
		name: "nonempty", params: []param{{name: "text", types: textType}},
		result: func([]*node) typ { return typ{base: text, null: true} },
		call: func(_ *Worker, a []value) value {
			if strings.TrimFunc(a[0].s, isBlank) == "" {
				return null
			}
			return a[0]
		},
		doc: "NULL where the text is empty or only white space, else the text as it is.", examples: [][2]string{{`nonempty("  ")`, `null`}, {`nonempty(" x")`, `" x"`}},
	},
	{
		name: "default", params: []param{{name: "value", types: anyType}, {name: "fallback", types: anyType}}, unify: true, lenient: true,
		result: func(args []*node) typ {
			t, _ := unify(args[0].typ, args[1].typ)
			t.null = args[1].typ.null
			return t
		},
		call: func(_ *Worker, a []value) value {
			if a[0].kind == isNull || a[0].kind == text && strings.TrimFunc(a[0].s, isBlank) == "" {
				return a[1]
			}
			return a[0]
		},
		doc: "The value, or the fallback where it is NULL or a text that is empty or only white space. (`coalesce` keeps empty texts.)", examples: [][2]string{{`default(" ", "none")`, `"none"`}, {`default(null, 0)`, `0`}},
	},
}
