package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/disk"
)

// sum is the checksum of the lane's entry. Called with mu, or before it is shared.
func (l *embeddedLane) sum() int64 {
	b := binary.AppendUvarint(nil, uint64(l.number))
	b = appendText(b, l.topic)
	for _, n := range []int64{int64(l.partition), l.start, l.next, l.bytes} {
		b = binary.AppendVarint(b, n)
	}
	return int64(crc32.Checksum(append(b, l.last[:]...), castagnoli))
}

func (s *embeddedSource) sum(name string) int64 {
	b := appendText(nil, name)
	b = binary.AppendUvarint(b, s.sequence)
	b = binary.AppendUvarint(b, s.saved)
	if s.resume != nil {
		b = appendText(append(b, 1), string(s.resume))
	}
	return int64(crc32.Checksum(b, castagnoli))
}

// embeddedWriter writes one source's topics.
type embeddedWriter struct {
	e      *Embedded
	source string
	marks  Marks
	loom   *loom
	tables map[string]bool // schema keys that are in the log or laid in
	mark   mark
	buf    []byte
	closed bool
}

// Writer opens the log for one source; see Log. It compares the log with the mark:
// what is missing from either is a *DamageError.
func (e *Embedded) Writer(ctx context.Context, source string, marks Marks) (Writer, error) {
	data, err := marks.Load(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("load mark of source %s: %w", source, err)
	}
	known := &mark{}
	if data != nil {
		if known, err = parseMark(data); err != nil {
			return nil, &DamageError{Source: source, Missing: "the mark in the state is damaged", Fix: fixState, Err: err}
		}
	}
	e.mu.Lock()
	s := e.sources[source]
	if s == nil {
		s = new(embeddedSource)
		e.sources[source] = s
	}
	if !e.opts.Adopt {
		if err := e.compare(source, s, known); err != nil {
			e.mu.Unlock()
			return nil, err
		}
	}
	w := &embeddedWriter{e: e, source: source, marks: marks, loom: newLoom(e.opts.MaxMessage, ""), tables: map[string]bool{}}
	for name, t := range e.topics {
		if t.source == source {
			w.loom.topics[name] = t.weave()
		}
	}
	s.owner = w
	e.mu.Unlock()
	if err := w.start(ctx); err != nil {
		w.loom.close()
		return nil, fmt.Errorf("open stream of source %s: %w", source, err)
	}
	return w, nil
}

// Resume returns a source's last durable resume point. The log has it itself.
func (e *Embedded) Resume(_ context.Context, source string, _ Marks) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.sources[source]; s != nil {
		return bytes.Clone(s.resume), nil
	}
	return nil, nil
}

const fixState = "put back state.db and stream.db of the same backup, or read the tables again: penstock source reset NAME"

// compare finds what the log or the state has lost. Called with mu.
func (e *Embedded) compare(source string, s *embeddedSource, known *mark) error {
	if known.sequence < s.saved {
		missing := fmt.Sprintf("the state is older than the log: it knows %d flushes and had been told of %d", known.sequence, s.saved)
		if known.log == "" {
			missing = fmt.Sprintf("the state knows nothing of this log, which has %d flushes", s.saved)
		}
		return &DamageError{Source: source, Missing: missing, Fix: "was an older state.db put back, or state.db removed? Put the newer one back, or go on with it as it is: " + fixAdopt}
	}
	for _, l := range known.lanes {
		t := e.topics[l.topic]
		var next int64
		var last change.ID
		if t != nil && l.partition < len(t.lanes) {
			next, last = t.lanes[l.partition].next, t.lanes[l.partition].last
		}
		if next < l.next {
			return &DamageError{Source: source, Topic: l.topic, Partition: l.partition, Offset: next, Missing: fmt.Sprintf("%d messages that were durable are gone", l.next-next), Fix: fixTail}
		}
		if next == l.next && last != l.last {
			return &DamageError{Source: source, Topic: l.topic, Partition: l.partition, Offset: next - 1, Missing: "the last message is another one than the state knows", Fix: fixTail}
		}
	}
	if known.log != "" && known.log != e.id {
		return &DamageError{Source: source, Missing: "the state belongs to another log than " + e.opts.Path, Fix: fixTail}
	}
	if known.sequence > s.sequence {
		return &DamageError{Source: source, Missing: fmt.Sprintf("the log has %d flushes and the state knows %d", s.sequence, known.sequence), Fix: fixTail}
	}
	return nil
}

const (
	fixTail  = "was an older stream.db put back, or its -wal file removed? Put them back, or read the tables again: penstock source reset NAME, " + fixAdopt
	fixAdopt = "then start once with --adopt"
)

// weave makes the writer's view of the topic's partitions. Called with mu.
func (t *embeddedTopic) weave() []*lane {
	lanes := make([]*lane, len(t.lanes))
	for i, l := range t.lanes {
		lanes[i] = &lane{topic: l.topic, partition: l.partition, last: l.last, next: l.next, written: l.last}
	}
	return lanes
}

// start makes the schemas topic, and reads which schemas are in it.
func (w *embeddedWriter) start(ctx context.Context) error {
	topic := SchemasTopic(w.source)
	if err := w.topic(ctx, topic, 1); err != nil {
		return err
	}
	start, end, err := w.e.Bounds(ctx, topic, 0)
	if err != nil {
		return err
	}
	for start < end {
		messages, err := w.e.Read(ctx, topic, 0, start, 1<<20)
		if err != nil {
			return err
		}
		for i := range messages {
			w.tables[string(messages[i].Key)] = true
			start = messages[i].Offset + 1
		}
	}
	return nil
}

// topic makes sure that there is a topic, in a transaction of its own.
func (w *embeddedWriter) topic(ctx context.Context, name string, partitions int) error {
	if w.loom.topics[name] != nil {
		return nil
	}
	e := w.e
	e.write.Lock()
	defer e.write.Unlock()
	if err := e.err(); err != nil {
		return err
	}
	e.mu.RLock()
	t := e.topics[name]
	first := len(e.lanes)
	e.mu.RUnlock()
	if t != nil {
		return fmt.Errorf("open topic %s: it belongs to source %s", name, t.source)
	}
	if first+partitions >= 1<<(63-offsetBits) {
		return fmt.Errorf("make topic %s: the embedded stream has room for %d partitions; use stream \"kafka\"", name, 1<<(63-offsetBits)-1)
	}
	ctx = context.WithoutCancel(ctx)
	lanes := make([]*embeddedLane, partitions)
	err := e.transact(ctx, func() error {
		for i := range lanes {
			l := &embeddedLane{number: first + i, topic: name, partition: i, changed: make(chan struct{})}
			lanes[i] = l
			if _, err := e.writer.ExecContext(ctx, "INSERT INTO lane (number, topic, partition, source, start, next, last, bytes, sum) VALUES (?, ?, ?, ?, 0, 0, ?, 0, ?)",
				l.number, name, i, w.source, l.last[:], l.sum()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make topic %s: %w", name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range lanes {
		e.addLane(l, w.source)
	}
	w.loom.topics[name] = e.topics[name].weave()
	close(e.fresh)
	e.fresh = make(chan struct{})
	return nil
}

// transact runs f in a transaction. Any error of the file is the last one: see fail.
// Called with write.
func (e *Embedded) transact(ctx context.Context, f func() error) error {
	if err := e.err(); err != nil {
		return err
	}
	if _, err := e.writer.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return e.fail(err)
	}
	err := f()
	if err == nil {
		if _, err = e.writer.ExecContext(ctx, "COMMIT"); err == nil {
			return nil
		}
	}
	_, rollback := e.writer.ExecContext(ctx, "ROLLBACK")
	if rollback != nil { // SQLite rolls some errors back itself
		rollback = nil
	}
	return e.fail(errors.Join(err, rollback))
}

// Resume returns the resume point of the last durable flush.
func (w *embeddedWriter) Resume() []byte {
	w.e.mu.RLock()
	defer w.e.mu.RUnlock()
	return bytes.Clone(w.e.sources[w.source].resume)
}

// Table makes the table's topic ready and lays its schema in, when it is new: it
// becomes durable with the first flush that has rows of it, or before.
func (w *embeddedWriter) Table(ctx context.Context, t *change.Table) error {
	if err := w.topic(ctx, t.Topic, w.e.opts.Partitions); err != nil {
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
func (w *embeddedWriter) Add(r *change.Record) (int, error) {
	if err := w.e.err(); err != nil {
		return 0, err
	}
	if w.loom.topics[r.Topic] == nil && r.Topic == MessageTopic(w.source) {
		if err := w.topic(context.Background(), r.Topic, w.e.opts.Partitions); err != nil {
			return 0, err
		}
	}
	return w.loom.add(r)
}

// Flush makes what was added durable; see capture.Log.
func (w *embeddedWriter) Flush(ctx context.Context, resume []byte) error {
	return w.Cut(resume)(ctx)
}

// Cut is the first half of Flush: it sets apart what was added so far. The function
// it returns is the second half, and may run in another goroutine while more is
// added; those functions must be called in the order of their cuts, one at a time.
func (w *embeddedWriter) Cut(resume []byte) func(ctx context.Context) error {
	pieces := w.loom.cut()
	resume = bytes.Clone(resume)
	return func(ctx context.Context) error {
		if err := w.commit(pieces, resume); err != nil {
			return err
		}
		w.loom.release(pieces)
		return w.save(ctx)
	}
}

// commit writes the pieces and the resume point in one transaction, and wakes the
// readers. It is not interrupted: what it began it ends.
func (w *embeddedWriter) commit(pieces []piece, resume []byte) error {
	e, ctx := w.e, context.Background()
	total := 0
	for i := range pieces {
		_, size := pieces[i].wait()
		total += size
	}
	if err := e.reserve(uint64(total)); err != nil {
		return err
	}
	e.write.Lock()
	defer e.write.Unlock()
	e.mu.RLock()
	s := e.sources[w.source]
	owner := s.owner
	after := embeddedSource{resume: resume, sequence: s.sequence + 1, saved: s.saved}
	e.mu.RUnlock()
	if w.closed || owner != w {
		return &FencedError{Source: w.source}
	}
	lanes := make([]embeddedLane, len(pieces)) // as they will be
	err := e.transact(ctx, func() error {
		for i := range pieces {
			p := &pieces[i]
			l, err := e.find(p.lane.topic, p.lane.partition)
			if err != nil {
				return err
			}
			e.mu.RLock()
			lanes[i] = *l
			e.mu.RUnlock()
			if err := w.insert(ctx, &lanes[i], p); err != nil {
				return err
			}
		}
		_, err := e.source.ExecContext(ctx, w.source, after.resume, after.sequence, after.saved, after.sum(w.source))
		return err
	})
	if err != nil {
		return fmt.Errorf("write stream of source %s: %w", w.source, err)
	}
	e.wal.Add(int64(total + pageSize*(len(pieces)+4)))
	e.mu.Lock()
	defer e.mu.Unlock()
	s.resume, s.sequence = after.resume, after.sequence
	for i := range pieces {
		e.publish(&lanes[i], pieces[i].batches)
	}
	close(e.moved)
	e.moved = make(chan struct{})
	return nil
}

// insert writes one partition's batches and moves its entry on.
func (w *embeddedWriter) insert(ctx context.Context, l *embeddedLane, p *piece) error {
	for _, b := range p.batches {
		setBaseOffset(b.out, l.next)
		row := rowOf(l.number, l.next)
		l.next += int64(b.count)
		l.bytes += int64(len(b.out))
		if _, err := w.e.insert.ExecContext(ctx, row, l.next, b.maxTime, b.out); err != nil {
			return err
		}
		if !b.last.IsZero() {
			l.last = b.last
		}
	}
	_, err := w.e.lane.ExecContext(ctx, l.start, l.next, l.last[:], l.bytes, l.sum(), l.number)
	return err
}

// publish makes a partition's new state known and wakes its readers. Called with mu.
func (e *Embedded) publish(after *embeddedLane, batches []*batch) {
	l := e.lanes[after.number]
	offset := l.next
	l.next, l.last, l.bytes = after.next, after.last, after.bytes
	for _, b := range batches {
		e.tail.add(l, tailBatch{base: offset, data: b.out})
		offset += int64(b.count)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// save puts the mark of the last commit into the state.
func (w *embeddedWriter) save(ctx context.Context) error {
	e := w.e
	m := &w.mark
	m.log, m.lanes = e.id, m.lanes[:0]
	e.mu.RLock()
	s := e.sources[w.source]
	m.sequence = s.sequence
	for _, l := range e.lanes {
		if e.topics[l.topic].source == w.source {
			m.lanes = append(m.lanes, laneMark{l.topic, l.partition, l.next, l.last})
		}
	}
	e.mu.RUnlock()
	w.buf = m.append(w.buf[:0])
	if err := w.marks.Save(ctx, w.source, w.buf); err != nil {
		return fmt.Errorf("save mark of source %s: %w", w.source, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.saved = max(s.saved, m.sequence)
	return nil
}

// Close gives up the place as the source's writer; what was not flushed is gone.
func (w *embeddedWriter) Close() error {
	w.e.write.Lock()
	defer w.e.write.Unlock()
	if !w.closed {
		w.closed = true
		w.loom.close()
	}
	return nil
}

// reserve refuses a write that would eat into the disk's reserve.
func (e *Embedded) reserve(size uint64) error {
	free, err := disk.Free(filepath.Dir(e.opts.Path))
	if err != nil {
		return e.fail(fmt.Errorf("look at the disk: %w", err))
	}
	// The bytes go into the WAL, and at the next checkpoint into the file.
	if free < e.opts.Reserve+2*size {
		return &DiskFullError{Path: e.opts.Path, Free: free, Reserve: e.opts.Reserve}
	}
	return nil
}
