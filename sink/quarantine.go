package sink

import (
	"bytes"
	"context"
	"fmt"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// reject puts an event that the transform refused into the quarantine; r is nil for an event without key.
func (u *unit) reject(r *rec, partition int, t *taken) error {
	q := &state.Quarantine{Key: bytes.Clone(t.key), EventID: t.id, Partition: partition, Offset: t.offset, Code: t.reason, Message: t.message,
		Time: u.now, Fingerprint: u.p.print, Layout: u.p.layout, Event: t.event}
	u.ledger.Rejected++
	if r == nil {
		if t.reason == "" {
			q.Code, q.Message = "no_key", "the event has no key: give the table a primary key, or name one with key = [...]"
		}
		return u.tx.PutQuarantine(u.p.id, q)
	}
	if err := u.identify(r); err != nil {
		return err
	}
	q.Record, q.Request = r.sh.ID, u.known(r, t)
	if t.reason == needsReselect {
		select {
		case u.p.lack <- struct{}{}:
		default:
		}
	}
	if err := u.giveUp(r, t); err != nil {
		return err
	}
	r.sh.Rejected, r.dirtySh = true, true
	return u.tx.PutQuarantine(u.p.id, q)
}

// known returns the values of fields that the app is not given since a newer event was refused. What the next event leaves
// out is taken from them.
func (u *unit) known(r *rec, t *taken) []change.Value {
	fields := u.p.unchanged()
	copy(fields, t.known)
	var wants []*state.Pending
	if r.fl != nil {
		wants = append(wants, r.fl.want)
	}
	if r.pd != nil {
		wants = append(wants, r.pd)
	}
	for _, w := range wants {
		if w.Want != state.Put {
			continue
		}
		for i, v := range u.p.remap(w.Layout, w.Fields) {
			if !v.IsUnchanged() {
				fields[i] = v
			}
		}
	}
	return fields
}

// complete gives an event of a record in quarantine what the database left out of it and the refused event had.
func (u *unit) complete(r *rec, partition int, t *taken) error {
	if !t.partial {
		return nil
	}
	q, err := u.tx.QuarantineByRecord(u.p.id, r.sh.ID)
	if err != nil || q == nil {
		return err
	}
	t.known = u.p.remap(q.Layout, q.Request)
	if len(q.Event) == 0 {
		return nil
	}
	older, err := readEvent(q.Event)
	if err != nil {
		return err
	}
	m, err := readEvent(t.event)
	if err != nil {
		return err
	}
	if !m.fillFrom(older) {
		t.gap = true
		return nil
	}
	whole, err := u.anew(appendEvent(nil, m), partition)
	if err != nil {
		return err
	}
	t.outcome, t.reason, t.message, t.partial = whole.outcome, whole.reason, whole.message, whole.partial
	t.appKey, t.match, t.fields, t.event = whole.appKey, whole.match, whole.fields, whole.event
	return nil
}

// giveUp drops what was wanted of a record whose newest event was refused. What may have been sent with
// no answer must still be settled.
func (u *unit) giveUp(r *rec, t *taken) error {
	if err := u.leaves(r, change.Value{}); err != nil {
		return err
	}
	older := r.pd
	if older == nil || older.Want != state.Put {
		return nil // a removal is of the row that had the key before: it stays wanted
	}
	u.supersede(r)
	if older.Over != state.Put {
		return u.removeFormer(r, older.Over, t.id, t.time)
	}
	u.dropPending(r)
	if !older.Unknown {
		return nil
	}
	u.settleLater(r, older, t.id, t.time)
	return nil
}

// removeFormer removes what the app has of a row that had the key before, since the present one is refused.
func (u *unit) removeFormer(r *rec, over state.Want, id change.ID, at int64) error {
	if r.sh.Standing != state.InApp && r.fl == nil && (r.pd == nil || !r.pd.Unknown) {
		u.dropPending(r)
		return nil
	}
	action, cause := "archive", state.ByRow
	switch over {
	case state.Remove:
		action = "delete"
	case state.SetDeleted:
		action = "set"
	case state.SetLeft:
		action, cause = "set", state.ByLeave
	}
	w, err := u.removal(r, id, at, action, cause)
	if err != nil {
		return err
	}
	u.ledger.Taken++ // an event of our own
	*u.place(w.Queue)++
	return nil
}

// settleLater finds out what the app has of a record whose wanted state was given up after it, or one before, was
// sent with no answer. The key stays what it is in the app: the row may have another by now.
func (u *unit) settleLater(r *rec, older *state.Pending, id change.ID, at int64) {
	w := &state.Pending{EventID: id, Time: at, Fingerprint: u.p.print, Layout: u.p.layout, Fields: u.p.unchanged(),
		Unknown: true, RemovalSent: older.RemovalSent, Due: older.Due}
	if r.sh.Standing == state.InApp {
		w.Key = r.sh.AppKey // else it is looked for under the noted ones
	}
	u.ledger.Taken++ // an event of our own
	u.ready(r, w)
}

// supersedeQuarantine takes a record's entry out, since there is a newer event of its key.
func (u *unit) supersedeQuarantine(r *rec) error {
	q, err := u.tx.QuarantineByRecord(u.p.id, r.sh.ID)
	if err != nil || q == nil {
		return err
	}
	r.sh.Rejected, r.dirtySh = false, true
	u.ledger.Rejected--
	u.ledger.Superseded++
	return u.tx.DeleteQuarantine(u.p.id, q.ID)
}

// EntryError means that the quarantine has no such entry.
type EntryError struct {
	Pipeline string
	ID       int64
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("the quarantine of %s has no entry %d (a newer event may have taken its place)", e.Pipeline, e.ID)
}

// QuarantineFilter chooses entries; empty fields choose all.
type QuarantineFilter struct {
	Pipeline string
	Code     string
	Key      string // the source key's JSON
}

// Quarantined hands the chosen entries to f, oldest first, with their pipeline's name.
func (e *Engine) Quarantined(ctx context.Context, by QuarantineFilter, f func(pipeline string, q *state.Quarantine) error) error {
	for _, p := range e.order {
		if by.Pipeline != "" && by.Pipeline != p.spec.Name {
			continue
		}
		for after, more := int64(0), true; more; {
			var page []*state.Quarantine
			err := e.o.Store.View(ctx, func(tx state.Tx) error {
				return tx.ScanQuarantine(p.id, after, 200, func(q *state.Quarantine) error {
					page = append(page, q)
					return nil
				})
			})
			if err != nil {
				return fmt.Errorf("list quarantine of %s: %w", p.spec.Name, err)
			}
			more = len(page) == 200
			for _, q := range page {
				after = q.ID
				if by.Code != "" && by.Code != q.Code || by.Key != "" && by.Key != string(q.Key) {
					continue
				}
				if err := f(p.spec.Name, q); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Fields returns an entry's fields as they were sent, none for what the transform refused.
func (e *Engine) Fields(pipeline string, q *state.Quarantine) []Field {
	p := e.pipelines[pipeline]
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !q.ByApp {
		return nil // it was not sent: see known
	}
	var fs []Field
	for i, v := range q.Request {
		if !v.IsUnchanged() && q.Layout < len(p.layouts) {
			fs = append(fs, Field{p.layouts[q.Layout][i], v})
		}
	}
	return fs
}

// Event returns an entry's event as it was taken in.
func (e *Engine) Event(q *state.Quarantine) (*Message, error) { return readEvent(q.Event) }

// Replay takes one entry's event in again, with the program of now.
func (e *Engine) Replay(ctx context.Context, pipeline string, id int64) error {
	return e.again(ctx, pipeline, id, "replay", func(_ *Pipeline, u *unit, q *state.Quarantine, r *rec, t *taken) error {
		if r == nil {
			return fmt.Errorf("it has no key, so it can't be told apart from newer events: repair the row at the source")
		}
		return u.retake(r, q, t)
	})
}

// Drop takes one entry out for good; its event stays counted as rejected. Why is kept in the record's history.
func (e *Engine) Drop(ctx context.Context, pipeline string, id int64, why string) error {
	return e.again(ctx, pipeline, id, "drop", func(p *Pipeline, u *unit, q *state.Quarantine, r *rec, _ *taken) error {
		u.ledger.Dropped++
		if r != nil {
			if e.o.History.Keep > 0 {
				u.note(r, state.Changed{Key: r.sh.Key, Kind: state.Dropped, EventID: q.EventID, Layout: p.layout, AppID: r.sh.AppID, Note: why})
			}
			r.sh.Rejected, r.dirtySh = false, true
			if r.empty() {
				if err := u.discard(r); err != nil {
					return err
				}
			}
		}
		return u.tx.DeleteQuarantine(p.id, id)
	})
}

func (e *Engine) again(ctx context.Context, pipeline string, id int64, verb string, f func(*Pipeline, *unit, *state.Quarantine, *rec, *taken) error) error {
	p, err := e.find(pipeline)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	var q *state.Quarantine
	find := func(tx state.Tx) (err error) {
		if q, err = tx.QuarantineByID(p.id, id); err == nil && q == nil {
			err = &EntryError{pipeline, id}
		}
		return err
	}
	if err := e.o.Store.View(ctx, find); err != nil {
		return err
	}
	var t *taken
	if verb == "replay" {
		var err error
		if t, err = p.anew(ctx, q.Event, q.Partition); err != nil {
			return fmt.Errorf("%s entry %d of %s: %w", verb, id, pipeline, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err = p.update(ctx, "", "", func(u *unit) error {
		if err := find(u.tx); err != nil {
			return err
		}
		var r *rec
		if q.Record != 0 {
			var err error
			if r, err = u.record(q.Record); err != nil {
				return err
			}
		}
		return f(p, u, q, r, t)
	})
	if err != nil {
		return fmt.Errorf("%s entry %d of %s: %w", verb, id, pipeline, err)
	}
	p.d.wake()
	return nil
}
