package stream

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	walLong = 32 << 20    // bytes of WAL from which on it is written back into the file
	walOld  = time.Minute // after which a shorter one is too

	trimEvery = 5 * time.Second
	// trimAfter is how long after the start nothing is trimmed: by then each pipeline
	// has said what it still needs.
	trimAfter = time.Minute
	// trimBatches bounds one transaction of trimming, which the writers wait for.
	trimBatches = 64
)

// housekeep writes the WAL back and trims, until ctx ends.
func (e *Embedded) housekeep(ctx context.Context) {
	defer close(e.done)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	trimmed, written := e.opened.Add(trimAfter-trimEvery), e.opened
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if e.err() != nil {
			return
		}
		var err error
		if n := e.wal.Load(); n >= walLong || n > 0 && time.Since(written) >= walOld {
			written = time.Now()
			err = e.shortenWAL()
		}
		if err == nil && time.Since(trimmed) >= trimEvery {
			trimmed = time.Now()
			err = e.Trim(ctx, trimmed)
		}
		if err != nil && ctx.Err() == nil {
			// Writers and readers return it from now on.
			e.opts.Logger.Error("stream stopped", "error", e.fail(err))
			return
		}
	}
}

// shortenWAL writes the WAL back into the file. The first pass runs beside the
// writer; the second, which has the WAL begin anew, finds little left to do.
func (e *Embedded) shortenWAL() error {
	if err := e.checkpoint(context.Background(), e.fill, "PASSIVE"); err != nil {
		return err
	}
	e.write.Lock()
	defer e.write.Unlock()
	if e.err() != nil {
		return nil // whoever met it has returned it
	}
	if err := e.checkpoint(context.Background(), e.writer, "RESTART"); err != nil {
		return err
	}
	e.wal.Store(0)
	return nil
}

// checkpoint runs one, and sees its errors: SQLite's own drops them.
func (e *Embedded) checkpoint(ctx context.Context, c *sql.Conn, mode string) error {
	var busy, pages, written int
	if err := c.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &pages, &written); err != nil {
		return fmt.Errorf("write back the WAL: %w", err)
	}
	return nil // busy: a reader was in the way, the next one does it
}

// Trim deletes what no reader needs any more, as of now. Housekeeping calls it.
func (e *Embedded) Trim(ctx context.Context, now time.Time) error {
	e.mu.RLock()
	lanes := slices.Clone(e.lanes)
	e.mu.RUnlock()
	for _, l := range lanes {
		if isOwn(l.topic) {
			continue
		}
		if err := e.trimLane(ctx, l, now); err != nil {
			return fmt.Errorf("trim topic %s partition %d: %w", l.topic, l.partition, err)
		}
	}
	return e.vacuum(ctx)
}

// trimLane trims one partition, some batches at a time.
func (e *Embedded) trimLane(ctx context.Context, l *embeddedLane, now time.Time) error {
	for ctx.Err() == nil {
		e.mu.RLock()
		position, read := e.slowest(l)
		if p, committed := e.groups.slowest(l.topic, l.partition, now); committed {
			position, read = min(position, p), true
		}
		start, size := l.start, l.bytes
		e.mu.RUnlock()
		keep := e.opts.Retention
		if !read {
			position, keep = start, max(keep, e.opts.Unread)
		}
		if position <= start && read {
			return nil
		}
		end, freed, err := e.trimmable(ctx, l, read, position, now.Add(-keep).UnixMilli(), size)
		if err != nil || freed == 0 {
			return err
		}
		if err := e.trimTo(ctx, l, end, freed); err != nil {
			return err
		}
	}
	return nil
}

// trimmable returns up to which offset the oldest batches may go, and their bytes:
// those that are older than the retention and, if the partition has readers, below
// the position of the slowest; without readers also what is beyond the size limit.
func (e *Embedded) trimmable(ctx context.Context, l *embeddedLane, read bool, position, before, size int64) (end, freed int64, err error) {
	rows, err := e.db.QueryContext(ctx, "SELECT next, time, length(data) FROM batch WHERE row >= ? AND row < ? ORDER BY row LIMIT ?",
		rowOf(l.number, 0), rowOf(l.number+1, 0), trimBatches)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var next, written, n int64
		if err := rows.Scan(&next, &written, &n); err != nil {
			return 0, 0, err
		}
		old := written <= before
		if !read {
			old = old || size-freed > e.opts.UnreadSize
		}
		if !old || read && next > position {
			break
		}
		end, freed = next, freed+n
	}
	return end, freed, rows.Err()
}

// trimTo deletes a partition's batches below an offset.
func (e *Embedded) trimTo(ctx context.Context, l *embeddedLane, end, freed int64) error {
	e.write.Lock()
	defer e.write.Unlock()
	e.mu.RLock()
	after := *l
	e.mu.RUnlock()
	after.start, after.bytes = end, after.bytes-freed
	ctx = context.WithoutCancel(ctx)
	err := e.transact(ctx, func() error {
		if _, err := e.writer.ExecContext(ctx, "DELETE FROM batch WHERE row >= ? AND row < ?", rowOf(l.number, 0), rowOf(l.number, end)); err != nil {
			return err
		}
		_, err := e.lane.ExecContext(ctx, after.start, after.next, after.last[:], after.bytes, after.sum(), after.number)
		return err
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	l.start, l.bytes = after.start, after.bytes
	e.wal.Add(pageSize * trimBatches)
	return nil
}

// vacuum gives free pages back to the disk, a few at a time, when more than half of
// the file is free; until then they are used again.
func (e *Embedded) vacuum(ctx context.Context) error {
	const least = 64 << 20 / pageSize
	var free, pages int64
	if err := e.fill.QueryRowContext(ctx, "SELECT f.freelist_count, p.page_count FROM pragma_freelist_count f, pragma_page_count p").Scan(&free, &pages); err != nil {
		return err
	}
	if free < least || free < pages/2 {
		return nil
	}
	e.write.Lock()
	defer e.write.Unlock()
	if e.err() != nil {
		return nil
	}
	_, err := e.writer.ExecContext(context.WithoutCancel(ctx), "PRAGMA incremental_vacuum(4096)")
	return err
}
