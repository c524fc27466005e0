package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// A row that differs from its record is only a suspect: its newest event may not be taken in yet. It drifts when it was
// read, all that was committed before was taken in, the record still differed, and the row was the same when it was read
// again: then no event of it was on its way when they were compared.

const (
	suspectSize   = 200 // rows that are read again at once
	confirmRounds = 3
)

// rows compares the rows of the table with the records, and looks for records without a row.
func (c *reconciler) rows(ctx context.Context) error {
	if c.table == nil {
		c.out.Unchecked = append(c.out.Unchecked, "the rows: a process that does not capture this kind of source can't tell which of their changes are on their way")
		return nil
	}
	var suspects [][]byte
	suspect := func(key []byte) error {
		if suspects = append(suspects, key); len(suspects) < suspectSize {
			return nil
		}
		some := suspects
		suspects = nil
		return c.confirm(ctx, some)
	}
	if c.o.Only != nil {
		for _, ref := range c.o.Only {
			if !ref.Kind.ofApp() {
				if err := suspect(ref.Key); err != nil {
					return err
				}
			}
		}
		return c.confirm(ctx, suspects)
	}
	if err := c.table.Scan(ctx, func(page []*Message) error {
		keys, err := c.compare(ctx, page)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := suspect(key); err != nil {
				return err
			}
		}
		c.out.Rows += int64(len(page))
		c.o.Progress("rows", c.out.Rows)
		return nil
	}); err != nil {
		return err
	}
	for after, more := int64(0), true; more; {
		var keys [][]byte
		n := 0
		if err := c.p.e.o.Store.View(ctx, func(tx state.Tx) error {
			return tx.ScanShadows(c.p.id, after, sweepSize, func(s *state.Shadow) error {
				n++
				after = s.ID
				if !c.seen.has(s.ID) && s.Key != nil && s.Standing == state.InApp && c.p.spec.OnDelete != "ignore" {
					keys = append(keys, s.Key)
				}
				return nil
			})
		}); err != nil {
			return err
		}
		more = n == sweepSize
		c.out.Records += int64(n)
		c.o.Progress("records", c.out.Records)
		for _, key := range keys {
			if err := suspect(key); err != nil {
				return err
			}
		}
	}
	return c.confirm(ctx, suspects)
}

// compare returns the keys of a page whose rows are not as their records have it.
func (c *reconciler) compare(ctx context.Context, page []*Message) (suspects [][]byte, err error) {
	keys := make([][]byte, len(page))
	made := make([]*taken, len(page))
	for i, m := range page {
		keys[i] = m.Key
		if made[i], err = c.evaluate(ctx, m); err != nil {
			return nil, err
		}
	}
	err = c.p.view(ctx, keys, nil, func(u *unit) error {
		for i, key := range keys {
			r := u.byKey[string(key)]
			if r != nil {
				c.seen.add(r.sh.ID)
			}
			kind, _, apart := c.judge(u, key, made[i])
			if kind != "" {
				suspects = append(suspects, key)
			} else if apart != "" {
				c.out.Apart[apart]++
			}
		}
		return nil
	})
	return suspects, err
}

func (c *reconciler) evaluate(ctx context.Context, m *Message) (*taken, error) {
	t := &taken{key: m.Key, offset: -1}
	if err := t.id.UnmarshalText(header(m.Headers, change.HeaderID)); err != nil {
		return nil, err
	}
	return t, c.p.evaluate(ctx, c.eval, t, m.Key, m.Value, m.Headers)
}

// judge compares a row (nil: there is none) with its record.
func (c *reconciler) judge(u *unit, key []byte, t *taken) (kind Drift, fields []DriftField, apart string) {
	r := u.byKey[string(key)]
	if apart = u.apart(key, r); apart != "" {
		return "", nil, apart
	}
	inApp := r != nil && r.sh.Standing == state.InApp
	switch {
	case t == nil:
		if inApp && c.p.spec.OnDelete != "ignore" && !c.p.hasSet(r.sh, wantOf(c.p.spec.OnDelete, state.ByRow)) {
			return RowGone, nil, ""
		}
	case t.outcome == Rejected:
		return "", nil, "rejected"
	case t.outcome == Filtered:
		if inApp && c.p.spec.OnLeave != "ignore" && !c.p.hasSet(r.sh, wantOf(c.p.spec.OnLeave, state.ByLeave)) {
			return RowLeft, nil, ""
		}
	case !inApp:
		return RowMissing, nil, ""
	default:
		if fields = c.p.differing(r.sh, t.appKey, t.fields); len(fields) > 0 {
			return RowDiffers, fields, ""
		}
	}
	return "", nil, ""
}

// differing says what differs in the sense of differs.
func (p *Pipeline) differing(s *state.Shadow, key change.Value, fields []change.Value) (all []DriftField) {
	program := p.spec.Program
	if s.AppKey != key {
		all = append(all, DriftField{program.KeyField(), key, s.AppKey, program.KeyPII()})
	}
	for i, v := range fields {
		if f := p.fields[i]; f.Group != OwnedByApp && !same(s, i, v) {
			d := DriftField{Name: f.Name, Want: v, Have: change.Of(change.Unchanged, ""), PII: f.PII}
			if i < len(s.Sent) {
				d.Have = s.Sent[i]
			}
			all = append(all, d)
		}
	}
	return all
}

// confirm reads suspects again until it is known whether they drift, and repairs them if it is to.
func (c *reconciler) confirm(ctx context.Context, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	for range confirmRounds {
		rest, err := c.confirmSome(ctx, keys)
		if err != nil || len(rest) == 0 {
			return err
		}
		keys = rest
	}
	c.out.Apart["changing"] += int64(len(keys))
	return nil
}

// confirmSome returns the keys of rows that changed meanwhile.
func (c *reconciler) confirmSome(ctx context.Context, keys [][]byte) (rest [][]byte, err error) {
	p := c.p
	rows, ends, err := c.table.Find(ctx, keys)
	if err != nil {
		return nil, err
	}
	if err := c.wait(ctx, ends); err != nil {
		return nil, err
	}
	made := map[string]*taken{}
	for key, m := range rows {
		if made[key], err = c.evaluate(ctx, m); err != nil {
			return nil, err
		}
	}
	drift := map[string]Drift{}
	var left [][]byte
	p.watchKeys(true)
	defer p.watchKeys(false)
	if err := p.view(ctx, keys, nil, func(u *unit) error {
		for _, key := range keys {
			kind, _, apart := c.judge(u, key, made[string(key)])
			if kind != "" {
				drift[string(key)] = kind
				left = append(left, key)
			} else if apart != "" {
				c.out.Apart[apart]++
			}
		}
		return nil
	}); err != nil || len(left) == 0 {
		return nil, err
	}
	again, _, err := c.table.Find(ctx, left)
	if err != nil {
		return nil, err
	}
	var sure [][]byte
	for _, key := range left {
		if sameRow(rows[string(key)], again[string(key)]) {
			sure = append(sure, key)
		} else {
			rest = append(rest, key)
		}
	}
	note := func(u *unit) error {
		for _, key := range sure {
			kind, fields, _ := c.judge(u, key, made[string(key)])
			if _, touched := p.touched[string(key)]; touched || kind != drift[string(key)] {
				rest = append(rest, key)
				continue
			}
			if c.o.Repair {
				if ok, err := c.mend(u, kind, key, rows[string(key)], made[string(key)]); err != nil || !ok {
					return err
				}
			}
			c.found(DriftRef{Kind: kind, Key: key}, key, fields)
		}
		return nil
	}
	if !c.o.Repair {
		err := p.view(ctx, sure, nil, note)
		return rest, err
	}
	if c.out.Behind {
		return nil, errors.New("rows can be put right only while penstock runs and has taken in what the source has: start it, and try again")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err = p.update(ctx, "", "", func(u *unit) error {
		if err := u.load(sure); err != nil {
			return err
		}
		return note(u)
	})
	return rest, err
}

// wait waits until all that was committed before a read is taken in. While nothing runs, that may never be.
func (c *reconciler) wait(ctx context.Context, ends func(context.Context) (map[int]int64, error)) error {
	limit, cancel := context.WithTimeout(ctx, reselectWait)
	defer cancel()
	for {
		goal, err := ends(limit)
		if err != nil {
			return err
		}
		if goal != nil {
			reached, err := c.p.takenIn(limit, goal)
			if err != nil || reached {
				return err
			}
		}
		if !c.running {
			c.out.Behind = true
			return nil
		}
		select {
		case <-limit.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("what the source had %s ago is not taken in yet: see penstock status", reselectWait)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// takenIn is as reached, by the positions that are kept where no partition is assigned.
func (p *Pipeline) takenIn(ctx context.Context, goal map[int]int64) (bool, error) {
	for number, next := range goal {
		if next == 0 {
			continue
		}
		pos, err := p.positionOf(ctx, number)
		if err != nil || pos.Offset < next {
			return false, err
		}
	}
	return true, nil
}

func (p *Pipeline) positionOf(ctx context.Context, number int) (pos state.Position, err error) {
	err = p.e.o.Store.View(ctx, func(tx state.Tx) error {
		pos, err = tx.Position(p.id, p.spec.Topic, number)
		return err
	})
	return pos, err
}

// sameRow tells whether two reads found the same.
func sameRow(a, b *Message) bool {
	if a == nil || b == nil {
		return a == b
	}
	var one, two struct{ After json.RawMessage }
	return json.Unmarshal(a.Value, &one) == nil && json.Unmarshal(b.Value, &two) == nil && bytes.Equal(one.After, two.After)
}

// watchKeys begins, or ends, to note the keys of events that are taken in.
func (p *Pipeline) watchKeys(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.touched = nil
	if on {
		p.touched = map[string]struct{}{}
	}
}

// mend takes a row in as if its event came now; false: it is left as it is.
func (c *reconciler) mend(u *unit, kind Drift, key []byte, row *Message, t *taken) (bool, error) {
	r := u.byKey[string(key)]
	partition := 0
	if r != nil {
		partition = r.sh.Partition
	} else if c.p.spec.Partitions > 1 {
		const why = "rows that are not taken in were left so, since the topic has several partitions: penstock snapshot reads the table again"
		if !slices.Contains(c.out.Unchecked, why) {
			c.out.Unchecked = append(c.out.Unchecked, why)
		}
		return false, nil
	}
	pos, err := u.tx.Position(c.p.id, c.p.spec.Topic, partition)
	if err != nil {
		return false, err
	}
	c.out.Repaired++
	if kind == RowGone {
		return true, u.sweepAway(r, pos.LastID, u.now, state.BySweep)
	}
	// It counts as the last event that was taken in, so that a snapshot which goes on does not take it for unseen.
	id, err := pos.LastID.MarshalText()
	if err != nil {
		return false, err
	}
	m := *row
	m.Headers = slices.Clone(row.Headers)
	for i := range m.Headers {
		if m.Headers[i].Key == change.HeaderID {
			m.Headers[i].Value = id
		}
	}
	own := *t
	own.id, own.fields, own.event = pos.LastID, slices.Clone(t.fields), appendEvent(nil, &m)
	u.ledger.Taken++ // an event of our own
	if r == nil {
		return true, u.decide(nil, partition, &own)
	}
	seen := r.sh.Seen
	if err := u.decide(r, partition, &own); err != nil {
		return false, err
	}
	r.sh.Seen = seen
	return true, nil
}
