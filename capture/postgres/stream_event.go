package postgres

import (
	"errors"
	"strconv"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

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
	st.loader.committed(st.event.Log.XID, m.end)
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

// withAttributes returns a relation by which the composite values of a row at lsn are read.
func (st *stream) withAttributes(r *relation, lsn uint64) (*relation, error) {
	if len(r.composites) == 0 {
		return r, nil
	}
	r, err := st.attributes(r, lsn, &st.schemas, st.find)
	if err == nil {
		st.relation = r
	}
	return r, err
}

func (st *stream) change(r *relation, m *message, lsn uint64) error {
	r, err := st.withAttributes(r, lsn)
	if err != nil {
		return err
	}
	err = st.rows(r, m)
	if errors.Is(err, errStale) {
		if r, err = st.refresh(r); err != nil {
			return err
		}
		if r, err = st.withAttributes(r, lsn); err != nil { // what it is made anew from is the catalog of now
			return err
		}
		err = st.rows(r, m)
		r.strict = true
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
	err := st.decodeRows(r, m)
	if errors.Is(err, errWidth) {
		return st.s.unfit("%v", err)
	}
	return err
}

func (st *stream) decodeRows(r *relation, m *message) error {
	if r.unkeyed && m.kind != 'I' {
		return st.s.unkeyedProblem(r.table.QualifiedName(), st.lsn)
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
