package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// reconcileRate is how many calls a second are made to an app that says nothing of what it allows.
const reconcileRate = 5

// app compares what the app has with what it took over.
func (c *reconciler) app(ctx context.Context) error {
	reader, ok := c.p.d.app.(Reader)
	if !ok {
		c.out.Unchecked = append(c.out.Unchecked, "the app's records: this kind of app can't be read")
		return nil
	}
	if c.o.Only != nil {
		var ids []int64
		for _, ref := range c.o.Only {
			if ref.Kind.ofApp() {
				ids = append(ids, ref.Record)
			}
		}
		for some := range slices.Chunk(ids, c.p.d.limits(c.p.spec.Object).Read) {
			if err := c.readBack(ctx, reader, some); err != nil {
				return err
			}
		}
		return nil
	}
	c.out.Unchecked = append(c.out.Unchecked, "records of the app that penstock has never written")
	var ids []int64
	for after, more := int64(0), true; more; {
		n := 0
		if err := c.p.e.o.Store.View(ctx, func(tx state.Tx) error {
			return tx.ScanShadows(c.p.id, after, sweepSize, func(s *state.Shadow) error {
				n++
				after = s.ID
				if s.Standing == state.InApp && s.AppID != "" && !s.Deleted && !s.Excluded {
					ids = append(ids, s.ID)
				}
				return nil
			})
		}); err != nil {
			return err
		}
		more = n == sweepSize
		for size := c.p.d.limits(c.p.spec.Object).Read; len(ids) >= size || !more && len(ids) > 0; {
			some := ids[:min(size, len(ids))]
			if err := c.readBack(ctx, reader, some); err != nil {
				return err
			}
			ids = ids[len(some):]
			c.o.Progress("app", c.out.InApp)
		}
	}
	return nil
}

// readBack compares a batch of records with the app's.
func (c *reconciler) readBack(ctx context.Context, reader Reader, ids []int64) error {
	p := c.p
	before := map[int64]state.Shadow{}
	var appIDs []string
	if err := p.view(ctx, nil, ids, func(u *unit) error {
		for _, r := range u.order {
			switch {
			case u.apart(r.sh.Key, r) != "":
				if c.table == nil { // else it was counted with its row
					c.out.Apart[u.apart(r.sh.Key, r)]++
				}
			case r.sh.Standing == state.InApp && r.sh.AppID != "":
				before[r.sh.ID] = *r.sh
				appIDs = append(appIDs, r.sh.AppID)
			}
		}
		return nil
	}); err != nil || len(appIDs) == 0 {
		return err
	}
	found, err := c.call(ctx, reader, appIDs)
	if err != nil {
		return err
	}
	c.out.InApp += int64(len(appIDs))
	have := map[string]*Record{}
	for i := range found {
		have[found[i].ID] = &found[i]
	}
	var left []int64
	for id, s := range before {
		if kind, _ := p.driftOf(&s, have[s.AppID]); kind != "" {
			left = append(left, id)
		}
	}
	if len(left) == 0 {
		return nil
	}
	slices.Sort(left)
	note := func(u *unit) error {
		for _, id := range left {
			r, was := u.recs[id], before[id]
			if r == nil || u.apart(r.sh.Key, r) != "" || r.sh.Applied != was.Applied || r.sh.Time != was.Time || r.sh.AppID != was.AppID {
				c.out.Apart["changing"]++ // it was sent to meanwhile
				continue
			}
			kind, fields := p.driftOf(r.sh, have[r.sh.AppID])
			if c.o.Repair {
				if err := c.repair(u, r, kind, have[r.sh.AppID]); err != nil {
					return err
				}
			}
			c.found(DriftRef{Kind: kind, Record: id}, r.sh.Key, fields)
		}
		return nil
	}
	if !c.o.Repair {
		return p.view(ctx, nil, left, note)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.update(ctx, "", "", func(u *unit) error {
		if err := u.loadByID(left); err != nil {
			return err
		}
		return note(u)
	})
}

// repair puts right what a record was read to be. An edit that the app itself makes stays in a round of verify.
func (c *reconciler) repair(u *unit, r *rec, kind Drift, is *Record) error {
	c.out.Repaired++
	if kind != AppDiffers {
		return u.vanished(r, kind)
	}
	edits := c.p.edits(r.sh, is)
	if !c.verifies {
		for i := range edits {
			edits[i].left = false
		}
	}
	u.drifted(r, edits)
	if undone, _ := split(edits); len(undone) > 0 {
		u.restore(r, undone)
	}
	return nil
}

// unreadError is that of an app that can't be read now.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return e.err.Error() }
func (e *unreadError) Unwrap() error { return e.err }

// call reads records by the app's id, no faster than it may.
func (c *reconciler) call(ctx context.Context, reader Reader, ids []string) (found []Record, err error) {
	fields := []string{c.p.spec.Program.KeyField()}
	for _, f := range c.p.fields {
		if f.Group == OwnedBySource && !slices.Contains(fields, f.Name) {
			fields = append(fields, f.Name)
		}
	}
	err = c.paced(ctx, func(ctx context.Context) (err error) {
		found, err = reader.Read(ctx, c.p.spec.Object, "id", ids, fields)
		return err
	})
	return found, err
}

// paced makes one reading call, no faster than it may, and again when the app does not answer.
func (c *reconciler) paced(ctx context.Context, call func(context.Context) error) error {
	p, d := c.p, c.p.d
	l := d.limits(p.spec.Object)
	rate := c.o.CallsPerSecond
	if rate == 0 && l.Calls > 0 && l.Window > 0 {
		rate = float64(l.Calls) / l.Window.Seconds() / 10
	} else if rate == 0 {
		rate = reconcileRate
	}
	for try := 1; ; try++ {
		if l := d.app.Limits(p.spec.Object); l.Day > 0 && float64(l.DayLeft) <= l.Reserve*float64(l.Day) {
			return &unreadError{fmt.Errorf("%d calls of the day's quota of app %s are left, which are the reserve of others", l.DayLeft, d.name)}
		}
		if wait := time.Until(c.paceAt); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			case <-timer.C:
			}
		}
		if err := d.spend(ctx, l.Calls/10); err != nil {
			return &unreadError{err}
		}
		c.paceAt = time.Now().Add(time.Duration(float64(time.Second) / rate))
		c.out.Calls++
		limit, cancel := context.WithTimeout(ctx, p.e.o.Timeout)
		err := call(limit)
		cancel()
		if err == nil {
			d.answered(p.spec.Object, nil, 0)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// What is written must not wait for what can't be read, unless the app says so: whether it is down or has revoked
		// the credentials, flights find out.
		var halt *HaltError
		var retry *RetryError
		if errors.As(err, &retry) {
			d.unread(p.spec.Object, err)
		}
		if errors.As(err, &halt) || try == 5 {
			return &unreadError{fmt.Errorf("read records back from app %s: %w", d.name, err)}
		}
		c.paceAt = time.Now().Add(backOff(try))
	}
}

// driftOf compares what the app has of a record (nil: nothing) with what it took over.
func (p *Pipeline) driftOf(s *state.Shadow, r *Record) (Drift, []DriftField) {
	switch {
	case r == nil:
		return AppMissing, nil
	case r.Archived:
		return AppArchived, nil
	}
	all := p.toldEdits(p.edits(s, r))
	if len(all) == 0 {
		return "", nil
	}
	return AppDiffers, all
}

// restore has the fields of a record sent again that the app has otherwise.
func (u *unit) restore(r *rec, edits []edit) {
	p, s := u.p, r.sh
	u.putBack(s, edits, func(field int) change.Value { return s.Sent[field] })
	sent := p.unchanged()
	copy(sent, s.Sent)
	w := &state.Pending{EventID: s.Applied, Time: u.now, Fingerprint: p.print, Layout: p.layout, Key: s.AppKey, Fields: p.unchanged()}
	var stored []state.Stored
	for _, st := range s.Stored {
		if !slices.ContainsFunc(edits, func(e edit) bool { return e.field == st.Field }) {
			stored = append(stored, st)
		}
	}
	for _, e := range edits {
		if e.field == state.KeyField {
			w.Unknown = true // the key is written in any case
			continue
		}
		w.Fields[e.field], sent[e.field] = sent[e.field], change.OfString(e.have)
	}
	s.Sent, s.Stored, r.dirtySh = sent, stored, true
	u.ledger.Taken++ // an event of our own
	u.ready(r, w)
}
