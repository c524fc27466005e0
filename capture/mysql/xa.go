package mysql

// xa takes an XA statement. Of a transaction that is prepared now and committed later
// the rows come with the first part and the verdict with the second.
func (t *tail) xa(words *words, start uint64) error {
	switch words.next().upper() {
	case "START", "BEGIN":
		t.tx.begun, t.tx.xa = true, true
		return nil
	case "END", "PREPARE":
		return nil
	case "COMMIT", "ROLLBACK":
		if !t.tx.open {
			return nil
		}
		return t.commitTransaction()
	}
	return nil
}

// xaPrepare ends the first part of an XA transaction; its first byte tells whether it
// was committed in one phase.
func (t *tail) xaPrepare(body []byte) error {
	if len(body) < 1 {
		return errShort
	}
	if body[0] == 0 && t.tx.sent {
		return stopf("binlog %s:%d: an XA transaction on captured tables was prepared for a later commit, which is not supported yet: commit it in one phase, or leave its tables out", t.file, t.pos)
	}
	return t.commitTransaction()
}
