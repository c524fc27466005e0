package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// KafkaOptions are the settings of a log in a Kafka cluster; the zero value of each
// but Brokers is its default.
type KafkaOptions struct {
	Brokers           []string // host:port of some
	TLS               *tls.Config
	SASL              sasl.Mechanism
	Partitions        int           // of topics that are made; default 6
	ReplicationFactor int           // default: the cluster's
	Retention         time.Duration // of topics that are made; default 7 days, negative: for ever
	MaxMessage        int           // bytes, of topics that are made; default 16 MiB
	// Adopt goes on with log and state as they are, where Writer would return a
	// *DamageError: an operator has seen it and decided so.
	Adopt bool
	// Alone has Consume end with a *SharedGroupError where another process reads for
	// the same group: for readers whose state others do not see.
	Alone  bool
	Logger *slog.Logger // default: slog.Default
}

const (
	defaultPartitions = 6
	defaultRetention  = 7 * 24 * time.Hour
	maxKafka          = 16 << 20
	// batchSlack is what a batch takes beside its largest message.
	batchSlack = 64 << 10
)

// Kafka is the log in a Kafka cluster. Any number of goroutines and processes use it.
type Kafka struct {
	opts      KafkaOptions
	client    *kafka.Client
	transport *kafka.Transport

	mu      sync.Mutex
	leaders map[string][]int32 // by topic and partition; -1: none just now

	schemas schemaCache
}

// OpenKafka connects to a cluster.
func OpenKafka(ctx context.Context, opts KafkaOptions) (*Kafka, error) {
	if opts.Partitions == 0 {
		opts.Partitions = defaultPartitions
	}
	if opts.ReplicationFactor == 0 {
		opts.ReplicationFactor = -1
	}
	if opts.Retention == 0 {
		opts.Retention = defaultRetention
	}
	if opts.MaxMessage == 0 {
		opts.MaxMessage = maxKafka
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	transport := &kafka.Transport{ClientID: "penstock", TLS: opts.TLS, SASL: opts.SASL}
	k := &Kafka{
		opts: opts, transport: transport, leaders: map[string][]int32{},
		client: &kafka.Client{Addr: kafka.TCP(opts.Brokers...), Transport: transport},
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := k.metadata(ctx, []string{}); err != nil {
		return nil, errors.Join(fmt.Errorf("open stream: no answer from the Kafka brokers %s: %w; check brokers, tls and sasl of the stream block", strings.Join(opts.Brokers, ", "), err), k.Close())
	}
	return k, nil
}

// Close closes the connections.
func (k *Kafka) Close() error {
	k.transport.CloseIdleConnections()
	return nil
}

// topicInfo is what the cluster says of a topic.
type topicInfo struct {
	name    string
	leaders []int32 // by partition; -1: none just now
	missing bool
}

// metadata asks for topics, nil for all; it notes the leaders.
func (k *Kafka) metadata(ctx context.Context, topics []string) ([]topicInfo, error) {
	var w wireWriter
	if topics == nil {
		w.array(-1)
	} else {
		w.array(len(topics))
		for _, t := range topics {
			w.string(t)
		}
	}
	w.bool(false) // make none
	var out []topicInfo
	err := k.insist(ctx, "ask for topics", func() error {
		r, err := k.exchange(ctx, anyBroker, apiMetadata, 4, w.b)
		if err != nil {
			return err
		}
		out, err = readMetadata(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range out {
		if t.missing {
			delete(k.leaders, t.name)
		} else {
			k.leaders[t.name] = t.leaders
		}
	}
	return out, nil
}

func readMetadata(r *wireReader) ([]topicInfo, error) {
	var out []topicInfo
	r.int32() // throttle
	for range r.array() {
		r.int32()
		r.string()
		r.int32()
		r.string()
	}
	r.string() // cluster
	r.int32()  // controller
	for range r.array() {
		code := r.int16()
		t := topicInfo{name: r.string(), missing: code == int16(kafka.UnknownTopicOrPartition)}
		r.int8()
		n := r.array()
		t.leaders = make([]int32, max(n, 0))
		for range n {
			r.int16()
			index, leader := r.int32(), r.int32()
			for range max(r.array(), 0) {
				r.int32()
			}
			for range max(r.array(), 0) {
				r.int32()
			}
			if index < 0 || int(index) >= n {
				r.bad = true
				break
			}
			t.leaders[index] = leader
		}
		if code != 0 && !t.missing && code != int16(kafka.LeaderNotAvailable) {
			return nil, fmt.Errorf("ask for topic %s: %w", t.name, kafka.Error(code))
		}
		out = append(out, t)
	}
	if r.bad {
		return nil, errAnswer
	}
	return out, nil
}

var errAnswer = errors.New("the broker's answer is cut off or makes no sense")

// insist calls f until it succeeds, fails for good, or ctx ends.
func (k *Kafka) insist(ctx context.Context, what string, f func() error) error {
	wait := backoff{}
	for {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !passing(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !wait.sleep(ctx, k.opts.Logger, what, err) {
			return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
		}
	}
}

// backoff waits longer each time, and tells the log when it takes long.
type backoff struct {
	delay time.Duration
	since time.Time
	told  time.Time
}

func (b *backoff) sleep(ctx context.Context, log *slog.Logger, what string, err error) bool {
	now := time.Now()
	if b.since.IsZero() {
		b.since, b.told = now, now
	}
	if now.Sub(b.told) > 10*time.Second {
		b.told = now
		log.Warn("kafka does not answer as it should", "while", what, "for", now.Sub(b.since).Round(time.Second), "error", err)
	}
	b.delay = min(max(2*b.delay, 20*time.Millisecond), time.Second)
	timer := time.NewTimer(b.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// passing tells whether an error may go away by itself: a connection's, or a
// broker's that says so.
func passing(err error) bool {
	var code kafka.Error
	if errors.As(err, &code) {
		return code.Temporary() || code == kafka.BrokerNotAvailable || code == kafka.KafkaStorageError
	}
	var final *DamageError
	return !errors.As(err, &final) && !errors.Is(err, errAnswer)
}

// leader returns the broker that leads a partition, -1 if there is none just now.
func (k *Kafka) leader(topic string, partition int) int32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l := k.leaders[topic]; partition < len(l) {
		return l[partition]
	}
	return -1
}

// Partitions returns how many partitions a topic has, 0 when there is no such topic.
func (k *Kafka) Partitions(ctx context.Context, topic string) (int, error) {
	topics, err := k.metadata(ctx, []string{topic})
	if err != nil {
		return 0, err
	}
	if len(topics) == 0 || topics[0].missing {
		return 0, nil
	}
	return len(topics[0].leaders), nil
}

// Topics lists the topics whose name starts with prefix, sorted.
func (k *Kafka) Topics(ctx context.Context, prefix string) ([]string, error) {
	topics, err := k.metadata(ctx, nil)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, t := range topics {
		if strings.HasPrefix(t.name, prefix) {
			names[t.name] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Bounds returns the first kept and the next offset of a partition.
func (k *Kafka) Bounds(ctx context.Context, topic string, partition int) (start, end int64, err error) {
	err = k.insist(ctx, fmt.Sprintf("ask for the bounds of topic %s partition %d", topic, partition), func() error {
		for _, ask := range []struct {
			time int64
			into *int64
		}{{-2, &start}, {-1, &end}} {
			var w wireWriter
			w.int32(-1)
			w.array(1)
			w.string(topic)
			w.array(1)
			w.int32(int32(partition))
			w.int64(ask.time)
			r, err := k.ask(ctx, topic, partition, apiListOffsets, 1, w.b)
			if err != nil {
				return err
			}
			if r.array() != 1 || r.string() != topic || r.array() != 1 || r.int32() != int32(partition) {
				return errAnswer
			}
			code := r.int16()
			r.int64()
			*ask.into = r.int64()
			if code != 0 {
				k.forget(topic)
				return kafka.Error(code)
			}
			if r.bad {
				return errAnswer
			}
		}
		return nil
	})
	return start, end, err
}

// forget has the topic's leaders asked for anew.
func (k *Kafka) forget(topic string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.leaders, topic)
}

// ask sends a request to a partition's leader.
func (k *Kafka) ask(ctx context.Context, topic string, partition int, api, version int16, body []byte) (*wireReader, error) {
	leader := k.leader(topic, partition)
	if leader < 0 {
		if _, err := k.metadata(ctx, []string{topic}); err != nil {
			return nil, err
		}
		if leader = k.leader(topic, partition); leader < 0 {
			return nil, kafka.LeaderNotAvailable
		}
	}
	r, err := k.exchange(ctx, leader, api, version, body)
	if err != nil {
		k.forget(topic)
	}
	return r, err
}

// Read returns records of one partition; see Log.
func (k *Kafka) Read(ctx context.Context, topic string, partition int, offset int64, maxBytes int) ([]Message, error) {
	start, end, err := k.Bounds(ctx, topic, partition)
	if err != nil {
		return nil, err
	}
	if offset < start {
		return nil, &GapError{Topic: topic, Partition: partition, Want: offset, Start: start}
	}
	var d decoder
	defer d.close()
	for offset < end {
		var answer fetched
		err := k.insist(ctx, fmt.Sprintf("read topic %s partition %d", topic, partition), func() error {
			answers, err := k.fetch(ctx, []want{{topic, partition, offset, max(maxBytes, 64<<10)}}, time.Second)
			if err != nil {
				return err
			}
			if len(answers) != 1 {
				return errAnswer
			}
			answer = answers[0]
			if answer.code != 0 {
				k.forget(topic)
				return kafka.Error(answer.code)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		next, err := d.decodeAll(answer.records, topic, partition, offset, 1<<30)
		if err != nil {
			return nil, damaged(topic, partition, next, err)
		}
		if len(d.messages) > 0 {
			return limitMessages(d.messages, maxBytes), nil
		}
		if next == offset {
			return nil, nil
		}
		offset = next // nothing but what brokers write for themselves
	}
	return nil, nil
}

func damaged(topic string, partition int, offset int64, err error) error {
	return &DamageError{Topic: topic, Partition: partition, Offset: offset, Missing: "the messages there can't be read", Fix: "see the broker's log, and read from another replica", Err: err}
}

// decodeAll decodes the whole batches in data, until maxBytes of plain records, and
// returns the offset after the last one. What is cut off at the end is no error.
func (d *decoder) decodeAll(data []byte, topic string, partition int, from int64, maxBytes int) (int64, error) {
	next := from
	for size := 0; len(data) > 0 && size < maxBytes; {
		b, err := parseBatch(data)
		if errors.Is(err, errCutOff) {
			return next, nil
		}
		if err != nil {
			return next, err
		}
		if b.last >= from {
			if _, err := d.decode(data[:b.size], topic, partition, from); err != nil {
				return next, err
			}
			next = b.last + 1
		}
		size += b.size + len(d.last())
		data = data[b.size:]
	}
	return next, nil
}

// Numbers of requests.
const (
	apiProduce     = 0
	apiFetch       = 1
	apiListOffsets = 2
	apiMetadata    = 3
)

// parseSize reads a number of a topic's configuration.
func parseSize(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

var _ io.Closer = (*Kafka)(nil)
