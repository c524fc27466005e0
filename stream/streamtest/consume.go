package streamtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/stream"
)

// place is one partition.
type place struct {
	topic     string
	partition int
}

// consumer keeps what it was given, and its positions as state does.
type consumer struct {
	mu          sync.Mutex
	positions   map[place]int64
	values      map[place][]string
	generations map[place]int64
	idle        map[place]int64
	problem     error
	err         error // returned by Take
	news        chan struct{}
}

func newConsumer() *consumer {
	return &consumer{positions: map[place]int64{}, values: map[place][]string{}, generations: map[place]int64{}, idle: map[place]int64{}, news: make(chan struct{}, 1)}
}

func (c *consumer) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

func (c *consumer) Assign(_ context.Context, topic string, partition int, generation int64) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := place{topic, partition}
	if generation <= c.generations[p] {
		c.problem = fmt.Errorf("%v: generation %d after %d", p, generation, c.generations[p])
	}
	c.generations[p] = generation
	if at, ok := c.positions[p]; ok {
		return at, nil
	}
	return -1, nil
}

func (c *consumer) Take(_ context.Context, topic string, partition int, messages []stream.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.tell()
	if c.err != nil {
		return c.err
	}
	p := place{topic, partition}
	for i := range messages {
		m := &messages[i]
		if m.Topic != topic || m.Partition != partition || m.Offset < c.positions[p] {
			c.problem = fmt.Errorf("%v: got %s %d offset %d at position %d", p, m.Topic, m.Partition, m.Offset, c.positions[p])
		}
		c.positions[p] = m.Offset + 1
		if !IsFence(m) {
			c.values[p] = append(c.values[p], string(m.Value))
		}
	}
	return nil
}

func (c *consumer) Idle(_ context.Context, topic string, partition int, next int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.tell()
	c.idle[place{topic, partition}] = next
	return nil
}

// count is how many messages it was given.
func (c *consumer) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, v := range c.values {
		n += len(v)
	}
	return n
}

// until waits until something holds, looking again at each Take and Idle.
func (c *consumer) until(b *bench, what string, holds func() bool) {
	b.Helper()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-c.news:
		case <-deadline:
			b.Fatalf("waited a minute for %s; had %d messages", what, c.count())
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.problem != nil {
		b.Fatal(c.problem)
	}
}

// consuming runs Consume and returns what ends it and returns its error.
func (b *bench) consuming(c *consumer, topics ...string) func() error {
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() { done <- b.log.Consume(ctx, b.source+"-group", topics, c) }()
	ended := false
	stop := func() error {
		cancel()
		if ended {
			return nil
		}
		ended = true
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			return errors.New("consume did not end within 30 s of its context")
		}
	}
	b.Cleanup(func() { _ = stop() })
	return stop
}

func consume(b *bench) {
	other := Table(b.source, "orders")
	b.announce(other)
	for i := range 500 {
		b.add(Record(b.table.Topic, i+1, fmt.Sprint(i)))
	}
	b.flush("r")
	c := newConsumer()
	stop := b.consuming(c, b.table.Topic, other.Topic)
	c.until(b, "what was there before", func() bool { return c.count() == 500 })
	for i := range 100 {
		b.add(Record(other.Topic, 1000+i, fmt.Sprint(i)))
		b.flush("r")
	}
	c.until(b, "what came later", func() bool { return c.count() == 600 })
	partitions, err := b.log.Partitions(b.ctx, other.Topic)
	if err != nil {
		b.Fatal(err)
	}
	c.until(b, "idle at the end of each partition", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for p, at := range c.idle {
			if at < c.positions[p] {
				return false
			}
		}
		return len(c.idle) == 2*partitions
	})
	if err := stop(); err != nil {
		b.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, messages := range b.readAll(b.table.Topic) {
		if diff := cmp.Diff(values(messages), append([]string{}, c.values[place{b.table.Topic, p}]...)); diff != "" {
			b.Errorf("partition %d: %s", p, diff)
		}
	}
}

func consumePositions(b *bench) {
	for i := range 300 {
		b.add(Record(b.table.Topic, i+1, fmt.Sprint(i)))
	}
	b.flush("r")
	c := newConsumer()
	c.until(b, "the first part", func() bool {
		stop := b.consuming(c, b.table.Topic)
		c.until(b, "some", func() bool { return c.count() > 0 })
		if err := stop(); err != nil {
			b.Error(err)
		}
		return true
	})
	for i := range 300 {
		b.add(Record(b.table.Topic, 1000+i, fmt.Sprint(1000+i)))
	}
	b.flush("r")
	stop := b.consuming(c, b.table.Topic) // a new owner goes on where the first one was
	c.until(b, "the rest", func() bool { return c.count() >= 600 })
	if err := stop(); err != nil {
		b.Error(err)
	}
	seen := map[string]int{}
	for _, list := range c.values {
		for _, v := range list {
			seen[v]++
		}
	}
	if len(seen) != 600 {
		b.Errorf("%d different messages, want 600", len(seen))
	}
	for v, n := range seen {
		if n != 1 {
			b.Errorf("message %s was given %d times", v, n)
		}
	}
	// A position that the log does not have yet is damage.
	for p := range c.positions {
		c.positions[p] += 1000
	}
	var damage *stream.DamageError
	if err := b.log.Consume(b.ctx, b.source+"-other", []string{b.table.Topic}, c); !errors.As(err, &damage) {
		b.Errorf("a position beyond the end gave %v", err)
	}
}

func consumeLater(b *bench) {
	later := Table(b.source, "later")
	c := newConsumer()
	stop := b.consuming(c, later.Topic, b.table.Topic)
	b.add(Record(b.table.Topic, 1, "x"))
	b.flush("r")
	c.until(b, "the topic that is there", func() bool { return c.count() == 1 })
	b.announce(later)
	b.add(Record(later.Topic, 2, "y"))
	b.flush("r")
	c.until(b, "the topic that came", func() bool { return c.count() == 2 })
	if err := stop(); err != nil {
		b.Error(err)
	}
}

func consumerError(b *bench) {
	b.add(Record(b.table.Topic, 1, "x"))
	b.flush("r")
	c := newConsumer()
	c.err = errors.New("state is broken")
	if err := b.log.Consume(b.ctx, b.source+"-group", []string{b.table.Topic}, c); !errors.Is(err, c.err) {
		b.Errorf("got %v", err)
	}
}
