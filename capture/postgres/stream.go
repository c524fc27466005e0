package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

const (
	// statusInterval is how often the server hears from us and is asked how far it is: while it reads
	// what others write it says so only then.
	statusInterval = 250 * time.Millisecond
	// While nothing is captured, the position moves on with the server's at least this often.
	idleInterval = 500 * time.Millisecond
	idleBytes    = 16 << 20
)

// stream is the reading of a slot over one connection.
type stream struct {
	s   *Source
	srv *server
	r   *resume
	out capture.Output
	ctx context.Context //nolint:containedctx // a stream lives within one call

	decoder  decoder
	schemas                  // of what is being published
	saved    schemas         // of what is, while a transaction that was in progress is published
	first    map[uint32]bool // relations that were described once
	again    map[uint32]bool // relations to look up: they may be others than when capture began
	relation *relation       // of the last row
	attrs    attributes
	counts   map[uint32]*tableCount
	number   uint64 // of the last description
	lsn      uint64 // of the message
	event    change.Event
	text     []byte // transaction id
	resume   []byte

	open inProgress

	publishRow, keepRow func(*relation, uint64) error // publishEvent, keepEvent

	inTransaction bool
	captured      bool   // something in this transaction was
	serial        uint64 // of the transaction in this stream
	changeLSN     uint64
	ordinal       uint32
	moved         time.Time // when the position was last committed without anything captured
	reply         chan struct{}
	loader        *loader // of tables, while the stream goes on
}

// schemas are the relations that messages have described so far.
type schemas struct {
	messages  map[uint32]relationMessage
	relations map[uint32]*relation // made of them when a row comes
}

func newSchemas() schemas {
	return schemas{map[uint32]relationMessage{}, map[uint32]*relation{}}
}

func (sc *schemas) describe(m *message) {
	sc.messages[m.relation] = m.rel
	delete(sc.relations, m.relation)
}

// stream reads the slot from r on until ctx ends or the connection does.
func (s *Source) stream(ctx context.Context, srv *server, r *resume, out capture.Output) error {
	conn, err := s.connectFor(ctx, true, forStream)
	if err != nil {
		return err
	}
	w, err := takeOver(conn)
	if err != nil {
		return err
	}
	s.walsender = int(w.pid)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer w.close()
	defer w.whenDone(ctx)()

	s.setPosition(r.LSN, r.LSN, time.Time{})
	options := fmt.Sprintf("proto_version '2', publication_names %s", quoteLiteral(quoteIdentifier(s.cfg.Publication)))
	if s.cfg.Messages {
		options += ", messages 'true'"
	}
	if s.streams() {
		options += ", streaming 'on'"
	}
	if err := w.query(fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL %s (%s)", quoteIdentifier(s.cfg.Slot), lsnText(r.LSN), options)); err != nil {
		return err
	}
	st := newStream(ctx, s, srv, r, out)
	if err := st.open.transactions.folder.clean(); err != nil {
		return err
	}
	defer st.endProgress()
	defer st.attrs.close()
	st.loader = newLoader(s, srv, st)
	w.waiting = out.Idle
	for {
		typ, body, err := w.next()
		if err != nil {
			return err
		}
		switch typ {
		case 'W':
			helpers.Go(func() { s.tell(ctx, w, st.reply, st.loader.poke) })
			helpers.Go(func() { st.loader.run(ctx) })
			was := st.r.Published
			helpers.Go(func() { s.watch(ctx, w, was) })
		case 'd':
			if err := st.data(body); err != nil {
				return err
			}
		case 'E':
			return s.slotError(serverError(body))
		case 'c', 'C', 'Z':
			return fmt.Errorf("read slot %s: %w", s.cfg.Slot, errEnded)
		case 'N', 'S':
		default:
			return fmt.Errorf("read slot %s: a message %q that does not belong there", s.cfg.Slot, typ)
		}
	}
}

func newStream(ctx context.Context, s *Source, srv *server, r *resume, out capture.Output) *stream {
	st := &stream{
		s: s, srv: srv, r: r, out: out, ctx: ctx, reply: make(chan struct{}, 1),
		schemas: newSchemas(), first: map[uint32]bool{}, again: map[uint32]bool{}, counts: map[uint32]*tableCount{},
	}
	st.open = inProgress{
		transactions: newTransactions(s.transactionMemory, newSpillFolder(s.dataDir, s.name)),
		decoder:      decoder{streaming: true},
		encoder:      change.NewEncoder(change.Source{}),
	}
	st.publishRow, st.keepRow = st.publishEvent, st.keepEvent
	return st
}

// tell writes status messages until ctx ends. It is the only writer.
func (s *Source) tell(ctx context.Context, w *wire, reply, poke <-chan struct{}) {
	ticker := time.NewTicker(statusInterval)
	defer ticker.Stop()
	for {
		confirmed := s.confirmed.Load()
		if err := w.standbyStatus(max(s.received.Load(), confirmed), confirmed, true); err != nil {
			_ = w.conn.Close() // the reader finds out
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-reply:
		case <-poke:
		}
	}
}

// data takes the body of one CopyData message.
func (st *stream) data(b []byte) error {
	switch {
	case len(b) >= 25 && b[0] == 'w':
		lsn := binary.BigEndian.Uint64(b[1:])
		if err := st.decoder.decode(b[25:]); err != nil {
			return err
		}
		if st.open.current != nil {
			return st.blockMessage(&st.decoder.message, lsn, b[25:])
		}
		return st.message(&st.decoder.message, lsn)
	case len(b) == 18 && b[0] == 'k':
		end := binary.BigEndian.Uint64(b[1:])
		if b[17] == 1 {
			select {
			case st.reply <- struct{}{}:
			default:
			}
		}
		if !st.inTransaction {
			if err := st.loader.boundary(end); err != nil {
				return err
			}
			return st.advance(end)
		}
		return nil
	}
	return fmt.Errorf("read slot %s: a copy message that does not belong there", st.s.cfg.Slot)
}

// advance moves the position to where nothing was captured since the last commit.
func (st *stream) advance(end uint64) error {
	if end <= st.r.LSN {
		return nil
	}
	st.s.setPosition(end, end, time.Time{})
	if err := st.watchAttributes(); err != nil {
		return err
	}
	now := time.Now()
	if now.Sub(st.moved) < idleInterval && end-st.r.LSN < idleBytes {
		return nil
	}
	st.moved = now
	st.r.LSN = end
	return st.commit()
}

func (st *stream) commit() error {
	st.resume = st.r.appendTo(st.resume[:0])
	return output(st.out.Commit(st.resume))
}

// message takes a decoded message whose XLogData begins at lsn.
func (st *stream) message(m *message, lsn uint64) error {
	st.lsn = lsn
	switch m.kind {
	case 'I', 'U', 'D':
		r := st.relation
		if r == nil || r.oid != m.relation {
			var err error
			if r, err = st.find(m.relation); err != nil {
				return err
			}
			st.relation = r
		}
		if r.table == nil {
			return nil
		}
		return st.change(r, m, lsn)
	case 'B':
		st.begin(m.lsn, m.time, m.xid)
		st.loader.begin(m.xid, false)
	case 'C':
		return st.end(m)
	case 'R':
		// A relation is described again when something about it changed. Not all of it is in the message: the
		// primary key beside a full identity, NOT NULL.
		_, seen := st.messages[m.relation]
		st.first[m.relation] = !seen && !st.open.replaying
		if seen || st.open.replaying || st.event.ID.Commit() > st.srv.end {
			st.again[m.relation] = true
		}
		st.number++
		m.rel.number = st.number
		st.describe(m)
		st.relation = nil
	case 'O':
		st.event.Log.Origin, st.event.Log.OriginLSN = string(m.origin), m.lsn
	case 'T':
		return st.truncate(m, lsn)
	case 'M':
		return st.logicalMessage(m, lsn)
	case 'Y':
	case 'S':
		return st.beginBlock(m)
	case 'c':
		return st.commitProgress(m)
	case 'A':
		return st.abort(m)
	default:
		return fmt.Errorf("read slot %s: a message %q that does not belong there", st.s.cfg.Slot, m.kind)
	}
	return nil
}

func (st *stream) begin(commit uint64, micros int64, xid uint32) {
	st.inTransaction, st.captured = true, false
	st.serial++
	st.changeLSN, st.ordinal = 0, 0
	st.event = change.Event{
		ID:         change.NewID(st.r.Epoch, commit, 0, 0),
		CommitTime: postgresEpoch.Add(time.Duration(micros) * time.Microsecond),
		Log:        change.LogPosition{LastLSN: st.r.Last, XID: xid},
	}
}

func (st *stream) end(m *message) error {
	st.inTransaction = false
	st.s.setPosition(m.end, m.end, st.event.CommitTime)
	st.loader.committed(st.event.Log.XID)
	if st.captured {
		st.r.LSN, st.r.Last = m.end, m.end
		if err := st.commit(); err != nil {
			return err
		}
	}
	if err := st.loader.boundary(m.end); err != nil {
		return err
	}
	if !st.captured {
		return st.advance(m.end)
	}
	return nil
}

// place gives the event its id and its place in the transaction. Rows of one change
// record share its LSN and are told apart by an ordinal.
func (st *stream) place(lsn uint64, tableOrder int64) {
	e := &st.event
	if lsn != st.changeLSN {
		st.changeLSN, st.ordinal = lsn, 0
	} else {
		st.ordinal++
	}
	st.captured = true
	e.ID = change.NewID(st.r.Epoch, e.ID.Commit(), lsn, st.ordinal)
	e.Log.LSN = lsn
	e.TxOrder++
	e.TableOrder = tableOrder
	st.text = strconv.AppendUint(st.text[:0], uint64(e.Log.XID), 10)
	st.text = strconv.AppendUint(append(st.text, ':'), lsn, 10)
	e.TxID = view(st.text)
}

func (st *stream) change(r *relation, m *message, lsn uint64) error {
	var err error
	if len(r.composites) > 0 {
		if r, err = st.attributes(r, lsn, &st.schemas, st.find); err != nil {
			return err
		}
		st.relation = r
	}
	err = st.rows(r, m)
	if errors.Is(err, errStale) {
		if r, err = st.refresh(r); err == nil {
			err = st.rows(r, m)
			r.strict = true
		}
	}
	if err != nil {
		return err
	}
	st.loader.note(st.event.Log.XID, r, m)
	return st.split(r, m.kind, lsn, st.publishRow)
}

// split hands the event of a row message on, or the two of a changed key.
func (st *stream) split(r *relation, kind byte, lsn uint64, hand func(r *relation, lsn uint64) error) error {
	e := &st.event
	switch kind {
	case 'I':
		e.Op = change.Create
	case 'D':
		e.Op = change.Delete
	default:
		e.Op = change.Update
		if e.Before != nil {
			r.fillUnchanged(e.Before, e.After)
			if r.keyChanged(e.Before, e.After) {
				before, after := e.Before, e.After
				e.Op, e.After, e.NewKey = change.Delete, nil, after
				if err := hand(r, lsn); err != nil {
					return err
				}
				e.Op, e.Before, e.After, e.NewKey, e.OldKey = change.Create, nil, after, nil, before
			}
		}
	}
	return hand(r, lsn)
}

func (st *stream) publishEvent(r *relation, lsn uint64) error {
	st.place(lsn, r.count.next(st.serial))
	return output(st.out.Event(&st.event))
}

// rows decodes the rows of a message into the event.
func (st *stream) rows(r *relation, m *message) error {
	if r.unkeyed && m.kind != 'I' {
		// Postgres refuses updates and deletes of such a table. ANALYZE and VACUUM change the catalog in place where a
		// primary key is gone, and with it what the server says of the rows that were written before.
		return fmt.Errorf("table %s had a primary key when rows at %s were changed, and the server no longer says which: it was dropped, and the table analyzed or vacuumed, before this was captured; read the tables again: penstock source reset %s",
			r.table.QualifiedName(), lsnText(st.lsn), st.s.name)
	}
	e := &st.event
	e.Table, e.Before, e.After, e.OldKey, e.NewKey = r.table, nil, nil, nil, nil
	r.reset()
	if m.oldKind != 0 {
		if err := r.row(r.before, m.old); err != nil {
			return err
		}
		e.Before = r.before
		if r.nulls = r.nulls && m.oldKind == 'O'; r.nulls {
			st.renew(r, r.before)
		}
	}
	if m.kind != 'D' {
		if err := r.row(r.after, m.new); err != nil {
			return err
		}
		e.After = r.after
		if r.nulls {
			st.renew(r, r.after)
		}
	}
	return nil
}

// renew gives a relation the version of its table that has room for the NULLs of a row.
func (st *stream) renew(r *relation, row change.Row) {
	t := st.s.intern(r.oid, r.nullable(row))
	r.nulls, r.table, st.event.Table = false, t, t
	st.s.updateTable(t.QualifiedName(), func(status *capture.TableStatus) { status.SchemaVersion = t.Version })
}

// refreshInterval is how often the types of a table are looked up again because of
// values that do not fit them.
const refreshInterval = time.Second

// refresh makes a relation anew with its types as the catalog has them now. The one that
// is returned takes the next row as it is.
func (st *stream) refresh(r *relation) (*relation, error) {
	if time.Since(r.looked) > refreshInterval {
		m := st.messages[r.oid]
		for _, c := range m.columns {
			st.srv.types.forget(c.typ)
		}
		if _, err := st.look(r.oid, &m); err != nil {
			return nil, err
		}
		delete(st.relations, r.oid)
		fresh, err := st.find(r.oid)
		if err != nil {
			return nil, err
		}
		fresh.looked = time.Now()
		r, st.relation = fresh, fresh
	}
	r.strict = false
	return r, nil
}

func (st *stream) truncate(m *message, lsn uint64) error {
	for _, oid := range m.truncate {
		r, err := st.find(oid)
		if err != nil {
			return err
		}
		if r.table == nil {
			continue
		}
		e := &st.event
		st.loader.truncated(e.Log.XID, oid)
		e.Op, e.Table, e.Before, e.After, e.OldKey, e.NewKey = change.Truncate, r.table, nil, nil, nil, nil
		st.place(lsn, r.count.next(st.serial))
		e.ID = change.NewID(st.r.Epoch, e.ID.Commit(), lsn, oid)
		if err := output(st.out.Event(e)); err != nil {
			return err
		}
	}
	return nil
}

func (st *stream) logicalMessage(m *message, lsn uint64) error {
	if !st.s.cfg.Messages {
		return nil
	}
	if !st.inTransaction { // not transactional: at its own place in the log
		last := st.event.CommitTime
		st.begin(lsn, 0, 0)
		if st.event.CommitTime = last; last.IsZero() {
			st.event.CommitTime = time.Now()
		}
		st.event.TxID = ""
	}
	e := &st.event
	e.Op, e.Table = change.Message, st.srv.messages
	e.Before, e.After, e.OldKey, e.NewKey = nil, nil, nil, nil
	e.Prefix, e.Content = string(m.prefix), m.content
	defer func() { e.Prefix, e.Content = "", nil }()
	st.place(lsn, 1)
	if m.inTx {
		return output(st.out.Event(e))
	}
	e.TxID, e.TxOrder, e.TableOrder = "", 0, 0
	st.inTransaction = false
	if err := output(st.out.Event(e)); err != nil {
		return err
	}
	st.r.LSN = lsn + 1
	return st.commit()
}

// find returns the relation of a row, made from the Relation message that came
// before it and what the catalog has now.
func (st *stream) find(oid uint32) (*relation, error) {
	if r := st.relations[oid]; r != nil {
		return r, nil
	}
	m, ok := st.messages[oid]
	if !ok {
		return nil, fmt.Errorf("read slot %s: a row of relation %d, which was not described", st.s.cfg.Slot, oid)
	}
	if !st.s.cfg.captures(m.schema, m.name) {
		r := &relation{oid: oid}
		st.relations[oid] = r
		return r, nil
	}
	info, err := st.srv.relation(oid), error(nil)
	if info == nil || st.again[oid] || !sameColumns(&m, info, st.srv.storedGenerated) || !st.srv.types.have(&m) {
		if info, err = st.look(oid, &m); err != nil {
			return nil, err
		}
		delete(st.again, oid)
	}
	if info, err = st.keyThen(oid, &m, info, st.first[oid]); err != nil {
		return nil, err
	}
	r := st.makeRelation(oid, &m, info)
	st.relations[oid] = r
	st.loader.describedAs(oid, r.table)
	return r, nil
}

// makeRelation makes a relation of its description and what the catalog says of it.
func (st *stream) makeRelation(oid uint32, m *relationMessage, info *relationInfo) *relation {
	t, places := st.s.cfg.table(st.s.name, st.srv.database, m, info, st.srv.types)
	r := newRelation(oid, m, st.s.intern(oid, t), places, st.srv.types)
	r.strict = true
	if st.counts[oid] == nil {
		st.counts[oid] = r.count
	}
	r.count, r.types = st.counts[oid], st.attrs.generation
	st.s.updateTable(t.QualifiedName(), func(status *capture.TableStatus) { status.Topic, status.SchemaVersion = t.Topic, t.Version })
	return r
}

// keyThen sees to the primary key of a table whose replica identity is another one, of which the stream
// says nothing. At a start the key of the resume point counts for rows that were written before: if the
// table has another one now, nothing says which of these rows were written under which.
func (st *stream) keyThen(oid uint32, m *relationMessage, info *relationInfo, first bool) (*relationInfo, error) {
	then, known := st.r.Keys[oid]
	if m.identity == 'd' || m.identity == 'n' || !known || slices.Equal(then, info.primary) || !first || st.lsn > st.srv.end {
		st.r.noteKey(oid, m.identity, info.primary)
		return info, nil
	}
	if info.gone {
		old := *info
		old.primary = then
		return &old, nil
	}
	return nil, fmt.Errorf("table %s has the primary key (%s) now and had (%s) at %s, and with REPLICA IDENTITY %s the changes in between do not say under which they were written: read it again: penstock source reset %s",
		info.qualified(), strings.Join(info.primary, ", "), strings.Join(then, ", "), lsnText(st.r.LSN), map[byte]string{'f': "FULL", 'i': "USING INDEX"}[m.identity], st.s.name)
}

// look asks the catalog about a relation that is not as it was when capture began. A
// relation that is gone is described by its message alone.
func (st *stream) look(oid uint32, m *relationMessage) (*relationInfo, error) {
	conn, err := st.s.connect(st.ctx, false)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	found, err := readRelation(st.ctx, conn, st.s.cfg.Publication, oid, st.srv.types)
	if err != nil {
		return nil, err
	}
	var oids []uint32
	for _, c := range m.columns {
		oids = append(oids, c.typ)
	}
	if err := st.srv.types.load(st.ctx, conn, oids); err != nil {
		return nil, err
	}
	if found == nil {
		return &relationInfo{oid: oid, schema: m.schema, name: m.name, gone: true}, nil
	}
	st.srv.replace(found)
	return found, nil
}

// sameColumns tells whether the catalog describes the columns of a Relation message.
func sameColumns(m *relationMessage, info *relationInfo, storedGenerated bool) bool {
	now := info.message(storedGenerated)
	return m.identity == now.identity && m.name == now.name && m.schema == now.schema &&
		slices.EqualFunc(m.columns, now.columns, func(a, b relationColumn) bool {
			return a.name == b.name && a.typ == b.typ && a.typmod == b.typmod && a.key == b.key
		})
}
