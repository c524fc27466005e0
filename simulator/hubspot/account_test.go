package hubspot_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

func TestProperties(t *testing.T) {
	h := seeded(t)
	_, text := h.call("GET", "/crm/v3/properties/contacts/lifecyclestage", "")
	var stage struct {
		Type    string
		Options []struct{ Value string }
	}
	if err := json.Unmarshal([]byte(text), &stage); err != nil || stage.Type != "enumeration" || len(stage.Options) != 8 {
		t.Errorf("lifecyclestage: %v, got %s", err, text)
	}
	definition := func(name, more string) string {
		return `{"name":"` + name + `","label":"L","groupName":"contactinformation","type":"string","fieldType":"text"` + more + `}`
	}
	base := "/crm/properties/2026-09/contacts"
	h.want("POST", base, definition("score", ""), 201, "")
	h.want("GET", base+"/score", "", 200, "")
	h.want("GET", base+"/nonesuch", "", 404, "")
	h.want("POST", base, definition("score", ""), 409, "")
	h.want("POST", base, definition("Score", ""), 400, "")
	h.want("POST", base, definition("color", `,"type":"enumeration","fieldType":"select"`), 400, "")
	h.want("POST", base, definition("color", `,"type":"enumeration","fieldType":"text"`), 400, "")
	h.want("POST", base, definition("color", `,"type":"enumeration","fieldType":"select","options":[{"label":"Red","value":"red"}]`), 201, "")
	h.want("POST", contacts, `{"properties":{"color":"red","score":"x"}}`, 201, "")
	h.want("PATCH", base+"/color", `{"options":[{"label":"Blue","value":"blue"}]}`, 200, "")
	h.want("POST", contacts, `{"properties":{"color":"red"}}`, 400, "")
	// Ten properties with unique values, and shop_customer_id is one.
	for i := range 9 {
		h.want("POST", base, definition(fmt.Sprintf("key%d", i), `,"hasUniqueValue":true`), 201, "")
	}
	h.want("POST", base, definition("key9", `,"hasUniqueValue":true`), 400, "")
	h.want("POST", contacts+"/batch/upsert", `{"inputs":[{"id":"z","idProperty":"key8","properties":{}}]}`, 200, "")
	if status, _ := h.call("DELETE", base+"/score", ""); status != 204 {
		t.Errorf("delete property: got %d, want 204", status)
	}
	h.want("DELETE", base+"/email", "", 400, "")
	h.want("POST", contacts, `{"properties":{"score":"x"}}`, 400, "")
	if err := h.sim.Reset(); err != nil {
		t.Fatal(err)
	}
	h.want("GET", base+"/color", "", 404, "")
	h.want("GET", base+"/shop_customer_id", "", 200, "")
}

func TestCredentials(t *testing.T) {
	h := start(t, simulator.Options{Token: "pat-right"}, hubspot.ExpiredTokens("old"))
	for _, tt := range []struct {
		authorization string
		status        int
		category      string
	}{
		{"", 401, "INVALID_AUTHENTICATION"},
		{"Basic cGF0", 401, "INVALID_AUTHENTICATION"},
		{"Bearer wrong", 401, "INVALID_AUTHENTICATION"},
		{"Bearer old", 401, "EXPIRED_AUTHENTICATION"},
		{"Bearer pat-right", 200, ""},
	} {
		resp := h.raw("GET", contacts, "", tt.authorization)
		var a answer
		err := json.NewDecoder(resp.Body).Decode(&a)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || a.Category != tt.category {
			t.Errorf("%q: got %d %s, %v; want %d %s", tt.authorization, resp.StatusCode, a.Category, err, tt.status, tt.category)
		}
	}
}

func TestContentType(t *testing.T) {
	h := start(t, simulator.Options{})
	req, err := http.NewRequestWithContext(t.Context(), "POST", h.url+contacts, strings.NewReader(`{"properties":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer x")
	req.Header.Set("Content-Type", "text/plain")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 415 {
		t.Errorf("got %d, want 415", resp.StatusCode)
	}
}

func TestLimits(t *testing.T) {
	h := start(t, simulator.Options{Limits: map[string]int{hubspot.TenSecondly: 3, hubspot.Daily: 5}})
	get := func() *http.Response {
		resp := h.raw("GET", contacts, "", "Bearer x")
		resp.Body.Close()
		return resp
	}
	for i := range 3 {
		resp := get()
		if got, want := resp.Header.Get("X-HubSpot-RateLimit-Remaining"), fmt.Sprint(2-i); resp.StatusCode != 200 || got != want {
			t.Fatalf("call %d: got %d with %s remaining, want 200 with %s", i, resp.StatusCode, got, want)
		}
		h.clock.add(time.Second)
	}
	status, a := h.ask("GET", contacts, "")
	if status != 429 || a.PolicyName != "TEN_SECONDLY_ROLLING" {
		t.Fatalf("got %d %s, want 429 TEN_SECONDLY_ROLLING", status, a.PolicyName)
	}
	h.clock.add(6999 * time.Millisecond) // the first call is 9.999 s ago
	if status, _ = h.ask("GET", contacts, ""); status != 429 {
		t.Errorf("got %d before the window rolled on, want 429", status)
	}
	h.clock.add(time.Millisecond)
	resp := get()
	if resp.StatusCode != 200 || resp.Header.Get("X-HubSpot-RateLimit-Max") != "3" || resp.Header.Get("X-HubSpot-RateLimit-Interval-Milliseconds") != "10000" ||
		resp.Header.Get("X-HubSpot-RateLimit-Daily") != "5" || resp.Header.Get("X-HubSpot-RateLimit-Daily-Remaining") != "1" {
		t.Errorf("got %d with %v", resp.StatusCode, resp.Header)
	}
	h.clock.add(time.Minute)
	get()
	h.clock.add(time.Minute)
	if status, a = h.ask("GET", contacts, ""); status != 429 || a.PolicyName != "DAILY" {
		t.Errorf("got %d %s, want 429 DAILY", status, a.PolicyName)
	}
	h.clock.add(19 * time.Hour) // past midnight UTC
	if resp := get(); resp.StatusCode != 200 {
		t.Errorf("next day: got %d, want 200", resp.StatusCode)
	}
	// Search has a limit of its own and tells nothing of it.
	for i := range 5 {
		resp := h.raw("POST", contacts+"/search", `{}`, "Bearer x")
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get("X-HubSpot-RateLimit-Max") != "" {
			t.Errorf("search %d: got %d %v", i, resp.StatusCode, resp.Header)
		}
	}
	if status, a = h.ask("POST", contacts+"/search", `{}`); status != 429 || a.PolicyName != "SECONDLY" {
		t.Errorf("sixth search: got %d %s, want 429 SECONDLY", status, a.PolicyName)
	}
}

// TestFailuresInTheVendorsForm: what an injected status looks like ([errors]).
func TestFailuresInTheVendorsForm(t *testing.T) {
	h := start(t, simulator.Options{})
	for status, category := range map[int]string{
		401: "EXPIRED_AUTHENTICATION", 403: "MISSING_SCOPES", 404: "OBJECT_NOT_FOUND", 423: "LOCKED", 429: "RATE_LIMITS", 477: "MIGRATION_IN_PROGRESS",
		500: "INTERNAL_ERROR", 502: "INTERNAL_ERROR", 503: "INTERNAL_ERROR", 504: "INTERNAL_ERROR", 524: "INTERNAL_ERROR",
	} {
		if err := h.sim.AddFault(simulator.Fault{Kind: "status", Status: status, Calls: 1}); err != nil {
			t.Fatal(err)
		}
		if got, a := h.ask("POST", contacts+"/batch/upsert", batchOf(1, 1)); got != status || a.Category != category || a.Status != "error" {
			t.Errorf("%d: got %d %+v, want category %s", status, got, a, category)
		}
	}
}
