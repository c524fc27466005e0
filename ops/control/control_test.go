package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/ops/control"
)

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			control.Refuse(w, http.StatusBadRequest, err)
			return
		}
		control.Answer(w, in)
	})
	mux.HandleFunc("POST /refuse", func(w http.ResponseWriter, _ *http.Request) {
		control.Refuse(w, http.StatusConflict, errors.New("pipeline x is not there"))
	})
	mux.HandleFunc("GET /tap", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	return mux
}

// serve starts a process at path and returns what ends it.
func serve(t *testing.T, path string) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, path, routes()) }()
	c := control.Dial(path)
	defer c.CloseIdleConnections()
	for {
		err := control.Call(ctx, c, "POST", "/echo", map[string]string{}, nil)
		if err == nil {
			break
		}
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
		if !control.NotRunning(err) {
			t.Fatal(err)
		}
	}
	return func() error { cancel(); return <-done }
}

func TestCall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	c := control.Dial(path)
	defer c.CloseIdleConnections()
	if err := control.Call(t.Context(), c, "POST", "/echo", nil, nil); !control.NotRunning(err) {
		t.Errorf("%v, want it known that none runs", err)
	}
	stop := serve(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket's mode is %v, %v", info.Mode(), err)
	}
	var out map[string]string
	if err := control.Call(t.Context(), c, "POST", "/echo", map[string]string{"a": "b"}, &out); err != nil || out["a"] != "b" {
		t.Errorf("%v, %v", out, err)
	}
	var refusal *control.Error
	if err := control.Call(t.Context(), c, "POST", "/refuse", nil, nil); !errors.As(err, &refusal) || refusal.Status != 409 || err.Error() != "pipeline x is not there" {
		t.Errorf("%v", err)
	}
	if err := control.Call(t.Context(), c, "POST", "/nowhere", nil, nil); !errors.As(err, &refusal) || refusal.Status != 404 || control.NotRunning(err) {
		t.Errorf("%v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := control.Call(t.Context(), c, "POST", "/echo", nil, nil); !control.NotRunning(err) {
		t.Errorf("%v, want it known that none runs", err)
	}
}

func TestStreamEndsWithTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stop := serve(t, path)
	c := control.Dial(path)
	defer c.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://penstock/tap", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	first := make([]byte, 6)
	if _, err := io.ReadFull(response.Body, first); err != nil || string(first) != "first\n" {
		t.Fatalf("%q, %v", first, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(response.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	for name, path := range paths(t) {
		leftover(t, path)
		if err := control.Call(t.Context(), control.Dial(path), "POST", "/echo", nil, nil); !control.NotRunning(err) {
			t.Errorf("%s: %v, want it known that none runs", name, err)
		}
		stop := serve(t, path)
		if err := stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left := folders(t); len(left) > 0 {
			t.Errorf("%s: folders are left: %v", name, left)
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	for name, path := range paths(t) {
		stop := serve(t, path)
		if err := control.Serve(t.Context(), path, routes()); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("%s: %v", name, err)
		}
		if err := control.Call(t.Context(), control.Dial(path), "POST", "/echo", map[string]string{}, nil); err != nil {
			t.Errorf("%s: the first does not answer any more: %v", name, err)
		}
		if err := stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherFilesAreKept(t *testing.T) {
	folder := t.TempDir()
	file, link := filepath.Join(folder, "file"), filepath.Join(folder, "link")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, folder} {
		if err := control.Serve(t.Context(), path, routes()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, err := os.ReadFile(link); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	if err := control.Serve(t.Context(), filepath.Join(folder, "no", "folder"), routes()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// paths are a path short enough for a socket and one that is not; temporary folders
// are made where the test sees them.
func paths(t *testing.T) map[string]string {
	t.Helper()
	short, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	temporary := filepath.Join(short, "t")
	deep := filepath.Join(short, strings.Repeat("d", 120))
	for _, folder := range []string{temporary, deep} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", temporary)
	return map[string]string{"short": filepath.Join(short, "s"), "long": filepath.Join(deep, "s")}
}

func folders(t *testing.T) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// leftover makes at path what a killed process leaves.
func leftover(t *testing.T, path string) {
	t.Helper()
	at := path
	if len(path) > 100 {
		folder, err := os.MkdirTemp("", "penstock-control-")
		if err != nil {
			t.Fatal(err)
		}
		at = filepath.Join(folder, "s")
		if err := os.Symlink(at, path); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
}
