package hubspot_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

// answer is what tests look at of an error or a batch.
type answer struct {
	Status    string `json:"status"`
	Category  string `json:"category"`
	Message   string `json:"message"`
	NumErrors int    `json:"numErrors"`
	Results   []struct {
		ID         string             `json:"id"`
		New        *bool              `json:"new"`
		Properties map[string]*string `json:"properties"`
		Trace      string             `json:"objectWriteTraceId"`
	} `json:"results"`
	Errors []struct {
		Message  string `json:"message"`
		Code     string `json:"code"`
		Category string `json:"category"`
		Context  struct {
			Property []string `json:"propertyName"`
			Trace    []string `json:"objectWriteTraceId"`
			IDs      []string `json:"ids"`
		} `json:"context"`
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	} `json:"errors"`
	Total  int `json:"total"`
	Paging struct {
		Next struct {
			After string `json:"after"`
		} `json:"next"`
	} `json:"paging"`
	PolicyName string `json:"policyName"`
}

func (h *hub) ask(method, path, body string) (int, answer) {
	h.t.Helper()
	status, text := h.call(method, path, body)
	var a answer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		h.t.Fatalf("%s %s: %d, not JSON: %v: %s", method, path, status, err, text)
	}
	return status, a
}

// TestOneValue puts one property into a new contact: what HubSpot makes of it.
func TestOneValue(t *testing.T) {
	long := strings.Repeat("é", 65_536)
	tests := []struct {
		property, value string
		want            string // canonical, if it is taken
		code            string // else why not
	}{
		{"email", " Ada.L+x@Mail.Example.COM\t", "ada.l+x@mail.example.com", ""},
		{"email", "jürgen@münchen.de", "jürgen@münchen.de", ""},
		{"email", "nobody", "", "INVALID_EMAIL"},
		{"email", "a@", "", "INVALID_EMAIL"},
		{"email", "@example.com", "", "INVALID_EMAIL"},
		{"email", "a@b", "", "INVALID_EMAIL"},
		{"email", "a@@example.com", "", "INVALID_EMAIL"},
		{"email", "a b@example.com", "", "INVALID_EMAIL"},
		{"email", "a@example..com", "", "INVALID_EMAIL"},
		{"email", "a@-example.com", "", "INVALID_EMAIL"},
		{"email", ".a@example.com", "", "INVALID_EMAIL"},
		{"email", "a@exa_mple.com", "", "INVALID_EMAIL"},
		{"email", strings.Repeat("a", 65) + "@example.com", "", "INVALID_EMAIL"},
		{"firstname", "  kept \"as\" is\n", "  kept \"as\" is\n", ""},
		{"firstname", long, long, ""},
		{"firstname", long + "x", "", "STRING_TOO_LONG"},
		{"nonesuch", "x", "", "PROPERTY_DOESNT_EXIST"},
		{"hs_object_id", "5", "", "READ_ONLY_VALUE"},
		{"createdate", "1", "", "READ_ONLY_VALUE"},
		{"lastmodifieddate", "1", "", "READ_ONLY_VALUE"},
		{"lifecyclestage", "lead", "lead", ""},
		{"lifecyclestage", "Lead", "", "INVALID_OPTION"},
		{"hs_lead_status", "NEW", "NEW", ""},
		{"hs_lead_status", "NEW;OPEN", "", "INVALID_OPTION"},
		{"interests", "tea;cocoa", "tea;cocoa", ""},
		{"interests", ";tea", "tea", ""},
		{"interests", "tea;beer", "", "INVALID_OPTION"},
		{"hubspot_owner_id", "1234", "1234", ""},
		{"mrr", " 12.50 ", "12.50", ""},
		{"mrr", "-3", "-3", ""},
		{"mrr", "1e3", "", "INVALID_NUMBER"},
		{"mrr", "1,5", "", "INVALID_NUMBER"},
		{"mrr", "NaN", "", "INVALID_NUMBER"},
		{"mrr", "1.2.3", "", "INVALID_NUMBER"},
		{"vip", "TRUE", "true", ""},
		{"vip", "yes", "", "INVALID_OPTION"},
		{"birthday", "1815-12-10", "1815-12-10", ""},
		{"birthday", "1582416000000", "2020-02-23", ""},
		{"birthday", "2020-02-23T00:00:00Z", "2020-02-23", ""},
		{"birthday", "1606768561954", "", "INVALID_DATE"},
		{"birthday", "10.12.1815", "", "INVALID_DATE"},
		{"birthday", "2021-02-29", "", "INVALID_DATE"},
		{"seen_at", "2026-03-04T05:06:07+01:00", "2026-03-04T04:06:07.000Z", ""},
		{"seen_at", "1582416000001", "2020-02-23T00:00:00.001Z", ""},
		{"seen_at", "tomorrow", "", "INVALID_LONG"},
	}
	h := start(t, simulator.Options{NoLimits: true})
	for _, tt := range tests {
		name := tt.property + "=" + tt.value[:min(len(tt.value), 30)]
		t.Run(name, func(t *testing.T) {
			value, err := json.Marshal(tt.value)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.sim.Reset(); err != nil {
				t.Fatal(err)
			}
			status, a := h.ask("POST", contacts, fmt.Sprintf(`{"properties":{%q:%s}}`, tt.property, value))
			if tt.code != "" {
				if status != 400 || a.Category != "VALIDATION_ERROR" || len(a.Errors) != 1 || a.Errors[0].Code != tt.code {
					t.Fatalf("got %d %+v, want 400 with code %s", status, a, tt.code)
				}
				if diff := cmp.Diff([]string{tt.property}, a.Errors[0].Context.Property); diff != "" {
					t.Errorf("context (-want +got):\n%s", diff)
				}
				if !strings.HasPrefix(a.Message, "Property values were not valid: [{") || !strings.Contains(a.Message, tt.code) {
					t.Errorf("message %q does not carry the results", a.Message[:min(200, len(a.Message))])
				}
				return
			}
			if status != 201 {
				t.Fatalf("got %d %s, want 201", status, a.Message)
			}
			all, err := h.sim.Objects("contacts")
			if err != nil || len(all) != 1 {
				t.Fatalf("got %d records, %v", len(all), err)
			}
			if diff := cmp.Diff([]simulator.Field{{Name: tt.property, Value: tt.want}}, all[0].Fields); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff[:min(500, len(diff))])
			}
		})
	}
}

// seeded has three contacts, of which 3 is archived.
func seeded(t *testing.T, app ...hubspot.Option) *hub {
	t.Helper()
	data := keyed + `{"object":"contacts","id":"1","properties":{"email":"one@x.co","shop_customer_id":"k1","lifecyclestage":"customer"}}
{"object":"contacts","id":"2","properties":{"email":"two@x.co","shop_customer_id":"k2"}}
{"object":"contacts","id":"3","archived":true,"properties":{"email":"three@x.co","shop_customer_id":"k3"}}
`
	return start(t, simulator.Options{NoLimits: true, Data: strings.NewReader(data)}, app...)
}

// TestRefusedBatch lists batches that are refused whole; nothing of them may be done.
func TestRefusedBatch(t *testing.T) {
	tooMany := batchOf(101, 1)
	tests := []struct {
		name, path, body string
		status           int
		category         string
		message          string // a part of it
	}{
		{"not JSON", "/batch/upsert", `{"inputs":[`, 400, "VALIDATION_ERROR", "not well formed"},
		{"no inputs", "/batch/upsert", `{"input":[]}`, 400, "VALIDATION_ERROR", "[inputs]"},
		{"empty", "/batch/create", `{"inputs":[]}`, 400, "VALIDATION_ERROR", "no inputs"},
		{"inputs is no list", "/batch/create", `{"inputs":{}}`, 400, "VALIDATION_ERROR", "expected an array"},
		{"101 inputs", "/batch/upsert", tooMany, 400, "VALIDATION_ERROR", "maximum is 100"},
		{"number as value", "/batch/create", `{"inputs":[{"properties":{"email":"n@x.co","mrr":12}}]}`, 400, "VALIDATION_ERROR", "must be JSON strings"},
		{"null as value", "/batch/create", `{"inputs":[{"properties":{"email":null}}]}`, 400, "VALIDATION_ERROR", "must be JSON strings"},
		{"no id", "/batch/update", `{"inputs":[{"properties":{"email":"n@x.co"}}]}`, 400, "VALIDATION_ERROR", "[id]"},
		{"no properties", "/batch/update", `{"inputs":[{"id":"1"}]}`, 400, "VALIDATION_ERROR", "[properties]"},
		{"update by email", "/batch/update", `{"inputs":[{"id":"one@x.co","idProperty":"email","properties":{"phone":"1"}}]}`, 400, "VALIDATION_ERROR", "Unable to perform update/upsert by non-unique 0-1 property email"},
		{"upsert by hs_object_id", "/batch/upsert", `{"inputs":[{"id":"1","idProperty":"hs_object_id","properties":{"phone":"1"}}]}`, 400, "VALIDATION_ERROR", "non-unique 0-1 property hs_object_id"},
		{"upsert by phone", "/batch/upsert", `{"inputs":[{"id":"1","idProperty":"phone","properties":{"phone":"1"}}]}`, 400, "VALIDATION_ERROR", "non-unique 0-1 property phone"},
		{"same id twice", "/batch/upsert", `{"inputs":[
			{"id":"n","idProperty":"shop_customer_id","objectWriteTraceId":"a","properties":{"phone":"1"}},
			{"id":"n","idProperty":"shop_customer_id","objectWriteTraceId":"b","properties":{"phone":"2"}}]}`, 400, "VALIDATION_ERROR", "Duplicate IDs found in batch input: [n]"},
		{"same e-mail in two spellings", "/batch/upsert", `{"inputs":[
			{"id":"N@x.co","idProperty":"email","properties":{"phone":"1"}},
			{"id":"n@x.co","idProperty":"email","properties":{"phone":"2"}}]}`, 400, "VALIDATION_ERROR", "Duplicate IDs"},
		{"two ids of one record", "/batch/upsert", `{"inputs":[
			{"id":"one@x.co","idProperty":"email","properties":{"phone":"1"}},
			{"id":"k1","idProperty":"shop_customer_id","properties":{"phone":"2"}}]}`, 400, "VALIDATION_ERROR", "Duplicate IDs"},
		{"one bad value, no trace ids", "/batch/upsert", `{"inputs":[
			{"id":"k1","idProperty":"shop_customer_id","properties":{"phone":"1"}},
			{"id":"k9","idProperty":"shop_customer_id","properties":{"email":"nobody"}}]}`, 400, "VALIDATION_ERROR", "INVALID_EMAIL"},
		{"trace ids that repeat", "/batch/upsert", `{"inputs":[
			{"id":"k1","idProperty":"shop_customer_id","objectWriteTraceId":"a","properties":{"phone":"1"}},
			{"id":"k9","idProperty":"shop_customer_id","objectWriteTraceId":"a","properties":{"email":"nobody"}}]}`, 400, "VALIDATION_ERROR", "INVALID_EMAIL"},
		{"a trace id missing", "/batch/create", `{"inputs":[
			{"objectWriteTraceId":"a","properties":{"email":"n@x.co"}},
			{"properties":{"email":"ONE@x.co"}}]}`, 409, "CONFLICT", "Contact already exists. Existing ID: 1"},
		{"address taken", "/batch/create", `{"inputs":[{"properties":{"email":"n@x.co"}},{"properties":{"email":"two@x.co"}}]}`, 409, "CONFLICT", "Contact already exists. Existing ID: 2"},
		{"address twice in the batch", "/batch/create", `{"inputs":[{"properties":{"email":"n@x.co"}},{"properties":{"email":"n@x.co"}}]}`, 409, "CONFLICT", "Contact already exists"},
		{"unique value taken", "/batch/create", `{"inputs":[{"properties":{"email":"n@x.co"}},{"properties":{"shop_customer_id":"k2"}}]}`, 400, "VALIDATION_ERROR", "CONFLICTING_UNIQUE_VALUE"},
		{"address of another", "/batch/update", `{"inputs":[{"id":"2","properties":{"phone":"1"}},{"id":"1","properties":{"email":"two@x.co"}}]}`, 409, "CONFLICT", "Existing ID: 2"},
		{"archive by key", "/batch/archive", `{"idProperty":"shop_customer_id","inputs":[{"id":"1"}]}`, 400, "VALIDATION_ERROR", "object IDs only"},
		{"archive by address", "/batch/archive", `{"inputs":[{"id":"1"},{"id":"two@x.co"}]}`, 400, "VALIDATION_ERROR", "object IDs only"},
	}
	h := seeded(t)
	before := h.objects()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, a := h.ask("POST", contacts+tt.path, tt.body)
			if status != tt.status || a.Category != tt.category || !strings.Contains(a.Message, tt.message) {
				t.Errorf("got %d %s %q\nwant %d %s ...%s...", status, a.Category, a.Message, tt.status, tt.category, tt.message)
			}
			if diff := cmp.Diff(before, h.objects()); diff != "" {
				t.Errorf("records changed (-before +after):\n%s", diff)
			}
		})
	}
	if got := len(h.sim.History("contacts")); got != 3 {
		t.Errorf("got %d changes, want the 3 of the initial data", got)
	}
	// Ids and addresses of what was taken back are free.
	if _, a := h.ask("POST", contacts+"/batch/create", `{"inputs":[{"properties":{"email":"n@x.co"}}]}`); len(a.Results) != 1 || a.Results[0].ID != "4" {
		t.Errorf("got %+v, want record 4", a)
	}
}

func TestPartialFailure(t *testing.T) {
	h := seeded(t)
	status, a := h.ask("POST", contacts+"/batch/upsert", `{"inputs":[
		{"id":"k1","idProperty":"shop_customer_id","objectWriteTraceId":"a","properties":{"phone":"1"}},
		{"id":"k8","idProperty":"shop_customer_id","objectWriteTraceId":"b","properties":{"email":"two@x.co"}},
		{"id":"k9","idProperty":"shop_customer_id","objectWriteTraceId":"c","properties":{"email":"nobody","nonesuch":"1"}},
		{"id":"k3","idProperty":"shop_customer_id","objectWriteTraceId":"d","properties":{"email":"three@x.co"}},
		{"id":"77","objectWriteTraceId":"e","properties":{"phone":"1"}}]}`)
	if status != 207 || len(a.Results) != 2 || a.NumErrors != 3 || len(a.Errors) != 3 {
		t.Fatalf("got %d with %d results and %d errors: %+v", status, len(a.Results), a.NumErrors, a)
	}
	if r := a.Results[0]; r.ID != "1" || *r.New || r.Trace != "a" {
		t.Errorf("got first result %+v, want record 1 updated", r)
	}
	if r := a.Results[1]; r.ID != "4" || !*r.New || r.Trace != "d" {
		t.Errorf("got second result %+v, want the new record 4: an archived one is not upserted", r)
	}
	wantTraces := []string{"b", "c", "e"}
	for i, e := range a.Errors {
		if diff := cmp.Diff([]string{wantTraces[i]}, e.Context.Trace); diff != "" {
			t.Errorf("trace of error %d (-want +got):\n%s", i, diff)
		}
	}
	if e := a.Errors[0]; e.Category != "CONFLICT" || e.Message != "Contact already exists. Existing ID: 2" {
		t.Errorf("got %+v, want the conflict with record 2", e)
	}
	if e := a.Errors[1]; e.Category != "VALIDATION_ERROR" || len(e.Errors) != 2 || e.Errors[0].Code != "INVALID_EMAIL" || e.Errors[1].Code != "PROPERTY_DOESNT_EXIST" {
		t.Errorf("got %+v, want both faults of the record", e)
	}
	if e := a.Errors[2]; e.Category != "OBJECT_NOT_FOUND" || len(e.Context.IDs) != 1 || e.Context.IDs[0] != "77" {
		t.Errorf("got %+v, want id 77 not found", e)
	}
	calls := h.sim.Calls()
	want := []simulator.Refusal{{Key: "k8", Reason: "CONFLICT"}, {Key: "k9", Reason: "INVALID_EMAIL email"}, {Key: "77", Reason: "OBJECT_NOT_FOUND"}}
	last := calls[len(calls)-1]
	if diff := cmp.Diff(want, last.Refused); diff != "" || last.Records != 5 || last.Created != 1 || last.Status != 207 {
		t.Errorf("logged %+v, refused (-want +got):\n%s", last, diff)
	}
}

func TestMissingIDsDoNotFailTheRest(t *testing.T) {
	h := seeded(t)
	status, a := h.ask("POST", contacts+"/batch/update", `{"inputs":[{"id":"2","properties":{"phone":"1"}},{"id":"3","properties":{"phone":"1"}},{"id":"99","properties":{"phone":"1"}}]}`)
	if status != 207 || len(a.Results) != 1 || a.Results[0].New != nil || len(a.Errors) != 1 {
		t.Fatalf("got %d %+v, want one result and one error", status, a)
	}
	if diff := cmp.Diff([]string{"3", "99"}, a.Errors[0].Context.IDs); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
}

func TestOptionWholeEmailUpserts(t *testing.T) {
	body := `{"inputs":[
		{"id":"one@x.co","idProperty":"email","objectWriteTraceId":"a","properties":{"phone":"1"}},
		{"id":"new@x.co","idProperty":"email","objectWriteTraceId":"b","properties":{"nonesuch":"1"}}]}`
	if status, _ := seeded(t).ask("POST", contacts+"/batch/upsert", body); status != 207 {
		t.Errorf("got %d, want 207", status)
	}
	if status, _ := seeded(t, hubspot.RefusePartialEmailUpserts()).ask("POST", contacts+"/batch/upsert", body); status != 400 {
		t.Errorf("with RefusePartialEmailUpserts: got %d, want 400", status)
	}
}

func TestOptionsOfForm(t *testing.T) {
	h := seeded(t, hubspot.RewritePhones(), hubspot.ShuffleResults(1))
	h.want("POST", contacts+"/batch/update", `{"inputs":[{"id":"1","properties":{"phone":"+49 (30) 123-45"}}]}`, 200, "")
	_, a := h.ask("POST", contacts+"/batch/read", `{"properties":["phone"],"inputs":[{"id":"1"}]}`)
	if got := *a.Results[0].Properties["phone"]; got != "+493012345" {
		t.Errorf("got phone %q, want +493012345", got)
	}
	_, a = h.ask("POST", contacts+"/batch/upsert", batchOf(20, 100))
	inOrder := true
	for i, r := range a.Results {
		inOrder = inOrder && r.Trace == fmt.Sprintf("t%d", i)
	}
	if len(a.Results) != 20 || inOrder {
		t.Errorf("got %d results, in input order: %v", len(a.Results), inOrder)
	}
}

// TestLifecycleStage: only forward, unless cleared in a request before.
func TestLifecycleStage(t *testing.T) {
	h := seeded(t)
	stage := func() string {
		t.Helper()
		_, a := h.ask("POST", contacts+"/batch/read", `{"properties":["lifecyclestage"],"inputs":[{"id":"1"}]}`)
		if v := a.Results[0].Properties["lifecyclestage"]; v != nil {
			return *v
		}
		return ""
	}
	set := func(v string) {
		t.Helper()
		h.want("PATCH", contacts+"/1", `{"properties":{"lifecyclestage":"`+v+`"}}`, 200, "")
	}
	for _, step := range []struct{ set, want string }{
		{"lead", "customer"}, {"evangelist", "evangelist"}, {"customer", "evangelist"}, {"", ""}, {"lead", "lead"},
	} {
		if set(step.set); stage() != step.want {
			t.Errorf("after %q: got %q, want %q", step.set, stage(), step.want)
		}
	}
	h.want("POST", "/_sim/edit", `{"object":"contacts","id":"1","properties":{"lifecyclestage":"subscriber"}}`, 200, "")
	if got := stage(); got != "subscriber" {
		t.Errorf("by hand: got %q, want subscriber", got)
	}
}

func TestCheckboxAdds(t *testing.T) {
	h := seeded(t)
	h.want("PATCH", contacts+"/1", `{"properties":{"interests":"tea"}}`, 200, "")
	h.want("PATCH", contacts+"/1", `{"properties":{"interests":";coffee;tea"}}`, 200, "")
	if !strings.Contains(h.objects(), `"interests":"tea;coffee"`) {
		t.Errorf("got %s", h.objects())
	}
}

func TestSingleRecords(t *testing.T) {
	h := seeded(t)
	h.want("GET", contacts+"/one@x.co?idProperty=email&properties=email,phone&properties=city", "", 200, `{"id":"1","properties":{"city":null,"createdate":"2026-03-04T05:06:07.000Z","email":"one@x.co",
		"hs_object_id":"1","lastmodifieddate":"2026-03-04T05:06:07.000Z","phone":null},"createdAt":"2026-03-04T05:06:07.000Z","updatedAt":"2026-03-04T05:06:07.000Z","archived":false}`)
	h.want("PATCH", contacts+"/two@x.co?idProperty=email", `{"properties":{"city":"Bonn"}}`, 200, "")
	h.want("GET", contacts+"/k2?idProperty=shop_customer_id", "", 200, "")
	h.want("GET", contacts+"/1?idProperty=phone", "", 400, "")
	h.want("POST", contacts, `{"properties":{"email":"two@x.co"}}`, 409, `{"status":"error","message":"Contact already exists. Existing ID: 2","correlationId":"*","category":"CONFLICT"}`)
	if status, _ := h.call("DELETE", contacts+"/2", ""); status != 204 {
		t.Errorf("delete: got %d, want 204", status)
	}
	h.want("PATCH", contacts+"/2", `{"properties":{"city":"Bonn"}}`, 404, "")
	_, a := h.ask("GET", contacts+"?limit=100", "")
	if len(a.Results) != 1 || a.Results[0].ID != "1" {
		t.Errorf("list: got %+v, want record 1 alone", a.Results)
	}
	_, a = h.ask("GET", contacts+"?limit=1&archived=true", "")
	if len(a.Results) != 1 || a.Results[0].ID != "2" || a.Paging.Next.After != "3" {
		t.Errorf("list archived: got %+v, want record 2 and more after", a)
	}
	h.want("GET", contacts+"?limit=101", "", 400, "")
	h.want("GET", "/crm/v3/objects/gadgets/1", "", 400, "")
	h.want("GET", "/nonesuch", "", 404, "")
}

func TestMergeAndErase(t *testing.T) {
	h := seeded(t)
	h.want("POST", "/_sim/edit", `{"object":"contacts","id":"2","action":"merge","into":"1"}`, 200, "")
	_, a := h.ask("POST", contacts+"/batch/read", `{"properties":["hs_merged_object_ids","hs_additional_emails"],"inputs":[{"id":"2"}]}`)
	if len(a.Results) != 1 || a.Results[0].ID != "1" || *a.Results[0].Properties["hs_merged_object_ids"] != "2" || *a.Results[0].Properties["hs_additional_emails"] != "two@x.co" {
		t.Fatalf("got %+v, want the id of the lost record to find the other", a.Results)
	}
	// The lost record's address still belongs to a contact; its unique value does not.
	h.want("POST", contacts, `{"properties":{"email":"two@x.co"}}`, 409, "")
	if _, a := h.ask("POST", contacts+"/batch/upsert", `{"inputs":[{"id":"k2","idProperty":"shop_customer_id","properties":{"city":"Bonn"}}]}`); !*a.Results[0].New {
		t.Errorf("got %+v, want a new record", a.Results[0])
	}
	h.want("POST", "/_sim/edit", `{"object":"contacts","id":"1","action":"erase"}`, 200, "")
	h.want("GET", contacts+"/1", "", 404, "")
	h.want("GET", contacts+"/1?archived=true", "", 404, "")
	if strings.Contains(h.objects(), "one@x.co") {
		t.Errorf("an erased record still shows: %s", h.objects())
	}
	// GDPR delete of an address that nobody has blocks it.
	if status, _ := h.call("POST", contacts+"/gdpr-delete", `{"objectId":"Gone@x.co","idProperty":"email"}`); status != 204 {
		t.Errorf("gdpr-delete: got %d, want 204", status)
	}
	if _, a := h.ask("POST", contacts, `{"properties":{"email":"gone@x.co"}}`); len(a.Errors) != 1 || a.Errors[0].Code != "INVALID_EMAIL" {
		t.Errorf("got %+v, want the address refused", a)
	}
	var actions []string
	for _, c := range h.sim.History("contacts") {
		actions = append(actions, c.ID+" "+c.Action)
	}
	want := []string{"1 create", "2 create", "3 create", "2 merge", "1 update", "4 create", "1 erase"}
	if diff := cmp.Diff(want, actions); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}
