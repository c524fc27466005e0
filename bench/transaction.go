package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
)

// transaction compares how long after the commit of one large transaction its last row
// is there: at a client that discards, and at penstock to nowhere. Both receive it while
// it is in progress. Then: how late small commits are durable at a steady rate, and how
// much memory capture has meanwhile and through a huge transaction.
func (s *suite) transaction(ctx context.Context) (err error) {
	s.note("transaction: %s rows in one, %d runs", number(float64(s.rows)), s.runs)
	d, err := newPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(ctx)) }()
	if err := d.exec(ctx, postgresTable); err != nil {
		return err
	}
	if err := d.exec(ctx, "CREATE PUBLICATION "+publication+" FOR TABLE public.bench WITH (publish_via_partition_root = true, publish_generated_columns = stored)"); err != nil {
		return err
	}
	if err := s.durable(ctx, d); err != nil { // first, since what the large transactions leave to write delays every commit
		return err
	}
	var spilled []float64
	run := func(name string, reader func(ctx context.Context, slot string, began chan<- struct{}) (time.Time, error)) func() (float64, error) {
		return func() (float64, error) {
			took, spill, err := d.largeTransaction(ctx, s.rows, reader)
			if err != nil {
				return 0, err
			}
			s.note("  %-8s last row %.2f s after the commit, %s spilled by the server", name, took, mebibytes(spill))
			if name == "nowhere" {
				spilled = append(spilled, spill)
			}
			return took, nil
		}
	}
	results, err := alternate(s.runs,
		run("discard", func(ctx context.Context, slot string, began chan<- struct{}) (time.Time, error) {
			return discardTransaction(ctx, d.url, slot, began)
		}),
		run("nowhere", func(ctx context.Context, slot string, began chan<- struct{}) (time.Time, error) {
			src, err := d.sourceWith(slot, s.dir)
			if err != nil {
				return time.Time{}, err
			}
			return lastRow(ctx, src, s.rows, began)
		}))
	if err != nil {
		return err
	}
	seconds := func(f float64) string { return fmt.Sprintf("%.2f s", f) }
	base, ours := median(results[0]), median(results[1])
	s.add(figure{what: "Postgres: last row of a large transaction after its commit, a client that discards", measured: seconds(base), detail: list(results[0], seconds)})
	s.add(figure{
		what: "The same to nowhere", goal: "≤ 1.5 times that", measured: fmt.Sprintf("%.2f (%.2f s)", ours/base, ours), verdict: atMost(ours/base, 1.5), detail: list(results[1], seconds),
	})
	s.add(figure{what: "The same: spilled by the server", goal: "0 bytes", measured: mebibytes(median(spilled)), verdict: atMost(median(spilled), 0)})
	return s.resident(ctx, d)
}

// largeTransaction makes one transaction while reader reads a fresh slot, and returns how
// long after its commit reader had the last row, in seconds, and what the server spilled.
func (d *postgresDatabase) largeTransaction(ctx context.Context, rows int, reader func(context.Context, string, chan<- struct{}) (time.Time, error)) (took, spill float64, err error) {
	slot := d.name + "_large"
	if err := d.exec(ctx, "TRUNCATE public.bench"); err != nil {
		return 0, 0, err
	}
	if err := d.exec(ctx, "SELECT pg_create_logical_replication_slot('"+slot+"', 'pgoutput')"); err != nil {
		return 0, 0, err
	}
	type answer struct {
		at  time.Time
		err error
	}
	began, answered := make(chan struct{}), make(chan answer, 1)
	go func() {
		at, err := reader(ctx, slot, began)
		answered <- answer{at, err}
	}()
	select {
	case <-began:
	case a := <-answered:
		return 0, 0, errors.Join(a.err, errors.New("the reader ended before the transaction began"))
	}
	if err := d.exec(ctx, "BEGIN"); err != nil {
		return 0, 0, err
	}
	for done := 0; done < rows; done += 50_000 {
		if err := d.exec(ctx, insertRows(done, min(50_000, rows-done))); err != nil {
			return 0, 0, err
		}
	}
	if err := d.exec(ctx, "COMMIT"); err != nil {
		return 0, 0, err
	}
	committed := time.Now()
	a := <-answered
	if a.err != nil {
		return 0, 0, a.err
	}
	result := d.conn.ExecParams(ctx, "SELECT spill_bytes FROM pg_stat_replication_slots WHERE slot_name = $1", [][]byte{[]byte(slot)}, nil, nil, nil).Read()
	if result.Err != nil || len(result.Rows) != 1 {
		return 0, 0, errors.Join(result.Err, errors.New("the server has no statistics of the slot"))
	}
	spill, err = strconv.ParseFloat(string(result.Rows[0][0]), 64)
	return max(0, a.at.Sub(committed).Seconds()), spill, errors.Join(err, d.dropSlots(ctx, slot))
}

// insertRows is the statement for that many rows behind an id.
func insertRows(from, rows int) string {
	return fmt.Sprintf(`INSERT INTO public.bench SELECT %[1]d + n, 'somebody' || (%[1]d + n) || '@example.com', initcap(left(md5(n::text), 5)), initcap(right(md5(n::text), 7)),
		n %% 100000 + 0.25, n %% 3 > 0, clock_timestamp(), gen_random_uuid(),
		md5((%[1]d + n)::text) || ' ' || md5((%[1]d - n)::text) || ' ' || md5((2 * n)::text) || ' customer since 2019, net 30' FROM generate_series(1, %[2]d) n`, from, rows)
}

// discardTransaction reads a slot with protocol version 2 until a transaction that was in
// progress commits, and throws everything away.
func discardTransaction(ctx context.Context, url, slot string, began chan<- struct{}) (time.Time, error) {
	var none time.Time
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return none, errors.New("the database's URL does not parse") // err would show the password
	}
	cfg.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return none, err
	}
	h, err := conn.Hijack()
	if err != nil {
		return none, err
	}
	defer h.Conn.Close()
	defer context.AfterFunc(ctx, func() { _ = h.Conn.Close() })()
	query := fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '2', streaming 'on', publication_names '%s')\x00", slot, publication)
	if _, err := h.Conn.Write(append(binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(query))), query...)); err != nil {
		return none, err
	}
	status := append(binary.BigEndian.AppendUint32([]byte{'d'}, 38), append([]byte{'r'}, make([]byte, 33)...)...)
	buf := make([]byte, 1<<20)
	r, w := 0, 0
	fill := func(n int) error {
		if w-r >= n {
			return nil
		}
		w = copy(buf, buf[r:w])
		r = 0
		if n > len(buf) {
			return errors.New("a message that no row of the load has")
		}
		m, err := io.ReadAtLeast(h.Conn, buf[w:], n-w)
		w += m
		return err
	}
	for {
		if err := fill(5); err != nil {
			return none, fmt.Errorf("read slot: %w", err)
		}
		size := int(binary.BigEndian.Uint32(buf[r+1:])) + 1
		if err := fill(size); err != nil {
			return none, fmt.Errorf("read slot: %w", err)
		}
		m := buf[r : r+size]
		r += size
		switch {
		case m[0] == 'E':
			return none, errors.New("read slot: the server refuses")
		case m[0] == 'W':
			close(began)
		case m[0] == 'd' && m[5] == 'w' && (m[30] == 'c' || m[30] == 'C'): // Stream Commit; Commit, when it was small
			return time.Now(), nil
		case m[0] == 'd' && m[5] == 'k' && m[size-1] == 1:
			if _, err := h.Conn.Write(status); err != nil {
				return none, err
			}
		}
	}
}

func (d *postgresDatabase) sourceWith(slot, dataDir string) (*postgres.Source, error) {
	return postgres.Open(&postgres.Config{
		URL: d.url, Tables: []string{"public.bench"}, Slot: slot, Publication: publication, Snapshot: postgres.SnapshotNever,
	}, "shop", postgres.WithDataDir(dataDir))
}

// lastRow captures to nowhere and returns when the last of so many rows was there.
func lastRow(ctx context.Context, src *postgres.Source, rows int, began chan<- struct{}) (time.Time, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := &stopwatch{}
	c := &counted{Log: nowhere{}, watch: watch, full: cancel}
	c.left.Store(int64(rows))
	if err := src.Check(ctx, nil); err != nil {
		return time.Time{}, err
	}
	go awaitStreaming(ctx, src, began)
	err := capture.Run(ctx, src, c, change.NewEncoder(src.Identity("bench")), capture.Options{})
	if left := c.left.Load(); err == nil && left != 0 {
		err = fmt.Errorf("read %d rows, want %d", int64(rows)-left, rows)
	}
	return watch.last, err
}

func awaitStreaming(ctx context.Context, src *postgres.Source, began chan<- struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for state := ""; state != "streaming" && state != "snapshot"; state = src.Status().State {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	close(began)
}

// resident measures the memory of a process that captures into its embedded log and has no pipeline: while it streams small
// transactions, and through one huge transaction.
func (s *suite) resident(ctx context.Context, d *postgresDatabase) error {
	for _, m := range []struct {
		what  string
		limit float64
		rows  int
		load  func(rows int) error
	}{
		{"Resident memory of capture alone, small transactions", 48 << 20, s.rows, func(rows int) error { return d.load(ctx, rows) }},
		{fmt.Sprintf("Resident memory of capture alone, one transaction of %s rows", number(float64(s.huge))), 128 << 20, s.huge, func(rows int) error {
			return d.exec(ctx, "BEGIN; "+insertRows(0, rows)+"; COMMIT")
		}},
	} {
		if m.rows == 0 {
			continue
		}
		peak, err := s.residentWhile(ctx, d, func() error { return m.load(m.rows) })
		if err != nil {
			return err
		}
		s.add(figure{what: m.what, goal: "≤ " + mebibytes(m.limit), measured: mebibytes(peak), verdict: atMost(peak, m.limit)})
	}
	return nil
}

func (s *suite) residentWhile(ctx context.Context, d *postgresDatabase, load func() error) (peak float64, err error) {
	if err := d.exec(ctx, "TRUNCATE public.bench"); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(s.dir, "capture-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	text := fmt.Sprintf("penstock { data_dir = \"data\" }\nsource \"postgres\" \"shop\" {\n%s\n  snapshot = \"never\"\n  table \"bench\" { name = \"public.bench\" }\n}\n", d.settings())
	if err := os.WriteFile(filepath.Join(dir, "penstock.hcl"), []byte(text), 0o600); err != nil {
		return 0, err
	}
	p, err := s.start(ctx, dir, "run", dir)
	if err != nil {
		return 0, err
	}
	defer p.stop(syscall.SIGTERM)
	active := func() bool {
		r := d.conn.ExecParams(ctx, "SELECT FROM pg_replication_slots WHERE active AND slot_name = $1", [][]byte{[]byte(d.name)}, nil, nil, nil).Read()
		return r.Err == nil && len(r.Rows) == 1
	}
	if err := p.until(ctx, time.Minute, active); err != nil {
		return 0, err
	}
	if err := load(); err != nil {
		return 0, err
	}
	end := d.conn.ExecParams(ctx, "SELECT pg_current_wal_lsn()", nil, nil, nil, nil).Read()
	if end.Err != nil {
		return 0, end.Err
	}
	if err := p.until(ctx, 30*time.Minute, func() bool { // VmHWM keeps the peak of the time between
		r := d.conn.ExecParams(ctx, "SELECT FROM pg_replication_slots WHERE confirmed_flush_lsn >= $2::pg_lsn AND slot_name = $1", [][]byte{[]byte(d.name), end.Rows[0][0]}, nil, nil, nil).Read()
		return r.Err == nil && len(r.Rows) == 1
	}); err != nil {
		return 0, err
	}
	p.stop(syscall.SIGTERM)
	if left, err := filepath.Glob(filepath.Join(dir, "data", "transactions", "shop", "*")); err != nil || len(left) > 0 {
		return 0, errors.Join(err, fmt.Errorf("files of transactions are left: %v", left))
	}
	return p.memory(), d.dropSlots(ctx, d.name)
}
