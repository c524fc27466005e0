package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/ops"
	"github.com/penstock-cdc/penstock/ops/control"
	"github.com/penstock-cdc/penstock/stream"
)

// serve answers at the control socket and, where the project asks for it, at the ops
// address and the embedded log's Kafka endpoint, until the returned function is called.
func (rt *plant) serve(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	stop = func() {
		cancel()
		wg.Wait()
	}
	if rt.Ops != nil {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", rt.Ops.Listen)
		if err != nil {
			stop()
			return nil, fmt.Errorf("listen for ops: %w", err)
		}
		slog.Info("ops endpoints", "address", l.Addr().String())
		wg.Go(func() {
			if err := ops.Serve(ctx, l, ops.Sources{Process: process{rt}, Checks: rt.checks(), Log: slog.Default(), Requests: rt.requests}); err != nil {
				slog.Error("ops endpoints stopped", "error", err)
			}
		})
	}
	if e, ok := rt.log.(*stream.Embedded); ok && rt.Stream.Listen != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", rt.Stream.Listen)
		if err != nil {
			stop()
			return nil, fmt.Errorf("listen for the stream's Kafka endpoint: %w", err)
		}
		slog.Info("stream endpoint", "address", l.Addr().String())
		wg.Go(func() {
			if err := e.Serve(ctx, l); err != nil {
				slog.Error("stream endpoint stopped", "error", err)
			}
		})
	}
	wg.Go(func() {
		if err := control.Serve(ctx, rt.socket(), rt.control()); err != nil {
			slog.Error("control socket stopped", "error", err)
		}
	})
	return stop, nil
}

// socket is where the process that runs a part is asked.
func (rt *plant) socket() string { return socketOf(rt.project, rt.part) }

func socketOf(p *project, part string) string {
	return filepath.Join(p.partFolder(part), "control.sock")
}

// control answers the questions of commands.
func (rt *plant) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ask/{question...}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			var answer any
			if answer, err = rt.answer(r.Context(), r.PathValue("question"), json.RawMessage(body)); err == nil {
				control.Answer(w, answer)
				return
			}
		}
		control.Refuse(w, http.StatusUnprocessableEntity, err)
	})
	mux.HandleFunc("GET /tap", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limit, _ := strconv.Atoi(q.Get("limit"))
		out := http.NewResponseController(w)
		err := rt.tap(r.Context(), q.Get("topic"), q.Get("from_start") == "true", limit, func(e tapped) error {
			if err := json.NewEncoder(w).Encode(e); err != nil {
				return err
			}
			return out.Flush()
		})
		if err != nil && r.Context().Err() == nil {
			control.Refuse(w, http.StatusUnprocessableEntity, err)
		}
	})
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, r *http.Request) {
		if rt.engine == nil {
			control.Refuse(w, http.StatusUnprocessableEntity, errors.New("penstock capture makes no calls to apps: ask where penstock sink runs"))
			return
		}
		q := r.URL.Query()
		limit, _ := strconv.Atoi(q.Get("limit"))
		out := http.NewResponseController(w)
		_ = rt.taps.show(r.Context(), q.Get("app"), limit, out.Flush, func(c calledApp) error { // an error: the reader is gone
			if err := json.NewEncoder(w).Encode(c); err != nil {
				return err
			}
			return out.Flush()
		})
	})
	mux.HandleFunc("GET /edits", func(w http.ResponseWriter, r *http.Request) {
		if rt.engine == nil {
			control.Refuse(w, http.StatusUnprocessableEntity, errors.New("penstock capture reads no apps: ask where penstock sink runs"))
			return
		}
		q := r.URL.Query()
		limit, _ := strconv.Atoi(q.Get("limit"))
		out := http.NewResponseController(w)
		_ = rt.showEdits(r.Context(), q.Get("pipeline"), limit, q.Get("pii") == "true", out.Flush, func(e editShown) error { // an error: the reader is gone
			if err := json.NewEncoder(w).Encode(e); err != nil {
				return err
			}
			return out.Flush()
		})
	})
	return mux
}

// process is the plant as ops sees it.
type process struct{ rt *plant }

func (p process) Status(ctx context.Context) (ops.Status, error) {
	rt := p.rt
	report, err := rt.status(ctx)
	if err != nil {
		return ops.Status{}, err
	}
	st := ops.Status{Version: version, Commit: commit, Started: rt.started}
	kinds := map[string]string{}
	for _, s := range rt.Sources {
		kinds["source "+s.Name] = s.Kind
	}
	for _, a := range rt.Apps {
		kinds["app "+a.Name] = a.Kind
	}
	for i := range report.Sources {
		s := &report.Sources[i]
		out := ops.Source{
			Name: s.Source, Kind: kinds["source "+s.Source], State: s.State, Detail: s.Detail, Position: s.Position, Confirmed: s.Confirmed,
			LagSeconds: &s.LagSeconds, BehindBytes: &s.LagBytes, RetainedBytes: &s.RetainedBytes, Warnings: s.Warnings,
			Transactions: s.Transactions,
		}
		rt.sources[s.Source].stats.Events(func(table string, op change.Op, n uint64) {
			out.Captured = append(out.Captured, ops.Captured{Table: table, Op: op.String(), Count: n})
		})
		for k := range s.Tables {
			if t := &s.Tables[k]; t.Snapshot != "" {
				out.Loads = append(out.Loads, ops.Load{Table: t.Table, State: t.Snapshot, Rows: t.SnapshotRows, Estimated: t.SnapshotTotal,
					Bytes: t.SnapshotBytes, Chunks: t.SnapshotChunks, LeftSeconds: t.SnapshotLeft, Waits: t.SnapshotWaits})
			}
		}
		st.Sources = append(st.Sources, out)
	}
	for _, a := range report.Apps {
		out := ops.App{Name: a.App, Kind: kinds["app "+a.App], State: a.State, Detail: a.Detail}
		if !a.Next.IsZero() {
			out.Until = &a.Next
		}
		st.Apps = append(st.Apps, out)
	}
	objects := map[string]string{}
	for _, pipe := range rt.Pipelines {
		objects[pipe.Name] = pipe.To.Object
	}
	for i := range report.Pipelines {
		r := &report.Pipelines[i]
		e, k := r.Events, r.Keys
		lag := rt.pipelineLag(r)
		var next, began *float64
		if r.Schedule != nil {
			next, began = seconds(r.Schedule.Next), seconds(r.Schedule.Began)
		}
		var edits map[string]uint64
		if r.Verify != nil {
			edits = map[string]uint64{"edited": uint64(r.Verify.Edited), "gone": uint64(r.Verify.Gone)}
		}
		st.Pipelines = append(st.Pipelines, ops.Pipeline{
			Paused: r.Paused, NextRun: next, LastRun: began, Edits: edits,
			Name: r.Pipeline, App: r.App, Object: objects[r.Pipeline], State: r.State, Detail: r.Detail, LagSeconds: &lag, Warnings: r.Warnings,
			Events: map[string]uint64{
				"taken_in": uint64(e.TakenIn), "applied": uint64(e.Applied), "unchanged": uint64(e.Unchanged), "superseded": uint64(e.Superseded),
				"filtered": uint64(e.Filtered), "rejected": uint64(e.Rejected),
			},
			Open: map[string]int64{"held": e.Held, "waiting": e.Waiting, "pending": e.Pending},
			Keys: map[string]int64{
				"in_sync": k.InSync, "pending": k.Pending, "unknown": k.Unknown, "rejected": k.Rejected, "held": k.Held, "waiting": k.Waiting,
				"excluded": k.Excluded, "removed": k.Removed, "absent": k.Absent,
			},
		})
	}
	return st, nil
}

// seconds is a time since 1970, nil for none.
func seconds(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	s := float64(t.UnixMilli()) / 1000
	return &s
}

// pipelineLag is how long the oldest of what a pipeline has not sent has been waiting,
// in seconds, as far as it is known: 0 when it has taken in and sent everything.
func (rt *plant) pipelineLag(r *pipelineReport) float64 {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.idleSince == nil {
		rt.idleSince = map[string]time.Time{}
	}
	since, waits := rt.idleSince[r.Pipeline]
	if r.LagEvents == 0 && r.Events.Pending == 0 {
		delete(rt.idleSince, r.Pipeline)
		return 0
	}
	if !waits {
		rt.idleSince[r.Pipeline] = time.Now()
		return 0
	}
	return time.Since(since).Seconds()
}

// checks are what /readyz asks.
func (rt *plant) checks() (out []ops.Check) {
	for name, src := range rt.sources {
		out = append(out, ops.Check{Name: "source " + name, Check: func(context.Context) error {
			if err := src.failure(); err != nil {
				return err
			}
			if st := src.Status(); st.State == "waiting" || st.State == "connecting" {
				return fmt.Errorf("%s: %s", st.State, st.Detail)
			}
			return nil
		}})
	}
	if rt.engine == nil {
		return out
	}
	for name, app := range rt.apps {
		out = append(out, ops.Check{Name: "app " + name, Check: app.Ping})
	}
	return out
}
