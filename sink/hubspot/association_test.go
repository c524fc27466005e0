package hubspot_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

const linkable = properties + `
{"object":"contacts","properties":{"email":"a@example.com"}}
{"object":"contacts","properties":{"email":"b@example.com"}}
{"object":"deals","properties":{"dealname":"D"}}
{"object":"deals","properties":{"dealname":"E"}}
`

// links returns the associations of deals as the simulator shows them.
func (a *account) links(t *testing.T) (all []string) {
	t.Helper()
	records, err := a.Objects("associations")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if strings.HasPrefix(r.ID, "deals/") {
			all = append(all, r.ID)
		}
	}
	return all
}

func associate(t *testing.T, app sink.App, remove bool, pairs ...sink.Pair) []error {
	t.Helper()
	errs, err := app.(sink.Associator).Associate(t.Context(), sink.Associations{From: "deals", To: "contacts", Remove: remove, Pairs: pairs})
	if err != nil {
		t.Fatal(err)
	}
	return errs
}

func TestAssociate(t *testing.T) {
	for _, version := range []string{"", `api_version = "v3"`} {
		a := open(t, version, simulator.Options{Data: strings.NewReader(linkable)})
		// What is there already is no error, nor is what is gone already; a record that is not there is the only one refused.
		for range 2 {
			errs := associate(t, a.app, false, sink.Pair{From: "1", To: "1"}, sink.Pair{From: "1", To: "9"}, sink.Pair{From: "2", To: "2"})
			if errs[0] != nil || !errors.Is(errs[1], sink.ErrGone) || errs[2] != nil {
				t.Errorf("results %v", errs)
			}
			if diff := cmp.Diff([]string{"deals/1 contacts/1", "deals/2 contacts/2"}, a.links(t)); diff != "" {
				t.Error(diff)
			}
		}
		for range 2 {
			errs := associate(t, a.app, true, sink.Pair{From: "1", To: "1"}, sink.Pair{From: "9", To: "1"})
			if errs[0] != nil || !errors.Is(errs[1], sink.ErrGone) {
				t.Errorf("results %v", errs)
			}
			if diff := cmp.Diff([]string{"deals/2 contacts/2"}, a.links(t)); diff != "" {
				t.Error(diff)
			}
		}
		if errs := associate(t, a.app, false, sink.Pair{From: "9", To: "9"}); !errors.Is(errs[0], sink.ErrGone) {
			t.Errorf("one alone: %v", errs)
		}
		path := a.Calls()[0].Path
		if want := map[string]string{"": "/crm/associations/2026-09/", `api_version = "v3"`: "/crm/v4/associations/"}[version]; !strings.HasPrefix(path, want) {
			t.Errorf("calls %s, want %s", path, want)
		}
	}
}

// A call that is refused, or lost, is a whole's.
func TestAssociateFails(t *testing.T) {
	a := open(t, "", simulator.Options{Data: strings.NewReader(linkable)})
	for fault, want := range map[string]string{
		`{"kind":"status","status":429,"calls":1}`: "after 10s", `{"kind":"drop","calls":1}`: "unknown", `{"kind":"drop_after_commit","calls":1}`: "unknown", `{"kind":"garbage","calls":1}`: "unknown",
	} {
		var f simulator.Fault
		if err := json.Unmarshal([]byte(fault), &f); err != nil {
			t.Fatal(err)
		}
		a.fault(t, f)
		_, err := a.app.(sink.Associator).Associate(t.Context(), sink.Associations{From: "deals", To: "contacts", Pairs: []sink.Pair{{From: "1", To: "1"}}})
		if sinktest.Class(err) != want {
			t.Errorf("%s: %v, want %s", fault, err, want)
		}
	}
	_, err := a.app.(sink.Associator).Associate(t.Context(), sink.Associations{From: "deals", To: "engines", Pairs: []sink.Pair{{From: "1", To: "1"}}})
	if sinktest.Class(err) != "halt" {
		t.Errorf("an object that is not there: %v", err)
	}
}
