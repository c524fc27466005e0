package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// Rows reads rows of a pipeline's table again from its source.
type Rows interface {
	// Rows reads the rows that events are about, as they are now, and returns them as snapshot events by message key; what is not
	// there is left out. The function returns the next offset of each partition below which all is that was committed
	// before the read, nil: not yet known.
	Rows(ctx context.Context, events []*Message) (rows map[string]*Message, ends func(context.Context) (map[int]int64, error), err error)
}

// An event that lacks a value which did not change, and without which it can't be worked with, is in quarantine as
// needsReselect until its row was read again, or a newer event of the row is there. What is read then completes the event,
// and is no state of its own: it is used only when all that was committed before the read was taken in, no newer event of the
// row came with it, and all that the event does have is the same in the row. So the missing values are those that the event left out, and
// nothing is sent out of order.
const needsReselect = "needs_reselect"

const (
	reselectSize = 200
	// reselectTries is how often a row is read in vain before its event is left in quarantine for good, reselectWait how
	// long one read waits for the stream.
	reselectTries = 6
	reselectWait  = 30 * time.Second
)

// reread is what is known of an entry that was read again in vain.
type reread struct {
	tries int
	next  time.Time
}

// reselect reads rows again until ctx ends; the error is the state's.
func (p *Pipeline) reselect(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := ""
	for ctx.Err() == nil {
		more, err := p.reselectSome(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if p.unread != "" && p.unread != said {
			p.e.log.Warn("rows can't be read again", "pipeline", p.spec.Name, "error", p.unread)
		}
		said = p.unread
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-p.lack:
		case <-tick.C:
		}
	}
	return nil
}

// reselectSome reads the rows of some entries; more: there may be more to read at once.
func (p *Pipeline) reselectSome(ctx context.Context) (more bool, err error) {
	entries, err := p.lacking(ctx)
	if err != nil || len(entries) == 0 {
		return false, err
	}
	events := make([]*Message, len(entries))
	for i, q := range entries {
		if events[i], err = readEvent(q.Event); err != nil {
			return false, err
		}
	}
	rows, ok := p.readAgain(ctx, events)
	if !ok {
		return false, nil // all of them are tried again
	}
	whole := make([]*taken, len(entries))
	for i, q := range entries {
		row := rows[string(q.Key)]
		if row == nil || !events[i].sameAs(row) || !events[i].fillFrom(row) {
			continue
		}
		if whole[i], err = p.anew(ctx, appendEvent(nil, events[i]), q.Partition); err != nil {
			p.unread = err.Error()
			return false, nil
		}
	}
	return len(entries) == reselectSize, p.complete(ctx, entries, whole)
}

// readAgain reads the rows of events and waits until all that was committed before is taken in.
func (p *Pipeline) readAgain(ctx context.Context, events []*Message) (map[string]*Message, bool) {
	limit, cancel := context.WithTimeout(ctx, reselectWait)
	defer cancel()
	rows, ends, err := p.spec.Rows.Rows(limit, events)
	var goal map[int]int64
	for err == nil {
		if goal == nil {
			goal, err = ends(limit)
		}
		if goal != nil && p.reached(goal) {
			p.unread = ""
			return rows, true
		}
		select {
		case <-limit.Done():
			err = limit.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.unread = err.Error()
	return nil, false
}

// reached tells whether the partitions are taken in up to a goal.
func (p *Pipeline) reached(goal map[int]int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for number, next := range goal {
		part := p.partition(number)
		if part == nil && next > 0 || part != nil && part.pos.Offset < next {
			return false
		}
	}
	return true
}

// lacking returns entries whose rows are to be read now.
func (p *Pipeline) lacking(ctx context.Context) (entries []*state.Quarantine, err error) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ledger.Rejected == p.ledger.Dropped {
		clear(p.rereads)
		return nil, nil
	}
	return entries, p.e.o.Store.View(ctx, func(tx state.Tx) error {
		ids, err := tx.QuarantineByCode(p.id, needsReselect)
		if err != nil {
			return err
		}
		tried := map[int64]reread{}
		for _, id := range ids {
			t, known := p.rereads[id]
			if known {
				tried[id] = t
			}
			if len(entries) == reselectSize || t.tries == reselectTries || now.Before(t.next) {
				continue
			}
			q, err := tx.QuarantineByID(p.id, id)
			if err != nil {
				return err
			}
			if q.Record != 0 {
				entries = append(entries, q)
			}
		}
		p.rereads = tried
		return nil
	})
}

// reselecting counts the entries whose rows are about to be read again; the caller holds mu.
func (p *Pipeline) reselecting(ctx context.Context) (n int64, err error) {
	if p.spec.Rows == nil || p.ledger.Rejected == p.ledger.Dropped {
		return 0, nil
	}
	err = p.e.o.Store.View(ctx, func(tx state.Tx) error {
		ids, err := tx.QuarantineByCode(p.id, needsReselect)
		for _, id := range ids {
			if p.rereads[id].tries < reselectTries {
				n++
			}
		}
		return err
	})
	return n, err
}

// complete takes completed events in; nil: it could not be completed this time.
func (p *Pipeline) complete(ctx context.Context, entries []*state.Quarantine, whole []*taken) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var vain []int64
	err := p.update(ctx, "reselect.before_commit", "reselect.after_commit", func(u *unit) error {
		vain = vain[:0]
		for i, q := range entries {
			still, err := u.tx.QuarantineByID(p.id, q.ID)
			if err != nil {
				return err
			}
			if still == nil {
				continue // a newer event took its place
			}
			r, err := u.record(q.Record)
			if err != nil {
				return err
			}
			if whole[i] == nil || r == nil || !bytes.Equal(r.sh.Key, q.Key) || len(u.keys().late[string(q.Key)]) > 0 {
				vain = append(vain, q.ID)
				continue
			}
			if err := u.retake(r, still, whole[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range vain {
		t := p.rereads[id]
		t.tries++
		t.next = time.Now().Add(time.Second << t.tries)
		p.rereads[id] = t
	}
	p.d.wake()
	return nil
}

// retake takes an entry's event in again.
func (u *unit) retake(r *rec, q *state.Quarantine, t *taken) error {
	u.ledger.Rejected--
	r.sh.Rejected, r.dirtySh = false, true
	t.known = u.p.remap(q.Layout, q.Request)
	if err := u.tx.DeleteQuarantine(u.p.id, q.ID); err != nil {
		return err
	}
	return u.decide(r, q.Partition, t)
}

// sameAs tells whether a row has all that an event of it has.
func (m *Message) sameAs(row *Message) bool {
	var missing []string
	if json.Unmarshal(header(m.Headers, change.HeaderUnchanged), &missing) != nil {
		return false
	}
	var event, now struct{ After map[string]json.RawMessage }
	if json.Unmarshal(m.Value, &event) != nil || json.Unmarshal(row.Value, &now) != nil {
		return false
	}
	for column, value := range event.After {
		if !slices.Contains(missing, column) && !bytes.Equal(value, now.After[column]) {
			return false
		}
	}
	return true
}
