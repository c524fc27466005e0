package state

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/penstock-cdc/penstock/change"
)

// History is what one transaction changed in the app: all its records are in one row, so that keeping it costs
// one insert. Changes of one record are chained: its shadow names the row with its last change, each change the
// row with the one before. A chain ends where rows have been trimmed.
type History struct {
	ID      int64
	Time    int64 // Unix ms
	Changes []Changed
}

// ChangeKind says what became of a record in the app.
type ChangeKind uint8

// The kinds of changes.
const (
	Created    ChangeKind = iota
	Updated               // fields were written
	Adopted               // a record that was there before us became ours; fields may have been written
	Archived              // by us
	Deleted               // by us
	Gone                  // found to have been removed in the app by someone
	Unanswered            // sent, and the answer is not known: what follows tells
	Dropped               // taken out of the quarantine: nothing was changed in the app; Note says why
	Drifted               // someone changed fields of ours in the app: Old is what they had been, New what they put there
	Set                   // our row is gone, or is not the pipeline's any more, and `action = "set"` was done
)

var changeNames = [...]string{"created", "updated", "adopted", "archived", "deleted", "gone", "unanswered", "dropped", "drifted", "set"}

func (k ChangeKind) String() string {
	if int(k) < len(changeNames) {
		return changeNames[k]
	}
	return fmt.Sprintf("kind %d", k)
}

// Changed is one change of one record.
type Changed struct {
	Record  int64
	Key     []byte // of its row at that time; nil while it was between two keys
	Prev    int64  // the History with the record's change before, 0: none
	Kind    ChangeKind
	Cause   Cause // of a removal, or of Set
	EventID change.ID
	AppID   string
	Layout  int
	Fields  []ChangedField
	Note    string // what a person said of it
}

// ChangedField is one field's part in a change. A value is Unchanged where it is not known (Old of a
// record that was there before us) or has no meaning (New of a removal).
type ChangedField struct {
	Field    int // index in the layout; KeyField: the app's key field
	Old, New change.Value
}

// KeyField stands for the app's key field in ChangedField.
const KeyField = -1

func (w *writer) history(h *History) []byte {
	w.start()
	w.int(int64(len(h.Changes)))
	for i := range h.Changes {
		c := &h.Changes[i]
		w.int(c.Record)
		w.bytes(c.Key)
		w.int(c.Prev)
		w.byte(byte(c.Kind))
		w.byte(byte(c.Cause))
		w.id(c.EventID)
		w.text(c.AppID)
		w.int(int64(c.Layout))
		w.int(int64(len(c.Fields)))
		for _, f := range c.Fields {
			w.int(int64(f.Field))
			w.value(f.Old)
			w.value(f.New)
		}
		w.text(c.Note)
	}
	return w.seal(h.ID, nil)
}

func readHistory(h *History, row []byte) bool {
	var r reader
	if !r.open(h.ID, nil, row) {
		return false
	}
	n := r.int()
	for i := int64(0); i < n && !r.bad; i++ {
		c := Changed{Record: r.int(), Key: r.bytes(), Prev: r.int(), Kind: ChangeKind(r.byte()), Cause: Cause(r.byte()), EventID: r.id(), AppID: r.text(), Layout: int(r.int())}
		m := r.int()
		for j := int64(0); j < m && !r.bad; j++ {
			c.Fields = append(c.Fields, ChangedField{int(r.int()), r.value(), r.value()})
		}
		c.Note = r.text()
		h.Changes = append(h.Changes, c)
	}
	return r.ok()
}

// PutHistory writes a row; ID 0 gets a new one.
func (t *sqliteTx) PutHistory(pipeline int64, h *History) error {
	if h.ID == 0 {
		h.ID = t.s.next("history")
	}
	body := t.w.history(h)
	t.grown += int64(len(body))
	return t.exec("write history", "INSERT OR REPLACE INTO history (id, pipeline, time, body) VALUES (?, ?, ?, ?)", h.ID, pipeline, h.Time, body)
}

func (t *sqliteTx) history(where string, args []any, f func(*History) error) error {
	err := t.q.rows("SELECT id, time, body FROM history WHERE pipeline=? "+where, args, func(scan func(...any) error) error {
		h := &History{}
		var body sql.RawBytes
		if err := scan(&h.ID, &h.Time, &body); err != nil {
			return err
		}
		if !readHistory(h, body) {
			return t.damaged("history", h.ID)
		}
		return called(f(h))
	})
	if err != nil {
		return t.fail("read history", err)
	}
	return nil
}

// HistoryOf follows a record's chain from its shadow's History.
func (t *sqliteTx) HistoryOf(pipeline int64, s *Shadow, limit int, f func(time int64, c *Changed) error) error {
	for at, n := s.History, 0; at > 0 && n < limit; {
		row := &History{}
		if err := t.history("AND id=?", []any{pipeline, at}, func(h *History) error {
			row = h
			return nil
		}); err != nil {
			return err
		}
		next := int64(0)
		for i := len(row.Changes) - 1; i >= 0 && n < limit; i-- {
			c := &row.Changes[i]
			if c.Record != s.ID {
				continue
			}
			n++
			if err := f(row.Time, c); err != nil {
				return err
			}
			next = c.Prev
		}
		if next >= at {
			return nil // IDs are given out anew once all has been trimmed
		}
		at = next
	}
	return nil
}

func (t *sqliteTx) ScanHistory(pipeline, before int64, limit int, f func(*History) error) error {
	return t.history("AND id<? ORDER BY id DESC LIMIT ?", []any{pipeline, before, limit}, f)
}

// trimRows is how many rows one transaction trims.
const trimRows = 200

// TrimHistory drops the oldest rows: those from before a time, Unix ms, and what is beyond a number of bytes.
func (s *SQLite) TrimHistory(ctx context.Context, before, most int64) error {
	if err := s.weighHistory(ctx); err != nil {
		return err
	}
	for done := false; !done; {
		var dropped int64
		err := s.Update(ctx, func(tx Tx) error {
			t := tx.(*sqliteTx)
			over := s.historyBytes - most
			var last int64
			n := 0
			dropped, done = 0, false
			err := t.q.rows("SELECT id, time, length(body) FROM history ORDER BY id LIMIT ?", []any{trimRows}, func(scan func(...any) error) error {
				var id, at, size int64
				if err := scan(&id, &at, &size); err != nil {
					return err
				}
				if n++; !done && (at < before || dropped < over) {
					last = id
					dropped += size
				} else {
					done = true
				}
				return nil
			})
			if err != nil {
				return t.fail("read history", err)
			}
			done = done || n < trimRows
			if last == 0 {
				return nil
			}
			t.grown -= dropped
			return t.exec("trim history", "DELETE FROM history WHERE id<=?", last)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// weighHistory counts the history's bytes once, on a connection of its own; Update counts on.
func (s *SQLite) weighHistory(ctx context.Context) error {
	s.writes.Lock()
	weighed := s.historyWeighed
	s.historyWeighed = true
	s.writes.Unlock()
	if weighed {
		return nil
	}
	var bytes int64
	if err := s.db.QueryRowContext(ctx, "SELECT coalesce(sum(length(body)), 0) FROM history").Scan(&bytes); err != nil {
		return s.fault("read", err)
	}
	s.writes.Lock()
	s.historyBytes += bytes // what was written while it was counted may be in both: that is little
	s.writes.Unlock()
	return nil
}
