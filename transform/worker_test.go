package transform

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/change"
)

var unchanged = change.Of(change.Unchanged, "")

const unchangedPipeline = `
where = row.is_test != true
clean { city = json_get(row.data, "city") }
key { shop_customer_id = tostring(row.id) }
match { email = row.email }
fields "source" {
  firstname = row.first_name
  lastname  = row.plan == "free" ? "x" : "${row.last_name} ${row.notes}"
  jobtitle  = clean.city
  website   = concat_ws("", row.notes, row.country)
  phone     = "${meta.op} ${row.phone}"
}
`

func TestUnchanged(t *testing.T) {
	run := func(fullBefore bool, before, after map[string]change.Value) (Result, []string) {
		table := customers(fullBefore)
		w := mustCompile(t, unchangedPipeline, table, nil).NewWorker()
		var b change.Row
		if before != nil {
			b = customer(table, before)
		}
		var res Result
		w.Eval(event(table, change.Update, b, customer(table, after)), &res)
		return res, shownAll(res.Fields)
	}
	plain := []string{"text   ada ", "text o'brien-KING n", "text Wien", "text nUS", "text u (415) 555-2671"}

	_, got := run(false, nil, nil)
	if diff := cmp.Diff(plain, got); diff != "" {
		t.Error(diff)
	}
	// All inputs of a field are unchanged: it is left out, through clean too. So is match.
	res, got := run(false, nil, map[string]change.Value{"data": unchanged, "first_name": unchanged, "email": unchanged})
	if diff := cmp.Diff([]string{"unchanged", plain[1], "unchanged", plain[3], plain[4]}, got); diff != "" {
		t.Error(diff)
	}
	if !res.Match.IsUnchanged() {
		t.Errorf("match %s", shown(res.Match))
	}
	// One of several inputs is: the row must be read again.
	res, _ = run(false, nil, map[string]change.Value{"notes": unchanged})
	if res.Outcome != Reselect || !cmp.Equal(res.Columns, []int{24}) || res.Reason != "unchanged" || len(res.Fields) != 0 {
		t.Errorf("notes: %s %v %s", res.Outcome, res.Columns, res.Reason)
	}
	// Not on a branch that is not taken.
	res, _ = run(false, nil, map[string]change.Value{"notes": unchanged, "plan": change.Of(change.Enum, "free"), "country": unchanged})
	if res.Outcome != Pass {
		t.Errorf("dead branch: %s %s", res.Outcome, res.Message)
	}
	for _, column := range []string{"is_test", "id", "phone"} { // where, key, a field that reads meta too
		res, _ = run(false, nil, map[string]change.Value{column: unchanged})
		if res.Outcome != Reselect {
			t.Errorf("%s unchanged: %s", column, res.Outcome)
		}
	}
	// With full images the former row has the value.
	res, got = run(true, map[string]change.Value{"notes": change.OfString("before")}, map[string]change.Value{"notes": unchanged})
	if res.Outcome != Pass || got[1] != "text o'brien-KING before" {
		t.Errorf("full before: %s %v", res.Outcome, got)
	}
	res, _ = run(true, nil, map[string]change.Value{"notes": unchanged})
	if res.Outcome != Reselect {
		t.Errorf("no former row: %s", res.Outcome)
	}
}

func TestOldRow(t *testing.T) {
	table := customers(true)
	src := `
key { shop_customer_id = tostring(row.id) }
fields "source" {
  a = old == null
  b = old != null && old.phone != row.phone
  c = old.phone
}`
	w := mustCompile(t, src, table, nil).NewWorker()
	before := customer(table, map[string]change.Value{"phone": change.OfString("1")})
	for _, tt := range []struct {
		op   change.Op
		want []string
	}{
		{change.Update, []string{"bool false", "bool true", "text 1"}},
		{change.Create, []string{"bool true", "bool false", "null"}},
		{change.Read, []string{"bool true", "bool false", "null"}},
	} {
		var res Result
		w.Eval(event(table, tt.op, before, customer(table, nil)), &res)
		if diff := cmp.Diff(tt.want, shownAll(res.Fields)); diff != "" {
			t.Errorf("%s: %s", tt.op, diff)
		}
	}
}

func TestRejections(t *testing.T) {
	table := customers(false)
	src := `
clean { rate = row.mrr_cents / row.age }
reject "never" { when = row.is_test == true }
key { shop_customer_id = row.email }
match { phone = row.phone }
fields "source" {
  mrr    = clean.rate
  visits = toint(row.notes)
}`
	w := mustCompile(t, src, table, nil).NewWorker()
	for _, tt := range []struct {
		set             map[string]change.Value
		reason, message string
	}{
		{map[string]change.Value{"notes": change.OfString("12")}, "", ""},
		{nil, "bad_number", "field visits: toint(): the value is not a number of this type"},
		{map[string]change.Value{"age": change.Of(change.Uint, "0")}, "division_by_zero", "clean.rate: division by zero"},
		{map[string]change.Value{"email": {}}, "null_key", "key shop_customer_id: the app key is NULL"},
		{map[string]change.Value{"email": change.OfString("")}, "empty_key", "key shop_customer_id: the app key is empty"},
		{map[string]change.Value{"is_test": change.OfBool(true)}, "never", ""},
	} {
		var res Result
		w.Eval(event(table, change.Create, nil, customer(table, tt.set)), &res)
		if res.Reason != tt.reason || res.Message != tt.message || (tt.reason == "") != (res.Outcome == Pass) {
			t.Errorf("%v: got %s %q %q", tt.set, res.Outcome, res.Reason, res.Message)
		}
	}
	var res Result
	w.Eval(event(table, change.Create, nil, make(change.Row, 3)), &res)
	if res.Outcome != Rejected || res.Reason != "schema_mismatch" {
		t.Errorf("short row: %s %s", res.Outcome, res.Reason)
	}
	other := customers(false)
	other.Columns[1], other.Columns[4] = other.Columns[4], other.Columns[1]
	w.Eval(event(other, change.Create, nil, customer(table, nil)), &res)
	if res.Outcome != Rejected || res.Reason != "schema_mismatch" {
		t.Errorf("columns in another order: %s %s", res.Outcome, res.Reason)
	}
	w.Eval(event(customers(false), change.Create, nil, customer(table, map[string]change.Value{"notes": change.OfString("1")})), &res)
	if res.Outcome != Pass {
		t.Errorf("an equal table: %s %s", res.Outcome, res.Reason)
	}
}

func TestDeleteKey(t *testing.T) {
	byID, byEmail := `key { k = "c-${row.id}" }`, `key { k = row.email }`
	for _, tt := range []struct {
		name, src  string
		fullBefore bool
		want       string
	}{
		{"key of the key", byID, false, "text c-7"},
		{"other column, key image", byEmail, false, "null"},
		{"other column, full image", byEmail, true, "text  Ada@Example.COM "},
	} {
		table := customers(tt.fullBefore)
		w := mustCompile(t, tt.src, table, nil).NewWorker()
		var res Result
		w.Eval(event(table, change.Delete, customer(table, nil), nil), &res)
		if res.Outcome != Pass || shown(res.Key) != tt.want {
			t.Errorf("%s: %s %s", tt.name, res.Outcome, shown(res.Key))
		}
		w.Eval(event(table, change.Delete, nil, nil), &res)
		if res.Outcome != Pass || !res.Key.IsNull() {
			t.Errorf("%s, no image: %s %s", tt.name, res.Outcome, shown(res.Key))
		}
	}
}

// TestFingerprint: layout does not count, what determines results does.
func TestFingerprint(t *testing.T) {
	table := customers(false)
	base := mustCompile(t, designExample, table, nil).Fingerprint()
	same := strings.NewReplacer("row.deleted_at == null && ", "(row.deleted_at   ==   null) && ", "jobtitle =", "# note\n jobtitle =").Replace(designExample)
	if got := mustCompile(t, same, table, nil).Fingerprint(); got != base {
		t.Error("layout changed the fingerprint")
	}
	for _, change := range [][2]string{
		{"row.is_test != true", "row.is_test == true"}, {`"US"`, `"DE"`}, {"clean.email == null", "clean.email != null"}, {"tostring(row.id)", `"${row.id}"`},
		{"match { email", "match { mail"}, {`lifecyclestage = "lead"`, `lifecyclestage = "x"`}, {`fields "fill"`, `fields "app"`}, {"row.notes, 0, 10", "row.notes, 0, 11"}, {"phone    =", "fax ="},
	} {
		src := strings.Replace(designExample, change[0], change[1], 1)
		if src == designExample {
			t.Fatalf("%q is not there", change[0])
		}
		if got := mustCompile(t, src, table, nil).Fingerprint(); got == base {
			t.Errorf("%v did not change the fingerprint", change)
		}
	}
	p, env := parsePipeline(t, "x.hcl", designExample)
	p.To.Object = "people"
	prog, _ := Compile(p, table, nil, env)
	if prog.Fingerprint() == base {
		t.Error("another object has the same fingerprint")
	}
}

func TestRequiredFieldMissing(t *testing.T) {
	p, env := parsePipeline(t, "x.hcl", `key { shop_customer_id = tostring(row.id) }`)
	object := contacts()
	object.Fields[2].Required = true
	_, diags := Compile(p, customers(false), object, env)
	if len(diags) != 1 || codeOf(diags[0]) != "E0332" || diags[0].Severity != hcl.DiagError {
		t.Errorf("diagnostics: %v", diags)
	}
	p.Key.Expr = nil
	_, diags = Compile(p, customers(false), nil, env)
	if len(diags) != 1 || codeOf(diags[0]) != "E0327" {
		t.Errorf("diagnostics: %v", diags)
	}
}

// TestWorkersShareNothing is for the race detector.
func TestWorkersShareNothing(t *testing.T) {
	table := customers(false)
	prog := mustCompile(t, designExample, table, contacts())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			w := prog.NewWorker()
			var res Result
			for range 200 {
				w.Eval(event(table, change.Create, nil, customer(table, nil)), &res)
				if res.Outcome != Pass {
					t.Errorf("outcome %s", res.Outcome)
				}
			}
		})
	}
	wg.Wait()
}
