package ops_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/ops"
)

type process struct {
	status ops.Status
	err    error
}

func (p *process) Status(context.Context) (ops.Status, error) { return p.status, p.err }

func of[T any](v T) *T { return &v }

func running() *process {
	return &process{status: ops.Status{
		Version: "1.2.3", Commit: "abc", Started: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Sources: []ops.Source{
			{
				Name: "shop", Kind: "postgres", State: "streaming", LagSeconds: of(1.5), RetainedBytes: of(int64(4096)),
				Transactions: &ops.Transactions{Open: 2, MemoryBytes: 100, FileBytes: 2000, OldestSeconds: 1.5, ServerSpilled: 3, ServerSpilledBytes: 4000},
				Captured:     []ops.Captured{{Table: "public.customers", Op: "c", Count: 12}},
				Loads: []ops.Load{
					{Table: "public.customers", State: "reading", Rows: 1500, Estimated: 4000, Bytes: 90000, Chunks: 3, LeftSeconds: 2.5, Waits: "pipeline customers takes in what was read"},
					{Table: "public.orders", State: "done"},
				},
			},
			{Name: "erp", Kind: "mysql", State: "waiting", Detail: "connection refused"},
		},
		Pipelines: []ops.Pipeline{{
			Name: "customers", App: "crm", Object: "contacts", LagSeconds: of(0.0),
			Events: map[string]uint64{"applied": 7, "rejected": 1}, Open: map[string]int64{"pending": 2}, Keys: map[string]int64{"in_sync": 6}, Edits: map[string]uint64{"edited": 2, "gone": 1},
		}},
		Apps: []ops.App{{Name: "crm", Kind: "hubspot", State: "ok"}},
	}}
}

func get(t *testing.T, h http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w
}

func TestMetrics(t *testing.T) {
	requests := ops.NewRequests()
	requests.Count("crm", 200, 20*time.Millisecond)
	requests.Count("crm", 200, 20*time.Millisecond)
	requests.Count("crm", 0, time.Second)
	p := running()
	h := ops.Handler(ops.Sources{Process: p, Requests: requests})
	text := get(t, h, "GET", "/metrics").Body.String()
	for _, want := range []string{
		`penstock_build_info{commit="abc",goversion="go`,
		`penstock_source_lag_seconds{source="shop"} 1.5`,
		`penstock_source_retained_bytes{source="shop"} 4096`,
		`penstock_source_transactions_open{source="shop"} 2`, `penstock_source_transactions_bytes{in="memory",source="shop"} 100`,
		`penstock_source_transactions_bytes{in="file",source="shop"} 2000`, `penstock_source_transactions_oldest_seconds{source="shop"} 1.5`,
		`penstock_source_server_spilled_transactions_total{source="shop"} 3`, `penstock_source_server_spilled_bytes_total{source="shop"} 4000`,
		`penstock_source_state{source="erp",state="waiting"} 1`,
		`penstock_edits_total{kind="edited",pipeline="customers"} 2`, `penstock_edits_total{kind="gone",pipeline="customers"} 1`,
		`penstock_events_captured_total{op="c",source="shop",table="public.customers"} 12`,
		`penstock_load_state{source="shop",state="reading",table="public.customers"} 1`, `penstock_load_state{source="shop",state="done",table="public.orders"} 1`,
		`penstock_load_rows{source="shop",table="public.customers"} 1500`, `penstock_load_rows_estimated{source="shop",table="public.customers"} 4000`,
		`penstock_load_bytes{source="shop",table="public.customers"} 90000`, `penstock_load_chunks{source="shop",table="public.customers"} 3`,
		`penstock_load_left_seconds{source="shop",table="public.customers"} 2.5`,
		`penstock_load_waiting{source="shop",table="public.customers"} 1`, `penstock_load_waiting{source="shop",table="public.orders"} 0`,
		`penstock_pipeline_lag_seconds{pipeline="customers"} 0`,
		`penstock_events_total{outcome="applied",pipeline="customers"} 7`,
		`penstock_events_open{pipeline="customers",state="pending"} 2`,
		`penstock_keys{pipeline="customers",state="in_sync"} 6`,
		`penstock_app_requests_total{app="crm",code="200"} 2`,
		`penstock_app_requests_total{app="crm",code="0"} 1`,
		`penstock_app_request_duration_seconds_bucket{app="crm",le="0.025"} 2`,
		`penstock_app_state{app="crm",state="ok"} 1`,
		"# TYPE penstock_events_total counter",
		"go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, unknown := range []string{`penstock_source_lag_seconds{source="erp"}`, `penstock_load_left_seconds{source="shop",table="public.orders"}`, `penstock_load_rows_estimated{source="shop",table="public.orders"}`} {
		if strings.Contains(text, unknown) {
			t.Errorf("%s though it is not known", unknown)
		}
	}

	p.err = errors.New("state is locked")
	w := get(t, h, "GET", "/metrics")
	if !strings.Contains(w.Body.String(), "penstock_app_requests_total") || strings.Contains(w.Body.String(), "penstock_source") {
		t.Errorf("with no status: %d %s", w.Code, w.Body)
	}
}

func TestStatus(t *testing.T) {
	p := running()
	h := ops.Handler(ops.Sources{Process: p})
	w := get(t, h, "GET", "/api/v1/status")
	var got ops.Status
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatal(err, w.Header())
	}
	if diff := cmp.Diff(p.status, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	p.err = errors.New("state is locked")
	if w := get(t, h, "GET", "/api/v1/status"); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "state is locked") {
		t.Errorf("with no status: %d %s", w.Code, w.Body)
	}
}

func TestReadOnly(t *testing.T) {
	h := ops.Handler(ops.Sources{Process: running()})
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/api/v1/status"} {
		for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "PUT": 405, "DELETE": 405, "PATCH": 405, "OPTIONS": 405} {
			if got := get(t, h, method, path).Code; got != want {
				t.Errorf("%s %s: %d, want %d", method, path, got, want)
			}
		}
	}
	if got := get(t, h, "GET", "/other").Code; got != 404 {
		t.Errorf("/other: %d", got)
	}
}

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		var crm error
		h := ops.Handler(ops.Sources{Process: running(), CheckEvery: 10 * time.Second, Checks: []ops.Check{
			{Name: "source shop", Check: func(context.Context) error { return nil }},
			{Name: "app crm", Check: func(context.Context) error { asked.Add(1); return crm }},
			{Name: "app slow", Check: func(ctx context.Context) error {
				if crm == nil {
					return nil
				}
				<-ctx.Done() // never answers
				return ctx.Err()
			}},
		}})
		if w := get(t, h, "GET", "/readyz"); w.Code != 200 || !strings.Contains(w.Body.String(), `"ready": true`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		crm = errors.New("token refused")
		if w := get(t, h, "GET", "/readyz"); w.Code != 200 || asked.Load() != 1 {
			t.Errorf("asked again at once: %d, %d times", w.Code, asked.Load())
		}
		time.Sleep(10 * time.Second)
		w := get(t, h, "GET", "/readyz")
		var got struct {
			Ready   bool
			Reasons []struct{ Name, Reason string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if w.Code != 503 || got.Ready || len(got.Reasons) != 2 || got.Reasons[0].Name != "app crm" || got.Reasons[0].Reason != "token refused" || got.Reasons[1].Name != "app slow" {
			t.Errorf("%d %+v", w.Code, got)
		}
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ops.Serve(ctx, l, ops.Sources{Process: running()}) }()
	response, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if response.StatusCode != 200 || string(body) != "ok\n" {
		t.Errorf("%d %q", response.StatusCode, body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + l.Addr().String() + "/healthz"); err == nil {
		t.Error("it still answers")
	}
}

func TestServeTellsWhenItsListenerBreaks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := ops.Serve(t.Context(), l, ops.Sources{Process: running()}); err == nil {
		t.Error("no error")
	}
}
