package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/change"
)

// What the stream tells the loader as it reads; no-ops on a nil loader.

// begin notes the beginning of a transaction; of one in progress (Stream Start), of each
// of its parts.
func (l *loader) begin(xid uint32, inProgress bool) {
	if l == nil || len(l.loads) == 0 && !inProgress {
		return
	}
	t := l.record.of(xid)
	if t.seen {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.seen = true
	for _, v := range l.horizon() {
		t.seen = t.seen && v != nil && v.replayed == 0 && v.shows(xid)
	}
}

// horizon returns snapshots that every chunk's is not older than one of; mu is held.
func (l *loader) horizon() []*visibility {
	all := []*visibility{l.latest}
	for c := range l.chunks {
		all = append(all, c.seen())
	}
	return all
}

// refresh forgets what transactions did that every later chunk will show, while loads wait and none is read.
func (l *loader) refresh(ctx context.Context, conn *pgconn.PgConn) error {
	l.mu.Lock()
	idle := len(l.loads) > 0 && len(l.chunks) == 0
	l.mu.Unlock()
	if !idle {
		return nil
	}
	rows, err := query(ctx, conn, "SELECT pg_catalog.pg_current_snapshot(), "+walFlushed)
	if err != nil {
		return err
	}
	now, err := parseVisibility(rows[0][0])
	if err != nil {
		return err
	}
	if l.srv.standby { // what is read later shows all that is replayed now
		lsn, err := pglogrepl.ParseLSN(rows[0][1])
		if err != nil {
			return fmt.Errorf("read what is replayed: %w", err)
		}
		now.replayed = uint64(lsn)
	}
	l.mu.Lock()
	l.latest = later(l.latest, now)
	l.mu.Unlock()
	l.submit(&item{run: func(uint64) error {
		l.mu.Lock()
		all := l.horizon()
		l.mu.Unlock()
		l.record.forget(all)
		return nil
	}})
	return nil
}

// note notes that a transaction, named by its top-level id, changes a row. It is called
// as the change is received, whether its transaction has committed or not.
func (l *loader) note(xid uint32, r *relation, m *message) {
	if l == nil || len(l.loads) == 0 {
		return
	}
	ld := l.find(r.oid)
	if ld == nil {
		return
	}
	t := l.record.of(xid)
	if len(r.keyPlaces) == 0 { // the key was dropped
		t.table(r.oid).all = true
		return
	}
	partial := m.kind == 'U' && r.partial(m.new)
	moved := false
	var ok bool
	if m.oldKind != 0 {
		if l.record.key, ok = appendKey(l.record.key[:0], r.keyPlaces, m.old, nil); ok && !t.seen {
			t.table(r.oid).add(l.record.key, false)
		}
		moved = m.kind == 'U'
	}
	if m.kind == 'D' {
		return
	}
	old := string(l.record.key)
	if l.record.key, ok = appendKey(l.record.key[:0], r.keyPlaces, m.new, m.old); !ok {
		return
	}
	if !t.seen {
		t.table(r.oid).add(l.record.key, partial)
	}
	if moved && partial && old != string(l.record.key) {
		l.again(ld, string(l.record.key))
	}
}

// again notes a key that is to be read at the end.
func (l *loader) again(ld *load, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ld.again[key] {
		return
	}
	ld.again[key] = true
	ld.Again = append(ld.Again, keyTexts(key))
	if len(ld.Again) > maxAgain {
		l.restart(ld)
	}
	l.st.r.changedLoads()
}

// truncated notes a TRUNCATE.
func (l *loader) truncated(xid, oid uint32) {
	if l == nil || len(l.loads) == 0 || l.find(oid) == nil {
		return
	}
	if t := l.record.of(xid); !t.seen {
		t.table(oid).truncated = true
	}
}

// rolledBack notes that a part of a transaction in progress was rolled back: which rows
// the rest has changed is not known any more. All of it: nothing remains.
func (l *loader) rolledBack(xid, subxid uint32) {
	if l == nil {
		return
	}
	t := l.record.open[xid]
	if t == nil {
		return
	}
	if xid == subxid {
		delete(l.record.open, xid)
		return
	}
	for _, tt := range t.tables {
		tt.all, tt.truncated, tt.keys = true, false, nil
	}
}

// committed notes that a transaction's events have been emitted.
func (l *loader) committed(xid uint32, end uint64) {
	if l != nil {
		l.record.committed(xid, end)
	}
}

// describedAs notes how the stream describes a table from here on.
func (l *loader) describedAs(oid uint32, t *change.Table) {
	if l == nil {
		return
	}
	if ld := l.find(oid); ld != nil {
		l.mu.Lock()
		ld.described = t
		l.mu.Unlock()
	}
}
