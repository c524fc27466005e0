package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/penstock-cdc/penstock/change"
)

// maxEpoch is below Kafka's largest producer epoch, 32767, so that one more fence
// can always be written.
const maxEpoch = 32000

// reopen takes a new epoch, fences every partition with it and reads back what was
// written in the meantime. Called with mu.
func (w *kafkaWriter) reopen(ctx context.Context) error {
	for {
		known, err := w.load(ctx)
		if err != nil {
			return err
		}
		if known != nil && w.mark.sequence > 0 && (known.producer != w.producer || known.epoch > w.epoch) {
			return &FencedError{Source: w.source}
		}
		if err := w.takeEpoch(ctx); err != nil {
			return err
		}
		var all []*lane
		for _, lanes := range w.loom.topics {
			all = append(all, lanes...)
		}
		err = w.fence(ctx, all)
		if errors.Is(err, errFenced) {
			continue // an epoch that the state does not know of: go above it
		}
		return err
	}
}

// takeEpoch gets an epoch above all that were used, and notes it in the state
// before it is used.
func (w *kafkaWriter) takeEpoch(ctx context.Context) error {
	old, oldEpoch := w.producer, w.epoch
	session, err := w.transactional(ctx)
	switch {
	case err == nil && session.ProducerID == int(old) && session.ProducerEpoch <= int(oldEpoch):
		// The coordinator is behind: it lost what it knew, or could not be asked last time.
		w.epoch = oldEpoch + 1
	case err == nil:
		w.producer, w.epoch = int64(session.ProducerID), int16(session.ProducerEpoch)
	case old >= 0 && oldEpoch < maxEpoch:
		w.epoch = oldEpoch + 1
	default:
		if session, err = w.plain(ctx); err != nil {
			return err
		}
		w.producer, w.epoch = int64(session.ProducerID), int16(session.ProducerEpoch)
	}
	if old >= 0 && old != w.producer {
		// Another id does not fence the old one's epoch: the old id has to.
		id, epoch := w.producer, w.epoch
		w.producer, w.epoch = old, oldEpoch+1
		var all []*lane
		for _, lanes := range w.loom.topics {
			all = append(all, lanes...)
		}
		if err := w.writeFences(ctx, all, nil); err != nil && !errors.Is(err, errFenced) {
			return err
		}
		w.producer, w.epoch = id, epoch
	}
	// The partitions' entries stay as they were: what is there is not known yet.
	return w.save(ctx)
}

// transactional gets the producer id that the cluster keeps for the source's
// transactional id, with its next epoch. So it is found again when the state is lost.
func (w *kafkaWriter) transactional(ctx context.Context) (*kafka.ProducerSession, error) {
	// A cluster whose transaction log can't be made (fewer brokers than its
	// replication factor) never answers otherwise.
	limited, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	session, err := w.initProducer(limited, "penstock."+w.source)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		w.k.opts.Logger.Warn("no producer id for the transactional id: should the state be lost, an older capture that still runs is not kept out; the client needs the ACLs Write and Describe on it",
			"source", w.source, "transactional_id", "penstock."+w.source, "error", err)
	}
	return session, err
}

func (w *kafkaWriter) plain(ctx context.Context) (*kafka.ProducerSession, error) {
	return w.initProducer(ctx, "")
}

func (w *kafkaWriter) initProducer(ctx context.Context, transactional string) (*kafka.ProducerSession, error) {
	var session *kafka.ProducerSession
	err := w.k.insist(ctx, "get producer id", func() error {
		var out wireWriter
		if transactional == "" {
			out.null()
			out.int32(60_000)
			r, err := w.k.exchange(ctx, anyBroker, apiInitProducerID, 1, out.b)
			if err != nil {
				return err
			}
			r.int32()
			code := r.int16()
			session = &kafka.ProducerSession{ProducerID: int(r.int64()), ProducerEpoch: int(r.int16())}
			if code != 0 {
				return kafka.Error(code)
			}
			if r.bad {
				return errAnswer
			}
			return nil
		}
		res, err := w.k.client.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionalID: transactional, TransactionTimeoutMs: 60_000, ProducerID: -1, ProducerEpoch: -1})
		if err != nil {
			return err
		}
		if res.Error != nil {
			return res.Error
		}
		session = res.Producer
		return nil
	})
	return session, err
}

const apiInitProducerID = 22

// fence writes a fence to each partition and reads back what is before it.
func (w *kafkaWriter) fence(ctx context.Context, lanes []*lane) error {
	at := make([]int64, len(lanes))
	if err := w.writeFences(ctx, lanes, at); err != nil {
		return err
	}
	for i, l := range lanes {
		if err := w.readBack(ctx, l, at[i]); err != nil {
			return err
		}
		l.next, l.sequence, l.wrote = at[i]+1, 1, time.Now()
	}
	return nil
}

// writeFences writes a fence as the first batch of the epoch to each partition, and
// sets at to its offsets. errFenced: there is a higher epoch.
func (w *kafkaWriter) writeFences(ctx context.Context, lanes []*lane, at []int64) error {
	parcels := make([]parcel, len(lanes))
	index := map[*lane]int{}
	for i, l := range lanes {
		parcels[i] = parcel{l, []*batch{fenceBatch(l)}}
		index[l] = i
	}
	wait := backoff{}
	for len(parcels) > 0 {
		for _, p := range parcels {
			setProducer(p.batches[0].out, w.producer, w.epoch, 0)
		}
		var trouble error
		rest := parcels[:0:0]
		for i, a := range w.send(ctx, parcels) {
			p := parcels[i]
			code := kafka.Error(a.code)
			switch {
			case a.err != nil && !passing(a.err):
				return fmt.Errorf("fence topic %s partition %d: %w", p.lane.topic, p.lane.partition, a.err)
			case a.err != nil:
				trouble = a.err
				rest = append(rest, p)
			case code == 0:
				if at != nil {
					at[index[p.lane]] = a.base
				}
			case isFenced(code):
				return errFenced
			case passing(code):
				trouble = code
				w.k.forget(p.lane.topic)
				rest = append(rest, p)
			default:
				return w.refused(&p, code)
			}
		}
		parcels = rest
		if trouble != nil && !wait.sleep(ctx, w.k.opts.Logger, "fence", trouble) {
			return fmt.Errorf("fence stream of source %s: %w", w.source, ctx.Err())
		}
	}
	return nil
}

// fenceBatch is a batch with a fence for a partition: a marker, which repeats the
// last id that is known there. A compacted topic takes no message without a key.
func fenceBatch(l *lane) *batch {
	r := change.MarkerRecord(&change.Table{Topic: l.topic}, l.written, change.Marker{Kind: change.Fence})
	if isOwn(l.topic) {
		r.Key = []byte(`{"fence":true}`)
	}
	b := &batch{}
	b.append(r, time.Now().UnixMilli())
	b.seal(&compressor{})
	return b
}

// readBack finds the last id before a fence, and compares the log with the mark.
func (w *kafkaWriter) readBack(ctx context.Context, l *lane, fence int64) error {
	start, _, err := w.k.Bounds(ctx, l.topic, l.partition)
	if err != nil {
		return err
	}
	if l.next == unknown {
		return w.findLast(ctx, l, start, fence)
	}
	if fence < l.next && !w.k.opts.Adopt {
		return &DamageError{Source: w.source, Topic: l.topic, Partition: l.partition, Offset: fence, Missing: fmt.Sprintf("%d messages that were durable are gone", l.next-fence), Fix: fixKafka}
	}
	if fence < l.next {
		return w.findLast(ctx, l, start, fence)
	}
	from := max(l.next-1, start)
	last, err := w.lastID(ctx, l, from, fence, func(m *Message) error {
		// A fence has the id that was known when it was written, and that may be an older one.
		if m.Offset == l.next-1 && !isOwn(l.topic) && !isFence(m) && messageID(m) != l.written && !w.k.opts.Adopt {
			return &DamageError{Source: w.source, Topic: l.topic, Partition: l.partition, Offset: m.Offset, Missing: "the message there is another one than the state knows", Fix: fixKafka}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if last.Compare(l.written) > 0 {
		l.written = last
	}
	return nil
}

// isFence tells whether a message is a fence.
func isFence(m *Message) bool {
	text, ok := m.Header(change.HeaderMarker)
	return ok && bytes.Contains(text, []byte(`"`+string(change.Fence)+`"`))
}

// findLast finds the last id of a partition with nothing known of it.
func (w *kafkaWriter) findLast(ctx context.Context, l *lane, start, fence int64) error {
	for step := int64(1); ; step *= 8 {
		from := max(start, fence-step)
		last, err := w.lastID(ctx, l, from, fence, func(*Message) error { return nil })
		if err != nil {
			return err
		}
		if !last.IsZero() || from == start {
			l.written = last
			return nil
		}
	}
}

// lastID returns the highest id of the messages in [from, to), and shows each.
func (w *kafkaWriter) lastID(ctx context.Context, l *lane, from, to int64, see func(*Message) error) (change.ID, error) {
	var last change.ID
	for from < to {
		messages, err := w.k.Read(ctx, l.topic, l.partition, from, 4<<20)
		if err != nil {
			return last, err
		}
		if len(messages) == 0 {
			break
		}
		for i := range messages {
			m := &messages[i]
			if m.Offset >= to {
				return last, nil
			}
			if err := see(m); err != nil {
				return last, err
			}
			if id := messageID(m); id.Compare(last) > 0 {
				last = id
			}
			from = m.Offset + 1
		}
	}
	return last, nil
}

// refence writes a fence of the same epoch to the partitions that lay idle for long.
func (w *kafkaWriter) refence(ctx context.Context) error {
	var idle []parcel
	for _, lanes := range w.loom.topics {
		for _, l := range lanes {
			if !l.wrote.IsZero() && time.Since(l.wrote) > refenceAfter {
				idle = append(idle, parcel{l, []*batch{fenceBatch(l)}})
			}
		}
	}
	return w.deliver(ctx, idle, func() error { return w.reopen(ctx) })
}
