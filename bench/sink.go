package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/discard"
	"github.com/penstock-cdc/penstock/sink/rest"
	"github.com/penstock-cdc/penstock/state"
	"github.com/penstock-cdc/penstock/stream"
)

// The kinds of a sink's run, one after the other on the same log and state.
const (
	allNew = iota
	allChanged
	allUnchanged // in what the pipeline makes of them; the rows did change
	kinds
)

// sink measures intake and dispatch into the app that discards: events that are in an
// embedded log already, of keys that are new, known and changed, known and unchanged.
func (s *suite) sink(ctx context.Context) error {
	s.note("sink: %s keys, %d runs", number(float64(s.keys)), s.runs)
	var rates [kinds][]float64
	for range s.runs {
		one, err := s.sinkRun(ctx)
		if err != nil {
			return err
		}
		for k, r := range one {
			rates[k] = append(rates[k], r)
		}
		s.note("  new %s, changed %s, unchanged %s events/s", number(one[allNew]), number(one[allChanged]), number(one[allUnchanged]))
	}
	for _, f := range []struct {
		kind int
		what string
		goal float64
	}{
		{allChanged, "Intake and dispatch into `discard`, with shadow, known keys changed", 25_000},
		{allNew, "The same, new keys", 20_000},
		{allUnchanged, "The same, known keys with nothing to send", 50_000},
	} {
		m := median(rates[f.kind])
		s.add(figure{what: f.what, goal: "≥ " + number(f.goal) + " events/s", measured: number(m) + " events/s", verdict: atLeast(m, f.goal), detail: list(rates[f.kind], number)})
	}
	return nil
}

func (s *suite) sinkRun(ctx context.Context) (rates [kinds]float64, err error) {
	e, err := s.openEmbedded(ctx)
	if err != nil {
		return rates, err
	}
	defer func() { err = errors.Join(err, e.remove()) }()
	if err := writeProject(e.dir, "postgres", `  url = "postgres://localhost/shop"`, "public.bench", "discard", "", "", ""); err != nil {
		return rates, err
	}
	table := customers()
	w, err := e.log.Writer(ctx, "shop", e.store)
	if err != nil {
		return rates, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	feed := &feed{
		w: w, table: table, encoder: change.NewEncoder(change.Source{Connector: change.Postgres, Name: "shop", Version: "bench"}),
		commit: 1, random: rand.New(rand.NewPCG(1, 2)),
	}
	var applied, unchanged int64
	for kind := range rates {
		if err := feed.fill(ctx, kind, s.keys); err != nil {
			return rates, err
		}
		var ledger state.Ledger
		rates[kind], err = s.profiled("sink-"+[]string{"new", "changed", "unchanged"}[kind], func() (rate float64, err error) {
			rate, ledger, err = sinkPhase(ctx, e, table, s.keys)
			return rate, err
		})
		if err != nil {
			return rates, err
		}
		// An engine that drops events is fast: what became of them is checked.
		if kind == allUnchanged {
			unchanged += int64(s.keys)
		} else {
			applied += int64(s.keys)
		}
		if ledger.Applied != applied || ledger.Unchanged != unchanged {
			return rates, fmt.Errorf("%d events were applied and %d unchanged, want %d and %d", ledger.Applied, ledger.Unchanged, applied, unchanged)
		}
	}
	return rates, nil
}

// sinkPhase starts an engine on what the log has, and stops it when all of it is done.
func sinkPhase(ctx context.Context, e *embedded, table *change.Table, events int) (rate float64, ledger state.Ledger, err error) {
	pipe, prog, err := compiled(e.dir, table)
	if err != nil {
		return 0, ledger, err
	}
	app, err := discard.Open(&discard.Config{}, "crm", rest.Env{})
	if err != nil {
		return 0, ledger, err
	}
	_, end, err := e.log.Bounds(ctx, table.Topic, 0)
	if err != nil {
		return 0, ledger, err
	}
	engine, err := sink.New(ctx, sink.Options{Store: e.store, Apps: map[string]sink.App{"crm": app}, Pipelines: []sink.Spec{{
		Name: pipe.Name, Topic: table.Topic, App: "crm", Object: pipe.To.Object, Program: prog, Partitions: 1,
		Schema: func(ctx context.Context, topic, version string) (*change.Table, error) {
			return e.log.Schema(ctx, "shop", topic, version)
		},
		OnDelete: pipe.On.Delete, OnLeave: pipe.On.Leave, OnAppDelete: pipe.On.AppDelete, Guard: sink.DefaultGuard,
	}}})
	if err != nil {
		return 0, ledger, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 2)
	start := time.Now()
	go func() { done <- engine.Run(ctx) }()
	go func() {
		done <- e.log.Consume(ctx, pipe.Name, []string{table.Topic}, consumer{engine.Pipeline(pipe.Name)})
	}()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		progress, err := engine.Progress(pipe.Name, map[int]int64{0: end})
		if err != nil {
			return 0, ledger, err
		}
		if progress.CaughtUp() {
			rate = float64(events) / time.Since(start).Seconds()
			break
		}
		select {
		case err := <-done:
			return 0, ledger, errors.Join(errors.New("the sink ended by itself"), err)
		case <-tick.C:
		}
	}
	cancel()
	err = errors.Join(<-done, <-done)
	return rate, engine.Status().Pipelines[0].Ledger, err
}

// feed writes events into a log.
type feed struct {
	w       stream.Writer
	table   *change.Table
	encoder *change.Encoder
	commit  uint64 // position of the last transaction
	random  *rand.Rand
}

// fill writes one event for each key, in random order where the keys are known, in
// transactions of 100.
func (f *feed) fill(ctx context.Context, kind, keys int) error {
	if err := f.w.Table(ctx, f.table); err != nil {
		return err
	}
	order := make([]int, keys)
	for i := range order {
		order[i] = i
	}
	if kind != allNew {
		f.random.Shuffle(keys, func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	now := time.Now()
	row := make(change.Row, len(f.table.Columns))
	for i, key := range order {
		if i%transactionRows == 0 {
			f.commit += 1000
		}
		op, mrr := change.Update, "20.50"
		if kind == allNew {
			op, mrr = change.Create, "10.25"
		}
		id := strconv.Itoa(key + 1)
		for c, v := range []string{id, "somebody" + id + "@example.com", "Some", "Body", mrr, "true", "2026-03-04T13:14:15.123456Z", f.hex(8) + "-9c0b-4ef8-bb6d-" + f.hex(12), f.hex(96) + " customer since 2019, net 30"} {
			row[c] = change.Of(f.table.Columns[c].Kind, v)
		}
		if err := f.event(change.Event{
			Table: f.table, Op: op, After: row, ID: change.NewID(1, f.commit, f.commit-500+uint64(i%transactionRows), 0),
			CommitTime: now, TxID: "1", TxOrder: int64(i%transactionRows) + 1, TableOrder: int64(i%transactionRows) + 1,
		}); err != nil {
			return err
		}
		if i%5000 == 4999 || i == keys-1 {
			if err := f.w.Flush(ctx, []byte(`{}`)); err != nil {
				return err
			}
		}
	}
	return nil
}

// hex returns that many random hex digits.
func (f *feed) hex(digits int) string {
	const all = "0123456789abcdef"
	out := make([]byte, digits)
	for i := range out {
		out[i] = all[f.random.Uint32()&15]
	}
	return string(out)
}

func (f *feed) event(e change.Event) error {
	return f.encoder.Encode(&e, time.Now(), func(r *change.Record) error {
		_, err := f.w.Add(r)
		return err
	})
}

// dataFolder is where a project's penstock keeps its files.
func dataFolder(dir string) string { return filepath.Join(dir, "data") }
