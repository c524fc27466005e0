package survival

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/stream"
)

// message is one record of the topic, as any consumer sees it.
type message struct {
	partition int
	offset    int64
	id        string
	marker    string // kind
	tombstone bool
	key       int64
	op        byte
	late      bool     // a change that is behind the end of a snapshot
	values    []string // of the row after the change, in the order of columns; unsent for what the database left out
}

// unsent stands for a value that the database did not send.
const unsent = "\x01"

// readTopic reads all there is, by partition.
func (r *round) readTopic() ([][]message, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 30*time.Second) // a failed round reads it once more
	defer cancel()
	topic := change.Topic(r.name, schema(r.database), "items")
	if r.stream == kafka {
		return r.readKafka(ctx, topic)
	}
	log, err := stream.OpenEmbedded(ctx, stream.EmbeddedOptions{Path: filepath.Join(r.dir, "penstock-data", "stream.db"), Retention: 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	defer log.Close()
	n, err := log.Partitions(ctx, topic)
	if err != nil || n == 0 {
		return nil, errors.Join(fmt.Errorf("topic %s has %d partitions", topic, n), err)
	}
	out := make([][]message, n)
	for p := range n {
		at, end, err := log.Bounds(ctx, topic, p)
		if err != nil {
			return nil, err
		}
		if at != 0 {
			return nil, fmt.Errorf("partition %d starts at %d: it was trimmed, though retention is a day", p, at)
		}
		for at < end {
			records, err := log.Read(ctx, topic, p, at, 1<<20)
			if err != nil {
				return nil, err
			}
			for i := range records {
				m := &records[i]
				if at = m.Offset + 1; at > end {
					break
				}
				one, err := read(p, m.Offset, m.Key, m.Value, m.Headers)
				if err != nil {
					return nil, err
				}
				out[p] = append(out[p], one)
			}
		}
	}
	return out, nil
}

// readKafka reads past the proxy, with a client that is not ours.
func (r *round) readKafka(ctx context.Context, topic string) ([][]message, error) {
	out := make([][]message, partitions)
	for p := range partitions {
		conn, err := kafkago.DialLeader(ctx, "tcp", r.lane.proxy.listen("kafka"), topic, p)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return nil, err
		}
		end, err := conn.ReadLastOffset()
		if err != nil {
			return nil, err
		}
		if _, err := conn.Seek(0, kafkago.SeekAbsolute); err != nil {
			return nil, err
		}
		for at := int64(0); at < end; {
			batch := conn.ReadBatch(1, 16<<20)
			for at < end {
				m, err := batch.ReadMessage()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return nil, errors.Join(err, batch.Close())
				}
				at = m.Offset + 1
				var headers []change.Header
				for _, h := range m.Headers {
					headers = append(headers, change.Header{Key: h.Key, Value: h.Value})
				}
				one, err := read(p, m.Offset, m.Key, m.Value, headers)
				if err != nil {
					return nil, err
				}
				out[p] = append(out[p], one)
			}
			if err := batch.Close(); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// read reads a message without penstock's own codec.
func read(partition int, offset int64, key, value []byte, headers []change.Header) (message, error) {
	m := message{partition: partition, offset: offset}
	fail := func(err error) (message, error) {
		return m, fmt.Errorf("read message %d of partition %d: %w", offset, partition, err)
	}
	unchanged := map[string]bool{}
	for _, h := range headers {
		switch h.Key {
		case "penstock.id":
			m.id = string(h.Value)
		case "penstock.marker":
			var marker struct{ Kind string }
			if err := json.Unmarshal(h.Value, &marker); err != nil {
				return fail(err)
			}
			m.marker = marker.Kind
		case "penstock.unchanged":
			var names []string
			if err := json.Unmarshal(h.Value, &names); err != nil {
				return fail(err)
			}
			for _, name := range names {
				unchanged[name] = true
			}
		}
	}
	if m.marker != "" {
		return m, nil
	}
	var k struct{ ID int64 }
	if err := json.Unmarshal(key, &k); err != nil {
		return fail(err)
	}
	m.key = k.ID
	if value == nil {
		m.tombstone = true
		return m, nil
	}
	var envelope struct {
		Op    string
		After map[string]any
	}
	if err := json.Unmarshal(value, &envelope); err != nil {
		return fail(err)
	}
	if len(envelope.Op) != 1 {
		return fail(fmt.Errorf("op %q", envelope.Op))
	}
	m.op = envelope.Op[0]
	if envelope.After == nil {
		return m, nil
	}
	for _, name := range columns {
		v, there := envelope.After[name]
		text := null
		switch v := v.(type) {
		case string:
			text = v
		case float64:
			text = fmt.Sprint(int64(v))
		case nil:
			if !there {
				return fail(fmt.Errorf("there is no column %s", name))
			}
		default:
			return fail(fmt.Errorf("column %s has type %T", name, v))
		}
		if unchanged[name] {
			text = unsent
		}
		m.values = append(m.values, text)
	}
	return m, nil
}
