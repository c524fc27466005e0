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
		if !l.srv.standby { // see settle
			ld.mustShow = l.record.received()
		}
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
	if l.srv.standby { // it sends what it has replayed, which others see
		return nil
	}
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
