package transform

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// shown makes results comparable: kind and text of each value.
func shown(v change.Value) string {
	if v.Kind() == change.Null || v.Kind() == change.Unchanged {
		return v.Kind().String()
	}
	return v.Kind().String() + " " + v.Text()
}

func shownAll(vs []change.Value) []string {
	var out []string
	for _, v := range vs {
		out = append(out, shown(v))
	}
	return out
}

func TestExampleOfTheDesign(t *testing.T) {
	table := customers(false)
	prog := mustCompile(t, designExample, table, contacts())
	if prog.KeyField() != "shop_customer_id" || prog.MatchField() != "email" {
		t.Errorf("key field %q, match field %q", prog.KeyField(), prog.MatchField())
	}
	wantSpecs := []FieldSpec{{Name: "email", Group: config.OwnedBySource}, {Name: "firstname", Group: config.OwnedBySource}, {Name: "lastname", Group: config.OwnedBySource}, {Name: "mrr", Group: config.OwnedBySource}, {Name: "lifecyclestage", Group: config.OwnedByApp}, {Name: "jobtitle", Group: config.Fill}, {Name: "phone", Group: config.Fill}}
	if diff := cmp.Diff(wantSpecs, prog.Fields()); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	w := prog.NewWorker()
	var res Result
	w.Eval(event(table, change.Create, nil, customer(table, nil)), &res)
	if res.Outcome != Pass {
		t.Fatalf("outcome %s %s %s", res.Outcome, res.Reason, res.Message)
	}
	if got := shown(res.Key); got != "text 7" {
		t.Errorf("key %s", got)
	}
	if got := shown(res.Match); got != "text ada@example.com" {
		t.Errorf("match %s", got)
	}
	want := []string{"text ada@example.com", "text Ada", "text O'Brien-King", "decimal 12.50", "text lead", "text n", "text +14155552671"}
	if diff := cmp.Diff(want, shownAll(res.Fields)); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}

	w.Eval(event(table, change.Read, nil, customer(table, map[string]change.Value{"email": change.OfString("nobody")})), &res)
	if res.Outcome != Rejected || res.Reason != "no_email" || res.Message != "customer 7 has no usable e-mail (nobody)" {
		t.Errorf("bad email: %s %s %s", res.Outcome, res.Reason, res.Message)
	}
	w.Eval(event(table, change.Update, nil, customer(table, map[string]change.Value{"email": {}})), &res)
	if res.Message != "customer 7 has no usable e-mail (NULL)" {
		t.Errorf("NULL in a message: %s", res.Message)
	}
	w.Eval(event(table, change.Update, nil, customer(table, map[string]change.Value{"is_test": change.OfBool(true)})), &res)
	if res.Outcome != Filtered || len(res.Fields) != 0 {
		t.Errorf("test customer: %s", res.Outcome)
	}
	w.Eval(event(table, change.Delete, customer(table, nil), nil), &res)
	if res.Outcome != Pass || shown(res.Key) != "text 7" || len(res.Fields) != 0 {
		t.Errorf("delete: %s %s", res.Outcome, shown(res.Key))
	}
}

// A record is matched by all values; where one is missing, by none.
func TestMatchBySeveralFields(t *testing.T) {
	table := customers(false)
	prog := mustCompile(t, strings.Replace(designExample, "match { email = clean.email }", "match {\n    email = clean.email\n    phone = row.phone\n  }", 1), table, contacts())
	if prog.MatchField() != "email" || !slices.Equal(prog.MatchAlso(), []string{"phone"}) {
		t.Fatalf("match by %s and %q", prog.MatchField(), prog.MatchAlso())
	}
	w := prog.NewWorker()
	var res Result
	for phone, want := range map[string]bool{"+1 555 0100": true, "": false} {
		row := customer(table, nil)
		row[table.Column("phone")] = change.OfString(phone)
		w.Eval(event(table, change.Create, nil, row), &res)
		var all []string
		if ok := json.Unmarshal([]byte(res.Match.Text()), &all) == nil && len(all) == 2 && all[1] == phone; res.Outcome != Pass || ok != want {
			t.Errorf("phone %q: %v, match %q", phone, res.Outcome, res.Match.Text())
		}
	}
}
