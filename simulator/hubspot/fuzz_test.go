package hubspot_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

// FuzzUpsertBody: whatever the body, the answer is JSON with one of the statuses of a
// batch, a body that encoding/json does not take is refused, and what is refused whole
// leaves no record.
func FuzzUpsertBody(f *testing.F) {
	for _, body := range []string{
		batchOf(2, 1), `{"inputs":[{"id":"\u00e4","idProperty":"shop_customer_id","properties":{"first\u006eame":"\ud83d\ude00\n"}}]}`,
		`{"inputs":[{"id":"1","properties":{"email":7}}]}`, `{"inputs":[],"inputs":[{"id":"1","x":[{"y":[1,2,null]}],"properties":{}}]}`, `[]`, `{`, "", `"`, `{"inputs":[1]}`,
	} {
		f.Add(body)
	}
	sim := simulator.New(hubspot.New(), simulator.Options{NoLimits: true, Data: strings.NewReader(keyed)})
	f.Fuzz(func(t *testing.T, body string) {
		if err := sim.Reset(); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", contacts+"/batch/upsert", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer t")
		w := httptest.NewRecorder()
		sim.ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("the answer is not JSON: %s", w.Body)
		}
		all, err := sim.Objects("contacts")
		if err != nil {
			t.Fatal(err)
		}
		switch w.Code {
		case 200, 207:
			if !json.Valid([]byte(body)) {
				t.Errorf("taken though not JSON: %q", body)
			}
		case 400, 409:
			if len(all) != 0 {
				t.Errorf("refused, yet left %+v", all)
			}
		default:
			t.Errorf("got %d", w.Code)
		}
	})
}

// TestPropertiesWhileWriting defines properties while others write records.
func TestPropertiesWhileWriting(t *testing.T) {
	h := start(t, simulator.Options{NoLimits: true})
	base := "/crm/v3/properties/contacts"
	h.want("POST", base, `{"name":"color","label":"C","groupName":"g","type":"enumeration","fieldType":"select","options":[{"label":"R","value":"red"}]}`, 201, "")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := range 30 {
				status, body := h.call("POST", contacts+"/batch/upsert", batchOf(5, worker*1000+n))
				if status != 200 {
					t.Errorf("upsert: %d %s", status, body)
				}
				h.call("POST", contacts, `{"properties":{"color":"red"}}`)
			}
		})
	}
	wg.Go(func() {
		for range 30 {
			h.call("PATCH", base+"/color", `{"options":[{"label":"R","value":"red"},{"label":"B","value":"blue"}]}`)
			h.call("POST", base, `{"name":"extra","label":"E","groupName":"g","type":"string","fieldType":"text"}`)
			h.call("GET", base, "")
			h.call("DELETE", base+"/extra", "")
		}
	})
	wg.Wait()
}
