package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/draft"
	"github.com/penstock-cdc/penstock/schema"
	"github.com/penstock-cdc/penstock/transform"
)

// TestDraftsCheckOut drafts a pipeline for each kind of column and each type of field,
// required or not, and does with it what validate and test do.
func TestDraftsCheckOut(t *testing.T) {
	types := map[string][]transform.FieldType{
		"a name": {"text", "int", "decimal", "bool", "timestamp", "date", "enum", "list", "email", "phone", "url"},
		"email":  {"email"}, "phone": {"phone"}, "value_cents": {"decimal"}, "country": {"text"}, "is_deleted": {"text"}, "deleted_at": {"text"},
	}
	drafts := 0
	for kind := change.Bool; kind <= change.Object; kind++ {
		for name, all := range types {
			for _, typ := range all {
				for variant := range 4 {
					if checkDrafted(t, kind, name, typ, variant&1 == 1, variant&2 == 2) {
						drafts++
					}
				}
			}
		}
	}
	if drafts < 400 {
		t.Errorf("%d drafts were made; most cases are refused", drafts)
	}
}

// checkDrafted drafts one pipeline; false: it is refused, for a reason that there is.
func checkDrafted(t *testing.T, kind change.Kind, name string, typ transform.FieldType, nullable, required bool) bool {
	t.Helper()
	col := change.Column{Name: name, Kind: kind, Type: kind.String(), Nullable: nullable}
	switch kind {
	case change.Enum:
		col.Labels = []string{"a", "b"}
	case change.Array:
		col.Element = change.String
	case change.Int, change.Uint:
		col.Precision = 8
	case change.String:
		col.Length = 30
	}
	table := (&change.Table{Schema: "public", Name: "customers", Key: []int{0}, Columns: []change.Column{{Name: "id", Kind: change.Int, Type: "bigint", Precision: 64}, col}}).Seal()
	f := transform.ObjectField{Name: strings.TrimSuffix(strings.ReplaceAll(name, " ", "_"), "_cents"), Type: typ, Required: required}
	if f.Name == "value" {
		f.Name = "amount"
	}
	if typ == "enum" {
		f.Options = []string{"a", "b", "c"}
	}
	one := draft.Table{Alias: "customers", Name: "public.customers", Table: table, Object: &transform.Object{Name: "contacts", Fields: []transform.ObjectField{f}}}
	s := &draft.Settings{
		SourceKind: "postgres", Source: "shop", SourceVariable: "SHOP_URL", AppKind: "hubspot", App: "crm", TokenVariable: "HUBSPOT_TOKEN", DataDir: dataFolder,
		Tables: []draft.Table{one},
	}
	what := fmt.Sprintf("column %q (%s, nullable %v) into %s (required %v)", name, kind, nullable, typ, required)
	p, err := s.Draft(&one)
	if err != nil {
		if !required && !strings.Contains(err.Error(), "no column of table") || required && !strings.Contains(err.Error(), "requires") {
			t.Errorf("%s: %v", what, err)
		}
		return false
	}
	files := []drafted{{"penstock.hcl", s.Project()}, {p.File, p.Text}, {schema.FileName, lockOf(s, []*draft.Pipeline{p}).Text()}}
	var out bytes.Buffer
	c := &cli{out: &out, err: &out}
	if err := c.checkDraft(t.Context(), files); err != nil {
		t.Errorf("%s: %v\n%s\n%s", what, err, out.String(), p.Text)
	}
	return true
}

func TestTablesAreChosen(t *testing.T) {
	all := map[string]int64{"public.customers": 1200, "public.orders": -1, "public.users": 3}
	var out bytes.Buffer
	c := &cli{out: &out, err: &out}
	got, err := c.chooseTables(all, strings.NewReader("\n4\n1, public.users 1\n"), true)
	if err != nil || !slices.Equal(got, []string{"public.customers", "public.users"}) {
		t.Errorf("chosen %q, %v", got, err)
	}
	for _, want := range []string{"about 1200", "not known", `There is no table "4"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if _, err := c.chooseTables(all, strings.NewReader(""), true); err == nil {
		t.Error("the end of the input chooses")
	}
	if _, err := c.chooseTables(all, strings.NewReader("1\n"), false); err == nil || !strings.Contains(err.Error(), "--table public.customers") {
		t.Errorf("off a terminal: %v", err)
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	for source, want := range map[string]string{
		"postgres://shop:geheim@db:5432/shop?sslmode=require":          "postgres://shop@db:5432/shop?sslmode=require",
		"postgres://shop@db/shop?password=geheim&sslpassword=geheim":   "postgres://shop@db/shop?",
		"mysql://shop:ge%40heim@db/":                                   "mysql://shop@db/",
		"postgres://db/shop?user=shop&password=geheim&sslmode=disable": "postgres://db/shop?sslmode=disable&user=shop",
	} {
		if got := withoutPassword(source); strings.TrimSuffix(got, "?") != strings.TrimSuffix(want, "?") {
			t.Errorf("%s is shown as %s", source, got)
		}
	}
}

func TestNewFilesAreWrittenWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := writeNew(dir, []drafted{{"a", []byte("x")}, {"b", []byte("x")}})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "b")) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
		t.Error("a stays, though nothing was to be written")
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "b")); string(text) != "mine" {
		t.Errorf("b is %q", text)
	}
}

func TestInitRefuses(t *testing.T) {
	t.Setenv("HUBSPOT_TOKEN", "")
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "which database?"},
		{[]string{"--source", "oracle://x"}, "postgres:// or mysql://"},
		{[]string{"--source", "postgres://u:ge%zz@h/d"}, "no URL"},
		{[]string{"--source", "postgres://u@h/d", "--app", "http"}, "--app is hubspot"},
		{[]string{"--source", "postgres://u@h/d"}, "HUBSPOT_TOKEN, which is not set"},
		{[]string{"--source", "postgres://u@h/d", "--token-env", "PATH", "--name", "A b"}, "--name"},
	} {
		var out, problems bytes.Buffer
		dir := filepath.Join(t.TempDir(), "new")
		if code := execute(append(append([]string{"init"}, c.args...), dir), &out, &problems); code != exitUsage || !strings.Contains(problems.String(), c.want) || strings.Contains(problems.String(), "ge%zz") {
			t.Errorf("%q: %d %s", c.args, code, problems.String())
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: the folder was made", c.args)
		}
	}
}
