// Package ops serves what a running process tells about itself over HTTP: health,
// readiness, metrics, status. Nothing can be changed through it.
package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Sources is where the answers come from.
type Sources struct {
	Process Process
	// Checks are asked by /readyz, at most every CheckEvery.
	Checks     []Check
	CheckEvery time.Duration // 10 s when 0: some checks cost calls of an app's quota
	Requests   *Requests     // the calls to the apps; nil: none are counted
	Log        *slog.Logger  // of answers that could not be made; nil: nothing
}

const index = `penstock

/healthz        200 while the process lives
/readyz         200 when all sources and apps are reachable, else 503 with the reasons
/metrics        Prometheus
/api/v1/status  JSON
`

// Serve answers on the listener until ctx ends, then lets what is being answered
// finish, for 5 s at most. It closes the listener.
func Serve(ctx context.Context, l net.Listener, s Sources) error {
	server := &http.Server{
		Handler:           Handler(s),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger(s).Handler(), slog.LevelDebug),
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
		return fmt.Errorf("serve ops on %s: %w", l.Addr(), err)
	}
	return <-done
}

// Handler is what Serve serves.
func Handler(s Sources) http.Handler {
	log := logger(s)
	ready := newReadiness(s)
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", text(index))
	mux.HandleFunc("/healthz", text("ok\n"))
	mux.Handle("/readyz", ready)
	mux.Handle("/metrics", metrics(s, log))
	mux.HandleFunc("/api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		status, err := s.Process.Status(r.Context())
		if err != nil {
			if r.Context().Err() == nil {
				log.Warn("status cannot be told", "error", err)
			}
			answer(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
			return
		}
		answer(w, http.StatusOK, status)
	})
	return readOnly(mux)
}

func logger(s Sources) *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// readOnly refuses all that is not a plain question.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this endpoint is read-only", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.Copy(w, strings.NewReader(body))
	}
}

func answer(w http.ResponseWriter, status int, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		http.Error(w, "answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a caller that has gone is its own loss
}
