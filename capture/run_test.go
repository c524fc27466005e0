package capture_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

var table = (&change.Table{Schema: "s", Name: "t", Topic: "x.s.t", Columns: []change.Column{{Name: "id", Kind: change.Int}}, Key: []int{0}}).Seal()

// script is a source that does what a function says.
type script struct {
	capture.Source
	run func(ctx context.Context, out capture.Output) error

	mu        sync.Mutex
	confirmed []string
}

func (s *script) Run(ctx context.Context, _ []byte, out capture.Output) error { return s.run(ctx, out) }

func (s *script) Confirm(resume []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed = append(s.confirmed, string(resume))
}

// slowLog takes a while for each flush and keeps what came when.
type slowLog struct {
	delay   time.Duration
	err     error
	start   time.Time
	pending int
	flushes []string // records and resume point
	times   []time.Duration
}

func (l *slowLog) Resume() []byte                             { return []byte("start") }
func (l *slowLog) Table(context.Context, *change.Table) error { return nil }
func (l *slowLog) Add(*change.Record) (int, error)            { l.pending++; return 1, nil }
func (l *slowLog) Flush(ctx context.Context, resume []byte) error {
	l.times = append(l.times, time.Since(l.start))
	select {
	case <-time.After(l.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	l.flushes = append(l.flushes, fmt.Sprint(l.pending, " ", string(resume)))
	l.pending = 0
	return l.err
}

func event(n int) *change.Event {
	return &change.Event{Table: table, Op: change.Create, ID: change.NewID(1, uint64(n), 1, 0), After: change.Row{change.OfInt(int64(n))}, CommitTime: time.Unix(1, 0)}
}

func run(t *testing.T, log *slowLog, opts capture.Options, f func(ctx context.Context, out capture.Output) error) (*script, error) {
	t.Helper()
	log.start = time.Now()
	s := &script{run: f}
	err := capture.Run(t.Context(), s, log, change.NewEncoder(change.Source{Name: "x"}), opts)
	return s, err
}

// TestIdleFlushesAtOnce: with nothing more to read a commit does not wait.
func TestIdleFlushesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &slowLog{delay: time.Millisecond}
		s, err := run(t, log, capture.Options{}, func(_ context.Context, out capture.Output) error {
			for i := range 3 {
				if err := errors.Join(out.Event(event(i+1)), out.Commit([]byte{'0' + byte(i)})); err != nil {
					return err
				}
				out.Idle()
				time.Sleep(time.Second)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{0, time.Second, 2 * time.Second}
		if !slices.Equal(log.times, want) || !slices.Equal(log.flushes, []string{"1 0", "1 1", "1 2"}) || !slices.Equal(s.confirmed, []string{"0", "1", "2"}) {
			t.Errorf("flushed %v at %v, confirmed %v", log.flushes, log.times, s.confirmed)
		}
	})
}

// TestLinger: a source that does not say that it is idle is flushed after the linger.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &slowLog{}
		_, err := run(t, log, capture.Options{Linger: 70 * time.Millisecond}, func(_ context.Context, out capture.Output) error {
			err := errors.Join(out.Event(event(1)), out.Commit([]byte("a")))
			time.Sleep(time.Second)
			return err
		})
		if err != nil || !slices.Equal(log.times, []time.Duration{70 * time.Millisecond}) {
			t.Errorf("flushed at %v, %v", log.times, err)
		}
	})
}

// TestHugeTransaction: within a transaction the resume point is that of the last commit.
func TestHugeTransaction(t *testing.T) {
	log := &slowLog{}
	s, err := run(t, log, capture.Options{BatchBytes: 1000, BufferBytes: 3000}, func(_ context.Context, out capture.Output) error {
		err := errors.Join(out.Event(event(1)), out.Commit([]byte("first")), out.Flush(t.Context()))
		for i := range 1000 {
			err = errors.Join(err, out.Event(event(i+2)))
		}
		return errors.Join(err, out.Commit([]byte("second")))
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(log.flushes); n < 50 || log.flushes[0] != "1 first" {
		t.Errorf("%d flushes: %v", n, log.flushes[:min(3, n)])
	}
	for _, f := range log.flushes[1 : len(log.flushes)-1] {
		var n int
		var resume string
		if _, err := fmt.Sscan(f, &n, &resume); err != nil || resume != "first" {
			t.Fatalf("within the transaction flushed %q", f)
		}
	}
	if !slices.Equal(s.confirmed, []string{"first", "second"}) {
		t.Errorf("confirmed %v", s.confirmed)
	}
}

// TestLogError: an error of the log ends a source that waits for its database.
func TestLogError(t *testing.T) {
	full := errors.New("disk full")
	s, err := run(t, &slowLog{err: full}, capture.Options{}, func(ctx context.Context, out capture.Output) error {
		if err := errors.Join(out.Event(event(1)), out.Commit([]byte("a"))); err != nil {
			return err
		}
		out.Idle()
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, full) || len(s.confirmed) != 0 {
		t.Errorf("got %v, confirmed %v", err, s.confirmed)
	}
}

// TestStop: what was committed is flushed when capture is stopped, within the timeout.
func TestStop(t *testing.T) {
	for _, delay := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			log := &slowLog{delay: delay}
			s := &script{run: func(ctx context.Context, out capture.Output) error {
				err := errors.Join(out.Event(event(1)), out.Commit([]byte("a")))
				cancel()
				<-ctx.Done()
				return err
			}}
			start := time.Now()
			err := capture.Run(ctx, s, log, change.NewEncoder(change.Source{Name: "x"}), capture.Options{StopTimeout: 5 * time.Second})
			if delay == time.Second && (err != nil || len(log.flushes) != 1) || delay == time.Hour && (err == nil || time.Since(start) != 5*time.Second) {
				t.Errorf("delay %v: got %v after %v, %d flushes", delay, err, time.Since(start), len(log.flushes))
			}
		})
	}
}

// TestStats counts events, not tombstones.
func TestStats(t *testing.T) {
	stats := capture.NewStats()
	_, err := run(t, &slowLog{}, capture.Options{Stats: stats}, func(_ context.Context, out capture.Output) error {
		e := event(2)
		e.Op, e.Before, e.After = change.Delete, e.After, nil
		return errors.Join(out.Event(event(1)), out.Event(e), out.Commit([]byte("a")))
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	stats.Events(func(table string, op change.Op, n uint64) { got[table+" "+op.String()] = n })
	if len(got) != 2 || got["s.t c"] != 1 || got["s.t d"] != 1 || stats.Bytes() != 3 {
		t.Errorf("got %v, %d bytes", got, stats.Bytes())
	}
}

// TestFailpoints: each is passed, in the order of what happens.
func TestFailpoints(t *testing.T) {
	var mu sync.Mutex
	var got []string
	_, err := run(t, &slowLog{}, capture.Options{Failpoint: func(name string) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, name)
	}}, func(_ context.Context, out capture.Output) error {
		return errors.Join(out.Event(event(1)), out.Commit([]byte("a")))
	})
	want := []string{"capture.commit", "capture.before_flush", "capture.after_flush", "capture.after_confirm"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func BenchmarkRun(b *testing.B) {
	e := event(1)
	log := &slowLog{}
	s := &script{run: func(_ context.Context, out capture.Output) error {
		for i := 0; b.Loop(); i++ {
			e.ID = change.NewID(1, uint64(i+1), 1, 0)
			if err := out.Event(e); err != nil {
				return err
			}
			if i%100 == 99 {
				if err := out.Commit([]byte("a")); err != nil {
					return err
				}
			}
		}
		return nil
	}}
	b.ReportAllocs()
	if err := capture.Run(b.Context(), s, log, change.NewEncoder(change.Source{Name: "x"}), capture.Options{}); err != nil {
		b.Fatal(err)
	}
}
