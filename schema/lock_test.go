package schema_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/schema"
	"github.com/penstock-cdc/penstock/transform"
)

func customers() *change.Table {
	return (&change.Table{
		Database: "shop_test", Schema: "public", Name: "customers", Topic: "shop.public.customers", FullBefore: true, Key: []int{0},
		Columns: []change.Column{
			{Name: "id", Kind: change.Int, Type: "bigint", Precision: 64},
			{Name: "email", Kind: change.String, Type: "character varying(100)", Length: 100, Nullable: true, PII: true},
			{Name: "plan", Kind: change.Enum, Type: "plan", Labels: []string{"free", "<paid>"}},
			{Name: "tags", Kind: change.Array, Element: change.String, Type: "text[]", Nullable: true},
			{Name: "total", Kind: change.Decimal, Type: "numeric(10,2)", Precision: 10, Scale: 2, Generated: true},
		},
	}).Seal()
}

func contacts() *transform.Object {
	return &transform.Object{Name: "contacts", Fields: []transform.ObjectField{
		{Name: "email", Type: transform.FieldEmail, Length: 254, Unique: true},
		{Name: "stage", Type: transform.FieldEnum, Options: []string{"lead", "customer"}, Required: true},
		{Name: "created", Type: transform.FieldTimestamp, ReadOnly: true},
	}}
}

func example() *schema.Lock {
	orders := &change.Table{Database: "erp", Name: "orders", Columns: []change.Column{{Name: "id", Kind: change.Int, Type: "int"}}}
	return &schema.Lock{
		Sources: map[string]*schema.Source{
			"shop": {Kind: "postgres", Tables: []*schema.Table{schema.TableOf(customers())}},
			"erp":  {Kind: "mysql", Tables: []*schema.Table{schema.TableOf(orders)}},
			"none": {Kind: "postgres"},
		},
		Apps: map[string]*schema.App{"crm": {Kind: "hubspot", Objects: map[string]*schema.Object{"contacts": schema.ObjectOf(contacts())}}},
	}
}

func TestLockIsReadAsItWasWritten(t *testing.T) {
	want := example()
	got, err := schema.Parse(want.Text())
	if err != nil {
		t.Fatalf("%v in\n%s", err, want.Text())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	if string(got.Text()) != string(want.Text()) {
		t.Error("written again it is another text")
	}
	table := got.Sources["shop"].Tables[0].Table()
	live := customers()
	live.Database, live.Topic, live.Columns[1].PII = "", "", false
	if diff := cmp.Diff(live.Seal(), table); diff != "" {
		t.Errorf("table (-live +locked):\n%s", diff)
	}
	object := got.Apps["crm"].Objects["contacts"].Object("contacts")
	if len(object.Fields) != 3 || object.Fields[1].Name != "email" || !object.Fields[0].ReadOnly || object.Fields[2].Options[1] != "customer" {
		t.Errorf("object is %+v", object)
	}
}

func TestEachColumnAndFieldHasALine(t *testing.T) {
	text := string(example().Text())
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Trim(line, " ,\n"))
	}
	for _, want := range []string{
		`{"schema":"public","name":"customers","key":["id"],"before":"full", "columns": [`,
		`{"name":"email","kind":"text","type":"character varying(100)","nullable":true,"length":100}`,
		`{"name":"plan","kind":"enum","type":"plan","labels":["free","<paid>"]}`,
		`{"name":"stage","type":"enum","options":["lead","customer"],"required":true}`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "shop_test") {
		t.Error("the database's name is in the lock, which differs between environments")
	}
}

func TestDiff(t *testing.T) {
	a, b := example(), example()
	table := b.Sources["shop"].Tables[0]
	table.Before = "key"
	table.Columns[1].Nullable = false
	table.Columns = append(table.Columns[:3:3], change.Column{Name: "nick", Kind: change.String, Type: "text"}, table.Columns[4])
	object := b.Apps["crm"].Objects["contacts"]
	object.Fields = append(object.Fields[1:2:2], schema.Field{Name: "stage", Type: "enum", Options: []string{"lead", "vip"}}, schema.Field{Name: "vip", Type: "bool"})
	delete(b.Sources, "none")
	b.Sources["erp"].Tables = nil
	var got []string
	for _, d := range schema.Diff(a, b) {
		got = append(got, d.Place()+": "+d.String())
	}
	want := []string{
		"table erp.orders of source erp: - all of it (there)",
		"source none: - all of it (there)",
		"table public.customers of source shop: ~ before: full -> key",
		"table public.customers of source shop: ~ column email: character varying(100), nullable -> character varying(100), not null",
		"table public.customers of source shop: - column tags text[] (array of text), nullable",
		"table public.customers of source shop: + column nick text, not null",
		"object contacts of app crm: - field created timestamp, read-only",
		"object contacts of app crm: ~ field stage options: customer and 1 others -> vip and 1 others",
		"object contacts of app crm: ~ field stage: enum, required -> enum",
		"object contacts of app crm: + field vip bool",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d := schema.Diff(a, example()); len(d) > 0 {
		t.Errorf("equal locks differ: %v", d)
	}
}

func TestLocksThatCannotBeRead(t *testing.T) {
	good := string(example().Text())
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "schema pull"},
		{"merge", "<<<<<<< HEAD\n" + good, "schema pull"},
		{"format", strings.Replace(good, `"format": 1`, `"format": 2`, 1), "its format is 2"},
		{"kind", strings.Replace(good, `"kind":"enum"`, `"kind":"enumm"`, 1), "enumm"},
		{"unknown", strings.Replace(good, `"kind": "postgres"`, `"kidn": "postgres"`, 1), "kidn"},
		{"tail", good + "{}", "after top-level value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), schema.FileName)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := schema.Read(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "schema pull") {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	if _, err := schema.Read(filepath.Join(t.TempDir(), schema.FileName)); !errors.Is(err, schema.ErrNone) {
		t.Errorf("no file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example().Text())
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := schema.Parse(text)
		if err != nil {
			return
		}
		if _, err := schema.Parse(l.Text()); err != nil {
			t.Errorf("what was read can't be written: %v", err)
		}
		for _, s := range l.Sources {
			for _, table := range s.Tables {
				table.Table()
			}
		}
	})
}
