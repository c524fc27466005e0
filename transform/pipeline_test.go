package transform

import (
	"sort"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// customers has a column of every kind.
func customers(fullBefore bool) *change.Table {
	t := &change.Table{
		Database: "shop", Schema: "public", Name: "customers", Topic: "shop.public.customers", Key: []int{0}, FullBefore: fullBefore,
		Columns: []change.Column{
			{Name: "id", Kind: change.Int, Type: "bigint", Precision: 64},
			{Name: "email", Kind: change.String, Type: "text", Nullable: true},
			{Name: "first_name", Kind: change.String, Type: "varchar(80)", Length: 80, Nullable: true},
			{Name: "last_name", Kind: change.String, Type: "varchar(80)", Length: 80},
			{Name: "phone", Kind: change.String, Type: "text", Nullable: true},
			{Name: "country", Kind: change.String, Type: "char(2)", Length: 2, Nullable: true},
			{Name: "mrr_cents", Kind: change.Int, Type: "integer", Nullable: true},
			{Name: "balance", Kind: change.Decimal, Type: "numeric(12,2)", Precision: 12, Scale: 2, Nullable: true},
			{Name: "score", Kind: change.Float, Type: "double precision", Nullable: true},
			{Name: "is_test", Kind: change.Bool, Type: "boolean", Nullable: true},
			{Name: "plan", Kind: change.Enum, Type: "plan", Labels: []string{"free", "pro", "team"}},
			{Name: "tags", Kind: change.Array, Type: "text[]", Element: change.String, Nullable: true},
			{Name: "data", Kind: change.JSON, Type: "jsonb", Nullable: true},
			{Name: "uid", Kind: change.UUID, Type: "uuid", Nullable: true},
			{Name: "born", Kind: change.Date, Type: "date", Nullable: true},
			{Name: "created_at", Kind: change.TimestampTZ, Type: "timestamptz"},
			{Name: "updated_at", Kind: change.Timestamp, Type: "timestamp", Nullable: true},
			{Name: "deleted_at", Kind: change.TimestampTZ, Type: "timestamptz", Nullable: true},
			{Name: "opens_at", Kind: change.Time, Type: "time", Nullable: true},
			{Name: "photo", Kind: change.Bytes, Type: "bytea", Nullable: true},
			{Name: "visits", Kind: change.Uint, Type: "bigint unsigned", Precision: 64, Nullable: true},
			{Name: "age", Kind: change.Uint, Type: "smallint unsigned", Precision: 16, Nullable: true},
			{Name: "every", Kind: change.Interval, Type: "interval", Nullable: true},
			{Name: "numbers", Kind: change.Array, Type: "int[]", Element: change.Int, Nullable: true},
			{Name: "notes", Kind: change.String, Type: "text", Nullable: true},
		},
	}
	return t.Seal()
}

// customer is a row of customers.
func customer(table *change.Table, set map[string]change.Value) change.Row {
	row := change.Row{
		change.OfInt(7), change.OfString(" Ada@Example.COM "), change.OfString("  ada "), change.OfString("o'brien-KING"), change.OfString("(415) 555-2671"), change.OfString("US"),
		change.OfInt(1250), change.Of(change.Decimal, "12.50"), change.Of(change.Float, "0.5"), change.OfBool(false), change.Of(change.Enum, "pro"),
		change.Of(change.Array, `["a","b"]`), change.Of(change.JSON, `{"city": "Wien", "n": [1, 2.50]}`), change.Of(change.UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
		change.Of(change.Date, "1990-02-28"), change.Of(change.TimestampTZ, "2026-03-04T13:14:15.123456Z"), change.Of(change.Timestamp, "2026-03-04T13:14:15"), {},
		change.Of(change.Time, "08:30:00"), change.Of(change.Bytes, "\x00\xff"), change.Of(change.Uint, "18446744073709551615"), change.Of(change.Uint, "36"),
		change.Of(change.Interval, "P1D"), change.Of(change.Array, `[1,null,3]`), change.OfString("n"),
	}
	for name, v := range set {
		row[table.Column(name)] = v
	}
	return row
}

func event(table *change.Table, op change.Op, before, after change.Row) *change.Event {
	return &change.Event{Table: table, Op: op, Before: before, After: after, ID: change.NewID(1, 2, 3, 4), CommitTime: time.Date(2026, 3, 4, 12, 0, 0, 5000, time.UTC)}
}

// parsePipeline reads the part of a pipeline block that transform is about.
func parsePipeline(t testing.TB, name, src string) (*config.Pipeline, Env) {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(src), name, hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("parse %s: %s", name, diags)
	}
	env := Env{
		Files: map[string]*hcl.File{name: file},
		Vars:  map[string]cty.Value{"region": cty.StringVal("EU"), "token": cty.StringVal("s").Mark("secret")},
		Locals: map[string]cty.Value{
			"names": cty.TupleVal([]cty.Value{cty.StringVal("a"), cty.StringVal("b")}), "rate": cty.MustParseNumberVal("0.19"), "limit": cty.NumberIntVal(5),
			"map": cty.ObjectVal(map[string]cty.Value{"x": cty.StringVal("deep")}),
		},
	}
	body := file.Body.(*hclsyntax.Body)
	p := &config.Pipeline{
		Name: "p", From: config.TableRef{Source: "shop", Table: "customers"}, To: config.ObjectRef{App: "crm", Object: "contacts"},
		Range: hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos},
	}
	if w := body.Attributes["where"]; w != nil {
		p.Where = w.Expr
	}
	for _, b := range body.Blocks {
		attrs := named(b.Body)
		switch b.Type {
		case "clean":
			p.Clean = append(p.Clean, attrs...)
		case "key":
			p.Key = attrs[0]
		case "match":
			p.Match = attrs
		case "fields":
			for _, a := range attrs {
				p.Fields = append(p.Fields, config.FieldExpr{NamedExpr: a, Group: config.Group(b.Labels[0])})
			}
		case "reject":
			r := config.Reject{Name: b.Labels[0], Range: b.DefRange()}
			for _, a := range attrs {
				if a.Name == "when" {
					r.When = a.Expr
				} else {
					r.Message = a.Expr
				}
			}
			p.Rejects = append(p.Rejects, r)
		default:
			t.Fatalf("unknown block %s", b.Type)
		}
	}
	return p, env
}

func named(b *hclsyntax.Body) []config.NamedExpr {
	var out []config.NamedExpr
	for _, a := range b.Attributes {
		out = append(out, config.NamedExpr{Name: a.Name, Expr: a.Expr, NameRange: a.NameRange})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].NameRange.Start.Byte < out[j].NameRange.Start.Byte })
	return out
}

// contacts is the app's object in the tests.
func contacts() *Object {
	return &Object{Name: "contacts", Fields: []ObjectField{
		{Name: "shop_customer_id", Type: FieldText, Unique: true},
		{Name: "email", Type: FieldEmail, Unique: true},
		{Name: "firstname", Type: FieldText, Length: 40},
		{Name: "lastname", Type: FieldText},
		{Name: "mrr", Type: FieldDecimal},
		{Name: "visits", Type: FieldInt},
		{Name: "is_test", Type: FieldBool},
		{Name: "lifecyclestage", Type: FieldEnum, Options: []string{"subscriber", "lead", "customer"}},
		{Name: "plan", Type: FieldEnum, Options: []string{"free", "pro"}},
		{Name: "jobtitle", Type: FieldText, Length: 10},
		{Name: "phone", Type: FieldPhone},
		{Name: "since", Type: FieldTimestamp},
		{Name: "born", Type: FieldDate},
		{Name: "interests", Type: FieldList},
		{Name: "website", Type: FieldURL},
		{Name: "created", Type: FieldTimestamp, ReadOnly: true},
	}}
}

const designExample = `
where = row.deleted_at == null && row.is_test != true

clean {
  email = email_normalize_or(row.email, null)
  phone = phone_e164_or(row.phone, coalesce(row.country, "US"), null)
}
reject "no_email" {
  when    = clean.email == null
  message = "customer ${row.id} has no usable e-mail (${row.email})"
}

key   { shop_customer_id = tostring(row.id) }
match { email = clean.email }

fields "source" {
  email     = clean.email
  firstname = title_case(trim(row.first_name))
  lastname  = title_case(row.last_name)
  mrr       = major(row.mrr_cents, "EUR")
}
fields "app"  { lifecyclestage = "lead" }
fields "fill" {
  jobtitle = substr(row.notes, 0, 10)
  phone    = clean.phone
}
`

func mustCompile(t testing.TB, src string, table *change.Table, object *Object) *Program {
	t.Helper()
	p, env := parsePipeline(t, "test.hcl", src)
	prog, diags := Compile(p, table, object, env)
	if diags.HasErrors() {
		t.Fatalf("compile: %s", diags)
	}
	return prog
}
