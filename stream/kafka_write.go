package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/penstock-cdc/penstock/change"
)

// kafkaWriter writes one source's topics as an idempotent producer.
type kafkaWriter struct {
	k      *Kafka
	source string
	marks  Marks
	loom   *loom
	tables map[string]bool // schema keys that are in the log or laid in

	mu       sync.Mutex // of what follows, and of next, written, sequence and wrote of the lanes
	producer int64
	epoch    int16
	mark     mark // as it was saved last; its lanes are filled in when it is saved
	counts   map[string]int
	closed   bool
}

// refenceAfter is how long a partition may lie idle before the producer writes a
// fence to it: brokers forget a producer, and with it what it fenced, after a day
// without writes (producer.id.expiration.ms, 86400000 by default).
const refenceAfter = 12 * time.Hour

// Writer opens the log for one source; see Log. It takes a new producer epoch, fences
// every partition with it, and reads back what is there from the mark on.
func (k *Kafka) Writer(ctx context.Context, source string, marks Marks) (Writer, error) {
	w := &kafkaWriter{k: k, source: source, marks: marks, loom: newLoom(k.opts.MaxMessage, "max.message.bytes of the topic"), tables: map[string]bool{}, counts: map[string]int{}}
	w.loom.batch = 768 << 10
	if err := w.start(ctx); err != nil {
		w.loom.close()
		return nil, fmt.Errorf("open stream of source %s: %w", source, err)
	}
	return w, nil
}

// Resume returns a source's last durable resume point, which is in the mark.
func (k *Kafka) Resume(ctx context.Context, source string, marks Marks) ([]byte, error) {
	known, err := (&kafkaWriter{k: k, source: source, marks: marks}).load(ctx)
	if err != nil || known == nil {
		return nil, err
	}
	return known.resume, nil
}

func (w *kafkaWriter) start(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, err := w.load(ctx)
	if err != nil {
		return err
	}
	if known == nil {
		known = &mark{producer: -1, epoch: -1}
	}
	w.mark = *known
	w.producer, w.epoch = known.producer, known.epoch
	for _, l := range known.lanes {
		w.counts[l.topic] = max(w.counts[l.topic], l.partition+1)
	}
	for topic, count := range w.counts {
		n, err := w.k.Partitions(ctx, topic)
		if err != nil {
			return err
		}
		switch {
		case n == 0 && w.k.opts.Adopt:
			continue
		case n == 0:
			return &DamageError{Source: w.source, Topic: topic, Missing: "the topic is gone", Fix: fixKafka}
		case n != count:
			return &PartitionsError{Topic: topic, Want: count, Got: n}
		}
		limit, err := w.k.check(ctx, topic)
		if err != nil {
			return err
		}
		w.loom.topics[topic] = newLanes(topic, n, limit)
	}
	for _, l := range known.lanes {
		if lanes := w.loom.topics[l.topic]; lanes != nil {
			lane := lanes[l.partition]
			lane.next, lane.written, lane.last = l.next, l.last, l.last
		}
	}
	w.mark.lanes = nil
	if err := w.reopen(ctx); err != nil {
		return err
	}
	for _, lanes := range w.loom.topics {
		for _, l := range lanes {
			l.last = l.written
		}
	}
	if err := w.topic(ctx, SchemasTopic(w.source)); err != nil {
		return err
	}
	return w.readSchemas(ctx)
}

const fixKafka = "was the topic deleted or made anew, or did the cluster elect an unclean leader? Read its tables again: penstock source reset NAME, " + fixAdopt

func newLanes(topic string, n, limit int) []*lane {
	lanes := make([]*lane, n)
	for i := range lanes {
		lanes[i] = &lane{topic: topic, partition: i, limit: limit}
	}
	return lanes
}

func (w *kafkaWriter) load(ctx context.Context) (*mark, error) {
	data, err := w.marks.Load(ctx, w.source)
	if err != nil {
		return nil, fmt.Errorf("load mark: %w", err)
	}
	if data == nil {
		return nil, nil
	}
	m, err := parseMark(data)
	if err != nil {
		return nil, &DamageError{Source: w.source, Missing: "the mark in the state is damaged", Fix: "put back a backup of the state, or read the tables again: penstock source reset NAME", Err: err}
	}
	return m, nil
}

// readSchemas notes which schemas are in the log.
func (w *kafkaWriter) readSchemas(ctx context.Context) error {
	topic := SchemasTopic(w.source)
	start, end, err := w.k.Bounds(ctx, topic, 0)
	if err != nil {
		return err
	}
	for start < end {
		messages, err := w.k.Read(ctx, topic, 0, start, 1<<20)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			return nil
		}
		for i := range messages {
			if messages[i].Value != nil {
				w.tables[string(messages[i].Key)] = true
			}
			start = messages[i].Offset + 1
		}
	}
	return nil
}

// topic makes sure that there is a topic. One that is there and unknown is fenced
// and read back first. Called with mu.
func (w *kafkaWriter) topic(ctx context.Context, name string) error {
	if w.loom.topics[name] != nil {
		return nil
	}
	n, limit, existed, err := w.k.ready(ctx, name)
	if err != nil {
		return err
	}
	lanes := newLanes(name, n, limit)
	if existed {
		for _, l := range lanes {
			l.next = unknown
		}
		for err = w.fence(ctx, lanes); errors.Is(err, errFenced); err = w.fence(ctx, lanes) {
			if err := w.reopen(ctx); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		for _, l := range lanes {
			l.last = l.written
		}
	}
	w.loom.topics[name] = lanes
	return nil
}

// unknown is the next offset of a partition of which there is no mark.
const unknown = -1

// Resume returns the resume point of the last durable flush.
func (w *kafkaWriter) Resume() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.mark.resume)
}

// Table makes the table's topic ready and lays its schema in, when it is new.
func (w *kafkaWriter) Table(ctx context.Context, t *change.Table) error {
	w.mu.Lock()
	err := w.topic(ctx, t.Topic)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	r, err := schemaRecord(w.source, t)
	if err != nil {
		return err
	}
	if w.tables[string(r.Key)] {
		return nil
	}
	w.tables[string(r.Key)] = true
	_, err = w.loom.add(r)
	return err
}

// Add lays a record into the next flush; see capture.Log.
func (w *kafkaWriter) Add(r *change.Record) (int, error) {
	if w.loom.topics[r.Topic] == nil && r.Topic == MessageTopic(w.source) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		w.mu.Lock()
		err := w.topic(ctx, r.Topic)
		w.mu.Unlock()
		if err != nil {
			return 0, err
		}
	}
	return w.loom.add(r)
}

// Flush makes what was added durable; see capture.Log.
func (w *kafkaWriter) Flush(ctx context.Context, resume []byte) error {
	return w.Cut(resume)(ctx)
}

// Cut is the first half of Flush: it sets apart what was added so far. The function
// it returns is the second half, and may run in another goroutine while more is
// added; those functions must be called in the order of their cuts, one at a time.
func (w *kafkaWriter) Cut(resume []byte) func(ctx context.Context) error {
	pieces := w.loom.cut()
	resume = bytes.Clone(resume)
	return func(ctx context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.closed {
			return &FencedError{Source: w.source}
		}
		var first, rest []parcel // schemas go before rows
		for i := range pieces {
			pieces[i].wait()
			p := parcel{pieces[i].lane, pieces[i].batches}
			if isOwn(p.lane.topic) {
				first = append(first, p)
			} else {
				rest = append(rest, p)
			}
		}
		reopen := func() error { return w.reopen(ctx) }
		if err := w.deliver(ctx, first, reopen); err != nil {
			return err
		}
		if err := w.deliver(ctx, rest, reopen); err != nil {
			return err
		}
		w.loom.release(pieces)
		if err := w.refence(ctx); err != nil {
			return err
		}
		w.mark.resume = resume
		return w.save(ctx)
	}
}

// save puts what is durable into the state.
func (w *kafkaWriter) save(ctx context.Context) error {
	m := &w.mark
	m.sequence++
	m.producer, m.epoch, m.lanes = w.producer, w.epoch, m.lanes[:0]
	for topic, lanes := range w.loom.topics {
		for _, l := range lanes {
			m.lanes = append(m.lanes, laneMark{topic, l.partition, l.next, l.written})
		}
	}
	m.sortLanes()
	if err := w.marks.Save(ctx, w.source, m.append(nil)); err != nil {
		return fmt.Errorf("save mark of source %s: %w", w.source, err)
	}
	return nil
}

// Close gives up the place as the source's writer; what was not flushed is gone.
func (w *kafkaWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.loom.close()
	}
	return nil
}

var errFenced = errors.New("a newer producer has written there")

// isFenced tells whether a producer's epoch was refused.
func isFenced(code kafka.Error) bool {
	return code == kafka.InvalidProducerEpoch || code == 90
}
