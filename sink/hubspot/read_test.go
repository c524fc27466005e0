package hubspot_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstock-cdc/penstock/simulator"
	lookalike "github.com/penstock-cdc/penstock/simulator/hubspot"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/hubspot"
	"github.com/penstock-cdc/penstock/sink/rest"
)

const people = properties + `
{"object":"contacts","id":"1","properties":{"email":"a@example.com","shop_id":"s1","city":"Ulm"}}
{"object":"contacts","id":"2","properties":{"email":"b@example.com","shop_id":"s2","city":"Bonn"}}
{"object":"contacts","id":"3","archived":true,"properties":{"email":"c@example.com","shop_id":"s3"}}
{"object":"companies","id":"4","properties":{"domain":"example.com","name":"E"}}
{"object":"companies","id":"5","properties":{"domain":"example.com","name":"F"}}
`

func TestRead(t *testing.T) {
	a := open(t, "", simulator.Options{Data: strings.NewReader(people)}, lookalike.SearchLag(0))
	reader := a.app.(sink.Reader)
	tests := []struct {
		object, field string
		values        []string
		fields        []string
		want          []sink.Record
	}{
		{"contacts", "email", []string{"A@example.com", "nobody@example.com", "c@example.com"}, []string{"city"}, []sink.Record{
			{ID: "1", Fields: map[string]string{"city": "Ulm", "email": "a@example.com"}},
		}},
		{"contacts", "shop_id", []string{"s2", "s2", ""}, []string{"shop_id", "jobtitle"}, []sink.Record{
			{ID: "2", Fields: map[string]string{"shop_id": "s2", "jobtitle": ""}},
		}},
		{"contacts", "id", []string{"1", "3", "99"}, []string{"email"}, []sink.Record{
			{ID: "1", Fields: map[string]string{"email": "a@example.com"}},
			{ID: "3", Archived: true, Fields: map[string]string{"email": "c@example.com"}},
		}},
		{"contacts", "id", []string{"2"}, nil, []sink.Record{{ID: "2", Fields: map[string]string{}}}},
		{"contacts", "id", nil, nil, nil},
		{"companies", "domain", []string{"example.com", "other.com"}, []string{"name"}, []sink.Record{
			{ID: "4", Fields: map[string]string{"domain": "example.com", "name": "E"}},
			{ID: "5", Fields: map[string]string{"domain": "example.com", "name": "F"}},
		}},
	}
	for _, test := range tests {
		got, err := reader.Read(t.Context(), test.object, test.field, test.values, test.fields)
		if err != nil {
			t.Errorf("read %s by %s: %v", test.object, test.field, err)
			continue
		}
		for _, r := range got {
			if r.Updated.IsZero() {
				t.Errorf("record %s has no time", r.ID)
			}
		}
		slices.SortFunc(got, func(x, y sink.Record) int { return strings.Compare(x.ID, y.ID) })
		if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(sink.Record{}, "Updated")); diff != "" {
			t.Errorf("read %s by %s (-want +got):\n%s", test.object, test.field, diff)
		}
	}
	if _, err := reader.Read(t.Context(), "contacts", "id", slices.Repeat([]string{"1"}, 100), nil); err != nil {
		t.Errorf("a value named a hundred times: %v", err)
	}
	if _, err := reader.Read(t.Context(), "contacts", "nonsense", []string{"1"}, nil); err == nil {
		t.Error("read by a property that is not there")
	}
}

// TestSearchLimitIsApart: searches that come too fast for the account wait by themselves; other calls are not told to.
func TestSearchLimitIsApart(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, `{"name":"domain","hasUniqueValue":false}`)
		case calls == 0:
			calls++
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"category":"RATE_LIMITS","policyName":"SECONDLY"}`)
		default:
			calls++
			_, _ = io.WriteString(w, `{"total":1,"results":[{"id":"4","properties":{"domain":"example.com"}}]}`)
		}
	}))
	defer server.Close()
	reader := connect(t, fmt.Sprintf("token = \"t\"\nbase_url = %q", server.URL), rest.Env{}).(sink.Reader)
	got, err := reader.Read(t.Context(), "companies", "domain", []string{"example.com"}, []string{"domain"})
	if err != nil || len(got) != 1 || calls != 2 {
		t.Errorf("%d calls, %+v, %v", calls, got, err)
	}
}

func TestReadPagesThroughSearch(t *testing.T) {
	var data strings.Builder
	data.WriteString(properties)
	for range 450 {
		data.WriteString(`{"object":"companies","properties":{"domain":"example.com"}}` + "\n")
	}
	a := open(t, "", simulator.Options{Data: strings.NewReader(data.String())}, lookalike.SearchLag(0))
	got, err := a.app.(sink.Reader).Read(t.Context(), "companies", "domain", []string{"example.com"}, nil)
	if err != nil || len(got) != 450 {
		t.Errorf("%d records, %v; want 450", len(got), err)
	}
}

func TestDescribe(t *testing.T) {
	a := open(t, "", simulator.Options{})
	got, err := a.app.(sink.Describer).Describe(t.Context(), "contacts")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]sink.ObjectField{
		"email":      {Type: "email", Length: 254, Unique: true},
		"shop_id":    {Type: "text", Length: 65_536, Unique: true},
		"phone":      {Type: "phone", Length: 65_536},
		"mrr":        {Type: "decimal"},
		"vip":        {Type: "bool"},
		"born":       {Type: "date"},
		"seen":       {Type: "timestamp"},
		"interests":  {Type: "list", Options: []string{"art", "beer", "chess"}},
		"createdate": {Type: "timestamp", ReadOnly: true},
	}
	found := 0
	for _, f := range got.Fields {
		if w, ok := want[f.Name]; ok {
			found++
			w.Name, w.Label = f.Name, f.Label
			if diff := cmp.Diff(w, f); diff != "" {
				t.Errorf("%s (-want +got):\n%s", f.Name, diff)
			}
		}
	}
	if found != len(want) || got.Name != "contacts" || !got.Archivable {
		t.Errorf("found %d of %d in %s", found, len(want), got.Name)
	}
	for _, object := range []string{"companies", "deals"} {
		if _, err := a.app.(sink.Describer).Describe(t.Context(), object); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.app.(sink.Describer).Describe(t.Context(), "tickets"); err == nil {
		t.Error("described an object that is not there")
	}
}

func TestDecode(t *testing.T) {
	tests := []struct{ text, want string }{
		{`token = "t"`, ""},
		{`token = " t\n"`, ""},
		{`token = "t"` + "\nbase_url = \"http://127.0.0.1:9/x\"\napi_version = \"v3\"\ncalls = 5\nwindow = \"1s\"", ""},
		{``, "Missing credentials"},
		{"client_id = \"a\"\nclient_secret = \"b\"\nrefresh_token = \"c\"\nproxy = \"http://proxy:3128\"", ""},
		{"client_id = \"a\"\nclient_secret = \"b\"", "Credentials are not complete"},
		{"token = \"t\"\nclient_id = \"a\"", "Two kinds of credentials"},
		{"token = \"t\"\nproxy = \"pw\"", "Invalid proxy"},
		{`token = ""`, "Empty token"},
		{`token = "a b"`, "Token is not one"},
		{`token = "t"` + "\nbase_url = \"hubapi.com\"", "Invalid base_url"},
		{`token = "t"` + "\nbase_url = \"https://user:pw@hubapi.com\"", "Invalid base_url"},
		{`token = "t"` + "\napi_version = \"4\"", "Invalid api_version"},
		{`token = "t"` + "\ncalls = -1", "Invalid calls"},
		{`token = "t"` + "\nwindow = \"soon\"", "Invalid window"},
		{`token = "t"` + "\ntokn = \"t\"", "Unsupported argument"},
	}
	for _, test := range tests {
		_, diags := hubspot.Decode(body(t, test.text), nil)
		got := ""
		if len(diags) > 0 {
			got = diags[0].Summary
			if diags[0].Subject == nil {
				t.Errorf("%s: the diagnostic has no place", test.text)
			}
			if strings.Contains(diags.Error(), "pw") {
				t.Errorf("%s: the diagnostic has a password in it", test.text)
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.text, got, test.want)
		}
	}
}
