package capture

import (
	"sync/atomic"

	"github.com/penstock-cdc/penstock/change"
)

// batch is encoded records on their way into the log, in one piece of memory.
type batch struct {
	memory  []byte
	items   []item
	headers []header
	resume  []byte // of the last Commit in it; empty: there is none
	number  uint64 // counts batches, from 1
}

// item is a record, or with table set the announcement of a table.
type item struct {
	table      *change.Table
	topic      string
	id         change.ID
	key, value span
	headers    span // of batch.headers
	everywhere bool
	count      *atomic.Uint64 // raised when the log takes it; nil: not counted
}

type header struct {
	key   string
	value span
}

// span is a part of a slice; a negative length stands for nil.
type span struct{ start, length int }

func (b *batch) keep(p []byte) span {
	if p == nil {
		return span{length: -1}
	}
	s := span{len(b.memory), len(p)}
	b.memory = append(b.memory, p...)
	return s
}

func (b *batch) bytes(s span) []byte {
	if s.length < 0 {
		return nil
	}
	return b.memory[s.start : s.start+s.length : s.start+s.length]
}

func (b *batch) announce(t *change.Table) { b.items = append(b.items, item{table: t}) }

// add copies a record and returns its item, valid until the next add.
func (b *batch) add(r *change.Record) *item {
	b.items = append(b.items, item{topic: r.Topic, id: r.ID, everywhere: r.Everywhere})
	it := &b.items[len(b.items)-1]
	it.key, it.value = b.keep(r.Key), b.keep(r.Value)
	it.headers = span{len(b.headers), len(r.Headers)}
	for i := range r.Headers {
		b.headers = append(b.headers, header{r.Headers[i].Key, b.keep(r.Headers[i].Value)})
	}
	return it
}

// record writes an item into r, with r's memory for the headers.
func (b *batch) record(it *item, r *change.Record) {
	headers := r.Headers[:0]
	for _, h := range b.headers[it.headers.start : it.headers.start+it.headers.length] {
		headers = append(headers, change.Header{Key: h.key, Value: b.bytes(h.value)})
	}
	*r = change.Record{
		Topic: it.topic, ID: it.id, Everywhere: it.everywhere,
		Key: b.bytes(it.key), Value: b.bytes(it.value), Headers: headers,
	}
}

func (b *batch) empty() bool { return len(b.items) == 0 && len(b.resume) == 0 }

// reset empties the batch, and gives back memory beyond what a usual one takes.
func (b *batch) reset(usual int) {
	if cap(b.memory) > 2*usual {
		b.memory = nil
	}
	clear(b.items) // tables
	b.memory, b.items, b.headers, b.resume = b.memory[:0], b.items[:0], b.headers[:0], b.resume[:0]
}
