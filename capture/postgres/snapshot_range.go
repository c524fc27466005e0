package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// keyRange is a part of a table by its key: the rows above Last up to High. A nil High
// is the end; Last moves as chunks are published.
type keyRange struct {
	Last []string `json:"last,omitempty"`
	High []string `json:"high,omitempty"`
	Done bool     `json:"done,omitempty"`

	taken  bool
	flight []*chunk // read and not published, or published before an earlier one
}

// drop gives up what was read of a range and not published; mu is held.
func (l *loader) drop(r *keyRange) {
	for _, c := range r.flight {
		c.dead = true
		delete(l.chunks, c)
	}
	r.flight, r.taken = nil, false
}

// ahead is how many chunks of a range may be read and not published: one is, while the
// next is read.
const ahead = 2

// readRange reads a range chunk by chunk.
func (l *loader) readRange(ctx context.Context, rd *reader, ld *load, from *keyRange) error {
	l.mu.Lock()
	low, p := from.Last, ld.plan
	l.mu.Unlock()
	stopped := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return ld.Paused || ld.ended || !from.taken || !slices.Contains(ld.Ranges, from)
	}
	for more := true; ; {
		if err := l.pace(ctx, ld, p, stopped); err != nil {
			return err
		}
		l.mu.Lock()
		limit := ld.rows(l.s.hold.Load() != nil)
		flight := len(from.flight)
		l.mu.Unlock()
		switch {
		case stopped():
			return errPaused
		case more && flight < ahead:
			c := &chunk{load: ld, from: from, plan: p, low: low, high: from.High, limit: limit, verdict: make(chan verdict, 1)}
			if err := l.fetchShown(ctx, rd, c); err != nil {
				return err
			}
			c.upTo, c.final = c.next, c.short
			low, more = c.next, !c.final
			l.mu.Lock()
			if !c.dead {
				from.flight = append(from.flight, c)
			}
			l.mu.Unlock()
			l.offer(c)
		case flight > 0:
			l.mu.Lock()
			c := from.flight[0]
			l.mu.Unlock()
			if err := l.finish(ctx, rd, c); err != nil {
				return err
			}
			rd.reuse(c)
			l.mu.Lock()
			if len(from.flight) > 0 && from.flight[0] == c {
				from.flight = from.flight[1:]
			}
			l.mu.Unlock()
		default:
			return nil
		}
	}
}

// readAgain reads the keys that are left at a load's end.
func (l *loader) readAgain(ctx context.Context, rd *reader, ld *load) error {
	l.mu.Lock()
	n := min(len(ld.Again), maxAgain/2)
	keys := slices.Clone(ld.Again[:n])
	c := &chunk{load: ld, plan: ld.plan, keys: keys, begin: n, verdict: make(chan verdict, 1)}
	l.mu.Unlock()
	if n == 0 { // it had ended but for this
		return l.do(ctx, 0, func(x uint64) error { return l.complete(ld, x) })
	}
	defer func() {
		l.mu.Lock()
		c.dead = true
		delete(l.chunks, c)
		l.mu.Unlock()
	}()
	if err := l.fetchShown(ctx, rd, c); err != nil {
		return err
	}
	l.offer(c)
	return l.finish(ctx, rd, c)
}

// finish waits until a chunk is done, and reads it again as often as that takes.
func (l *loader) finish(ctx context.Context, rd *reader, c *chunk) error {
	for {
		var v verdict
		select {
		case <-ctx.Done():
			return ctx.Err()
		case v = <-c.verdict:
		}
		switch v {
		case accepted:
			return nil
		case dropped:
			return errPaused
		case planAgain:
			return errChanged
		case readAgain:
			if c.from != nil {
				c.limit = 0
				if !c.final {
					c.high = c.upTo
				}
			}
		case readRest:
			c.limit = 0
		}
		if err := l.fetchShown(ctx, rd, c); err != nil {
			return err
		}
		l.offer(c)
	}
}

// fetchShown reads a chunk in a snapshot that shows what the load has to.
func (l *loader) fetchShown(ctx context.Context, rd *reader, c *chunk) error {
	for {
		err := l.fetch(ctx, rd, c)
		if !errors.Is(err, errNotYet) {
			return err
		}
		timer := time.NewTimer(5 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// offer hands a chunk over to the stream.
func (l *loader) offer(c *chunk) {
	l.mu.Lock()
	dead, minimum := c.dead, c.minimum
	l.mu.Unlock()
	if dead {
		c.verdict <- dropped
		return
	}
	l.submit(&item{min: minimum, run: func(x uint64) error { return l.publish(c, x) }})
}

const (
	// paceInterval is how often a chunk that waits asks whether it still has to.
	paceInterval = 50 * time.Millisecond
	// pacedRows are the rows of a chunk while whoever takes the events in may be slower than the load: what is read when the
	// load is held up comes before the changes that are made then. unpacedChunks in a row that had to wait for nobody say
	// that it is not.
	pacedRows     = 1000
	unpacedChunks = 20
)

// rows are those of the next chunk; mu is held.
func (ld *load) rows(paced bool) int {
	if paced && ld.unpaced < unpacedChunks {
		ld.unpaced++
		return min(ld.limit, pacedRows)
	}
	return ld.limit
}

// pace waits while whoever takes the events in asks for that, and the load is not stopped.
func (l *loader) pace(ctx context.Context, ld *load, p *plan, stopped func() bool) error {
	hold := l.s.hold.Load()
	if hold == nil {
		return nil
	}
	waits := false
	defer func() {
		if waits {
			l.waits(ld, -1, "")
		}
	}()
	for {
		why := (*hold)(p.table.Topic)
		if why == "" || stopped() {
			return nil
		}
		if !waits {
			waits = true
			l.waits(ld, 1, why)
		}
		timer := time.NewTimer(paceInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// waits notes that one worker more or less waits with a load.
func (l *loader) waits(ld *load, workers int, why string) {
	l.mu.Lock()
	if ld.waiting += workers; ld.waiting == 0 || workers > 0 {
		ld.why = why
	}
	ld.unpaced = 0
	l.mu.Unlock()
	l.progress(ld, "done")
}

const (
	// rangeRows is from how many rows on a table is parted into ranges, for several workers.
	rangeRows = 100_000
	// sampleRows is about how many rows are looked at for that.
	sampleRows = 2000
)

// ranges parts a table into ranges with about as many rows each.
func (l *loader) ranges(ctx context.Context, rd *reader, ld *load, p *plan) ([]*keyRange, error) {
	workers := l.s.workers()
	least := int64(rangeRows)
	if l.s.rangeRows > 0 {
		least = int64(l.s.rangeRows)
	}
	whole := []*keyRange{{}}
	if workers == 1 || p.info.rows < least {
		return whole, nil
	}
	if err := rd.open(ctx); err != nil {
		return nil, err
	}
	percent := min(100, 100*sampleRows/float64(p.info.rows))
	sample := fmt.Sprintf("SELECT %s FROM %s%s TABLESAMPLE SYSTEM (%f) LIMIT 100000", p.keyColumns(), p.only, p.info.sql(), percent)
	texts := make([]string, len(p.keys))
	for i, k := range p.keys {
		texts[i] = k.name + "::pg_catalog.text"
	}
	rows, err := l.query(rd, fmt.Sprintf("SELECT %s FROM (SELECT %s, row_number() OVER (ORDER BY %s) AS place, count(*) OVER () AS total FROM (%s) s) s WHERE place %% GREATEST(total / %d, 1) = 0 ORDER BY place",
		strings.Join(texts, ", "), p.keyColumns(), p.keyColumns(), sample, 4*workers))
	if err != nil {
		return nil, fmt.Errorf("sample keys: %w", err)
	}
	return partition(rows), nil
}

// partition makes ranges that end at some keys, and one for the rest.
func partition(ends [][]string) []*keyRange {
	out := []*keyRange{{}}
	for _, end := range ends {
		out[len(out)-1].High = end
		out = append(out, &keyRange{Last: end})
	}
	return out
}
