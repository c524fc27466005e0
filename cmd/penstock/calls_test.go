package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/sink/rest"
)

// TestCallsNeverWaitForAReader lets a reader stand still: what is over the buffer is counted.
func TestCallsNeverWaitForAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taps callTaps
		taps.add(rest.Call{App: "crm"}) // nobody looks
		release, done := make(chan struct{}), make(chan struct{})
		var got []calledApp
		go func() {
			defer close(done)
			err := taps.show(t.Context(), "crm", tapBuffer+2, func() error { return nil }, func(c calledApp) error {
				<-release
				got = append(got, c)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		taps.add(rest.Call{App: "other"})
		call := rest.Call{App: "crm", Method: "POST", Path: "/people/{id}", Status: 200, Duration: 1500 * time.Microsecond, Records: 3, ID: "r"}
		taps.add(call)
		synctest.Wait() // the reader has it and stands
		for range tapBuffer + 5 {
			taps.add(call)
		}
		close(release)
		synctest.Wait()
		taps.add(call)
		<-done
		if len(got) != tapBuffer+2 || len(taps.taps.all) != 0 {
			t.Fatalf("got %d calls, %d taps are left", len(got), len(taps.taps.all))
		}
		want := calledApp{"call", got[0].Time, "crm", "POST", "/people/{id}", 200, 1.5, 3, "r", 0}
		if got[0] != want {
			t.Errorf("got %+v", got[0])
		}
		if last := got[len(got)-1]; last.Lost != 5 {
			t.Errorf("the last says that %d were lost, want 5", last.Lost)
		}
	})
}
