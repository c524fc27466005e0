package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// A forgotten key leaves a tombstone, the hash of it, so that neither a replay nor a later change of the row brings
// back what was purged. The keys that its row changes to are forgotten with it.

// Forgotten says what Forget removed.
type Forgotten struct {
	Pipeline string
	Record   bool  // what the app has, as we knew it
	Pending  int64 // wanted states and events that waited
	History  int64 // changes
	Entries  int64 // of the quarantine
	Notes    int64 // keys that the record may have had in the app
	Erased   bool  // the app was made to erase its record
	Before   bool  // the key had been forgotten before

	started bool
}

// forgetPatience is how long Forget waits for an answer about the record.
const forgetPatience = 30 * time.Second

// payload is a key as messages have it, out of a header that may have its schema beside it.
func payload(key []byte) []byte {
	var whole struct{ Schema, Payload json.RawMessage }
	if json.Unmarshal(key, &whole) == nil && whole.Schema != nil && whole.Payload != nil {
		return whole.Payload
	}
	return bytes.Clone(key)
}

// Tombstone is the hash by which the state remembers a forgotten source key.
func Tombstone(key []byte) [32]byte { return sha256.Sum256(key) }

// barred tells whether an event is of a forgotten key. That of a row whose key was forgotten is from here on; which row that
// is shows when the delete of the key that it had is taken in. Deletes are let through: another row may lose the key.
func (u *unit) barred(t *taken, forced bool) (bool, error) {
	switch {
	case t.op == change.Delete:
		return false, nil
	case u.isForgotten(t.key):
		return true, u.refuseMove(t)
	case !t.claims || !u.isForgotten(t.oldKey):
		return false, nil
	}
	m := u.keys().moves[tokenOf(t.id)]
	switch {
	case m == nil && !forced, m != nil && m.Record != 0:
		return false, nil
	case m != nil:
		if err := u.deleteMove(m); err != nil {
			return false, err
		}
	}
	return true, u.barRow(t)
}

// refuseMove ends the move of a row to a forgotten key: it is gone as far as the app goes.
func (u *unit) refuseMove(t *taken) error {
	m := u.keys().moves[tokenOf(t.id)]
	if !t.claims || m == nil {
		return nil
	}
	if err := u.deleteMove(m); err != nil || m.Record == 0 {
		return err
	}
	r, err := u.record(m.Record)
	if err != nil {
		return err
	}
	return u.sweepAway(r, m.Token, u.now, state.ByMove)
}

// barRow forgets the key that a forgotten row changes to. The record of the row that has it is displaced as by any other.
func (u *unit) barRow(t *taken) error {
	r, err := u.key(t.key)
	if err != nil {
		return err
	}
	if r != nil {
		if err := u.displace(r, t); err != nil {
			return err
		}
	}
	return u.bar(t.key)
}

func (u *unit) isForgotten(key []byte) bool {
	if len(u.p.forgotten) == 0 && len(u.barring) == 0 {
		return false
	}
	h := Tombstone(key)
	_, there := u.p.forgotten[h]
	_, new := u.barring[h]
	return there || new
}

// bar puts up a key's tombstone.
func (u *unit) bar(key []byte) error {
	h := Tombstone(key)
	if u.barring == nil {
		u.barring = map[[32]byte]struct{}{}
	}
	u.barring[h] = struct{}{}
	return u.tx.PutForgotten(u.p.id, h, u.now)
}

// Forget purges what is kept of a source key: the shadow, what waits to be sent, the quarantine, notes and history. With
// erase the app erases its record for good first. Events of the key are passed over from then on. Forgetting again is no error.
func (e *Engine) Forget(ctx context.Context, pipeline string, key []byte, erase bool) (done Forgotten, err error) {
	p, err := e.find(pipeline)
	if err != nil {
		return done, fmt.Errorf("forget: %w", err)
	}
	done.Pipeline = pipeline
	if erase {
		// First nothing of the key is sent any more, then the app erases, then what we know of its record goes: after a
		// crash in between it is done again.
		if _, err := p.purgeSoon(ctx, key, true, &done); err != nil {
			return done, err
		}
		if done.Erased, err = p.erase(ctx, key); err != nil {
			return done, fmt.Errorf("forget: erase the record in app %s: %w; nothing is sent of it any more, try again to have it erased", p.d.name, err)
		}
	}
	record, err := p.purgeSoon(ctx, key, false, &done)
	if err != nil {
		return done, err
	}
	if err := p.purgeHistory(ctx, record, key, &done); err != nil {
		return done, fmt.Errorf("forget: %w: try again", err)
	}
	p.d.wake()
	return done, nil
}

// purgeSoon purges as soon as no answer about the record is awaited.
func (p *Pipeline) purgeSoon(ctx context.Context, key []byte, keep bool, done *Forgotten) (record int64, err error) {
	var cut time.Time // when a call was first seen to be unanswered
	for end := time.Now().Add(forgetPatience); ; {
		record, why, err := p.purge(ctx, key, keep, cut.IsZero() || time.Since(cut) < lateMost, done)
		if err != nil {
			return 0, fmt.Errorf("forget: %w", err)
		}
		switch {
		case why == idle:
			return record, nil
		case why == sending:
			cut = time.Time{}
		case cut.IsZero():
			cut = time.Now()
		}
		if time.Now().After(end) {
			return 0, errors.New("forget: the record is being sent, or its key changes at the moment: try again")
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// busy says why a record can't be purged now.
type busy uint8

const (
	idle       busy = iota // it can
	sending                // it is, or its key changes
	unanswered             // a call was not answered, and may be carried out yet
)

// purge removes all but the history, and returns the record's ID. keep: what the app has stays known; late: a call that was not
// answered may be carried out yet.
func (p *Pipeline) purge(ctx context.Context, key []byte, keep, late bool, done *Forgotten) (record int64, why busy, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.between.moves {
		if m.Record != 0 && bytes.Equal(m.Key, key) {
			return 0, sending, nil
		}
	}
	found := *done
	err = p.update(ctx, "", "forget.after_commit", func(u *unit) error {
		r, err := u.key(key)
		if err != nil {
			return err
		}
		switch {
		case r == nil:
		case r.fl != nil:
			why = sending
			return nil
		case late && r.pd != nil && r.pd.Unknown && r.pd.Due > u.now:
			why = unanswered
			return nil
		}
		found.Before = found.Before || !done.started && u.isForgotten(key)
		found.started = true
		if err := u.bar(key); err != nil {
			return err
		}
		if err := u.forgetLate(key, &found); err != nil || r == nil {
			return err
		}
		record = r.sh.ID
		found.Record = true
		return u.forgetRecord(r, keep, &found)
	})
	if err == nil && why == idle {
		*done = found
	}
	return record, why, err
}

func (u *unit) forgetRecord(r *rec, keep bool, found *Forgotten) error {
	if r.pd != nil {
		u.supersede(r)
		u.dropPending(r)
		found.Pending++
	}
	for {
		q, err := u.tx.QuarantineByRecord(u.p.id, r.sh.ID)
		if err != nil {
			return err
		}
		if q == nil {
			break
		}
		u.ledger.Dropped++
		found.Entries++
		if err := u.tx.DeleteQuarantine(u.p.id, q.ID); err != nil {
			return err
		}
	}
	if keep {
		if r.sh.Rejected {
			r.sh.Rejected, r.dirtySh = false, true
		}
		return nil
	}
	notes, err := u.leaving(r)
	if err != nil {
		return err
	}
	found.Notes += int64(len(notes))
	if r.sh.AppID != "" {
		if err := u.tx.Disown(u.p.id, r.sh.AppID); err != nil {
			return err
		}
	}
	if err := u.forget(r, func(string) bool { return true }); err != nil {
		return err
	}
	r.gone = true
	return u.detach(r)
}

// forgetLate drops events that were put off: those of the key, and those of keys that its row changed to. The keys that rows
// were to change to from the key are told that nothing is offered to them.
func (u *unit) forgetLate(key []byte, found *Forgotten) error {
	var offers []*taken
	for name, all := range u.keys().late {
		mine := name == string(key)
		if !mine && !bytes.Equal(all[0].t.oldKey, key) {
			continue
		}
		if !mine {
			if err := u.barRow(all[0].t); err != nil {
				return err
			}
		}
		b := u.ownKeys()
		for _, l := range all {
			if err := u.tx.DeleteDeferred(u.p.id, l.row.ID); err != nil {
				return err
			}
			u.ledger.Waiting--
			u.ledger.Superseded++
			found.Pending++
			if l.t.moved {
				offers = append(offers, l.t)
			}
		}
		delete(b.awaited, tokenOf(all[0].t.id))
		delete(b.late, name)
	}
	for _, t := range offers {
		if u.isForgotten(t.newKey) {
			continue
		}
		if err := u.offer(&state.Move{Token: t.id, Key: bytes.Clone(t.key), Time: u.now}); err != nil {
			return err
		}
	}
	return nil
}

// purgeHistory takes a record's changes out, a page at a time.
func (p *Pipeline) purgeHistory(ctx context.Context, record int64, key []byte, done *Forgotten) error {
	for before, more := int64(math.MaxInt64), true; more; {
		var page, touched []*state.History
		others := map[int64]bool{} // records that had the key once; true: they are there under another one
		err := p.e.o.Store.View(ctx, func(tx state.Tx) error {
			if err := tx.ScanHistory(p.id, before, 100, func(h *state.History) error {
				page = append(page, h)
				before = h.ID
				for _, c := range h.Changes {
					if bytes.Equal(c.Key, key) && c.Record != record {
						others[c.Record] = false
					}
				}
				return nil
			}); err != nil {
				return err
			}
			return tx.ShadowsByID(p.id, slices.Collect(maps.Keys(others)), func(s *state.Shadow) error {
				others[s.ID] = true
				return nil
			})
		})
		if err != nil {
			return err
		}
		more = len(page) == 100
		for _, h := range page {
			kept := slices.DeleteFunc(slices.Clone(h.Changes), func(c state.Changed) bool {
				return c.Record == record && record != 0 || bytes.Equal(c.Key, key) && !others[c.Record]
			})
			if n := len(h.Changes) - len(kept); n > 0 {
				done.History += int64(n)
				h.Changes = kept
				touched = append(touched, h)
			}
		}
		if len(touched) == 0 {
			continue
		}
		err = p.e.o.Store.Update(ctx, func(tx state.Tx) error {
			for _, h := range touched {
				if err := tx.PutHistory(p.id, h); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// erase makes the app erase its record of a key; false: it has none.
func (p *Pipeline) erase(ctx context.Context, key []byte) (bool, error) {
	eraser, ok := p.d.app.(Eraser)
	if !ok {
		return false, errors.New("it can't erase records: remove it there by hand, and forget it without erasing")
	}
	ids, keys, err := p.recordsOf(ctx, key)
	if err != nil {
		return false, err
	}
	if reader, ok := p.d.app.(Reader); ok && len(ids) == 0 && len(keys) > 0 { // sent, and not answered
		l := p.d.limits(p.spec.Object)
		for len(keys) > 0 {
			n := min(len(keys), l.Read)
			if err := p.d.spend(ctx, 0); err != nil {
				return false, err
			}
			found, err := reader.Read(ctx, p.spec.Object, p.spec.Program.KeyField(), keys[:n], []string{p.spec.Program.KeyField()})
			if err != nil {
				return false, err
			}
			for _, r := range found {
				owned, err := p.owned(r.ID, 0)
				if err != nil {
					return false, err
				}
				if !owned {
					ids = append(ids, r.ID)
				}
			}
			keys = keys[n:]
		}
	}
	for _, id := range ids {
		if err := p.d.spend(ctx, 0); err != nil {
			return false, err
		}
		if err := eraser.Erase(ctx, p.spec.Object, id); err != nil {
			return false, err
		}
	}
	return len(ids) > 0, nil
}

// recordsOf returns the app's record of a source key, or if none is known the keys under which it may have one.
func (p *Pipeline) recordsOf(ctx context.Context, key []byte) (ids, keys []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err = p.e.o.Store.View(ctx, func(tx state.Tx) error {
		var s *state.Shadow
		if err := tx.Shadows(p.id, [][]byte{key}, func(found *state.Shadow) error {
			s = found
			return nil
		}); err != nil || s == nil {
			return err
		}
		if s.AppID != "" {
			ids = append(ids, s.AppID)
			return nil
		}
		if keys, err = tx.LeavingByRecord(p.id, s.ID); err != nil {
			return err
		}
		add := func(v change.Value) {
			if !v.IsNull() && v.Text() != "" {
				keys = append(keys, v.Text())
			}
		}
		if it := p.inflight[s.ID]; it != nil {
			add(it.want.Key)
		}
		return tx.PendingByRecord(p.id, []int64{s.ID}, func(w *state.Pending) error {
			if w.Unknown {
				add(w.Key)
			}
			return nil
		})
	})
	return ids, keys, err
}
