package state

import (
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// inSize is how many values one IN list has; shorter ones repeat their last, so that each query is
// prepared twice at most.
const inSize = 64

type sqliteTx struct {
	s        *SQLite
	q        *session
	w        writer
	args     []any
	readOnly bool
	grown    int64 // bytes of history
	// err is the first error of SQLite itself, after which the file is not trusted to be written.
	err error
}

// fail keeps SQLite's own errors apart from those of callers' functions.
func (t *sqliteTx) fail(verb string, err error) error {
	var own *callbackError
	if errors.As(err, &own) {
		return own.err
	}
	var damage *DamageError
	if errors.As(err, &damage) {
		return err
	}
	err = fmt.Errorf("%s: %w", verb, err)
	if t.err == nil {
		t.err = err
	}
	return err
}

// callbackError wraps what a caller's function returned.
type callbackError struct{ err error }

func (e *callbackError) Error() string { return e.err.Error() }

func called(err error) error {
	if err == nil {
		return nil
	}
	return &callbackError{err}
}

func (t *sqliteTx) damaged(table string, row any) error {
	return &DamageError{File: t.s.path, Table: table, Row: fmt.Sprint(row)}
}

func (t *sqliteTx) exec(verb, text string, args ...any) error {
	if t.readOnly {
		return errors.New(verb + ": this is a view of the state")
	}
	if err := t.q.exec(text, args...); err != nil {
		return t.fail(verb, err)
	}
	return nil
}

func (t *sqliteTx) insert(verb, text string, args ...any) (int64, error) {
	if t.readOnly {
		return 0, errors.New(verb + ": this is a view of the state")
	}
	res, err := t.q.result(text, args...)
	if err != nil {
		return 0, t.fail(verb, err)
	}
	id, err := res.LastInsertId()
	if err != nil {
		return 0, t.fail(verb, err)
	}
	return id, nil
}

// Pipeline returns the pipeline of that name.
func (t *sqliteTx) Pipeline(name string) (Pipeline, error) {
	p := Pipeline{Name: name}
	err := t.q.rows("SELECT id, body FROM pipeline WHERE name=?", []any{name}, func(scan func(...any) error) error {
		var body sql.RawBytes
		if err := scan(&p.ID, &body); err != nil {
			return err
		}
		if !readPipeline(&p, body) {
			return t.damaged("pipeline", name)
		}
		return nil
	})
	if err != nil {
		return p, t.fail("read pipeline", err)
	}
	if p.ID == 0 && !t.readOnly {
		if p.ID, err = t.insert("write pipeline", "INSERT INTO pipeline (name, body) VALUES (?, x'')", name); err == nil {
			err = t.PutPipeline(&p)
		}
	}
	return p, err
}

func (t *sqliteTx) PutPipeline(p *Pipeline) error {
	return t.exec("write pipeline", "UPDATE pipeline SET body=? WHERE id=?", t.w.pipeline(p), p.ID)
}

func (t *sqliteTx) positions(pipeline int64, where string, args []any, f func(Position) error) error {
	err := t.q.rows("SELECT topic, partition, next, generation, body FROM position WHERE pipeline=?"+where+" ORDER BY topic, partition", args,
		func(scan func(...any) error) error {
			var p Position
			var body sql.RawBytes
			if err := scan(&p.Topic, &p.Partition, &p.Offset, &p.Generation, &body); err != nil {
				return err
			}
			if !readPosition(pipeline, &p, body) {
				return t.damaged("position", p.Topic+"/"+strconv.Itoa(p.Partition))
			}
			return called(f(p))
		})
	if err != nil {
		return t.fail("read position", err)
	}
	return nil
}

func (t *sqliteTx) Positions(pipeline int64, f func(Position) error) error {
	return t.positions(pipeline, "", []any{pipeline}, f)
}

func (t *sqliteTx) Position(pipeline int64, topic string, partition int) (Position, error) {
	p := Position{Topic: topic, Partition: partition}
	err := t.positions(pipeline, " AND topic=? AND partition=?", []any{pipeline, topic, partition}, func(found Position) error {
		p = found
		return nil
	})
	return p, err
}

func (t *sqliteTx) Advance(pipeline int64, from, to *Position) error {
	if t.readOnly {
		return errors.New("write position: this is a view of the state")
	}
	body := t.w.position(pipeline, to)
	res, err := t.q.result("UPDATE position SET next=?, generation=?, body=? WHERE pipeline=? AND topic=? AND partition=? AND next=? AND generation<=?",
		to.Offset, to.Generation, body, pipeline, to.Topic, to.Partition, from.Offset, to.Generation)
	if err != nil {
		return t.fail("write position", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return t.fail("write position", err)
	}
	if n == 1 {
		return nil
	}
	now, err := t.Position(pipeline, to.Topic, to.Partition)
	if err != nil {
		return err
	}
	if now != (Position{Topic: to.Topic, Partition: to.Partition}) || from.Offset != 0 {
		return fmt.Errorf("move position of %s/%d from %d (generation %d) to %d (generation %d): %w", to.Topic, to.Partition, now.Offset, now.Generation, to.Offset, to.Generation, ErrStale)
	}
	return t.exec("write position", "INSERT OR REPLACE INTO position (pipeline, topic, partition, next, generation, body) VALUES (?, ?, ?, ?, ?, ?)",
		pipeline, to.Topic, to.Partition, to.Offset, to.Generation, t.w.position(pipeline, to))
}

// in runs a query whose text ends with an IN list, for all of n values, in pieces.
func (t *sqliteTx) in(text string, first []any, n int, value func(int) any, f func(scan func(...any) error) error) error {
	for i := 0; i < n; {
		size := inSize
		if n-i == 1 {
			size = 1
		}
		t.args = append(t.args[:0], first...)
		for j := range size {
			t.args = append(t.args, value(min(i+j, n-1)))
		}
		if err := t.q.rows(inText(text, size), t.args, f); err != nil {
			return err
		}
		i += size
	}
	return nil
}

func inText(text string, size int) string {
	if size == 1 {
		return text + " (?)"
	}
	return text + inList
}

var inList = " (" + strings.Repeat("?,", inSize-1) + "?)"

func (t *sqliteTx) scanShadow(f func(*Shadow) error) func(func(...any) error) error {
	return func(scan func(...any) error) error {
		var id int64
		var key []byte
		var body sql.RawBytes
		if err := scan(&id, &key, &body); err != nil {
			return err
		}
		s := readShadow(id, key, body)
		if s == nil {
			return t.damaged("shadow", id)
		}
		return called(f(s))
	}
}

func (t *sqliteTx) Shadows(pipeline int64, keys [][]byte, f func(*Shadow) error) error {
	err := t.in("SELECT id, key, body FROM shadow WHERE pipeline=? AND key IN", []any{pipeline}, len(keys),
		func(i int) any { return keys[i] }, t.scanShadow(f))
	if err != nil {
		return t.fail("read shadow", err)
	}
	return nil
}

func (t *sqliteTx) ShadowsByID(pipeline int64, ids []int64, f func(*Shadow) error) error {
	err := t.in("SELECT id, key, body FROM shadow WHERE pipeline=? AND id IN", []any{pipeline}, len(ids),
		func(i int) any { return ids[i] }, t.scanShadow(f))
	if err != nil {
		return t.fail("read shadow", err)
	}
	return nil
}

func (t *sqliteTx) ScanShadows(pipeline, after int64, limit int, f func(*Shadow) error) error {
	err := t.q.rows("SELECT id, key, body FROM shadow WHERE pipeline=? AND id>? ORDER BY id LIMIT ?", []any{pipeline, after, limit}, t.scanShadow(f))
	if err != nil {
		return t.fail("read shadow", err)
	}
	return nil
}

func (t *sqliteTx) PutShadow(pipeline int64, s *Shadow) error {
	if s.ID == 0 {
		s.ID = t.s.next("shadow")
		return t.exec("write shadow", "INSERT INTO shadow (id, pipeline, key, body) VALUES (?, ?, ?, ?)", s.ID, pipeline, nullable(s.Key), t.w.shadow(s))
	}
	return t.exec("write shadow", "UPDATE shadow SET body=? WHERE id=? AND pipeline=?", t.w.shadow(s), s.ID, pipeline)
}

func (t *sqliteTx) RekeyShadow(pipeline int64, s *Shadow) error {
	return t.exec("write shadow", "UPDATE shadow SET key=?, body=? WHERE id=? AND pipeline=?", nullable(s.Key), t.w.shadow(s), s.ID, pipeline)
}

func nullable(key []byte) any {
	if key == nil {
		return nil
	}
	return key
}

func (t *sqliteTx) DeleteShadow(pipeline, id int64) error {
	return t.exec("delete shadow", "DELETE FROM shadow WHERE id=? AND pipeline=?", id, pipeline)
}

func (t *sqliteTx) Owner(pipeline int64, appID string) (record int64, err error) {
	err = t.q.rows("SELECT record FROM owner WHERE pipeline=? AND app_id=?", []any{pipeline, appID}, func(scan func(...any) error) error {
		return scan(&record)
	})
	if err != nil {
		return 0, t.fail("read owner", err)
	}
	return record, nil
}

func (t *sqliteTx) Own(pipeline int64, appID string, record int64) error {
	owner, err := t.Owner(pipeline, appID)
	switch {
	case err != nil:
		return err
	case owner == record:
		return nil
	case owner != 0:
		return ErrOwned
	}
	return t.exec("write owner", "INSERT INTO owner (pipeline, app_id, record) VALUES (?, ?, ?)", pipeline, appID, record)
}

func (t *sqliteTx) Disown(pipeline int64, appID string) error {
	return t.exec("write owner", "DELETE FROM owner WHERE pipeline=? AND app_id=?", pipeline, appID)
}

func (t *sqliteTx) LeavingCount(pipeline int64) (int64, error) {
	return t.count("SELECT count(*) FROM leaving WHERE pipeline=?", pipeline)
}

func (t *sqliteTx) LeavingByKey(pipeline int64, key string) (records []int64, err error) {
	err = t.q.rows("SELECT record FROM leaving WHERE pipeline=? AND app_key=?", []any{pipeline, key}, func(scan func(...any) error) error {
		var n int64
		err := scan(&n)
		records = append(records, n)
		return err
	})
	if err != nil {
		return nil, t.fail("read leaving", err)
	}
	return records, nil
}

func (t *sqliteTx) LeavingByRecord(pipeline, record int64) (keys []string, err error) {
	err = t.q.rows("SELECT app_key FROM leaving WHERE pipeline=? AND record=?", []any{pipeline, record}, func(scan func(...any) error) error {
		var key string
		err := scan(&key)
		keys = append(keys, key)
		return err
	})
	if err != nil {
		return nil, t.fail("read leaving", err)
	}
	return keys, nil
}

func (t *sqliteTx) PutLeaving(pipeline int64, key string, record int64) error {
	return t.exec("write leaving", "INSERT OR REPLACE INTO leaving (pipeline, app_key, record) VALUES (?, ?, ?)", pipeline, key, record)
}

func (t *sqliteTx) DeleteLeaving(pipeline int64, key string, record int64) error {
	return t.exec("write leaving", "DELETE FROM leaving WHERE pipeline=? AND app_key=? AND record=?", pipeline, key, record)
}

func (t *sqliteTx) scanPending(f func(*Pending) error) func(func(...any) error) error {
	return func(scan func(...any) error) error {
		p := &Pending{}
		var body sql.RawBytes
		if err := scan(&p.Record, &p.Queue, &p.Seq, &p.Due, &body); err != nil {
			return err
		}
		if !readPending(p, body) {
			return t.damaged("pending", p.Record)
		}
		return called(f(p))
	}
}

const selectPending = "SELECT record, queue, seq, due, body FROM pending WHERE pipeline=? "

func (t *sqliteTx) PendingByRecord(pipeline int64, records []int64, f func(*Pending) error) error {
	err := t.in(selectPending+"AND record IN", []any{pipeline}, len(records), func(i int) any { return records[i] }, t.scanPending(f))
	if err != nil {
		return t.fail("read pending", err)
	}
	return nil
}

func (t *sqliteTx) NextPending(pipeline int64, q Queue, now int64, limit int, f func(*Pending) error) error {
	err := t.q.rows(selectPending+"AND queue=? AND due<=? ORDER BY seq LIMIT ?", []any{pipeline, q, now, limit}, t.scanPending(f))
	if err != nil {
		return t.fail("read pending", err)
	}
	return nil
}

func (t *sqliteTx) NextDue(pipeline int64, q Queue) (int64, error) {
	return t.count("SELECT coalesce(min(due), 0) FROM pending WHERE pipeline=? AND queue=?", pipeline, q)
}

func (t *sqliteTx) count(text string, args ...any) (n int64, err error) {
	err = t.q.rows(text, args, func(scan func(...any) error) error { return scan(&n) })
	if err != nil {
		return 0, t.fail("count pending", err)
	}
	return n, nil
}

func (t *sqliteTx) PendingCounts(pipeline int64) (map[Queue]int64, error) {
	counts := map[Queue]int64{}
	err := t.q.rows("SELECT queue, count(*) FROM pending WHERE pipeline=? GROUP BY queue", []any{pipeline}, func(scan func(...any) error) error {
		var q Queue
		var n int64
		err := scan(&q, &n)
		counts[q] = n
		return err
	})
	if err != nil {
		return nil, t.fail("count pending", err)
	}
	return counts, nil
}

func (t *sqliteTx) OldPending(pipeline int64, q Queue, seq int64) (int64, error) {
	return t.count("SELECT count(*) FROM pending WHERE pipeline=? AND queue=? AND seq<=?", pipeline, q, seq)
}

func (t *sqliteTx) PutPending(pipeline int64, p *Pending) error {
	return t.exec("write pending", "INSERT OR REPLACE INTO pending (record, pipeline, queue, seq, due, body) VALUES (?, ?, ?, ?, ?, ?)",
		p.Record, pipeline, p.Queue, p.Seq, p.Due, t.w.pending(p))
}

func (t *sqliteTx) DeletePending(pipeline, record int64) error {
	return t.exec("delete pending", "DELETE FROM pending WHERE record=? AND pipeline=?", record, pipeline)
}

func (t *sqliteTx) Requeue(pipeline int64, from, to Queue, seq int64) (int64, error) {
	n, err := t.OldPending(pipeline, from, seq)
	if err != nil {
		return 0, err
	}
	return n, t.exec("write pending", "UPDATE pending SET queue=? WHERE pipeline=? AND queue=? AND seq<=?", to, pipeline, from, seq)
}

func (t *sqliteTx) ScanPending(pipeline, after int64, limit int, f func(*Pending) error) error {
	err := t.q.rows(selectPending+"AND record>? ORDER BY record LIMIT ?", []any{pipeline, after, limit}, t.scanPending(f))
	if err != nil {
		return t.fail("read pending", err)
	}
	return nil
}

func (t *sqliteTx) PutIntent(pipeline int64, in *Intent) error {
	if in.ID == 0 {
		in.ID = t.s.next("intent")
	}
	return t.exec("write intent", "INSERT OR REPLACE INTO intent (id, pipeline, body) VALUES (?, ?, ?)", in.ID, pipeline, t.w.intent(in))
}

func (t *sqliteTx) DeleteIntent(pipeline, id int64) error {
	return t.exec("delete intent", "DELETE FROM intent WHERE id=? AND pipeline=?", id, pipeline)
}

func (t *sqliteTx) Intents(pipeline int64, f func(*Intent) error) error {
	err := t.q.rows("SELECT id, body FROM intent WHERE pipeline=? ORDER BY id", []any{pipeline}, func(scan func(...any) error) error {
		var id int64
		var body sql.RawBytes
		if err := scan(&id, &body); err != nil {
			return err
		}
		in := readIntent(id, body)
		if in == nil {
			return t.damaged("intent", id)
		}
		return called(f(in))
	})
	if err != nil {
		return t.fail("read intent", err)
	}
	return nil
}
