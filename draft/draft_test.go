package draft_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/draft"
	"github.com/penstock-cdc/penstock/transform"
)

func settings() *draft.Settings {
	return &draft.Settings{
		SourceKind: "postgres", Source: "shop", SourceVariable: "SHOP_URL", AppKind: "hubspot", App: "crm", TokenVariable: "TOKEN", DataDir: "penstock-data",
	}
}

func table(name string, columns ...change.Column) *change.Table {
	return (&change.Table{Schema: "public", Name: name, Key: []int{0}, Columns: columns}).Seal()
}

func text(name string) change.Column {
	return change.Column{Name: name, Kind: change.String, Type: "text", Nullable: true}
}

func of(name string, kind change.Kind) change.Column {
	return change.Column{Name: name, Kind: kind, Type: kind.String(), Nullable: true}
}

var id = change.Column{Name: "id", Kind: change.Int, Type: "bigint", Precision: 64}

func object(name string, fields ...transform.ObjectField) *transform.Object {
	return &transform.Object{Name: name, Fields: fields}
}

func field(name string, t transform.FieldType) transform.ObjectField {
	return transform.ObjectField{Name: name, Type: t}
}

func drafted(t *testing.T, table *change.Table, object *transform.Object) *draft.Pipeline {
	t.Helper()
	p, err := settings().Draft(&draft.Table{Alias: draft.Identifier(table.Name), Name: table.QualifiedName(), Table: table, Object: object})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// has looks for lines, whatever their blanks are.
func has(t *testing.T, p *draft.Pipeline, lines ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(string(p.Text)), " ")
	for _, l := range lines {
		if !strings.Contains(flat, l) {
			t.Errorf("there is no %s in\n%s", l, p.Text)
		}
	}
}

func TestNamesAreMatched(t *testing.T) {
	p := drafted(t, table("customers", id, text("Mail"), text("FirstName"), text("last_name"), text("telephone"), text("PostCode"), text("customer_city"), text("shoe_size")),
		object("contacts", field("city", "text"), field("email", "email"), field("firstname", "text"), field("lastname", "text"), field("phone", "phone"),
			field("zip", "text"), field("shop_size", "text"), transform.ObjectField{Name: "createdate", Type: "timestamp", ReadOnly: true}))
	want := []string{"Mail -> email", "FirstName -> firstname", "last_name -> lastname", "telephone -> phone", "PostCode -> zip", "customer_city -> city"}
	if !slices.Equal(p.Matched, want) {
		t.Errorf("matched %q, want %q", p.Matched, want)
	}
	if !slices.Equal(p.Columns, []string{"shoe_size"}) {
		t.Errorf("unmatched %q", p.Columns)
	}
	has(t, p, "email = email_normalize_or(row.Mail, null)", `phone = phone_e164_or(row.telephone, "US", null)`, "match { email = clean.email }", `reject "no_email"`, "# shoe_size (text)")
}

func TestNearerNamesComeFirst(t *testing.T) {
	p := drafted(t, table("users", id, text("mail"), text("email")), object("contacts", field("email", "email")))
	if !slices.Equal(p.Matched, []string{"email -> email"}) || !slices.Equal(p.Columns, []string{"mail"}) {
		t.Errorf("matched %q, left %q", p.Matched, p.Columns)
	}
}

func TestTypesAreConverted(t *testing.T) {
	for _, c := range []struct {
		kind  change.Kind
		field transform.FieldType
		want  string // "": not matched
	}{
		{change.String, "text", "trim(row.x)"},
		{change.Int, "text", "tostring(row.x)"},
		{change.UUID, "text", "tostring(row.x)"},
		{change.JSON, "text", ""},
		{change.Bytes, "text", ""},
		{change.Decimal, "decimal", "row.x"},
		{change.String, "decimal", "todecimal_or(row.x, null)"},
		{change.Bool, "decimal", ""},
		{change.Int, "int", "row.x"},
		{change.Uint, "int", ""},
		{change.String, "int", "toint_or(row.x, null)"},
		{change.Int, "bool", "tobool_or(row.x, null)"},
		{change.TimestampTZ, "date", "todate(row.x)"},
		{change.Timestamp, "timestamp", `to_tz(row.x, "UTC")`},
		{change.Date, "timestamp", `totimestamp(row.x, "UTC")`},
		{change.String, "timestamp", ""},
		{change.Int, "email", ""},
		{change.Array, "list", ""},
	} {
		p := drafted(t, table("things", id, of("x", c.kind), text("city")), object("things", field("x", c.field), field("city", "text")))
		if c.want == "" {
			if !slices.Equal(p.Matched, []string{"city -> city"}) {
				t.Errorf("%s into %s: matched", c.kind, c.field)
			}
			continue
		}
		has(t, p, "x = "+c.want)
	}
}

func TestOptionsAndRequiredFields(t *testing.T) {
	plan := of("plan", change.Enum)
	plan.Labels = []string{"free", "paid"}
	p := drafted(t, table("companies", id, plan, text("stage")), object("companies",
		transform.ObjectField{Name: "plan", Type: "enum", Options: []string{"free"}},
		transform.ObjectField{Name: "stage", Type: "enum", Options: []string{"a", "b"}, Required: true},
		transform.ObjectField{Name: "name", Type: "text", Required: true}))
	if !slices.Equal(p.Columns, []string{"plan"}) {
		t.Errorf("an enum with labels that the app does not take is matched: %q", p.Matched)
	}
	has(t, p, `stage = coalesce(one_of_or(row.stage, ["a", "b"], null), "a") # required by the app; TODO`, `name = "unknown" # TODO`)
	if !slices.Equal(p.Assumed, []string{"name"}) {
		t.Errorf("assumed %q", p.Assumed)
	}
	_, err := settings().Draft(&draft.Table{Alias: "t", Name: "public.t", Table: table("t", id), Object: object("o", transform.ObjectField{Name: "address", Type: "email", Required: true})})
	if err == nil || !strings.Contains(err.Error(), "requires address") {
		t.Errorf("a required address that no column has: %v", err)
	}
}

func TestKeys(t *testing.T) {
	unique := func(name string, t transform.FieldType) transform.ObjectField {
		return transform.ObjectField{Name: name, Type: t, Unique: true}
	}
	for _, c := range []struct {
		fields  []transform.ObjectField
		key     string
		missing bool
	}{
		{nil, "shop_customers_id", true},
		{[]transform.ObjectField{unique("email", "email"), unique("erp_number_id", "text"), unique("customer_number", "decimal")}, "shop_customers_id", true},
		{[]transform.ObjectField{unique("shop_customer_id", "text")}, "shop_customer_id", false},
		{[]transform.ObjectField{unique("shop_customer_id", "text"), unique("shop_customers_id", "text")}, "shop_customers_id", false},
		{[]transform.ObjectField{field("customer_id", "text")}, "shop_customers_id", true},
	} {
		p := drafted(t, table("customers", id, text("city")), object("contacts", append(c.fields, field("city", "text"))...))
		if p.Key != c.key || p.Missing != c.missing {
			t.Errorf("of %v: key %s, missing %v", c.fields, p.Key, p.Missing)
		}
	}
	s := settings()
	if _, err := s.Draft(&draft.Table{Alias: "customers", Name: "public.customers", Table: table("customers", id), Object: object("contacts", field("shop_customers_id", "text"))}); err == nil {
		t.Error("a key field that is not unique is taken")
	}
	keyless := (&change.Table{Schema: "public", Name: "t", Columns: []change.Column{id}}).Seal()
	if _, err := s.Draft(&draft.Table{Alias: "t", Name: "public.t", Table: keyless, Object: object("contacts")}); err == nil || !strings.Contains(err.Error(), "no primary key") {
		t.Errorf("a table without a key: %v", err)
	}
	if _, err := s.Draft(&draft.Table{Alias: "t", Name: "public.t", Table: table("t", id, text("x")), Object: object("contacts", field("y", "text"))}); err == nil || !strings.Contains(err.Error(), "no column of table public.t") {
		t.Errorf("a table of which nothing fits: %v", err)
	}
	both := (&change.Table{Schema: "public", Name: "t", Key: []int{0, 1}, Columns: []change.Column{id, {Name: "part no", Kind: change.Int, Type: "int"}, text("email")}}).Seal()
	p := drafted(t, both, object("contacts", field("email", "email")))
	has(t, p, `"${tostring(row.id)}/${tostring(row["part no"])}"`, `"part no" = 1`, `key = "1/1"`)
}

func TestGuessObject(t *testing.T) {
	for table, want := range map[string]string{
		"customers": "contacts", "Users": "contacts", "people": "contacts", "shop_customers": "contacts", "companies": "companies", "accounts": "companies",
		"organisations": "companies", "orders": "deals", "opportunities": "deals", "deal": "deals", "invoices": "", "": "",
	} {
		if got := draft.GuessObject(table); got != want {
			t.Errorf("%q: %q, want %q", table, got, want)
		}
	}
}

// Names of the database must not become anything else in the file.
func TestNamesAreQuoted(t *testing.T) {
	nasty := "a\"}\n${row.id} %s # x"
	p := drafted(t, table("t\nx", id, text(nasty), text("email")), object("contacts", field("email", "email"), field("mail", "text")))
	has(t, p, "# Columns that go nowhere yet:")
	if !slices.Equal(p.Columns, []string{nasty}) {
		t.Errorf("columns %q", p.Columns)
	}
}
