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
	part.sweeping = part.pos.Unsettled() // some of its deletes may have been made
	p.partsMu.Lock()
	p.parts[number] = part
	p.partsMu.Unlock()
	if part.sweeping {
		p.ends()
	}
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
		// A truncate looks at all keys, so what is before it goes first, and it goes alone.
		n := 0
		for n < len(rest) && !rest[n].truncates() {
			n++
		}
		if n == 0 {
			n = 1
			if err := p.truncate(ctx, part, &rest[0]); err != nil {
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

func (t *taken) truncates() bool { return !t.skip && t.op == change.Truncate }

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
	if to.Unsettled() {
		p.ends()
	}
	claim.release(claim.flights - len(flights))
	p.d.launch(flights)
	p.d.wake()
	return nil
}
