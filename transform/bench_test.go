package transform

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	ctyfunc "github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/penstock-cdc/penstock/change"
)

const twelveCleaned = `
where = row.deleted_at == null && row.is_test != true
clean {
  email = email_normalize_or(row.email, null)
  phone = phone_e164_or(row.phone, coalesce(row.country, "US"), null)
}
reject "no_email" { when = clean.email == null }
key   { shop_customer_id = tostring(row.id) }
match { email = clean.email }
fields "source" {
  email     = clean.email
  firstname = title_case(trim(row.first_name))
  lastname  = title_case(trim(row.last_name))
  phone     = clean.phone
  mrr       = major(row.mrr_cents, "EUR")
  country   = country_code_or(row.country, null)
  fullname  = "${trim(row.first_name)} ${trim(row.last_name)}"
  stage     = row.plan == "free" ? "lead" : "customer"
  since     = date_trunc("day", row.created_at)
  domain    = email_domain_or(row.email, null)
  net       = round(row.balance / 1.19, 2)
  score     = coalesce(row.score, 0)
}
`

const twelveCopied = `
key { shop_customer_id = row.last_name }
fields "source" {
  a = row.email
  b = row.first_name
  c = row.last_name
  d = row.phone
  e = row.country
  f = row.mrr_cents
  g = row.balance
  h = row.score
  i = row.is_test
  j = row.plan
  k = row.created_at
  l = row.notes
}
`

func benchmarkEval(b *testing.B, src string) {
	table := customers(false)
	w := mustCompile(b, src, table, nil).NewWorker()
	e := event(table, change.Update, nil, customer(table, nil))
	var res Result
	w.Eval(e, &res)
	if res.Outcome != Pass {
		b.Fatalf("%s %s %s", res.Outcome, res.Reason, res.Message)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Eval(e, &res)
	}
}

func BenchmarkCleaned12(b *testing.B) { benchmarkEval(b, twelveCleaned) }
func BenchmarkCopied12(b *testing.B)  { benchmarkEval(b, twelveCopied) }

// BenchmarkCompile is check and compilation of one pipeline, its text parsed already.
func BenchmarkCompile(b *testing.B) {
	table, object := customers(false), contacts()
	p, env := parsePipeline(b, "x.hcl", designExample)
	b.ReportAllocs()
	for b.Loop() {
		if _, diags := Compile(p, table, object, env); diags.HasErrors() {
			b.Fatal(diags)
		}
	}
}

// BenchmarkCty12 is the cleaned mapping evaluated as HCL does it, with our functions wrapped for cty.
func BenchmarkCty12(b *testing.B) {
	table := customers(false)
	p, env := parsePipeline(b, "x.hcl", twelveCleaned)
	prog, diags := Compile(p, table, nil, env)
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	w := prog.NewWorker()
	str := func(name string, params int, call func(a []value) value) ctyfunc.Function {
		ps := make([]ctyfunc.Parameter, params)
		for i := range ps {
			ps[i] = ctyfunc.Parameter{Name: name, Type: cty.String, AllowNull: true}
		}
		return ctyfunc.New(&ctyfunc.Spec{Params: ps, Type: ctyfunc.StaticReturnType(cty.String), Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			var in []value
			for _, a := range args {
				if a.IsNull() {
					in = append(in, null)
				} else {
					in = append(in, ofText(a.AsString()))
				}
			}
			v := call(in)
			if v.absent() {
				return cty.NullVal(cty.String), nil
			}
			return cty.StringVal(w.text(v)), nil
		}})
	}
	one := func(name string) func(a []value) value {
		f := functions[name]
		return func(a []value) value { return f.call(w, a[:len(f.params)]) }
	}
	funcs := map[string]ctyfunc.Function{
		"email_normalize_or": str("x", 2, one("email_normalize")), "email_domain_or": str("x", 2, one("email_domain")), "country_code_or": str("x", 2, one("country_code")),
		"phone_e164_or": str("x", 3, one("phone_e164")), "title_case": str("x", 1, one("title_case")), "trim": str("x", 1, one("trim")), "coalesce": stdlib.CoalesceFunc,
		"tostring": stdlib.MakeToFunc(cty.String),
		"major": ctyfunc.New(&ctyfunc.Spec{Params: []ctyfunc.Parameter{{Name: "n", Type: cty.Number}, {Name: "c", Type: cty.String}}, Type: ctyfunc.StaticReturnType(cty.Number), Impl: func(a []cty.Value, _ cty.Type) (cty.Value, error) {
			return a[0].Divide(cty.NumberIntVal(100)), nil
		}}),
		"round": ctyfunc.New(&ctyfunc.Spec{Params: []ctyfunc.Parameter{{Name: "n", Type: cty.Number}, {Name: "d", Type: cty.Number}}, Type: ctyfunc.StaticReturnType(cty.Number), Impl: func(a []cty.Value, _ cty.Type) (cty.Value, error) {
			f, _ := a[0].AsBigFloat().Float64()
			return cty.NumberFloatVal(f), nil
		}}),
		"date_trunc": ctyfunc.New(&ctyfunc.Spec{Params: []ctyfunc.Parameter{{Name: "u", Type: cty.String}, {Name: "t", Type: cty.String}}, Type: ctyfunc.StaticReturnType(cty.String), Impl: func(a []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(a[1].AsString()[:10] + "T00:00:00Z"), nil
		}}),
	}
	row := customer(table, nil)
	b.ReportAllocs()
	once := func() {
		w.buf = w.buf[:0]
		vals := make(map[string]cty.Value, len(row))
		for i, c := range table.Columns {
			switch {
			case row[i].IsNull():
				vals[c.Name] = cty.NullVal(cty.String)
			case c.Kind == change.Int || c.Kind == change.Decimal || c.Kind == change.Float:
				vals[c.Name] = cty.MustParseNumberVal(row[i].Text())
			case c.Kind == change.Bool:
				vals[c.Name] = cty.BoolVal(row[i].Bool())
			default:
				vals[c.Name] = cty.StringVal(row[i].Text())
			}
		}
		ctx := &hcl.EvalContext{Variables: map[string]cty.Value{"row": cty.ObjectVal(vals)}, Functions: funcs}
		cleans := map[string]cty.Value{}
		must := func(e hcl.Expression) cty.Value {
			v, diags := e.Value(ctx)
			if diags.HasErrors() {
				b.Fatal(diags)
			}
			return v
		}
		must(p.Where)
		for _, c := range p.Clean {
			cleans[c.Name] = must(c.Expr)
		}
		ctx.Variables["clean"] = cty.ObjectVal(cleans)
		must(p.Rejects[0].When)
		must(p.Key.Expr)
		must(p.Match[0].Expr)
		for i := range p.Fields {
			must(p.Fields[i].Expr)
		}
	}
	for b.Loop() {
		once()
	}
}

// TestAllocations holds the hot path to the allocations of docs/performance.md, which do not depend on the machine.
func TestAllocations(t *testing.T) {
	table := customers(false)
	for _, tt := range []struct {
		name, src string
		most      float64
	}{{"12 fields cleaned", twelveCleaned, 12}, {"12 fields copied", twelveCopied, 0}} {
		w := mustCompile(t, tt.src, table, nil).NewWorker()
		e := event(table, change.Update, nil, customer(table, nil))
		var res Result
		w.Eval(e, &res) // the phone number is cached from now on
		if n := testing.AllocsPerRun(200, func() { w.Eval(e, &res) }); n > tt.most {
			t.Errorf("%s: %v allocations, at most %v", tt.name, n, tt.most)
		}
	}
}
