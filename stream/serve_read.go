package stream

import (
	"context"
	"errors"
	"time"
)

func (s *server) listOffsets(ctx context.Context, c *call) {
	c.in.int32() // replica
	if c.version >= 2 {
		c.in.int8() // isolation: there are no transactions
	}
	c.throttle(2)
	topics := c.in.array()
	c.array(max(topics, 0))
	for range topics {
		topic := c.in.string()
		c.string(topic)
		partitions := c.in.array()
		c.array(max(partitions, 0))
		for range partitions {
			partition := c.in.int32()
			if c.version >= 4 {
				c.in.int32()
			}
			at, offset, code := s.offsetAt(ctx, topic, int(partition), c.in.int64())
			c.int32(partition)
			c.int16(code)
			c.int64(at)
			c.int64(offset)
			if c.version >= 4 {
				c.int32(0) // leader epoch
			}
		}
	}
}

// Times with a meaning of their own.
const (
	timeLatest   = -1
	timeEarliest = -2
	timeMax      = -3 // the record with the latest time
)

// offsetAt returns the first offset whose record is not older than a time in ms.
func (s *server) offsetAt(_ context.Context, topic string, partition int, at int64) (time, offset int64, code int16) {
	l, err := s.e.find(topic, partition)
	if err != nil {
		return -1, -1, codeUnknownTopic
	}
	s.e.mu.RLock()
	start, end := l.start, l.next
	s.e.mu.RUnlock()
	switch at {
	case timeLatest:
		return -1, end, codeNone
	case timeEarliest:
		return -1, start, codeNone
	case timeMax:
		if start == end {
			return -1, -1, codeNone
		}
		return -1, end - 1, codeNone
	}
	time, offset, err = s.e.offsetOf(l, start, at)
	if err != nil {
		s.e.opts.Logger.Error("offset by time not found", "topic", topic, "partition", partition, "error", err)
		return -1, -1, codeStorage
	}
	return time, offset, codeNone
}

// offsetOf finds the first record that is not older than a time; -1, -1: there is none.
func (e *Embedded) offsetOf(l *embeddedLane, start, at int64) (ms, offset int64, err error) {
	rows, err := e.db.QueryContext(context.Background(), "SELECT row FROM batch WHERE row >= ? AND row < ? AND time >= ? ORDER BY row LIMIT 1",
		rowOf(l.number, 0), rowOf(l.number+1, 0), at)
	if err != nil {
		return -1, -1, err
	}
	defer rows.Close()
	row := int64(-1)
	for rows.Next() {
		err = errors.Join(err, rows.Scan(&row))
	}
	if err := errors.Join(err, rows.Err()); err != nil || row < 0 {
		return -1, -1, err
	}
	base := max(row&(1<<offsetBits-1), start)
	batches, _, _, err := e.fetch(l, base, 1)
	if err != nil || len(batches) == 0 {
		return -1, -1, err
	}
	var d decoder
	defer d.close()
	if _, err := d.decode(batches[0], l.topic, l.partition, base); err != nil {
		return -1, -1, e.lost(l, base, err)
	}
	for i := range d.messages {
		if t := d.messages[i].Time.UnixMilli(); t >= at {
			return t, d.messages[i].Offset, nil
		}
	}
	return -1, -1, nil
}

// fetchMax bounds an answer, whatever the client asks for.
const fetchMax = 16 << 20

// asked is what a fetch asks of one partition, and what is there.
type asked struct {
	partition int32
	offset    int64
	maxBytes  int
	lane      *embeddedLane

	code       int16
	start, end int64
	batches    [][]byte
}

func (s *server) fetch(ctx context.Context, c *call) {
	c.in.int32() // replica
	wait := time.Duration(c.in.int32()) * time.Millisecond
	least := int(c.in.int32())
	most := min(max(int(c.in.int32()), 1), fetchMax)
	c.in.int8() // isolation
	if c.version >= 7 {
		c.in.int32() // session: none is kept, each fetch is whole
		c.in.int32()
	}
	type topicAsked struct {
		name       string
		partitions []*asked
	}
	var topics []topicAsked
	for range max(c.in.array(), 0) {
		t := topicAsked{name: c.in.string()}
		for range max(c.in.array(), 0) {
			a := &asked{partition: c.in.int32()}
			if c.version >= 9 {
				c.in.int32() // leader epoch
			}
			a.offset = c.in.int64()
			if c.version >= 5 {
				c.in.int64()
			}
			a.maxBytes = int(c.in.int32())
			a.lane, _ = s.e.find(t.name, int(a.partition))
			t.partitions = append(t.partitions, a)
		}
		topics = append(topics, t)
	}
	deadline := time.NewTimer(max(wait, 0))
	defer deadline.Stop()
	for waiting := true; ; {
		s.e.mu.RLock()
		moved := s.e.moved
		s.e.mu.RUnlock()
		size, failed := 0, false
		for _, t := range topics {
			for _, a := range t.partitions {
				size += s.gather(a, min(a.maxBytes, most-size), size == 0)
				failed = failed || a.code != codeNone
			}
		}
		if size >= least || failed || !waiting || c.in.bad {
			break
		}
		select {
		case <-moved:
		case <-deadline.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	c.int32(0)
	if c.version >= 7 {
		c.int16(codeNone)
		c.int32(0) // no session
	}
	c.array(len(topics))
	for _, t := range topics {
		c.string(t.name)
		c.array(len(t.partitions))
		for _, a := range t.partitions {
			c.partition(a)
		}
	}
}

// gather gets a partition's batches, up to maxBytes, but at least one if atLeastOne.
func (s *server) gather(a *asked, maxBytes int, atLeastOne bool) (size int) {
	a.batches = nil
	if a.lane == nil {
		a.code = codeUnknownTopic
		return 0
	}
	batches, start, end, err := s.e.fetch(a.lane, a.offset, max(maxBytes, 1))
	a.start, a.end = start, end
	switch {
	case err != nil:
		s.e.opts.Logger.Error("kafka client can't read", "topic", a.lane.topic, "partition", a.lane.partition, "error", err)
		a.code = codeStorage
		return 0
	case a.offset < start || a.offset > end:
		a.code = codeOffsetOutOfRange
		return 0
	}
	a.code = codeNone
	for _, b := range batches {
		if size+len(b) > maxBytes && (!atLeastOne || size > 0) {
			break
		}
		a.batches = append(a.batches, b)
		size += len(b)
	}
	return size
}

func (c *call) partition(a *asked) {
	c.int32(a.partition)
	c.int16(a.code)
	end, start := a.end, a.start
	if a.code == codeUnknownTopic {
		end, start = -1, -1
	}
	c.int64(end)
	c.int64(end) // of what transactions have settled
	if c.version >= 5 {
		c.int64(start)
	}
	c.array(0) // aborted transactions
	if c.version >= 11 {
		c.int32(-1) // no other replica is better
	}
	room := c.room()
	for _, b := range a.batches {
		c.b = append(c.b, b...)
	}
	c.settle(room)
}
