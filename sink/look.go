package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// look reads from the app what must be known before sending: whether an unanswered create
// took effect, records to adopt, fields to fill. Its error means that nothing can be sent now.
func (d *dispatcher) look(ctx context.Context, f *flight, l Limits) error {
	reader, ok := d.app.(Reader)
	if !ok {
		return nil
	}
	var unsure, match, fill, before []*item
	fills := f.p.names(Fill)
	for _, it := range f.items {
		switch {
		case it.appID == "" && it.want.Unknown:
			unsure = append(unsure, it)
		case it.appID == "" && it.want.Want == state.Put && f.p.spec.MatchFirst && it.want.Match.Text() != "":
			match = append(match, it)
		case it.appID != "" && it.want.Want == state.Put && f.p.spec.Verify.BeforeWrite:
			before = append(before, it)
		case it.appID != "" && it.want.Want == state.Put && len(fills) > 0 && f.p.fillChanged(it):
			fill = append(fill, it)
		}
	}
	if err := d.lookByKey(ctx, f, reader, l, unsure, fills); err != nil {
		return err
	}
	if err := d.adoptBy(ctx, f, reader, l, match, fills); err != nil {
		return err
	}
	if err := d.readBefore(ctx, f, reader, l, before, fills); err != nil {
		return err
	}
	return d.read(ctx, f, reader, l, fill, "id", func(it *item) string { return it.appID }, fills, func(it *item, found []Record) {
		if len(found) == 1 {
			it.result.Stored = stored(found[0])
		}
	})
}

// lookByKey finds the records of creates that were not answered, by the keys they may have been sent with.
func (d *dispatcher) lookByKey(ctx context.Context, f *flight, reader Reader, l Limits, items []*item, fills []string) error {
	if len(items) == 0 {
		return nil
	}
	keys := map[*item][]string{}
	for _, it := range items {
		var err error
		if keys[it], it.hold, err = f.p.keysOf(it); err != nil {
			return err
		}
	}
	var broken error
	for n := 0; ; n++ {
		var some []*item
		for _, it := range items {
			if it.appID == "" && it.state == todo && n < len(keys[it]) {
				some = append(some, it)
			}
		}
		if len(some) == 0 {
			break
		}
		err := d.read(ctx, f, reader, l, some, f.p.spec.Program.KeyField(), func(it *item) string { return keys[it][n] }, fills, func(it *item, found []Record) {
			switch {
			case len(found) == 0:
			case len(found) > 1:
				it.state, it.result = refused, Result{Err: Reject("conflict", errors.New("the app has several records with this key"))}
			default:
				// A record that another row owns is not what we sent.
				owned, err := f.p.owned(found[0].ID, it.want.Record)
				switch {
				case err != nil:
					broken = err
				case owned && keys[it][n] == it.want.Key.Text():
					it.taken = found[0].ID
				case !owned:
					it.appID, it.adopt, it.found = found[0].ID, true, change.OfString(keys[it][n])
					it.result.Stored = stored(found[0])
				}
			}
		})
		if err = errors.Join(err, broken); err != nil {
			return err
		}
	}
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	for _, it := range items {
		it.looked = true
		news := it.appID == "" || it.found.Text() != it.want.Key.Text()
		another := it.taken != "" && it.appID == ""
		switch it.hold = (it.hold && news || another) && it.state == todo && it.want.Want == state.Put; {
		case it.hold && f.p.inVain(it.want):
			it.hold, it.state, it.result = false, refused, Result{Err: Reject("conflict", errors.New("another row's record has this key"))}
		case it.hold:
			it.due = keyWait
		}
	}
	return nil
}

// names returns the fields of a group.
func (p *Pipeline) names(g Group) []string {
	var all []string
	for _, f := range p.fields {
		if f.Group == g {
			all = append(all, f.Name)
		}
	}
	return all
}

// fillChanged tells whether a field of the group fill has another value than when it was last looked at.
func (p *Pipeline) fillChanged(it *item) bool {
	fields := p.remap(it.want.Layout, it.want.Fields)
	for i, f := range p.fields {
		if f.Group == Fill && (it.want.Unknown || !same(it.base, i, fields[i])) {
			return true
		}
	}
	return false
}

func stored(r Record) []Field {
	fs := make([]Field, 0, len(r.Fields))
	for name, text := range r.Fields {
		fs = append(fs, Field{name, change.OfString(text)})
	}
	return fs
}

// read reads items' records by a field and hands each item those that have its value.
func (d *dispatcher) read(ctx context.Context, f *flight, reader Reader, l Limits, items []*item, field string, value func(*item) string, fields []string, each func(*item, []Record)) error {
	for len(items) > 0 {
		n := min(len(items), l.Read)
		var values []string
		for _, it := range items[:n] {
			if v := value(it); !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		if !d.pace(ctx, f) {
			return errors.New("the app can't be called now")
		}
		call, cancel := context.WithTimeout(ctx, d.e.o.Timeout)
		want := fields
		if field != "id" {
			want = append(slices.Clone(fields), field)
		}
		if key := f.p.spec.Program.KeyField(); !slices.Contains(want, key) {
			want = append(slices.Clone(want), key)
		}
		records, err := reader.Read(call, f.p.spec.Object, field, values, want)
		cancel()
		if err != nil {
			d.unread(f.p.spec.Object, err)
			return fmt.Errorf("read back: %w", err)
		}
		d.answered(f.p.spec.Object, nil, 0)
		for _, it := range items[:n] {
			var found []Record
			for _, r := range records {
				if field == "id" && r.ID == value(it) || field != "id" && !r.Archived && sameText(r.Fields[field], value(it)) {
					found = append(found, r)
				}
			}
			each(it, found)
		}
		items = items[n:]
	}
	return nil
}

// unread notes a failed read: nothing was done by it, whatever kind of error it is.
func (d *dispatcher) unread(object string, err error) {
	var retry *RetryError
	var halt *HaltError
	switch {
	case errors.As(err, &halt):
		d.halt(err)
	case errors.As(err, &retry):
		d.answered(object, err, max(retry.After, 1))
	default:
		d.answered(object, err, 0)
	}
}

// adopt finds the records that refused creates collided with, by match, and makes them ours.
func (d *dispatcher) adopt(ctx context.Context, f *flight, l Limits) {
	var items []*item
	for _, it := range f.items {
		var conflict *ConflictError
		if it.state != refused || !errors.As(it.result.Err, &conflict) {
			continue
		}
		if it.action == Upsert && f.p.spec.Program.MatchField() != "" && it.want.Match.Text() != "" {
			items = append(items, it)
		}
	}
	reader, ok := d.app.(Reader)
	if !ok || len(items) == 0 {
		return
	}
	for _, it := range items {
		it.state = todo
	}
	if err := d.adoptBy(ctx, f, reader, l, items, f.p.names(Fill)); err != nil {
		return
	}
	var again []*item
	for _, it := range items {
		if it.state == todo && it.adopt && it.plan(f.p) {
			again = append(again, it)
		} else if it.state == todo {
			it.state = refused // nobody has that value now, or it is not by match that it collides
		}
	}
	for len(again) > 0 {
		n := min(len(again), l.Batch)
		if !d.push(ctx, f, Update, again[:n]) {
			return
		}
		again = again[n:]
	}
}

// adoptBy looks records up by the match field and adopts those that are nobody's.
func (d *dispatcher) adoptBy(ctx context.Context, f *flight, reader Reader, l Limits, items []*item, fills []string) error {
	p := f.p
	keyField := p.spec.Program.KeyField()
	fields := append(slices.Clone(fills), p.spec.Program.MatchAlso()...)
	return d.read(ctx, f, reader, l, items, p.spec.Program.MatchField(), func(it *item) string { return p.matchOf(it)[0] }, fields, func(it *item, found []Record) {
		found = slices.DeleteFunc(found, func(r Record) bool { return !p.matches(it, r) })
		if len(found) == 0 {
			return
		}
		refuse := func(why string) {
			it.state, it.result = refused, Result{Err: Reject("conflict", errors.New(why))}
		}
		if len(found) > 1 {
			refuse("the app has several records with this match value")
			return
		}
		r := found[0]
		owned, err := p.owned(r.ID, it.want.Record)
		if err == nil && owned && p.mayYield(it) {
			err = errors.New("the app's record with this match value is another row's")
		}
		if err != nil {
			it.state, it.result = failed, Result{Err: err}
			return
		}
		if owned {
			refuse("the app's record with this match value belongs to another key")
			return
		}
		if key := r.Fields[keyField]; key != "" && key != it.want.Key.Text() {
			refuse("the app's record with this match value belongs to another key")
			return
		}
		it.appID, it.adopt = r.ID, true
		it.result.Stored = stored(r)
	})
}

// matchOf returns the values of match, one or more.
func (p *Pipeline) matchOf(it *item) []string {
	text := it.want.Match.Text()
	var all []string
	if also := p.spec.Program.MatchAlso(); len(also) > 0 && json.Unmarshal([]byte(text), &all) == nil && len(all) == len(also)+1 {
		return all
	}
	return []string{text}
}

// matches tells whether a record that has the first value of match has the others too.
func (p *Pipeline) matches(it *item, r Record) bool {
	values := p.matchOf(it)
	for i, field := range p.spec.Program.MatchAlso() {
		if i+1 >= len(values) || !sameText(r.Fields[field], values[i+1]) {
			return false
		}
	}
	return true
}

// owned tells whether an app's record is another record's, or about to be; if not, it is about to be this one's.
func (p *Pipeline) owned(appID string, record int64) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var owner int64
	// What was answered is worth knowing even when the process is asked to end.
	if err := p.e.o.Store.View(context.Background(), func(tx state.Tx) (err error) {
		owner, err = tx.Owner(p.id, appID)
		return err
	}); err != nil {
		return false, err
	}
	if owner == 0 {
		owner = p.adopting[appID]
	}
	if owner != 0 && owner != record {
		return true, nil
	}
	p.adopting[appID] = record
	return false, nil
}

// sameText compares as apps do that fold case (e-mail addresses).
func sameText(a, b string) bool { return strings.EqualFold(a, b) }
