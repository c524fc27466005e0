package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// loadPatience is how long a load that failed waits before it is tried again.
const loadPatience = 10 * time.Second

// task is what a worker does next.
type task struct {
	load *load
	from *keyRange // nil: prepare the load, or with again read load.Again
}

// work loads tables until ctx ends.
func (l *loader) work(ctx context.Context) {
	rd := &reader{s: l.s}
	defer rd.close()
	for {
		t, changed, wait := l.take()
		if t == nil {
			rd.close() // no session without need
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-changed:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		err := l.perform(ctx, rd, t)
		l.release(t, err)
		if ctx.Err() != nil {
			return
		}
	}
}

// take finds work; none: it returns what is closed when there may be some, and how long
// to wait at most.
func (l *loader) take() (*task, <-chan struct{}, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := time.Hour
	for _, ld := range l.loads {
		if ld.Paused || ld.busy {
			continue
		}
		if d := time.Until(ld.retryAt); d > 0 {
			wait = min(wait, d)
			continue
		}
		if ld.plan == nil || !ld.Begun || ld.Ranges == nil {
			if slices.ContainsFunc(ld.Ranges, func(r *keyRange) bool { return r.taken }) {
				continue
			}
			ld.busy = true
			return &task{load: ld}, nil, 0
		}
		left := false
		for _, r := range ld.Ranges {
			if !r.Done {
				left = true
				if !r.taken {
					r.taken = true
					return &task{load: ld, from: r}, nil, 0
				}
			}
		}
		if !left {
			ld.busy = true
			return &task{load: ld}, nil, 0
		}
	}
	return nil, l.changed, wait
}

// release gives a task back.
func (l *loader) release(t *task, err error) {
	l.mu.Lock()
	ld := t.load
	if t.from != nil {
		l.drop(t.from)
	} else {
		ld.busy = false
	}
	if err != nil && !errors.Is(err, errPaused) {
		switch {
		case errors.Is(err, errChanged):
			ld.plan = nil
		case lost(err):
			ld.retryAt = time.Now().Add(time.Second)
		default:
			ld.retryAt = time.Now().Add(loadPatience)
		}
	}
	name, ended := ld.name, ld.ended
	l.announce()
	l.mu.Unlock()
	text := ""
	if err != nil && !ended && !errors.Is(err, context.Canceled) && !errors.Is(err, errPaused) && !errors.Is(err, errChanged) && !lost(err) {
		text = fmt.Sprintf("table %s can't be loaded: %v; it is tried again every %s", name, err, loadPatience)
	}
	l.s.warn("load "+name, text)
}

// errPaused: a load was paused, canceled or begun again.
var errPaused = errors.New("the load was stopped")

func (l *loader) perform(ctx context.Context, rd *reader, t *task) error {
	if t.from != nil {
		return l.readRange(ctx, rd, t.load, t.from)
	}
	l.mu.Lock()
	ready := t.load.plan != nil && t.load.Begun && t.load.Ranges != nil
	l.mu.Unlock()
	if ready {
		return l.readAgain(ctx, rd, t.load)
	}
	return l.prepare(ctx, rd, t.load)
}

func (l *loader) query(rd *reader, sql string) ([][]string, error) {
	if err := rd.wire.query(sql); err != nil {
		rd.close()
		return nil, err
	}
	rows, err := rd.wire.untilReady()
	var fault *serverFault
	if err != nil && !errors.As(err, &fault) {
		rd.close()
	}
	return rows, err
}

// look takes a snapshot.
func (l *loader) look(ctx context.Context, rd *reader) (*visibility, error) {
	if err := rd.open(ctx); err != nil {
		return nil, err
	}
	rows, err := l.query(rd, "SELECT pg_catalog.pg_current_snapshot()")
	if err != nil {
		return nil, err
	}
	return parseVisibility(rows[0][0])
}

// walEnd is the end of the flushed WAL; on a standby of what is replayed.
func (l *loader) walEnd(ctx context.Context, rd *reader) (uint64, error) {
	if err := rd.open(ctx); err != nil {
		return 0, err
	}
	sql := "SELECT pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_catalog.pg_lsn"
	if l.srv.standby {
		sql = "SELECT pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_catalog.pg_lsn WHERE pg_catalog.pg_is_in_recovery()"
	}
	rows, err := l.query(rd, sql)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		return 0, errPromoted
	}
	var end uint64
	_, err = fmt.Sscan(rows[0][0], &end)
	return end, err
}
