package simulator_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

const (
	contacts = "/crm/objects/2026-09/contacts"
	keyed    = `{"property":{"object":"contacts","name":"shop_customer_id","type":"string","hasUniqueValue":true}}`
)

func upsert(id, firstname string) string {
	return fmt.Sprintf(`{"inputs":[{"id":%q,"idProperty":"shop_customer_id","properties":{"firstname":%q}}]}`, id, firstname)
}

type client struct {
	t   *testing.T
	sim *simulator.Server
	url string
	*http.Client
}

func start(t *testing.T, opts simulator.Options) *client {
	t.Helper()
	if opts.Data == nil {
		opts.Data = strings.NewReader(keyed)
	}
	sim := simulator.New(hubspot.New(), opts)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return &client{t, sim, srv.URL, srv.Client()}
}

// do returns the status and body of a call, or the error of one that was cut.
func (c *client) do(method, path, body string) (int, string, error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer x")
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (c *client) ok(method, path, body string, status int) string {
	c.t.Helper()
	got, text, err := c.do(method, path, body)
	if err != nil || got != status {
		c.t.Fatalf("%s %s %s: got %d, %v: %s\nwant %d", method, path, body, got, err, text, status)
	}
	return text
}

func (c *client) records() int {
	c.t.Helper()
	all, err := c.sim.Objects("contacts")
	if err != nil {
		c.t.Fatal(err)
	}
	return len(all)
}

func TestStatusFault(t *testing.T) {
	c := start(t, simulator.Options{})
	c.ok("POST", "/_sim/faults", `{"kind":"status","status":500,"calls":3}`, 200)
	for i := range 3 {
		if status, body, err := c.do("POST", contacts+"/batch/upsert", upsert("1", "a")); err != nil || status != 500 || !json.Valid([]byte(body)) {
			t.Fatalf("call %d: got %d %s, %v; want 500", i, status, body, err)
		}
	}
	if n := c.records(); n != 0 {
		t.Errorf("got %d records, want none: a status fault does nothing", n)
	}
	c.ok("POST", contacts+"/batch/upsert", upsert("1", "a"), 200)
}

func TestFaultRetryAfter(t *testing.T) {
	c := start(t, simulator.Options{})
	c.ok("POST", "/_sim/faults", `{"kind":"status","status":429,"retry_after":"1500ms","calls":1}`, 200)
	req, err := http.NewRequestWithContext(t.Context(), "GET", c.url+contacts, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer x")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct{ PolicyName string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "2" || body.PolicyName != "TEN_SECONDLY_ROLLING" {
		t.Errorf("got %d, Retry-After %q, policy %q; want 429, 2, TEN_SECONDLY_ROLLING", resp.StatusCode, resp.Header.Get("Retry-After"), body.PolicyName)
	}
}

func TestStatusAfterCommit(t *testing.T) {
	c := start(t, simulator.Options{})
	c.ok("POST", "/_sim/faults", `{"kind":"status","status":502,"after_commit":true,"calls":1}`, 200)
	c.ok("POST", contacts+"/batch/upsert", upsert("1", "a"), 502)
	if n := c.records(); n != 1 {
		t.Errorf("got %d records, want 1", n)
	}
}

func TestFaultShareIsSeeded(t *testing.T) {
	pattern := func() string {
		c := start(t, simulator.Options{NoLimits: true})
		c.ok("POST", "/_sim/faults", `{"kind":"status","status":503,"share":0.3,"seed":7}`, 200)
		var b strings.Builder
		for range 200 {
			status, _, err := c.do("GET", contacts, "")
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString(map[int]string{200: ".", 503: "x"}[status])
		}
		return b.String()
	}
	first := pattern()
	if n := strings.Count(first, "x"); n < 40 || n > 80 || len(first) != 200 {
		t.Errorf("got %d faults in %d calls, want about 60 in 200", n, len(first))
	}
	if diff := cmp.Diff(first, pattern()); diff != "" {
		t.Errorf("same seed, other faults:\n%s", diff)
	}
}

func TestDropFaults(t *testing.T) {
	c := start(t, simulator.Options{})
	c.ok("POST", "/_sim/faults", `{"kind":"drop","calls":1,"method":"POST","path":"/crm/objects"}`, 200)
	c.ok("POST", "/_sim/faults", `{"kind":"drop_after_commit","calls":1}`, 200)
	c.ok("GET", contacts, "", 200) // another method; and nothing to commit
	c.ok("GET", "/crm/v3/objects/contacts", "", 200)
	if _, _, err := c.do("POST", contacts+"/batch/upsert", upsert("1", "a")); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, want EOF", err)
	}
	if n := c.records(); n != 0 {
		t.Errorf("after drop: got %d records, want none", n)
	}
	if _, _, err := c.do("POST", contacts+"/batch/upsert", upsert("1", "a")); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, want EOF", err)
	}
	if n := c.records(); n != 1 {
		t.Errorf("after drop_after_commit: got %d records, want 1", n)
	}
	if text := c.ok("POST", contacts+"/batch/upsert", upsert("1", "a"), 200); !strings.Contains(text, `"new":false`) {
		t.Errorf("got %s, want the record there already", text)
	}
	var got []string
	for _, call := range c.sim.Calls() {
		got = append(got, fmt.Sprint(call.Method, " ", call.Status, " ", call.Records, " ", call.Created))
	}
	want := []string{"GET 200 0 0", "GET 200 0 0", "POST 0 0 0", "POST 0 1 1", "POST 200 1 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestGarbageFault: three forms in turn, none of them JSON; each call takes effect.
func TestGarbageFault(t *testing.T) {
	c := start(t, simulator.Options{})
	c.ok("POST", "/_sim/faults", `{"kind":"garbage","calls":6}`, 200)
	cut := 0
	for i := range 6 {
		status, body, err := c.do("POST", contacts+"/batch/upsert", upsert(fmt.Sprint(i), "a"))
		if errors.Is(err, io.ErrUnexpectedEOF) {
			cut++
		} else if err != nil {
			t.Fatal(err)
		}
		if status != 200 || json.Valid([]byte(body)) {
			t.Errorf("call %d: got %d %q, want 200 and no JSON", i, status, body)
		}
	}
	if cut != 2 || c.records() != 6 {
		t.Errorf("got %d answers cut and %d records, want 2 and 6", cut, c.records())
	}
	c.ok("GET", contacts, "", 200)
}

// TestDelayFault and the latency run in a bubble of their own time.
func TestDelayFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := simulator.New(hubspot.New(), simulator.Options{Latency: 20 * time.Millisecond})
		if err := sim.AddFault(simulator.Fault{Kind: "delay", Delay: simulator.Duration(3 * time.Second), Calls: 1}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []time.Duration{3020 * time.Millisecond, 20 * time.Millisecond} {
			r := httptest.NewRequest("POST", contacts, strings.NewReader(`{"properties":{"firstname":"a"}}`))
			r.Header.Set("Authorization", "Bearer x")
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			begin := time.Now()
			done := make(chan struct{})
			go func() { sim.ServeHTTP(w, r); close(done) }()
			synctest.Wait()
			calls := sim.Calls()
			if last := calls[len(calls)-1]; !last.Time.Equal(begin) || last.Created != 1 {
				t.Errorf("got %+v, want the record made at once", last)
			}
			<-done
			if got := time.Since(begin); got != want || w.Code != 201 {
				t.Errorf("got %d after %v, want 201 after %v", w.Code, got, want)
			}
		}
	})
}

func TestFaultsAreCheckedListedAndCleared(t *testing.T) {
	c := start(t, simulator.Options{})
	for _, bad := range []string{
		`{"kind":"explode"}`, `{"kind":"status"}`, `{"kind":"status","status":42}`, `{"kind":"delay"}`,
		`{"kind":"drop","share":1.5}`, `{"kind":"drop","calls":-1}`, `{"kind":"delay","delay":3}`, `{"kind":"drop","seeds":1}`, `[`,
	} {
		c.ok("POST", "/_sim/faults", bad, 400)
	}
	c.ok("POST", "/_sim/faults", `{"kind":"status","status":500,"calls":3}`, 200)
	c.ok("POST", "/_sim/faults", `{"kind":"drop","method":"DELETE"}`, 200)
	c.ok("GET", contacts, "", 500)
	want := `[{"kind":"status","status":500,"calls":2},{"kind":"drop","method":"DELETE"}]` + "\n"
	got := c.ok("GET", "/_sim/faults", "", 200)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	c.ok("DELETE", "/_sim/faults", "", 204)
	c.ok("GET", contacts, "", 200)
}

func TestResetGoesBackToTheData(t *testing.T) {
	data := keyed + "\n" + `{"object":"contacts","id":"41","properties":{"email":"a@x.co","firstname":null},"created_at":"2020-01-02T03:04:05Z","updated_at":"2021-01-02T03:04:05Z"}` + "\n\n"
	c := start(t, simulator.Options{Data: strings.NewReader(data), Limits: map[string]int{hubspot.TenSecondly: 2}})
	want := `{"id":"41","archived":false,"properties":{"email":"a@x.co"},"created_at":"2020-01-02T03:04:05.000Z","updated_at":"2021-01-02T03:04:05.000Z"}` + "\n"
	for range 2 {
		if diff := cmp.Diff(want, c.ok("GET", "/_sim/objects/contacts", "", 200)); diff != "" {
			t.Fatalf("objects (-want +got):\n%s", diff)
		}
		if text := c.ok("POST", contacts+"/batch/upsert", upsert("1", "a"), 200); !strings.Contains(text, `"id":"42"`) {
			t.Errorf("got %s, want id 42", text)
		}
		c.ok("DELETE", contacts+"/41", "", 204)
		c.ok("POST", "/_sim/faults", `{"kind":"drop"}`, 200)
		c.ok("POST", "/_sim/reset", "", 204)
		if calls := c.ok("GET", "/_sim/calls", "", 200); calls != "" {
			t.Errorf("calls after reset: %s", calls)
		}
	}
}

func TestLoadNamesTheLine(t *testing.T) {
	for _, tt := range []struct{ data, want string }{
		{keyed + "\n{", "line 2"},
		{`{"object":"gadgets"}`, "line 1: object \"gadgets\""},
		{`{"object":"contacts","properties":{"nonesuch":"1"}}`, "PROPERTY_DOESNT_EXIST"},
		{`{"object":"contacts","id":"x"}`, `id "x"`},
		{`{"object":"contacts","id":"1"}` + "\n" + `{"object":"contacts","id":"1"}`, "line 2: id 1 is there"},
		{`{"property":{"object":"contacts","name":"email","type":"string"}}`, "already exists"},
		{`{"property":{"object":"contacts","name":"x","type":"blob"}}`, `type "blob"`},
	} {
		sim := simulator.New(hubspot.New(), simulator.Options{})
		if err := sim.Load(strings.NewReader(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want ...%s...", tt.data, err, tt.want)
		}
	}
}

func TestEdit(t *testing.T) {
	c := start(t, simulator.Options{Token: "secret"})
	if text := c.ok("POST", "/_sim/edit", `{"object":"contacts","properties":{"email":"A@x.co","phone":"1"}}`, 200); !strings.Contains(text, `"id":"1"`) {
		t.Fatalf("got %s", text)
	}
	c.ok("POST", "/_sim/edit", `{"object":"contacts","id":"1","properties":{"phone":null,"city":"Bonn"}}`, 200)
	c.ok("POST", "/_sim/edit", `{"object":"contacts","id":"1","action":"archive"}`, 200)
	if all, err := c.sim.Objects("contacts"); err != nil || !all[0].Archived {
		t.Errorf("got %+v, %v; want it archived", all, err)
	}
	c.ok("POST", "/_sim/edit", `{"object":"contacts","id":"1","action":"restore"}`, 200)
	c.ok("POST", "/_sim/edit", `{"object":"contacts","id":"9"}`, 404)
	c.ok("POST", "/_sim/edit", `{"object":"gadgets","id":"1"}`, 404)
	c.ok("POST", "/_sim/edit", `{"object":"contacts","id":"1","action":"paint"}`, 400)
	c.ok("POST", "/_sim/edit", `{"object":"contacts","id":"1","properties":{"nonesuch":"1"}}`, 400)
	c.ok("POST", "/_sim/edit", `{"object":"contacts","id":"1","into":"2","action":"merge"}`, 404)
	want := `"id":"1","archived":false,"properties":{"city":"Bonn","email":"a@x.co"}`
	if got := c.ok("GET", "/_sim/objects/contacts", "", 200); !strings.Contains(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	c.ok("GET", "/_sim/objects/gadgets", "", 404)
	c.ok("GET", "/_sim/history/gadgets", "", 404)
	if calls := c.sim.Calls(); len(calls) != 0 {
		t.Errorf("got %d vendor calls, want none", len(calls))
	}
}

func TestCallsSinceACursor(t *testing.T) {
	c := start(t, simulator.Options{KeepCalls: 3})
	for i := range 5 {
		c.ok("GET", fmt.Sprintf("%s/%d", contacts, i), "", 404)
	}
	get := func(since string) (paths []string, cursor string) {
		resp, err := c.Get(c.url + "/_sim/calls?since=" + since)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			var call struct{ Path string }
			if err := json.Unmarshal(lines.Bytes(), &call); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, strings.TrimPrefix(call.Path, contacts))
		}
		return paths, resp.Header.Get("X-Sim-Cursor")
	}
	paths, cursor := get("")
	if diff := cmp.Diff([]string{"/2", "/3", "/4"}, paths); diff != "" || cursor != "5" {
		t.Errorf("cursor %s; the last 3 kept (-want +got):\n%s", cursor, diff)
	}
	c.ok("GET", contacts+"/5", "", 404)
	if paths, _ = get(cursor); len(paths) != 1 || paths[0] != "/5" {
		t.Errorf("since %s: got %v, want /5 alone", cursor, paths)
	}
	c.ok("GET", "/_sim/calls?since=x", "", 400)
}

// TestParallelWriters has many callers upsert the same keys, under faults: each key is
// one record, and the history tells the order of its changes.
func TestParallelWriters(t *testing.T) {
	c := start(t, simulator.Options{NoLimits: true})
	c.ok("POST", "/_sim/faults", `{"kind":"status","status":500,"share":0.1,"seed":1}`, 200)
	c.ok("POST", "/_sim/faults", `{"kind":"drop_after_commit","share":0.1,"seed":2}`, 200)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for n := range 50 {
				body := upsert(fmt.Sprint(n%10), fmt.Sprint(worker, "-", n))
				if _, _, err := c.do("POST", contacts+"/batch/upsert", body); err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("upsert: %v", err)
				}
				if n%10 == 0 {
					if _, _, err := c.do("GET", "/_sim/history/contacts", ""); err != nil {
						t.Errorf("history: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	last := map[string]string{}
	created := map[string]int{}
	for _, change := range c.sim.History("contacts") {
		if change.Action == "create" {
			created[change.ID]++
		}
		for _, f := range change.Fields {
			if f.Name == "firstname" {
				last[change.ID] = f.Value
			}
		}
	}
	all, err := c.sim.Objects("contacts")
	if err != nil || len(all) != 10 {
		t.Fatalf("got %d records, %v; want 10", len(all), err)
	}
	for _, r := range all {
		for _, f := range r.Fields {
			if f.Name == "firstname" && f.Value != last[r.ID] || created[r.ID] != 1 {
				t.Errorf("record %s: %+v, history ends with %q and %d creates", r.ID, r.Fields, last[r.ID], created[r.ID])
			}
		}
	}
}

func TestTooLargeBody(t *testing.T) {
	c := start(t, simulator.Options{})
	big := bytes.Repeat([]byte(" "), 32<<20+1)
	c.ok("POST", contacts, string(big), 413)
}

func TestUnknownPathsOfOurs(t *testing.T) {
	c := start(t, simulator.Options{})
	c.ok("GET", "/_sim/nonesuch", "", 404)
	if text := c.ok("GET", "/_sim/", "", 200); !strings.Contains(text, "/_sim/faults") {
		t.Errorf("got %s", text)
	}
}
