package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// lookPatience is how long a look at the catalog may wait for a lock while a transaction
// in progress waits for it.
const lookPatience = "100ms"

// inProgress is the part of a stream that keeps transactions in progress. Their rows are
// encoded as they come, and published when the transaction commits.
type inProgress struct {
	transactions *transactions
	current      *transaction    // whose block is being read
	encoder      *change.Encoder // writes rows alone, which need no source
	images       change.Images
	decoder      decoder // of messages that were kept as they came
	replaying    bool    // they are being decoded
}

// streams tells whether the server sends transactions in progress. A logical message
// names its top-level transaction alone, so one of a rolled-back savepoint could not be
// told apart: with messages the server keeps transactions until they commit.
func (s *Source) streams() bool {
	return !s.cfg.Messages && (s.cfg.Streaming == nil || *s.cfg.Streaming)
}

// beginBlock begins a stretch of messages of one transaction in progress.
func (st *stream) beginBlock(m *message) error {
	st.loader.begin(m.xid, true)
	tx := st.open.transactions.open[m.xid]
	switch {
	case tx == nil && m.first:
		tx = st.open.transactions.begin(m.xid)
	case tx == nil:
		return st.s.unfit("transaction %d goes on that did not begin", m.xid)
	case m.first:
		return st.s.unfit("transaction %d begins again", m.xid)
	}
	st.open.current, st.relation = tx, nil
	return nil
}

// blockMessage takes a message of the current block; b is the message as it came.
func (st *stream) blockMessage(m *message, lsn uint64, b []byte) error {
	tx := st.open.current
	st.lsn = lsn
	switch m.kind {
	case 'I', 'U', 'D':
		r := st.relation
		if r == nil || r.oid != m.relation {
			var err error
			if r, err = st.findInProgress(tx, m.relation); err != nil {
				return err
			}
			st.relation = r
		}
		if len(r.composites) > 0 {
			var err error
			if r, err = st.attributes(r, lsn, &tx.schemas, func(oid uint32) (*relation, error) { return st.findInProgress(tx, oid) }); err != nil {
				return err
			}
			st.relation = r
		}
		switch {
		case r.deferred:
			return st.deferMessage(tx, r.oid, m.xid, lsn, b)
		case r.table == nil:
			return nil
		}
		return st.keep(tx, r, m, lsn, b)
	case 'E':
		st.open.current, st.relation = nil, nil
		st.reportProgress()
	case 'R':
		st.number++
		m.rel.number = st.number
		tx.describe(m)
		tx.described[m.relation] = append([]byte(nil), b...)
		st.relation = nil
	case 'T':
		return st.truncateInProgress(tx, m, lsn)
	case 'O':
		tx.origin = string(m.origin) // its LSN is known at the commit only, and not sent then
	case 'Y':
	default:
		return st.s.unfit("a message %q does not belong into a transaction in progress", m.kind)
	}
	return nil
}

// keep keeps the events of a row message.
func (st *stream) keep(tx *transaction, r *relation, m *message, lsn uint64, b []byte) error {
	err := st.rows(r, m)
	switch {
	case errors.Is(err, errStale):
		return st.deferMessage(tx, r.oid, m.xid, lsn, b)
	case err != nil:
		return err
	}
	st.loader.note(tx.xid, r, m)
	return st.split(r, m.kind, lsn, st.keepRow)
}

func (st *stream) keepEvent(r *relation, lsn uint64) error {
	tx := st.open.current
	if r.place < 0 || tx.tables[r.place].table != r.table {
		r.place = len(tx.tables)
		tx.tables = append(tx.tables, transactionTable{r.oid, r.table, r.count})
	}
	return st.open.transactions.keepImages(tx, st.decoder.xid, lsn, st.event.Op, r.place, st.open.encoder.Images(&st.event))
}

func (st *stream) truncateInProgress(tx *transaction, m *message, lsn uint64) error {
	for _, oid := range m.truncate {
		r, err := st.findInProgress(tx, oid)
		if err != nil {
			return err
		}
		switch {
		case r.deferred:
			if err := st.deferMessage(tx, oid, m.xid, lsn, truncateMessage(m.xid, oid)); err != nil {
				return err
			}
		case r.table != nil:
			st.loader.truncated(tx.xid, oid)
			st.event = change.Event{Op: change.Truncate, Table: r.table}
			if err := st.keepEvent(r, lsn); err != nil {
				return err
			}
		}
	}
	return nil
}

// truncateMessage is the TRUNCATE of one relation in a transaction in progress.
func truncateMessage(xid, oid uint32) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'T'}, xid)
	b = append(binary.BigEndian.AppendUint32(b, 1), 0)
	return binary.BigEndian.AppendUint32(b, oid)
}

// deferMessage keeps a message as it came, with the description of its relation as it was then.
func (st *stream) deferMessage(tx *transaction, oid, subxid uint32, lsn uint64, b []byte) error {
	if d := tx.described[oid]; d != nil {
		delete(tx.described, oid)
		// The description holds for what follows whatever becomes of the subtransaction that it came in.
		if err := st.open.transactions.keepMessage(tx, 0, lsn, d); err != nil {
			return err
		}
	}
	return st.open.transactions.keepMessage(tx, subxid, lsn, b)
}

// findInProgress returns the relation of a row of a transaction in progress. It is a
// deferred one where the transaction sees the table, or one of its types, otherwise than
// the catalog shows it to others: at the commit it will show it.
func (st *stream) findInProgress(tx *transaction, oid uint32) (*relation, error) {
	if r := tx.relations[oid]; r != nil {
		return r, nil
	}
	m, ok := tx.messages[oid]
	if !ok {
		return nil, st.s.unfit("a row came of relation %d, which transaction %d did not describe", oid, tx.xid)
	}
	r := &relation{oid: oid}
	if st.s.cfg.captures(m.schema, m.name) {
		info, err := st.lookCommitted(oid)
		if err != nil {
			return nil, err
		}
		if info != nil && sameColumns(&m, info, st.srv.storedGenerated) {
			_, seen := st.messages[oid]
			if info, err = st.keyThen(oid, &m, info, !seen); err != nil {
				return nil, err
			}
			r = st.makeRelation(oid, &m, info)
		} else {
			r.deferred = true
		}
	}
	tx.relations[oid] = r
	return r, nil
}

// alteredQuery finds who may have altered a table and not committed yet. The lock is held
// to the end of the transaction: where there is none, the catalog has what was done.
const alteredQuery = `
SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
WHERE d.datname = current_database() AND l.locktype = 'relation' AND l.relation = $1::oid AND l.mode = 'AccessExclusiveLock' AND l.granted LIMIT 1`

// lookCommitted asks the catalog about a relation; nil: it is not there, or somebody who
// has not committed may have altered it.
func (st *stream) lookCommitted(oid uint32) (info *relationInfo, err error) {
	err = st.catalog.ask(st.ctx, st.s, lookPatience, func(conn *pgconn.PgConn) error {
		altered, err := query(st.ctx, conn, alteredQuery, strconv.FormatUint(uint64(oid), 10))
		if err != nil || len(altered) > 0 {
			return err
		}
		info, err = readRelation(st.ctx, conn, st.s.cfg.Publication, oid, st.srv.types)
		return err
	})
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == "55P03": // lock_not_available
		return nil, nil
	case err != nil || info == nil:
		return nil, err
	}
	st.srv.replace(info)
	return info, nil
}

// abort drops a transaction, or what a subtransaction of it did.
func (st *stream) abort(m *message) error {
	tx := st.open.transactions.open[m.xid]
	st.loader.rolledBack(m.xid, m.subxid)
	if tx == nil {
		return nil
	}
	if m.subxid != m.xid {
		if tx.aborted == nil {
			tx.aborted = map[uint32]bool{}
		}
		tx.aborted[m.subxid] = true
		return nil
	}
	defer st.reportProgress()
	return st.open.transactions.drop(tx)
}

// commitProgress publishes a transaction that was received while it was in progress.
func (st *stream) commitProgress(m *message) error {
	tx := st.open.transactions.open[m.xid]
	if tx == nil {
		return st.s.unfit("transaction %d commits that did not begin", m.xid)
	}
	st.begin(m.lsn, m.time, m.xid)
	st.event.Log.Origin = tx.origin
	// Messages that were kept as they came are decoded by the descriptions that came with them.
	st.saved = st.schemas
	st.schemas, st.relation, st.open.replaying = newSchemas(), nil, true
	err := st.open.transactions.entries(tx, func(kind byte, lsn uint64, body []byte) error {
		if kind == entryMessage {
			if err := st.open.decoder.decode(body); err != nil {
				return err
			}
			return st.message(&st.open.decoder.message, lsn)
		}
		return st.publishImages(tx, lsn, body)
	})
	st.schemas, st.saved, st.relation, st.open.replaying = st.saved, schemas{}, nil, false
	if err != nil {
		return err
	}
	// The server does not describe again what it described in the transaction.
	for oid, described := range tx.messages {
		if described.number > st.messages[oid].number {
			st.messages[oid], st.again[oid] = described, true
			delete(st.relations, oid)
		}
	}
	if err := st.open.transactions.drop(tx); err != nil {
		return err
	}
	st.reportProgress()
	return st.end(m)
}

// publishImages publishes an event that keepEvent kept.
func (st *stream) publishImages(tx *transaction, lsn uint64, body []byte) error {
	op, place, err := readImages(body, &st.open.images)
	if err != nil {
		return err
	}
	if place >= len(tx.tables) {
		return &fileError{"read a transaction in progress", errEntry}
	}
	t := &tx.tables[place]
	e := &st.event
	e.Op, e.Table, e.Images = op, t.table, &st.open.images
	st.place(lsn, t.count.next(st.serial))
	if op == change.Truncate {
		e.ID = change.NewID(st.r.Epoch, e.ID.Commit(), lsn, t.oid)
	}
	err = st.out.Event(e)
	e.Images = nil
	return output(err)
}

// endProgress forgets what is in progress when the session ends: the next one gets it again.
func (st *stream) endProgress() {
	ts := st.open.transactions
	for _, tx := range ts.open {
		if err := ts.drop(tx); err != nil {
			st.s.log.Warn("a transaction in progress stays in the data folder", "error", err)
		}
	}
	if ts.folder.dir != "" {
		_ = ts.folder.clean() // the next start does it again, and says so
	}
	st.reportProgress()
}

func (st *stream) reportProgress() {
	now := st.open.transactions.status()
	st.s.updateTransactions(func(t *capture.Transactions) {
		now.ServerSpilled, now.ServerSpilledBytes = t.ServerSpilled, t.ServerSpilledBytes
		*t = now
	})
}

// updateTransactions changes what Status says of transactions in progress.
func (s *Source) updateTransactions(f func(*capture.Transactions)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var t capture.Transactions
	if s.status.Transactions != nil {
		t = *s.status.Transactions
	}
	f(&t)
	s.status.Transactions = &t // who has the former one keeps it
}

const spilledQuery = `
SELECT COALESCE(sum(spill_txns), 0)::bigint, COALESCE(sum(spill_bytes), 0)::bigint FROM pg_catalog.pg_stat_replication_slots WHERE slot_name = $1`

// watchSpilled asks what the server has written to its own disk. With streaming it is
// what it cannot send in part: rows whose large values are not complete yet, and what it
// reads again after a restart.
func (s *Source) watchSpilled(ctx context.Context, conn *pgconn.PgConn) error {
	rows, err := query(ctx, conn, spilledQuery, s.cfg.Slot)
	if err != nil {
		return err
	}
	s.updateTransactions(func(t *capture.Transactions) {
		t.ServerSpilled, _ = strconv.ParseInt(rows[0][0], 10, 64)
		t.ServerSpilledBytes, _ = strconv.ParseInt(rows[0][1], 10, 64)
	})
	return nil
}
