package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
)

// timed is a log that notes when each row with an id behind from was durable first.
type timed struct {
	capture.Log
	from    int64
	mu      sync.Mutex
	pending []int64 // ids
	durable map[int64]time.Time
}

func (t *timed) Add(r *change.Record) (int, error) {
	if digits, ok := bytes.CutPrefix(r.Key, []byte(`{"id":`)); ok && r.Value != nil {
		if id, err := strconv.ParseInt(string(bytes.TrimSuffix(digits, []byte("}"))), 10, 64); err == nil && id > t.from {
			t.pending = append(t.pending, id)
		}
	}
	return t.Log.Add(r)
}

func (t *timed) Flush(ctx context.Context, resume []byte) error {
	if err := t.Log.Flush(ctx, resume); err != nil {
		return err
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range t.pending {
		if _, known := t.durable[id]; !known {
			t.durable[id] = now
		}
	}
	t.pending = t.pending[:0]
	return nil
}

// commitRows is how many rows each of the small transactions has.
const commitRows = 10

// durable measures how long after their commit small transactions are durable in the
// embedded log, at a steady rate, in runs of their own.
func (s *suite) durable(ctx context.Context, d *postgresDatabase) error {
	form := func(f float64) string { return fmt.Sprintf("%.1f ms", f) }
	for _, rate := range []int{1000, 5000} {
		var middle, late []float64
		for range s.runs {
			lags, err := s.steadyRun(ctx, d, rate)
			if err != nil {
				return err
			}
			middle, late = append(middle, quantile(lags, 0.5)), append(late, quantile(lags, 0.99))
		}
		for _, q := range []struct {
			name    string
			goal    float64
			results []float64
		}{{"p50", 3, middle}, {"p99", 10, late}} {
			m := median(q.results)
			s.add(figure{
				what: fmt.Sprintf("Commit to durable in the embedded log at %s rows/s, %s", number(float64(rate)), q.name),
				goal: fmt.Sprintf("≤ %.0f ms", q.goal), measured: form(m), verdict: atMost(m, q.goal), detail: list(q.results, form),
			})
		}
	}
	return nil
}

func (s *suite) steadyRun(ctx context.Context, d *postgresDatabase, rate int) (lags []float64, err error) {
	slot := d.name + "_steady"
	if err := errors.Join(d.exec(ctx, "TRUNCATE public.bench"), d.exec(ctx, "CHECKPOINT"), d.exec(ctx, "SELECT pg_create_logical_replication_slot('"+slot+"', 'pgoutput')")); err != nil {
		return nil, err
	}
	src, err := d.sourceWith(slot, s.dir)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(min(s.latency, 20*time.Second))
	lags, err = s.steady(ctx, d, src, rate, 0, func() bool { return time.Now().After(end) })
	return lags, errors.Join(err, d.dropSlots(ctx, slot))
}

// steady captures into an embedded log while rows are committed behind the id from at that rate, until ended says so. It
// returns how many milliseconds after its commit each was durable.
func (s *suite) steady(ctx context.Context, d *postgresDatabase, src *postgres.Source, rate, from int, ended func() bool) (lags []float64, err error) {
	e, err := s.openEmbedded(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.remove()) }()
	writer, err := e.log.Writer(ctx, "shop", e.store)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, writer.Close()) }()
	if err := src.Check(ctx, nil); err != nil {
		return nil, err
	}
	log := &timed{Log: writer, from: int64(from), durable: map[int64]time.Time{}}
	captureCtx, stop := context.WithCancel(ctx)
	defer stop()
	began, stopped := make(chan struct{}), make(chan error, 1)
	go awaitStreaming(captureCtx, src, began)
	go func() {
		stopped <- capture.Run(captureCtx, src, log, change.NewEncoder(src.Identity("bench")), capture.Options{})
	}()
	select {
	case <-began:
	case err := <-stopped:
		return nil, errors.Join(err, errors.New("capture ended before it began"))
	}
	committed := map[int64]time.Time{}
	tick := time.NewTicker(time.Second * commitRows / time.Duration(rate))
	defer tick.Stop()
	last := from
	for !ended() {
		<-tick.C
		if err := d.exec(ctx, insertRows(last, commitRows)); err != nil {
			return nil, err
		}
		last += commitRows
		committed[int64(last)] = time.Now()
	}
	for poll := time.NewTicker(10 * time.Millisecond); ; <-poll.C {
		log.mu.Lock()
		_, done := log.durable[int64(last)]
		log.mu.Unlock()
		if done || ctx.Err() != nil {
			poll.Stop()
			break
		}
	}
	stop()
	if err := errors.Join(<-stopped, ctx.Err()); err != nil {
		return nil, err
	}
	for id, at := range committed {
		lags = append(lags, max(0, float64(log.durable[id].Sub(at).Microseconds())/1000))
	}
	return lags, nil
}
