package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// lookUp reads from the app what must be known to decide: the records that are to be changed, and those that rows which
// the state does not know may have.
func (pl *planner) lookUp(ctx context.Context, ours, unknown []*plannedRow) error {
	if pl.reader == nil {
		return nil
	}
	again := func(r *plannedRow) { r.decision = pl.decider.Decide(change.Read, &r.made, r.known) }
	if err := pl.readBack(ctx, "id", ours, func(r *plannedRow) string { return r.known.Shadow.AppID }, func(r *plannedRow, found []sink.Record) {
		r.known.Gone = true
		for i := range found {
			if found[i].ID == r.known.Shadow.AppID && !found[i].Archived {
				r.known.App, r.known.Gone = &found[i], false
			}
		}
		again(r)
	}); err != nil {
		return err
	}
	keyField := pl.program.KeyField()
	if err := pl.readBack(ctx, keyField, unknown, func(r *plannedRow) string { return r.made.Key.Text() }, func(r *plannedRow, found []sink.Record) {
		for i := range found {
			if !found[i].Archived && found[i].Fields[keyField] == r.made.Key.Text() {
				r.known.App = &found[i]
				again(r)
			}
		}
	}); err != nil {
		return err
	}
	var match []*plannedRow
	for _, r := range unknown {
		if value, _ := pl.decider.Matches(&r.made); r.known.App == nil && value != "" {
			match = append(match, r)
		}
	}
	value := func(r *plannedRow) string {
		v, _ := pl.decider.Matches(&r.made)
		return v
	}
	var failed error
	if err := pl.readBack(ctx, pl.program.MatchField(), match, value, func(r *plannedRow, found []sink.Record) {
		_, has := pl.decider.Matches(&r.made)
		found = slices.DeleteFunc(slices.Clone(found), func(f sink.Record) bool { return !has(f) })
		conflict := func(why string) {
			r.decision = sink.Decision{Verdict: sink.WillReject, Reason: "conflict", Message: why}
		}
		switch len(found) {
		case 0:
			return
		case 1:
			owned, err := pl.owned(ctx, found[0].ID)
			failed = errors.Join(failed, err)
			if owned {
				conflict("the app's record with this match value belongs to another key")
				return
			}
			r.known.App = &found[0]
			again(r)
		default:
			conflict("the app has several records with this match value")
		}
	}); err != nil {
		return err
	}
	return failed
}

// owned tells whether an app's record is one of ours.
func (pl *planner) owned(ctx context.Context, appID string) (owned bool, err error) {
	if pl.kept.ID == 0 {
		return false, nil
	}
	err = pl.store.View(ctx, func(tx state.Tx) error {
		owner, err := tx.Owner(pl.kept.ID, appID)
		owned = owner != 0
		return err
	})
	return owned, err
}

// readBack reads the app's records that have rows' values in a field, in as few calls as the app allows, and hands each row
// all that its call has found.
func (pl *planner) readBack(ctx context.Context, field string, rows []*plannedRow, value func(*plannedRow) string, each func(*plannedRow, []sink.Record)) error {
	fields := append([]string{pl.program.KeyField()}, pl.decider.Fills()...)
	if match := pl.program.MatchField(); match != "" {
		fields = append(append(fields, match), pl.program.MatchAlso()...)
	}
	slices.Sort(fields)
	fields = slices.Compact(fields)
	for some := range slices.Chunk(rows, max(1, pl.limits.Read)) {
		var values []string
		for _, r := range some {
			values = append(values, value(r))
		}
		slices.Sort(values)
		found, err := pl.read(ctx, field, slices.Compact(values), fields)
		if err != nil {
			return err
		}
		for _, r := range some {
			each(r, found)
		}
	}
	return nil
}

// appWait is how long an app may be busy while a plan is made.
const appWait = 5 * time.Minute

// read makes one call, at the app's pace, and again when the app is busy.
func (pl *planner) read(ctx context.Context, field string, values, fields []string) ([]sink.Record, error) {
	for end := time.Now().Add(appWait); ; {
		var wait time.Duration
		if pl.limits.Calls > 0 && pl.limits.Window > 0 {
			wait = time.Until(pl.called.Add(pl.limits.Window / time.Duration(pl.limits.Calls)))
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		pl.called = time.Now()
		call, cancel := context.WithTimeout(ctx, time.Minute)
		found, err := pl.reader.Read(call, pl.pipe.To.Object, field, values, fields)
		cancel()
		var busy *sink.RetryError
		switch {
		case err == nil:
			return found, nil
		case !errors.As(err, &busy), time.Now().Add(busy.After).After(end):
			return nil, fmt.Errorf("read %s of app %s: %w", pl.pipe.To.Object, pl.pipe.To.App, err)
		}
		if err := pause(ctx, max(busy.After, 100*time.Millisecond)); err != nil {
			return nil, err
		}
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
