// Package control is the socket by which commands reach the running process: JSON over
// HTTP on a unix socket that its owner alone can use.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Serve answers at the socket until ctx ends, then gives what is being answered 5 s to
// finish. Requests' contexts end with ctx, so that answers without end do too. What an
// earlier process left at the path is removed; a socket that still answers, and
// anything that is not a socket, is an error. The caller holds the lock of the folder.
func Serve(ctx context.Context, path string, h http.Handler) error {
	l, err := listen(ctx, path)
	if err != nil {
		return fmt.Errorf("open control socket %s: %w", path, err)
	}
	defer l.cleanUp()
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := server.Shutdown(grace)
		if err != nil {
			err = server.Close()
		}
		done <- err
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve control socket %s: %w", path, err)
	}
	return <-done
}

// Dial makes a client of the socket at path; the host in its URLs does not matter.
// Nothing is opened before the first request.
func Dial(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			at := target(path)
			if len(at) > maxPath { // no link there yet
				return nil, &fs.PathError{Op: "dial", Path: path, Err: fs.ErrNotExist}
			}
			var d net.Dialer
			return d.DialContext(ctx, "unix", at)
		},
		DisableCompression: true,
		IdleConnTimeout:    time.Minute,
	}}
}

// NotRunning tells whether a request failed because no process serves the socket.
func NotRunning(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// Error is a refusal by the process.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Call makes one request with a JSON body (nil: none) and reads the answer into out
// (nil: it is passed over). A refusal is an *Error.
func Call(ctx context.Context, c *http.Client, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write request %s: %w", path, err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://penstock"+path, body)
	if err != nil {
		return fmt.Errorf("make request %s: %w", path, err)
	}
	reply, err := c.Do(request)
	if err != nil {
		return fmt.Errorf("reach the running process: %w", err)
	}
	defer func() { _ = reply.Body.Close() }() // read to its end, or of no more use
	if reply.StatusCode/100 != 2 {
		var refusal struct {
			Error string `json:"error"`
		}
		if json.NewDecoder(reply.Body).Decode(&refusal) != nil || refusal.Error == "" {
			refusal.Error = "the running process answered " + reply.Status + ": is it of another version?"
		}
		return &Error{Status: reply.StatusCode, Reason: refusal.Error}
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(reply.Body).Decode(out); err != nil {
		return fmt.Errorf("read answer of the running process: %w", err)
	}
	return nil
}

// Answer writes a value as the answer.
func Answer(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		Refuse(w, http.StatusInternalServerError, fmt.Errorf("write answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // a caller that has gone is its own loss
}

// Refuse answers with an error, which Call gives its caller as an *Error.
func Refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
