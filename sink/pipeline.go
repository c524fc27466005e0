package sink

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// queues is one more than the highest state.Queue.
const queues = int(state.Waiting) + 1

// Pipeline is one pipeline's intake and what dispatch needs of it. It takes in
// messages as a stream.Consumer does: see there for who calls Assign, Take and Idle.
type Pipeline struct {
	e      *Engine
	d      *dispatcher
	spec   Spec
	id     int64
	fields []FieldSpec
	whole  bool // see Limits
	layout int  // the present one, an index of layouts
	print  string
	// changed: the fingerprint differs from that of the last start.
	changed bool

	// mu is held while a batch is taken in, claimed or recorded, transaction included. It
	// is taken before a dispatcher's.
	mu      sync.Mutex
	layouts [][]string
	ledger  state.Ledger
	queued  [queues]int64 // rows of pending by queue
	guards  [state.Kinds]state.Guard
	between *between
	left    int64 // noted keys: see leaves
	// inflight has by record what is among the intents.
	inflight map[int64]*item
	// adopting has the app ids that flights are about to adopt, by record.
	adopting map[string]int64
	// forgotten has the tombstones of keys: see Forget.
	forgotten map[[32]byte]struct{}
	// closed: nothing may be sent, by delivery and schedule; set by gate.
	closed   atomic.Bool
	delivery state.Delivery
	due      time.Time // the schedule's next tick
	run      run
	// Of rows that are read again: the entries that were read in vain; lack: there are more.
	rereads map[int64]reread
	lack    chan struct{}
	unread  string    // why rows can't be read again; reselect's own
	turn    int       // which of kindOrder is first to go out
	linger  time.Time // when the oldest waiting row may wait no longer
	retry   time.Time // when the first record that failed by itself may be tried again

	verified   state.Verify
	noted      map[int64]string // edits that were noted and are about to be written over, by record
	unverified string           // why rounds of verify can't go on

	// reconciling: one Reconcile goes on; touched has the keys of events taken in while it looks.
	reconciling atomic.Bool
	touched     map[string]struct{}

	parents  []*parent
	children []*Pipeline // of which it is a parent
	// arrived: references may be due, or when the next one is is not known; nextAwait is that, Unix ms, the dispatcher's own.
	arrived   atomic.Bool
	nextAwait int64

	parts   map[int]*partition
	partsMu sync.Mutex
	ended   chan struct{} // a snapshot has ended in a partition: see sweeper
	// expiredBy says what the quarantine's bounds made drop last, at expiredAt.
	expiredBy string
	expiredAt time.Time
}

// partition is one partition's intake.
type partition struct {
	topic      string
	number     int
	generation int64
	pos        state.Position
	sweeping   bool // with pos.End: some of the snapshot's deletes may have been made; the pipeline's mu's
	worker     Worker
	decoder    *change.Decoder
	made       Made
	event      change.Event
	taken      []taken
	idleAt     time.Time // when it had last nothing to read
	blocked    string    // why it does not take in now
}

func newPipeline(e *Engine, d *dispatcher, spec Spec) *Pipeline {
	if spec.Partitions == 0 {
		spec.Partitions = 1
	}
	return &Pipeline{
		e: e, d: d, spec: spec, fields: spec.Program.Fields(), whole: d.app.Limits(spec.Object).Whole, print: spec.Program.Fingerprint(),
		between: newBetween(), inflight: map[int64]*item{}, adopting: map[string]int64{}, forgotten: map[[32]byte]struct{}{}, rereads: map[int64]reread{}, noted: map[int64]string{}, lack: make(chan struct{}, 1), ended: make(chan struct{}, 1), parts: map[int]*partition{},
	}
}

// open reads the pipeline's state, and makes wanted states of the intents that a crash left.
func (p *Pipeline) open(ctx context.Context) error {
	names := make([]string, len(p.fields))
	for i, f := range p.fields {
		names[i] = f.Name
	}
	var intents []*state.Intent
	var deferred []*state.Deferred
	err := p.e.o.Store.Update(ctx, func(tx state.Tx) error {
		st, err := tx.Pipeline(p.spec.Name)
		if err != nil {
			return err
		}
		p.id, p.ledger, p.layouts = st.ID, st.Ledger, st.Layouts
		p.changed = st.Fingerprint != "" && st.Fingerprint != p.print
		p.layout = slices.IndexFunc(p.layouts, func(l []string) bool { return slices.Equal(l, names) })
		if p.layout < 0 {
			p.layout = len(p.layouts)
			p.layouts = append(p.layouts, names)
		}
		if err := tx.PutPipeline(p.row()); err != nil {
			return err
		}
		if err := tx.Intents(p.id, func(in *state.Intent) error {
			intents = append(intents, in)
			return nil
		}); err != nil {
			return err
		}
		for k := range p.guards {
			if p.guards[k], err = tx.Guard(p.id, state.Kind(k)); err != nil {
				return err
			}
		}
		kept, err := tx.Delivery(p.id)
		if err != nil {
			return err
		}
		if p.verified, err = tx.Verify(p.id); err != nil {
			return err
		}
		p.delivery = p.since(kept, st.Fingerprint)
		if p.spec.Schedule != nil && kept.Since == 0 {
			p.delivery.Since = time.Now().UnixMilli()
		}
		if p.delivery != kept {
			if err := tx.PutDelivery(p.id, &p.delivery); err != nil {
				return err
			}
		}
		counts, err := tx.PendingCounts(p.id)
		for q, n := range counts {
			p.queued[q] = n
		}
		if err != nil {
			return err
		}
		seq, err := tx.MaxSeq()
		if err != nil {
			return err
		}
		p.e.seq.Store(max(p.e.seq.Load(), seq))
		if p.left, err = tx.LeavingCount(p.id); err != nil {
			return err
		}
		if err := tx.Deferred(p.id, func(d *state.Deferred) error {
			deferred = append(deferred, d)
			return nil
		}); err != nil {
			return err
		}
		if err := tx.Forgotten(p.id, func(h [32]byte) { p.forgotten[h] = struct{}{} }); err != nil {
			return err
		}
		return tx.Moves(p.id, func(m *state.Move) error {
			p.between.add(m)
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, row := range deferred {
		t, err := p.anew(ctx, row.Event, row.Partition)
		if err != nil {
			return err
		}
		p.between.put(&late{row, t})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.d.waiting.Add(p.sendable())
	p.gate()
	for _, in := range intents {
		if err := p.settle(ctx, in); err != nil {
			return err
		}
	}
	p.e.failpoint("start.after_intents")
	if p.changed {
		if err := p.lapse(ctx); err != nil {
			return err
		}
		if err := p.reevaluate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle turns a crashed process's intent into wanted states that are marked unknown.
func (p *Pipeline) settle(ctx context.Context, in *state.Intent) error {
	return p.update(ctx, "", "", func(u *unit) error {
		ids := make([]int64, len(in.Items))
		for i, w := range in.Items {
			ids[i] = w.Record
			p.e.seq.Store(max(p.e.seq.Load(), w.Seq))
		}
		if err := u.loadByID(ids); err != nil {
			return err
		}
		for _, w := range in.Items {
			r := u.recs[w.Record]
			if r == nil {
				return fmt.Errorf("settle intent %d: record %d is not there", in.ID, w.Record)
			}
			sent, err := u.sentKey(r, w)
			if err != nil {
				return err
			}
			var key change.Value
			if sent {
				key = w.Key
			}
			if err := u.unanswered(r, w, key); err != nil {
				return err
			}
			r.mayHaveLinks(w.Links)
			w.Links = nil
			removal := w.RemovalSent || w.Want.Removes()
			if r.pd != nil {
				u.ledger.Pending--
				u.ledger.Superseded++
				r.pd.Unknown, r.pd.RemovalSent, r.pd.Due = true, removal, u.late()
				u.passOver(r, w)
				u.putPending(r, r.pd)
				continue
			}
			r.before = keyPending
			if w.Unknown {
				r.before = keyUnknown
			}
			w.Unknown, w.RemovalSent, w.Due = true, removal, u.late()
			if r.outdates(w) {
				u.ledger.Pending--
				u.ledger.Superseded++
				u.settleLater(r, w, w.EventID, w.Time)
				continue
			}
			u.putPending(r, w)
		}
		return u.tx.DeleteIntent(p.id, in.ID)
	})
}

func (p *Pipeline) row() *state.Pipeline {
	return &state.Pipeline{ID: p.id, Name: p.spec.Name, Fingerprint: p.print, Layouts: p.layouts, Ledger: p.ledger}
}

// remap lays values of an older layout out as the present one has them.
func (p *Pipeline) remap(layout int, values []change.Value) []change.Value {
	if layout == p.layout && len(values) == len(p.fields) {
		return values
	}
	out := make([]change.Value, len(p.fields))
	for i, f := range p.fields {
		out[i] = change.Of(change.Unchanged, "")
		if layout < len(p.layouts) {
			if j := slices.Index(p.layouts[layout], f.Name); j >= 0 && j < len(values) {
				out[i] = values[j]
			}
		}
	}
	return out
}

// present brings a shadow to the present layout.
func (p *Pipeline) present(s *state.Shadow) {
	if s.Layout == p.layout {
		return
	}
	old := p.layouts[s.Layout]
	var stored []state.Stored
	for _, f := range s.Stored {
		if j := slices.IndexFunc(p.fields, func(n FieldSpec) bool { return n.Name == old[f.Field] }); j >= 0 {
			stored = append(stored, state.Stored{Field: j, Text: f.Text})
		}
	}
	if len(s.Sent) > 0 {
		s.Sent = p.remap(s.Layout, s.Sent)
	}
	s.Stored, s.PutBack, s.Layout = stored, nil, p.layout
}

// Changed tells whether the pipeline's fingerprint differs from that of the last start.
func (p *Pipeline) Changed() bool { return p.changed }

// Name returns the pipeline's name.
func (p *Pipeline) Name() string { return p.spec.Name }
