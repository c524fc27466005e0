package transform

// reasonSkip is what skip() evaluates to: it goes through all that is computed with it
// and leaves the field out.
const reasonSkip = "skip"

var controlFunctions = []*function{
	{
		name: "skip", reads: true,
		result:   func([]*node) typ { return typ{skip: true} },
		call:     func(*Worker, []value) value { return fail(reasonSkip) },
		doc:      "The field is left as it is in the app, and out of a record that is made. Only in fields and in the cleans that they use: `is_phone(row.phone) ? row.phone : skip()`.",
		examples: [][2]string{{`row.id > 0 ? "a" : skip()`, `"a"`}},
	},
	{
		name: "try", params: []param{{name: "value", types: anyType}}, variadic: true, unify: true, lenient: true, catch: true,
		result: unifiedWithNull,
		doc:    "The first of the values that can be computed: one that fails gives way to the next. The last one's failure rejects the row.", examples: [][2]string{{`try(toint("x"), 0)`, `0`}, {`try(1 / 0, null)`, `null`}},
	},
}

func unifiedWithNull(args []*node) typ {
	t := args[0].typ
	for _, a := range args[1:] {
		t, _ = unify(t, a.typ)
	}
	return t
}
