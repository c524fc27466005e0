package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// Options are the settings of Run; the zero value has the defaults.
type Options struct {
	// BatchBytes is what Run likes to make durable at once under load: 1 MiB by default.
	BatchBytes int
	// BufferBytes is how much may wait in memory for the log before the source is
	// held up: 2 MiB by default.
	BufferBytes int
	// Linger is the longest that a commit waits for company while the source has more
	// to read: 50 ms by default. With nothing more to read it does not wait.
	Linger time.Duration
	// StopTimeout is how long the last flush may take after ctx has ended: 5 s by default.
	StopTimeout time.Duration
	// Stats counts what is captured; nil: nobody looks.
	Stats *Stats
	// Failpoint, when set, is called at each step by which the log or the source gets
	// ahead of the other: capture.commit, capture.before_flush, capture.after_flush,
	// capture.after_confirm. Tests kill the process there.
	Failpoint func(name string)
}

func (o Options) withDefaults() Options {
	if o.BatchBytes <= 0 {
		o.BatchBytes = 1 << 20
	}
	if o.BufferBytes <= 0 {
		o.BufferBytes = max(2<<20, o.BatchBytes)
	}
	if o.Linger <= 0 {
		o.Linger = 50 * time.Millisecond
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = 5 * time.Second
	}
	if o.Stats == nil {
		o.Stats = NewStats()
	}
	if o.Failpoint == nil {
		o.Failpoint = func(string) {}
	}
	return o
}

// Run carries a source's changes into the log until ctx ends (nil) or one of them
// fails. It goes on where the log's resume point says; the caller has called
// src.Check with the same one. Encoding runs beside the writing and syncing of what
// was encoded before. What the source has committed is made durable before Run
// returns, if that takes no longer than Options.StopTimeout.
func Run(ctx context.Context, src Source, log Log, enc *change.Encoder, opts Options) error {
	opts = opts.withDefaults()
	resume := log.Resume()

	sourceCtx, stopSource := context.WithCancelCause(ctx)
	defer stopSource(nil)
	logCtx, stopLog := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLog()

	q := newQueue(opts)
	unwatch := context.AfterFunc(sourceCtx, func() { q.stop(context.Cause(sourceCtx)) })
	defer unwatch()

	written := make(chan error, 1)
	go func() {
		err := write(logCtx, q, src, log, resume, opts)
		q.stop(err)
		stopSource(err)
		written <- err
	}()

	err := src.Run(sourceCtx, resume, &output{queue: q, enc: enc, opts: opts, seen: map[*change.Table]bool{}})
	q.close()
	timer := time.AfterFunc(opts.StopTimeout, stopLog)
	defer timer.Stop()
	writeErr := <-written
	switch {
	case writeErr != nil:
		return writeErr
	case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))):
		return nil
	case err != nil:
		return fmt.Errorf("capture: %w", err)
	}
	return nil
}

// write lays batches into the log, makes each durable, and tells the source.
func write(ctx context.Context, q *queue, src Source, log Log, resume []byte, opts Options) error {
	resume = append([]byte(nil), resume...)
	var record change.Record
	for {
		b := q.take()
		if b == nil {
			return nil
		}
		if len(b.resume) > 0 {
			resume = append(resume[:0], b.resume...)
		}
		for i := range b.items {
			it := &b.items[i]
			if it.table != nil {
				if err := log.Table(ctx, it.table); err != nil {
					return fmt.Errorf("prepare topic %s: %w", it.table.Topic, err)
				}
				continue
			}
			b.record(it, &record)
			n, err := log.Add(&record)
			if err != nil {
				return fmt.Errorf("add to topic %s: %w", record.Topic, err)
			}
			if n > 0 {
				opts.Stats.bytes.Add(int64(n))
				if it.count != nil {
					it.count.Add(1)
				}
			}
		}
		opts.Failpoint("capture.before_flush")
		start := time.Now()
		if err := log.Flush(ctx, resume); err != nil {
			return fmt.Errorf("flush to the log: %w", err)
		}
		opts.Stats.flushed(time.Since(start))
		opts.Failpoint("capture.after_flush")
		if len(b.resume) > 0 {
			src.Confirm(resume)
			opts.Failpoint("capture.after_confirm")
		}
		q.done(b)
	}
}
