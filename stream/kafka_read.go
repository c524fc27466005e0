package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// kafkaReading is the reading of one generation's partitions.
type kafkaReading struct {
	k          *Kafka
	group      string
	generation int64
	consumer   Consumer
	lanes      []*kafkaLane
	wake       chan struct{} // a partition has room for more

	mu    sync.Mutex
	taken map[string]map[int]int64
}

// kafkaLane is one of them.
type kafkaLane struct {
	topic     string
	partition int
	queue     chan chunk // fetched and not taken

	mu       sync.Mutex
	assigned bool
	fetch    int64 // offset to fetch next
	queued   int
}

// chunk is what one fetch brought.
type chunk struct {
	from    int64
	records []byte
}

// run reads until ctx ends (nil) or an error.
func (r *kafkaReading) run(ctx context.Context, generation *kafka.Generation) error {
	g, inner := errgroup.WithContext(ctx)
	for _, l := range r.lanes {
		g.Go(func() error { return r.follow(inner, l) })
	}
	g.Go(func() error { return r.fetchLoop(inner) })
	g.Go(func() error {
		r.commitLoop(inner, generation)
		return nil
	})
	return ended(ctx, g.Wait())
}

// follow gives one partition to the consumer.
func (r *kafkaReading) follow(ctx context.Context, l *kafkaLane) error {
	next, err := r.consumer.Assign(ctx, l.topic, l.partition, r.generation)
	if err != nil {
		return ended(ctx, err)
	}
	start, end, err := r.k.Bounds(ctx, l.topic, l.partition)
	if err != nil {
		return ended(ctx, err)
	}
	if next < 0 {
		next = start
	}
	if next < start {
		return &GapError{Group: r.group, Topic: l.topic, Partition: l.partition, Want: next, Start: start}
	}
	if next > end {
		return beyond(l, next, end)
	}
	l.set(next)
	r.hurry()
	var d decoder
	defer d.close()
	idle := time.NewTimer(0)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-idle.C:
			d.shrink()
			if err := r.consumer.Idle(ctx, l.topic, l.partition, next); err != nil {
				return ended(ctx, err)
			}
			idle.Reset(idleAfter)
		case c := <-l.queue:
			if next, err = r.take(ctx, l, &d, c, next); err != nil {
				return ended(ctx, err)
			}
			l.done()
			r.hurry()
			idle.Reset(idleAfter)
		}
	}
}

// take gives a chunk to the consumer, in pieces of bounded size.
func (r *kafkaReading) take(ctx context.Context, l *kafkaLane, d *decoder, c chunk, next int64) (int64, error) {
	for data := c.records; len(data) > 0; {
		d.reset()
		from := next
		rest, after, err := d.decodeSome(data, l.topic, l.partition, next, takeSize)
		if err != nil {
			return next, damaged(l.topic, l.partition, after, err)
		}
		data, next = rest, after
		if len(d.messages) > 0 {
			if err := r.consumer.Take(ctx, l.topic, l.partition, d.messages); err != nil {
				return from, err
			}
		}
		r.note(l, next)
	}
	return next, nil
}

// decodeSome decodes batches until maxBytes, and returns what is left and the offset
// after the last one.
func (d *decoder) decodeSome(data []byte, topic string, partition int, from int64, maxBytes int) ([]byte, int64, error) {
	for size := 0; len(data) > 0 && size < maxBytes; {
		b, err := parseBatch(data)
		if errors.Is(err, errCutOff) {
			return nil, from, nil
		}
		if err != nil {
			return nil, from, err
		}
		if b.last >= from {
			if _, err := d.decode(data[:b.size], topic, partition, from); err != nil {
				return nil, from, err
			}
			from = b.last + 1
		}
		size += b.size + len(d.last())
		data = data[b.size:]
	}
	return data, from, nil
}

func beyond(l *kafkaLane, next, end int64) error {
	return &DamageError{Topic: l.topic, Partition: l.partition, Offset: end, Missing: fmt.Sprintf("a reader had %d more messages than there are", next-end), Fix: fixKafka}
}

func (l *kafkaLane) set(next int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.assigned, l.fetch = true, next
}

func (l *kafkaLane) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued--
}

// hungry returns the offset to fetch from, if the lane has room.
func (l *kafkaLane) hungry() (offset int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fetch, l.assigned && l.queued < cap(l.queue)
}

func (r *kafkaReading) hurry() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *kafkaReading) note(l *kafkaLane, next int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[l.topic] == nil {
		r.taken[l.topic] = map[int]int64{}
	}
	r.taken[l.topic][l.partition] = next
}

// fetchLoop fetches for the partitions that have room, one request to each broker at
// a time.
func (r *kafkaReading) fetchLoop(ctx context.Context) error {
	wait := backoff{}
	for ctx.Err() == nil {
		groups := map[int32][]*kafkaLane{}
		busy := false
		for _, l := range r.lanes {
			if _, ok := l.hungry(); !ok {
				busy = true
				continue
			}
			leader := r.k.leader(l.topic, l.partition)
			groups[leader] = append(groups[leader], l)
		}
		if len(groups) == 0 {
			select {
			case <-r.wake:
			case <-ctx.Done():
			}
			continue
		}
		limit := fetchWait
		if busy {
			limit = busyWait
		}
		g, inner := errgroup.WithContext(ctx)
		var trouble error
		var mu sync.Mutex
		for _, lanes := range groups {
			g.Go(func() error {
				err := r.fetchFrom(inner, lanes, limit)
				if err != nil && passing(err) {
					mu.Lock()
					defer mu.Unlock()
					trouble = err
					return nil
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return ended(ctx, err)
		}
		if trouble == nil {
			wait = backoff{}
		} else if !wait.sleep(ctx, r.k.opts.Logger, "read", trouble) {
			return nil
		}
	}
	return nil
}

// fetchFrom fetches for partitions that have one leader.
func (r *kafkaReading) fetchFrom(ctx context.Context, lanes []*kafkaLane, limit time.Duration) error {
	type key struct {
		topic     string
		partition int
	}
	wants := make([]want, len(lanes))
	byKey := make(map[key]*kafkaLane, len(lanes))
	each := max(fetchEach/len(lanes), 64<<10)
	for i, l := range lanes {
		offset, _ := l.hungry()
		wants[i] = want{l.topic, l.partition, offset, each}
		byKey[key{l.topic, l.partition}] = l
	}
	answers, err := r.k.fetch(ctx, wants, limit)
	if err != nil {
		for _, l := range lanes {
			r.k.forget(l.topic)
		}
		return err
	}
	var trouble error
	for _, a := range answers {
		l := byKey[key{a.topic, a.partition}]
		if l == nil {
			return errAnswer
		}
		offset, _ := l.hungry()
		switch code := kafka.Error(a.code); {
		case code == kafka.OffsetOutOfRange:
			start, end, err := r.k.Bounds(ctx, l.topic, l.partition)
			if err != nil {
				return err
			}
			if offset < start {
				return &GapError{Group: r.group, Topic: l.topic, Partition: l.partition, Want: offset, Start: start}
			}
			return beyond(l, offset, end)
		case code != 0:
			r.k.forget(l.topic)
			if !passing(code) {
				return fmt.Errorf("read topic %s partition %d: %w", l.topic, l.partition, code)
			}
			trouble = code
		case len(a.records) > 0:
			if err := l.deliver(a.records, offset); err != nil {
				return damaged(l.topic, l.partition, offset, err)
			}
		}
	}
	return trouble
}

// deliver queues what was fetched. Only fetchLoop adds, so there is room.
func (l *kafkaLane) deliver(records []byte, from int64) error {
	next := from
	whole := 0
	for data := records; len(data) > 0; {
		b, err := parseBatch(data)
		if errors.Is(err, errCutOff) {
			break
		}
		if err != nil {
			return err
		}
		next = max(next, b.last+1)
		whole += b.size
		data = data[b.size:]
	}
	if next == from {
		return nil
	}
	l.mu.Lock()
	l.fetch = next
	l.queued++
	l.mu.Unlock()
	l.queue <- chunk{from, records[:whole]}
	return nil
}

// commitLoop tells Kafka the positions now and then. Nothing depends on it.
func (r *kafkaReading) commitLoop(ctx context.Context, generation *kafka.Generation) {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		ending := false
		select {
		case <-tick.C:
		case <-ctx.Done():
			ending = true
		}
		r.mu.Lock()
		taken := r.taken
		r.taken = map[string]map[int]int64{}
		r.mu.Unlock()
		if err := generation.CommitOffsets(taken); err != nil && !ending {
			r.k.opts.Logger.Debug("positions not told to kafka", "group", r.group, "error", err)
		}
		if ending {
			return
		}
	}
}
