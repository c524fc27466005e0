package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pglogrepl"
)

const (
	nudgeInterval = 10 * time.Millisecond
	// flushPatience is how long the WAL's end may wait for being flushed. What is not by
	// then has no commit in it: those are flushed with the commit, or with
	// synchronous_commit off within three wal_writer_delays.
	flushPatience = 2 * time.Second
)

// nudge asks the server for its position while something waits for the stream.
func (l *loader) nudge(ctx context.Context) {
	ticker := time.NewTicker(nudgeInterval)
	defer ticker.Stop()
	var lowered time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if l.waiting.Load() == 0 {
			continue
		}
		l.ask()
		if time.Since(lowered) > flushPatience/2 && l.overdue() {
			l.lower(ctx)
			lowered = time.Now()
		}
	}
}

// overdue tells whether an item has waited for longer than commits may stay unflushed.
func (l *loader) overdue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.items, func(it *item) bool { return time.Since(it.since) > flushPatience && it.min > l.stuck[1] })
}

// lower takes the end of the flushed WAL for items that wait for one that is not flushed:
// there the records of open transactions may stand that nobody waits for.
func (l *loader) lower(ctx context.Context) {
	if l.srv.standby {
		return // it has nothing that is not flushed
	}
	conn, err := l.s.connect(ctx, false)
	if err != nil {
		return // the next round tries again
	}
	defer closeConn(conn)
	l.mu.Lock()
	var late []*item
	for _, it := range l.items {
		if time.Since(it.since) > flushPatience {
			late = append(late, it)
		}
	}
	l.mu.Unlock()
	rows, err := query(ctx, conn, "SELECT pg_catalog.pg_current_wal_flush_lsn()")
	if err != nil {
		return
	}
	flushed, err := pglogrepl.ParseLSN(rows[0][0])
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range late {
		if it.min > uint64(flushed) {
			l.stuck = [2]uint64{it.min, uint64(flushed)}
			it.min = uint64(flushed)
		}
	}
}
