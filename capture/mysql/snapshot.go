package mysql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// A chunk ends at whichever is reached first.
const (
	chunkRows  = 2000
	chunkBytes = 1 << 20
)

// snapshot reads the tables in one consistent view of the server and hands their rows
// over as of the binlog position of that view: what the stream has of these tables up
// to there is in the rows.
func (s *state) snapshot(ctx context.Context, names []string) error {
	if s.cfg.Snapshot == SnapshotNever {
		for _, name := range names {
			s.resume.setTable(name, 0)
		}
		return s.durable(ctx)
	}
	s.setState("snapshot", "")
	for _, name := range names {
		d := s.declared[name]
		s.setTable(name, func(t *capture.TableStatus) {
			t.Snapshot, t.SnapshotTotal, t.SnapshotRows = "pending", d.estimate, 0
		})
	}
	view, at, err := s.consistentView(ctx, names)
	if err != nil {
		return err
	}
	defer view.close()
	commit, err := commitPosition(at.file, at.pos)
	if err != nil {
		return stopf("snapshot: %w", err)
	}
	if len(s.resume.Tables) == 0 { // nothing to stream before the snapshot
		s.resume.File, s.resume.Pos, s.resume.FileTime, s.resume.GTIDs = at.file, at.pos, 0, at.gtids
		if err := s.resume.parseGTIDs(); err != nil {
			return err
		}
	}
	next, first := s.resume.Chunk, true
	for _, name := range names {
		// The transaction that begins at the position is not in the view: points are at
		// the byte before it.
		if err := s.snapshotTable(ctx, view, s.declared[name], commit-1, &next, &first, at); err != nil {
			return fmt.Errorf("snapshot of %s: %w", name, err)
		}
		s.resume.setTable(name, commit)
		if err := s.commit(); err != nil {
			return err
		}
		s.setTable(name, func(t *capture.TableStatus) { t.Snapshot = "done" })
	}
	return s.durable(ctx)
}

// durable commits and waits until the log has it: what follows is the stream's.
func (s *state) durable(ctx context.Context) error {
	if err := s.commit(); err != nil {
		return err
	}
	if err := s.out.Flush(ctx); err != nil {
		return &stopError{err}
	}
	return nil
}

// consistentView opens a session in a transaction that sees the server as it is at
// one binlog position.
func (s *state) consistentView(ctx context.Context, names []string) (*session, end, error) {
	view, err := s.address.connect(ctx)
	if err != nil {
		return nil, end{}, err
	}
	at, err := s.beginView(ctx, view, names)
	if err != nil {
		view.close()
		return nil, end{}, err
	}
	return view, at, nil
}

func (s *state) beginView(ctx context.Context, view *session, names []string) (end, error) {
	for _, sql := range []string{"SET SESSION net_write_timeout = 3600", "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"} {
		if _, err := view.exec(sql); err != nil {
			return end{}, fmt.Errorf("set up snapshot: %w", err)
		}
	}
	const begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
	if s.facts.mariadb {
		return s.beginViewMariaDB(view, begin)
	}
	// While the tables are locked, every transaction that has written to them is
	// committed, and no other can: a view made then and the position read then agree
	// on them.
	lock, err := s.address.connect(ctx)
	if err != nil {
		return end{}, err
	}
	defer lock.close()
	parts := make([]string, len(names))
	for i, name := range names {
		d := s.declared[name]
		parts[i] = quote(d.database) + "." + quote(d.name) + " READ"
	}
	if err := lockTables(ctx, lock, strings.Join(parts, ", ")); err != nil {
		return end{}, err
	}
	if _, err := view.exec(begin); err != nil {
		return end{}, fmt.Errorf("begin snapshot: %w", err)
	}
	at, err := readEnd(lock, s.facts)
	if err != nil {
		return end{}, err
	}
	if _, err := lock.exec("UNLOCK TABLES"); err != nil {
		return end{}, fmt.Errorf("unlock tables: %w", err)
	}
	return at, nil
}

// lockTables locks for the moment that a view takes to begin. It waits a second at
// most for transactions in progress, so that nobody waits behind it for longer, and
// then tries again after a pause.
func lockTables(ctx context.Context, s *session, tables string) error {
	if _, err := s.exec("SET SESSION lock_wait_timeout = 1"); err != nil {
		return fmt.Errorf("set up lock: %w", err)
	}
	for pause := time.Second; ; pause *= 2 {
		_, err := s.exec("LOCK TABLES " + tables)
		switch {
		case err == nil:
			return nil
		case code(err) != 1205 || pause > 20*time.Second:
			return fmt.Errorf("lock tables for the moment a snapshot begins (long transactions on them hold it up): %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// beginViewMariaDB needs no lock: MariaDB tells the position of the view.
func (s *state) beginViewMariaDB(view *session, begin string) (end, error) {
	if _, err := view.exec(begin); err != nil {
		return end{}, fmt.Errorf("begin snapshot: %w", err)
	}
	rows, err := view.query("SHOW STATUS LIKE 'binlog_snapshot_%'")
	if err != nil {
		return end{}, fmt.Errorf("read snapshot position: %w", err)
	}
	var at end
	for _, r := range rows {
		switch strings.ToLower(r[0]) {
		case "binlog_snapshot_file":
			at.file = r[1]
		case "binlog_snapshot_position":
			at.pos, _ = strconv.ParseUint(r[1], 10, 64)
		}
	}
	if at.file == "" {
		return end{}, stopf("the server has no position for a snapshot: its binary log is off (log_bin)")
	}
	r, err := view.row(fmt.Sprintf("SELECT BINLOG_GTID_POS(%s, %d)", literal(at.file), at.pos))
	if err != nil {
		return end{}, fmt.Errorf("read snapshot's GTIDs: %w", err)
	}
	at.gtids = r[0]
	return at, nil
}

// snapshotTable reads one table in the order of its key.
func (s *state) snapshotTable(ctx context.Context, view *session, d *declaration, commit uint64, next *uint64, first *bool, at end) error {
	table, place, err := s.tableOf(d)
	if err != nil {
		return &stopError{err}
	}
	name := d.qualifiedName()
	s.setTable(name, func(t *capture.TableStatus) {
		t.Snapshot, t.Topic, t.SchemaVersion = "reading", table.Topic, table.Version
	})
	snapshot := fmt.Sprintf("%s-%s-%d", name, at.file, *next)
	marker := func(kind change.MarkerKind) error {
		n, err := s.nextChunk(ctx, next)
		if err != nil {
			return err
		}
		if err := s.out.Marker(table, change.NewPointID(s.resume.Epoch, commit, n, 0), change.Marker{Kind: kind, Snapshot: snapshot}); err != nil {
			return &stopError{err}
		}
		return s.commit()
	}
	if err := marker(change.SnapshotBegin); err != nil {
		return err
	}
	r := &snapshotReader{state: s, ctx: ctx, table: table, fields: make([]*declaredColumn, 0, len(table.Columns)), next: next, first: first, commit: commit, at: at}
	r.event = change.Event{Table: table, Op: change.Read, Snapshot: "true", After: make(change.Row, len(table.Columns))}
	r.event.Log.File, r.event.Log.Pos, r.event.Log.GTID = at.file, at.pos, ""
	for i := range d.columns {
		if place[i] >= 0 {
			r.fields = append(r.fields, &d.columns[i])
		}
	}
	if err := r.read(view.conn, selectOf(d, r.fields)); err != nil {
		return err
	}
	return marker(change.SnapshotEnd)
}

// selectOf reads a table's captured columns in the order of its primary key.
func selectOf(d *declaration, fields []*declaredColumn) string {
	var b strings.Builder
	b.WriteString("SELECT " + columnList(fields))
	b.WriteString(" FROM " + quote(d.database) + "." + quote(d.name))
	for i, k := range d.key {
		if i == 0 {
			b.WriteString(" ORDER BY ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(quote(d.columns[k].name))
	}
	return b.String()
}

// columnList is columns as they are selected.
func columnList(fields []*declaredColumn) string {
	if len(fields) == 0 {
		return "1"
	}
	list := make([]string, len(fields))
	for i, c := range fields {
		list[i] = quote(c.name)
		if c.typ == gomysql.MYSQL_TYPE_FLOAT { // as text it would lose digits
			list[i] += " + 0e0"
		}
	}
	return strings.Join(list, ", ")
}

// snapshotReader hands over one table's rows, in chunks.
type snapshotReader struct {
	*state
	ctx    context.Context //nolint:containedctx // the driver calls back without one
	table  *change.Table
	fields []*declaredColumn
	next   *uint64
	first  *bool // no row of the snapshot was handed over yet
	commit uint64
	at     end
	event  change.Event
	arena  []byte
	chunk  uint64
	row    uint32
	bytes  int
	total  int64
}

func (r *snapshotReader) read(conn *client.Conn, sql string) error {
	var result gomysql.Result
	var own error // what the callback ended with; the driver wraps it
	err := conn.ExecuteSelectStreaming(sql, &result, func(row []gomysql.FieldValue) error {
		own = r.take(row)
		return own
	}, nil)
	if own != nil {
		return own
	}
	if err != nil {
		return plain(err)
	}
	return r.endChunk()
}

func (r *snapshotReader) take(row []gomysql.FieldValue) error {
	if r.row == 0 {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		n, err := r.nextChunk(r.ctx, r.next)
		if err != nil {
			return err
		}
		r.chunk = n
	}
	r.arena = r.arena[:0]
	for i, c := range r.fields {
		v, err := r.value(c, &row[i])
		if err != nil {
			return stopf("column %s: %w", c.name, err)
		}
		r.event.After[i] = v
		r.bytes += len(v.Text())
	}
	r.event.ID = change.NewPointID(r.resume.Epoch, r.commit, r.chunk, r.row)
	r.event.CommitTime = time.Now()
	r.event.Snapshot = "true"
	if *r.first {
		r.event.Snapshot, *r.first = "first", false
	}
	if err := r.out.Event(&r.event); err != nil {
		return &stopError{err}
	}
	r.row++
	r.total++
	if r.row == chunkRows || r.bytes >= chunkBytes {
		return r.endChunk()
	}
	return nil
}

func (r *snapshotReader) endChunk() error {
	r.row, r.bytes = 0, 0
	r.setTable(r.table.QualifiedName(), func(t *capture.TableStatus) { t.SnapshotRows = r.total })
	return r.state.commit()
}

var errValueType = errors.New("the server sent a value of another type")

// value makes a value of what the text protocol has for a column, in the form that
// the stream gives it.
func (r *snapshotReader) value(c *declaredColumn, v *gomysql.FieldValue) (change.Value, error) {
	if v.Type == gomysql.FieldValueTypeNull {
		return change.Value{}, nil
	}
	kind, err := c.kind()
	if err != nil {
		return change.Value{}, err
	}
	at := len(r.arena)
	text := v.AsString()
	switch kind {
	case change.Int, change.Uint:
		switch v.Type {
		case gomysql.FieldValueTypeSigned:
			r.arena = strconv.AppendInt(r.arena, v.AsInt64(), 10)
		case gomysql.FieldValueTypeUnsigned:
			r.arena = strconv.AppendUint(r.arena, v.AsUint64(), 10)
		default:
			return change.Value{}, errValueType
		}
	case change.Float:
		if v.Type != gomysql.FieldValueTypeFloat {
			return change.Value{}, errValueType
		}
		bits := 64
		if c.typ == gomysql.MYSQL_TYPE_FLOAT {
			bits = 32
		}
		f := v.AsFloat64()
		if bits == 32 {
			f = float64(float32(f))
		}
		if math.IsInf(f, 0) {
			return change.Value{}, errValueType
		}
		r.arena = appendFloat(r.arena, f, bits)
	case change.Bool:
		return change.OfBool(len(text) > 0 && text[len(text)-1]&1 == 1), nil
	case change.Bits:
		r.arena = appendBits(r.arena, text, c.size)
	case change.Timestamp, change.TimestampTZ:
		r.arena = appendTemporalText(r.arena, text, kind == change.TimestampTZ)
	case change.Object:
		r.arena, err = appendGeometry(r.arena, text)
	case change.Array:
		r.arena, err = appendVector(r.arena, text)
	case change.Decimal:
		if c.hasZerofill() {
			r.arena = trimZerofill(r.arena[:at], text)
		} else {
			r.arena = append(r.arena[:at], text...)
		}
	default:
		return change.Of(kind, textOf(text)), nil
	}
	if err != nil {
		return change.Value{}, err
	}
	return change.Of(kind, textOf(r.arena[at:])), nil
}

func (c *declaredColumn) hasZerofill() bool { return strings.Contains(c.text, "zerofill") }

// trimZerofill appends a decimal's text without the zeros of ZEROFILL.
func trimZerofill(dst, text []byte) []byte {
	for len(text) > 1 && text[0] == '0' && text[1] != '.' {
		text = text[1:]
	}
	return append(dst, text...)
}
