// Package stream is the log between capture and the sinks: topics of record batches
// in Kafka's format (v2), kept by a Kafka cluster or in an embedded SQLite file. The
// bytes are the same in both.
package stream

import (
	"context"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// Log is one stream: embedded (OpenEmbedded) or a Kafka cluster (OpenKafka).
type Log interface {
	// Writer opens the log for one source's capture. There is one writer a source at a
	// time; a second one fences the first. It implements capture.Log.
	Writer(ctx context.Context, source string, marks Marks) (Writer, error)

	// Resume returns the resume point of a source's last durable flush, nil where there was none, without opening a
	// writer.
	Resume(ctx context.Context, source string, marks Marks) ([]byte, error)

	// Consume reads topics for one group (a pipeline) until ctx ends (nil) or a fatal
	// error. See Consumer.
	Consume(ctx context.Context, group string, topics []string, c Consumer) error

	// Schema returns a table's schema by its topic and version, from the source's
	// schemas topic; it waits a short while for one that is on its way.
	Schema(ctx context.Context, source, topic, version string) (*change.Table, error)

	// Partitions returns how many partitions a topic has; 0: there is no such topic (yet).
	Partitions(ctx context.Context, topic string) (int, error)

	// Bounds returns the first kept and the next offset of a partition.
	Bounds(ctx context.Context, topic string, partition int) (start, end int64, err error)

	// Read returns the records of one partition from an offset on, as many as fit in
	// maxBytes but at least one if there is one, and none at the end.
	Read(ctx context.Context, topic string, partition int, offset int64, maxBytes int) ([]Message, error)

	// Topics lists the topics whose name starts with prefix, sorted.
	Topics(ctx context.Context, prefix string) ([]string, error)

	Close() error
}

// Writer appends one source's records. Its methods are those of capture.Log (see
// there); they are called by one goroutine.
type Writer interface {
	Resume() []byte
	Table(ctx context.Context, t *change.Table) error
	Add(r *change.Record) (int, error)
	Flush(ctx context.Context, resume []byte) error
	Close() error
}

// Marks keeps, for one source, what the writer knows to be durable (the high-water
// mark: last offset and id of each partition; the producer id; with Kafka the resume
// point too), apart from the log, so that a log that lost its tail is seen. The
// content is the stream's own; state implements it.
type Marks interface {
	Load(ctx context.Context, source string) ([]byte, error) // nil: none yet
	Save(ctx context.Context, source string, mark []byte) error
}

// Message is one record as it was read.
type Message struct {
	Topic     string
	Partition int
	Offset    int64
	Time      time.Time // of publishing
	Key       []byte
	Value     []byte // nil: a tombstone or a marker
	Headers   []change.Header
}

// Header returns a header's value and whether the message has it.
func (m *Message) Header(key string) ([]byte, bool) {
	for i := range m.Headers {
		if m.Headers[i].Key == key {
			return m.Headers[i].Value, true
		}
	}
	return nil, false
}

// Consumer takes in what Consume reads.
//
// Assign and Take of one partition are called one after the other; those of several
// partitions may run in parallel.
type Consumer interface {
	// Assign is called when this process gets a partition, before its first Take: it
	// returns the offset to read from, from the consumer's own state; a negative one
	// means from the start of the log. The generation is larger for each new owner of a partition;
	// state written for an older one must be refused. An offset below the start of the log is a
	// gap: Consume ends with a *GapError.
	Assign(ctx context.Context, topic string, partition int, generation int64) (offset int64, err error)
	// Take takes in consecutive messages; when it returns nil they are durably taken
	// in. Its ctx ends when the partition is lost. Messages and their memory are the
	// consumer's until Take returns.
	Take(ctx context.Context, topic string, partition int, messages []Message) error
	// Idle is called at least once a second while a partition has nothing to read, with its next offset.
	Idle(ctx context.Context, topic string, partition int, next int64) error
}
