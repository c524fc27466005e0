package stream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// parcel is the batches that are still to go to one partition, in order.
type parcel struct {
	lane    *lane
	batches []*batch
}

// requestSize is how many bytes of batches go into one request; a broker refuses
// more than 100 MiB.
const requestSize = 8 << 20

// answer is what became of the first batch of a parcel.
type answer struct {
	code int16
	base int64
	err  error // of the request: nothing is known
}

// deliver writes parcels, the first batch of each partition at a time, until all are
// written. One request is in flight for a partition; a retry sends the same bytes,
// which the broker knows by their sequence. reopen is called when a partition is not
// as expected; it leaves in lane.next and lane.written what is there.
func (w *kafkaWriter) deliver(ctx context.Context, parcels []parcel, reopen func() error) error {
	wait := backoff{}
	for len(parcels) > 0 {
		for i := range parcels {
			l := parcels[i].lane
			setProducer(parcels[i].batches[0].out, w.producer, w.epoch, l.sequence)
		}
		answers := w.send(ctx, parcels)
		var trouble error
		lost := false
		for i := range parcels {
			p, a := &parcels[i], answers[i]
			switch {
			case a.err != nil:
				if !passing(a.err) {
					return fmt.Errorf("write topic %s partition %d: %w", p.lane.topic, p.lane.partition, a.err)
				}
				trouble = a.err
			case a.code == 0 && a.base == p.lane.next:
				p.lane.advance(p.batches[0])
				p.batches = p.batches[1:]
			case a.code == 0, fences(a.code):
				lost = true
			default:
				code := kafka.Error(a.code)
				if !passing(code) {
					return w.refused(p, code)
				}
				trouble = code
				w.k.forget(p.lane.topic)
			}
		}
		if lost {
			if err := reopen(); err != nil {
				return err
			}
			for i := range parcels {
				if !parcels[i].skip() {
					return &FencedError{Source: w.source}
				}
			}
		}
		rest := parcels[:0]
		for _, p := range parcels {
			if len(p.batches) > 0 {
				rest = append(rest, p)
			}
		}
		parcels = rest
		if trouble == nil {
			wait = backoff{}
		} else if !wait.sleep(ctx, w.k.opts.Logger, "write", trouble) {
			return fmt.Errorf("write stream of source %s: %w", w.source, ctx.Err())
		}
	}
	return nil
}

// fences tells whether a broker's answer means that the partition is not as this
// producer left it.
func fences(code int16) bool {
	switch kafka.Error(code) {
	case kafka.OutOfOrderSequenceNumber, kafka.DuplicateSequenceNumber, kafka.InvalidProducerEpoch, 59 /* UNKNOWN_PRODUCER_ID */, 90 /* PRODUCER_FENCED */ :
		return true
	}
	return false
}

// refused is a write that no retry mends.
func (w *kafkaWriter) refused(p *parcel, code kafka.Error) error {
	switch code {
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge:
		return &TooLargeError{Topic: p.lane.topic, Size: len(p.batches[0].out), Limit: p.lane.limit, Setting: "max.message.bytes of the topic"}
	case kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed:
		return fmt.Errorf("write topic %s partition %d: %w; this client needs the ACLs Write and Describe on the topic and IdempotentWrite on the cluster", p.lane.topic, p.lane.partition, code)
	}
	return fmt.Errorf("write topic %s partition %d: %w", p.lane.topic, p.lane.partition, code)
}

// advance notes that a batch is durable.
func (l *lane) advance(b *batch) {
	l.next += int64(b.count)
	l.sequence = addSequence(l.sequence, b.count)
	if !b.last.IsZero() {
		l.written = b.last
	}
	l.wrote = time.Now()
}

// addSequence counts sequences as Kafka does: after 2147483647 comes 0.
func addSequence(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & 0x7fffffff)
}

// skip drops the batches that turned out to be written. False: a part of one is,
// which another writer must have done.
func (p *parcel) skip() bool {
	for len(p.batches) > 0 && !p.batches[0].last.IsZero() && p.batches[0].last.Compare(p.lane.written) <= 0 {
		p.batches = p.batches[1:]
	}
	return len(p.batches) == 0 || p.batches[0].last.IsZero() || p.batches[0].first.Compare(p.lane.written) > 0
}

// send writes the first batch of each parcel: one request for each broker, or more
// if they are large. The answers are in the parcels' order.
func (w *kafkaWriter) send(ctx context.Context, parcels []parcel) []answer {
	answers := make([]answer, len(parcels))
	groups := map[int32][][]int{} // broker to requests to parcels
	sizes := map[int32]int{}
	for i := range parcels {
		l := parcels[i].lane
		leader := w.k.leader(l.topic, l.partition)
		if leader < 0 {
			if _, err := w.k.metadata(ctx, []string{l.topic}); err != nil {
				answers[i].err = err
				continue
			}
			if leader = w.k.leader(l.topic, l.partition); leader < 0 {
				answers[i].err = kafka.LeaderNotAvailable
				continue
			}
		}
		n := len(parcels[i].batches[0].out)
		requests := groups[leader]
		if len(requests) == 0 || sizes[leader]+n > requestSize {
			requests = append(requests, nil)
			sizes[leader] = 0
		}
		requests[len(requests)-1] = append(requests[len(requests)-1], i)
		groups[leader] = requests
		sizes[leader] += n
	}
	var wg sync.WaitGroup
	for leader, requests := range groups {
		for _, members := range requests {
			wg.Go(func() { w.request(ctx, leader, parcels, members, answers) })
		}
	}
	wg.Wait()
	return answers
}

// request sends one produce request and fills in its members' answers.
func (w *kafkaWriter) request(ctx context.Context, leader int32, parcels []parcel, members []int, answers []answer) {
	var out wireWriter
	out.null()     // no transaction
	out.int16(-1)  // all replicas in sync
	out.int32(2e4) // ms
	out.array(len(members))
	for _, i := range members {
		out.string(parcels[i].lane.topic)
		out.array(1)
		out.int32(int32(parcels[i].lane.partition))
		out.bytes(parcels[i].batches[0].out)
		answers[i].err = errAnswer
	}
	fail := func(err error) {
		for _, i := range members {
			answers[i].err = err
			w.k.forget(parcels[i].lane.topic)
		}
	}
	r, err := w.k.exchange(ctx, leader, apiProduce, 7, out.b)
	if err != nil {
		fail(err)
		return
	}
	for range max(r.array(), 0) {
		topic := r.string()
		for range max(r.array(), 0) {
			partition := int(r.int32())
			a := answer{code: r.int16(), base: r.int64()}
			r.int64()
			r.int64()
			for _, i := range members {
				if l := parcels[i].lane; l.topic == topic && l.partition == partition {
					answers[i] = a
				}
			}
		}
	}
	if r.bad {
		fail(errAnswer)
	}
}
