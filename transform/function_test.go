package transform

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
)

// evaluate computes one expression on a row, and shows the result as kind and text,
// "fail" and the reason, or the code of the first error.
func evaluate(t testing.TB, src string, row change.Row) string {
	t.Helper()
	table := customers(false)
	if row == nil {
		row = customer(table, nil)
	}
	n, c := checkExpr(t, src, table)
	for _, d := range c.diags {
		if d.Severity == hcl.DiagError {
			return fmt.Sprint("error ", codeOf(d), ": ", d.Detail)
		}
	}
	w := (&Program{table: table, source: "shop"}).NewWorker()
	var res Result
	w.begin(event(table, change.Create, nil, row), &res)
	got := showValue(w, compile(n)(w))
	checkUnfolded(t, src, table, row, got)
	return got
}

// checkUnfolded computes an expression without folding its constants: the result is the same, and of the
// type that was found for it.
func checkUnfolded(t testing.TB, src string, table *change.Table, row change.Row, want string) {
	t.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(src), "expr.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, env := parsePipeline(t, "test.hcl", "")
	env.Files["expr.hcl"] = &hcl.File{Bytes: []byte(src)}
	c := &checker{pipeline: p, table: table, env: env, unfolded: true}
	c.scratch = (&Program{table: table, source: "shop"}).NewWorker()
	n := c.check(e)
	if c.diags.HasErrors() {
		return // an argument that must be constant is one only when it is folded
	}
	w := (&Program{table: table, source: "shop"}).NewWorker()
	var res Result
	w.begin(event(table, change.Create, nil, row), &res)
	v := compile(n)(w)
	if got := showValue(w, v); got != want {
		t.Errorf("%s: with its constants folded %s, without %s", src, want, got)
	}
	if v.kind == isNull && !n.typ.null {
		t.Errorf("%s is NULL, but its type says that it never is", src)
	}
	if v.kind > failed && v.kind != n.typ.base {
		t.Errorf("%s is %s, but its type is %s", src, v.kind, n.typ)
	}
}

func showValue(w *Worker, v value) string {
	switch v.kind {
	case isNull:
		return "null"
	case failed:
		return "fail " + v.s
	}
	return v.kind.String() + " " + w.text(v)
}

func checkExpr(t testing.TB, src string, table *change.Table) (*node, *checker) {
	t.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(src), "expr.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("parse %s: %s", src, diags)
	}
	p, env := parsePipeline(t, "test.hcl", "")
	env.Files["expr.hcl"] = &hcl.File{Bytes: []byte(src)}
	c := &checker{pipeline: p, table: table, env: env}
	c.scratch = (&Program{table: table, source: "shop"}).NewWorker()
	return c.check(e), c
}

func TestExamplesOfFunctions(t *testing.T) {
	for _, family := range families {
		for _, f := range family.functions {
			if f.doc == "" || len(f.examples) == 0 {
				t.Errorf("%s has no doc or no example", f.name)
			}
			for _, r := range f.fails {
				if reasons[r] == "" {
					t.Errorf("%s fails for %q, which is not among the reasons", f.name, r)
				}
			}
			for _, ex := range f.examples {
				got, want := evaluate(t, ex[0], nil), evaluate(t, ex[1], nil)
				if got != want && !(strings.HasPrefix(want, "int ") && got == strings.Replace(want, "int", "decimal", 1)) {
					t.Errorf("%s: got %s, want %s", ex[0], got, want)
				}
			}
		}
	}
}

// TestFunctions has every function's cases, and sees to it that they include NULL, empty
// and bad input: each reason for which it refuses a row, and the _or that gives a fallback.
func TestFunctions(t *testing.T) {
	for name, f := range functions {
		cases := slices.Concat(functionCases[name], oddCases[name])
		has := func(what string, match func(expression, result string) bool) {
			for _, c := range cases {
				if match(c[0], c[1]) {
					return
				}
			}
			t.Errorf("%s has no case of %s", name, what)
		}
		if len(cases) < 3 {
			t.Errorf("%s: too few cases", name)
		}
		if len(f.params) > 0 {
			has("NULL", func(e, _ string) bool { return strings.Contains(e, "null") })
		}
		if len(f.params) > 0 && slices.ContainsFunc(f.params, func(p param) bool { return p.types.has(text) && !p.constant || p.types.has(list) }) {
			has("empty input", func(e, _ string) bool {
				return strings.Contains(e, `""`) || strings.Contains(e, "[]") || strings.Contains(e, "{}")
			})
		}
		for _, reason := range f.fails {
			has(reason, func(_, r string) bool { return r == "fail "+reason })
		}
		if f.fails != nil {
			has("what it gives instead", func(e, r string) bool { return strings.Contains(e, name+"_or(") && !strings.HasPrefix(r, "error ") })
		}
	}
	odd := customer(customers(false), oddRow)
	for of, row := range map[*map[string][][2]string]change.Row{&functionCases: nil, &oddCases: odd} {
		for name, cases := range *of {
			for _, tt := range cases {
				if got := evaluate(t, tt[0], row); got != tt[1] {
					t.Errorf("%s\n got %s\nwant %s", tt[0], got, tt[1])
				}
				reason, failed := strings.CutPrefix(tt[1], "fail ")
				if f := functions[name]; failed && name != "try" && name != "skip" && !slices.Contains(f.fails, reason) {
					t.Errorf("%s fails for %s, which its table of reasons lacks", tt[0], reason)
				}
			}
		}
	}
}

func TestOperators(t *testing.T) {
	for _, tt := range [][2]string{
		{`7 / 2`, "decimal 3.5"}, {`6 / 2`, "decimal 3"}, {`1 / 3`, "decimal 0.3333333333333333333333333333333333"}, {`6.00 / 2`, "decimal 3.00"}, {`1 / 0`, "fail division_by_zero"}, {`1 % 0`, "fail division_by_zero"}, {`1.0 / 0`, "fail division_by_zero"}, {`row.score / 0`, "fail division_by_zero"},
		{`7 % 4`, "int 3"}, {`-7 % 4`, "int -3"}, {`7.5 % 2`, "decimal 1.5"}, {`1.10 + 2.20`, "decimal 3.30"}, {`0.1 + 0.2 == 0.3`, "bool true"}, {`1.20 * 2`, "decimal 2.40"}, {`9223372036854775807 + 1`, "fail overflow"}, {`-9223372036854775807 - 2`, "fail overflow"},
		{`4611686018427387904 * 2`, "fail overflow"}, {`4611686018427387904 * -2`, "int -9223372036854775808"}, {`3037000500 * 3037000500`, "fail overflow"}, {`row.visits + 1`, "decimal 18446744073709551616"}, {`row.age + 1`, "int 37"},
		{`1 == 1.0`, "bool true"}, {`1 < 1.5`, "bool true"}, {`null == null`, "bool true"}, {`row.deleted_at == null`, "bool true"}, {`row.deleted_at != null`, "bool false"}, {`null + 1`, "null"}, {`null < 1`, "null"}, {`row.is_test == null`, "bool false"},
		{`row.deleted_at < row.created_at`, "null"}, {`null + 1 / 0`, "fail division_by_zero"}, {`false && 1 / 0 == 1`, "bool false"}, {`true || 1 / 0 == 1`, "bool true"}, {`null && false`, "bool false"}, {`null && true`, "null"}, {`null || true`, "bool true"}, {`null || false`, "null"}, {`!null`, "null"},
		{`null ? 1 : 2`, "int 2"}, {`true ? 1 : 1 / 0`, "decimal 1"}, {`"b" > "a"`, "bool true"}, {`"Z" < "a"`, "bool true"}, {`row.plan == "pro"`, "bool true"}, {`row.created_at > row.created_at`, "bool false"}, {`row.born < todate("1990-03-01")`, "bool true"},
		{`"a${1}b${2.50}"`, "text a1b2.50"}, {`"x${row.deleted_at}"`, "null"}, {`"${row.id}"`, "text 7"}, {`"%{ if true }yes%{ else }no%{ endif }"`, "text yes"}, {"<<-X\n  a ${row.id}\n  b\n  X\n", "text a 7\nb\n"},
		{`[1, 2.5]`, `list ["1","2.5"]`}, {`row.tags == ["a", "b"]`, "bool true"}, {`row.tags == ["a"]`, "bool false"}, {`row.numbers == [1, null, 3]`, "bool true"}, {`-row.balance`, "decimal -12.50"}, {`-(0.0)`, "decimal 0.0"}, {`-row.score`, "float -0.5"}, {`row["id"]`, "int 7"},
		{`local.rate * 2`, "decimal 0.38"}, {`local.names`, `list ["a","b"]`}, {`var.region`, "text EU"}, {`local.map.x`, "text deep"}, {`local.limit`, "int 5"}, {`0.10`, "decimal 0.10"}, {`1e2`, "decimal 100"},
		{`meta.op`, "text c"}, {`meta.source`, "text shop"}, {`meta.table`, "text public.customers"}, {`meta.ts`, "timestamptz 2026-03-04T12:00:00.000005Z"}, {`meta.now`, "timestamptz 2026-03-04T12:00:00.000005Z"}, {`meta.id`, "text 000000010000000000000002000000000000000300000004"}, {`meta.snapshot`, "bool false"},
		{"\"e\u0301\" == \"\u00e9\"", "bool false"}, {"length(\"e\u0301\\n\")", "int 3"}, {`row.visits == 18446744073709551615`, "bool true"}, {`2 * row.score`, "float 1"}, {`row.uid == row.uid`, "bool true"}, {`row.opens_at < row.opens_at`, "bool false"},
	} {
		if got := evaluate(t, tt[0], nil); got != tt[1] {
			t.Errorf("%s\n got %s\nwant %s", tt[0], got, tt[1])
		}
	}
}
