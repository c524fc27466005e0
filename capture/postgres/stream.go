package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
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
	catalog  catalogSession
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
	w.mark = newWakeMark(w.conn) // COPY's output comes many rows at a time
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
	defer st.catalog.close()
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
			helpers.Go(func() { s.watch(ctx, w, was, st.loader) })
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
			return s.unfit("a message %q does not belong there", typ)
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
			return st.s.unfit("%v", err)
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
	return st.s.unfit("a copy message does not belong there")
}

// advance moves the position to where nothing was captured since the last commit.
func (st *stream) advance(end uint64) error {
	if end <= st.r.LSN {
		return nil
	}
	st.s.setPosition(end, end, time.Time{})
	st.catalog.rest()
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
		return st.s.unfit("a message %q does not belong there", m.kind)
	}
	return nil
}
