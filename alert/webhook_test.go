package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func options(t *testing.T, url string) Options {
	return Options{Name: "ops", URL: url, SigningKey: "key", Kinds: []string{"guard"}, Repeat: time.Hour, Path: filepath.Join(t.TempDir(), "alert.json"),
		Penstock: "1.2.3", Project: "shop", Log: slog.New(slog.DiscardHandler)}
}

// heard is a transport that notes the notices, and fails as often as it is told.
type heard struct {
	mu    sync.Mutex
	fails int
	got   []string
	at    []time.Time
	ids   []string
}

func (h *heard) RoundTrip(q *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	h.ids, h.at = append(h.ids, q.Header.Get("Idempotency-Key")), append(h.at, time.Now())
	if h.fails > 0 {
		h.fails--
		return nil, errors.New("connection refused")
	}
	var n Notice
	if err := json.Unmarshal(body, &n); err != nil {
		return nil, err
	}
	h.got = append(h.got, n.Status+" "+n.Subject)
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Header: http.Header{}}, nil
}

func TestDeliveryIsTriedAgainInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{fails: 12}
		o := options(t, "http://receiver.invalid/")
		o.Transport = h
		w := Open(o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.Run(ctx)
		}()
		observe := func(all ...Condition) {
			if err := w.Observe(time.Now(), all, sure); err != nil {
				t.Fatal(err)
			}
		}
		observe(guard("a"))
		time.Sleep(time.Second) // of the bubble's clock
		observe(guard("a"), guard("b"), Condition{Kind: "lag", Subject: "not its own"})
		time.Sleep(time.Second)
		observe(guard("b"))
		time.Sleep(time.Hour - time.Minute)
		synctest.Wait()
		h.mu.Lock()
		if diff := cmp.Diff([]string{"firing a", "firing b", "resolved a"}, h.got); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
		if h.ids[0] != h.ids[12] || h.ids[12] == h.ids[13] {
			t.Errorf("attempts have the ids %v", h.ids)
		}
		for i := 1; i <= 12; i++ {
			if wait := h.at[i].Sub(h.at[i-1]); wait < firstWait/2 || wait > longest {
				t.Errorf("attempt %d is %s after the one before", i+1, wait)
			}
		}
		if wait := h.at[12].Sub(h.at[11]); wait < longest/2 {
			t.Errorf("after 12 failures it waits only %s", wait)
		}
		h.mu.Unlock()
		cancel()
		<-done
	})
}

// TestServer delivers to a real server, with failures between and a restart in the middle.
func TestServer(t *testing.T) {
	var mu sync.Mutex
	var got []Notice
	statuses := []int{500, 302, 200, 429}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		mac := hmac.New(sha256.New, []byte("key"))
		mac.Write([]byte(q.Header.Get("X-Timestamp") + "." + string(body)))
		if q.Header.Get("X-Signature") != hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %q does not match", q.Header.Get("X-Signature"))
		}
		mu.Lock()
		defer mu.Unlock()
		if len(statuses) > 0 {
			status := statuses[0]
			statuses = statuses[1:]
			w.Header().Set("Location", "/elsewhere")
			if w.WriteHeader(status); status != 200 {
				return
			}
		}
		var n Notice
		if err := json.Unmarshal(body, &n); err != nil {
			t.Error(err)
		}
		got = append(got, n)
	}))
	defer server.Close()
	o := options(t, server.URL+"/hook")
	w := Open(o)
	if err := w.Observe(noon, []Condition{guard("a"), guard("b")}, sure); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"status 500", "status 302", "status 429"} {
		if err := w.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %s", err, want)
		}
	}
	w = Open(o) // as after a crash
	if !w.Firing("guard", "a") {
		t.Error("after a restart a is not known")
	}
	if err := w.Observe(noon.Add(time.Minute), []Condition{guard("b")}, sure); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	notice := func(status, subject, summary string) Notice {
		return Notice{"alert", status, "guard", subject, summary, noon, "1.2.3", "shop"}
	}
	want := []Notice{notice("firing", "a", "held back"), notice("firing", "b", "held back"), notice("resolved", "a", "Over after 1m0s. It was: held back")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
}

// TestTheAddressIsNotTold looks for a part of the url, which may be a secret, in what is said of a receiver that is away.
func TestTheAddressIsNotTold(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	var log bytes.Buffer
	o := options(t, server.URL+"/hunter2")
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	w := Open(o)
	if err := w.Observe(noon, []Condition{guard("a")}, sure); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error is %v", err)
	}
	if text, err := os.ReadFile(o.Path); err != nil || bytes.Contains(text, []byte("hunter2")) || bytes.Contains(log.Bytes(), []byte("hunter2")) {
		t.Errorf("the file says %s (%v), the log %s", text, err, &log)
	}
}

func TestDamagedFileBeginsAnew(t *testing.T) {
	o := options(t, "http://receiver.invalid/")
	if err := os.WriteFile(o.Path, []byte(`{"firing":[`), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	if w := Open(o); w.Firing("guard", "a") || !strings.Contains(log.String(), "begin anew") {
		t.Errorf("the log says %q", &log)
	}
}
