package rest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// bank is a token endpoint with refresh tokens that are good once, and an app that takes
// the last access token alone.
type bank struct {
	*httptest.Server
	mu       sync.Mutex
	refresh  string
	access   string
	renewals int
	status   int           // of the token endpoint, 0: it works
	entered  chan struct{} // told of each renewal that has begun
	leave    chan struct{} // if not nil, a renewal ends when this gives
	check    func() error  // asked at every call of the app
	problem  error
}

func newBank(t *testing.T) *bank {
	b := &bank{refresh: "r0"}
	b.Server = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			b.token(w, r)
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.check != nil && b.problem == nil {
			b.problem = b.check()
		}
		if r.Header.Get("Authorization") != "Bearer "+b.access {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	return b
}

func (b *bank) token(w http.ResponseWriter, r *http.Request) {
	if b.entered != nil {
		b.entered <- struct{}{}
	}
	if b.leave != nil {
		<-b.leave
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status != 0 {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(b.status)
		return
	}
	user, password, _ := r.BasicAuth()
	known := user == "id" && password == secret || r.FormValue("client_id") == "id" && r.FormValue("client_secret") == secret
	if !known || r.FormValue("grant_type") != "refresh_token" || r.FormValue("refresh_token") != b.refresh {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"%s"}`, r.FormValue("refresh_token"))
		return
	}
	b.renewals++
	b.access, b.refresh = fmt.Sprint("a", b.renewals), fmt.Sprint("r", b.renewals)
	fmt.Fprintf(w, `{"access_token":%q,"refresh_token":%q,"expires_in":3600}`, b.access, b.refresh)
}

func (b *bank) client(t *testing.T, dir, refresh string, change ...func(*rest.Options)) *rest.Client {
	return client(t, b.URL, append(change, func(o *rest.Options) {
		o.Vault = rest.Files(dir)
		o.Credentials = rest.Credentials{OAuth: &rest.OAuth{Path: "/token", ClientID: "id", ClientSecret: secret, Refresh: refresh, Basic: strings.HasSuffix(dir, "basic")}}
	})...)
}

func call(ctx context.Context, c *rest.Client) error {
	_, err := c.Do(ctx, write())
	return err
}

func TestTokenIsRenewedOnceForAll(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "basic")} {
		b := newBank(t)
		clients := []*rest.Client{b.client(t, dir, "r0"), b.client(t, dir, "r0")} // as in two processes
		for round := 1; round <= 2; round++ {
			var wait sync.WaitGroup
			for n := range 16 {
				wait.Go(func() {
					if err := call(t.Context(), clients[n%2]); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			if b.renewals != round {
				t.Fatalf("%d renewals, want %d", b.renewals, round)
			}
			b.mu.Lock()
			b.access = "revoked" // so that a 401 is what tells
			b.mu.Unlock()
		}
	}
}

func TestTokenIsKeptBeforeItIsUsed(t *testing.T) {
	b, dir := newBank(t), t.TempDir()
	b.check = func() error {
		text, err := os.ReadFile(filepath.Join(dir, "crm.json"))
		if err == nil && !strings.Contains(string(text), `"`+b.refresh+`"`) {
			err = errors.New("the app is called while the file has not the last refresh token")
		}
		return err
	}
	if err := call(t.Context(), b.client(t, dir, "r0")); err != nil {
		t.Fatal(err)
	}
	b.access = "revoked"
	if err := call(t.Context(), b.client(t, dir, "r0")); err != nil { // another process, later
		t.Fatal(err)
	}
	if b.problem != nil {
		t.Error(b.problem)
	}
	info, err := os.Stat(filepath.Join(dir, "crm.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file of tokens: %v, %v", info.Mode(), err)
	}
}

func TestTokenIsKeptThoughNobodyWaits(t *testing.T) {
	b, dir := newBank(t), t.TempDir()
	b.entered, b.leave = make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- call(ctx, b.client(t, dir, "r0")) }()
	<-b.entered
	cancel()
	close(b.leave)
	if err := <-done; err == nil {
		t.Error("a call without time succeeded")
	}
	b.entered, b.leave = nil, nil
	if err := call(t.Context(), b.client(t, dir, "r0")); err != nil || b.renewals != 1 {
		t.Errorf("afterwards: %v, %d renewals", err, b.renewals)
	}
}

func TestTokenIsRefused(t *testing.T) {
	b := newBank(t)
	dir := t.TempDir()
	err := call(t.Context(), b.client(t, dir, "wrong-"+secret))
	var halt *sink.HaltError
	if !errors.As(err, &halt) || strings.Contains(err.Error(), secret) {
		t.Fatalf("%v, want a halt without the token", err)
	}
	if err := call(t.Context(), b.client(t, dir, "r0")); err != nil { // a new authorisation
		t.Errorf("with another refresh token: %v", err)
	}
	b.mu.Lock()
	b.access, b.status = "revoked", http.StatusServiceUnavailable
	b.mu.Unlock()
	check(t, "token endpoint is busy", call(t.Context(), b.client(t, dir, "r0")), "after 7s")
	b.Close()
	check(t, "nobody there", call(t.Context(), b.client(t, dir, "r0")), "plain")
}

func TestDamagedTokensAreNamed(t *testing.T) {
	b, dir := newBank(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "crm.json"), []byte(`{"acc`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := call(t.Context(), b.client(t, dir, "r0")); err == nil || !strings.Contains(err.Error(), "crm.json") {
		t.Errorf("%v, want an error that names the file", err)
	}
}
