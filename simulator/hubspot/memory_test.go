package hubspot_test

import (
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

// TestMemoryOfARecord: a contact of nine properties, with its entry in the history and
// in two indexes, takes about 1 KiB.
func TestMemoryOfARecord(t *testing.T) {
	sim := simulator.New(hubspot.New(), simulator.Options{NoLimits: true, Data: strings.NewReader(keyed)})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const batches = 300
	for i := range batches {
		r := httptest.NewRequest("POST", contacts+"/batch/upsert", strings.NewReader(batchOf(100, i*100)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer t")
		w := httptest.NewRecorder()
		if sim.ServeHTTP(w, r); w.Code != 200 {
			t.Fatalf("got %d: %s", w.Code, w.Body)
		}
	}
	each := (heap() - before) / (batches * 100)
	t.Logf("%d bytes a record", each)
	if each > 1200 {
		t.Errorf("got %d bytes a record, want 1200 at most", each)
	}
	runtime.KeepAlive(sim)
}
