package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/change"
)

// ahead is how many chunks of a range may be read and not published: one is, while the
// next is read.
const ahead = 2

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

// prepare looks at a table, writes the begin marker and parts the table into ranges.
func (l *loader) prepare(ctx context.Context, rd *reader, ld *load) error {
	p, err := l.s.makePlan(ctx, l.srv, ld.Table)
	switch {
	case errors.Is(err, errGone), lookup(err) && l.goneNow(ctx, ld.Table):
		return l.do(ctx, 0, func(x uint64) error { return l.abandon(ld, x) })
	case errors.Is(err, errNoChunks): // a new session reads it in one snapshot
		return l.do(ctx, 0, func(uint64) error { return errAnew })
	case err != nil:
		return err
	}
	if err := l.settle(ctx, rd, ld); err != nil {
		return err
	}
	if ld.Foreign && !ld.Begun {
		if err := l.awaitWriters(ctx, rd, ld.Table); err != nil {
			return err
		}
	}
	end, err := l.walEnd(ctx, rd)
	if err != nil {
		return err
	}
	if err := l.do(ctx, end, func(x uint64) error { return l.start(ld, p, x) }); err != nil {
		return err
	}
	l.mu.Lock()
	parted := ld.Ranges != nil
	l.mu.Unlock()
	if parted {
		return nil
	}
	ranges, err := l.ranges(ctx, rd, ld, p)
	if err != nil {
		return err
	}
	return l.do(ctx, 0, func(x uint64) error {
		l.mu.Lock()
		ld.Ranges = ranges
		l.st.r.changedLoads()
		l.mu.Unlock()
		return l.commit(x)
	})
}

// lookup tells whether an error says that a name leads nowhere.
func lookup(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000") // undefined_table, invalid_schema_name
}

func (l *loader) goneNow(ctx context.Context, oid uint32) bool {
	_, err := l.s.makePlan(ctx, l.srv, oid)
	return errors.Is(err, errGone)
}

// start begins a load, or goes on with one, in the stream's goroutine.
func (l *loader) start(ld *load, p *plan, x uint64) error {
	if ld.ended {
		return nil
	}
	p.table = l.s.intern(p.info.oid, p.table)
	p.relation = newRelation(p.info.oid, &p.message, p.table, p.places, p.types)
	p.relation.strict = ld.stale < 2 // else as it is
	renamed := ld.Topic != "" && ld.Topic != p.table.Topic
	if renamed && ld.last != nil {
		if err := l.marker(ld.last, ld, change.SnapshotAbort, x); err != nil {
			return err
		}
	}
	l.mu.Lock()
	if renamed {
		ld.ID, ld.Begun = snapshotID(x), false
	}
	if renamed || ld.Key != p.describe() {
		l.restart(ld)
	}
	ld.Key, ld.Topic, ld.last, ld.name = p.describe(), p.table.Topic, p.table, p.info.qualified()
	if ld.limit == 0 {
		ld.limit = firstRows
	}
	if l.s.chunkRows > 0 {
		ld.limit = l.s.chunkRows
	}
	ld.plan = p
	begun := ld.Begun
	l.mu.Unlock()
	l.srv.replace(p.info)
	// The session's first number makes durable what is noted so far: not that the load has begun, before its marker.
	if !begun {
		if err := l.marker(p.table, ld, change.SnapshotBegin, x); err != nil {
			return err
		}
	}
	l.mu.Lock()
	if !begun {
		ld.Begun = true
		ld.mustShow = l.record.received()
	}
	l.st.r.changedLoads()
	l.mu.Unlock()
	l.progress(ld, "done")
	return l.commit(x)
}

// settle waits for transactions that have committed and that other sessions do not see
// yet: those that came in an earlier session of the stream are in no record. They show as
// running, as do those that are open.
func (l *loader) settle(ctx context.Context, rd *reader, ld *load) error {
	l.mu.Lock()
	settled := l.settled.After(ld.added)
	l.mu.Unlock()
	if settled {
		return nil
	}
	began := time.Now()
	v, err := l.look(ctx, rd)
	if err != nil {
		return err
	}
	left := v.running
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for len(left) > 0 {
		if v, err = l.look(ctx, rd); err != nil {
			return err
		}
		rows, err := l.query(rd, "SELECT backend_xid::text, COALESCE(state, ''), COALESCE(wait_event, '') FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL")
		if err != nil {
			return err
		}
		state := map[string]string{}
		for _, row := range rows {
			state[row[0]] = row[1]
			if row[2] == "SyncRep" { // it has committed, and waits for a standby
				state[row[0]] = "committed"
			}
		}
		left = slices.DeleteFunc(left, func(xid uint64) bool {
			switch s := state[fmt.Sprint(uint32(xid))]; {
			case v.showsFull(xid), strings.HasPrefix(s, "idle in transaction"):
				return true
			case s == "committed":
				return false
			}
			return time.Since(began) > commitPatience
		})
		if len(left) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	l.mu.Lock()
	l.settled = began
	l.mu.Unlock()
	return nil
}

// commitPatience is how long a transaction may take from the flush of its commit to
// being seen, if it does not wait for a standby.
const commitPatience = 2 * time.Second

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

// walEnd is the end of the flushed WAL.
func (l *loader) walEnd(ctx context.Context, rd *reader) (uint64, error) {
	if err := rd.open(ctx); err != nil {
		return 0, err
	}
	rows, err := l.query(rd, "SELECT pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_catalog.pg_lsn")
	if err != nil {
		return 0, err
	}
	var end uint64
	_, err = fmt.Sscan(rows[0][0], &end)
	return end, err
}

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
		if err := l.pace(ctx, stopped); err != nil {
			return err
		}
		l.mu.Lock()
		limit := ld.limit
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

// pace waits while whoever takes the events in asks for that, and the load is not stopped.
func (l *loader) pace(ctx context.Context, stopped func() bool) error {
	hold := l.s.hold.Load()
	if hold == nil {
		return nil
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for (*hold)() && !stopped() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
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
