package hubspot_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
	lookalike "github.com/penstock-cdc/penstock/simulator/hubspot"
	"github.com/penstock-cdc/penstock/sink"
)

// round asks for changes until there are no more for now; it returns the ids and how many calls it took.
func round(t *testing.T, app sink.App, object, cursor string) (found []sink.Record, next string, calls int) {
	t.Helper()
	for {
		page, err := app.(sink.Changer).Changes(t.Context(), object, cursor, []string{"city", "shop_id"})
		if err != nil {
			t.Fatal(err)
		}
		calls++
		found, cursor = append(found, page.Records...), page.Next
		if !page.More {
			return found, cursor, calls
		}
	}
}

func ids(records []sink.Record) (all []string) {
	for _, r := range records {
		text := r.ID
		if r.Archived {
			text += " archived"
		}
		if r.Merged != nil {
			text += " of " + strings.Join(r.Merged, " ")
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return all
}

func TestChanges(t *testing.T) {
	a := open(t, "", simulator.Options{Data: strings.NewReader(people)}, lookalike.SearchLag(0))
	start, err := a.app.(sink.Changer).Changes(t.Context(), "contacts", "", nil)
	if err != nil || start.Records != nil || start.More || start.Next == "" {
		t.Fatalf("%+v, %v", start, err)
	}
	edit := func(e simulator.Edit) {
		t.Helper()
		if _, err := a.Edit(e); err != nil {
			t.Fatal(err)
		}
	}
	city := "Hamm"
	edit(simulator.Edit{Object: "contacts", ID: "1", Properties: map[string]*string{"city": &city}})
	found, next, calls := round(t, a.app, "contacts", start.Next)
	got := ids(found)
	if calls != 2 || !slices.Contains(got, "1") || !slices.Contains(got, "3 archived") || found[slices.IndexFunc(found, func(r sink.Record) bool { return r.ID == "1" })].Fields["city"] != "Hamm" {
		t.Errorf("%d calls, %+v", calls, found)
	}
	edit(simulator.Edit{Object: "contacts", ID: "2", Action: "merge", Into: "1"})
	if found, _, _ = round(t, a.app, "contacts", next); !slices.Contains(ids(found), "1 of 2") {
		t.Errorf("%+v", found)
	}
	if _, err := a.app.(sink.Changer).Changes(t.Context(), "contacts", "nonsense", nil); err == nil {
		t.Error("a cursor that is none")
	}
}

// TestChangesPageByTime: 650 records of which 450 were changed in one millisecond are all told, with no search beyond its first page.
func TestChangesPageByTime(t *testing.T) {
	var data strings.Builder
	data.WriteString(properties)
	at := time.Now().Add(-time.Minute).UTC().Truncate(time.Millisecond)
	for n := range 650 {
		updated := at
		if n < 100 || n >= 550 {
			updated = at.Add(time.Duration(n-300) * time.Millisecond)
		}
		fmt.Fprintf(&data, `{"object":"companies","id":"%d","properties":{"name":"N"},"created_at":%q,"updated_at":%q}`+"\n", n+1, updated.Format(time.RFC3339Nano), updated.Format(time.RFC3339Nano))
	}
	for n := range 2500 {
		fmt.Fprintf(&data, `{"object":"companies","id":"%d","archived":true,"properties":{"name":"N"}}`+"\n", n+10_000)
	}
	a := open(t, "", simulator.Options{Data: strings.NewReader(data.String()), NoLimits: true}, lookalike.SearchLag(0))
	start, err := a.app.(sink.Changer).Changes(t.Context(), "companies", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	bin := map[string]bool{}
	cursor := start.Next
	for n := range 3 {
		found, next, calls := round(t, a.app, "companies", cursor)
		live := 0
		for _, id := range ids(found) {
			if strings.HasSuffix(id, "archived") {
				bin[id] = true
			} else {
				live++
			}
		}
		if live != 650 || calls > 16 {
			t.Errorf("round %d: %d records in %d calls", n, live, calls)
		}
		cursor = next
	}
	if len(bin) != 2500 {
		t.Errorf("%d of 2500 archived ones after three rounds", len(bin))
	}
}
