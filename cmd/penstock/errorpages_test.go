package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/docs"
	"github.com/penstock-cdc/penstock/sink"
)

// fixtureTable is the table of the examples.
func fixtureTable() *change.Table {
	t := &change.Table{
		Database: "shop", Schema: "public", Name: "customers", Topic: "shop.public.customers", Key: []int{0},
		Columns: []change.Column{
			{Name: "id", Kind: change.Int, Type: "bigint", Precision: 64},
			{Name: "email", Kind: change.String, Type: "text", Nullable: true},
			{Name: "first_name", Kind: change.String, Type: "text", Nullable: true},
			{Name: "last_name", Kind: change.String, Type: "varchar(80)", Length: 80},
			{Name: "phone", Kind: change.String, Type: "varchar(20)", Length: 20, Nullable: true},
			{Name: "country", Kind: change.String, Type: "char(2)", Length: 2, Nullable: true},
			{Name: "mrr_cents", Kind: change.Int, Type: "integer", Nullable: true},
			{Name: "balance", Kind: change.Decimal, Type: "numeric(12,2)", Precision: 12, Scale: 2, Nullable: true},
			{Name: "is_test", Kind: change.Bool, Type: "boolean", Nullable: true},
			{Name: "plan", Kind: change.Enum, Type: "plan", Labels: []string{"free", "pro", "team"}},
			{Name: "tags", Kind: change.Array, Type: "text[]", Element: change.String, Nullable: true},
			{Name: "data", Kind: change.JSON, Type: "jsonb", Nullable: true},
			{Name: "born", Kind: change.Date, Type: "date", Nullable: true},
			{Name: "created_at", Kind: change.TimestampTZ, Type: "timestamptz"},
			{Name: "updated_at", Kind: change.Timestamp, Type: "timestamp", Nullable: true},
			{Name: "notes", Kind: change.String, Type: "varchar(10)", Length: 10, Nullable: true},
			{Name: "ssn", Kind: change.String, Type: "text", Nullable: true, PII: true},
			{Name: "photo", Kind: change.Bytes, Type: "bytea", Nullable: true},
			{Name: "uid", Kind: change.UUID, Type: "uuid"},
			{Name: "score", Kind: change.Float, Type: "double precision", Nullable: true},
			{Name: "opens_at", Kind: change.Time, Type: "time", Nullable: true},
			{Name: "numbers", Kind: change.Array, Type: "int[]", Element: change.Int, Nullable: true},
		},
	}
	return t.Seal()
}

// silentApp is an app that can't say what its objects look like.
type silentApp struct{ sink.App }

func (silentApp) Limits(string) sink.Limits { return sink.Limits{} }

// fixtureApp is an app that only describes its object.
type fixtureApp struct{ silentApp }

func (fixtureApp) Describe(_ context.Context, object string) (sink.Object, error) {
	return sink.Object{Name: object, Fields: []sink.ObjectField{
		{Name: "shop_customer_id", Type: "text", Unique: true},
		{Name: "email", Type: "email", Unique: true},
		{Name: "name", Type: "text", Required: true},
		{Name: "firstname", Type: "text"},
		{Name: "lastname", Type: "text"},
		{Name: "jobtitle", Type: "text", Length: 10},
		{Name: "mrr", Type: "decimal"},
		{Name: "visits", Type: "int"},
		{Name: "since", Type: "timestamp"},
		{Name: "created", Type: "timestamp", ReadOnly: true},
		{Name: "interests", Type: "list"},
		{Name: "topics", Type: "list", Options: []string{"news", "sales"}},
		{Name: "is_test", Type: "bool"},
		{Name: "born", Type: "date"},
		{Name: "website", Type: "url"},
		{Name: "plan", Type: "enum", Options: []string{"free", "pro"}},
		{Name: "lifecyclestage", Type: "enum", Options: []string{"lead", "customer"}},
	}}, nil
}

const fixtureRoot = `
source "postgres" "shop" {
  url = "postgres://localhost/shop"
  table "customers" { name = "public.customers" }
}
`

// fixture makes a project of an example, and returns its diagnostics.
func fixture(t *testing.T, kind, text string) (*project, string) {
	t.Helper()
	p := fixtureProject(t, kind, text)
	var out bytes.Buffer
	if err := p.Print(&out, config.Plain, p.shown()); err != nil {
		t.Fatal(err)
	}
	return p, out.String()
}

// fixtureHead stands before the content of a pipeline.
const fixtureHead = "pipeline \"example\" {\n  from = source.postgres.shop.customers\n  to = app.hubspot.crm.contacts\n"

func fixtureProject(t *testing.T, kind, text string) *project {
	t.Helper()
	whole := text
	if !strings.Contains(whole, `source "postgres" "shop"`) {
		whole += fixtureRoot
	}
	switch kind {
	case "pipeline":
		if !regexp.MustCompile(`(?m)^key\b.*{`).MatchString(text) {
			text += "\nkey { shop_customer_id = tostring(row.id) }\n"
		}
		if !regexp.MustCompile(`(?m)^ *name +=|[{] name +=`).MatchString(text) && !strings.Contains(text, "no name") {
			text += "fields \"app\" { name = row.last_name }\n"
		}
		whole = fixtureHead + text + "}\n" + fixtureRoot
	case "root":
	default:
		t.Fatalf("an example is fragment=pipeline or fragment=root, not %q", kind)
	}
	if !strings.Contains(whole, `app "hubspot" "crm"`) {
		whole += "app \"hubspot\" \"crm\" { token = secret.hubspot }\nsecret \"hubspot\" { value = env(\"PENSTOCK_DOCS_TOKEN\", \"t\") }\n"
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "example.hcl"), []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	p := (&cli{}).load(dir)
	for name := range p.apps {
		if kind == "pipeline" {
			p.apps[name] = fixtureApp{}
		} else {
			p.apps[name] = silentApp{}
		}
	}
	for name := range p.sources {
		p.tables[name] = []*change.Table{fixtureTable()}
	}
	programs, err := p.compile(t.Context(), p.live, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.cases(programs)
	return p
}

var pageExample = regexp.MustCompile("(?s)```hcl (wrong|right) fragment=(\\w+)\n(.*?)```")

// unshown are the codes whose pages have no example, for what they are about is not in the configuration.
var unshown = regexp.MustCompile(`^(E0001|E0002|E0110|E0112|E0116|E0327|E0331|[EW]04\d\d)$`)

// TestErrorPages tries the examples of docs/errors: the wrong one has the page's code, the right one is right.
func TestErrorPages(t *testing.T) {
	for _, page := range docs.Errors() {
		t.Run(page.Code, func(t *testing.T) {
			found := pageExample.FindAllStringSubmatch(page.Text, -1)
			if len(found) != 2 || found[0][1] != "wrong" || found[1][1] != "right" {
				if len(found) > 0 || !unshown.MatchString(page.Code) {
					t.Fatalf("docs/errors/%s.md needs a wrong example and a right one", page.Code)
				}
				return
			}
			if _, out := fixture(t, found[0][2], found[0][3]); !strings.Contains(out, "["+page.Code+"]") {
				t.Errorf("the wrong example does not give %s, but:\n%s", page.Code, out)
			}
			p, out := fixture(t, found[1][2], found[1][3])
			if p.diags.HasErrors() || strings.Contains(out, "["+page.Code+"]") {
				t.Errorf("the right example is wrong:\n%s", out)
			}
		})
	}
}
