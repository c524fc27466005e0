package hubspot_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
	lookalike "github.com/penstock-cdc/penstock/simulator/hubspot"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// Several processes of one account renew its tokens, each refresh token good for one use.
func TestOAuth(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	a := open(t, "", simulator.Options{Clock: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }},
		lookalike.OAuth("client", "s3cr3t", "first", true))
	vault := rest.Files(t.TempDir())
	process := func(refresh string) sink.App {
		return connect(t, fmt.Sprintf("client_id = \"client\"\nclient_secret = \"s3cr3t\"\nrefresh_token = %q\nbase_url = %q", refresh, a.url), rest.Env{Vault: vault})
	}
	all := []sink.App{process("first"), process("first"), process("first")}
	for round := range 3 {
		var wait sync.WaitGroup
		for n := range 12 {
			wait.Go(func() {
				results, err := all[n%3].Push(t.Context(), "contacts", sink.Upsert, []sink.Change{contact(fmt.Sprint(round, n))})
				if err != nil || results[0].Err != nil {
					t.Errorf("round %d: %+v, %v", round, results, err)
				}
			})
		}
		wait.Wait()
		renewals := 0
		for _, c := range a.Calls() {
			if c.Path == "/oauth/2026-03/token" {
				renewals++
			}
		}
		if renewals != round+1 {
			t.Errorf("%d renewals after %d lives of a token, want one for each", renewals, round+1)
		}
		mu.Lock()
		now = now.Add(31 * time.Minute) // the app's own clock sees nothing of it: a 401 tells
		mu.Unlock()
	}
	if r, err := process("first").Push(t.Context(), "contacts", sink.Upsert, []sink.Change{contact("later")}); err != nil || r[0].Err != nil {
		t.Errorf("started again with the refresh token of the beginning: %v", err)
	}
	if err := process("stolen").Ping(t.Context()); sinktest.Class(err) != "halt" {
		t.Errorf("another refresh token that is not valid: %v, want a halt", err)
	}
}
