package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
	"github.com/penstock-cdc/penstock/stream"
)

// stopwatch runs from the first row that a reader has to the last one that is where it
// has to be, so that neither connecting nor the server's own preparation count.
type stopwatch struct{ first, last time.Time }

func (w *stopwatch) rate(rows int) float64 { return float64(rows) / w.last.Sub(w.first).Seconds() }

// clocked is a source that notes when its first row comes.
type clocked struct {
	capture.Source
	watch *stopwatch
}

func (c clocked) Run(ctx context.Context, resume []byte, out capture.Output) error {
	return c.Source.Run(ctx, resume, &clockedOutput{Output: out, watch: c.watch})
}

type clockedOutput struct {
	capture.Output
	watch *stopwatch
	began bool
}

func (o *clockedOutput) Event(e *change.Event) error {
	if !o.began {
		o.began, o.watch.first = true, time.Now()
	}
	return o.Output.Event(e)
}

// counted is a log that calls full once it has that many events durably.
type counted struct {
	capture.Log
	resume []byte // where to begin; nil: where the log says
	left   atomic.Int64
	watch  *stopwatch
	full   func()
}

func (c *counted) Resume() []byte {
	if c.resume != nil {
		return c.resume
	}
	return c.Log.Resume()
}

func (c *counted) Add(r *change.Record) (int, error) {
	if r.Value != nil { // neither a tombstone nor a marker
		c.left.Add(-1)
	}
	return c.Log.Add(r)
}

func (c *counted) Flush(ctx context.Context, resume []byte) error {
	if err := c.Log.Flush(ctx, resume); err != nil {
		return err
	}
	if c.left.Load() <= 0 && c.watch.last.IsZero() {
		c.watch.last = time.Now()
		c.full()
	}
	return nil
}

// nowhere is a log that forgets.
type nowhere struct{}

func (nowhere) Resume() []byte                             { return nil }
func (nowhere) Table(context.Context, *change.Table) error { return nil }
func (nowhere) Add(r *change.Record) (int, error)          { return len(r.Key) + len(r.Value), nil }
func (nowhere) Flush(context.Context, []byte) error        { return nil }

// captured captures that many rows into a log and returns how many a second.
func captured(ctx context.Context, src capture.Source, identity change.Source, log capture.Log, resume []byte, rows int) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := &stopwatch{}
	c := &counted{Log: log, resume: resume, watch: watch, full: cancel}
	c.left.Store(int64(rows))
	if err := src.Check(ctx, c.Resume()); err != nil {
		return 0, err
	}
	if err := capture.Run(ctx, clocked{src, watch}, c, change.NewEncoder(identity), capture.Options{}); err != nil {
		return 0, err
	}
	if left := c.left.Load(); left != 0 {
		return 0, fmt.Errorf("read %d rows, want %d", int64(rows)-left, rows)
	}
	return watch.rate(rows), nil
}

// embedded is an embedded log of its own, with its state, in a folder of its own.
type embedded struct {
	dir   string
	log   *stream.Embedded
	store *state.SQLite
}

func (s *suite) openEmbedded(ctx context.Context) (*embedded, error) {
	dir, err := os.MkdirTemp(s.dir, "log-")
	if err != nil {
		return nil, err
	}
	return openEmbedded(ctx, dir)
}

// openEmbedded opens log and state as the command does.
func openEmbedded(ctx context.Context, dir string) (*embedded, error) {
	e := &embedded{dir: dir}
	var err error
	if e.store, err = state.OpenSQLite(filepath.Join(dir, "state.db"), state.SQLiteOptions{}); err != nil {
		return nil, err
	}
	if e.log, err = stream.OpenEmbedded(ctx, stream.EmbeddedOptions{Path: filepath.Join(dir, "stream.db")}); err != nil {
		return nil, errors.Join(err, e.store.Close())
	}
	return e, nil
}

func (e *embedded) close() error { return errors.Join(e.log.Close(), e.store.Close()) }

// remove closes it and takes its files away.
func (e *embedded) remove() error { return errors.Join(e.close(), os.RemoveAll(e.dir)) }

// capturedInto is captured with a fresh embedded log.
func (s *suite) capturedInto(ctx context.Context, src capture.Source, identity change.Source, resume []byte, rows int) (rate float64, err error) {
	e, err := s.openEmbedded(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.remove()) }()
	w, err := e.log.Writer(ctx, identity.Name, e.store)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return captured(ctx, src, identity, w, resume, rows)
}

// profiled writes a CPU profile of f, if profiles are wanted. A later one of that name
// takes its place.
func (s *suite) profiled(name string, f func() (float64, error)) (float64, error) {
	if s.profile == "" {
		return f()
	}
	file, err := os.Create(filepath.Join(s.profile, name+".pprof"))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return 0, err
	}
	defer pprof.StopCPUProfile()
	return f()
}
