package capturetest

import (
	"context"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// Harness is one fresh database to capture from. Each test of the suite gets one.
type Harness struct {
	// Identity is what the encoder needs to know of the source; its name stands first in topics.
	Identity change.Source
	// Schema is the schema (MySQL: the database) that the suite makes its tables in;
	// all tables in it are captured but those whose name begins with skip_.
	Schema string
	// Open makes a source on the database. It is called again for each restart.
	Open func(tb testing.TB) capture.Source
	// Exec runs statements, each in its own transaction. It may be called from any goroutine.
	Exec func(tb testing.TB, statements ...string)
	// Tx runs statements in one transaction, and commits or rolls back.
	Tx func(tb testing.TB, commit bool, statements ...string)
	// Query returns a statement's rows as text, NULL as "".
	Query func(tb testing.TB, sql string) [][]string
	// NoKey returns the statements that make a table without a key captured whole; none on MySQL.
	NoKey func(table string) []string
	// FullBefore: updates and deletes have the whole old row by themselves (MySQL).
	FullBefore bool
	// Resumes: changes are streamed while a snapshot runs, which goes on after a crash.
	Resumes bool
	// TruncateInTx: TRUNCATE is a part of a transaction (Postgres).
	TruncateInTx bool
}

// topic returns the topic of one of the suite's tables.
func (h *Harness) topic(table string) string {
	return change.Topic(h.Identity.Name, h.Schema, table)
}

// name returns a table's name for SQL.
func (h *Harness) name(table string) string { return h.Schema + "." + table }

// Capture is a running capture.
type Capture struct {
	Log    *Log
	Source capture.Source
	cancel context.CancelFunc
	done   chan error
}

// Start runs a source of the harness into a log.
func (h *Harness) Start(tb testing.TB, log *Log) *Capture {
	tb.Helper()
	return h.StartSource(tb, log, h.Open(tb), capture.Options{})
}

// StartSource runs a source into a log. Stop ends it; the end of the test does too.
func (h *Harness) StartSource(tb testing.TB, log *Log, src capture.Source, opts capture.Options) *Capture {
	tb.Helper()
	if err := src.Check(tb.Context(), log.Resume()); err != nil {
		tb.Fatalf("check source: %v", err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	c := &Capture{Log: log, Source: src, cancel: cancel, done: make(chan error, 1)}
	go func() { c.done <- capture.Run(ctx, src, log, change.NewEncoder(h.Identity), opts) }()
	tb.Cleanup(func() {
		cancel()
		<-c.done
	})
	return c
}

// Stop ends the capture and returns what Run returned.
func (c *Capture) Stop() error {
	c.cancel()
	err := <-c.done
	c.done <- err
	return err
}

// Wait waits until Run returns by itself.
func (c *Capture) Wait() error {
	err := <-c.done
	c.done <- err
	return err
}

// Streaming waits until the source has finished its snapshot and streams.
func (c *Capture) Streaming(tb testing.TB) {
	tb.Helper()
	Poll(tb, "streaming", func() bool {
		select {
		case err := <-c.done:
			c.done <- err
			tb.Fatalf("capture ended: %v", err)
		default:
		}
		return c.Source.Status().State == "streaming"
	})
}
