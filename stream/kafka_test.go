package stream_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/integration/service"
	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/stream/streamtest"
)

func openKafka(tb testing.TB, opts stream.KafkaOptions) *stream.Kafka {
	tb.Helper()
	if opts.Brokers == nil {
		opts.Brokers = []string{service.Shared(tb, "kafka").Addr}
	}
	k, err := stream.OpenKafka(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestKafka(t *testing.T) {
	service.Shared(t, "kafka")
	streamtest.Run(t, func(tb testing.TB) streamtest.Open {
		return func() stream.Log { return openKafka(tb, stream.KafkaOptions{Partitions: 3}) }
	})
}

// TestKafkaCrash kills writers in the middle of flushes.
func TestKafkaCrash(t *testing.T) {
	brokers := service.Shared(t, "kafka").Addr
	dir := filepath.Join(t.TempDir(), "k"+strings.ToLower(rand.Text()[:10]))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	crash(t, dir, false, brokers, 12, func() stream.Log { return openKafka(t, stream.KafkaOptions{}) })
}

// kafkaCase is a source of its own with one table.
type kafkaCase struct {
	*testing.T
	k      *stream.Kafka
	client *kafka.Client
	source string
	marks  *streamtest.Marks
	table  *change.Table
}

func newKafkaCase(t *testing.T) *kafkaCase {
	t.Helper()
	c := &kafkaCase{
		T: t, k: openKafka(t, stream.KafkaOptions{Partitions: 2}), marks: &streamtest.Marks{}, source: "k" + strings.ToLower(rand.Text()[:10]),
		client: &kafka.Client{Addr: kafka.TCP(service.Shared(t, "kafka").Addr), Transport: &kafka.Transport{}},
	}
	c.table = streamtest.Table(c.source, "customers")
	return c
}

func (c *kafkaCase) writer(marks stream.Marks) stream.Writer {
	c.Helper()
	w, err := c.k.Writer(c.Context(), c.source, marks)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { w.Close() })
	if err := w.Table(c.Context(), c.table); err != nil {
		c.Fatal(err)
	}
	return w
}

func (c *kafkaCase) put(w stream.Writer, from, to int) (taken int) {
	c.Helper()
	for i := from; i < to; i++ {
		n, err := w.Add(streamtest.Record(c.table.Topic, i, fmt.Sprint(i)))
		if err != nil {
			c.Fatal(err)
		}
		if n > 0 {
			taken++
		}
	}
	return taken
}

// seen counts each value on the table's topic.
func (c *kafkaCase) seen() map[string]int {
	c.Helper()
	seen := map[string]int{}
	n, err := c.k.Partitions(c.Context(), c.table.Topic)
	if err != nil {
		c.Fatal(err)
	}
	for p := range n {
		start, end, err := c.k.Bounds(c.Context(), c.table.Topic, p)
		if err != nil {
			c.Fatal(err)
		}
		for start < end {
			messages, err := c.k.Read(c.Context(), c.table.Topic, p, start, 1<<20)
			if err != nil || len(messages) == 0 {
				c.Fatalf("%d messages at %d, %v", len(messages), start, err)
			}
			for i := range messages {
				start = messages[i].Offset + 1
				if !streamtest.IsFence(&messages[i]) {
					seen[string(messages[i].Value)]++
				}
			}
		}
	}
	return seen
}

// failingMarks fail from some time on: the process ends between log and mark.
type failingMarks struct {
	*streamtest.Marks
	fail bool
}

func (m *failingMarks) Save(ctx context.Context, source string, mark []byte) error {
	if m.fail {
		return errors.New("killed")
	}
	return m.Marks.Save(ctx, source, mark)
}

// What was written and is in no mark is read back, and not written again.
func TestKafkaReadBack(t *testing.T) {
	c := newKafkaCase(t)
	marks := &failingMarks{Marks: c.marks}
	w := c.writer(marks)
	c.put(w, 1, 50)
	if err := w.Flush(t.Context(), []byte("a")); err != nil {
		t.Fatal(err)
	}
	marks.fail = true
	c.put(w, 50, 100)
	if err := w.Flush(t.Context(), []byte("b")); err == nil {
		t.Fatal("the mark was not saved, and Flush says nothing")
	}
	next := c.writer(c.marks)
	if got := string(next.Resume()); got != "a" {
		t.Errorf("resumes from %q, want a", got)
	}
	if n := c.put(next, 50, 120); n != 20 {
		t.Errorf("%d taken, want the 20 that are not there", n)
	}
	if err := next.Flush(t.Context(), []byte("c")); err != nil {
		t.Fatal(err)
	}
	seen := c.seen()
	for i := 1; i < 120; i++ {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("change %d is there %d times", i, seen[fmt.Sprint(i)])
		}
	}
}

// With the state lost, a writer that still runs is kept out all the same.
func TestKafkaStateLost(t *testing.T) {
	c := newKafkaCase(t)
	zombie := c.writer(c.marks)
	c.put(zombie, 1, 50)
	if err := zombie.Flush(t.Context(), []byte("a")); err != nil {
		t.Fatal(err)
	}
	c.put(zombie, 50, 100)
	w := c.writer(&streamtest.Marks{})
	if n := c.put(w, 40, 60); n != 10 {
		t.Errorf("%d taken, want the 10 that are not there", n)
	}
	if err := w.Flush(t.Context(), []byte("b")); err != nil {
		t.Fatal(err)
	}
	// It knows nothing of the new state; what it finds in its partitions tells it.
	var fenced *stream.FencedError
	if err := zombie.Flush(t.Context(), []byte("c")); !errors.As(err, &fenced) {
		t.Errorf("a writer of another state was told %v", err)
	}
	for value, n := range c.seen() {
		if n != 1 {
			t.Errorf("change %s is there %d times", value, n)
		}
	}
}

func TestKafkaLoss(t *testing.T) {
	t.Run("topic deleted", func(t *testing.T) {
		c := newKafkaCase(t)
		w := c.writer(c.marks)
		c.put(w, 1, 50)
		if err := w.Flush(t.Context(), []byte("a")); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if res, err := c.client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{c.table.Topic}}); err != nil || res.Errors[c.table.Topic] != nil {
			t.Fatal(err, res)
		}
		var damage *stream.DamageError
		deadline := time.Now().Add(20 * time.Second)
		for !errors.As(reopened(c), &damage) {
			if time.Now().After(deadline) {
				t.Fatal("a deleted topic was not noticed")
			}
		}
		t.Log(damage)
		// Made anew and empty: shorter than the mark.
		if res, err := c.client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: c.table.Topic, NumPartitions: 2, ReplicationFactor: 1}}}); err != nil || res.Errors[c.table.Topic] != nil {
			t.Fatal(err, res)
		}
		if err := reopened(c); !errors.As(err, &damage) || damage.Topic != c.table.Topic {
			t.Errorf("a topic that lost its messages gave %v", err)
		}
		adopting := openKafka(t, stream.KafkaOptions{Partitions: 2, Adopt: true})
		w, err := adopting.Writer(t.Context(), c.source, c.marks)
		if err != nil {
			t.Fatalf("adopted: %v", err)
		}
		w.Close()
	})
	t.Run("partitions added", func(t *testing.T) {
		c := newKafkaCase(t)
		w := c.writer(c.marks)
		c.put(w, 1, 50)
		if err := w.Flush(t.Context(), []byte("a")); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if res, err := c.client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: c.table.Topic, Count: 3}}}); err != nil || res.Errors[c.table.Topic] != nil {
			t.Fatal(err, res)
		}
		var changed *stream.PartitionsError
		deadline := time.Now().Add(20 * time.Second)
		for !errors.As(reopened(c), &changed) {
			if time.Now().After(deadline) {
				t.Fatal("an added partition was not noticed")
			}
		}
	})
}

// reopened is the error of opening the case's writer.
func reopened(c *kafkaCase) error {
	w, err := c.k.Writer(c.Context(), c.source, c.marks)
	if err == nil {
		w.Close()
	}
	return err
}

// A foreign message in a table's topic shifts offsets: the writer notices, reads back and goes on.
func TestKafkaForeignWrite(t *testing.T) {
	c := newKafkaCase(t)
	w := c.writer(c.marks)
	c.put(w, 1, 50)
	if err := w.Flush(t.Context(), []byte("a")); err != nil {
		t.Fatal(err)
	}
	for p := range 2 {
		res, err := c.client.Produce(t.Context(), &kafka.ProduceRequest{
			Topic: c.table.Topic, Partition: p, RequiredAcks: kafka.RequireAll,
			Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("foreign"))}),
		})
		if err != nil || res.Error != nil {
			t.Fatal(err, res)
		}
	}
	c.put(w, 50, 100)
	if err := w.Flush(t.Context(), []byte("b")); err != nil {
		t.Fatal(err)
	}
	next := c.writer(c.marks)
	c.put(next, 90, 110)
	if err := next.Flush(t.Context(), []byte("c")); err != nil {
		t.Fatal(err)
	}
	seen := c.seen()
	for i := 1; i < 110; i++ {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("change %d is there %d times", i, seen[fmt.Sprint(i)])
		}
	}
}

// where tells what a consumer is given, and takes everything in.
type where struct {
	assigned chan int
	taken    atomic.Int64
}

func (w *where) Assign(ctx context.Context, _ string, partition int, _ int64) (int64, error) {
	select {
	case w.assigned <- partition:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (w *where) Take(_ context.Context, _ string, _ int, messages []stream.Message) error {
	w.taken.Add(int64(len(messages)))
	return nil
}

func (w *where) Idle(context.Context, string, int, int64) error { return nil }

// A second reader with a state of its own is refused before it is given anything, the
// first goes on; what a reader that is gone leaves behind keeps nobody out.
func TestKafkaAlone(t *testing.T) {
	c := newKafkaCase(t)
	w := c.writer(c.marks)
	c.put(w, 1, 100)
	if err := w.Flush(t.Context(), []byte("a")); err != nil {
		t.Fatal(err)
	}
	read := func(ctx context.Context) (*where, chan error) {
		to, done := &where{assigned: make(chan int, 8)}, make(chan error, 1)
		k := openKafka(t, stream.KafkaOptions{Alone: true})
		go func() { done <- k.Consume(ctx, c.source, []string{c.table.Topic}, to) }()
		return to, done
	}
	ctx, stop := context.WithCancel(t.Context())
	first, ended := read(ctx)
	<-first.assigned
	<-first.assigned
	second, refused := read(t.Context())
	var shared *stream.SharedGroupError
	if err := <-refused; !errors.As(err, &shared) || shared.Group != c.source || len(shared.Members) != 1 {
		t.Errorf("second reader ended with %v", err)
	}
	if len(second.assigned) > 0 || second.taken.Load() > 0 || len(first.assigned) > 0 {
		t.Errorf("the second was given %d partitions and %d messages; the first lost and got back %d", len(second.assigned), second.taken.Load(), len(first.assigned))
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("first reader ended with %v", err)
	}
	ctx, stop = context.WithCancel(t.Context())
	third, ended := read(ctx)
	<-third.assigned
	<-third.assigned
	stop()
	<-ended
}

// Readers that come at the same moment and see nobody yet: none is given a message
// beside another.
func TestKafkaAloneAtOnce(t *testing.T) {
	c := newKafkaCase(t)
	w := c.writer(c.marks)
	c.put(w, 1, 100)
	if err := w.Flush(t.Context(), []byte("a")); err != nil {
		t.Fatal(err)
	}
	const readers = 3
	var taken atomic.Int64
	ended := make(chan error, readers)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for range readers {
		k := openKafka(t, stream.KafkaOptions{Alone: true})
		to := &where{assigned: make(chan int, 8)}
		go func() {
			err := k.Consume(ctx, c.source, []string{c.table.Topic}, to)
			if to.taken.Load() > 0 {
				taken.Add(1)
			}
			ended <- err
		}()
	}
	for range readers - 1 {
		var shared *stream.SharedGroupError
		if err := <-ended; !errors.As(err, &shared) {
			t.Errorf("a reader ended with %v", err)
		}
	}
	stop()
	<-ended
	if taken.Load() > 1 {
		t.Errorf("%d readers took messages in", taken.Load())
	}
}

// The broker is killed and comes back while a writer writes: nothing is lost or doubled.
func TestKafkaBrokerKilled(t *testing.T) {
	broker := service.StartKafka(t)
	k := openKafka(t, stream.KafkaOptions{Brokers: []string{broker.Addr}, Partitions: 2})
	c := &kafkaCase{T: t, k: k, marks: &streamtest.Marks{}, source: "shop", table: streamtest.Table("shop", "customers")}
	w := c.writer(c.marks)
	c.put(w, 1, 500)
	if err := w.Flush(t.Context(), []byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := broker.Kill(); err != nil {
		t.Fatal(err)
	}
	c.put(w, 500, 1000)
	done := make(chan error, 1)
	go func() { done <- w.Flush(t.Context(), []byte("b")) }()
	if err := broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	seen := c.seen()
	for i := 1; i < 1000; i++ {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("change %d is there %d times", i, seen[fmt.Sprint(i)])
		}
	}
}
