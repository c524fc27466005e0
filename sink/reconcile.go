package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// Table reads a pipeline's table whole, for Reconcile.
type Table interface {
	Rows
	// Scan hands over all rows, a page at a time, as snapshot events.
	Scan(ctx context.Context, page func([]*Message) error) error
	// Find is Rows by message key.
	Find(ctx context.Context, keys [][]byte) (rows map[string]*Message, ends func(context.Context) (map[int]int64, error), err error)
}

// Drift is how a record is not as it should be.
type Drift string

// The kinds of drift.
const (
	RowMissing  Drift = "row_missing"  // a row of the pipeline's, and no record
	RowDiffers  Drift = "row_differs"  // the pipeline makes other values of the row than were sent
	RowLeft     Drift = "row_left"     // `where` is false, and the app has a record
	RowGone     Drift = "row_gone"     // the source has no row, and the app has a record
	AppMissing  Drift = "app_missing"  // the app has lost the record
	AppArchived Drift = "app_archived" // someone archived it there
	AppDiffers  Drift = "app_differs"  // the app has other values than it took over
)

// Drifts are all kinds, in the order in which they are looked for.
var Drifts = []Drift{RowMissing, RowDiffers, RowLeft, RowGone, AppMissing, AppArchived, AppDiffers}

// ofApp tells whether it is between state and app, not between database and state.
func (d Drift) ofApp() bool { return d == AppMissing || d == AppArchived || d == AppDiffers }

// DriftRef names one record that drifts: by its row's key, or for what is in the app by its number.
type DriftRef struct {
	Kind   Drift  `json:"k"`
	Record int64  `json:"r,omitempty"`
	Key    []byte `json:"y,omitempty"`
}

// DriftExample is one record that drifts, with what differs.
type DriftExample struct {
	Kind   Drift
	Key    []byte // of the row, JSON; nil while it is between two keys
	Fields []DriftField
}

// DriftField is a field that differs.
type DriftField struct {
	Name       string
	Want, Have change.Value // Unchanged: not known
	PII        bool
}

// ReconcileOptions says how to go about it.
type ReconcileOptions struct {
	CallsPerSecond float64 // to the app; 0: a tenth of what it allows
	Examples       int     // of each kind
	// Only are the records to look at, Repair asks to have those of them that still drift put right.
	Only   []DriftRef
	Repair bool
	// Progress is told how far a stage is; nil: nobody is.
	Progress func(stage string, done int64)
}

// Reconciled is what was found.
type Reconciled struct {
	Pipeline string
	Ledger   state.Ledger
	Wrong    string // how the ledgers do not add up, "" when they do
	// Rows of the table, Records of the state and InApp records read back were looked at, with Calls.
	Rows, Records, InApp, Calls int64
	// Apart counts what is no drift: on its way, held, refused, or changing too fast to be compared.
	Apart    map[string]int64
	Drift    map[Drift]int64
	Examples []DriftExample
	// Refs name what drifts, up to maxRefs; More: there is more.
	Refs []DriftRef
	More bool
	// Unchecked says what was not looked at, and why.
	Unchecked []string
	// Behind: the source has changes that are not taken in, since nothing runs: they look like drift.
	Behind bool
	Plan   RepairPlan
	// Repaired counts what was put among the pending.
	Repaired int64
}

// RepairPlan is what a repair would send.
type RepairPlan struct {
	Changes, Creates, Removals int64
	Held, Forgotten            int64    // removed in the app by others: as `on "app_delete"` says
	Guards                     []string // that would stop it
}

// Total counts all that drifts.
func (r *Reconciled) Total() (n int64) {
	for _, c := range r.Drift {
		n += c
	}
	return n
}

// maxRefs and maxRefBytes bound what one repair is about: it goes through memory and the control socket.
const (
	maxRefs     = 10_000
	maxRefBytes = 400_000
)

// reconciler compares one pipeline with its database and its app.
type reconciler struct {
	p        *Pipeline
	o        ReconcileOptions
	out      *Reconciled
	table    Table
	eval     *partition
	seen     bits // records whose row was read
	examples map[Drift]int
	refBytes int
	paceAt   time.Time // of the next call
	verifies bool      // for a round of verify
	running  bool
}

// bits is a set of small numbers.
type bits []uint64

func (b *bits) add(n int64) {
	for int64(len(*b)) <= n/64 {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bits) has(n int64) bool { return n/64 < int64(len(b)) && b[n/64]&(1<<(n%64)) != 0 }

// Reconcile compares a pipeline's ledgers with what they count, its records with the rows they are of, and with what
// the app has. What is on its way is no drift. It changes nothing, unless it is to repair: then what drifts becomes
// wanted again, and is sent as any change is.
func (e *Engine) Reconcile(ctx context.Context, pipeline string, o ReconcileOptions) (*Reconciled, error) {
	p, err := e.find(pipeline)
	if err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	if !p.reconciling.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("reconcile %s: it is being reconciled already", pipeline)
	}
	defer p.reconciling.Store(false)
	p.d.mu.Lock()
	running := p.d.running
	p.d.mu.Unlock()
	c := &reconciler{p: p, o: o, running: running, examples: map[Drift]int{},
		out:  &Reconciled{Pipeline: pipeline, Apart: map[string]int64{}, Drift: map[Drift]int64{}},
		eval: &partition{topic: p.spec.Topic, worker: p.spec.Program.NewWorker(), decoder: change.NewDecoder()}}
	c.table, _ = p.spec.Rows.(Table)
	if c.o.Progress == nil {
		c.o.Progress = func(string, int64) {}
	}
	if err := c.ledgers(ctx); err != nil {
		return nil, err
	}
	for _, stage := range []func(context.Context) error{c.rows, c.app} {
		if err := stage(ctx); err != nil {
			return nil, fmt.Errorf("reconcile %s: %w", pipeline, err)
		}
	}
	c.plan()
	p.d.wake()
	return c.out, nil
}

// ledgers proves the ledgers by what is kept.
func (c *reconciler) ledgers(ctx context.Context) error {
	c.o.Progress("ledgers", 0)
	err := c.p.e.Recount(ctx, c.p.spec.Name)
	var wrong *LedgerError
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	if wrong != nil {
		c.out.Wrong = wrong.Error()
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.out.Ledger = c.p.ledger
	return nil
}

// view reads records, by key and by number, as they are now.
func (p *Pipeline) view(ctx context.Context, keys [][]byte, ids []int64, f func(*unit) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.e.o.Store.View(ctx, func(tx state.Tx) error {
		u := &unit{p: p, tx: tx, now: time.Now().UnixMilli(), ledger: p.ledger, queued: p.queued, guards: p.guards, left: p.left,
			recs: map[int64]*rec{}, byKey: map[string]*rec{}}
		if err := u.load(keys); err != nil {
			return err
		}
		if err := u.loadByID(ids); err != nil {
			return err
		}
		return f(u)
	})
}

// apart says why a record can't drift now; "": it can.
func (u *unit) apart(key []byte, r *rec) string {
	b := u.keys()
	switch {
	case key != nil && u.isForgotten(key):
		return "forgotten"
	case key != nil && (len(b.late[string(key)]) > 0 || b.displaced[string(key)] != nil):
		return "waiting"
	case r == nil:
		return ""
	case r.sh.Key == nil || u.moving(r.sh.ID):
		return "waiting"
	case r.fl != nil:
		return "pending"
	}
	switch r.state() {
	case keyPending, keyUnknown:
		return "pending"
	case keyHeld:
		return "held"
	case keyWaiting:
		return "waiting"
	case keyRejected:
		return "rejected"
	}
	if r.sh.Standing == state.Forgotten {
		return "forgotten"
	}
	return ""
}

// found notes a record that drifts.
func (c *reconciler) found(ref DriftRef, key []byte, fields []DriftField) {
	c.out.Drift[ref.Kind]++
	if c.examples[ref.Kind] < c.o.Examples {
		c.examples[ref.Kind]++
		c.out.Examples = append(c.out.Examples, DriftExample{ref.Kind, key, fields})
	}
	if n := len(ref.Key) + 16; len(c.out.Refs) < maxRefs && c.refBytes+n <= maxRefBytes {
		c.refBytes += n
		c.out.Refs = append(c.out.Refs, ref)
	} else {
		c.out.More = true
	}
}

// plan says what a repair would send, and whether a guard would stop it.
func (c *reconciler) plan() {
	p, plan := c.p, &c.out.Plan
	var queue [state.Kinds]int64
	for kind, n := range c.out.Drift {
		switch kind {
		case RowMissing:
			plan.Creates += n
			queue[state.Create] += n
		case RowDiffers, AppDiffers:
			plan.Changes += n
			queue[state.Change] += n
		case RowLeft, RowGone:
			plan.Removals += n
			queue[state.Delete] += n
		case AppMissing, AppArchived:
			switch p.spec.OnAppDelete {
			case "recreate":
				plan.Creates += n
				queue[state.Create] += n
			case "forget":
				plan.Forgotten += n
			default:
				plan.Held += n
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	u := &unit{p: p, ledger: p.ledger, now: time.Now().UnixMilli()}
	for k := range state.Kind(state.Kinds) {
		limit := u.limit(k)
		if limit < 0 || queue[k] == 0 {
			continue
		}
		waits := p.queued[state.QueueOf(k, state.Live, false)] + p.queued[state.QueueOf(k, state.Backfill, false)]
		if sent := hour(&p.guards[k], u.now); queue[k]+waits+sent > limit {
			plan.Guards = append(plan.Guards, fmt.Sprintf("%s: %d more with %d that wait and %d of the last hour are over the limit of %d: nothing of them is sent before penstock guard approve", k, queue[k], waits, sent, limit))
		}
	}
}
