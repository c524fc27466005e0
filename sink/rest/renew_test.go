package rest_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/penstock-cdc/penstock/sink/rest"
)

// TestRefusedTokenIsReadAgain: a token that was changed where it comes from is used at once, and one that was not is not
// read with every call.
func TestRefusedTokenIsReadAgain(t *testing.T) {
	for name, of := range map[string]func(text string) rest.Credentials{
		"token": func(text string) rest.Credentials { return rest.Credentials{Token: text} },
		"header": func(text string) rest.Credentials {
			return rest.Credentials{Header: http.Header{"X-Key": {"Bearer " + text}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var good, stored atomic.Pointer[string]
			one, two, three := "one", "two", "three"
			good.Store(&one)
			stored.Store(&one)
			calls, reads := 0, 0
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				if r.Header.Get("Authorization")+r.Header.Get("X-Key") != "Bearer "+*good.Load() {
					w.WriteHeader(http.StatusUnauthorized)
				}
			})
			c := client(t, s.URL, func(o *rest.Options) {
				o.Credentials = of(one)
				o.Renew = func() (rest.Credentials, error) { reads++; return of(*stored.Load()), nil }
			})
			do := func(wantCalls, wantReads, wantStatus int) {
				t.Helper()
				calls, reads = 0, 0
				response, _ := c.Do(t.Context(), write())
				if calls != wantCalls || reads != wantReads || response.Status != wantStatus {
					t.Errorf("%d calls, %d reads, status %d, want %d, %d, %d", calls, reads, response.Status, wantCalls, wantReads, wantStatus)
				}
			}
			do(1, 0, 200)
			good.Store(&two)
			stored.Store(&two)
			do(2, 1, 200)
			do(1, 0, 200)
			good.Store(&three)
			do(1, 0, 401) // it was read a moment ago
		})
	}
}

// TestRefusedRefreshTokenIsReadAgain: after a new authorisation the calls go on.
func TestRefusedRefreshTokenIsReadAgain(t *testing.T) {
	b := newBank(t)
	oauth := func(refresh string) rest.Credentials {
		return rest.Credentials{OAuth: &rest.OAuth{Path: "/token", ClientID: "id", ClientSecret: secret, Refresh: refresh}}
	}
	now := "revoked"
	c := client(t, b.URL, func(o *rest.Options) {
		o.Vault, o.Credentials = rest.Files(t.TempDir()), oauth("revoked")
		o.Renew = func() (rest.Credentials, error) { return oauth(now), nil }
	})
	now = "r0"
	if response, err := c.Do(t.Context(), write()); err != nil || response.Status != 200 || b.renewals != 1 {
		t.Errorf("status %d, %d renewals, %v", response.Status, b.renewals, err)
	}
}
