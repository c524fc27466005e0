package hubspot_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

func (h *hub) found(body string) []string {
	h.t.Helper()
	status, a := h.ask("POST", contacts+"/search", body)
	if status != 200 {
		h.t.Fatalf("search %s: %d %s", body, status, a.Message)
	}
	ids := []string{}
	for _, r := range a.Results {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestSearchFilters(t *testing.T) {
	data := keyed + `{"object":"contacts","properties":{"email":"ada@x.co","firstname":"Ada","mrr":"9","birthday":"1815-12-10","lifecyclestage":"lead"}}
{"object":"contacts","properties":{"email":"bob@y.co","firstname":"Bob","mrr":"10","lifecyclestage":"customer"}}
{"object":"contacts","properties":{"email":"cy@x.co","mrr":"100","birthday":"2000-01-01"}}
{"object":"contacts","archived":true,"properties":{"email":"dot@x.co","mrr":"5"}}
`
	h := start(t, simulator.Options{NoLimits: true, Data: strings.NewReader(data)})
	f := func(filters string) string { return `{"filterGroups":[{"filters":[` + filters + `]}]}` }
	for _, tt := range []struct {
		body string
		want []string
	}{
		{`{}`, []string{"1", "2", "3"}},
		{f(`{"propertyName":"email","operator":"EQ","value":"ADA@x.co"}`), []string{"1"}},
		{f(`{"propertyName":"hs_object_id","operator":"EQ","value":"3"}`), []string{"3"}},
		{f(`{"propertyName":"email","operator":"IN","values":["ada@x.co","cy@x.co","dot@x.co"]}`), []string{"1", "3"}},
		{f(`{"propertyName":"email","operator":"NOT_IN","values":["ada@x.co"]}`), []string{"2", "3"}},
		{f(`{"propertyName":"email","operator":"NEQ","value":"ada@x.co"}`), []string{"2", "3"}},
		{f(`{"propertyName":"mrr","operator":"GT","value":"9"}`), []string{"2", "3"}},
		{f(`{"propertyName":"mrr","operator":"GTE","value":"9.0"}`), []string{"1", "2", "3"}},
		{f(`{"propertyName":"mrr","operator":"LT","value":"10"}`), []string{"1"}},
		{f(`{"propertyName":"mrr","operator":"BETWEEN","value":"10","highValue":"100"}`), []string{"2", "3"}},
		{f(`{"propertyName":"birthday","operator":"LTE","value":"1900-01-01"}`), []string{"1"}},
		{f(`{"propertyName":"birthday","operator":"GTE","value":"946684800000"}`), []string{"3"}},
		{f(`{"propertyName":"firstname","operator":"HAS_PROPERTY"}`), []string{"1", "2"}},
		{f(`{"propertyName":"firstname","operator":"NOT_HAS_PROPERTY"}`), []string{"3"}},
		{f(`{"propertyName":"email","operator":"CONTAINS_TOKEN","value":"*x.co"}`), []string{"1", "3"}},
		{f(`{"propertyName":"email","operator":"NOT_CONTAINS_TOKEN","value":"bob"}`), []string{"1", "3"}},
		{f(`{"propertyName":"mrr","operator":"GT","value":"9"},{"propertyName":"firstname","operator":"HAS_PROPERTY"}`), []string{"2"}},
		{`{"filterGroups":[{"filters":[{"propertyName":"firstname","operator":"EQ","value":"ada"}]},{"filters":[{"propertyName":"mrr","operator":"EQ","value":"100"}]}]}`, []string{"1", "3"}},
		{`{"sorts":[{"propertyName":"mrr","direction":"DESCENDING"}]}`, []string{"3", "2", "1"}},
		{`{"sorts":["-email"]}`, []string{"3", "2", "1"}},
		{`{"query":"BOB"}`, []string{"2"}},
		{`{"limit":2}`, []string{"1", "2"}},
		{`{"limit":2,"after":"2"}`, []string{"3"}},
	} {
		if diff := cmp.Diff(tt.want, h.found(tt.body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.body, diff)
		}
	}
	many := strings.TrimSuffix(strings.Repeat(`{"propertyName":"email","operator":"HAS_PROPERTY"},`, 7), ",")
	groups := strings.TrimSuffix(strings.Repeat(`{"filters":[]},`, 6), ",")
	for _, body := range []string{
		f(`{"propertyName":"nonesuch","operator":"EQ","value":"1"}`),
		f(`{"propertyName":"email","operator":"LIKE","value":"1"}`),
		f(`{"propertyName":"email","operator":"EQ"}`),
		f(`{"propertyName":"email","operator":"IN","value":"x"}`),
		f(`{"propertyName":"email","operator":"NOT_HAS_PROPERTY","value":""}`),
		f(many),
		`{"filterGroups":[` + groups + `]}`,
		`{"limit":201}`,
		`{"limit":200,"after":"9801"}`,
		`{"sorts":["email","mrr"]}`,
	} {
		if status, a := h.ask("POST", contacts+"/search", body); status != 400 {
			t.Errorf("%s: got %d %+v, want 400", body, status, a)
		}
	}
}

func TestSearchLag(t *testing.T) {
	h := start(t, simulator.Options{NoLimits: true}, hubspot.SearchLag(10*time.Second))
	by := func(email string) string {
		return fmt.Sprintf(`{"filterGroups":[{"filters":[{"propertyName":"email","operator":"EQ","value":%q}]}]}`, email)
	}
	check := func(when, email string, want ...string) {
		t.Helper()
		if want == nil {
			want = []string{}
		}
		if diff := cmp.Diff(want, h.found(by(email))); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", when, email, diff)
		}
	}
	h.want("POST", contacts, `{"properties":{"email":"a@x.co"}}`, 201, "")
	check("at once", "a@x.co")
	h.clock.add(10 * time.Second)
	check("after the lag", "a@x.co", "1")
	h.want("PATCH", contacts+"/1", `{"properties":{"email":"b@x.co"}}`, 200, "")
	h.clock.add(time.Second)
	h.want("PATCH", contacts+"/1", `{"properties":{"email":"c@x.co"}}`, 200, "")
	check("changed twice", "a@x.co", "1")
	check("changed twice", "c@x.co")
	h.clock.add(9 * time.Second)
	check("first change shows", "b@x.co", "1")
	h.clock.add(time.Second)
	check("second change shows", "c@x.co", "1")
	h.call("DELETE", contacts+"/1", "")
	check("archived just now", "c@x.co", "1")
	h.clock.add(10 * time.Second)
	check("archived", "c@x.co")
}
