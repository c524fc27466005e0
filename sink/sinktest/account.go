package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/sink"
)

// Account is an app in memory with several objects, each a Vendor, and associations between their records.
type Account struct {
	Bounds  sink.Limits
	Objects map[string]*Vendor
	// Fault chooses how a call of Associate fails; nil: none does. Partial: half of the pairs fail with a plain error.
	Fault func(call int, a sink.Associations) Fault

	mu    sync.Mutex
	links map[link]struct{}
	calls int
	pairs int
	errs  []error
}

// link is one association.
type link struct{ from, fromID, to, toID, kind string }

// NewAccount makes an account; its vendors keep bounds.
func NewAccount(bounds sink.Limits, objects map[string]*Vendor) *Account {
	for _, v := range objects {
		v.Bounds = bounds
	}
	return &Account{Bounds: bounds, Objects: objects, links: map[link]struct{}{}}
}

// Limits says how the account wants to be called.
func (a *Account) Limits(string) sink.Limits { return a.Bounds }

// Ping never fails.
func (a *Account) Ping(context.Context) error { return nil }

// Push is the vendor's.
func (a *Account) Push(ctx context.Context, object string, action sink.Action, changes []sink.Change) ([]sink.Result, error) {
	return a.Objects[object].Push(ctx, object, action, changes)
}

// Read is the vendor's.
func (a *Account) Read(ctx context.Context, object, field string, values, fields []string) ([]sink.Record, error) {
	return a.Objects[object].Read(ctx, object, field, values, fields)
}

// Erase is the vendor's.
func (a *Account) Erase(ctx context.Context, object, id string) error {
	return a.Objects[object].Erase(ctx, object, id)
}

// Associate makes and takes away associations as Fault says.
func (a *Account) Associate(ctx context.Context, all sink.Associations) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	a.pairs += len(all.Pairs)
	if len(all.Pairs) > max(a.Bounds.Associate, 1) {
		a.errs = append(a.errs, fmt.Errorf("a call with %d associations, %d are allowed", len(all.Pairs), a.Bounds.Associate))
	}
	fault := None
	if a.Fault != nil {
		fault = a.Fault(a.calls, all)
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
			a.mu.Lock()
			defer a.mu.Unlock()
			a.apply(all, None)
		}()
		return nil, sink.Unknown(errors.New("gateway timeout"))
	}
	errs := a.apply(all, fault)
	if fault == DropAfter {
		return nil, sink.Unknown(errors.New("connection reset"))
	}
	return errs, nil
}

// apply does what can be done.
func (a *Account) apply(all sink.Associations, fault Fault) []error {
	errs := make([]error, len(all.Pairs))
	for i, p := range all.Pairs {
		l := link{all.From, p.From, all.To, p.To, all.Kind}
		switch {
		case fault == Partial && i%2 == 1:
			errs[i] = errors.New("status 503")
		case !a.Objects[all.From].has(p.From) || !a.Objects[all.To].has(p.To):
			errs[i] = sink.ErrGone
		case all.Remove:
			delete(a.links, l)
		default:
			a.links[l] = struct{}{}
		}
	}
	return errs
}

// Linked returns the associations of the records that are there, as "deals/1 contacts/2", sorted; a record that is not there
// has none any more.
func (a *Account) Linked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for l := range a.links {
		if a.Objects[l.from].has(l.fromID) && a.Objects[l.to].has(l.toID) {
			text := l.from + "/" + l.fromID + " " + l.to + "/" + l.toID
			if l.kind != "" {
				text += " " + l.kind
			}
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return all
}

// Associated returns how often Associate was called, and with how many pairs in all.
func (a *Account) Associated() (calls, pairs int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls, a.pairs
}

// SetFault changes how calls of Associate fail.
func (a *Account) SetFault(f func(call int, all sink.Associations) Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Fault = f
}

// Err returns what was done against the rules.
func (a *Account) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	errs := slices.Clone(a.errs)
	for _, v := range a.Objects {
		errs = append(errs, v.Err())
	}
	return errors.Join(errs...)
}

// has tells whether a record is there and not archived.
func (v *Vendor) has(id string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.records[id]
	return r != nil && !r.archived
}

var (
	_ sink.App        = (*Account)(nil)
	_ sink.Reader     = (*Account)(nil)
	_ sink.Eraser     = (*Account)(nil)
	_ sink.Associator = (*Account)(nil)
)
