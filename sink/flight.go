package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// fly makes the calls of one flight and records what became of each item.
func (d *dispatcher) fly(ctx context.Context, f *flight) {
	for _, it := range f.items {
		it.appID = it.base.AppID
	}
	l := d.limits(f.p.spec.Object)
	if err := d.look(ctx, f, l); err == nil {
		d.pushAll(ctx, f, l)
		d.adopt(ctx, f, l)
		d.passKeys(ctx, f, l)
		d.waitForOurs(f)
		d.associate(ctx, f, l)
	}
	if err := d.record(f); err != nil {
		d.fail(fmt.Errorf("record answers of %s for pipeline %s: %w", d.name, f.p.spec.Name, err))
	}
}

// pushAll sends what is to be done, by action.
func (d *dispatcher) pushAll(ctx context.Context, f *flight, l Limits) {
	var groups [4][]*item
	for _, it := range f.items {
		if it.state == todo && !it.hold && it.plan(f.p) {
			groups[it.action] = append(groups[it.action], it)
		}
	}
	groups[Upsert] = oneOfKey(groups[Upsert])
	for action, items := range groups {
		for len(items) > 0 {
			n := min(len(items), l.Batch)
			if !d.push(ctx, f, Action(action), items[:n]) {
				return
			}
			items = items[n:]
		}
	}
}

// oneOfKey leaves of creates with one key the one with the newest event: the other row's has another key by now, and
// its own event is on the way. It is tried again.
func oneOfKey(items []*item) []*item {
	newest := map[string]*item{}
	for _, it := range items {
		key := it.key().Text()
		other := newest[key]
		if other == nil || bytes.Compare(it.want.EventID[:], other.want.EventID[:]) > 0 {
			newest[key] = it
		} else {
			other = it
		}
		if other != nil {
			other.state, other.result.Err = failed, errSharedKey
		}
	}
	return slices.DeleteFunc(items, func(it *item) bool { return it.state == failed })
}

// plan works out what to send for an item; false: there is nothing to send.
func (it *item) plan(p *Pipeline) bool {
	w := it.want
	if w.Want.Sets() {
		return it.planSet(p)
	}
	if w.Want != state.Put {
		it.action = Archive
		if w.Want == state.Remove {
			it.action = Remove
		}
		if it.appID == "" {
			it.state = nothing
		}
		return it.state == todo
	}
	it.write, it.sent = it.write[:0], it.sent[:0]
	fields := p.remap(w.Layout, w.Fields)
	known := it.appID != ""
	key := it.key()
	if !known && key.IsNull() {
		it.state = nothing // only a key to give up, and nothing in the app
		return false
	}
	it.action = Upsert
	if known {
		it.action = Update
		if _, edited := it.edited(state.KeyField); edited || it.bare || it.found.IsNull() && (it.adopt || w.Unknown || it.base.AppKey != key) || !it.found.IsNull() && it.found.Text() != key.Text() {
			it.write = append(it.write, Field{p.spec.Program.KeyField(), key})
		}
	}
	sure := known && !w.Unknown && !it.adopt
	news := len(it.write) > 0
	for i, v := range fields {
		group := p.fields[i].Group
		again := known && group != OwnedBySource && p.wasSet(it.base, i)
		have, edited := it.edited(i)
		if v.IsUnchanged() && edited { // to be put back, and the row says nothing new of it
			it.write = append(it.write, Field{p.fields[i].Name, it.base.Sent[i]})
			news = true
			continue
		}
		if v.IsUnchanged() || known && group == OwnedByApp && !again || group == ByParent {
			continue
		}
		it.sent = append(it.sent, i)
		if sure && (same(it.base, i, v) && !edited || edited && v.Text() == have) {
			if !p.whole || group == Fill {
				continue
			}
		} else if known && group == Fill && !again && it.filled(p.fields[i].Name) {
			continue
		} else {
			news = true
		}
		it.write = append(it.write, Field{p.fields[i].Name, v})
	}
	// With no field known, it is only to be settled what was sent before, or a key to be given up: see giveUp and holds.
	if known && !news || !known && len(it.sent) == 0 && len(fields) > 0 {
		it.state = nothing
	}
	return it.state == todo
}

// filled tells whether the app has a value in a field of the group fill; result.Stored has what was read.
func (it *item) filled(name string) bool {
	for _, s := range it.result.Stored {
		if s.Name == name {
			return s.Value.Text() != ""
		}
	}
	return false
}

// push makes one call and notes each item's result; a batch refused as a whole is taken apart. False: the app
// can't be called now.
func (d *dispatcher) push(ctx context.Context, f *flight, action Action, items []*item) bool {
	if !d.pace(ctx, f) {
		return false
	}
	changes := make([]Change, len(items))
	for i, it := range items {
		changes[i] = Change{Ref: it.ref(), AppID: it.appID, Key: Field{f.p.spec.Program.KeyField(), it.key()}, Fields: it.write}
		if action != Upsert && action != Update {
			changes[i].Fields = nil
		}
	}
	d.e.failpoint("dispatch.before_call")
	call, cancel := context.WithTimeout(ctx, d.e.o.Timeout)
	results, err := d.app.Push(call, f.p.spec.Object, action, changes)
	if err != nil && call.Err() != nil && !steers(err) {
		err = Unknown(err) // cut short by us
	}
	cancel()
	d.e.failpoint("dispatch.after_call")
	if err == nil && len(results) != len(items) {
		err = Unknown(fmt.Errorf("app %s gave %d results for %d changes", d.name, len(results), len(items)))
	}
	if err != nil {
		return d.refused(ctx, f, action, items, err)
	}
	d.answered(f.p.spec.Object, nil, 0)
	for i, it := range items {
		it.take(results[i])
	}
	return d.after(items)
}

// conflictTries is how often a record that collides with another one of ours is tried again.
const conflictTries = 12

// passKeys settles updates that were refused since another record still has the new key (a chain or a swap): all
// of them give up their old keys first, then take the new ones. What still collides is tried again later.
func (d *dispatcher) passKeys(ctx context.Context, f *flight, l Limits) {
	var items []*item
	for _, it := range f.items {
		var conflict *ConflictError
		if it.state != refused || it.action != Update || it.want.Want != state.Put || it.adopt && it.found.IsNull() || it.base.AppKey == it.want.Key && !it.want.Unknown || !errors.As(it.result.Err, &conflict) {
			continue
		}
		if it.base.AppID == "" {
			it.state = failed // only its key says that it is ours: that must be written down before the key is cleared
			continue
		}
		items = append(items, it)
	}
	if len(items) == 0 {
		return
	}
	send := func(prepare func(*item) bool, each func(*item)) bool {
		var some []*item
		for _, it := range items {
			if it.state = todo; prepare(it) {
				some = append(some, it)
			}
		}
		for len(some) > 0 {
			n := min(len(some), l.Batch)
			ok := d.push(ctx, f, Update, some[:n])
			for _, it := range some[:n] {
				each(it)
			}
			if some = some[n:]; !ok {
				return false
			}
		}
		return true
	}
	ok := send(func(it *item) bool {
		it.write = []Field{{f.p.spec.Program.KeyField(), change.Value{}}}
		return !it.bare
	}, func(it *item) {
		if it.state == applied {
			it.bare, it.state = true, todo
		}
	})
	if !ok {
		return
	}
	send(func(it *item) bool {
		if hollow(it.want) {
			it.want.Key = change.Value{} // that it had before: another row's record has it
		}
		return it.plan(f.p)
	}, func(it *item) {
		var conflict *ConflictError
		if it.state == refused && errors.As(it.result.Err, &conflict) && it.want.Attempts < conflictTries {
			it.state = failed
		}
	})
}

// waitForOurs tries creates again later that collide with a record of ours: its row may be gone, or have another value
// by now, as after a snapshot that was begun anew, of which only the end tells what rows are gone.
func (d *dispatcher) waitForOurs(f *flight) {
	var items []*item
	for _, it := range f.items {
		var conflict *ConflictError
		if it.state == refused && it.action == Upsert && errors.As(it.result.Err, &conflict) && conflict.AppID != "" && f.p.mayYield(it) {
			items = append(items, it)
		}
	}
	if len(items) == 0 {
		return
	}
	err := d.e.o.Store.View(context.Background(), func(tx state.Tx) error {
		for _, it := range items {
			var conflict *ConflictError
			errors.As(it.result.Err, &conflict)
			owner, err := tx.Owner(f.p.id, conflict.AppID)
			if err != nil {
				return err
			}
			if owner != 0 && owner != it.want.Record {
				it.state = failed
			}
		}
		return nil
	})
	if err != nil {
		d.fail(fmt.Errorf("read owners of %s for pipeline %s: %w", d.name, f.p.spec.Name, err))
	}
}

// mayYield tells whether what another record of ours has in an item's way may be free soon: that record may be about to
// change, or be gone, which only the end of a snapshot tells.
func (p *Pipeline) mayYield(it *item) bool {
	if it.want.Attempts < conflictTries/2 {
		return true
	}
	return p.loading()
}

// ref names a change the same each time it is sent.
func (it *item) ref() string {
	return fmt.Sprintf("%x-%s", it.want.Record, it.want.EventID)
}

// steers tells whether an error is one of the outcomes.
func steers(err error) bool {
	var reject *RejectError
	var retry *RetryError
	var halt *HaltError
	var unknown *UnknownError
	var batch *BatchError
	return errors.As(err, &reject) || errors.As(err, &retry) || errors.As(err, &halt) || errors.As(err, &unknown) || errors.As(err, &batch)
}

// take notes an item's own result.
func (it *item) take(r Result) {
	var reject *RejectError
	var conflict *ConflictError
	var unknown *UnknownError
	var retry *RetryError
	it.result = r
	switch {
	case r.Err == nil:
		it.state = applied
		if r.AppID != "" {
			it.appID = r.AppID
		}
	case errors.Is(r.Err, ErrGone):
		it.state = absent
		if it.action == Archive || it.action == Remove {
			it.state = applied
		}
	case errors.As(r.Err, &reject), errors.As(r.Err, &conflict):
		it.state = refused
	case errors.As(r.Err, &unknown):
		it.state = unsure
	case errors.As(r.Err, &retry):
		it.state, it.due = todo, retry.After
	default:
		it.state = failed
	}
}

// after looks for results of single items that concern the whole app.
func (d *dispatcher) after(items []*item) bool {
	for _, it := range items {
		var halt *HaltError
		if errors.As(it.result.Err, &halt) {
			it.state = todo
			d.halt(it.result.Err)
			return false
		}
	}
	return true
}

// refused takes a call's failure as a whole apart.
func (d *dispatcher) refused(ctx context.Context, f *flight, action Action, items []*item, err error) bool {
	var reject *RejectError
	var retry *RetryError
	var halt *HaltError
	var unknown *UnknownError
	var batch *BatchError
	switch {
	case errors.As(err, &halt):
		d.halt(err)
		return false
	case errors.As(err, &unknown):
		for _, it := range items {
			it.state, it.result = unsure, Result{Err: err}
		}
		d.answered(f.p.spec.Object, err, 0)
		if errors.As(err, &retry) {
			d.notBefore(retry.After)
		}
		return false
	case errors.As(err, &retry):
		d.answered(f.p.spec.Object, err, max(retry.After, time.Millisecond))
		return false
	case errors.As(err, &batch):
		d.answered(f.p.spec.Object, nil, 0)
		return d.bisect(ctx, f, action, items, batch)
	case errors.As(err, &reject):
		d.answered(f.p.spec.Object, nil, 0)
		return d.bisect(ctx, f, action, items, &BatchError{Code: reject.Code, Err: reject.Err})
	}
	for _, it := range items {
		it.result = Result{Err: err}
	}
	d.answered(f.p.spec.Object, err, 0)
	return false
}

// bisect finds the records that a refused batch was refused for: those the app names, else by halves.
func (d *dispatcher) bisect(ctx context.Context, f *flight, action Action, items []*item, refusal *BatchError) bool {
	if len(items) == 1 {
		items[0].state, items[0].result = refused, Result{Err: Reject(refusal.Code, refusal.Err)}
		return true
	}
	named := map[string]bool{}
	for _, ref := range refusal.Refs {
		named[ref] = true
	}
	var rest []*item
	for _, it := range items {
		if named[it.ref()] {
			it.state, it.result = refused, Result{Err: Reject(refusal.Code, refusal.Err)}
		} else {
			rest = append(rest, it)
		}
	}
	if len(rest) < len(items) {
		return len(rest) == 0 || d.push(ctx, f, action, rest)
	}
	half := len(items) / 2
	return d.push(ctx, f, action, items[:half]) && d.push(ctx, f, action, items[half:])
}

// pace waits for the app's budget; false: the app can't be called now.
func (d *dispatcher) pace(ctx context.Context, f *flight) bool {
	if f.paid {
		f.paid = false
		return true
	}
	for {
		d.mu.Lock()
		now := time.Now()
		if d.halted != nil || now.Before(d.blocked) || now.Before(d.circuit(f.p.spec.Object).blocked) || !d.running {
			d.mu.Unlock()
			return false
		}
		wait := d.budget.wait(now, 0)
		if wait <= 0 {
			d.budget.take(now)
		}
		d.mu.Unlock()
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

// storedOf returns what the app says it stores, where that is another text than what was sent.
func storedOf(p *Pipeline, r Result, sent []change.Value) []state.Stored {
	var out []state.Stored
	for _, s := range r.Stored {
		for i := range p.fields {
			if p.fields[i].Name == s.Name && i < len(sent) && !sent[i].IsUnchanged() && sent[i].Text() != s.Value.Text() {
				out = append(out, state.Stored{Field: i, Text: s.Value.Text()})
			}
		}
	}
	return out
}
