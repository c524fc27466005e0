package mysql

import "bytes"

// maxHeld bounds the rows events of one XA transaction that are kept in memory.
const maxHeld = 64 << 20

// held is a rows event of an XA transaction.
type held struct {
	header        header
	op            rowsOp
	start, number uint64
	table         *mapped
	body          []byte
}

// hold keeps a rows event until its XA transaction is known to be committed.
func (t *tail) hold(e held) error {
	if t.tx.size += len(e.body); t.tx.size > maxHeld {
		return stopf("binlog %s:%d: an XA transaction changes more than %d bytes of captured tables, which is not supported yet", t.file, e.start, maxHeld)
	}
	e.body = bytes.Clone(e.body)
	t.tx.held = append(t.tx.held, e)
	return nil
}

// xa takes an XA statement.
func (t *tail) xa(words *words) error {
	switch words.next().upper() {
	case "START", "BEGIN":
		t.tx.begun, t.tx.xa = true, true
	case "COMMIT", "ROLLBACK":
		if t.tx.open {
			return t.commitTransaction()
		}
	}
	return nil
}

// xaPrepare ends an XA transaction; its first byte tells whether it was committed with
// that (XA COMMIT ... ONE PHASE) or only prepared.
func (t *tail) xaPrepare(body []byte) error {
	if len(body) < 1 {
		return errShort
	}
	if body[0] == 0 && len(t.tx.held) > 0 {
		return stopf("binlog %s:%d: an XA transaction prepared changes of captured table %s for a later XA COMMIT, which is not supported yet: use XA COMMIT ... ONE PHASE or plain transactions, and take a new snapshot of the table",
			t.file, t.pos, t.tx.held[0].table.name)
	}
	for _, e := range t.tx.held {
		if err := t.sendRows(e.header, e.op, e.start, e.number, e.table, e.body); err != nil {
			return err
		}
	}
	t.tx.held = nil
	return t.commitTransaction()
}
