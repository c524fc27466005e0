package transform

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

func TestCollections(t *testing.T) {
	for _, tt := range [][2]string{
		{`[for n in row.numbers : n * 2]`, "list [2,null,6]"}, {`[for i, n in row.numbers : i if n != null]`, "list [0,2]"}, {`[for n in row.numbers : n if n > 1]`, "list [3]"}, {`[for n in null_list : n]`, `error E0301: "null_list" is none of the names that an expression can begin with. There are: clean, local, meta, old, row, var.`},
		{`{for t in row.tags : upper(t) => length(t)}`, `object {"A":1,"B":1}`}, {`{for t in ["a", "b", "ab"] : substr(t, 0, 1) => t...}`, `object {"a":["a","ab"],"b":["b"]}`}, {`{for t in ["a", "a"] : t => 1}`, "fail duplicate_name"}, {`{for t in [null, "a"] : t => 1}`, "fail bad_name"},
		{`[for k, v in {b = 1, a = 2} : "${k}${v}"]`, `list ["a2","b1"]`}, {`[for k, v in {b = 1, a = "x"} : k]`, "error E0311: The object's values have different types; for goes through values of one type."}, {`[for k, v in row.data : k]`, `list ["city","n"]`}, {`[for v in json_parse("[{\"a\":1},{\"a\":2}]") : json_get(v, "a")]`, `list ["1","2"]`},
		{`[for x in json_parse("5") : x]`, "fail bad_json"}, {`[for a in row.tags : [for b in row.tags : "${a}${b}"]]`, `list [["aa","ab"],["ba","bb"]]`}, {`[for n in row.numbers : 1 / (n - 3)]`, "fail division_by_zero"}, {`[for x in row.id : x]`, "error E0310: for goes through lists, objects and JSON, but this is int."},
		{`row.tags[0]`, "text a"}, {`row.tags[-1]`, "text b"}, {`row.tags[2]`, "null"}, {`row.tags[null]`, "null"}, {`row.tags[row.id - 6]`, "text b"}, {`row.numbers[1]`, "null"}, {`split(" ", "a b")[1]`, "text b"}, {`row["id"]`, "int 7"},
		{`{a = 1, "b c" = 2}["b c"]`, "int 2"}, {`{a = {b = 5}}.a.b`, "int 5"}, {`{(row.country) = 1}["US"]`, "int 1"}, {`{(row.country) = 1}["DE"]`, "null"}, {`{(row.deleted_at == null ? null : "x") = 1}`, "fail bad_name"}, {`{a = 1, a = 2}`, `error E0331: The object has "a" already.`}, {`{a = 1}[row.country]`, "null"},
		{`{a = 1} == {a = 1.0}`, "error E0310: == compares values of one type, but these are object and object."}, {`{a = row.id} == {a = 7}`, "bool true"}, {`[1, [2]]`, "error E0311: A list has elements of one type, but here are int and list of int."},
		{`[{n = "a"}, {n = "b"}][*].n`, `list ["a","b"]`}, {`row.tags[*]`, `list ["a","b"]`}, {`[[1, 2], [3]][*][0]`, "list [1,3]"}, {`row.id[*]`, "error E0310: A splat goes through a list, but this is int."},
		{`"%{ for t in row.tags }<${t}>%{ endfor }"`, "text <a><b>"}, {`"%{ for n in row.numbers }${n}%{ endfor }"`, "null"}, {"<<-E\n  %{ for t in row.tags ~}\n  - ${t}\n  %{ endfor ~}\n  E\n", "text   - a\n  - b\n"},
		{`max(row.numbers...)`, "null"}, {`max([1, 3, 2]...)`, "int 3"}, {`min([]...)`, "null"}, {`concat_ws("-", "x", row.tags...)`, "text x-a-b"}, {`coalesce([null, "b"]...)`, "text b"}, {`coalesce(row.numbers...)`, "int 1"},
		{`local.map`, `object {"x":"deep"}`}, {`local.map["x"]`, "text deep"}, {`lookup_map("x", local.map)`, "text deep"}, {`keys(local.map)`, `list ["x"]`},
	} {
		if got := evaluate(t, tt[0], nil); got != tt[1] {
			t.Errorf("%s\n got %s\nwant %s", tt[0], got, tt[1])
		}
	}
}

func ownFunction(t *testing.T, name string, params []string, result string) *config.Function {
	t.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(result), name+".hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return &config.Function{Name: name, Params: params, Result: e, Range: hcl.Range{Filename: name + ".hcl", Start: hcl.InitialPos, End: hcl.InitialPos}}
}

func TestFunctionsOfTheConfiguration(t *testing.T) {
	all := map[string]*config.Function{}
	for _, f := range []*config.Function{
		ownFunction(t, "full", []string{"first", "last"}, `concat_ws(" ", trim(first), upper(last))`),
		ownFunction(t, "twice", []string{"x"}, `x == null ? "none" : "${x}${x}"`),
		ownFunction(t, "first_ok", []string{"a", "b"}, `a != null ? a : b`),
		ownFunction(t, "when", []string{"time", "layout"}, `format_time(time, layout)`),
		ownFunction(t, "four", []string{"x"}, `twice(twice(x))`),
		ownFunction(t, "loop", []string{"x"}, `loop(x)`),
		ownFunction(t, "reads", []string{"x"}, `row.id`),
		ownFunction(t, "each_one", []string{"l", "s"}, `[for v in l : "${s}${v}"]`),
	} {
		all[f.Name] = f
	}
	table := customers(false)
	for _, tt := range [][2]string{
		{`full(row.first_name, "king")`, "text ada KING"}, {`twice(row.id)`, "text 77"}, {`twice(null)`, "text none"}, {`twice(lower(row.country))`, "text usus"}, {`four(lower(row.country))`, "text usususus"},
		{`first_ok(row.id, 1 / 0)`, "decimal 7"}, {`first_ok(row.deleted_at, row.created_at)`, "timestamptz 2026-03-04T13:14:15.123456Z"}, {`when(row.born, "%Y")`, "text 1990"}, {`when(row.born, row.email)`, "error E0314"},
		{`full(1, "x")`, "error E0312"}, {`full("x")`, "error E0313"}, {`loop(1)`, "error E0334"}, {`reads(1)`, "error E0336"}, {`each_one(row.tags, upper(row.country))`, `list ["USa","USb"]`}, {`[for t in row.tags : twice(upper(t))]`, `list ["AA","BB"]`}, {`full(toint(row.email) == 1 ? "a" : "b", "x")`, "fail bad_number"},
	} {
		e, diags := hclsyntax.ParseExpression([]byte(tt[0]), "expr.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		c := &checker{pipeline: &config.Pipeline{}, table: table, env: Env{Functions: all}}
		c.scratch = (&Program{table: table}).NewWorker()
		n, got := c.check(e), ""
		if c.diags.HasErrors() {
			got = "error " + codeOf(c.diags[0])
		} else {
			w := (&Program{table: table, source: "shop"}).NewWorker()
			var res Result
			w.begin(event(table, change.Create, nil, customer(table, nil)), &res)
			got = showValue(w, compile(n)(w))
		}
		if got != tt[1] {
			t.Errorf("%s: got %s, want %s", tt[0], got, tt[1])
		}
	}
	all["lower"] = ownFunction(t, "lower", []string{"x"}, `nope(x)`)
	diags := CheckFunctions(all)
	if len(diags) != 2 || codeOf(diags[0]) != "E0335" || codeOf(diags[1]) != "E0304" {
		t.Errorf("functions: %s", diags)
	}
}

func TestSkipLeavesAFieldOut(t *testing.T) {
	table := customers(false)
	prog := mustCompile(t, `
key { shop_customer_id = tostring(row.id) }
fields "source" {
  phone = is_phone(row.phone, "US") ? phone_e164(row.phone, "US") : skip()
}
`, table, contacts())
	w := prog.NewWorker()
	var res Result
	w.Eval(event(table, change.Create, nil, customer(table, map[string]change.Value{"phone": change.OfString("x")})), &res)
	if res.Outcome != Pass || !res.Fields[0].IsUnchanged() || res.Fields[0].Text() != Skipped {
		t.Errorf("a skipped field: %s %v %q", res.Outcome, res.Fields[0].Kind(), res.Fields[0].Text())
	}
	w.Eval(event(table, change.Create, nil, customer(table, nil)), &res)
	if got := shown(res.Fields[0]); got != "text +14155552671" {
		t.Errorf("a field that is not skipped: %s", got)
	}
	p, env := parsePipeline(t, "x.hcl", "where = row.id == 1 ? true : skip()\nkey { shop_customer_id = tostring(row.id) }\n")
	if _, diags := Compile(p, table, nil, env); len(diags) != 1 || codeOf(diags[0]) != "E0337" {
		t.Errorf("skip() in where: %s", diags)
	}
}
