package hubspot_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/simulator"
	lookalike "github.com/penstock-cdc/penstock/simulator/hubspot"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// machines is a custom object: 2-3000001, or p4242424_machines.
const machines = `
{"schema":{"name":"machines","requiredProperties":["serial"],"properties":[{"name":"serial","type":"string","hasUniqueValue":true},{"name":"model","type":"string"},{"name":"weight","type":"number"},{"name":"state","type":"enumeration","options":["new","worn"]}]}}
`

func machine(serial string, fields ...sink.Field) sink.Change {
	return sink.Change{Ref: "ref-" + serial, Key: sink.Field{Name: "serial", Value: change.OfString(serial)}, Fields: fields}
}

func TestCustomObjectByEachOfItsNames(t *testing.T) {
	for name, lookups := range map[string]int{"machines": 1, "2-3000001": 0, "p4242424_machines": 0} {
		a := open(t, "", simulator.Options{Data: strings.NewReader(properties + machines)})
		for range 2 {
			results, err := a.app.Push(t.Context(), name, sink.Upsert, []sink.Change{machine("a"), machine("b")})
			if err != nil || results[0].Err != nil || results[1].Err != nil {
				t.Fatalf("%s: %+v, %v", name, results, err)
			}
		}
		if got := len(a.records(t, "machines")); got != 2 {
			t.Errorf("%s: %d records, want 2", name, got)
		}
		if got := len(a.Calls()); got != 2+lookups {
			t.Errorf("%s: %d calls for two batches, want %d to look its name up", name, got, lookups)
		}
	}
}

func TestObjectThatIsNotThere(t *testing.T) {
	a := open(t, "", simulator.Options{Data: strings.NewReader(properties + machines)})
	_, err := a.app.Push(t.Context(), "engines", sink.Upsert, []sink.Change{machine("a")})
	if sinktest.Class(err) != "halt" || !strings.Contains(err.Error(), "machines") || !strings.Contains(err.Error(), "contacts") {
		t.Errorf("%v, want a halt that names what there is", err)
	}
}

func TestDescribeTellsRequiredProperties(t *testing.T) {
	a := open(t, "", simulator.Options{Data: strings.NewReader(properties + machines)}, lookalike.DocumentedRequired())
	for object, want := range map[string][]string{"machines": {"serial"}, "deals": {"dealname", "dealstage"}, "companies": nil} {
		got, err := a.app.(sink.Describer).Describe(t.Context(), object)
		if err != nil {
			t.Fatal(err)
		}
		var required []string
		for _, f := range got.Fields {
			if f.Required {
				required = append(required, f.Name)
			}
			if f.Name == "state" && object == "machines" {
				if diff := cmp.Diff([]string{"new", "worn"}, f.Options); f.Type != "enum" || diff != "" {
					t.Errorf("type %s, options %s", f.Type, diff)
				}
			}
		}
		if diff := cmp.Diff(want, required); diff != "" || got.Name != object {
			t.Errorf("%s requires (-want +got):\n%s", object, diff)
		}
	}
}

// A key without the right to read schemas can describe the object all the same.
func TestDescribeWithoutTheRightToReadSchemas(t *testing.T) {
	a := open(t, "", simulator.Options{})
	a.fault(t, simulator.Fault{Kind: "status", Status: 403, Path: "/crm-object-schemas/"})
	if _, err := a.app.(sink.Describer).Describe(t.Context(), "contacts"); err != nil {
		t.Error(err)
	}
	a.fault(t, simulator.Fault{Kind: "status", Status: 401})
	if _, err := a.app.(sink.Describer).Describe(t.Context(), "contacts"); sinktest.Class(err) != "halt" {
		t.Errorf("with a bad token: %v, want a halt", err)
	}
}

func TestRequiredPropertyIsNamed(t *testing.T) {
	a := open(t, "", simulator.Options{Data: strings.NewReader(properties + machines)}, lookalike.DocumentedRequired())
	lacking := sink.Change{Ref: "1", Key: sink.Field{Name: "erp_id", Value: change.OfInt(1)}}
	results, err := a.app.Push(t.Context(), "deals", sink.Upsert, []sink.Change{lacking})
	if err != nil || sinktest.Class(results[0].Err) != "reject REQUIRED_PROPERTY" {
		t.Fatalf("%+v, %v", results, err)
	}
	if text := results[0].Err.Error(); !strings.Contains(text, "dealname is required") || !strings.Contains(text, "dealstage is required") {
		t.Errorf("reason %q names not both properties", text)
	}
}

func TestLifecycleStageMovesForwardOnly(t *testing.T) {
	a := open(t, "", simulator.Options{})
	stage := func(s string) sink.Result {
		return a.push(t, sink.Upsert, contact("1", "lifecyclestage", s, "city", s))[0]
	}
	for _, forward := range []string{"lead", "customer", "customer"} {
		if r := stage(forward); r.Err != nil || len(r.Kept) != 0 {
			t.Errorf("to %s: %+v", forward, r)
		}
	}
	back := stage("lead")
	if back.Err != nil || !slices.Equal(back.Kept, []string{"lifecyclestage"}) {
		t.Fatalf("back to lead: %+v, want no error and the stage kept", back)
	}
	want := []sink.Field{{Name: "lifecyclestage", Value: change.OfString("customer")}, {Name: "city", Value: change.OfString("lead")}}
	if diff := cmp.Diff(want, back.Stored, cmp.AllowUnexported(change.Value{})); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestReadTellsMergedErasedAndArchivedApart(t *testing.T) {
	a := open(t, "", simulator.Options{})
	made := a.push(t, sink.Upsert, contact("1"), contact("2"), contact("3"), contact("4"))
	id := func(n int) string { return made[n-1].AppID }
	if _, err := a.Edit(simulator.Edit{Object: "contacts", ID: id(1), Action: "merge", Into: id(2)}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Edit(simulator.Edit{Object: "contacts", ID: id(3), Action: "archive"}); err != nil {
		t.Fatal(err)
	}
	eraser := a.app.(sink.Eraser)
	for range 2 { // the second time there is nothing to erase
		if err := eraser.Erase(t.Context(), "contacts", id(4)); err != nil {
			t.Fatal(err)
		}
	}
	before := len(a.Calls())
	got, err := a.app.(sink.Reader).Read(t.Context(), "contacts", "id", []string{id(1), id(2), id(3), id(4)}, []string{"shop_id"})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]sink.Record{}
	for _, r := range got {
		r.Updated = time.Time{}
		found[r.ID] = r
	}
	want := map[string]sink.Record{
		id(2): {ID: id(2), Merged: []string{id(1)}, Fields: map[string]string{"shop_id": "2"}},
		id(3): {ID: id(3), Archived: true, Fields: map[string]string{"shop_id": "3"}},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	if calls := len(a.Calls()) - before; calls != 2 {
		t.Errorf("%d calls, want one for the live and one for the archived", calls)
	}
	if _, err := a.app.(sink.Reader).Read(t.Context(), "contacts", "id", []string{id(1)}, nil); err != nil || len(a.Calls())-before != 3 {
		t.Errorf("a merged record alone: %v, %d calls, want one", err, len(a.Calls())-before-2)
	}
	if err := eraser.Erase(t.Context(), "deals", "1"); sinktest.Class(err) != "reject NOT_ERASABLE" {
		t.Errorf("a deal: %v", err)
	}
}

// Every form that a 429 is known to have, and what it comes to.
func TestEveryTooManyRequests(t *testing.T) {
	const body = `{"status":"error","message":%q,"errorType":"RATE_LIMIT","category":"RATE_LIMITS"%s}`
	quarter := "up to 15m5s"
	tests := []struct {
		name, body, header string
		want               string
	}{
		{"rolling", fmt.Sprintf(body, "You have reached your ten_secondly_rolling limit.", `,"policyName":"TEN_SECONDLY_ROLLING"`), "", "after 10s"},
		{"search", fmt.Sprintf(body, "You have reached your secondly limit.", `,"policyName":"SECONDLY"`), "", "after 1s"},
		{"search without a name", fmt.Sprintf(body, "You have reached your secondly limit.", ``), "", "after 1s"},
		{"day", fmt.Sprintf(body, "You have reached your daily limit.", `,"policyName":"DAILY"`), "", quarter},
		{"day without a name", fmt.Sprintf(body, "You have reached your daily limit.", ``), "", quarter},
		{"unheard of", fmt.Sprintf(body, "Too much.", `,"policyName":"MONTHLY_MOON"`), "", "after 10s"},
		{"with a time", fmt.Sprintf(body, "You have reached your secondly limit.", `,"policyName":"SECONDLY"`), "7", "after 7s"},
		{"a proxy's page", `<html>slow down</html>`, "", "after 10s"},
		{"empty", ``, "", "after 10s"},
	}
	for _, test := range tests {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if test.header != "" {
				w.Header().Set("Retry-After", test.header)
			}
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, test.body)
		}))
		app := connect(t, fmt.Sprintf("token = \"t\"\nbase_url = %q", server.URL), rest.Env{})
		_, err := app.Push(t.Context(), "contacts", sink.Upsert, []sink.Change{contact("1")})
		server.Close()
		var retry *sink.RetryError
		if test.want == quarter {
			if !errors.As(err, &retry) || retry.After <= 0 || retry.After > 15*time.Minute+5*time.Second {
				t.Errorf("%s: %v, want a wait %s", test.name, err, quarter)
			}
		} else if got := sinktest.Class(err); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestDayQuotaIsTold(t *testing.T) {
	a := open(t, "", simulator.Options{Limits: map[string]int{lookalike.Daily: 1000}})
	if l := a.app.Limits("contacts"); l.Day != 0 {
		t.Errorf("before any answer: %+v", l)
	}
	a.push(t, sink.Upsert, contact("1"))
	a.push(t, sink.Upsert, contact("2"))
	if l := a.app.Limits("contacts"); l.Day != 1000 || l.DayLeft != 998 {
		t.Errorf("got %d of %d, want 998 of 1000", l.DayLeft, l.Day)
	}
}

// The calls for 1,000 records: no more than the batches that hold them.
func TestCallPlan(t *testing.T) {
	a := open(t, "", simulator.Options{}, lookalike.SearchLag(0))
	calls := func(what string, want int, do func(n int)) {
		t.Helper()
		before := len(a.Calls())
		for n := range 10 {
			do(n)
		}
		if got := len(a.Calls()) - before; got != want {
			t.Errorf("%s: %d calls, want %d", what, got, want)
		}
	}
	batch := func(n int, city string) []sink.Change {
		var changes []sink.Change
		for i := range 100 {
			changes = append(changes, contact(fmt.Sprint(n*100+i), "city", city))
		}
		return changes
	}
	ids := make([][]string, 10)
	calls("new", 10, func(n int) {
		for _, r := range a.push(t, sink.Upsert, batch(n, "Ulm")...) {
			ids[n] = append(ids[n], r.AppID)
		}
	})
	calls("known and changed", 10, func(n int) {
		changes := batch(n, "Bonn")
		for i := range changes {
			changes[i].AppID = ids[n][i]
		}
		a.push(t, sink.Update, changes...)
	})
	reader := a.app.(sink.Reader)
	calls("verified", 10, func(n int) {
		if got, err := reader.Read(t.Context(), "contacts", "id", ids[n], []string{"city"}); err != nil || len(got) != 100 {
			t.Fatalf("%d records, %v", len(got), err)
		}
	})
	calls("archived", 10, func(n int) {
		var changes []sink.Change
		for i, id := range ids[n] {
			changes = append(changes, sink.Change{Ref: fmt.Sprint(i), AppID: id})
		}
		a.push(t, sink.Archive, changes...)
	})
}
