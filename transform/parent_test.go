package transform

import (
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// firms has a key of two columns, the second of them unsigned.
var firms = (&change.Table{
	Database: "shop", Schema: "public", Name: "firms", Topic: "shop.public.firms", Key: []int{2, 0},
	Columns: []change.Column{
		{Name: "number", Kind: change.Uint, Type: "int unsigned", Precision: 32},
		{Name: "name", Kind: change.String, Type: "text"},
		{Name: "country", Kind: change.String, Type: "char(2)", Length: 2},
	},
}).Seal()

// withParents parses a pipeline whose parents are rows of firms and customers.
func withParents(t *testing.T) (*config.Pipeline, Env) {
	t.Helper()
	p, env := parsePipeline(t, "p.hcl", `
key { id = tostring(row.id) }
fields "source" { email = row.email }
`)
	columns, more := parsePipeline(t, "parents.hcl", `
fields "source" {
  number  = row.age
  country = row.country
  id      = row.mrr_cents
  uid     = row.uid
}
`)
	env.Files["parents.hcl"] = more.Files["parents.hcl"]
	field := func(name string) config.NamedExpr {
		for _, f := range columns.Fields {
			if f.Name == name {
				return f.NamedExpr
			}
		}
		t.Fatalf("there is no field %s", name)
		return config.NamedExpr{}
	}
	p.Parents = []config.Parent{
		{Name: "firm", Pipeline: "firms", Key: []config.NamedExpr{field("number"), field("country")}},
		{Name: "owner", Pipeline: "customers", Key: []config.NamedExpr{field("id")}, Kind: "5"},
	}
	env.Parents = map[string]*change.Table{"firm": firms, "owner": customers(false)}
	return p, env
}

// A parent's key is what the stream has for its row: in the order of its key, in the form of its columns.
func TestParentKeys(t *testing.T) {
	p, env := withParents(t)
	table := customers(false)
	prog, diags := Compile(p, table, nil, env)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var names []string
	for _, f := range prog.Fields()[1:] {
		if f.Group != ByParent {
			t.Errorf("%s is of group %s", f.Name, f.Group)
		}
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "parent.firm(firms) parent.owner(customers, 5)" {
		t.Errorf("fields %s", got)
	}
	unchanged := change.Of(change.Unchanged, "")
	w := prog.NewWorker()
	for name, c := range map[string]struct {
		set   map[string]change.Value
		firm  change.Value
		owner change.Value
	}{
		"whole":           {nil, change.OfString(`{"country":"US","number":36}`), change.OfString(`{"id":1250}`)},
		"a part is NULL":  {map[string]change.Value{"country": {}, "mrr_cents": {}}, change.Value{}, change.Value{}},
		"quotes":          {map[string]change.Value{"country": change.OfString(`"\`)}, change.OfString(`{"country":"\"\\","number":36}`), change.OfString(`{"id":1250}`)},
		"all left out":    {map[string]change.Value{"country": unchanged, "age": unchanged, "mrr_cents": unchanged}, unchanged, unchanged},
		"one is left out": {map[string]change.Value{"mrr_cents": unchanged}, change.OfString(`{"country":"US","number":36}`), unchanged},
	} {
		var r Result
		w.Eval(event(table, change.Create, nil, customer(table, c.set)), &r)
		if r.Outcome != Pass || len(r.Fields) != 3 || r.Fields[1] != c.firm || r.Fields[2] != c.owner {
			t.Errorf("%s: %v %s, fields %v", name, r.Outcome, r.Reason, r.Fields)
		}
	}
	// A part of a key that was left out can't be made up: the row must be read again.
	var r Result
	w.Eval(event(table, change.Update, nil, customer(table, map[string]change.Value{"country": unchanged})), &r)
	if r.Outcome != Reselect {
		t.Errorf("half a key: %v", r.Outcome)
	}
}

// What is another parent is another fingerprint; without parents nothing changes.
func TestParentsAreOfTheFingerprint(t *testing.T) {
	print := func(change func(*config.Pipeline)) string {
		p, env := withParents(t)
		change(p)
		prog, diags := Compile(p, customers(false), nil, env)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		return prog.Fingerprint()
	}
	was := print(func(*config.Pipeline) {})
	for name, alter := range map[string]func(*config.Pipeline){
		"another pipeline": func(p *config.Pipeline) { p.Parents[0].Pipeline = "others" },
		"another kind":     func(p *config.Pipeline) { p.Parents[1].Kind = "6" },
		"one less":         func(p *config.Pipeline) { p.Parents = p.Parents[:1] },
	} {
		if print(alter) == was {
			t.Errorf("%s has the same fingerprint", name)
		}
	}
	if print(func(p *config.Pipeline) { p.Parents[0].Required, p.Parents[0].Wait = true, 5 }) != was {
		t.Error("how long it waits changes the fingerprint")
	}
}

func TestParentKeyMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		alter func(*config.Pipeline, *Env)
		want  string
	}{
		"missing":   {func(p *config.Pipeline, _ *Env) { p.Parents[0].Key = p.Parents[0].Key[:1] }, "has country too"},
		"no table":  {func(_ *config.Pipeline, env *Env) { env.Parents = nil }, "is not known"},
		"no key":    {func(_ *config.Pipeline, env *Env) { env.Parents["firm"] = (&change.Table{Name: "firms"}).Seal() }, "has no key"},
		"of a list": {func(_ *config.Pipeline, env *Env) { env.Parents["owner"] = listed }, "can't be named"},
	} {
		p, env := withParents(t)
		c.alter(p, &env)
		_, diags := Compile(p, customers(false), nil, env)
		if len(diags) == 0 || !strings.Contains(diags.Error()+diags[0].Summary, c.want) || codeOf(diags[0]) != "E0339" {
			t.Errorf("%s: got %v, want %q", name, diags, c.want)
		}
	}
}

var listed = (&change.Table{Name: "lists", Key: []int{0}, Columns: []change.Column{{Name: "id", Kind: change.Array, Element: change.Int, Type: "int[]"}}}).Seal()
