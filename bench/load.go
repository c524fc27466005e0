package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture/postgres"
)

// load compares the first copy of a table, to nowhere, with one COPY whose output is thrown away. Then: how late commits are
// durable while a large table is copied into the embedded log, and how long a transaction is held open for it.
func (s *suite) load(ctx context.Context) (err error) {
	s.note("load: %s rows, %d runs", number(float64(s.rows)), s.runs)
	d, err := newPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(ctx)) }()
	if err := d.fill(ctx, s.rows); err != nil {
		return err
	}
	run := func(name string, reader func() (float64, error)) func() (float64, error) {
		return func() (float64, error) {
			rate, err := s.profiled(name, reader)
			if err == nil {
				s.note("  %-13s %s rows/s", name, number(rate))
			}
			return rate, err
		}
	}
	workers := func(n int) func() (float64, error) {
		return func() (rate float64, err error) {
			src, err := d.loading(n, s.dir)
			if err != nil {
				return 0, err
			}
			rate, err = captured(ctx, src, src.Identity("bench"), nowhere{}, nil, s.rows)
			return rate, errors.Join(err, d.dropSlots(ctx, "%"))
		}
	}
	baseline := run("copy", func() (float64, error) { return d.discardCopy(ctx) })
	if _, err := baseline(); err != nil { // the server's caches are warm for all
		return err
	}
	ordered := run("copy-in-order", func() (float64, error) { return d.discardInOrder(ctx, s.rows) })
	results, err := alternate(s.runs, baseline, run("load-1-worker", workers(1)), run("load-2-workers", workers(2)), ordered)
	if err != nil {
		return err
	}
	base := median(results[0])
	s.add(figure{what: "Postgres: one `COPY ... TO STDOUT`, discarded", measured: number(base) + " rows/s", detail: list(results[0], number)})
	for i, m := range []float64{median(results[1]), median(results[2])} {
		f := figure{what: "A table's load to nowhere, one worker", goal: "≥ 0.90 of that", verdict: atLeast(m/base, 0.90)}
		if i > 0 {
			f = figure{what: "The same, two workers"}
		}
		f.measured, f.detail = fmt.Sprintf("%.2f (%s rows/s)", m/base, number(m)), list(results[i+1], number)
		s.add(f)
	}
	inOrder := median(results[3])
	s.add(figure{what: "The same rows in pieces and in the order of their key, as a load that can go on reads them, discarded", measured: fmt.Sprintf("%.2f (%s rows/s)", inOrder/base, number(inOrder)), detail: list(results[3], number)})
	s.add(figure{what: "A table's load to nowhere, one worker, of that", measured: fmt.Sprintf("%.2f", median(results[1])/inOrder)})
	if s.huge == 0 {
		return nil
	}
	return s.whileLoading(ctx, d)
}

// fill makes the table with so many rows, as a database has one: vacuumed and in the statistics.
func (d *postgresDatabase) fill(ctx context.Context, rows int) error {
	if err := errors.Join(d.exec(ctx, "DROP TABLE IF EXISTS public.bench"), d.exec(ctx, postgresTable)); err != nil {
		return err
	}
	for done := 0; done < rows; done += 500_000 {
		if err := d.exec(ctx, insertRows(done, min(500_000, rows-done))); err != nil {
			return err
		}
	}
	return errors.Join(d.exec(ctx, "VACUUM (ANALYZE) public.bench"), d.exec(ctx, "CHECKPOINT"))
}

// loading is a source that begins with the table's load.
func (d *postgresDatabase) loading(workers int, dataDir string) (*postgres.Source, error) {
	return postgres.Open(&postgres.Config{
		URL: d.url, Tables: []string{"public.bench"}, Slot: d.name + "_load", Publication: publication, Snapshot: postgres.SnapshotInitial, SnapshotWorkers: workers,
	}, "shop", postgres.WithDataDir(dataDir))
}

// discardCopy reads the table with one COPY and returns rows a second, from the first row on.
func (d *postgresDatabase) discardCopy(ctx context.Context) (float64, error) {
	conn, err := pgconn.Connect(ctx, d.url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	sink := &firstWrite{}
	tag, err := conn.CopyTo(ctx, sink, "COPY public.bench TO STDOUT")
	return float64(tag.RowsAffected()) / time.Since(sink.first).Seconds(), err
}

// discardInOrder is discardCopy with pieces of the size of a load's, each in a transaction of its own.
func (d *postgresDatabase) discardInOrder(ctx context.Context, rows int) (float64, error) {
	const piece = 25_000
	conn, err := pgconn.Connect(ctx, d.url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	sink := &firstWrite{}
	for from := 0; from < rows; from += piece {
		tag, err := conn.CopyTo(ctx, sink, fmt.Sprintf("COPY (SELECT * FROM ONLY public.bench WHERE id > %d ORDER BY id LIMIT %d) TO STDOUT", from, piece))
		if err != nil {
			return 0, err
		}
		if want := min(piece, rows-from); tag.RowsAffected() != int64(want) {
			return 0, fmt.Errorf("behind id %d came %d rows, want %d", from, tag.RowsAffected(), want)
		}
	}
	return float64(rows) / time.Since(sink.first).Seconds(), nil
}

// firstWrite discards, and notes when the first bytes came.
type firstWrite struct{ first time.Time }

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.first.IsZero() {
		w.first = time.Now()
	}
	return io.Discard.Write(p)
}

// whileLoading commits at 1,000 rows/s into a table of s.huge rows that is being loaded.
func (s *suite) whileLoading(ctx context.Context, d *postgresDatabase) error {
	s.note("load: commits beside the load of %s rows", number(float64(s.huge)))
	if err := d.fill(ctx, s.huge); err != nil {
		return err
	}
	src, err := d.loading(2, s.dir)
	if err != nil {
		return err
	}
	watcher, err := pgconn.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Close(ctx) }()
	oldest, began, looked := 0.0, time.Now(), time.Time{}
	lags, err := s.steady(ctx, d, src, 1000, s.huge, func() bool {
		if time.Since(looked) < 50*time.Millisecond {
			return false
		}
		looked = time.Now()
		r := watcher.Exec(ctx, `SELECT COALESCE(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8::text FROM pg_stat_activity
			WHERE application_name LIKE 'penstock%' AND datname = current_database()`)
		results, err := r.ReadAll()
		if err != nil || len(results) != 1 || len(results[0].Rows) != 1 {
			return true
		}
		age, err := strconv.ParseFloat(string(results[0].Rows[0][0]), 64)
		oldest = max(oldest, age)
		tables := src.Status().Tables
		return err != nil || len(tables) == 1 && tables[0].Snapshot == "done"
	})
	took := time.Since(began)
	if tables := src.Status().Tables; err == nil && (len(tables) != 1 || tables[0].Snapshot != "done") {
		err = errors.New("the load was not looked at to its end")
	}
	if err := errors.Join(err, d.dropSlots(ctx, "%")); err != nil {
		return err
	}
	p99 := quantile(lags, 0.99)
	s.add(figure{
		what: fmt.Sprintf("Commit to durable while a table of %s rows is loaded, p99", number(float64(s.huge))), goal: "≤ 1000 ms", measured: fmt.Sprintf("%.0f ms", p99),
		verdict: atMost(p99, 1000), detail: fmt.Sprintf("p50 %.0f ms, greatest %.0f ms, %s rows/s loaded, two workers", quantile(lags, 0.5), quantile(lags, 1), number(float64(s.huge)/took.Seconds())),
	})
	s.add(figure{what: "The same: oldest transaction held", goal: "≤ 60 s", measured: fmt.Sprintf("%.2f s", oldest), verdict: atMost(oldest, 60)})
	return nil
}
