package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// takeSize is how many messages one transaction takes in.
const takeSize = 1000

// taken is one message, decoded and transformed: what intake decides about.
type taken struct {
	id      change.ID
	op      change.Op
	marker  *change.Marker
	skip    bool // a tombstone, or nothing for this pipeline
	offset  int64
	key     []byte
	outcome Outcome
	reason  string
	message string
	appKey  change.Value
	match   change.Value
	fields  []change.Value
	event   []byte
	partial bool           // the database left out values that did not change
	known   []change.Value // of fields, from events of the row that were refused: see complete
	gap     bool           // values that it leaves out may have changed in an event that the app was not given
	time    int64
	moved   bool // a delete whose key goes on to another
	claims  bool // a create whose key was another: oldKey
	oldKey  []byte
	newKey  []byte // of moved
}

// Assign says where to read a partition from.
func (p *Pipeline) Assign(ctx context.Context, topic string, number int, generation int64) (int64, error) {
	if topic != p.spec.Topic {
		return 0, fmt.Errorf("assign partition: pipeline %s reads topic %s, not %s", p.spec.Name, p.spec.Topic, topic)
	}
	part := &partition{topic: topic, number: number, generation: generation, worker: p.spec.Program.NewWorker(), decoder: change.NewDecoder()}
	p.mu.Lock()
	defer p.mu.Unlock()
	offset := int64(-1)
	err := p.e.o.Store.Update(ctx, func(tx state.Tx) error {
		pos, err := tx.Position(p.id, topic, number)
		if err != nil {
			return err
		}
		if pos.Generation > generation {
			return fmt.Errorf("assign %s/%d: %w", topic, number, state.ErrStale)
		}
		part.pos = pos
		if pos.Offset == 0 && pos.LastID.IsZero() {
			return nil
		}
		offset = pos.Offset
		// The generation is written at once, so that a former owner is refused from here on.
		to := pos
		to.Generation = generation
		part.pos = to
		return tx.Advance(p.id, &pos, &to)
	})
	if err != nil {
		return 0, err
	}
	p.partsMu.Lock()
	p.parts[number] = part
	p.partsMu.Unlock()
	return offset, nil
}

func (p *Pipeline) partition(number int) *partition {
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	return p.parts[number]
}

// Idle notes that a partition has nothing to read.
func (p *Pipeline) Idle(ctx context.Context, topic string, number int, next int64) error {
	part := p.partition(number)
	if part == nil || part.topic != topic {
		return fmt.Errorf("idle %s/%d: it was not assigned", topic, number)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	part.idleAt = time.Now()
	if next > part.pos.Offset {
		if err := p.advance(ctx, part, next); err != nil {
			return err
		}
	}
	return p.expireMoves(ctx)
}

// advance moves the position past what is not for us (control records, a trimmed end).
func (p *Pipeline) advance(ctx context.Context, part *partition, next int64) error {
	to := part.pos
	to.Offset, to.Generation = next, part.generation
	err := p.e.o.Store.Update(ctx, func(tx state.Tx) error { return tx.Advance(p.id, &part.pos, &to) })
	if err == nil {
		part.pos = to
	}
	return err
}

// Take takes in consecutive messages of a partition. What it decides about each key, and the position, are
// one transaction per takeSize messages.
func (p *Pipeline) Take(ctx context.Context, topic string, number int, messages []Message) error {
	part := p.partition(number)
	if part == nil || part.topic != topic {
		return fmt.Errorf("take in %s/%d: it was not assigned", topic, number)
	}
	for len(messages) > 0 {
		if err := p.room(ctx, part); err != nil {
			return err
		}
		n := min(len(messages), takeSize)
		if err := p.prepare(ctx, part, messages[:n]); err != nil {
			return err
		}
		if err := p.takeIn(ctx, part, messages[n-1].Offset+1); err != nil {
			return err
		}
		messages = messages[n:]
	}
	return nil
}

// room waits while the disk's reserve is used up.
func (p *Pipeline) room(ctx context.Context, part *partition) error {
	for {
		err := p.e.o.Store.Space()
		p.partsMu.Lock()
		was := part.blocked
		part.blocked = ""
		if err != nil {
			part.blocked = err.Error()
		}
		p.partsMu.Unlock()
		if err == nil {
			return nil
		}
		if was == "" {
			p.e.log.Error("intake stopped", "pipeline", p.spec.Name, "partition", part.number, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// prepare decodes and transforms messages, with no lock held.
func (p *Pipeline) prepare(ctx context.Context, part *partition, messages []Message) error {
	part.taken = part.taken[:0]
	last := part.pos.LastID
	// All texts of the batch are in one string, all fields in one slice.
	for i := range messages {
		m := &messages[i]
		if m.Offset < part.pos.Offset {
			continue
		}
		part.taken = append(part.taken, taken{offset: m.Offset, key: m.Key})
		t := &part.taken[len(part.taken)-1]
		if text := header(m.Headers, change.HeaderID); text != nil {
			if err := t.id.UnmarshalText(text); err != nil {
				return fmt.Errorf("take in %s/%d offset %d: %w", part.topic, part.number, m.Offset, err)
			}
		}
		if text := header(m.Headers, change.HeaderMarker); text != nil {
			t.marker = &change.Marker{}
			if err := json.Unmarshal(text, t.marker); err != nil {
				return fmt.Errorf("take in %s/%d offset %d: read marker: %w", part.topic, part.number, m.Offset, err)
			}
			t.skip = t.id.Compare(last) <= 0
			continue
		}
		if m.Value == nil || t.id.IsZero() || t.id.Compare(last) <= 0 {
			t.skip = true
			continue
		}
		last = t.id
		if err := p.evaluate(ctx, part, t, m.Key, m.Value, m.Headers); err != nil {
			return err
		}
		t.event = appendEvent(nil, m)
	}
	return nil
}

// evaluate runs the program on one event. Its error is one of the surroundings; an event that can't be decoded is a rejection.
func (p *Pipeline) evaluate(ctx context.Context, part *partition, t *taken, key, value []byte, headers []change.Header) error {
	t.partial = header(headers, change.HeaderUnchanged) != nil
	table, err := p.spec.Schema(ctx, part.topic, string(header(headers, change.HeaderSchema)))
	if err != nil {
		return fmt.Errorf("take in %s/%d offset %d: %w", part.topic, part.number, t.offset, err)
	}
	e := &part.event
	if err := part.decoder.Decode(table, key, value, headers, e); err != nil {
		t.op, t.outcome, t.reason, t.message = change.Update, Rejected, "undecodable", "the event could not be decoded"
		return nil
	}
	t.op = e.Op
	t.time = e.CommitTime.UnixMilli()
	if t.moved = e.Op == change.Delete && e.NewKey != nil; t.moved {
		t.newKey = payload(header(headers, change.HeaderNewKey))
	}
	if t.claims = e.Op == change.Create && e.OldKey != nil; t.claims {
		t.oldKey = payload(header(headers, change.HeaderOldKey))
	}
	switch e.Op {
	case change.Read, change.Create, change.Update:
	case change.Delete, change.Truncate:
		return nil
	default:
		t.skip = true
		return nil
	}
	r := &part.made
	*r = Made{Fields: r.Fields[:0]}
	part.worker.Eval(e, r)
	t.outcome, t.reason, t.message = r.Outcome, r.Reason, strings.Clone(r.Message)
	if r.Outcome == Reselect {
		t.outcome, t.reason, t.message = Rejected, needsReselect, "the database left out a value that did not change, and the transform needs it"+mendUnchanged
	}
	if r.Outcome != Pass {
		return nil
	}
	if r.Key.IsNull() || r.Key.IsUnchanged() || r.Key.Text() == "" {
		t.outcome, t.reason, t.message = Rejected, "no_key", "the key expression gives no value"
		return nil
	}
	vs := make(change.Row, 0, len(r.Fields)+2)
	vs = append(append(vs, r.Key, r.Match), r.Fields...)
	vs = vs.Clone()
	t.appKey, t.match, t.fields = vs[0], vs[1], vs[2:]
	return nil
}

// takeIn writes what part.taken says, and the position.
func (p *Pipeline) takeIn(ctx context.Context, part *partition, next int64) error {
	rest := part.taken
	for len(rest) > 0 {
		// A truncate and a snapshot's end look at all keys, so what is before them goes first, and they go alone.
		n := 0
		for n < len(rest) && !rest[n].sweeps() {
			n++
		}
		if n == 0 {
			n = 1
			if err := p.sweep(ctx, part, &rest[0]); err != nil {
				return err
			}
		}
		to := next
		if n < len(rest) {
			to = rest[n].offset
		}
		if err := p.takeSome(ctx, part, rest[:n], to); err != nil {
			return err
		}
		rest = rest[n:]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if next > part.pos.Offset {
		if err := p.advance(ctx, part, next); err != nil {
			return err
		}
	}
	return p.expireMoves(ctx)
}

func (t *taken) sweeps() bool {
	return !t.skip && (t.op == change.Truncate || t.marker != nil && t.marker.Kind == change.SnapshotEnd)
}

func (p *Pipeline) takeSome(ctx context.Context, part *partition, some []taken, next int64) error {
	claim := p.d.claim(ctx, p, len(some))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.touched != nil {
		for i := range some {
			p.touched[string(some[i].key)] = struct{}{}
		}
	}
	to := part.pos
	var flights []*flight
	err := p.update(ctx, "intake.before_commit", "intake.after_commit", func(u *unit) error {
		keys := make([][]byte, 0, len(some))
		for i := range some {
			if t := &some[i]; !t.skip && t.marker == nil && t.key != nil {
				keys = append(keys, t.key)
			}
		}
		if err := u.load(keys); err != nil {
			return err
		}
		for i := range some {
			if err := u.take(part, &to, &some[i]); err != nil {
				return err
			}
		}
		to.Offset, to.Generation = next, part.generation
		if err := u.tx.Advance(p.id, &part.pos, &to); err != nil {
			return err
		}
		if claim.flights > 0 {
			if err := u.takeOff(claim); err != nil {
				return err
			}
		}
		flights = u.start
		return nil
	})
	if err != nil {
		claim.release(claim.flights)
		if errors.Is(err, state.ErrStale) {
			return fmt.Errorf("take in %s/%d: %w", part.topic, part.number, err)
		}
		return err
	}
	part.pos = to
	claim.release(claim.flights - len(flights))
	p.d.launch(flights)
	p.d.wake()
	return nil
}

// take decides about one message.
func (u *unit) take(part *partition, pos *state.Position, t *taken) error {
	if t.skip {
		return nil
	}
	pos.LastID = t.id
	if t.marker != nil {
		switch t.marker.Kind {
		case change.SnapshotBegin:
			pos.Snapshot, pos.Begin = t.marker.Snapshot, t.id
		case change.SnapshotEnd, change.SnapshotAbort:
			pos.Snapshot, pos.Begin = "", change.ID{}
		}
		return nil
	}
	u.ledger.Taken++
	if t.op == change.Truncate {
		u.ledger.Applied++ // its deletes are events of their own
		return nil
	}
	if t.key == nil {
		return u.reject(nil, part.number, t)
	}
	if len(u.keys().late[string(t.key)]) > 0 {
		return u.putOff(part.number, t)
	}
	if barred, err := u.barred(t, false); barred || err != nil {
		u.ledger.Filtered++
		return err
	}
	u.snapshot = pos.Snapshot != ""
	return u.turn(part.number, t, false)
}

// decide brings a record's wanted state up to an event; r is nil for a key that has no record.
func (u *unit) decide(r *rec, partition int, t *taken) error {
	if r != nil {
		r.sh.Seen = t.id
		gone := t.op == change.Delete
		if u.snapshot || r.sh.Partition != partition || r.sh.Deleted != gone {
			r.sh.Partition, r.sh.Deleted, r.dirtySh = partition, gone, true
		}
		t.gap = t.gap || r.sh.Excluded
		if r.sh.Rejected {
			if err := u.complete(r, partition, t); err != nil {
				return err
			}
			if err := u.supersedeQuarantine(r); err != nil {
				return err
			}
		}
		if r.sh.Standing == state.Forgotten && r.pd == nil {
			u.ledger.Unchanged++
			return nil
		}
	}
	switch {
	case t.op == change.Delete:
		return u.leave(r, t, u.p.onDelete(t.moved), state.ByRow)
	case t.outcome == Filtered:
		return u.leave(r, t, u.p.spec.OnLeave, state.ByLeave)
	case t.outcome == Rejected:
		if r == nil {
			r = u.create(t.key, partition)
			r.sh.Seen = t.id
		}
		return u.reject(r, partition, t)
	}
	if r == nil {
		r = u.create(t.key, partition)
		r.sh.Seen = t.id
	}
	for i, v := range t.known {
		if !t.gap && t.leftOut(i) {
			t.fields[i] = v
		}
	}
	if t.lacks(r) {
		t.outcome, t.reason = Rejected, needsReselect
		t.message = "the database left out a value that did not change, and the app has no record that has it" + mendUnchanged
		return u.reject(r, partition, t)
	}
	return u.want(r, t)
}

const mendUnchanged = ": touch the row's large columns, or ALTER TABLE ... REPLICA IDENTITY FULL (MySQL: binlog_row_image=FULL), so that the next change brings it"

// leftOut tells whether the database did not send what a field is made of.
func (t *taken) leftOut(field int) bool {
	v := t.fields[field]
	return v.IsUnchanged() && v.Text() == "" // with a text: left out on purpose, by skip()
}

// lacks tells whether a record would be made, or left, without a value that the database has and did not send.
func (t *taken) lacks(r *rec) bool {
	if !t.gap && (r.sh.Standing == state.InApp || r.pd != nil || r.fl != nil) {
		return false
	}
	for i := range t.fields {
		if t.leftOut(i) {
			return true
		}
	}
	return false
}

// supersede accounts for a wanted state whose place a newer event takes.
func (u *unit) supersede(r *rec) {
	if r.pd == nil {
		return
	}
	*u.place(r.pd.Queue)--
	u.ledger.Superseded++
}

// place returns the ledger's count of what waits in a queue.
func (u *unit) place(q state.Queue) *int64 {
	switch q {
	case state.Held, state.Guarded:
		return &u.ledger.Held
	case state.Waiting:
		return &u.ledger.Waiting
	}
	return &u.ledger.Pending
}

// leave takes in that the source's row is gone, or is not the pipeline's any more.
func (u *unit) leave(r *rec, t *taken, action string, cause state.Cause) error {
	count := &u.ledger.Unchanged
	if cause == state.ByLeave {
		count = &u.ledger.Filtered
	}
	if r == nil {
		*count++
		return nil
	}
	if excluded := cause == state.ByLeave; r.sh.Excluded != excluded {
		r.sh.Excluded, r.dirtySh = excluded, true
	}
	u.supersede(r)
	unknown := r.pd != nil && r.pd.Unknown
	inApp := r.sh.Standing == state.InApp || r.fl != nil || unknown
	action = r.owed(action)
	if inApp && u.isSet(r, wantOf(action, cause)) {
		*count++
		return u.staySet(r)
	}
	if action == "ignore" || !inApp {
		*count++
		u.dropPending(r)
		if r.sh.Standing == state.New && r.fl == nil && !unknown {
			return u.discard(r)
		}
		return nil
	}
	w, err := u.removal(r, t.id, t.time, action, cause)
	if err != nil {
		return err
	}
	*u.place(w.Queue)++
	return nil
}

// owed is what becomes of a record whose row has gone, or left, with this action. A removal that waits is not undone: its
// row, or the one before under the same key, is gone from the app as it would be had the app answered by now.
func (r *rec) owed(action string) string {
	switch {
	case r.pd != nil && r.pd.Want.Removes():
		return removalOf(r.pd.Want)
	case r.pd != nil && r.pd.Over.Removes() && !r.pd.Unknown:
		return removalOf(r.pd.Over)
	case r.fl != nil && r.fl.want.Want.Removes():
		return removalOf(r.fl.want.Want)
	}
	return action
}

// flying is what is under way of it; nil: nothing.
func (r *rec) flying() *state.Pending {
	if r.fl == nil {
		return nil
	}
	return r.fl.want
}

func removalOf(w state.Want) string {
	if w == state.Remove {
		return "delete"
	}
	return "archive"
}

// removal makes a removal the record's wanted state.
func (u *unit) removal(r *rec, id change.ID, at int64, action string, cause state.Cause) (*state.Pending, error) {
	if err := u.leaves(r, change.Value{}); err != nil {
		return nil, err
	}
	w := &state.Pending{EventID: id, Time: at, Want: wantOf(action, cause), Cause: cause, Fingerprint: u.p.print, Layout: u.p.layout, Key: r.sh.AppKey}
	w.Queue = state.QueueOf(state.Delete, state.Live, false)
	switch {
	case r.pd != nil:
		// A new place in the order: an approval of what was seen does not cover it.
		w.Unknown, w.RemovalSent = r.pd.Unknown, r.pd.RemovalSent
		if w.Key.IsNull() {
			w.Key = r.pd.Key
		}
	case r.fl != nil && w.Key.IsNull():
		w.Key = r.fl.want.Key
	}
	u.putPending(r, w)
	return w, nil
}

// want takes in what the record is to become.
func (u *unit) want(r *rec, t *taken) error {
	p := u.p
	if r.sh.Excluded {
		r.sh.Excluded, r.dirtySh = false, true
	}
	lane := state.Live
	if t.op == change.Read {
		lane = state.Backfill
	}
	fields := t.fields
	older := r.pd
	if older == nil && r.fl != nil {
		older = r.fl.want
	}
	if older != nil && older.Want == state.Put {
		was := p.remap(older.Layout, older.Fields)
		for i := range fields {
			if fields[i].IsUnchanged() {
				fields[i] = was[i]
			}
		}
	}
	sure := r.fl == nil && (r.pd == nil || !r.pd.Unknown && r.pd.Queue.Ready())
	if sure && r.sh.Standing == state.InApp && !p.differs(r.sh, t.appKey, fields) {
		u.supersede(r)
		if r.pd != nil {
			u.dropPending(r)
		}
		u.ledger.Unchanged++
		return u.gaveUp(r, t.appKey)
	}
	if err := u.leaves(r, t.appKey); err != nil {
		return err
	}
	w := &state.Pending{EventID: t.id, Time: t.time, Want: state.Put, Fingerprint: p.print, Layout: p.layout,
		Key: t.appKey, Match: t.match, Fields: fields, Event: t.event}
	kind := state.Create
	if r.sh.Standing == state.InApp {
		kind = state.Change
	}
	w.Queue = state.QueueOf(kind, lane, false)
	if o := r.pd; o != nil {
		u.supersede(r)
		w.Unknown, w.RemovalSent, w.Over = o.Unknown, o.RemovalSent, o.Over
		if o.Want != state.Put {
			w.Over = o.Want
		}
		if u.limit(kind) < 0 {
			w.Seq = o.Seq
		}
		switch {
		case o.Queue == state.Waiting && !u.moving(r.sh.ID): // it may have another parent: see resolve
		case !o.Queue.Ready() && o.Queue != state.Guarded:
			w.Queue = o.Queue
		case o.Queue.Ready() && o.Queue.Lane() == state.Live:
			w.Queue = state.QueueOf(kind, state.Live, false)
		}
	}
	*u.place(w.Queue)++
	u.putPending(r, w)
	return nil
}

// differs tells whether the app has anything else than these, as far as the pipeline owns it.
func (p *Pipeline) differs(s *state.Shadow, key change.Value, fields []change.Value) bool {
	if s.AppKey != key || len(s.Sent) != len(fields) || s.Marked != state.Unmarked {
		return true
	}
	for i, v := range fields {
		if p.fields[i].Group != OwnedByApp && !same(s, i, v) {
			return true
		}
	}
	return false
}

// same tells whether field i needs no writing: it is not known, is what was sent last, or is what the app made of that.
func same(s *state.Shadow, i int, v change.Value) bool {
	if v.IsUnchanged() || i < len(s.Sent) && s.Sent[i] == v {
		return true
	}
	for _, f := range s.Stored {
		if f.Field == i {
			return f.Text == v.Text()
		}
	}
	return false
}
