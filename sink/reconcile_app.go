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
				u.restore(r, kind, fields)
				c.out.Repaired++
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

// call reads records by the app's id, no faster than it may.
func (c *reconciler) call(ctx context.Context, reader Reader, ids []string) ([]Record, error) {
	p, d := c.p, c.p.d
	l := d.limits(p.spec.Object)
	rate := c.o.CallsPerSecond
	if rate == 0 && l.Calls > 0 && l.Window > 0 {
		rate = float64(l.Calls) / l.Window.Seconds() / 10
	} else if rate == 0 {
		rate = reconcileRate
	}
	fields := []string{p.spec.Program.KeyField()}
	for _, f := range p.fields {
		if f.Group == OwnedBySource && !slices.Contains(fields, f.Name) {
			fields = append(fields, f.Name)
		}
	}
	for try := 1; ; try++ {
		if l := d.app.Limits(p.spec.Object); l.Day > 0 && float64(l.DayLeft) <= l.Reserve*float64(l.Day) {
			return nil, fmt.Errorf("%d calls of the day's quota of app %s are left, which are the reserve of others", l.DayLeft, d.name)
		}
		if wait := time.Until(c.paced); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil, ctx.Err()
			case <-timer.C:
			}
		}
		if err := d.spend(ctx, l.Calls/10); err != nil {
			return nil, err
		}
		c.paced = time.Now().Add(time.Duration(float64(time.Second) / rate))
		c.out.Calls++
		limit, cancel := context.WithTimeout(ctx, p.e.o.Timeout)
		found, err := reader.Read(limit, p.spec.Object, "id", ids, fields)
		cancel()
		if err == nil {
			d.answered(nil, 0)
			return found, nil
		}
		d.unread(err)
		var halt *HaltError
		if errors.As(err, &halt) || try == 5 || ctx.Err() != nil {
			return nil, fmt.Errorf("read records back from app %s: %w", d.name, err)
		}
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
	program := p.spec.Program
	var all []DriftField
	if have := r.Fields[program.KeyField()]; !s.AppKey.IsNull() && have != s.AppKey.Text() {
		all = append(all, DriftField{program.KeyField(), s.AppKey, change.OfString(have), program.KeyPII()})
	}
	for i, f := range p.fields {
		if f.Group != OwnedBySource || i >= len(s.Sent) || s.Sent[i].IsUnchanged() {
			continue
		}
		want := s.Sent[i].Text()
		for _, st := range s.Stored {
			if st.Field == i {
				want = st.Text
			}
		}
		if have := r.Fields[f.Name]; have != want {
			all = append(all, DriftField{f.Name, change.OfString(want), change.OfString(have), f.PII})
		}
	}
	if len(all) == 0 {
		return "", nil
	}
	return AppDiffers, all
}

// restore has a record sent again: of fields that the app changed it is not known any more what it has. Of a record that
// the app has lost that is so for all of them, and the app says itself that it is not there: see absent.
func (u *unit) restore(r *rec, kind Drift, fields []DriftField) {
	p, s := u.p, r.sh
	sent := p.unchanged()
	copy(sent, s.Sent)
	w := &state.Pending{EventID: s.Applied, Time: u.now, Fingerprint: p.print, Layout: p.layout, Key: s.AppKey, Fields: p.unchanged()}
	lost := func(name string) bool {
		return kind != AppDiffers || slices.ContainsFunc(fields, func(f DriftField) bool { return f.Name == name })
	}
	var stored []state.Stored
	for i, f := range p.fields {
		if lost(f.Name) {
			w.Fields[i], sent[i] = sent[i], change.Of(change.Unchanged, "")
			continue
		}
		for _, st := range s.Stored {
			if st.Field == i {
				stored = append(stored, st)
			}
		}
	}
	w.Unknown = kind == AppDiffers && lost(p.spec.Program.KeyField()) // the key is written in any case
	s.Sent, s.Stored, r.dirtySh = sent, stored, true
	u.ledger.Taken++ // an event of our own
	u.ready(r, w)
}
