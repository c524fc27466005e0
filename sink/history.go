package sink

import (
	"bytes"
	"context"
	"math"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// HistoryOptions says how long changes of records are kept.
type HistoryOptions struct {
	Keep  time.Duration // 0: nothing is kept
	Bytes int64         // the oldest go when there are more; 0: 1 GiB
}

// trimEvery is how often what is too old, or too much, is dropped in the background.
const trimEvery = time.Minute

// remember notes what an item changed of its record: was is the shadow before.
func (u *unit) remember(was *state.Shadow, r *rec, it *item) {
	if u.p.e.o.History.Keep <= 0 {
		return
	}
	w, now := it.want, r.sh
	c := state.Changed{Key: now.Key, EventID: w.EventID, Layout: u.p.layout, AppID: it.appID}
	if c.AppID == "" {
		c.AppID = was.AppID
	}
	put := w.Want == state.Put
	switch {
	case it.state == applied && put && (now.Standing != state.InApp || now.AppID != it.appID):
		return // it is another record's: see own
	case it.state == applied && put:
		c.Kind = state.Updated
		switch {
		case was.Standing == state.InApp:
		case it.adopt:
			c.Kind = state.Adopted
		default:
			c.Kind = state.Created
		}
		c.Fields = u.p.changedFields(was, now.AppKey, now.Sent)
		if it.adopt && c.Kind == state.Adopted {
			c.Fields = seenBefore(u.p, c.Fields, it.result)
		}
	case it.state == applied && w.Want.Sets():
		c.Kind, c.Cause = state.Set, w.Cause
		c.Fields = u.p.changedFields(was, now.AppKey, now.Sent)
	case it.state == applied:
		c.Kind, c.Cause = state.Archived, w.Cause
		if w.Want == state.Remove {
			c.Kind = state.Deleted
		}
		c.Fields = u.p.lostFields(was)
	case it.state == nothing && put && it.tied() && was.Standing == state.InApp:
		c.Kind = state.Updated
		c.Fields = u.p.changedFields(was, now.AppKey, now.Sent)
	case it.state == nothing && it.adopt && was.Standing != state.InApp && now.Standing == state.InApp:
		c.Kind = state.Adopted
	case it.state == absent:
		c.Kind = state.Gone
		c.Fields = u.p.lostFields(was)
	case it.state == unsure:
		c.Kind, c.Cause = state.Unanswered, w.Cause
		if put {
			sent := u.p.unchanged()
			fields := u.p.remap(w.Layout, w.Fields)
			for _, i := range it.sent {
				sent[i] = fields[i]
			}
			c.Fields = u.p.changedFields(was, it.key(), sent)
		}
	default:
		return
	}
	if c.Kind == state.Updated && len(c.Fields) == 0 {
		return // written once more as it was
	}
	u.note(r, c)
}

// note adds a change to what this transaction writes into the history.
func (u *unit) note(r *rec, c state.Changed) {
	u.history = append(u.history, c)
	u.changed = append(u.changed, r)
}

// changedFields are the fields that have other values than a shadow says; was may be of a record that is not there.
func (p *Pipeline) changedFields(was *state.Shadow, key change.Value, sent []change.Value) (out []state.ChangedField) {
	unknown := change.Of(change.Unchanged, "")
	old := func(i int) change.Value {
		if was.Standing == state.InApp && i < len(was.Sent) {
			return was.Sent[i]
		}
		return unknown
	}
	if key != was.AppKey || was.Standing != state.InApp {
		was := was.AppKey
		if was.IsNull() {
			was = unknown
		}
		out = append(out, state.ChangedField{Field: state.KeyField, Old: was, New: key})
	}
	for i, v := range sent {
		if !v.IsUnchanged() && v != old(i) {
			out = append(out, state.ChangedField{Field: i, Old: old(i), New: v})
		}
	}
	return out
}

// lostFields are the fields that a record had which is not there any more.
func (p *Pipeline) lostFields(was *state.Shadow) (out []state.ChangedField) {
	gone := change.Of(change.Unchanged, "")
	if !was.AppKey.IsNull() {
		out = append(out, state.ChangedField{Field: state.KeyField, Old: was.AppKey, New: gone})
	}
	for i, v := range was.Sent {
		if !v.IsUnchanged() {
			out = append(out, state.ChangedField{Field: i, Old: v, New: gone})
		}
	}
	return out
}

// seenBefore fills in what an adopted record was read to have.
func seenBefore(p *Pipeline, fields []state.ChangedField, r Result) []state.ChangedField {
	for i := range fields {
		for _, s := range r.Stored {
			if n := fields[i].Field; n >= 0 && p.fields[n].Name == s.Name && fields[i].New != s.Value {
				fields[i].Old = s.Value
			}
		}
	}
	return fields
}

// flushHistory writes what was noted, and links it to the records.
func (u *unit) flushHistory() error {
	if len(u.history) == 0 {
		return nil
	}
	h := &state.History{Time: u.now, Changes: u.history}
	for i, r := range u.changed {
		h.Changes[i].Record, h.Changes[i].Prev = r.sh.ID, r.sh.History
	}
	if err := u.tx.PutHistory(u.p.id, h); err != nil {
		return err
	}
	for _, r := range u.changed {
		r.sh.History, r.dirtySh = h.ID, true
	}
	return nil
}

// keep trims history and quarantine until ctx ends; an error of the state ends it.
func (e *Engine) keep(ctx context.Context) error {
	o := e.o.History
	if o.Bytes <= 0 {
		o.Bytes = 1 << 30
	}
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		// Off means that what was kept before goes too.
		if err := e.o.Store.TrimHistory(ctx, time.Now().Add(-o.Keep).UnixMilli(), o.Bytes); err != nil && ctx.Err() == nil {
			return err
		}
		if err := e.expire(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// RecordChange is one change of a record, as History tells it.
type RecordChange struct {
	Time    time.Time
	Kind    state.ChangeKind
	Cause   state.Cause // of a removal
	Key     []byte      // of its row, JSON; nil while it was between two keys
	AppID   string
	EventID change.ID
	Fields  []FieldChange
	Note    string // what a person said of it
}

// FieldChange is one field of it. Old is unchanged where it is not known, New where the record was removed.
type FieldChange struct {
	Name     string
	PII      bool // made of columns with personal data, or it is not known that it is not
	Old, New change.Value
}

// History hands over up to limit changes of the record that a source key has now, or if there is none of those that had
// it, newest first. False: the pipeline knows no such key.
func (e *Engine) History(ctx context.Context, pipeline string, key []byte, limit int, f func(RecordChange) error) (found bool, err error) {
	p, err := e.find(pipeline)
	if err != nil {
		return false, err
	}
	var out []RecordChange
	err = e.o.Store.View(ctx, func(tx state.Tx) error {
		var of *state.Shadow
		if err := tx.Shadows(p.id, [][]byte{key}, func(s *state.Shadow) error {
			of = s
			return nil
		}); err != nil || of == nil {
			return err
		}
		found = true
		return tx.HistoryOf(p.id, of, limit, func(at int64, c *state.Changed) error {
			out = append(out, p.told(at, c))
			return nil
		})
	})
	if err != nil || found {
		return found, handOver(out, err, f)
	}
	// Nothing is kept of the record itself any more: its changes are found by the key that it had.
	err = p.scanHistory(ctx, func(at int64, c *state.Changed) error {
		if limit == 0 || !bytes.Equal(c.Key, key) {
			return nil
		}
		limit--
		found = true
		return f(p.told(at, c))
	}, func() bool { return limit > 0 })
	return found, err
}

// Changes hands over a pipeline's last changes, up to limit, newest first.
func (e *Engine) Changes(ctx context.Context, pipeline string, limit int, f func(RecordChange) error) error {
	p, err := e.find(pipeline)
	if err != nil {
		return err
	}
	return p.scanHistory(ctx, func(at int64, c *state.Changed) error {
		if limit == 0 {
			return nil
		}
		limit--
		return f(p.told(at, c))
	}, func() bool { return limit > 0 })
}

// scanHistory hands over all changes, newest first, a page at a time while more says so.
func (p *Pipeline) scanHistory(ctx context.Context, f func(at int64, c *state.Changed) error, more func() bool) error {
	for before, rest := int64(math.MaxInt64), true; rest && more(); {
		var page []*state.History
		err := p.e.o.Store.View(ctx, func(tx state.Tx) error {
			return tx.ScanHistory(p.id, before, 100, func(h *state.History) error {
				page = append(page, h)
				return nil
			})
		})
		if err != nil {
			return err
		}
		for _, h := range page {
			before = h.ID
			for i := len(h.Changes) - 1; i >= 0; i-- {
				if err := f(h.Time, &h.Changes[i]); err != nil {
					return err
				}
			}
		}
		rest = len(page) == 100
	}
	return nil
}

// handOver calls f outside of the view: what it does may take long.
func handOver(all []RecordChange, err error, f func(RecordChange) error) error {
	for i := 0; err == nil && i < len(all); i++ {
		err = f(all[i])
	}
	return err
}

// told names what a kept change has by number. Layouts only grow, so they are read without the pipeline's lock.
func (p *Pipeline) told(at int64, c *state.Changed) RecordChange {
	out := RecordChange{Time: time.UnixMilli(at).UTC(), Kind: c.Kind, Cause: c.Cause, Key: c.Key, AppID: c.AppID, EventID: c.EventID, Note: c.Note}
	for _, f := range c.Fields {
		told := FieldChange{Old: f.Old, New: f.New, PII: true}
		switch {
		case f.Field == state.KeyField:
			told.Name, told.PII = p.spec.Program.KeyField(), p.spec.Program.KeyPII()
		case c.Layout < len(p.layouts) && f.Field < len(p.layouts[c.Layout]):
			told.Name = p.layouts[c.Layout][f.Field]
			for _, now := range p.fields {
				if now.Name == told.Name {
					told.PII = now.PII
				}
			}
		default:
			told.Name = "?"
		}
		out.Fields = append(out.Fields, told)
	}
	return out
}
