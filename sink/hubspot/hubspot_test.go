package hubspot_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/simulator"
	lookalike "github.com/penstock-cdc/penstock/simulator/hubspot"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/hubspot"
	"github.com/penstock-cdc/penstock/sink/rest"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

const properties = `
{"property":{"object":"contacts","name":"shop_id","type":"string","hasUniqueValue":true}}
{"property":{"object":"contacts","name":"loyalty_no","type":"string","hasUniqueValue":true}}
{"property":{"object":"contacts","name":"vip","type":"bool"}}
{"property":{"object":"contacts","name":"mrr","type":"number"}}
{"property":{"object":"contacts","name":"born","type":"date"}}
{"property":{"object":"contacts","name":"seen","type":"datetime"}}
{"property":{"object":"contacts","name":"interests","type":"enumeration","fieldType":"checkbox","options":["art","beer","chess"]}}
{"property":{"object":"companies","name":"erp_id","type":"string","hasUniqueValue":true}}
{"property":{"object":"deals","name":"erp_id","type":"string","hasUniqueValue":true}}
`

// account is a simulated HubSpot account and the app that is connected to it.
type account struct {
	*simulator.Server
	app   sink.App
	calls []rest.Call
	url   string
}

func open(t testing.TB, settings string, opts simulator.Options, more ...lookalike.Option) *account {
	t.Helper()
	if opts.Data == nil {
		opts.Data = strings.NewReader(properties)
	}
	if opts.Limits == nil {
		opts.NoLimits = true
	}
	a := &account{Server: simulator.New(lookalike.New(more...), opts)}
	server := httptest.NewUnstartedServer(a.Server)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the answers that it cuts off on purpose
	server.Start()
	t.Cleanup(server.Close)
	a.url = server.URL
	a.app = connect(t, fmt.Sprintf("token = \"secret-token\"\nbase_url = %q\n%s", server.URL, settings), rest.Env{OnCall: func(c rest.Call) { a.calls = append(a.calls, c) }})
	return a
}

func connect(t testing.TB, settings string, env rest.Env) sink.App {
	t.Helper()
	c, diags := hubspot.Decode(body(t, settings), nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	app, err := hubspot.Open(c, "crm", env)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func body(t testing.TB, text string) hcl.Body {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(text), "app.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return f.Body
}

// contact is the wanted state of the contact with this shop_id.
func contact(id string, fields ...string) sink.Change {
	c := sink.Change{Ref: "ref-" + id, Key: sink.Field{Name: "shop_id", Value: change.OfString(id)}}
	for i := 0; i < len(fields); i += 2 {
		c.Fields = append(c.Fields, sink.Field{Name: fields[i], Value: change.OfString(fields[i+1])})
	}
	return c
}

func (a *account) push(t testing.TB, action sink.Action, changes ...sink.Change) []sink.Result {
	t.Helper()
	results, err := a.app.Push(t.Context(), "contacts", action, changes)
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	if len(results) != len(changes) {
		t.Fatalf("%d results for %d changes", len(results), len(changes))
	}
	return results
}

func (a *account) records(t testing.TB, object string) map[string]simulator.Record {
	t.Helper()
	all, err := a.Objects(object)
	if err != nil {
		t.Fatal(err)
	}
	byID := make(map[string]simulator.Record, len(all))
	for _, r := range all {
		byID[r.ID] = r
	}
	return byID
}

func value(r simulator.Record, name string) string {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func (a *account) fault(t testing.TB, f simulator.Fault) {
	t.Helper()
	if err := a.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

func TestUpsertCreatesThenUpdates(t *testing.T) {
	a := open(t, "", simulator.Options{}, lookalike.ShuffleResults(1))
	var changes []sink.Change
	for i := range 100 {
		id := strconv.Itoa(i)
		changes = append(changes, contact(id, "email", "Person"+id+"@Example.com", "firstname", "First "+id))
	}
	first := a.push(t, sink.Upsert, changes...)
	second := a.push(t, sink.Upsert, changes...)
	records := a.records(t, "contacts")
	if len(records) != 100 {
		t.Fatalf("%d records, want 100", len(records))
	}
	for i := range changes {
		if first[i].Err != nil || !first[i].Created {
			t.Fatalf("change %d: %+v, want it created", i, first[i])
		}
		if second[i].Err != nil || second[i].Created || second[i].AppID != first[i].AppID {
			t.Fatalf("change %d again: %+v, want record %s updated", i, second[i], first[i].AppID)
		}
		if got := value(records[first[i].AppID], "shop_id"); got != strconv.Itoa(i) {
			t.Errorf("change %d went to the record of %s", i, got)
		}
		want := []sink.Field{
			{Name: "email", Value: change.OfString("person" + strconv.Itoa(i) + "@example.com")},
			{Name: "firstname", Value: change.OfString("First " + strconv.Itoa(i))},
		}
		if diff := cmp.Diff(want, first[i].Stored, cmp.AllowUnexported(change.Value{})); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	}
	if got := len(a.Calls()); got != 2 {
		t.Errorf("%d calls for two batches of 100", got)
	}
}

func TestObjectsOtherThanContacts(t *testing.T) {
	a := open(t, "", simulator.Options{})
	for object, field := range map[string]string{"companies": "name", "deals": "dealname"} {
		c := sink.Change{Ref: "r", Key: sink.Field{Name: "erp_id", Value: change.OfInt(5)}, Fields: []sink.Field{{Name: field, Value: change.OfString("X")}}}
		results, err := a.app.Push(t.Context(), object, sink.Upsert, []sink.Change{c})
		if err != nil || results[0].Err != nil || !results[0].Created {
			t.Fatalf("%s: %+v, %v", object, results, err)
		}
		if r := a.records(t, object)[results[0].AppID]; value(r, field) != "X" || value(r, "erp_id") != "5" {
			t.Errorf("%s: stored %+v", object, r)
		}
	}
}

func TestUpsertByEmail(t *testing.T) {
	a := open(t, "", simulator.Options{})
	c := sink.Change{Ref: "r", Key: sink.Field{Name: "email", Value: change.OfString("Ada@Example.com")}, Fields: []sink.Field{{Name: "lastname", Value: change.OfString("L")}}}
	first := a.push(t, sink.Upsert, c)
	second := a.push(t, sink.Upsert, c)
	if first[0].Err != nil || second[0].AppID != first[0].AppID || second[0].Created {
		t.Errorf("first %+v, second %+v", first, second)
	}
}

func TestUpdateSetsKeyAndClears(t *testing.T) {
	a := open(t, "", simulator.Options{Data: strings.NewReader(properties + `{"object":"contacts","id":"77","properties":{"email":"a@example.com","jobtitle":"Boss"}}`)})
	c := contact("9", "firstname", "A")
	c.AppID = "77"
	c.Fields = append(c.Fields, c.Key, sink.Field{Name: "jobtitle"}, sink.Field{Name: "city", Value: change.Of(change.Unchanged, "")})
	results := a.push(t, sink.Update, c)
	if results[0].Err != nil || results[0].AppID != "77" {
		t.Fatalf("%+v", results[0])
	}
	r := a.records(t, "contacts")["77"]
	if value(r, "shop_id") != "9" || value(r, "firstname") != "A" || value(r, "jobtitle") != "" || value(r, "email") != "a@example.com" {
		t.Errorf("record is %+v", r.Fields)
	}
	want := []sink.Field{{Name: "firstname", Value: change.OfString("A")}, {Name: "shop_id", Value: change.OfString("9")}, {Name: "jobtitle"}}
	if diff := cmp.Diff(want, results[0].Stored, cmp.AllowUnexported(change.Value{})); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestArchive(t *testing.T) {
	a := open(t, "", simulator.Options{})
	made := a.push(t, sink.Upsert, contact("1"), contact("2"), contact("3"))
	for i, action := range []sink.Action{sink.Archive, sink.Remove, sink.Archive} {
		c := sink.Change{Ref: "r", AppID: made[min(i, 1)].AppID}
		if r := a.push(t, action, c); r[0].Err != nil || r[0].AppID != c.AppID {
			t.Fatalf("%v: %+v", action, r)
		}
	}
	records := a.records(t, "contacts")
	for i, want := range []bool{true, true, false} {
		if got := records[made[i].AppID].Archived; got != want {
			t.Errorf("record %d archived: %v, want %v", i, got, want)
		}
	}
	gone := contact("1", "firstname", "late")
	gone.AppID = made[0].AppID
	live := contact("3", "firstname", "on")
	live.AppID = made[2].AppID
	results := a.push(t, sink.Update, gone, live)
	if !errors.Is(results[0].Err, sink.ErrGone) || results[1].Err != nil {
		t.Errorf("update of an archived record and a live one: %+v", results)
	}
}

func TestValues(t *testing.T) {
	a := open(t, "", simulator.Options{})
	tests := []struct {
		property string
		value    change.Value
		want     string // stored; "!" and a code: refused
	}{
		{"vip", change.OfBool(true), "true"},
		{"vip", change.OfBool(false), "false"},
		{"mrr", change.OfInt(-42), "-42"},
		{"mrr", change.Of(change.Decimal, "12.50"), "12.50"},
		{"mrr", change.Of(change.Float, "1.5e+3"), "1500"},
		{"mrr", change.Of(change.Float, "1e-7"), "0.0000001"},
		{"mrr", change.Of(change.Decimal, "NaN"), "!UNSUPPORTED_VALUE"},
		{"mrr", change.Of(change.Float, "-Infinity"), "!UNSUPPORTED_VALUE"},
		{"mrr", change.OfString("many"), "!INVALID_NUMBER"},
		{"born", change.Of(change.Date, "1815-12-10"), "1815-12-10"},
		{"born", change.Of(change.Date, "infinity"), "!UNSUPPORTED_VALUE"},
		{"born", change.Of(change.Date, "0000-00-00"), "!UNSUPPORTED_VALUE"},
		{"born", change.Of(change.Date, "-0043-03-15"), "!UNSUPPORTED_VALUE"},
		{"born", change.Of(change.TimestampTZ, "2026-03-04T13:14:15Z"), "!INVALID_DATE"},
		{"seen", change.Of(change.TimestampTZ, "2026-03-04T13:14:15.123456Z"), "2026-03-04T13:14:15.123Z"},
		{"seen", change.Of(change.Timestamp, "2026-03-04T13:14:15"), "2026-03-04T13:14:15.000Z"},
		{"seen", change.Of(change.Timestamp, "0000-00-00T00:00:00"), "!UNSUPPORTED_VALUE"},
		{"interests", change.Of(change.Array, `["art","chess"]`), "art;chess"},
		{"interests", change.Of(change.Array, `["golf"]`), "!INVALID_OPTION"},
		{"interests", change.Of(change.Array, `[null]`), ""},
		{"city", change.Of(change.Array, `[[1,2],[3,4]]`), "[[1,2],[3,4]]"},
		{"city", change.Of(change.JSON, `{"a": 1}`), `{"a": 1}`},
		{"city", change.Of(change.Bytes, "\x00\xff"), "AP8="},
		{"city", change.Of(change.UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"city", change.OfString("quo\"te \\ \x01\n\u2028 ü 日本 \U0001f6b0"), "quo\"te \\ \x01\n\u2028 ü 日本 \U0001f6b0"},
		{"city", change.OfString("bad \xff byte"), "bad \ufffd byte"},
		{"email", change.OfString("nobody"), "!INVALID_EMAIL"},
		{"nonsense", change.OfString("x"), "!PROPERTY_DOESNT_EXIST"},
		{"createdate", change.OfString("x"), "!READ_ONLY_VALUE"},
		{"city", change.OfString(strings.Repeat("x", 65_537)), "!STRING_TOO_LONG"},
	}
	for i, test := range tests {
		c := contact(strconv.Itoa(i))
		c.Fields = []sink.Field{{Name: test.property, Value: test.value}}
		good := contact("good")
		results := a.push(t, sink.Upsert, c, good)
		if results[1].Err != nil {
			t.Errorf("%s %v: the record beside it failed: %v", test.property, test.value, results[1].Err)
		}
		code, refused := strings.CutPrefix(test.want, "!")
		if !refused {
			if results[0].Err != nil {
				t.Errorf("%s %v: %v", test.property, test.value, results[0].Err)
			} else if got := value(a.records(t, "contacts")[results[0].AppID], test.property); got != test.want {
				t.Errorf("%s %v: stored %q, want %q", test.property, test.value, got, test.want)
			}
			continue
		}
		var reject *sink.RejectError
		if !errors.As(results[0].Err, &reject) || reject.Code != code {
			t.Errorf("%s %v: %v, want it rejected as %s", test.property, test.value, results[0].Err, code)
			continue
		}
		if text := reject.Error(); !strings.Contains(text, test.property) || len(test.value.Text()) > 3 && strings.Contains(text, test.value.Text()) {
			t.Errorf("%s: reason %q must name the property and not the value", test.property, text)
		}
	}
}

func TestConflict(t *testing.T) {
	a := open(t, "", simulator.Options{Data: strings.NewReader(properties + `
{"object":"contacts","id":"501","properties":{"email":"taken@example.com"}}
{"object":"contacts","id":"502","properties":{"loyalty_no":"L1"}}`)})
	results := a.push(t, sink.Upsert,
		contact("1", "email", "Taken@example.com"),
		contact("2", "loyalty_no", "L1"),
		contact("3", "loyalty_no", "L2"))
	for i, want := range []string{"501", "502"} {
		var conflict *sink.ConflictError
		if !errors.As(results[i].Err, &conflict) || conflict.AppID != want {
			t.Errorf("change %d: %v, want a conflict with %s", i, results[i].Err, want)
		} else if strings.Contains(conflict.Error(), "example.com") || strings.Contains(conflict.Error(), "L1") {
			t.Errorf("the conflict has a value in it: %v", conflict)
		}
	}
	if results[2].Err != nil || !results[2].Created {
		t.Errorf("the record beside them: %+v", results[2])
	}
	alone := a.push(t, sink.Upsert, contact("1", "email", "taken@example.com"))
	var conflict *sink.ConflictError
	if !errors.As(alone[0].Err, &conflict) || conflict.AppID != "501" {
		t.Errorf("alone: %v", alone[0].Err)
	}
}

// One record under two ids, of which one was merged into the other, is a refusal of
// the batch, and of neither when it comes alone.
func TestRepeatedRecord(t *testing.T) {
	a := open(t, "", simulator.Options{})
	made := a.push(t, sink.Upsert, contact("1"), contact("2"), contact("3"))
	if _, err := a.Edit(simulator.Edit{Object: "contacts", ID: made[0].AppID, Action: "merge", Into: made[1].AppID}); err != nil {
		t.Fatal(err)
	}
	var changes []sink.Change
	for i := range made {
		changes = append(changes, sink.Change{Ref: "r" + strconv.Itoa(i), AppID: made[i].AppID, Fields: []sink.Field{{Name: "city", Value: change.OfString("Ulm")}}})
	}
	_, err := a.app.Push(t.Context(), "contacts", sink.Update, changes)
	var batch *sink.BatchError
	if !errors.As(err, &batch) || len(batch.Refs) != 0 {
		t.Fatalf("%v, want a batch error that names none", err)
	}
	single := a.push(t, sink.Update, changes[0])
	if single[0].Err != nil || single[0].AppID != made[1].AppID {
		t.Errorf("update by the merged id: %+v, want the survivor's id %s", single[0], made[1].AppID)
	}
}

func TestWholeBatchRefusedIsABatchError(t *testing.T) {
	a := open(t, "", simulator.Options{}, lookalike.RefusePartialEmailUpserts())
	byEmail := func(ref, email, city string) sink.Change {
		return sink.Change{Ref: ref, Key: sink.Field{Name: "email", Value: change.OfString(email)}, Fields: []sink.Field{{Name: city, Value: change.OfString("x")}}}
	}
	bad := byEmail("2", "b@example.com", "nonsense")
	_, err := a.app.Push(t.Context(), "contacts", sink.Upsert, []sink.Change{byEmail("1", "a@example.com", "city"), bad})
	var batch *sink.BatchError
	if !errors.As(err, &batch) || batch.Code != "PROPERTY_DOESNT_EXIST" || len(batch.Refs) != 0 {
		t.Fatalf("%v (%T), want a batch error without refs", err, err)
	}
	var reject *sink.RejectError
	if r := a.push(t, sink.Upsert, bad); !errors.As(r[0].Err, &reject) || reject.Code != "PROPERTY_DOESNT_EXIST" {
		t.Errorf("alone: %v", r[0].Err)
	}
}

func TestKeyThatIsNotUniqueHalts(t *testing.T) {
	a := open(t, "", simulator.Options{})
	c := sink.Change{Ref: "1", Key: sink.Field{Name: "city", Value: change.OfString("Ulm")}}
	_, err := a.app.Push(t.Context(), "contacts", sink.Upsert, []sink.Change{c})
	var halt *sink.HaltError
	if !errors.As(err, &halt) || !strings.Contains(err.Error(), "unique values") || strings.Contains(err.Error(), "Ulm") {
		t.Errorf("%v, want a halt that says how to mend it", err)
	}
}

func TestCallsAreCounted(t *testing.T) {
	a := open(t, `api_version = "v3"`, simulator.Options{})
	made := a.push(t, sink.Upsert, contact("1"))
	a.push(t, sink.Archive, sink.Change{Ref: "1", AppID: made[0].AppID})
	var got []string
	for _, c := range a.calls {
		got = append(got, fmt.Sprint(c.App, " ", c.Method, " ", c.Path, " ", c.Status))
	}
	want := []string{
		"crm POST /crm/v3/objects/{object}/batch/upsert 200",
		"crm POST /crm/v3/objects/{object}/batch/archive 204",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestPushChecksItsBatch(t *testing.T) {
	a := open(t, "", simulator.Options{})
	if _, err := a.app.Push(t.Context(), "contacts", sink.Upsert, make([]sink.Change, 101)); err == nil {
		t.Error("101 changes were taken")
	}
	if _, err := a.app.Push(t.Context(), "tickets", sink.Upsert, []sink.Change{contact("1")}); sinktest.Class(err) != "halt" {
		t.Errorf("an object that is not there: %v", err)
	}
	twins := a.push(t, sink.Upsert, contact("1"), contact("1"), contact("2"))
	if twins[0].Err != nil || twins[1].Err == nil || twins[2].Err != nil {
		t.Errorf("two changes with one ref: %+v", twins)
	}
	keyless := contact("")
	if r := a.push(t, sink.Upsert, keyless); sinktest.Class(r[0].Err) != "reject EMPTY_KEY" {
		t.Errorf("no key: %v", r[0].Err)
	}
	if r := a.push(t, sink.Update, contact("1")); sinktest.Class(r[0].Err) != "plain" {
		t.Errorf("no id: %v", r[0].Err)
	}
}
