package hubspot_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

const (
	contacts = "/crm/objects/2026-09/contacts"
	keyed    = `{"property":{"object":"contacts","name":"shop_customer_id","type":"string","hasUniqueValue":true}}
{"property":{"object":"contacts","name":"birthday","type":"date"}}
{"property":{"object":"contacts","name":"vip","type":"bool"}}
{"property":{"object":"contacts","name":"mrr","type":"number"}}
{"property":{"object":"contacts","name":"seen_at","type":"datetime"}}
{"property":{"object":"contacts","name":"interests","type":"enumeration","fieldType":"checkbox","options":["tea","coffee","cocoa"]}}
`
)

// clock is a time that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// hub is a simulator behind a real listener.
type hub struct {
	t     *testing.T
	sim   *simulator.Server
	url   string
	clock *clock
}

func start(t *testing.T, opts simulator.Options, app ...hubspot.Option) *hub {
	t.Helper()
	c := newClock()
	opts.Clock = c.Now
	if opts.Data == nil {
		opts.Data = strings.NewReader(keyed)
	}
	sim := simulator.New(hubspot.New(app...), opts)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return &hub{t, sim, srv.URL, c}
}

// call returns the status and body of a call with a token.
func (h *hub) call(method, path, body string) (int, string) {
	h.t.Helper()
	resp := h.raw(method, path, body, "Bearer pat-test")
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("%s %s: read answer: %v", method, path, err)
	}
	return resp.StatusCode, string(b)
}

func (h *hub) raw(method, path, body, authorization string) *http.Response {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// want calls and compares status and body; parts of the body that are random are
// replaced first. An empty wantBody is not compared.
func (h *hub) want(method, path, body string, status int, wantBody string) string {
	h.t.Helper()
	got, text := h.call(method, path, body)
	if got != status {
		h.t.Fatalf("%s %s %s\ngot status %d, want %d: %s", method, path, body, got, status, text)
	}
	text = correlation.ReplaceAllString(text, `"correlationId":"*"`)
	if wantBody != "" {
		if diff := cmp.Diff(pretty(h.t, wantBody), pretty(h.t, text)); diff != "" {
			h.t.Errorf("%s %s (-want +got):\n%s", method, path, diff)
		}
	}
	return text
}

var correlation = regexp.MustCompile(`"correlationId":"[0-9a-f-]{36}"`)

func pretty(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not JSON: %v: %s", err, text)
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// objects is GET /_sim/objects/contacts.
func (h *hub) objects() string {
	h.t.Helper()
	status, text := h.call("GET", "/_sim/objects/contacts", "")
	if status != 200 {
		h.t.Fatalf("objects: %d %s", status, text)
	}
	return text
}

func TestUpsertCreatesThenUpdates(t *testing.T) {
	h := start(t, simulator.Options{})
	body := `{"inputs":[{"id":"7","idProperty":"shop_customer_id","objectWriteTraceId":"a","properties":{"email":" Ada@Example.COM ","firstname":"Ada"}}]}`
	h.want("POST", contacts+"/batch/upsert", body, 200, `{"status":"COMPLETE","results":[{"id":"1","properties":{
		"createdate":"2026-03-04T05:06:07.000Z","email":"ada@example.com","firstname":"Ada","hs_object_id":"1",
		"lastmodifieddate":"2026-03-04T05:06:07.000Z","shop_customer_id":"7"},
		"createdAt":"2026-03-04T05:06:07.000Z","updatedAt":"2026-03-04T05:06:07.000Z","archived":false,"new":true,"objectWriteTraceId":"a"}],
		"startedAt":"2026-03-04T05:06:07.000Z","completedAt":"2026-03-04T05:06:07.000Z"}`)
	h.clock.add(time.Second)
	body = `{"inputs":[{"id":"7","idProperty":"shop_customer_id","properties":{"firstname":"","lastname":"Lovelace"}}]}`
	h.want("POST", "/crm/v3/objects/contacts/batch/upsert", body, 200, `{"status":"COMPLETE","results":[{"id":"1","properties":{
		"createdate":"2026-03-04T05:06:07.000Z","firstname":null,"hs_object_id":"1","lastname":"Lovelace",
		"lastmodifieddate":"2026-03-04T05:06:08.000Z","shop_customer_id":"7"},
		"createdAt":"2026-03-04T05:06:07.000Z","updatedAt":"2026-03-04T05:06:08.000Z","archived":false,"new":false}],
		"startedAt":"2026-03-04T05:06:08.000Z","completedAt":"2026-03-04T05:06:08.000Z"}`)
	want := `{"id":"1","archived":false,"properties":{"email":"ada@example.com","lastname":"Lovelace","shop_customer_id":"7"},"created_at":"2026-03-04T05:06:07.000Z","updated_at":"2026-03-04T05:06:08.000Z"}` + "\n"
	if diff := cmp.Diff(want, h.objects()); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	_, calls := h.call("GET", "/_sim/calls", "")
	want = `{"time":"2026-03-04T05:06:07Z","method":"POST","path":"/crm/objects/2026-09/contacts/batch/upsert","status":200,"records":1,"created":1,"refused":[]}
{"time":"2026-03-04T05:06:08Z","method":"POST","path":"/crm/v3/objects/contacts/batch/upsert","status":200,"records":1,"created":0,"refused":[]}
`
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	_, history := h.call("GET", "/_sim/history/contacts", "")
	want = `{"time":"2026-03-04T05:06:07Z","seq":1,"id":"1","action":"create","properties":{"email":"ada@example.com","firstname":"Ada","shop_customer_id":"7"}}
{"time":"2026-03-04T05:06:08Z","seq":2,"id":"1","action":"update","properties":{"firstname":null,"lastname":"Lovelace"}}
`
	if diff := cmp.Diff(want, history); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestBatchCreateReadArchive(t *testing.T) {
	h := start(t, simulator.Options{})
	h.want("POST", contacts+"/batch/create", `{"inputs":[{"properties":{"email":"a@x.co"}},{"properties":{"email":"b@x.co"}}]}`, 201, "")
	h.want("POST", contacts+"/batch/update", `{"inputs":[{"id":"2","properties":{"phone":"+1 555"}}]}`, 200, "")
	h.want("POST", contacts+"/batch/read", `{"idProperty":"email","properties":["phone","nonesuch"],"inputs":[{"id":"B@x.co"},{"id":"c@x.co"}]}`, 207,
		`{"status":"COMPLETE","results":[{"id":"2","properties":{"createdate":"2026-03-04T05:06:07.000Z","hs_object_id":"2","lastmodifieddate":"2026-03-04T05:06:07.000Z","phone":"+1 555"},
		"createdAt":"2026-03-04T05:06:07.000Z","updatedAt":"2026-03-04T05:06:07.000Z","archived":false}],
		"numErrors":1,"errors":[{"status":"error","category":"OBJECT_NOT_FOUND","message":"Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.","context":{"ids":["c@x.co"]}}],
		"startedAt":"2026-03-04T05:06:07.000Z","completedAt":"2026-03-04T05:06:07.000Z"}`)
	h.want("POST", contacts+"/batch/archive", `{"inputs":[{"id":"a@x.co"}]}`, 400, "")
	if status, body := h.call("POST", contacts+"/batch/archive", `{"inputs":[{"id":"1"},{"id":"99"}]}`); status != 204 || body != "" {
		t.Fatalf("archive: got %d %q, want 204 and nothing", status, body)
	}
	h.want("GET", contacts+"/1", "", 404, `{"status":"error","category":"OBJECT_NOT_FOUND","message":"Object not found.  objectId are usually numeric.","correlationId":"*"}`)
	h.want("GET", contacts+"/1?archived=true", "", 200, "")
	// The address is free again, for a new record; the old one cannot come back then.
	h.want("POST", contacts, `{"properties":{"email":"a@x.co"}}`, 201, "")
	h.want("POST", "/_sim/edit", `{"object":"contacts","id":"1","action":"restore"}`, 400, "")
	if got := strings.Count(h.objects(), "a@x.co"); got != 2 {
		t.Errorf("got %d records with the address, want the archived and the new one:\n%s", got, h.objects())
	}
}

// batchOf makes n upserts.
func batchOf(n int, from int) string {
	var b strings.Builder
	b.WriteString(`{"inputs":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"%d","idProperty":"shop_customer_id","objectWriteTraceId":"t%d","properties":{"shop_customer_id":"%d","email":"customer%d@example.com","firstname":"First%d","lastname":"Last%d","phone":"+49 30 %07d","city":"Berlin","country":"DE","jobtitle":"Engineer"}}`,
			from+i, i, from+i, from+i, from+i, from+i, from+i)
	}
	b.WriteString(`]}`)
	return b.String()
}

func BenchmarkUpsert(b *testing.B) {
	sim := simulator.New(hubspot.New(), simulator.Options{NoLimits: true, Data: strings.NewReader(keyed)})
	bodies := make([]string, 200)
	for i := range bodies {
		bodies[i] = batchOf(100, i*100)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		req := httptest.NewRequest("POST", contacts+"/batch/upsert", strings.NewReader(bodies[n%len(bodies)]))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer t")
		w := httptest.NewRecorder()
		sim.ServeHTTP(w, req)
		if w.Code != 200 {
			b.Fatalf("got %d: %s", w.Code, w.Body)
		}
		n++
	}
	b.ReportMetric(float64(n)*100/b.Elapsed().Seconds(), "records/s")
}
