package hubspot_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

const machine = `{"name":"machines","labels":{"singular":"Machine","plural":"Machines"},"primaryDisplayProperty":"serial","requiredProperties":["serial"],
	"searchableProperties":["serial"],"properties":[{"name":"serial","label":"Serial","type":"string","fieldType":"text","hasUniqueValue":true},
	{"name":"watts","label":"Watts","type":"number","fieldType":"number"}]}`

func TestCustomObjects(t *testing.T) {
	h := start(t, simulator.Options{NoLimits: true}, hubspot.SearchLag(0))
	if status, _ := h.ask("POST", "/crm/v3/objects/machines", `{"properties":{"serial":"A1"}}`); status != 400 {
		t.Fatalf("before its schema: status %d, want 400", status)
	}
	h.want("POST", "/crm-object-schemas/2026-03/schemas", machine, 201, "")
	h.want("POST", "/crm-object-schemas/v3/schemas", machine, 409, "")
	h.want("POST", "/crm-object-schemas/v3/schemas", `{"name":"9x","requiredProperties":["a"],"properties":[{"name":"a","type":"string"}]}`, 400, "")
	_, text := h.call("GET", "/crm-object-schemas/2026-09/schemas/machines", "")
	var s struct {
		TypeID    string   `json:"objectTypeId"`
		Qualified string   `json:"fullyQualifiedName"`
		Required  []string `json:"requiredProperties"`
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.TypeID, "2-") || s.Qualified != "p4242424_machines" || !slices.Equal(s.Required, []string{"serial"}) {
		t.Errorf("schema: %+v", s)
	}
	for i, name := range []string{"machines", s.TypeID, s.Qualified} {
		h.want("POST", "/crm/objects/2026-09/"+name, fmt.Sprintf(`{"properties":{"serial":"A%d","watts":"40"}}`, i), 201, "")
	}
	status, a := h.ask("POST", "/crm/objects/2026-09/machines/batch/upsert",
		`{"inputs":[{"id":"A1","idProperty":"serial","objectWriteTraceId":"1","properties":{"watts":"50"}},{"id":"B","idProperty":"serial","objectWriteTraceId":"2","properties":{}}]}`)
	if status != 200 || len(a.Results) != 2 {
		t.Errorf("upsert: %d, %d results", status, len(a.Results))
	}
	_, text = h.call("POST", "/crm/objects/2026-09/machines", `{"properties":{"watts":"1"}}`)
	if !strings.Contains(text, `"context":{"properties":["serial"]}`) || !strings.Contains(text, "Some required properties were not set") {
		t.Errorf("without a required property: %s", text)
	}
	h.want("PATCH", "/crm/objects/2026-09/machines/1", `{"properties":{"serial":""}}`, 400, "")
	h.want("POST", "/_sim/reset", "", 204, "")
	h.want("GET", "/crm-object-schemas/v3/schemas/machines", "", 404, "")
}

func TestDocumentedRequired(t *testing.T) {
	h := start(t, simulator.Options{NoLimits: true}, hubspot.DocumentedRequired())
	for object, bodies := range map[string][2]string{
		"contacts":  {`{"properties":{"phone":"1"}}`, `{"properties":{"lastname":"L"}}`},
		"companies": {`{"properties":{"city":"Rome"}}`, `{"properties":{"domain":"a.example"}}`},
		"deals":     {`{"properties":{"dealname":"D"}}`, `{"properties":{"dealname":"D","dealstage":"closedwon"}}`},
	} {
		h.want("POST", "/crm/v3/objects/"+object, bodies[0], 400, "")
		h.want("POST", "/crm/v3/objects/"+object, bodies[1], 201, "")
	}
}

func TestValidationRules(t *testing.T) {
	h := start(t, simulator.Options{NoLimits: true, Data: strings.NewReader(`
{"validation":{"object":"contacts","property":"zip","ruleType":"REGEX","ruleArguments":["[0-9]{5}"]}}
{"validation":{"object":"contacts","property":"zip","ruleType":"MAX_LENGTH","ruleArguments":["5"]}}
{"validation":{"object":"contacts","property":"total_revenue","ruleType":"MIN_NUMBER","ruleArguments":["0"]}}`)})
	for value, status := range map[string]int{"12345": 201, "1234": 400, "": 201} {
		h.want("POST", "/crm/v3/objects/contacts", fmt.Sprintf(`{"properties":{"zip":%q}}`, value), status, "")
	}
	_, text := h.call("POST", "/crm/v3/objects/contacts", `{"properties":{"total_revenue":"-1"}}`)
	if !strings.Contains(text, "VALIDATION_RULE_FAILED") {
		t.Errorf("got %s", text)
	}
}

// links returns the associations as /_sim/ shows them: "contacts/1 companies/1 279".
func (h *hub) links() []string {
	h.t.Helper()
	_, text := h.call("GET", "/_sim/objects/associations", "")
	var list []string
	for line := range strings.Lines(text) {
		var r struct {
			ID         string            `json:"id"`
			Properties map[string]string `json:"properties"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			h.t.Fatal(err)
		}
		list = append(list, r.ID+" "+r.Properties["types"])
	}
	return list
}

func TestAssociations(t *testing.T) {
	h := start(t, simulator.Options{NoLimits: true, Data: strings.NewReader(`
{"object":"contacts","properties":{"email":"a@example.com"}}
{"object":"contacts","properties":{"email":"b@example.com"}}
{"object":"companies","properties":{"name":"A"}}
{"object":"companies","properties":{"name":"B"}}
{"object":"deals","properties":{"dealname":"D"}}`)})
	wants := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, h.links()); diff != "" {
			t.Errorf("associations (-want +got):\n%s", diff)
		}
	}
	base := "/crm/associations/2026-09/contacts/companies/batch/"
	h.want("POST", base+"associate/default", `{"inputs":[{"from":{"id":"1"},"to":{"id":"1"}},{"from":{"id":"1"},"to":{"id":"1"}}]}`, 200, "")
	wants("companies/1 contacts/1 280", "contacts/1 companies/1 279")

	// A primary one takes the place of the one before; the unlabelled ones stay.
	for _, company := range []string{"1", "2"} {
		h.want("POST", base+"create", `{"inputs":[{"from":{"id":"1"},"to":{"id":"`+company+`"},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":1}]}]}`, 201, "")
	}
	wants("companies/1 contacts/1 280", "companies/2 contacts/1 2;280", "contacts/1 companies/1 279", "contacts/1 companies/2 1;279")

	status, text := h.call("POST", base+"create", `{"inputs":[{"from":{"id":"9"},"to":{"id":"1"},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":279}]}]}`)
	if status != 207 || !strings.Contains(text, `"fromObjectId":["9"]`) {
		t.Errorf("a record that is not there: %d %s", status, text)
	}
	h.want("POST", base+"create", `{"inputs":[{"from":{"id":"1"},"to":{"id":"1"}}]}`, 400, "")
	h.want("POST", base+"create", `{"inputs":[{"from":{"id":"1"},"to":{"id":"1"},"types":[{"associationCategory":"MINE","associationTypeId":279}]}]}`, 400, "")

	status, text = h.call("POST", base+"read", `{"inputs":[{"id":"1"},{"id":"2"}]}`)
	if status != 207 || !strings.Contains(text, `"to":[{"toObjectId":1,`) || !strings.Contains(text, "NO_ASSOCIATIONS_FOUND") {
		t.Errorf("read: %d %s", status, text)
	}
	h.want("POST", base+"labels/archive", `{"inputs":[{"from":{"id":"1"},"to":{"id":"2"},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":1}]}]}`, 200, "")
	wants("companies/1 contacts/1 280", "companies/2 contacts/1 280", "contacts/1 companies/1 279", "contacts/1 companies/2 279")

	// The unlabelled type takes the labels between two records with it.
	h.want("POST", base+"create", `{"inputs":[{"from":{"id":"1"},"to":{"id":"2"},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":1}]}]}`, 201, "")
	h.want("POST", base+"labels/archive", `{"inputs":[{"from":{"id":"1"},"to":{"id":"2"},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":279}]}]}`, 200, "")
	wants("companies/1 contacts/1 280", "contacts/1 companies/1 279")
	h.want("POST", base+"associate/default", `{"inputs":[{"from":{"id":"1"},"to":{"id":"2"}}]}`, 200, "")

	// v4 answers an archive with nothing.
	h.want("POST", "/crm/v4/associations/contacts/companies/batch/archive", `{"inputs":[{"from":{"id":"1"},"to":[{"id":"2"}]}]}`, 204, "")
	wants("companies/1 contacts/1 280", "contacts/1 companies/1 279")

	// A merge hands them on, an erasure ends them.
	h.want("POST", "/_sim/edit", `{"object":"contacts","id":"1","action":"merge","into":"2"}`, 200, "")
	wants("companies/1 contacts/2 280", "contacts/2 companies/1 279")
	h.want("POST", "/_sim/edit", `{"object":"contacts","id":"2","action":"erase"}`, 200, "")
	wants()
	var many strings.Builder
	for i := range 2001 {
		fmt.Fprintf(&many, `,{"from":{"id":"%d"},"to":{"id":"1"}}`, i)
	}
	h.want("POST", base+"associate/default", `{"inputs":[`+many.String()[1:]+`]}`, 400, "")
}

func TestOAuth(t *testing.T) {
	h := start(t, simulator.Options{NoLimits: true}, hubspot.OAuth("client", "secret", "refresh-0", true))
	post := func(form url.Values) (int, map[string]any) {
		t.Helper()
		resp, err := http.PostForm(h.url+"/oauth/2026-09/token", form)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"client"}, "client_secret": {"secret"}, "refresh_token": {"refresh-0"}}
	get := func(token string) int {
		t.Helper()
		resp := h.raw("GET", "/crm/v3/properties/contacts/email", "", "Bearer "+token)
		defer resp.Body.Close()
		return resp.StatusCode
	}
	status, first := post(form)
	if status != 200 || first["expires_in"] != 1800.0 || get(first["access_token"].(string)) != 200 {
		t.Fatalf("first: %d %v", status, first)
	}
	if get("access-9") != 401 {
		t.Error("an unknown token is accepted")
	}
	h.clock.add(31 * time.Minute)
	if get(first["access_token"].(string)) != 401 {
		t.Error("a token is accepted after half an hour")
	}
	if status, body := post(form); status != 400 || body["status"] != "BAD_REFRESH_TOKEN" {
		t.Errorf("a used refresh token: %d %v", status, body)
	}
	form.Set("refresh_token", first["refresh_token"].(string))
	if status, _ := post(form); status != 200 {
		t.Errorf("the new refresh token: %d", status)
	}
	form.Set("client_secret", "wrong")
	if status, _ := post(form); status != 400 {
		t.Errorf("a wrong secret: %d", status)
	}
}

// receiver notes webhook events, after refusing some requests.
type receiver struct {
	mu     sync.Mutex
	refuse int
	got    []map[string]any
	bad    []string
	more   chan struct{}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte("POST" + "http://" + req.Host + req.URL.Path + string(body) + req.Header.Get("X-HubSpot-Request-Timestamp")))
	if base64.StdEncoding.EncodeToString(mac.Sum(nil)) != req.Header.Get("X-HubSpot-Signature-v3") {
		r.bad = append(r.bad, "wrong signature")
	}
	if r.refuse > 0 {
		r.refuse--
		w.WriteHeader(503)
		return
	}
	var events []map[string]any
	if err := json.Unmarshal(body, &events); err != nil || len(events) > 100 {
		r.bad = append(r.bad, fmt.Sprintf("%d events, %v", len(events), err))
	}
	r.got = append(r.got, events...)
	select {
	case r.more <- struct{}{}:
	default:
	}
}

func TestWebhooks(t *testing.T) {
	h := start(t, simulator.Options{NoLimits: true})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = h.sim.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })

	r := &receiver{refuse: 2, more: make(chan struct{}, 1)}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	h.want("POST", "/crm/v3/objects/contacts", `{"properties":{"email":"before@example.com"}}`, 201, "")
	h.want("POST", "/_sim/webhooks", `{"url":"`+server.URL+`/hook","secret":"s3cret","retry":"5ms","shuffle":true,"twice":1,"seed":3,"attempts":4}`, 200, "")
	h.want("POST", "/crm/v3/objects/contacts", `{"properties":{"email":"a@example.com"}}`, 201, "")
	h.want("POST", "/_sim/edit", `{"object":"contacts","id":"2","properties":{"city":"Rome"}}`, 200, "")
	h.want("POST", "/_sim/edit", `{"object":"contacts","id":"2","action":"merge","into":"1"}`, 200, "")

	want := map[string]bool{
		"contact.creation 2 INTEGRATION": true, "contact.propertyChange 2 INTEGRATION": true,
		"contact.propertyChange 2 CRM_UI": true, "contact.merge 2 CRM_UI": true,
	}
	deadline := time.After(10 * time.Second)
	for {
		r.mu.Lock()
		seen, count := map[string]bool{}, map[float64]int{}
		for _, e := range r.got {
			seen[fmt.Sprintf("%v %v %v", e["subscriptionType"], e["objectId"], e["changeSource"])] = true
			count[e["eventId"].(float64)]++
			if e["attemptNumber"].(float64) > 4 {
				t.Errorf("attempt %v", e["attemptNumber"])
			}
		}
		bad := r.bad
		r.mu.Unlock()
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		all := true
		for name := range want {
			all = all && seen[name]
		}
		twice := false
		for _, n := range count {
			twice = twice || n > 1
		}
		if all && twice {
			break
		}
		select {
		case <-r.more:
		case <-deadline:
			t.Fatalf("got %v, twice %v; want %v", seen, twice, want)
		}
	}
	h.want("DELETE", "/_sim/webhooks", "", 204, "")
	h.want("POST", "/_sim/webhooks", `{"url":"ftp://x"}`, 400, "")
}
