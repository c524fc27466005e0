package mysql

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock-cdc/penstock/change"
)

// transaction is the one that the stream is in.
type transaction struct {
	open   bool   // between its first and its last event
	begun  bool   // it has more than one statement: an XID or COMMIT ends it
	commit uint64 // commit position of its ids
	gtid   string
	id     string // Debezium's transaction id
	thread uint32
	time   time.Time
	rows   uint64 // rows events so far, those of tables that are not captured too
	order  int64  // events so far
	sent   bool   // something was captured
	xa     bool   // an XA transaction: its rows are held until it is known to be committed
	held   []held
	size   int // bytes held
}

// innerDecoder unfolds compressed transactions.
type innerDecoder struct{ z *zstd.Decoder }

func (d *innerDecoder) unfold(body []byte) ([]byte, error) {
	if d.z == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxInflated))
		if err != nil {
			return nil, err
		}
		d.z = z
	}
	return payload(body, d.z)
}

// event takes one event of the file; start is where it begins there.
func (t *tail) event(h header, start uint64, body []byte) error {
	if op, _, _, ok := rowsVersion(h.kind); ok {
		return t.rowsEvent(h, op, start, body)
	}
	switch h.kind {
	case replication.TABLE_MAP_EVENT:
		return t.tableMap(body)
	case replication.GTID_EVENT, replication.ANONYMOUS_GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT, replication.MARIADB_GTID_EVENT:
		return t.gtid(h, start, body)
	case replication.QUERY_EVENT, replication.MARIADB_QUERY_COMPRESSED_EVENT:
		q, err := parseQuery(body, h.kind == replication.MARIADB_QUERY_COMPRESSED_EVENT)
		if err != nil {
			return fmt.Errorf("read query event: %w", err)
		}
		return t.query(h, start, q)
	case replication.XID_EVENT:
		return t.commitTransaction()
	case replication.TRANSACTION_PAYLOAD_EVENT:
		return t.payload(start, body)
	case replication.XA_PREPARE_LOG_EVENT:
		return t.xaPrepare(body)
	case replication.PARTIAL_UPDATE_ROWS_EVENT:
		return t.partial(body)
	case replication.INCIDENT_EVENT:
		return stopf("binlog %s:%d: the server reports an incident: events may be missing from its binary log; read the tables again: penstock source reset", t.file, start)
	case replication.EXECUTE_LOAD_QUERY_EVENT, replication.BEGIN_LOAD_QUERY_EVENT:
		return t.statement(string(body))
	case replication.WRITE_ROWS_EVENTv0, replication.UPDATE_ROWS_EVENTv0, replication.DELETE_ROWS_EVENTv0:
		return stopf("binlog %s:%d: rows events of version 0 (MySQL before 5.1.17) are not supported", t.file, start)
	case replication.ROWS_QUERY_EVENT, replication.IGNORABLE_EVENT, replication.PREVIOUS_GTIDS_EVENT, replication.STOP_EVENT,
		replication.INTVAR_EVENT, replication.RAND_EVENT, replication.USER_VAR_EVENT, // they go before a statement
		replication.APPEND_BLOCK_EVENT, replication.DELETE_FILE_EVENT,
		replication.TRANSACTION_CONTEXT_EVENT, replication.VIEW_CHANGE_EVENT,
		replication.MARIADB_ANNOTATE_ROWS_EVENT, replication.MARIADB_BINLOG_CHECKPOINT_EVENT,
		replication.MARIADB_GTID_LIST_EVENT, replication.MARIADB_START_ENCRYPTION_EVENT:
		if !t.tx.open {
			t.advance()
		}
		return nil
	}
	if h.flags&flagIgnorable != 0 {
		return nil
	}
	return stopf("binlog %s:%d: event type %d is not known, and the server does not say that it can be passed over: a newer penstock is needed", t.file, start, h.kind)
}

// gtid begins a transaction.
func (t *tail) gtid(h header, start uint64, body []byte) error {
	if t.tx.open {
		return fmt.Errorf("a transaction begins inside another")
	}
	t.tx = transaction{open: true, time: headerTime(h)}
	var err error
	if t.tx.commit, err = commitPosition(t.file, start); err != nil {
		return err
	}
	switch h.kind {
	case replication.MARIADB_GTID_EVENT:
		r := reader{b: body}
		sequence, domain, flags := r.uint(8), r.uint(4), r.byte()
		if r.err != nil {
			return r.err
		}
		g := gomysql.MariadbGTID{DomainID: uint32(domain), ServerID: h.serverID, SequenceNumber: sequence}
		t.tx.gtid = g.String()
		t.tx.begun = flags&replication.BINLOG_MARIADB_FL_STANDALONE == 0
		t.tx.xa = flags&flagPreparedXA != 0 // it has no XA START of its own
	case replication.GTID_TAGGED_LOG_EVENT:
		e := replication.GtidTaggedLogEvent{}
		if err := decodeTagged(&e, body); err != nil {
			return fmt.Errorf("read tagged GTID: %w", err)
		}
		id, err := uuid.FromBytes(e.SID)
		if err != nil {
			return fmt.Errorf("read tagged GTID: %w", err)
		}
		t.tx.gtid = fmt.Sprintf("%s:%s:%d", id, e.Tag.String(), e.GNO)
		if e.ImmediateCommitTimestamp > 0 {
			t.tx.time = time.UnixMicro(int64(e.ImmediateCommitTimestamp))
		}
	default:
		r := reader{b: body}
		r.byte() // flags
		sid, gno := r.bytes(16), r.uint(8)
		if r.err != nil {
			return r.err
		}
		if h.kind == replication.GTID_EVENT {
			t.tx.gtid = appendGTID(sid, gno)
		}
		if len(r.b) >= 1+16+7 && r.b[0] == 2 { // logical clock, then the time of commit in microseconds
			if micros := littleEndian(r.b[17:24]) &^ (1 << 55); micros > 0 {
				t.tx.time = time.UnixMicro(int64(micros))
			}
		}
	}
	t.tx.id = t.tx.gtid
	return nil
}

// flagPreparedXA is FL_PREPARED_XA of MariaDB's GTID event.
const flagPreparedXA = 64

// decodeTagged keeps a malformed event from ending the process.
func decodeTagged(e *replication.GtidTaggedLogEvent, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("event is malformed")
		}
	}()
	return e.Decode(body)
}

func headerTime(h header) time.Time { return time.Unix(int64(h.time), 0) }

func appendGTID(sid []byte, gno uint64) string {
	b := make([]byte, 0, 60)
	for i, c := range sid {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return fmt.Sprintf("%s:%d", b, gno)
}

// payload takes the events of a compressed transaction.
func (t *tail) payload(start uint64, body []byte) error {
	events, err := t.inner.unfold(body)
	if err != nil {
		return fmt.Errorf("read compressed transaction: %w", err)
	}
	for len(events) > 0 {
		h, err := parseHeader(events)
		if err != nil || h.size < headerSize || uint64(h.size) > uint64(len(events)) {
			return fmt.Errorf("read compressed transaction: %w", errShort)
		}
		if err := t.event(h, start, events[headerSize:h.size]); err != nil {
			return err
		}
		events = events[h.size:]
	}
	return nil
}

// commitTransaction ends the transaction: it is in the stream as a whole.
func (t *tail) commitTransaction() error {
	if !t.tx.open {
		return fmt.Errorf("a commit comes without a transaction")
	}
	if t.tx.gtid != "" && t.resume.gtids != nil {
		if err := addGTID(t.resume.gtids, t.tx.gtid); err != nil {
			return fmt.Errorf("add GTID %s: %w", t.tx.gtid, err)
		}
	}
	t.tx.open, t.tx.begun = false, false
	t.advance()
	t.published()
	if !t.tx.sent {
		return t.commitStretch(false)
	}
	return t.commitNow()
}

// addGTID adds one transaction to a set.
func addGTID(set gomysql.GTIDSet, gtid string) error {
	switch s := set.(type) {
	case *gomysql.MysqlGTIDSet:
		parts := strings.Split(gtid, ":")
		id, err := uuid.Parse(parts[0])
		if err != nil {
			return err
		}
		var gno int64
		if _, err := fmt.Sscan(parts[len(parts)-1], &gno); err != nil {
			return err
		}
		if len(parts) == 3 {
			s.AddGTIDWithTag(id, gomysql.NewTag(parts[1]), gno)
		} else {
			s.AddGTID(id, gno)
		}
		return nil
	default:
		return set.Update(gtid)
	}
}

// mapped is what a table id means since the last TABLE_MAP event for it.
type mapped struct {
	raw    []byte // the event, to see that it is the same again
	layout *layout
	table  *change.Table // nil: not captured
	from   uint64        // what commits below it, the snapshot has
	before change.Row
	after  change.Row
	order  int64 // events of this table in the transaction of orderTx
	tx     uint64
	name   string
}

// tableMap makes the layout of the rows events that follow.
func (t *tail) tableMap(body []byte) error {
	id, rest, err := tableMapID(body)
	if err != nil {
		return err
	}
	if m := t.tables[id]; m != nil && bytes.Equal(m.raw, rest) {
		return nil
	}
	m := &mapped{raw: bytes.Clone(rest)}
	t.tables[id] = m
	database, name, r := parseTableMapName(rest)
	if r.err != nil {
		return fmt.Errorf("read table map: %w", r.err)
	}
	if !t.selected.Captures(string(database), string(name)) || isSystem(string(database)) {
		return nil
	}
	parsed, err := parseTableMap(rest, t.facts.collations, t.facts.mariadb)
	if err != nil {
		return fmt.Errorf("read table map of %s.%s: %w", database, name, err)
	}
	return t.mapTable(m, parsed)
}

func isSystem(database string) bool {
	return strings.Contains(systemDatabases, "'"+strings.ToLower(database)+"'")
}

func (t *tail) mapTable(m *mapped, parsed *tableMap) error {
	m.name = parsed.database + "." + parsed.table
	if !parsed.full {
		return stopf("table %s: its events have no column names: SET GLOBAL binlog_row_metadata = FULL, and take a new snapshot of the table, as events written before that have none", m.name)
	}
	d := t.declared[m.name]
	if !d.matches(parsed) {
		// The table was altered, now or after these events were written.
		if err := t.declareAgain(); err != nil {
			return err
		}
		d = t.declared[m.name]
	}
	table, place, err := t.makeTable(parsed.database, parsed.table, parsed.columns, parsed.key, d)
	if err != nil {
		return &stopError{err}
	}
	if m.layout, err = newLayout(parsed.columns, place, len(table.Columns)); err != nil {
		return stopf("table %s: %w", m.name, err)
	}
	m.table = t.intern(table)
	m.before, m.after = make(change.Row, len(table.Columns)), make(change.Row, len(table.Columns))
	if p, ok := t.resume.Tables[m.name]; !ok {
		t.mu.Lock()
		t.resume.setTable(m.name, 0)
		t.mu.Unlock()
	} else if p.Epoch == t.resume.Epoch {
		m.from = p.From
	}
	return nil
}

// matches tells whether the declaration says how all columns are stored.
func (d *declaration) matches(m *tableMap) bool {
	if d == nil || len(d.columns) != len(m.columns) {
		return false
	}
	for i := range m.columns {
		if !d.columns[i].same(&m.columns[i]) {
			return false
		}
	}
	return true
}

// rowsEvent takes the rows of one event.
func (t *tail) rowsEvent(h header, op rowsOp, start uint64, body []byte) error {
	id, err := rowsTable(body)
	if err != nil {
		return err
	}
	number := t.tx.rows
	t.tx.rows++
	m := t.tables[id]
	if m == nil {
		return fmt.Errorf("rows of a table with no table map before them (id %d)", id)
	}
	if m.table == nil || t.tx.commit < m.from {
		return nil
	}
	if !t.tx.open {
		return fmt.Errorf("rows outside a transaction")
	}
	if t.tx.xa { // whether it is committed comes later
		return t.hold(held{header: h, op: op, start: start, number: number, table: m, body: body})
	}
	return t.sendRows(h, op, start, number, m, body)
}

// sendRows hands over the rows of one event of a captured table.
func (t *tail) sendRows(h header, op rowsOp, start, number uint64, m *mapped, body []byte) error {
	rows, err := parseRows(h.kind, body)
	if err != nil {
		return fmt.Errorf("read rows of %s: %w", m.name, err)
	}
	if rows.columns != len(m.layout.fields) {
		return fmt.Errorf("rows of %s have %d columns, its table map %d", m.name, rows.columns, len(m.layout.fields))
	}
	fullBefore, fullAfter := full(rows.before, rows.columns), op != rowsUpdate || full(rows.after, rows.columns)
	if !fullBefore || !fullAfter {
		if !t.onlyGeneratedMissing(m, &rows) {
			return stopf("table %s: a row image is not whole: SET GLOBAL binlog_row_image = FULL, end the sessions that have their own setting, and take a new snapshot of the table", m.name)
		}
	}
	if m.tx != t.tx.commit {
		m.tx, m.order = t.tx.commit, 0
	}
	ev := change.Event{Table: m.table, CommitTime: t.tx.time, TxID: t.tx.id, Log: change.LogPosition{
		ServerID: h.serverID, GTID: t.tx.gtid, File: t.file, Pos: start, Thread: t.tx.thread,
	}}
	data := rows.data
	for row := 0; len(data) > 0; row++ {
		if row > math.MaxInt32/2 {
			return fmt.Errorf("rows event of %s has too many rows", m.name)
		}
		t.decoder.reset()
		ev.Log.Row = row
		first := m.after
		if op != rowsWrite {
			first = m.before
		}
		if data, err = t.decoder.row(m.layout, data, rows.before, fullBefore, first); err != nil {
			return fmt.Errorf("read rows of %s: %w", m.name, err)
		}
		if op == rowsUpdate {
			if data, err = t.decoder.row(m.layout, data, rows.after, fullAfter, m.after); err != nil {
				return fmt.Errorf("read rows of %s: %w", m.name, err)
			}
		}
		if err := t.send(m, &ev, op, number, uint32(row)); err != nil {
			return err
		}
	}
	return nil
}

// onlyGeneratedMissing: MariaDB leaves generated columns out of the images of updates.
func (t *tail) onlyGeneratedMissing(m *mapped, rows *rows) bool {
	for i := range m.layout.fields {
		out := m.layout.fields[i].out
		missing := rows.before[i/8]>>(i%8)&1 == 0 || rows.after != nil && rows.after[i/8]>>(i%8)&1 == 0
		if missing && out >= 0 && !m.table.Columns[out].Generated {
			return false
		}
	}
	return true
}

// send hands over one row's change; a changed key is two events.
func (t *tail) send(m *mapped, ev *change.Event, op rowsOp, number uint64, row uint32) error {
	emit := func(o change.Op, ordinal uint32, before, after change.Row) error {
		t.tx.order++
		m.order++
		t.tx.sent = true
		ev.Op, ev.Before, ev.After = o, before, after
		ev.ID = change.NewID(t.resume.Epoch, t.tx.commit, number, 2*row+ordinal)
		ev.TxOrder, ev.TableOrder = t.tx.order, m.order
		if err := t.out.Event(ev); err != nil {
			return &stopError{err}
		}
		return nil
	}
	ev.OldKey, ev.NewKey = nil, nil
	switch {
	case op == rowsWrite:
		return emit(change.Create, 0, nil, m.after)
	case op == rowsDelete:
		return emit(change.Delete, 0, m.before, nil)
	case !keyChanged(m.table, m.before, m.after):
		return emit(change.Update, 0, m.before, m.after)
	}
	ev.NewKey = m.after
	if err := emit(change.Delete, 0, m.before, nil); err != nil {
		return err
	}
	ev.OldKey, ev.NewKey = m.before, nil
	return emit(change.Create, 1, nil, m.after)
}

func keyChanged(t *change.Table, before, after change.Row) bool {
	for _, k := range t.Key {
		if before[k] != after[k] {
			return true
		}
	}
	return false
}

// partial: only the changed parts of a JSON document were logged.
func (t *tail) partial(body []byte) error {
	id, err := rowsTable(body)
	if err != nil {
		return err
	}
	t.tx.rows++
	if m := t.tables[id]; m != nil && m.table == nil {
		return nil
	}
	return stopf("binlog %s:%d: partial JSON updates are not supported: SET GLOBAL binlog_row_value_options = '', and take a new snapshot of the table", t.file, t.pos)
}
