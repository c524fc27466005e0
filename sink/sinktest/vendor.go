// Package sinktest has what sinks are tested with: a Vendor in memory that keeps an app's
// rules and fails on demand, and Run, the suite that every app passes.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
)

// Fault is how one call fails.
type Fault uint8

// The faults.
const (
	None      Fault = iota
	Busy            // sink.RetryAfter, nothing done
	Drop            // sink.Unknown, nothing done
	DropAfter       // done, then sink.Unknown
	Broken          // a plain error, nothing done
	Partial         // half of the changes fail with a plain error, the rest are done
	Refuse          // one change is refused with the whole batch: sink.BatchError without refs
	Halted          // sink.Halt, nothing done
	Late            // sink.Unknown, and done a second later
)

// Vendor is an app in memory. It keeps Key and Unique fields unique among the records that are
// not archived.
type Vendor struct {
	Bounds sink.Limits
	Key    string
	Unique string // "" for none
	// Canon is the form in which the vendor stores a field; nil: as sent.
	Canon func(field, value string) string
	// Silent: it does not tell the form in which it stores.
	Silent bool
	// Poison tells a change that the vendor refuses for good.
	Poison func(c sink.Change) bool
	// Fault chooses how a call fails; nil: none does. It is called with the vendor locked.
	Fault func(call int, action sink.Action, changes []sink.Change) Fault
	// Observe sees each write that takes effect, with the record after it; the vendor is locked.
	Observe func(action sink.Action, id string, fields map[string]string) error

	mu      sync.Mutex
	records map[string]*record
	byKey   map[string]string
	byMail  map[string]string
	next    int
	calls   int
	reads   int
	polls   int
	mute    error
	busy    map[string]bool
	errs    []error
	log     []sink.Record // as they were after each change
}

type record struct {
	id       string
	archived bool
	fields   map[string]string
	updated  time.Time
}

// changed notes that a record is another now.
func (v *Vendor) changed(r *record) {
	r.updated = time.Now()
	v.log = append(v.log, sink.Record{ID: r.id, Archived: r.archived, Fields: maps.Clone(r.fields), Updated: r.updated})
}

// NewVendor makes a vendor whose key field is key.
func NewVendor(key string, bounds sink.Limits) *Vendor {
	return &Vendor{Key: key, Bounds: bounds, records: map[string]*record{}, byKey: map[string]string{}, byMail: map[string]string{}, busy: map[string]bool{}}
}

// Limits says how the vendor wants to be called.
func (v *Vendor) Limits(string) sink.Limits { return v.Bounds }

// Ping never fails.
func (v *Vendor) Ping(context.Context) error { return nil }

func (v *Vendor) wrong(format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf(format, args...))
}

// Push applies changes as the vendor's rules and Fault say.
func (v *Vendor) Push(ctx context.Context, object string, action sink.Action, changes []sink.Change) ([]sink.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	if len(changes) > max(v.Bounds.Batch, 1) {
		v.wrong("a call with %d changes, %d are allowed", len(changes), v.Bounds.Batch)
	}
	seen := map[string]bool{}
	for _, c := range changes {
		name := c.AppID
		if action == sink.Upsert {
			name = c.Key.Value.Text()
		}
		if seen[name] {
			v.wrong("record %s twice in a call", name)
		} else {
			seen[name] = true
		}
		if c.AppID == "" && action != sink.Upsert {
			v.wrong("%s without an app id", action)
		}
	}
	fault := None
	if v.Fault != nil {
		fault = v.Fault(v.calls, action, changes)
	}
	switch fault {
	case Busy:
		return nil, sink.RetryAfter(errors.New("too many requests"), 50*time.Millisecond)
	case Drop:
		return nil, sink.Unknown(errors.New("connection reset"))
	case Broken:
		return nil, errors.New("status 500")
	case Halted:
		return nil, sink.Halt(errors.New("token revoked"))
	case Refuse:
		return nil, &sink.BatchError{Code: "VALIDATION", Err: errors.New("something in the batch is wrong")}
	}
	if fault == Late {
		go func() {
			time.Sleep(time.Second)
			v.mu.Lock()
			defer v.mu.Unlock()
			for _, c := range changes {
				v.apply(action, c)
			}
		}()
		return nil, sink.Unknown(errors.New("gateway timeout"))
	}
	results := make([]sink.Result, len(changes))
	for i, c := range changes {
		if fault == Partial && i%2 == 1 {
			results[i].Err = errors.New("status 503")
			continue
		}
		results[i] = v.apply(action, c)
	}
	if fault == DropAfter {
		return nil, sink.Unknown(errors.New("connection reset"))
	}
	return results, nil
}

func (v *Vendor) apply(action sink.Action, c sink.Change) sink.Result {
	if v.Poison != nil && v.Poison(c) {
		return sink.Result{Err: sink.Reject("POISON", errors.New("the vendor does not take this"))}
	}
	id := c.AppID
	if action == sink.Upsert {
		id = v.byKey[c.Key.Value.Text()]
	}
	r := v.records[id]
	if action != sink.Upsert && (r == nil || r.archived) {
		return sink.Result{Err: sink.ErrGone}
	}
	switch action {
	case sink.Archive, sink.Remove:
		delete(v.byKey, r.fields[v.Key])
		delete(v.byMail, strings.ToLower(r.fields[v.Unique]))
		r.archived = true
		if action == sink.Remove {
			delete(v.records, id)
		}
		v.observe(action, r)
		return sink.Result{AppID: id}
	}
	fields := map[string]string{}
	if r != nil {
		maps.Copy(fields, r.fields)
	}
	if action == sink.Upsert {
		fields[v.Key] = c.Key.Value.Text()
	}
	var canon []sink.Field
	for _, f := range c.Fields {
		text := f.Value.Text()
		if v.Canon != nil {
			if text = v.Canon(f.Name, text); text != f.Value.Text() {
				canon = append(canon, sink.Field{Name: f.Name, Value: change.OfString(text)})
			}
		}
		fields[f.Name] = text
	}
	if other := v.byKey[fields[v.Key]]; other != "" && other != id {
		return sink.Result{Err: &sink.ConflictError{AppID: other, Err: errors.New("the key is another record's")}}
	}
	mail := strings.ToLower(fields[v.Unique])
	if v.Unique != "" && mail != "" {
		if other := v.byMail[mail]; other != "" && other != id {
			return sink.Result{Err: &sink.ConflictError{AppID: other, Err: fmt.Errorf("%s is another record's", v.Unique)}}
		}
	}
	created := r == nil
	if created {
		v.next++
		r = &record{id: strconv.Itoa(v.next)}
		v.records[r.id] = r
	} else {
		delete(v.byKey, r.fields[v.Key])
		delete(v.byMail, strings.ToLower(r.fields[v.Unique]))
	}
	r.fields = fields
	if key := fields[v.Key]; key != "" {
		v.byKey[key] = r.id
	}
	if v.Unique != "" && mail != "" {
		v.byMail[mail] = r.id
	}
	v.observe(action, r)
	if v.Silent {
		canon = nil
	}
	return sink.Result{AppID: r.id, Created: created, Stored: canon}
}

func (v *Vendor) observe(action sink.Action, r *record) {
	v.changed(r)
	if v.Observe != nil {
		if err := v.Observe(action, r.id, r.fields); err != nil {
			v.errs = append(v.errs, err)
		}
	}
}

// Read returns records by id or by a field.
func (v *Vendor) Read(ctx context.Context, object, field string, values, fields []string) ([]sink.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reads++
	if len(values) > max(v.Bounds.Read, 1) {
		v.wrong("a read of %d values, %d are allowed", len(values), v.Bounds.Read)
	}
	var out []sink.Record
	for _, r := range v.records {
		have := r.fields[field]
		if field == "id" {
			have = r.id
		} else if r.archived {
			continue
		}
		if slices.ContainsFunc(values, func(s string) bool { return strings.EqualFold(s, have) && s != "" }) {
			named := map[string]string{}
			for _, f := range fields {
				named[f] = r.fields[f]
			}
			out = append(out, sink.Record{ID: r.id, Archived: r.archived, Fields: named, Updated: r.updated})
		}
	}
	return out, nil
}

// Changes returns records as they were after each change, in pages of as many as a read may have.
func (v *Vendor) Changes(ctx context.Context, object, cursor string, fields []string) (sink.Changes, error) {
	if err := ctx.Err(); err != nil {
		return sink.Changes{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if cursor == "" {
		return sink.Changes{Next: strconv.Itoa(len(v.log))}, nil
	}
	v.polls++
	if v.mute != nil {
		return sink.Changes{}, v.mute
	}
	from, err := strconv.Atoi(cursor)
	if err != nil {
		return sink.Changes{}, fmt.Errorf("cursor %q: %w", cursor, err)
	}
	to := min(from+max(v.Bounds.Read, 1), len(v.log))
	return sink.Changes{Records: slices.Clone(v.log[from:to]), Next: strconv.Itoa(to), More: to < len(v.log)}, nil
}

// Mute makes Changes fail; nil: no more.
func (v *Vendor) Mute(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mute = err
}

// Polls returns how often Changes was asked for what has changed.
func (v *Vendor) Polls() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.polls
}

// Live returns the records that are not archived, by their key; those without are under "#" and their id.
func (v *Vendor) Live() map[string]map[string]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[string]map[string]string{}
	for _, r := range v.records {
		if r.archived {
			continue
		}
		key := r.fields[v.Key]
		if key == "" {
			key = "#" + r.id
		}
		if out[key] != nil {
			v.wrong("two records have the key %s", key)
		}
		out[key] = maps.Clone(r.fields)
		out[key]["id"] = r.id
	}
	return out
}

// Add puts a record there as a person would.
func (v *Vendor) Add(fields map[string]string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next++
	r := &record{id: strconv.Itoa(v.next), fields: maps.Clone(fields)}
	v.records[r.id] = r
	if key := fields[v.Key]; key != "" {
		v.byKey[key] = r.id
	}
	if mail := fields[v.Unique]; v.Unique != "" && mail != "" {
		v.byMail[strings.ToLower(mail)] = r.id
	}
	return r.id
}

// Archive takes a record away as a person would.
func (v *Vendor) Archive(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.records[id]
	delete(v.byKey, r.fields[v.Key])
	delete(v.byMail, strings.ToLower(r.fields[v.Unique]))
	r.archived = true
	v.changed(r)
}

// Edit changes fields of a record as a person does.
func (v *Vendor) Edit(id string, fields map[string]string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.records[id]
	if key, there := fields[v.Key]; there {
		delete(v.byKey, r.fields[v.Key])
		v.byKey[key] = id
	}
	now := maps.Clone(r.fields)
	maps.Copy(now, fields)
	r.fields = now
	v.changed(r)
}

// Erase takes a record away for good.
func (v *Vendor) Erase(ctx context.Context, _, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if r := v.records[id]; r != nil {
		if !r.archived {
			delete(v.byKey, r.fields[v.Key])
			delete(v.byMail, strings.ToLower(r.fields[v.Unique]))
		}
		delete(v.records, id)
		v.observe(sink.Remove, r)
	}
	return nil
}

// Calls returns how often Push and Read were called.
func (v *Vendor) Calls() (pushes, reads int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls, v.reads
}

// Created returns how many records were ever made.
func (v *Vendor) Created() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.next
}

// Err returns what was done against the rules.
func (v *Vendor) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return errors.Join(v.errs...)
}

// SetFault changes how calls fail.
func (v *Vendor) SetFault(f func(call int, action sink.Action, changes []sink.Change) Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Fault = f
}

var (
	_ sink.App     = (*Vendor)(nil)
	_ sink.Reader  = (*Vendor)(nil)
	_ sink.Changer = (*Vendor)(nil)
	_ sink.Eraser  = (*Vendor)(nil)
)
