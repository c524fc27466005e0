package hubspot_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/simulator"
	lookalike "github.com/penstock-cdc/penstock/simulator/hubspot"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/hubspot"
	"github.com/penstock-cdc/penstock/sink/rest"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

func TestStatus(t *testing.T) {
	tests := []struct {
		fault simulator.Fault
		want  string
	}{
		{simulator.Fault{Status: 429, RetryAfter: simulator.Duration(3 * time.Second)}, "after 3s"},
		{simulator.Fault{Status: 429}, "after 10s"},
		{simulator.Fault{Status: 423}, "after 2s"},
		{simulator.Fault{Status: 477, RetryAfter: simulator.Duration(time.Hour)}, "after 1h0m0s"},
		{simulator.Fault{Status: 477}, "after 1m0s"},
		{simulator.Fault{Status: 401, Calls: 1}, "after 1s"},
		{simulator.Fault{Status: 401}, "halt"},
		{simulator.Fault{Status: 403}, "halt"},
		{simulator.Fault{Status: 400}, "batch VALIDATION_ERROR"},
		{simulator.Fault{Status: 413}, "batch TOO_LARGE"},
		{simulator.Fault{Status: 404}, "plain"},
		{simulator.Fault{Status: 500}, "unknown"},
		{simulator.Fault{Status: 502}, "unknown"},
		{simulator.Fault{Status: 503}, "unknown"},
		{simulator.Fault{Status: 504}, "unknown"},
		{simulator.Fault{Status: 524}, "unknown"},
	}
	for _, test := range tests {
		a := open(t, "", simulator.Options{})
		test.fault.Kind = "status"
		a.fault(t, test.fault)
		_, err := a.app.Push(t.Context(), "contacts", sink.Upsert, []sink.Change{contact("1"), contact("2")})
		if got := sinktest.Class(err); got != test.want {
			t.Errorf("status %d: %s (%v), want %s", test.fault.Status, got, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret-token") {
			t.Errorf("status %d: the error has the token in it", test.fault.Status)
		}
		if got := len(a.records(t, "contacts")); got != 0 {
			t.Errorf("status %d: %d records", test.fault.Status, got)
		}
	}
}

func TestFaultsOnTheWire(t *testing.T) {
	for _, test := range []struct {
		kind    string
		records int
	}{{"drop", 0}, {"drop_after_commit", 2}, {"garbage", 2}} {
		a := open(t, "", simulator.Options{})
		a.push(t, sink.Upsert, contact("0")) // so that the connection is a kept one
		a.fault(t, simulator.Fault{Kind: test.kind, Method: http.MethodPost})
		before := len(a.Calls())
		for n := range 3 { // three turns of garbage
			_, err := a.app.Push(t.Context(), "contacts", sink.Upsert, []sink.Change{contact("1"), contact("2")})
			if got := sinktest.Class(err); got != "unknown" {
				t.Errorf("%s, turn %d: %s (%v), want unknown", test.kind, n, got, err)
			}
		}
		if got := len(a.Calls()) - before; got != 3 {
			t.Errorf("%s: %d calls arrived for 3 pushes: a write was sent again", test.kind, got)
		}
		if _, err := a.app.(sink.Reader).Read(t.Context(), "contacts", "email", []string{"a@example.com"}, nil); test.kind != "drop_after_commit" && sinktest.Class(err) != "plain" {
			t.Errorf("%s: a read gives %v, want a plain error", test.kind, err)
		}
		a.ClearFaults()
		results := a.push(t, sink.Upsert, contact("1"), contact("2"))
		if got := len(a.records(t, "contacts")); got != 3 || results[0].Created != (test.records == 0) {
			t.Errorf("%s: %d records after another try, created %v", test.kind, got, results[0].Created)
		}
	}
}

func TestArchiveWithGarbageAnswerIsUnknown(t *testing.T) {
	a := open(t, "", simulator.Options{})
	made := a.push(t, sink.Upsert, contact("1"))
	a.fault(t, simulator.Fault{Kind: "garbage"})
	_, err := a.app.Push(t.Context(), "contacts", sink.Archive, []sink.Change{{Ref: "1", AppID: made[0].AppID}})
	if sinktest.Class(err) != "unknown" {
		t.Errorf("%v, want unknown", err)
	}
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	app := connect(t, fmt.Sprintf("token = \"x\"\nbase_url = %q", server.URL), rest.Env{})
	_, err := app.Push(t.Context(), "contacts", sink.Upsert, []sink.Change{contact("1")})
	if sinktest.Class(err) != "plain" || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%s: %v, want a plain error: nothing was sent", sinktest.Class(err), err)
	}
}

func TestLimitsAreLearned(t *testing.T) {
	a := open(t, "", simulator.Options{Limits: map[string]int{lookalike.TenSecondly: 190}})
	if got := a.app.Limits("contacts"); got.Calls != 98 || got.Window != 10*time.Second || got.Batch != 100 {
		t.Errorf("at first %+v", got)
	}
	if err := a.app.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := a.app.Limits("contacts"); got.Calls != 186 || got.Used != 0 || got.UsedAt.IsZero() {
		t.Errorf("learned %+v, want 186 calls, and that none but one was made", got)
	}
	for range 9 {
		if err := a.app.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.app.Limits("contacts").Used; got != 6 {
		t.Errorf("of 10 calls %d count, want those beyond the 4 that are left to others", got)
	}
	set := open(t, "calls = 20\nwindow = \"2s\"", simulator.Options{Limits: map[string]int{}})
	if err := set.app.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := set.app.Limits("contacts"); got.Calls != 20 || got.Window != 2*time.Second {
		t.Errorf("set %+v", got)
	}
}

func TestDailyLimitWaitsForAMidnight(t *testing.T) {
	a := open(t, "", simulator.Options{Limits: map[string]int{lookalike.Daily: 1}})
	a.push(t, sink.Upsert, contact("1"))
	_, err := a.app.Push(t.Context(), "contacts", sink.Upsert, []sink.Change{contact("2"), contact("3")})
	var retry *sink.RetryError
	if !errors.As(err, &retry) || retry.After <= 0 || retry.After > 15*time.Minute+5*time.Second {
		t.Fatalf("%v, want a wait of up to a quarter of an hour", err)
	}
	if at := time.Now().Add(retry.After).Truncate(time.Minute).Minute(); at%15 != 0 {
		t.Errorf("waits until minute %d", at)
	}
	if !strings.Contains(err.Error(), "DAILY") {
		t.Errorf("%v does not say which limit", err)
	}
}

// TestTokenComesBack: a token that is refused is read again where its secret block reads it, and the app goes on by itself.
func TestTokenComesBack(t *testing.T) {
	a := open(t, "", simulator.Options{Token: "new"})
	stored := "old"
	settings := func() (*hcl.EvalContext, error) {
		return &hcl.EvalContext{Variables: map[string]cty.Value{"token": cty.StringVal(stored)}}, nil
	}
	ctx, _ := settings()
	c, diags := hubspot.Decode(body(t, fmt.Sprintf("token = token\nbase_url = %q", a.url)), ctx)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	app, err := hubspot.Open(c, "crm", rest.Env{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	stored = "new"
	if err := app.Ping(t.Context()); err != nil {
		t.Errorf("with a token that is good by now: %v", err)
	}
	stored = "newer"
	if _, err := app.Push(t.Context(), "contacts", sink.Upsert, []sink.Change{contact("1")}); err != nil {
		t.Errorf("a token that works is read again: %v", err)
	}
}

func TestTokenIsRefused(t *testing.T) {
	a := open(t, "", simulator.Options{Token: "another"})
	err := a.app.Ping(t.Context())
	if sinktest.Class(err) != "halt" || !strings.Contains(err.Error(), "token") {
		t.Errorf("%v, want a halt", err)
	}
}
