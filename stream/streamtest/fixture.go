// Package streamtest is the suite that every stream.Log passes, and what tests of
// streams share.
package streamtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/stream"
)

// Marks keeps marks in memory, as state would on disk.
type Marks struct {
	mu    sync.Mutex
	marks map[string][]byte
}

// Load returns the mark saved last.
func (m *Marks) Load(_ context.Context, source string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.marks[source]), nil
}

// Save keeps a mark.
func (m *Marks) Save(_ context.Context, source string, mark []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.marks == nil {
		m.marks = map[string][]byte{}
	}
	m.marks[source] = bytes.Clone(mark)
	return nil
}

// Open opens the same log again each time; the one before was closed or abandoned.
type Open func() stream.Log

// Bench is one test's log and what the suite does with it.
type bench struct {
	testing.TB
	ctx    context.Context
	open   Open
	log    stream.Log
	marks  *Marks
	source string
	table  *change.Table
	writer stream.Writer
}

// newBench opens a log and a writer of a source that no other test has.
func newBench(t testing.TB, start func(testing.TB) Open) *bench {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	b := &bench{TB: t, ctx: ctx, open: start(t), marks: &Marks{}, source: "s" + strings.ToLower(rand.Text()[:10])}
	b.table = Table(b.source, "customers")
	b.log = b.open()
	t.Cleanup(func() { b.log.Close() })
	b.write()
	return b
}

// Table is a table of a source.
func Table(source, name string) *change.Table {
	t := &change.Table{
		Database: "shop", Schema: "public", Name: name, Topic: change.Topic(source, "public", name), Key: []int{0},
		Columns: []change.Column{{Name: "id", Kind: change.Int, Type: "bigint"}, {Name: "name", Kind: change.String, Type: "text", Nullable: true}},
	}
	return t.Seal()
}

func (b *bench) write() {
	b.Helper()
	w, err := b.log.Writer(b.ctx, b.source, b.marks)
	if err != nil {
		b.Fatal(err)
	}
	b.writer = w
	b.announce(b.table)
}

func (b *bench) announce(t *change.Table) {
	b.Helper()
	if err := b.writer.Table(b.ctx, t); err != nil {
		b.Fatal(err)
	}
}

// restart gives up log and writer, as a process that dies does, and opens both again.
func (b *bench) restart() {
	b.Helper()
	b.writer.Close()
	if err := b.log.Close(); err != nil {
		b.Fatal(err)
	}
	b.log = b.open()
	b.write()
}

// Record is a message of a table with a key made of n and the id of change n.
func Record(topic string, n int, value string) *change.Record {
	r := &change.Record{Topic: topic, Key: fmt.Appendf(nil, `{"id":%d}`, n), ID: ID(n)}
	if value != "" {
		r.Value = []byte(value)
	}
	text, _ := r.ID.AppendText(nil)
	r.Headers = []change.Header{{Key: change.HeaderID, Value: text}, {Key: change.HeaderSchema, Value: []byte("v")}}
	return r
}

// ID is the id of change n.
func ID(n int) change.ID { return change.NewID(1, uint64(n), 0, 0) }

// add adds records and returns how many were taken.
func (b *bench) add(records ...*change.Record) int {
	b.Helper()
	taken := 0
	for _, r := range records {
		n, err := b.writer.Add(r)
		if err != nil {
			b.Fatal(err)
		}
		if n > 0 {
			taken++
		}
	}
	return taken
}

func (b *bench) flush(resume string) {
	b.Helper()
	if err := b.writer.Flush(b.ctx, []byte(resume)); err != nil {
		b.Fatal(err)
	}
}

// read returns all messages of a partition that are no fences, with their own memory.
func (b *bench) read(topic string, partition int) []stream.Message {
	b.Helper()
	start, end, err := b.log.Bounds(b.ctx, topic, partition)
	if err != nil {
		b.Fatal(err)
	}
	var out []stream.Message
	for start < end {
		messages, err := b.log.Read(b.ctx, topic, partition, start, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if len(messages) == 0 {
			b.Fatalf("topic %s partition %d: nothing at offset %d, and the end is %d", topic, partition, start, end)
		}
		for _, m := range messages {
			if m.Offset < start {
				b.Fatalf("topic %s partition %d: offset %d after %d", topic, partition, m.Offset, start-1)
			}
			start = m.Offset + 1
			if !IsFence(&m) {
				out = append(out, m)
			}
		}
	}
	return out
}

// readAll returns the messages of all partitions.
func (b *bench) readAll(topic string) [][]stream.Message {
	b.Helper()
	n, err := b.log.Partitions(b.ctx, topic)
	if err != nil {
		b.Fatal(err)
	}
	out := make([][]stream.Message, n)
	for i := range out {
		out[i] = b.read(topic, i)
	}
	return out
}

// IsFence tells whether a message is a writer's fence, which readers pass over.
func IsFence(m *stream.Message) bool {
	text, _ := m.Header(change.HeaderMarker)
	return bytes.Contains(text, []byte(`"fence"`))
}

// values are the messages' values, "-" for none.
func values(messages []stream.Message) []string {
	out := []string{}
	for i := range messages {
		if messages[i].Value == nil {
			out = append(out, "-")
		} else {
			out = append(out, string(messages[i].Value))
		}
	}
	return out
}
