package transform

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
)

// generator writes random expressions of a wanted type.
type generator struct{ *rand.Rand }

func (g *generator) pick(all ...string) string { return all[g.IntN(len(all))] }

func (g *generator) bool(depth int) string {
	if depth == 0 {
		return g.pick("row.is_test", "true", "false", "row.is_test", "null")
	}
	d := depth - 1
	switch g.IntN(10) {
	case 0, 1:
		return fmt.Sprintf("(%s && %s)", g.bool(d), g.bool(d))
	case 2, 3:
		return fmt.Sprintf("(%s || %s)", g.bool(d), g.bool(d))
	case 4:
		return "!" + "(" + g.bool(d) + ")"
	case 5:
		return fmt.Sprintf("(%s %s %s)", g.number(d), g.pick("<", "<=", ">", ">=", "==", "!="), g.number(d))
	case 6:
		return fmt.Sprintf("(%s %s %s)", g.text(d), g.pick("<", "<=", ">", ">=", "==", "!="), g.text(d))
	case 7:
		return fmt.Sprintf("(%s %s %s)", g.time(d), g.pick("<", "<=", ">", ">=", "==", "!="), g.time(d))
	case 8:
		return fmt.Sprintf("(%s ? %s : %s)", g.bool(d), g.bool(d), g.bool(d))
	}
	return g.pick("is_email("+g.text(d)+")", "("+g.text(d)+" != null)", "starts_with("+g.text(d)+", "+g.text(d)+")")
}

func (g *generator) number(depth int) string {
	switch g.IntN(3) {
	case 0:
		return g.int(depth)
	case 1:
		return g.decimal(depth)
	}
	return g.float(depth)
}

func (g *generator) int(depth int) string {
	if depth == 0 {
		return g.pick("row.id", "row.mrr_cents", "row.age", "0", "1", "-7", "9223372036854775807", "null")
	}
	d := depth - 1
	switch g.IntN(6) {
	case 0, 1:
		return fmt.Sprintf("(%s %s %s)", g.int(d), g.pick("+", "-", "*", "%"), g.int(d))
	case 2:
		return fmt.Sprintf("(%s ? %s : %s)", g.bool(d), g.int(d), g.int(d))
	case 3:
		return fmt.Sprintf("toint_or(%s, %s)", g.text(d), g.int(d))
	case 4:
		return fmt.Sprintf("coalesce(%s, %s)", g.int(d), g.int(d))
	}
	return g.pick("length("+g.text(d)+")", "-("+g.int(d)+")", "abs("+g.int(d)+")")
}

func (g *generator) decimal(depth int) string {
	if depth == 0 {
		return g.pick("row.balance", "row.visits", "0.00", "1.50", "-0.3", "12345678901234567890.123")
	}
	d := depth - 1
	switch g.IntN(6) {
	case 0, 1:
		return fmt.Sprintf("(%s %s %s)", g.decimal(d), g.pick("+", "-", "*", "/", "%"), g.pick(g.decimal(d), g.int(d)))
	case 2:
		return fmt.Sprintf("(%s / %s)", g.int(d), g.int(d))
	case 3:
		return fmt.Sprintf("(%s ? %s : %s)", g.bool(d), g.decimal(d), g.decimal(d))
	case 4:
		return fmt.Sprintf("todecimal(%s)", g.text(d))
	}
	return fmt.Sprintf("round(%s, %d)", g.decimal(d), g.IntN(4))
}

func (g *generator) float(depth int) string {
	if depth == 0 {
		return "row.score"
	}
	d := depth - 1
	return fmt.Sprintf("(%s %s %s)", g.float(d), g.pick("+", "-", "*", "/", "%"), g.number(d))
}

func (g *generator) time(depth int) string {
	if depth == 0 {
		return g.pick("row.created_at", "row.deleted_at")
	}
	return g.pick(fmt.Sprintf("(%s ? %s : %s)", g.bool(depth-1), g.time(depth-1), g.time(depth-1)), fmt.Sprintf("coalesce(%s, %s)", g.time(depth-1), g.time(depth-1)))
}

func (g *generator) text(depth int) string {
	if depth == 0 {
		return g.pick("row.email", "row.notes", "row.plan", `""`, `"x"`, `"12"`, `"4.50"`, `"Ä b"`, `"a@b.example"`)
	}
	d := depth - 1
	switch g.IntN(7) {
	case 0, 1:
		return fmt.Sprintf(`"%s${%s}-${%s}"`, g.pick("", "a", "ü"), g.number(d), g.text(d))
	case 2:
		return fmt.Sprintf("%s(%s)", g.pick("lower", "upper", "trim", "collapse", "title_case", "nonempty", "email_normalize", "email_domain"), g.text(d))
	case 3:
		return fmt.Sprintf("%s_or(%s, %s)", g.pick("email_normalize", "email_domain", "phone_e164", "country_code"), g.text(d), g.text(d))
	case 4:
		return fmt.Sprintf("(%s ? %s : %s)", g.bool(d), g.text(d), g.text(d))
	case 5:
		return fmt.Sprintf("tostring(%s)", g.pick(g.number(d), g.bool(d), g.time(d), g.text(d)))
	}
	return g.pick(fmt.Sprintf("coalesce(%s, %s)", g.text(d), g.text(d)), fmt.Sprintf("substr(%s, %s, 3)", g.text(d), g.int(0)), fmt.Sprintf("nullif(%s, %s)", g.text(d), g.text(d)), fmt.Sprintf(`concat_ws("-", %s, %s)`, g.text(d), g.number(d)))
}

// row makes a row whose columns are NULL, unchanged or edge values now and then.
func (g *generator) row(table *change.Table) change.Row {
	row := customer(table, nil)
	edge := map[string][]change.Value{
		"id": {change.OfInt(0), change.OfInt(-1), change.OfInt(1 << 62)}, "mrr_cents": {change.OfInt(-9223372036854775808), change.OfInt(3)}, "age": {change.Of(change.Uint, "0"), change.Of(change.Uint, "65535")},
		"balance": {change.Of(change.Decimal, "0.00"), change.Of(change.Decimal, "-1234567890123456789012345678.123456"), change.Of(change.Decimal, "3")}, "visits": {change.Of(change.Uint, "0")},
		"score": {change.Of(change.Float, "0"), change.Of(change.Float, "1e+300"), change.Of(change.Float, "-2.5")}, "email": {change.OfString(""), change.OfString("nobody"), change.OfString("\xff\xfe")},
		"notes": {change.OfString("17"), change.OfString(" 1.20 "), change.OfString("ÉÈ ß")}, "deleted_at": {change.Of(change.TimestampTZ, "2026-03-04T13:14:15Z"), change.Of(change.TimestampTZ, "2026-03-04T13:14:15.1234560Z")}, "is_test": {change.OfBool(true)},
	}
	for i, c := range table.Columns {
		values := edge[c.Name]
		if len(values) == 0 {
			continue
		}
		switch k := g.IntN(8); {
		case k == 0:
			row[i] = change.Value{}
		case k == 1 && g.IntN(3) == 0:
			row[i] = change.Of(change.Unchanged, "")
		case k < 5:
			row[i] = values[g.IntN(len(values))]
		}
	}
	return row
}

// agree compares the compiled form of a random expression with the reference, on random rows.
func agree(t *testing.T, seed uint64, depth int) (checked bool) {
	t.Helper()
	g := &generator{rand.New(rand.NewPCG(seed, 1))}
	src := [...]func(int) string{g.bool, g.int, g.decimal, g.float, g.text, g.number}[g.IntN(6)](depth)
	table := customers(false)
	// NULL is possible everywhere, whatever the columns say.
	for i := range table.Columns {
		table.Columns[i].Nullable = true
	}
	e, diags := hclsyntax.ParseExpression([]byte(src), "expr.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("seed %d: parse %s: %s", seed, src, diags)
	}
	c := &checker{table: table, env: Env{Files: map[string]*hcl.File{"expr.hcl": {Bytes: []byte(src)}}}}
	w := (&Program{table: table, source: "shop"}).NewWorker()
	c.scratch = (&Program{table: table}).NewWorker()
	n := c.expr(e)
	if c.diags.HasErrors() {
		return false // the checker's matter: has no values
	}
	run := compile(n)
	for range 4 {
		row := g.row(table)
		var res Result
		w.begin(event(table, change.Create, nil, row), &res)
		v := run(w)
		got := showValue(w, v)
		if v.kind == failed && v.s == reasonUnchanged {
			got = fmt.Sprint("fail unchanged ", v.n)
		}
		want := showReference((&reference{table: table, row: row, src: src}).eval(e))
		if got != want {
			t.Fatalf("seed %d depth %d: %s\n     compiled: %s\nreference: %s", seed, depth, src, got, want)
		}
	}
	return true
}

func showReference(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case refFail:
		return "fail " + string(v)
	case bool:
		return fmt.Sprint("bool ", v)
	case int64:
		return fmt.Sprint("int ", v)
	case number:
		return "decimal " + v.String()
	case float64:
		return "float " + refText(v)
	case refTime:
		return "timestamptz " + string(v)
	}
	return "text " + strings.Clone(v.(string))
}

func TestCompiledAgreesWithReference(t *testing.T) {
	checked := 0
	for seed := range uint64(6000) {
		if agree(t, seed, int(seed%5)) {
			checked++
		}
	}
	if checked < 4000 {
		t.Errorf("only %d of 6000 expressions were fit to be compared", checked)
	}
}

func FuzzCompiledAgreesWithReference(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed*977, uint8(seed%6))
	}
	f.Fuzz(func(t *testing.T, seed uint64, depth uint8) { agree(t, seed, int(depth%7)) })
}

// FuzzSource feeds any text to parser, checker, compiler and evaluation: nothing panics.
func FuzzSource(f *testing.F) {
	for _, s := range []string{`lower(row.email)`, `"${row.id}-x"`, `row.balance / 3`, `[1, "a"]`, `regex_match(row.email, "(")`, `json_get(row.data, "a[0].b")`, `clean.x == null ? local.names : []`, "<<-E\n a\n E\n", `-(-9223372036854775808)`, `major(1, "EUR")`, `parse_time("1", "%z%Y")`, `substr("é", -1, row.id)`} {
		f.Add(s)
	}
	for _, d := range Functions() {
		for _, ex := range d.Examples {
			f.Add(ex.Expression)
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		_, diags := hclsyntax.ParseExpression([]byte(src), "expr.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			return
		}
		n, c := checkExpr(t, src, customers(true))
		if c.diags.HasErrors() {
			return
		}
		table := customers(true)
		w := (&Program{table: table, source: "shop"}).NewWorker()
		var res Result
		w.begin(event(table, change.Update, customer(table, nil), customer(table, nil)), &res)
		w.output(compile(n)(w))
	})
}
