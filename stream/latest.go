package stream

import (
	"context"

	"github.com/penstock-cdc/penstock/change"
)

// LatestSchemas returns the newest schema that a source's schemas topic has of each
// table, by the table's topic.
func LatestSchemas(ctx context.Context, log Log, source string) (map[string]*change.Table, error) {
	topic := SchemasTopic(source)
	out := map[string]*change.Table{}
	if n, err := log.Partitions(ctx, topic); err != nil || n == 0 {
		return out, err
	}
	next, end, err := log.Bounds(ctx, topic, 0)
	if err != nil {
		return nil, err
	}
	for next < end {
		messages, err := log.Read(ctx, topic, 0, next, 1<<20)
		if err != nil {
			return nil, err
		}
		if len(messages) == 0 {
			break // what is left was compacted away
		}
		for i := range messages {
			_, t, err := readSchema(&messages[i])
			if err != nil {
				return nil, err
			}
			if t != nil {
				out[t.Topic] = t
			}
			next = messages[i].Offset + 1
		}
	}
	return out, nil
}
