package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/stream/streamtest"
)

// endpoint is an embedded log with a Kafka endpoint and a writer.
type endpoint struct {
	*stream.Embedded
	addr   string
	table  *change.Table
	writer stream.Writer
	stop   func() error
}

func serve(t *testing.T, path string, marks stream.Marks) *endpoint {
	t.Helper()
	e := openEmbedded(t, stream.EmbeddedOptions{Path: path, Partitions: 3})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, listener) }()
	w, err := e.Writer(t.Context(), "shop", marks)
	if err != nil {
		t.Fatal(err)
	}
	p := &endpoint{Embedded: e, addr: listener.Addr().String(), table: streamtest.Table("shop", "customers"), writer: w}
	if err := w.Table(t.Context(), p.table); err != nil {
		t.Fatal(err)
	}
	stopped := false
	p.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return errors.Join(<-done, e.Close())
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *endpoint) put(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := p.writer.Add(streamtest.Record(p.table.Topic, i, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.writer.Flush(t.Context(), []byte("r")); err != nil {
		t.Fatal(err)
	}
}

// client makes a franz-go client that tells what it dislikes.
func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.FetchMaxWait(200 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// poll reads until it has n records more.
func poll(t *testing.T, c *kgo.Client, n int, seen map[string]int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for n > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v, with %d records to come", err, n)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen[string(r.Value)]++
			n--
		})
	}
}

func TestServe(t *testing.T) {
	path, marks := filepath.Join(t.TempDir(), "stream.db"), &streamtest.Marks{}
	p := serve(t, path, marks)
	p.put(t, 1, 1001)

	t.Run("direct", func(t *testing.T) {
		c := client(t, p.addr, kgo.ConsumeTopics(p.table.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		seen := map[string]int{}
		poll(t, c, 1000, seen)
		start := time.Now()
		p.put(t, 2001, 2002)
		poll(t, c, 1, seen)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("a new message took %v to a client that waits", took)
		}
		if len(seen) != 1001 {
			t.Errorf("%d different messages, want 1001", len(seen))
		}
		r := c.BufferedFetchRecords()
		if r != 0 {
			t.Errorf("%d messages too many", r)
		}
	})

	t.Run("by time", func(t *testing.T) {
		c := client(t, p.addr, kgo.ConsumeTopics(p.table.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(time.Now().Add(-time.Hour).UnixMilli())))
		poll(t, c, 1001, map[string]int{})
	})

	t.Run("group", func(t *testing.T) {
		group := func() *kgo.Client {
			return client(t, p.addr, kgo.ConsumeTopics(p.table.Topic), kgo.ConsumerGroup("readers"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		}
		a := group()
		seen := map[string]int{}
		poll(t, a, 1001, seen)
		if err := a.CommitUncommittedOffsets(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A second member gets some of the partitions; together they see each message once.
		b := group()
		deadline := time.Now().Add(30 * time.Second)
		got := map[*kgo.Client]int{}
		next := 3000
		for (got[a] == 0 || got[b] == 0) && time.Now().Before(deadline) {
			p.put(t, next, next+30)
			next += 30
			for _, c := range []*kgo.Client{a, b} {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				fetches := c.PollFetches(ctx)
				cancel()
				fetches.EachRecord(func(r *kgo.Record) {
					got[c]++
					seen[string(r.Value)]++
				})
				if err := c.CommitUncommittedOffsets(t.Context()); err != nil && !errors.Is(err, kerr.RebalanceInProgress) && !errors.Is(err, kerr.IllegalGeneration) {
					t.Logf("commit: %v", err)
				}
			}
		}
		if got[a] == 0 || got[b] == 0 {
			t.Errorf("two members got %d and %d messages", got[a], got[b])
		}
		a.Close()
		b.Close()
	})

	t.Run("writing is refused", func(t *testing.T) {
		for _, opts := range [][]kgo.Opt{nil, {kgo.DisableIdempotentWrite()}} {
			c := client(t, p.addr, append(opts, kgo.RecordRetries(1))...)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			err := c.ProduceSync(ctx, &kgo.Record{Topic: p.table.Topic, Value: []byte("x")}).FirstErr()
			cancel()
			if !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
				t.Errorf("got %v", err)
			}
		}
	})

	t.Run("committed offsets outlive the process", func(t *testing.T) {
		c := client(t, p.addr, kgo.ConsumeTopics(p.table.Topic), kgo.ConsumerGroup("lasting"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		poll(t, c, 1001, map[string]int{})
		if err := c.CommitUncommittedOffsets(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := c.CommittedOffsets()[p.table.Topic]
		c.Close()
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		p = serve(t, path, marks)
		p.put(t, 900_001, 900_002)
		c = client(t, p.addr, kgo.ConsumeTopics(p.table.Topic), kgo.ConsumerGroup("lasting"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for found := false; !found; {
			fetches := c.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if at, ok := before[r.Partition]; ok && r.Offset < at.Offset {
					t.Errorf("partition %d: read offset %d again, %d was committed", r.Partition, r.Offset, at.Offset)
				}
				found = found || string(r.Value) == "900001"
			})
		}
	})
}

// TestServeJava reads with Kafka's own client in Java, whose jars lie in the folder
// that the variable PENSTOCK_KAFKA_JARS names.
func TestServeJava(t *testing.T) {
	jars := os.Getenv("PENSTOCK_KAFKA_JARS")
	if jars == "" {
		t.Skip("PENSTOCK_KAFKA_JARS names no folder with Kafka's jars; TestServe reads with another client")
	}
	p := serve(t, filepath.Join(t.TempDir(), "stream.db"), &streamtest.Marks{})
	p.put(t, 1, 101)
	cmd := exec.CommandContext(t.Context(), "java", "-cp", jars+"/*", "testdata/Consume.java", p.addr, p.table.Topic, "java", "100")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"read 100\n", "committed 100\n", "groups 1\n", "state Empty\n", "refused "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in what it says:\n%s", want, out)
		}
	}
}
