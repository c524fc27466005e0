package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// reader is one group's reading of one partition.
type reader struct {
	group, topic string
	partition    int
}

// lowWater is up to where a group has a partition.
type lowWater struct{ position atomic.Int64 }

// Consume reads topics for one group; see Log. All partitions are this process's.
func (e *Embedded) Consume(ctx context.Context, group string, topics []string, c Consumer) error {
	generation, err := e.generation()
	if err != nil {
		return err
	}
	for _, topic := range topics {
		e.hold(group, topic)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, topic := range topics {
		g.Go(func() error {
			t := e.await(ctx, topic)
			if t == nil {
				return nil
			}
			for _, l := range t.lanes {
				g.Go(func() error { return e.follow(ctx, group, l, generation, c) })
			}
			return nil
		})
	}
	err = g.Wait()
	if err != nil {
		return fmt.Errorf("consume for %s: %w", group, err)
	}
	return nil
}

// generation returns a number above those of all owners before, in earlier runs of
// the process too.
func (e *Embedded) generation() (int64, error) {
	const inOneRun = 1 << 20
	n := e.owners.Add(1)
	if n == 1 {
		e.write.Lock()
		defer e.write.Unlock()
		ctx := context.Background()
		if err := e.transact(ctx, func() error {
			_, err := e.writer.ExecContext(ctx, "UPDATE meta SET value = ? WHERE key = 'runs'", strconv.FormatInt(e.run, 10))
			return err
		}); err != nil {
			return 0, err
		}
	}
	return e.run*inOneRun + n, nil
}

// await waits until the topic is there; nil: ctx ended.
func (e *Embedded) await(ctx context.Context, topic string) *embeddedTopic {
	for {
		t, fresh := e.topic(topic)
		if t != nil {
			return t
		}
		select {
		case <-fresh:
		case <-ctx.Done():
			return nil
		}
	}
}

// follow gives one partition to the consumer until ctx ends.
func (e *Embedded) follow(ctx context.Context, group string, l *embeddedLane, generation int64, c Consumer) error {
	next, err := c.Assign(ctx, l.topic, l.partition, generation)
	if err != nil {
		return ended(ctx, err)
	}
	start, _, err := e.Bounds(ctx, l.topic, l.partition)
	if err != nil {
		return err
	}
	if next < 0 {
		next = start
	}
	e.Taken(group, l.topic, l.partition, next)
	r := laneReader{e: e, lane: l, next: next}
	defer r.dec.close()
	idle := time.NewTimer(0)
	defer idle.Stop()
	for {
		e.mu.RLock()
		changed := l.changed
		e.mu.RUnlock()
		messages, err := r.read(takeSize)
		if err != nil {
			var gap *GapError
			if errors.As(err, &gap) {
				gap.Group = group
			}
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if len(messages) > 0 {
			if err := c.Take(ctx, l.topic, l.partition, messages); err != nil {
				return ended(ctx, err)
			}
			e.Taken(group, l.topic, l.partition, r.next)
			idle.Reset(idleAfter)
			continue
		}
		select {
		case <-changed:
		case <-idle.C:
			r.dec.shrink()
			if err := c.Idle(ctx, l.topic, l.partition, r.next); err != nil {
				return ended(ctx, err)
			}
			idle.Reset(idleAfter)
		case <-ctx.Done():
			return nil
		}
	}
}

// idleAfter is well below the second that Consumer promises.
const idleAfter = 500 * time.Millisecond

// ended is the error of a consumer whose context may have ended: then it is none.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return nil
	}
	return err
}

// hold keeps all of a topic for a group until each partition's position is known.
func (e *Embedded) hold(group, topic string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.readers[reader{group, topic, allPartitions}] == nil {
		e.readers[reader{group, topic, allPartitions}] = new(lowWater)
	}
}

// allPartitions is the partition of a group's claim on a whole topic.
const allPartitions = -1

// Taken says that a group has durably taken in a partition up to, not including, an
// offset: what lies below may be trimmed for its sake. Consume calls it.
func (e *Embedded) Taken(group, topic string, partition int, offset int64) {
	key := reader{group, topic, partition}
	e.mu.RLock()
	w := e.readers[key]
	e.mu.RUnlock()
	if w == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if w = e.readers[key]; w == nil {
			w = new(lowWater)
			e.readers[key] = w
		}
	}
	w.position.Store(offset)
}

// slowest returns the lowest position of the groups that read a partition, and
// whether there is any group. Called with mu.
func (e *Embedded) slowest(l *embeddedLane) (int64, bool) {
	position, found := int64(math.MaxInt64), false
	for key, w := range e.readers {
		if key.topic != l.topic {
			continue
		}
		switch key.partition {
		case l.partition:
			position, found = min(position, w.position.Load()), true
		case allPartitions:
			found = true
			if e.readers[reader{key.group, l.topic, l.partition}] == nil {
				position = 0
			}
		}
	}
	return position, found
}
