package main

import (
	"context"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/stream"
)

// consumer hands what the stream reads to a pipeline's intake.
type consumer struct{ pipeline *sink.Pipeline }

func (c consumer) Assign(ctx context.Context, topic string, partition int, generation int64) (int64, error) {
	return c.pipeline.Assign(ctx, topic, partition, generation)
}

func (c consumer) Take(ctx context.Context, topic string, partition int, messages []stream.Message) error {
	out := make([]sink.Message, len(messages))
	for i := range messages {
		m := &messages[i]
		out[i] = sink.Message{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Time: m.Time.UnixMilli(), Key: m.Key, Value: m.Value, Headers: m.Headers}
	}
	return c.pipeline.Take(ctx, topic, partition, out)
}

func (c consumer) Idle(ctx context.Context, topic string, partition int, next int64) error {
	return c.pipeline.Idle(ctx, topic, partition, next)
}
