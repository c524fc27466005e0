package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// secret stands for what must not show in an error: values, tokens, bodies.
const secret = "s3cr3t"

func client(t testing.TB, address string, change ...func(*rest.Options)) *rest.Client {
	t.Helper()
	o := rest.Options{App: "crm", BaseURL: address, Credentials: rest.Credentials{Token: secret}}
	for _, f := range change {
		f(&o)
	}
	c, err := rest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// write is a writing call with a secret wherever one can be.
func write() rest.Request {
	return rest.Request{
		Method: "POST", Path: "/people/" + secret, Template: "/people/{id}", Query: url.Values{"q": {secret}},
		Body: map[string]string{"name": secret}, Writes: true,
	}
}

func class(err error) string {
	var unknown *sink.UnknownError
	var retry *sink.RetryError
	switch {
	case err == nil:
		return "none"
	case errors.As(err, &unknown):
		return "unknown"
	case errors.As(err, &retry):
		return "after " + retry.After.String()
	}
	return "plain"
}

// check wants an error of a class that names the call and has no secret in it.
func check(t *testing.T, name string, err error, want string) {
	t.Helper()
	if got := class(err); got != want {
		t.Errorf("%s: %s (%v), want %s", name, got, err, want)
	}
	if err != nil && (strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "POST /people/{id}")) {
		t.Errorf("%s: error %q", name, err)
	}
}

func TestDo(t *testing.T) {
	var calls []rest.Call
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"got":%q}`, fmt.Sprint(r.Method, " ", r.URL, " ", r.Header.Get("Authorization"), " ", r.Header.Get("Content-Type"),
			" ", r.Header.Get("User-Agent"), " ", r.Header.Get("X-Extra"), " ", len(r.Header.Get("X-Request-Id")), " ", string(body)))
	})
	c := client(t, s.URL+"/v1/", func(o *rest.Options) {
		o.UserAgent = "penstock/9"
		o.OnCall = func(c rest.Call) { calls = append(calls, c) }
	})
	var into struct{ Got string }
	r := write()
	r.Into, r.Header = &into, http.Header{"x-extra": {"e"}}
	if _, err := c.Do(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := `POST /v1/people/s3cr3t?q=s3cr3t Bearer s3cr3t application/json penstock/9 e 16 {"name":"s3cr3t"}`
	if into.Got != want {
		t.Errorf("got  %s\nwant %s", into.Got, want)
	}
	r.Body = json.RawMessage(`[1]`)
	if _, err := c.Do(t.Context(), r); err != nil || !strings.HasSuffix(into.Got, " [1]") {
		t.Errorf("got %s, %v", into.Got, err)
	}
	if len(calls) != 2 || calls[0].App != "crm" || calls[0].Path != "/people/{id}" || calls[0].Status != 200 || calls[0].Duration <= 0 {
		t.Errorf("calls %+v", calls)
	}
}

func TestNothingWasSent(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	closed := s.URL
	s.Close()
	plainServer := serve(t, func(http.ResponseWriter, *http.Request) {})
	tlsServer := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	for name, address := range map[string]string{
		"connection refused": closed,
		"no such host":       "http://no-such-host.invalid",
		"no TLS there":       "https" + strings.TrimPrefix(plainServer.URL, "http"),
		"unknown authority":  tlsServer.URL,
	} {
		_, err := client(t, address).Do(t.Context(), write())
		check(t, name, err, "plain")
	}
	r := write()
	r.Body = make(chan int)
	_, err := client(t, plainServer.URL).Do(t.Context(), r)
	check(t, "no JSON", err, "plain")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client(t, plainServer.URL).Do(ctx, write())
	check(t, "cancelled before", err, "plain")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
}

// raw serves connections with a function; requests read so far are passed to it.
func raw(t *testing.T, answer func(conn net.Conn, n int)) (address string, requests *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = &atomic.Int64{}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				for n := 1; ; n++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					requests.Add(1)
					answer(conn, n)
				}
			})
		}
	})
	return "http://" + listener.Addr().String(), requests
}

func TestAnswerIsLost(t *testing.T) {
	answers := map[string]string{
		"none":             "",
		"not HTTP":         "s3cr3t s3cr3t\r\n\r\n",
		"bad header":       "HTTP/1.1 200 OK\r\ns3cr3t\r\n\r\n",
		"cut off":          "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":\"s3cr3t\"",
		"cut off in chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{\"a\"",
		"not JSON":         "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<s3cr3t",
		"other shape":      "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"a\":\"s3cr3t\"}",
		"empty":            "HTTP/1.1 204 No Content\r\n\r\n",
		"too large":        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("1", 1000),
		"bad gzip":         "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\ns3cr3t",
	}
	for name, answer := range answers {
		address, requests := raw(t, func(conn net.Conn, _ int) { _, _ = io.WriteString(conn, answer); _ = conn.Close() })
		// A client each: a connection that is kept may be closed when the next call comes.
		fresh := func() *rest.Client { return client(t, address, func(o *rest.Options) { o.MaxReply = 500 }) }
		r := write()
		r.Into = &struct{ A int }{}
		_, err := fresh().Do(t.Context(), r)
		check(t, name, err, "unknown")
		r.Writes = false
		_, err = fresh().Do(t.Context(), r)
		check(t, name+", read", err, "plain")
		if got := requests.Load(); got != 2 {
			t.Errorf("%s: %d requests arrived for 2 calls", name, got)
		}
	}
}

// A kept connection that the app closes when the next call comes: that call may have
// been read.
func TestKeptConnectionIsClosed(t *testing.T) {
	address, requests := raw(t, func(conn net.Conn, n int) {
		if n == 1 {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
			return
		}
		_ = conn.Close()
	})
	c := client(t, address)
	if _, err := c.Do(t.Context(), write()); err != nil {
		t.Fatal(err)
	}
	_, err := c.Do(t.Context(), write())
	check(t, "kept connection", err, "unknown")
	if got := requests.Load(); got != 2 {
		t.Errorf("%d requests arrived: the call was sent again", got)
	}
}

func TestTimeIsUp(t *testing.T) {
	arrived, release := make(chan bool, 2), make(chan bool)
	s := serve(t, func(http.ResponseWriter, *http.Request) { arrived <- true; <-release })
	defer close(release)
	c := client(t, s.URL, func(o *rest.Options) { o.Timeout = 50 * time.Millisecond })
	_, err := c.Do(t.Context(), write())
	check(t, "timeout", err, "unknown")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not context.DeadlineExceeded", err)
	}
	<-arrived

	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	r := write()
	r.Timeout = time.Minute
	_, err = c.Do(ctx, r)
	check(t, "cancelled", err, "unknown")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
}

func TestStatusDecides(t *testing.T) {
	tests := []struct {
		status int
		after  string
		want   string
		read   string
	}{
		{429, "7", "after 7s", "after 7s"},
		{429, "", "after 10s", "after 10s"},
		{500, "", "unknown", "plain"},
		{503, "5", "unknown", "after 5s"},
		{504, "", "unknown", "plain"},
		{408, "", "unknown", "plain"},
		{404, "", "plain", "plain"},
		{400, "", "plain", "plain"},
		{302, "", "plain", "plain"},
		{307, "", "plain", "plain"},
	}
	var elsewhere atomic.Int64
	other := serve(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	for _, test := range tests {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL+"/"+secret)
			if test.after != "" {
				w.Header().Set("Retry-After", test.after)
			}
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, secret)
		})
		c := client(t, s.URL)
		response, err := c.Do(t.Context(), write())
		check(t, fmt.Sprint(test.status), err, test.want)
		if retry := new(sink.RetryError); test.want == "unknown" && test.after != "" && (!errors.As(err, &retry) || retry.After.String() != test.after+"s") {
			t.Errorf("status %d: %v does not say when to ask again", test.status, err)
		}
		if response.Status != test.status || string(response.Body) != secret {
			t.Errorf("response %d %q", response.Status, response.Body)
		}
		r := write()
		r.Writes = false
		_, err = c.Do(t.Context(), r)
		check(t, fmt.Sprint(test.status, " read"), err, test.read)
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestClassifyComesFirst(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.URL.Path)
	})
	own := errors.New("own")
	c := client(t, s.URL, func(o *rest.Options) {
		o.Classify = func(r rest.Request, response rest.Response) error {
			if response.Status == http.StatusTeapot && string(response.Body) == "/own" && r.Path == "/own" {
				return own
			}
			return nil
		}
	})
	if _, err := c.Do(t.Context(), rest.Request{Method: "GET", Path: "/own"}); !errors.Is(err, own) {
		t.Errorf("%v, want the app's own", err)
	}
	if _, err := c.Do(t.Context(), rest.Request{Method: "GET", Path: "/other"}); err == nil || errors.Is(err, own) {
		t.Errorf("%v, want the one by status", err)
	}
}

func TestParseBase(t *testing.T) {
	for _, good := range []string{"https://api.example.com", "http://127.0.0.1:8080/v1/"} {
		if _, err := rest.ParseBase(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "api.example.com", "ftp://x", "https://", "https://me:s3cr3t@x.com", "https://x?a=s3cr3t", "https://x#y", "http://s3cr3t\x7f"} {
		if _, err := rest.ParseBase(bad); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"", 0, false},
		{"soon", 0, false},
		{"-1", 0, false},
		{"NaN", 0, false},
		{"0", 0, true},
		{"2", 2 * time.Second, true},
		{" 1.5 ", 1500 * time.Millisecond, true},
		{"1e30", 25 * time.Hour, true},
		{"Inf", 25 * time.Hour, true},
		{"Wed, 04 Mar 2026 12:00:30 GMT", 30 * time.Second, true},
		{"Wed, 04 Mar 2026 11:00:00 GMT", 0, true},
		{"Wed, 04 Mar 2099 11:00:00 GMT", 25 * time.Hour, true},
	}
	for _, test := range tests {
		got, ok := rest.RetryAfter(http.Header{"Retry-After": {test.text}}, now)
		if got != test.want || ok != test.ok {
			t.Errorf("%q: %v %v, want %v %v", test.text, got, ok, test.want, test.ok)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	s := serve(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"results":[]}`)
	})
	c := client(b, s.URL)
	body := json.RawMessage(`{"inputs":[` + strings.Repeat(" ", 30<<10) + `]}`)
	b.ReportAllocs()
	for b.Loop() {
		var into struct{ Results []int }
		if _, err := c.Do(b.Context(), rest.Request{Method: "POST", Path: "/x", Body: body, Into: &into, Writes: true}); err != nil {
			b.Fatal(err)
		}
	}
}
