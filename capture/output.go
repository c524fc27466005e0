package capture

import (
	"context"

	"github.com/penstock-cdc/penstock/change"
)

// output is the Output of Run: it encodes into the queue.
type output struct {
	queue *queue
	enc   *change.Encoder
	opts  Options
	table *change.Table // of the last event
	count *counters     // of its table
	seen  map[*change.Table]bool
	event *change.Event
	first bool // the event's first record is not written yet
	clock change.Clock
}

func (o *output) Event(e *change.Event) error {
	b, err := o.queue.lock()
	if err != nil {
		return err
	}
	defer o.queue.unlock()
	o.use(b, e.Table, e.Op)
	o.event, o.first = e, true
	return o.enc.Encode(e, o.clock.Now(), func(r *change.Record) error {
		it := b.add(r)
		if o.first { // the tombstone of a delete is no event of its own
			it.count = o.count.of(o.event.Op)
			o.first = false
		}
		return nil
	})
}

// use announces a table that was not seen before, and makes its counters the current ones.
func (o *output) use(b *batch, t *change.Table, op change.Op) {
	if op == change.Message {
		o.table, o.count = nil, o.opts.Stats.table("")
		return
	}
	if o.table == t {
		return
	}
	if !o.seen[t] {
		o.seen[t] = true
		b.announce(t)
	}
	o.table, o.count = t, o.opts.Stats.table(t.QualifiedName())
}

func (o *output) Marker(t *change.Table, id change.ID, m change.Marker) error {
	b, err := o.queue.lock()
	if err != nil {
		return err
	}
	defer o.queue.unlock()
	o.use(b, t, 0)
	b.add(change.MarkerRecord(t, id, m))
	return nil
}

func (o *output) Commit(resume []byte) error {
	o.opts.Failpoint("capture.commit")
	b, err := o.queue.lock()
	if err != nil {
		return err
	}
	defer o.queue.unlock()
	b.resume = append(b.resume[:0], resume...)
	o.queue.committed()
	o.clock.Ask()
	return nil
}

func (o *output) Idle() { o.queue.idle() }

func (o *output) Flush(ctx context.Context) error { return o.queue.flush(ctx) }
