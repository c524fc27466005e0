package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// loadable is a database that a project of the command reads.
type loadable struct {
	kind, settings, table string
	load                  func(rows int) error
}

// memory runs the command on a backlog of each database: capture, log, sink and the app
// that discards, as fast as they go.
func (s *suite) memory(ctx context.Context) (err error) {
	s.note("memory: backlogs of %s rows", number(float64(s.rows)))
	pg, err := newPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pg.drop(ctx)) }()
	if err := pg.create(ctx); err != nil {
		return err
	}
	my, err := newMySQL(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, my.drop()) }()
	if err := my.exec(mysqlTables...); err != nil {
		return err
	}
	for _, l := range []loadable{
		{"postgres", pg.settings(), "public.bench", func(rows int) error { return pg.load(ctx, rows) }},
		{"mysql", fmt.Sprintf("  url = %q", my.url), my.name + ".bench", func(rows int) error {
			return my.exec(fmt.Sprintf("CALL load_many(%d)", rows/transactionRows))
		}},
	} {
		if err := s.backlog(ctx, l); err != nil {
			return fmt.Errorf("%s: %w", l.kind, err)
		}
	}
	return nil
}

func (s *suite) backlog(ctx context.Context, l loadable) error {
	dir, err := os.MkdirTemp(s.dir, "memory-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeProject(dir, l.kind, l.settings, l.table, "discard", "", "", ""); err != nil {
		return err
	}
	catchUp := func() (*process, error) {
		p, err := s.start(ctx, dir, "run", "--until-caught-up", dir)
		if err != nil {
			return nil, err
		}
		return p, p.wait(ctx)
	}
	if _, err := catchUp(); err != nil { // the slot or the position is there from now on
		return err
	}
	if err := l.load(s.rows); err != nil {
		return err
	}
	start := time.Now()
	p, err := catchUp()
	if err != nil {
		return err
	}
	s.addMemory("Resident memory, "+l.kind+" backlog into `discard`", p.memory())
	s.add(figure{what: "`run --until-caught-up` on that backlog, all in one process", measured: number(float64(s.rows)/time.Since(start).Seconds()) + " rows/s"})
	return nil
}

// payload is the size of a row's note in the big log, which does not compress.
const payload = 2000

// restart fills the log until it has the wanted size, kills penstock while it reads and
// writes it, and measures the start after that.
func (s *suite) restart(ctx context.Context) (err error) {
	if s.big <= 0 {
		return nil
	}
	s.note("restart: %.1f GiB in the log", float64(s.big)/(1<<30))
	d, err := newPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(ctx)) }()
	if err := d.create(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.dir, "restart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	if err := writeProject(dir, "postgres", d.settings(), "public.bench", "discard", "", fmt.Sprintf("ops { listen = %q }", address), ""); err != nil {
		return err
	}
	p, err := s.start(ctx, dir, "run", "--until-caught-up", dir)
	if err == nil {
		err = p.wait(ctx)
	}
	if err != nil {
		return err
	}
	if err := s.fillLog(ctx, dataFolder(dir)); err != nil {
		return fmt.Errorf("fill the log: %w", err)
	}
	if err := d.load(ctx, s.rows); err != nil {
		return err
	}
	// The kill comes while capture appends and the sink reads.
	if p, err = s.start(ctx, dir, "run", dir); err != nil {
		return err
	}
	if err = p.until(ctx, time.Minute, func() bool { return outcomeCount(ctx, address) > 1000 }); err != nil {
		return err
	}
	p.stop(syscall.SIGKILL)

	start := time.Now()
	if p, err = s.start(ctx, dir, "run", dir); err != nil {
		return err
	}
	defer p.stop(syscall.SIGKILL)
	if err := p.until(ctx, 2*time.Minute, func() bool { return ready(ctx, address) }); err != nil {
		return err
	}
	took := time.Since(start)
	before := outcomeCount(ctx, address)
	s.add(figure{what: fmt.Sprintf("Start after kill -9 with %.1f GiB in the log: ready", float64(s.big)/(1<<30)), goal: "≤ 10 s", measured: fmt.Sprintf("%.2f s", took.Seconds()), verdict: atMost(took.Seconds(), 10)})
	s.addMemory("The same: resident memory when ready", p.memory())
	later := time.Now().Add(20 * time.Second)
	if err := p.until(ctx, time.Minute, func() bool { return time.Now().After(later) }); err != nil {
		return err
	}
	// Memory says nothing of a process that has nothing left to do.
	after := outcomeCount(ctx, address)
	s.note("  still at work: the counts of outcomes went from %s to %s in 20 s", number(before), number(after))
	if after <= before {
		return errors.New("nothing was left to do after the start: the log is too small for this, raise -big")
	}
	s.addMemory("The same: resident memory 20 s later, at work on it", p.memory())
	return nil
}

// fillLog appends events to the topic of a stopped project, after those that it has,
// until the file is as large as wanted. None of them is read yet.
func (s *suite) fillLog(ctx context.Context, dir string) (err error) {
	e, err := openEmbedded(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	w, err := e.log.Writer(ctx, "shop", e.store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	table := customers()
	_, end, err := e.log.Bounds(ctx, table.Topic, 0)
	if err != nil {
		return err
	}
	last, err := e.log.Read(ctx, table.Topic, 0, max(0, end-1), 1)
	if err != nil || len(last) != 1 {
		return errors.Join(err, errors.New("the log has no last message"))
	}
	text, _ := last[0].Header(change.HeaderID)
	var id change.ID
	if err := id.UnmarshalText(text); err != nil {
		return err
	}
	// Behind the last one and before whatever the database commits next.
	f := &feed{w: w, table: table, encoder: change.NewEncoder(change.Source{Connector: change.Postgres, Name: "shop", Version: "bench"})}
	if err := w.Table(ctx, table); err != nil {
		return err
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	random := rand.New(rand.NewPCG(3, 4))
	note := make([]byte, payload)
	row := make(change.Row, len(table.Columns))
	resume := append([]byte(nil), w.Resume()...)
	for n := uint64(1); ; n++ {
		for i := range note {
			note[i] = letters[random.Uint32()&63]
		}
		key := strconv.FormatUint(1_000_000_000+n, 10)
		for c, v := range []string{key, "somebody" + key + "@example.com", "Some", "Body", "10.25", "true", "2026-03-04T13:14:15.123456Z", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", string(note)} {
			row[c] = change.Of(table.Columns[c].Kind, v)
		}
		if err := f.event(change.Event{Table: table, Op: change.Create, After: row, ID: change.NewPointID(id.Epoch(), id.Commit(), id.Position()&(1<<62-1)+n, 0), CommitTime: time.Now(), Snapshot: "true"}); err != nil {
			return err
		}
		if n%2000 != 0 {
			continue
		}
		if err := w.Flush(ctx, resume); err != nil {
			return err
		}
		info, err := os.Stat(filepath.Join(dir, "stream.db"))
		if err != nil {
			return err
		}
		if info.Size() >= s.big {
			return nil
		}
	}
}
