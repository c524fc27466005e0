package state

import (
	"context"
	"database/sql"

	"github.com/penstock-cdc/penstock/change"
)

// What stands aside of the way from stream to app: quarantine, moves, guards, marks.

func (t *sqliteTx) PutQuarantine(pipeline int64, q *Quarantine) error {
	if q.ID == 0 {
		q.ID = t.s.next("quarantine")
	}
	return t.exec("write quarantine", "INSERT OR REPLACE INTO quarantine (id, pipeline, record, key, code, body) VALUES (?, ?, ?, ?, ?, ?)",
		q.ID, pipeline, q.Record, nullable(q.Key), q.Code, t.w.quarantine(q))
}

func (t *sqliteTx) DeleteQuarantine(pipeline, id int64) error {
	return t.exec("delete quarantine", "DELETE FROM quarantine WHERE id=? AND pipeline=?", id, pipeline)
}

func (t *sqliteTx) quarantine(where string, args []any, f func(*Quarantine) error) error {
	err := t.q.rows("SELECT id, record, key, code, body FROM quarantine WHERE pipeline=? "+where, args, func(scan func(...any) error) error {
		q := &Quarantine{}
		var body sql.RawBytes
		if err := scan(&q.ID, &q.Record, &q.Key, &q.Code, &body); err != nil {
			return err
		}
		if !readQuarantine(q, body) {
			return t.damaged("quarantine", q.ID)
		}
		return called(f(q))
	})
	if err != nil {
		return t.fail("read quarantine", err)
	}
	return nil
}

func (t *sqliteTx) QuarantineByRecord(pipeline, record int64) (found *Quarantine, err error) {
	err = t.quarantine("AND record=? ORDER BY id DESC LIMIT 1", []any{pipeline, record}, func(q *Quarantine) error {
		found = q
		return nil
	})
	return found, err
}

func (t *sqliteTx) QuarantineByID(pipeline, id int64) (found *Quarantine, err error) {
	err = t.quarantine("AND id=?", []any{pipeline, id}, func(q *Quarantine) error {
		found = q
		return nil
	})
	return found, err
}

func (t *sqliteTx) QuarantineByCode(pipeline int64, code string) (ids []int64, err error) {
	err = t.q.rows("SELECT id FROM quarantine WHERE pipeline=? AND code=? ORDER BY id", []any{pipeline, code}, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, t.fail("read quarantine", err)
	}
	return ids, nil
}

func (t *sqliteTx) ScanQuarantine(pipeline, after int64, limit int, f func(*Quarantine) error) error {
	return t.quarantine("AND id>? ORDER BY id LIMIT ?", []any{pipeline, after, limit}, f)
}

func (t *sqliteTx) Moves(pipeline int64, f func(*Move) error) error {
	err := t.q.rows("SELECT token, body FROM move WHERE pipeline=? ORDER BY token", []any{pipeline}, func(scan func(...any) error) error {
		var token, body sql.RawBytes
		if err := scan(&token, &body); err != nil {
			return err
		}
		m := readMove(token, body)
		if m == nil {
			return t.damaged("move", pipeline)
		}
		return called(f(m))
	})
	if err != nil {
		return t.fail("read move", err)
	}
	return nil
}

func (t *sqliteTx) PutMove(pipeline int64, m *Move) error {
	return t.exec("write move", "INSERT OR REPLACE INTO move (pipeline, token, body) VALUES (?, ?, ?)", pipeline, m.Token[:], t.w.move(m))
}

func (t *sqliteTx) DeleteMove(pipeline int64, token change.ID) error {
	return t.exec("delete move", "DELETE FROM move WHERE pipeline=? AND token=?", pipeline, token[:])
}

func (t *sqliteTx) Deferred(pipeline int64, f func(*Deferred) error) error {
	err := t.q.rows("SELECT id, body FROM deferred WHERE pipeline=? ORDER BY id", []any{pipeline}, func(scan func(...any) error) error {
		var id int64
		var body sql.RawBytes
		if err := scan(&id, &body); err != nil {
			return err
		}
		d := readDeferred(id, body)
		if d == nil {
			return t.damaged("deferred", id)
		}
		return called(f(d))
	})
	if err != nil {
		return t.fail("read deferred", err)
	}
	return nil
}

func (t *sqliteTx) PutDeferred(pipeline int64, d *Deferred) error {
	d.ID = t.s.next("deferred")
	return t.exec("write deferred", "INSERT INTO deferred (id, pipeline, body) VALUES (?, ?, ?)", d.ID, pipeline, t.w.deferred(d))
}

func (t *sqliteTx) DeleteDeferred(pipeline, id int64) error {
	return t.exec("delete deferred", "DELETE FROM deferred WHERE id=? AND pipeline=?", id, pipeline)
}

func (t *sqliteTx) Guard(pipeline int64, kind Kind) (g Guard, err error) {
	err = t.q.rows("SELECT body FROM guard WHERE pipeline=? AND kind=?", []any{pipeline, kind}, func(scan func(...any) error) error {
		var body sql.RawBytes
		if err := scan(&body); err != nil {
			return err
		}
		var ok bool
		if g, ok = readGuard(pipeline, body); !ok {
			return t.damaged("guard", kind)
		}
		return nil
	})
	if err != nil {
		return g, t.fail("read guard", err)
	}
	return g, nil
}

func (t *sqliteTx) PutGuard(pipeline int64, kind Kind, g *Guard) error {
	return t.exec("write guard", "INSERT OR REPLACE INTO guard (pipeline, kind, body) VALUES (?, ?, ?)", pipeline, kind, t.w.guard(pipeline, g))
}

func (t *sqliteTx) Delivery(pipeline int64) (d Delivery, err error) {
	err = t.q.rows("SELECT body FROM delivery WHERE pipeline=?", []any{pipeline}, func(scan func(...any) error) error {
		var body sql.RawBytes
		if err := scan(&body); err != nil {
			return err
		}
		var ok bool
		if d, ok = readDelivery(pipeline, body); !ok {
			return t.damaged("delivery", pipeline)
		}
		return nil
	})
	if err != nil {
		return d, t.fail("read delivery", err)
	}
	return d, nil
}

func (t *sqliteTx) PutDelivery(pipeline int64, d *Delivery) error {
	return t.exec("write delivery", "INSERT OR REPLACE INTO delivery (pipeline, body) VALUES (?, ?)", pipeline, t.w.delivery(pipeline, d))
}

func (t *sqliteTx) Verify(pipeline int64) (v Verify, err error) {
	err = t.q.rows("SELECT body FROM verify WHERE pipeline=?", []any{pipeline}, func(scan func(...any) error) error {
		var body sql.RawBytes
		if err := scan(&body); err != nil {
			return err
		}
		var ok bool
		if v, ok = readVerify(pipeline, body); !ok {
			return t.damaged("verify", pipeline)
		}
		return nil
	})
	if err != nil {
		return v, t.fail("read verify", err)
	}
	return v, nil
}

func (t *sqliteTx) PutVerify(pipeline int64, v *Verify) error {
	return t.exec("write verify", "INSERT OR REPLACE INTO verify (pipeline, body) VALUES (?, ?)", pipeline, t.w.verify(pipeline, v))
}

func (t *sqliteTx) Forgotten(pipeline int64, f func(hash [32]byte)) error {
	err := t.q.rows("SELECT hash FROM forgotten WHERE pipeline=?", []any{pipeline}, func(scan func(...any) error) error {
		var hash sql.RawBytes
		if err := scan(&hash); err != nil {
			return err
		}
		if len(hash) != 32 {
			return t.damaged("forgotten", pipeline)
		}
		f([32]byte(hash))
		return nil
	})
	if err != nil {
		return t.fail("read forgotten", err)
	}
	return nil
}

func (t *sqliteTx) PutForgotten(pipeline int64, hash [32]byte, at int64) error {
	return t.exec("write forgotten", "INSERT OR IGNORE INTO forgotten (pipeline, hash, time) VALUES (?, ?, ?)", pipeline, hash[:], at)
}

func (t *sqliteTx) MaxSeq() (int64, error) {
	return t.count("SELECT coalesce(max(seq), 0) FROM pending")
}

// Load returns one source's mark, nil for none.
func (s *SQLite) Load(ctx context.Context, source string) (mark []byte, err error) {
	err = s.View(ctx, func(tx Tx) error {
		t := tx.(*sqliteTx)
		err := t.q.rows("SELECT body FROM mark WHERE source=?", []any{source}, func(scan func(...any) error) error {
			var body sql.RawBytes
			if err := scan(&body); err != nil {
				return err
			}
			var r reader
			if !r.open(0, []byte(source), body) {
				return t.damaged("mark", source)
			}
			mark = []byte(r.s)
			return nil
		})
		if err != nil {
			return t.fail("read mark", err)
		}
		return nil
	})
	return mark, err
}

// Save keeps one source's mark.
func (s *SQLite) Save(ctx context.Context, source string, mark []byte) error {
	return s.Update(ctx, func(tx Tx) error {
		t := tx.(*sqliteTx)
		t.w.start()
		t.w.b = append(t.w.b, mark...)
		return t.exec("write mark", "INSERT OR REPLACE INTO mark (source, body) VALUES (?, ?)", source, t.w.seal(0, []byte(source)))
	})
}
