package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// A stretch of a table without key, after which the position is committed, has at most this.
const (
	stretchRows  = 10_000
	stretchBytes = 4 << 20
)

// reading is one snapshot of tables without key: all of them as they were at one point of
// the log.
type reading struct {
	s       *Source
	out     capture.Output
	r       *resume
	point   uint64 // of its ids: every change committed before is in it
	id      string
	wire    *wire
	event   change.Event
	chunk   uint64 // number of the chunk
	rows    uint32 // in it
	bytes   int
	total   int64 // rows of the table
	size    int64 // their bytes
	first   bool  // no row was emitted yet
	last    *relation
	tuple   []field
	resume  []byte
	pending []byte // a row whose successor is not seen yet: the very last one is marked as such
	has     bool
}

// readWhole reads tables without key in one snapshot, before the stream goes on: rows that
// have no key can't be told apart, so that the snapshot has to be of exactly one point of
// the log. That is where a temporary slot begins. What the source's slot sends of these
// tables from before that point has ids below those of their rows, and the log drops it.
func (s *Source) readWhole(ctx context.Context, srv *server, r *resume, tables []*relationInfo, out capture.Output) error {
	if err := s.raiseAttempt(ctx, r, out); err != nil {
		return err
	}
	holder, err := s.connect(ctx, true)
	if err != nil {
		return err
	}
	defer closeConn(holder)
	slot := s.cfg.Slot
	slot = slot[:min(len(slot), 63-len("_joining"))] + "_joining"
	point, name, err := s.createSlot(ctx, srv, holder, slot, true, true)
	if err != nil {
		return err
	}
	conn, err := s.connect(ctx, false)
	if err != nil {
		return err
	}
	if err := exec(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT "+quoteLiteral(name)); err != nil {
		closeConn(conn)
		return fmt.Errorf("begin snapshot: %w", err)
	}
	xids, err := query(ctx, conn, "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())")
	if err != nil {
		closeConn(conn)
		return fmt.Errorf("begin snapshot: %w", err)
	}
	xid, _ := strconv.ParseUint(xids[0][0], 10, 64)
	w, err := takeOver(conn)
	if err != nil {
		closeConn(conn)
		return err
	}
	defer w.close()
	defer w.whenDone(ctx)()
	s.setState("snapshot", "tables without key are read before the stream goes on")

	rd := &reading{s: s, out: out, r: r, wire: w, first: true, point: point - 1, chunk: uint64(r.Attempt)<<32 + 1}
	rd.id = snapshotID(point)
	rd.event = change.Event{Op: change.Read, Log: change.LogPosition{LSN: point, XID: uint32(xid)}}
	done := make([]*change.Table, len(tables))
	for i, info := range tables {
		r.noteKey(info.oid, info.identity, info.primary)
		if done[i], err = rd.table(srv, info, i == len(tables)-1); err != nil {
			return fmt.Errorf("snapshot of %s: %w", info.qualified(), err)
		}
	}
	for i, t := range done {
		if err := rd.marker(t, change.SnapshotEnd, rd.where(tables[i]) != ""); err != nil {
			return err
		}
	}
	for _, oid := range oids(tables) {
		if !r.has(oid) {
			r.Tables = append(r.Tables, oid)
		}
		r.Loads = slices.DeleteFunc(r.Loads, func(ld *load) bool { return ld.Table == oid })
	}
	r.changedLoads()
	if err := rd.commit(); err != nil {
		return err
	}
	// What was read is durable before anything is streamed: a crash then must not read it again, since the
	// changes between the two would be in neither.
	return output(out.Flush(ctx))
}

func (rd *reading) commit() error {
	rd.resume = rd.r.appendTo(rd.resume[:0])
	return output(rd.out.Commit(rd.resume))
}

// table reads one table; final says that it is the snapshot's last.
func (rd *reading) table(srv *server, info *relationInfo, final bool) (*change.Table, error) {
	m := info.message(srv.storedGenerated)
	t, places := rd.s.cfg.table(rd.s.name, srv.database, &m, info, srv.types)
	t = rd.s.intern(info.oid, t)
	r := newRelation(info.oid, &m, t, places, srv.types)
	partial := rd.where(info) != ""
	if err := rd.marker(t, change.SnapshotBegin, partial); err != nil {
		return nil, err
	}
	if err := rd.wire.query(copyStatement(info, &m, rd.where(info))); err != nil {
		return nil, err
	}
	var failed error
	for {
		typ, body, err := rd.wire.next()
		if err != nil {
			return nil, err
		}
		switch typ {
		case 'd':
			if err := rd.row(r, body); err != nil {
				return nil, err
			}
		case 'E':
			failed = serverError(body)
		case 'Z':
			if failed != nil {
				return nil, failed
			}
			mark := ""
			if final {
				mark = "last"
			}
			if err := rd.emit(mark); err != nil {
				return nil, err
			}
			rd.progress(t, "done")
			rd.total, rd.size = 0, 0
			return t, nil
		}
	}
}

// copyStatement reads a table.
func copyStatement(info *relationInfo, m *relationMessage, where string) string {
	statement := "COPY (" + selectRows(info, m)
	if where != "" {
		statement += " WHERE (" + where + "\n)"
	}
	return statement + ") TO STDOUT"
}

// where is the condition on a table's rows, "" for none.
func (rd *reading) where(info *relationInfo) string {
	for _, ld := range rd.r.Loads {
		if ld.Table == info.oid {
			return ld.Where
		}
	}
	return rd.s.cfg.where(info)
}

// row takes a line of COPY's text format. It emits the one before.
func (rd *reading) row(r *relation, line []byte) error {
	if err := rd.emit(""); err != nil {
		return err
	}
	rd.pending = append(rd.pending[:0], line...)
	rd.last, rd.has = r, true
	return nil
}

// emit emits the row that is kept back, if there is one.
func (rd *reading) emit(mark string) error {
	if !rd.has {
		return nil
	}
	rd.has = false
	r := rd.last
	rd.tuple = splitCopy(rd.tuple[:0], rd.pending, len(r.columns))
	r.reset()
	if err := r.row(r.after, rd.tuple); err != nil {
		return err
	}
	e := &rd.event
	switch {
	case rd.first && mark == "":
		mark = "first"
	case mark == "":
		mark = "true"
	}
	rd.first = false
	e.Table, e.After, e.Snapshot = r.table, r.after, mark
	e.CommitTime = time.Now()
	e.ID = change.NewPointID(rd.r.Epoch, rd.point, rd.chunk, rd.rows)
	if err := output(rd.out.Event(e)); err != nil {
		return err
	}
	rd.rows++
	rd.total++
	rd.bytes += len(rd.pending)
	rd.size += int64(len(rd.pending))
	if rd.rows >= stretchRows || rd.bytes >= stretchBytes {
		return rd.endChunk()
	}
	return nil
}

// endChunk commits what was read so far. The position is still that of a snapshot
// that begins anew.
func (rd *reading) endChunk() error {
	rd.progress(rd.last.table, "reading")
	rd.chunk++
	rd.rows, rd.bytes = 0, 0
	return rd.commit()
}

func (rd *reading) progress(t *change.Table, state string) {
	total, size := rd.total, rd.size
	rd.s.updateTable(t.QualifiedName(), func(st *capture.TableStatus) {
		st.Snapshot, st.SnapshotRows, st.SnapshotBytes, st.SnapshotTotal = state, total, size, max(st.SnapshotTotal, total)
	})
}

// marker writes a marker in a chunk of its own.
func (rd *reading) marker(t *change.Table, kind change.MarkerKind, partial bool) error {
	rd.chunk++
	rd.rows = 0
	err := rd.out.Marker(t, change.NewPointID(rd.r.Epoch, rd.point, rd.chunk, 0), change.Marker{Kind: kind, Snapshot: rd.id, Partial: partial})
	rd.chunk++
	return output(err)
}
