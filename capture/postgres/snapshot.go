package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// A chunk of a snapshot, after which the position is committed, has at most this.
const (
	chunkRows  = 10_000
	chunkBytes = 4 << 20
)

// reading is one snapshot: all its tables as they were at one point of the log.
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
	first   bool  // no row was emitted yet
	last    *relation
	tuple   []field
	resume  []byte
	pending []byte // a row whose successor is not seen yet: the very last one is marked as such
	has     bool
}

// join takes tables into capture that were not in it: they are read in a snapshot of
// their own and streamed from its point on. What the main slot sends of them from
// before that point has ids below those of their rows, and the log drops it.
func (s *Source) join(ctx context.Context, srv *server, r *resume, tables []*relationInfo, out capture.Output) error {
	if s.cfg.Snapshot == SnapshotNever {
		r.Tables = append(r.Tables, oids(tables)...)
		return nil
	}
	return s.snapshot(ctx, srv, r, tables, true, out)
}

// snapshot makes the source's slot (or, joining, a temporary one) and reads the
// tables as they are where it begins.
func (s *Source) snapshot(ctx context.Context, srv *server, r *resume, tables []*relationInfo, joining bool, out capture.Output) error {
	r.Attempt++
	if !joining {
		r.Snapshot = snapshotReading
	}
	// The attempt is durable before anything is made or read: a slot without a position
	// would be taken for somebody else's, and ids are never used again.
	if err := out.Commit(r.appendTo(nil)); err != nil {
		return output(err)
	}
	if err := out.Flush(ctx); err != nil {
		return output(err)
	}

	holder, err := s.connect(ctx, true)
	if err != nil {
		return err
	}
	defer closeConn(holder)
	slot := s.cfg.Slot
	if joining {
		slot = slot[:min(len(slot), 63-len("_joining"))] + "_joining"
	} else if srv.slot != nil { // of an attempt that did not finish
		conn, err := s.connect(ctx, false)
		if err != nil {
			return err
		}
		err = s.dropSlot(ctx, conn)
		closeConn(conn)
		if err != nil {
			return err
		}
	}
	point, name, err := s.createSlot(ctx, holder, slot, joining, true)
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
	s.setState("snapshot", "")

	rd := &reading{s: s, out: out, r: r, wire: w, first: true, point: point - 1, chunk: uint64(r.Attempt)<<32 + 1}
	rd.id = lsnText(point) + "-" + strconv.FormatUint(uint64(r.Attempt), 10)
	rd.event = change.Event{Op: change.Read, Log: change.LogPosition{LSN: point, XID: uint32(xid)}}
	var done []*change.Table
	for i, info := range tables {
		r.noteKey(info.oid, info.identity, info.primary)
		t, err := rd.table(srv, info, i == len(tables)-1)
		if err != nil {
			return fmt.Errorf("snapshot of %s: %w", info.qualified(), err)
		}
		done = append(done, t)
	}
	if err := rd.finish(done); err != nil {
		return err
	}
	for _, oid := range oids(tables) {
		if !r.has(oid) {
			r.Tables = append(r.Tables, oid)
		}
	}
	if !joining {
		r.Snapshot, r.LSN, r.Last = snapshotDone, point, 0
	}
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
	if err := rd.marker(t, change.SnapshotBegin); err != nil {
		return nil, err
	}
	if err := rd.wire.query(copyStatement(info, &m, t)); err != nil {
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
			rd.total = 0
			return t, nil
		}
	}
}

// copyStatement reads a table in the order of its key.
func copyStatement(info *relationInfo, m *relationMessage, t *change.Table) string {
	columns := make([]string, len(m.columns))
	for i, c := range m.columns {
		columns[i] = quoteIdentifier(c.name)
	}
	var order []string
	for _, k := range t.Key {
		order = append(order, quoteIdentifier(t.Columns[k].Name))
	}
	only := "ONLY "
	if info.partitioned {
		only = ""
	}
	statement := "COPY (SELECT " + strings.Join(columns, ", ") + " FROM " + only + info.sql()
	if len(order) > 0 {
		statement += " ORDER BY " + strings.Join(order, ", ")
	}
	return statement + ") TO STDOUT"
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
	if rd.rows >= chunkRows || rd.bytes >= chunkBytes {
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
	total := rd.total
	rd.s.updateTable(t.QualifiedName(), func(st *capture.TableStatus) {
		st.Snapshot, st.SnapshotRows, st.SnapshotTotal = state, total, max(st.SnapshotTotal, total)
	})
}

// marker writes a marker in a chunk of its own.
func (rd *reading) marker(t *change.Table, kind change.MarkerKind) error {
	rd.chunk++
	rd.rows = 0
	err := rd.out.Marker(t, change.NewPointID(rd.r.Epoch, rd.point, rd.chunk, 0), change.Marker{Kind: kind, Snapshot: rd.id})
	rd.chunk++
	return output(err)
}

// finish writes the end markers. The markers come after the last row of all tables.
func (rd *reading) finish(tables []*change.Table) error {
	for _, t := range slices.Clip(tables) {
		if err := rd.marker(t, change.SnapshotEnd); err != nil {
			return err
		}
	}
	return nil
}

var copyEscapes = [256]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// splitCopy splits a line of COPY's text format into fields, in place.
func splitCopy(fields []field, line []byte, columns int) []field {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if columns == 0 {
		return fields
	}
	start, w := 0, 0 // of the field; where the next byte of it goes
	null := false
	end := func() {
		if null {
			fields = append(fields, field{kind: 'n'})
		} else {
			fields = append(fields, field{'t', line[start:w:w]})
		}
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '\t':
			end()
			start, w, null = i+1, i+1, false
		case '\\':
			i++
			if i == len(line) {
				line[w] = '\\'
				w++
				break
			}
			if line[i] == 'N' && w == start {
				null = true
				break
			}
			if e := copyEscapes[line[i]]; e != 0 {
				line[w] = e
			} else {
				line[w] = line[i]
			}
			w++
		default:
			line[w] = c
			w++
		}
	}
	end()
	return fields
}
