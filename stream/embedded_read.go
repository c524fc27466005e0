package stream

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// fetchSize is how many bytes of sealed batches a reader gets from the file at once.
const fetchSize = 512 << 10

// fetch returns whole batches of a partition: the one that has offset first, at least
// that one and up to maxBytes; none when offset is the partition's end. The batches
// must not be changed. It returns the partition's bounds as well.
func (e *Embedded) fetch(l *embeddedLane, offset int64, maxBytes int) (batches [][]byte, start, end int64, err error) {
	e.mu.RLock()
	start, end = l.start, l.next
	batches = l.find(offset, maxBytes)
	e.mu.RUnlock()
	if batches != nil || offset < start || offset >= end {
		return batches, start, end, nil
	}
	if err := e.err(); err != nil {
		return nil, start, end, err
	}
	batches, err = e.fetchFile(l, offset, end, maxBytes)
	if err != nil {
		return nil, start, end, err
	}
	if len(batches) == 0 {
		// Trimmed in between, or gone.
		e.mu.RLock()
		start = l.start
		e.mu.RUnlock()
		if offset >= start {
			return nil, start, end, e.lost(l, offset, nil)
		}
	}
	return batches, start, end, nil
}

func (e *Embedded) fetchFile(l *embeddedLane, offset, end int64, maxBytes int) (batches [][]byte, err error) {
	ctx := context.Background()
	rows, err := e.db.QueryContext(ctx, `SELECT row, next, data FROM batch
		WHERE row >= (SELECT coalesce(max(row), ?2) FROM batch WHERE row <= ?1 AND row >= ?2) AND row < ?3 ORDER BY row`,
		rowOf(l.number, offset), rowOf(l.number, 0), rowOf(l.number, end))
	if err != nil {
		return nil, e.fail(err)
	}
	defer func() {
		if closing := rows.Close(); closing != nil && err == nil {
			err = e.fail(closing)
		}
	}()
	size := 0
	var raw sql.RawBytes
	for rows.Next() {
		var row, next int64
		if err := rows.Scan(&row, &next, &raw); err != nil {
			return nil, e.fail(err)
		}
		base := row & (1<<offsetBits - 1)
		if next <= offset || base > offset {
			return nil, e.lost(l, offset, errors.New("no batch has it"))
		}
		if info, err := parseBatch(raw); err != nil || info.size != len(raw) || info.base != base || info.last+1 != next {
			return nil, e.lost(l, base, errors.Join(err, errors.New("record batch is not the one that its entry tells of")))
		}
		if size += len(raw); len(batches) > 0 && size > maxBytes {
			return batches, nil
		}
		batches = append(batches, append(make([]byte, 0, len(raw)), raw...))
		offset = next
	}
	if err := rows.Err(); err != nil {
		return nil, e.fail(err)
	}
	return batches, nil
}

// lost is damage at an offset.
func (e *Embedded) lost(l *embeddedLane, offset int64, err error) error {
	return &DamageError{Topic: l.topic, Partition: l.partition, Offset: offset, Missing: "the messages there can't be read", Fix: fixBackup, Err: err}
}

// takeSize is how many bytes of plain records make one Take or one Read full.
const takeSize = 1 << 20

// laneReader reads one partition from an offset on.
type laneReader struct {
	e     *Embedded
	lane  *embeddedLane
	next  int64
	queue [][]byte // fetched and not decoded
	dec   decoder
}

// read decodes the next messages, none at the end. They are valid until the next read.
func (r *laneReader) read(maxBytes int) ([]Message, error) {
	r.dec.reset()
	size := 0
	for size < maxBytes {
		if len(r.queue) == 0 {
			if size > 0 {
				break
			}
			batches, start, end, err := r.e.fetch(r.lane, r.next, fetchSize)
			if err != nil {
				return nil, err
			}
			if r.next < start {
				return nil, &GapError{Topic: r.lane.topic, Partition: r.lane.partition, Want: r.next, Start: start}
			}
			if r.next > end {
				return nil, &DamageError{
					Topic: r.lane.topic, Partition: r.lane.partition, Offset: end,
					Missing: fmt.Sprintf("a reader had %d more messages than there are", r.next-end), Fix: fixTail,
				}
			}
			if len(batches) == 0 {
				break
			}
			r.queue = batches
		}
		b, err := r.dec.decode(r.queue[0], r.lane.topic, r.lane.partition, r.next)
		if err != nil {
			return nil, r.e.lost(r.lane, max(r.next, b.base), err)
		}
		size += b.size + len(r.dec.last())
		r.next = b.last + 1
		r.queue[0] = nil
		r.queue = r.queue[1:]
	}
	return r.dec.messages, nil
}

// Read returns records of one partition; see Log.
func (e *Embedded) Read(_ context.Context, topic string, partition int, offset int64, maxBytes int) ([]Message, error) {
	l, err := e.find(topic, partition)
	if err != nil {
		return nil, err
	}
	r := laneReader{e: e, lane: l, next: offset}
	defer r.dec.close()
	batches, start, _, err := e.fetch(l, offset, max(maxBytes, 1))
	if err != nil {
		return nil, err
	}
	if offset < start {
		return nil, &GapError{Topic: topic, Partition: partition, Want: offset, Start: start}
	}
	if len(batches) == 0 {
		return nil, nil
	}
	r.queue = batches
	messages, err := r.read(max(maxBytes, 1))
	if err != nil {
		return nil, err
	}
	return limitMessages(messages, maxBytes), nil
}

// limitMessages keeps as many messages as fit, and at least one.
func limitMessages(messages []Message, maxBytes int) []Message {
	size := 0
	for i := range messages {
		m := &messages[i]
		size += len(m.Key) + len(m.Value)
		for j := range m.Headers {
			size += len(m.Headers[j].Key) + len(m.Headers[j].Value)
		}
		if size > maxBytes && i > 0 {
			return messages[:i]
		}
	}
	return messages
}
