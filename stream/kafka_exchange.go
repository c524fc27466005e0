package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// exchange is one request in bytes, sent over kafka-go's connections: record batches
// go out and come in as they are, and one request carries those of many partitions.
type exchange struct {
	api, version int16
	request      []byte // behind the header
	response     []byte // behind the header; memory of its own
}

const anyBroker int32 = -1

// ApiKey is the number of the request; the name is kafka-go's.
func (x *exchange) ApiKey() protocol.ApiKey { return protocol.ApiKey(x.api) }

// Required tells kafka-go to leave the encoding to RawExchange.
func (x *exchange) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange writes the request and reads its answer. A connection has one request
// at a time.
func (x *exchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const correlation, client = 0x70656e73, "penstock"
	w := wireWriter{make([]byte, 0, len(x.request)+32)}
	start := w.room()
	w.int16(x.api)
	w.int16(x.version)
	w.int32(correlation)
	w.string(client)
	w.b = append(w.b, x.request...)
	w.settle(start)
	if _, err := rw.Write(w.b); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < 4 || binary.BigEndian.Uint32(head[4:]) != correlation {
		return nil, errors.New("read answer: it is not that of the request")
	}
	// Read as it comes: a broken length must not take memory that nobody sent.
	var body bytes.Buffer
	body.Grow(int(min(size, 8<<20)))
	if _, err := io.CopyN(&body, rw, int64(size)-4); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	x.response = body.Bytes()
	return x, nil
}

// directed is an exchange with one broker.
type directed struct {
	exchange
	broker int32
}

// Broker says where it goes.
func (x *directed) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	b, ok := cluster.Brokers[x.broker]
	if !ok {
		return protocol.Broker{}, kafka.BrokerNotAvailable
	}
	return b, nil
}

// exchange sends one request. Its time limit is for brokers that hang.
func (k *Kafka) exchange(ctx context.Context, broker int32, api, version int16, body []byte) (*wireReader, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	x := &directed{exchange{api: api, version: version, request: body}, broker}
	var message protocol.Message = x
	if broker == anyBroker {
		message = &x.exchange
	}
	if _, err := k.transport.RoundTrip(ctx, k.client.Addr, message); err != nil {
		return nil, fmt.Errorf("ask broker: %w", err)
	}
	return &wireReader{rest: x.response}, nil
}

// want is what to fetch of one partition.
type want struct {
	topic     string
	partition int
	offset    int64
	maxBytes  int
}

// fetched is the answer.
type fetched struct {
	topic      string
	partition  int
	code       int16
	start, end int64 // of the log, as far as it is replicated
	records    []byte
}

// fetch asks the leader of the first partition, who must be that of the others too,
// and waits up to wait for at least one byte.
func (k *Kafka) fetch(ctx context.Context, wants []want, wait time.Duration) ([]fetched, error) {
	var w wireWriter
	w.int32(-1)
	w.int32(int32(wait.Milliseconds()))
	w.int32(1)
	w.int32(math.MaxInt32 / 2)
	w.int8(0)
	w.int32(0)  // no session
	w.int32(-1) //
	w.array(len(wants))
	for _, p := range wants {
		w.string(p.topic)
		w.array(1)
		w.int32(int32(p.partition))
		w.int32(-1)
		w.int64(p.offset)
		w.int64(-1)
		w.int32(int32(p.maxBytes))
	}
	w.array(0)
	w.string("")
	r, err := k.ask(ctx, wants[0].topic, wants[0].partition, apiFetch, 11, w.b)
	if err != nil {
		return nil, err
	}
	r.int32()
	if code := r.int16(); code != 0 {
		return nil, kafka.Error(code)
	}
	r.int32()
	var out []fetched
	for range max(r.array(), 0) {
		topic := r.string()
		for range max(r.array(), 0) {
			f := fetched{topic: topic, partition: int(r.int32()), code: r.int16(), end: r.int64()}
			r.int64()
			f.start = r.int64()
			for range max(r.array(), 0) {
				r.int64()
				r.int64()
			}
			r.int32()
			f.records = r.bytes()
			out = append(out, f)
		}
	}
	if r.bad {
		return nil, errAnswer
	}
	return out, nil
}
