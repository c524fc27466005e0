package simulator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// bodies holds request buffers between calls.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// serve takes one vendor call through credentials, limits, faults and the App, logs
// it and answers it. The log has the call before the caller has the answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, route Route) {
	buf := bodies.Get().(*bytes.Buffer)
	buf.Reset()
	defer bodies.Put(buf)
	if _, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		status := http.StatusBadRequest
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		reply := s.app.Failure(status)
		s.logCall(r, s.now(), status, reply)
		s.write(w, reply)
		return
	}
	call := &Call{Request: r, Body: buf.Bytes(), At: s.now()}

	if reply := s.app.Authenticate(r, s.options.Token); reply != nil {
		s.options.Log.Info("credentials refused", "app", s.app.Name(), "path", r.URL.Path, "status", reply.Status)
		s.logCall(r, call.At, reply.Status, *reply)
		s.write(w, *reply)
		return
	}
	states, refused := s.limits.take(route.Limits, call.At)
	if refused != nil {
		reply := s.app.Limited(*refused)
		s.limitHeaders(&reply, states)
		s.logCall(r, call.At, reply.Status, reply)
		s.write(w, reply)
		return
	}
	fault := s.faults.take(r.Method, r.URL.Path, route.Writes)
	if fault.kind != "" || fault.delay > 0 {
		s.options.Log.Info("fault", "app", s.app.Name(), "kind", fault.kind, "delay", fault.delay, "path", r.URL.Path)
	}
	switch fault.kind {
	case kindDrop:
		s.logCall(r, call.At, 0, Reply{})
		pause(r.Context(), fault.delay)
		cut(w)
	case kindStatus:
		reply := s.app.Failure(fault.status)
		if fault.commit {
			done := route.Serve(call)
			reply.Records, reply.Created, reply.Refused = done.Records, done.Created, done.Refused
		}
		if fault.retryAfter > 0 {
			setHeader(&reply, "Retry-After", strconv.Itoa(int(math.Ceil(fault.retryAfter.Seconds()))))
		}
		s.limitHeaders(&reply, states)
		s.logCall(r, call.At, reply.Status, reply)
		pause(r.Context(), fault.delay)
		s.write(w, reply)
	default:
		reply := route.Serve(call)
		s.limitHeaders(&reply, states)
		s.finish(w, r, call, reply, fault)
	}
}

// finish answers a call that the App has dealt with, whole or spoilt by a fault.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, call *Call, reply Reply, fault outcome) {
	status := reply.Status
	switch fault.kind {
	case kindDropAfterCommit:
		status = 0
	case kindGarbage:
		status = http.StatusOK
	}
	s.logCall(r, call.At, status, reply)
	pause(r.Context(), s.options.Latency+fault.delay)
	switch fault.kind {
	case kindDropAfterCommit:
		cut(w)
	case kindGarbage:
		writeGarbage(w, reply, fault.nth)
	default:
		s.write(w, reply)
	}
}

func (s *Server) limitHeaders(reply *Reply, states []LimitState) {
	if len(states) == 0 {
		return
	}
	if reply.Header == nil {
		reply.Header = make(http.Header, 8)
	}
	s.app.LimitHeaders(reply.Header, states)
}

func setHeader(reply *Reply, name, value string) {
	if reply.Header == nil {
		reply.Header = make(http.Header, 2)
	}
	reply.Header.Set(name, value)
}

func (s *Server) write(w http.ResponseWriter, reply Reply) {
	h := w.Header()
	for name, values := range reply.Header {
		h[name] = values
	}
	if len(reply.Body) > 0 && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json;charset=utf-8")
	}
	w.WriteHeader(reply.Status)
	_, _ = w.Write(reply.Body) // a caller that has gone is its own loss
}

// pause waits for d, or less if the caller goes away.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// cut ends the connection with no answer.
func cut(w http.ResponseWriter) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if conn, _, err := hijacker.Hijack(); err == nil {
			_ = conn.Close() // nothing is owed to the peer
			return
		}
	}
	panic(http.ErrAbortHandler) // net/http's own way to cut, for HTTP/2
}

// writeGarbage answers 200 with a body that no JSON decoder takes, in three turns: a
// page of HTML, the first half of the answer as if it were all, and an answer that
// ends before the length it announced.
func writeGarbage(w http.ResponseWriter, reply Reply, nth int) {
	half := reply.Body[:len(reply.Body)/2]
	if len(half) == 0 {
		nth = 0
	}
	switch nth % 3 {
	case 0:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><body><h1>Service is being upgraded</h1></body></html>\n")
	case 1:
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
		_, _ = w.Write(half)
	default:
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(reply.Body)))
		_, _ = w.Write(half)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
