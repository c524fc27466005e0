package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/state"
)

// Status is what `penstock status` and the metrics show.
type Status struct {
	Apps      []AppStatus
	Pipelines []PipelineStatus
}

// AppStatus is one app's.
type AppStatus struct {
	Name string
	// State is open, slowed (calls fail or are limited: next at Next), down (five failed in a row) or stopped (until
	// someone acts).
	State  string
	Detail string    // the last error, without values
	Next   time.Time // of the next call, when it is not now
	Active int       // flights under way
	// QuotaDay and QuotaLeft are the day's quota of calls and what the app last said is left of it, 0 and 0 where it says
	// nothing. QuotaEmpty is when it will be used up at the rate of the last hour, zero: not before it is renewed.
	QuotaDay, QuotaLeft int
	QuotaEmpty          time.Time
	Warnings            []string
}

// PipelineStatus is one pipeline's.
type PipelineStatus struct {
	Name       string
	App        string
	Paused     time.Time // since when, zero: it is not
	Schedule   string    // "" for one that sends at once
	Next       time.Time // tick of the schedule; zero while a run goes on
	Began, End time.Time // of the last run; it goes on when it did not end since it began
	Backfill   Backfill
	Changed    bool // its fingerprint differs from that of the start before
	Ledger     state.Ledger
	Guarded    int64  // stopped by guards
	Reselected int64  // in quarantine until their rows were read again
	Inflight   int    // sent, not answered
	Expired    string // what the quarantine's bounds made drop, within the last day
	Blocked    string // why intake does not take in, "" when it does
	Parents    []ParentWait
	Partitions []PartitionStatus
	Verify     VerifyStatus
}

// VerifyStatus is how far a pipeline has looked for what others do in the app, and what it has found since ever.
type VerifyStatus struct {
	Every        time.Duration // 0: not in rounds
	BeforeWrite  bool
	Began, Ended time.Time // the last round; one that goes on has not ended since it began
	Next         time.Time // round; zero while one goes on
	Detail       string    // why it can't go on
	Looked       int64     // records that the app said were changed
	Edited       int64     // records whose edits were put back, or written over
	Gone         int64     // records that were removed there
	Left         int64     // fields that stay as the app itself writes them
}

// ParentWait is how many records wait for a parent.
type ParentWait struct {
	Name, Pipeline string
	Records        int64
}

// PartitionStatus is how far one partition was taken in.
type PartitionStatus struct {
	Partition int
	Next      int64 // offset
	LastID    string
	Snapshot  string // that has begun and not ended
	Unsettled bool   // one has ended, and it is not known yet what it did not find
}

// Status returns the present state.
func (e *Engine) Status() Status {
	var st Status
	for name, d := range e.apps {
		d.mu.Lock()
		a, now := AppStatus{Name: name, State: "open", Active: d.active}, time.Now()
		if now.Before(d.blocked) {
			a.State, a.Next = "slowed", d.blocked
		}
		down := d.circuitStatus(&a, now)
		d.quota.observe(d.app.Limits(""), now)
		a.QuotaDay, a.QuotaLeft, a.QuotaEmpty = d.quota.day, d.quota.left, d.quota.empty(now)
		if w := d.quota.warning(now); w != "" {
			a.Warnings = append(a.Warnings, w)
		}
		if d.spare {
			a.State, a.Next = "slowed", d.asked.Add(quotaProbe)
			a.Detail = fmt.Sprintf("%d calls of the day's quota are left, which are the reserve of others", d.quota.left)
		}
		if down {
			a.State = "down"
		}
		if d.halted != nil {
			a.State, a.Detail = "stopped", d.halted.Error()
		}
		d.mu.Unlock()
		st.Apps = append(st.Apps, a)
	}
	sort.Slice(st.Apps, func(i, j int) bool { return st.Apps[i].Name < st.Apps[j].Name })
	for _, p := range e.order {
		st.Pipelines = append(st.Pipelines, p.status())
	}
	return st
}

// circuitStatus adds how calls for the app's objects go, and tells whether it is down; the caller holds mu. An app is down
// with one of its objects, and the detail then names that one, when others are not.
func (d *dispatcher) circuitStatus(a *AppStatus, now time.Time) (down bool) {
	var failing []string
	for _, object := range slices.Sorted(maps.Keys(d.circuits)) {
		c := d.circuits[object]
		if c.last == nil {
			continue
		}
		failing = append(failing, object)
		down = down || c.failures >= downAfter
		a.Detail = c.last.Error()
		if now.Before(c.blocked) && (a.Next.IsZero() || c.blocked.Before(a.Next)) {
			a.State, a.Next = "slowed", c.blocked
		}
	}
	if len(failing) > 0 && len(failing) < len(d.circuits) {
		a.Detail = strings.Join(failing, ", ") + ": " + a.Detail
	}
	return down
}

func (p *Pipeline) status() PipelineStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PipelineStatus{Name: p.spec.Name, App: p.spec.App, Changed: p.changed, Ledger: p.ledger, Inflight: len(p.inflight), Guarded: p.guarded()}
	p.timing(&s)
	s.Verify = p.verifyStatus()
	s.Parents = p.waitsFor(context.Background())
	s.Backfill = p.backfill()
	s.Reselected, _ = p.reselecting(context.Background()) // an error of the state ends the process elsewhere
	if time.Since(p.expiredAt) < 24*time.Hour {
		s.Expired = p.expiredBy
	}
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	for n, part := range p.parts {
		s.Partitions = append(s.Partitions, PartitionStatus{n, part.pos.Offset, part.pos.LastID.String(), part.pos.Snapshot, part.pos.Unsettled()})
		if part.blocked != "" {
			s.Blocked = part.blocked
		}
	}
	sort.Slice(s.Partitions, func(i, j int) bool { return s.Partitions[i].Partition < s.Partitions[j].Partition })
	return s
}

// timing says when a pipeline sends; the caller holds mu.
func (p *Pipeline) timing(s *PipelineStatus) {
	at := func(ms int64) time.Time {
		if ms == 0 {
			return time.Time{}
		}
		return time.UnixMilli(ms).UTC()
	}
	s.Paused = at(p.delivery.Paused)
	if p.spec.Schedule == nil {
		return
	}
	s.Schedule, s.Began, s.End = p.spec.Schedule.String(), at(p.delivery.Started), at(p.delivery.Ended)
	if !p.going() {
		s.Next = p.due
	}
}

// guarded counts what guards hold back; the caller holds mu.
func (p *Pipeline) guarded() int64 {
	n := p.queued[state.Guarded]
	for q, rows := range p.queued {
		if q := state.Queue(q); q.Ready() && !q.Approved() && p.guards[q.Kind()].Tripped {
			n += rows
		}
	}
	return n
}

// Progress says how far a pipeline is from a goal.
type Progress struct {
	TakenIn bool  // all partitions are at the goal, and what ended snapshots did not find is known
	Waiting int64 // wanted states that can be sent and are not answered
	Paused  bool  // by a person: what waits is accounted for
	// What waits for a person or another event: it is accounted for, and does not keep a pipeline from being caught up.
	Held, Guarded, Parked, Rejected int64
}

// CaughtUp tells whether all is sent or accounted for.
func (p Progress) CaughtUp() bool { return p.TakenIn && p.Waiting == 0 }

// Progress compares a pipeline with a goal: the next offset of each partition.
func (e *Engine) Progress(pipeline string, goal map[int]int64) (Progress, error) {
	p, err := e.find(pipeline)
	if err != nil {
		return Progress{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	g := Progress{TakenIn: true, Held: p.queued[state.Held] + p.queued[state.Guarded], Guarded: p.guarded(), Parked: p.queued[state.Waiting] + p.between.waiting(),
		Rejected: p.ledger.Rejected - p.ledger.Dropped}
	for number, next := range goal {
		part := p.partition(number)
		if part == nil && next > 0 || part != nil && part.pos.Offset < next {
			g.TakenIn = false
		}
	}
	g.TakenIn = g.TakenIn && !p.anywhere(func(part *partition) bool { return part.pos.Unsettled() })
	g.Waiting = p.ledger.Pending - (g.Guarded - p.queued[state.Guarded])
	rereads, err := p.reselecting(context.Background())
	if err != nil {
		return g, err
	}
	if g.Paused = p.delivery.Paused != 0; g.Paused {
		g.Waiting = int64(len(p.inflight))
	}
	g.Waiting += rereads
	due, err := p.awaits(context.Background())
	if err != nil {
		return g, err
	}
	if due {
		g.Waiting++
	}
	return g, nil
}

// Taken returns the next offset of each partition that a pipeline takes in.
func (e *Engine) Taken(pipeline string) (map[int]int64, error) {
	p, err := e.find(pipeline)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	out := map[int]int64{}
	for n, part := range p.parts {
		out[n] = part.pos.Offset
	}
	return out, nil
}

// LedgerError says how ledgers do not add up.
type LedgerError struct{ text string }

func (e *LedgerError) Error() string { return e.text }

// Recount counts the ledgers anew from what is kept and returns a *LedgerError that says where they differ.
func (e *Engine) Recount(ctx context.Context, pipeline string) error {
	p, err := e.find(pipeline)
	if err != nil {
		return fmt.Errorf("recount: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.ledger.Check(); err != nil {
		return &LedgerError{fmt.Sprintf("recount %s: %v", pipeline, err)}
	}
	var have state.Ledger
	wanted := map[int64]*state.Pending{}
	err = e.o.Store.View(ctx, func(tx state.Tx) error {
		count := func(w *state.Pending) {
			switch w.Queue {
			case state.Held, state.Guarded:
				have.Held++
			case state.Waiting:
				have.Waiting++
			default:
				have.Pending++
			}
		}
		if err := tx.Intents(p.id, func(in *state.Intent) error {
			for _, w := range in.Items {
				count(w)
				wanted[w.Record] = w
			}
			return nil
		}); err != nil {
			return err
		}
		if err := scan(func(after int64, limit int) (int64, int, error) {
			n := 0
			err := tx.ScanPending(p.id, after, limit, func(w *state.Pending) error {
				count(w)
				wanted[w.Record] = w
				after = w.Record
				n++
				return nil
			})
			return after, n, err
		}); err != nil {
			return err
		}
		if err := scan(func(after int64, limit int) (int64, int, error) {
			n := 0
			err := tx.ScanQuarantine(p.id, after, limit, func(q *state.Quarantine) error {
				have.Rejected++
				after = q.ID
				n++
				return nil
			})
			return after, n, err
		}); err != nil {
			return err
		}
		if err := tx.Deferred(p.id, func(*state.Deferred) error {
			have.Waiting++
			return nil
		}); err != nil {
			return err
		}
		return scan(func(after int64, limit int) (int64, int, error) {
			n := 0
			err := tx.ScanShadows(p.id, after, limit, func(s *state.Shadow) error {
				r := rec{sh: s, pd: wanted[s.ID]}
				*keyCount(&have.Keys, r.state())++
				if s.Standing == state.InApp {
					have.Keys.InApp++
				}
				after = s.ID
				n++
				return nil
			})
			return after, n, err
		})
	})
	if err != nil {
		return fmt.Errorf("recount %s: %w", pipeline, err)
	}
	l := p.ledger
	if have.Pending != l.Pending || have.Held != l.Held || have.Waiting != l.Waiting || have.Rejected != l.Rejected-l.Dropped || have.Keys != l.Keys {
		return &LedgerError{fmt.Sprintf("recount %s: kept: pending %d, held %d, waiting %d, rejected %d, keys %+v; ledger: pending %d, held %d, waiting %d, rejected %d (%d dropped), keys %+v",
			pipeline, have.Pending, have.Held, have.Waiting, have.Rejected, have.Keys, l.Pending, l.Held, l.Waiting, l.Rejected, l.Dropped, l.Keys)}
	}
	return nil
}

// scan calls page, which returns the last ID it saw and how many rows it got, until it gets fewer than it may.
func scan(page func(after int64, limit int) (int64, int, error)) error {
	const limit = 500
	for after := int64(0); ; {
		next, n, err := page(after, limit)
		if err != nil || n < limit {
			return err
		}
		after = next
	}
}
