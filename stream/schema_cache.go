package stream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// schemaWait is how long Schema waits for a version that the stream does not have
// yet: its message is published before the first row of it, but to another topic.
const schemaWait = 5 * time.Second

// schemaCache has the table schemas read so far from the schemas topics.
type schemaCache struct {
	mu     sync.Mutex
	tables map[schemaKey]*change.Table
	next   map[string]int64 // by schemas topic
}

// find returns a schema, reading on in the source's topic, and nil if that does not
// have it.
func (c *schemaCache) find(ctx context.Context, log Log, source string, key schemaKey) (*change.Table, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tables[key]; t != nil {
		return t, nil
	}
	if c.tables == nil {
		c.tables, c.next = map[schemaKey]*change.Table{}, map[string]int64{}
	}
	topic := SchemasTopic(source)
	if n, err := log.Partitions(ctx, topic); err != nil || n == 0 {
		return nil, err
	}
	start, end, err := log.Bounds(ctx, topic, 0)
	if err != nil {
		return nil, err
	}
	for next := max(start, c.next[topic]); next < end; {
		messages, err := log.Read(ctx, topic, 0, next, 1<<20)
		if err != nil {
			return nil, err
		}
		if len(messages) == 0 {
			break // what is left was compacted away
		}
		for i := range messages {
			k, t, err := readSchema(&messages[i])
			if err != nil {
				return nil, err
			}
			if t != nil {
				c.tables[k] = t
			}
			next = messages[i].Offset + 1
		}
		c.next[topic] = next
	}
	return c.tables[key], nil
}

// wait is find, waiting a short while.
func (c *schemaCache) wait(ctx context.Context, log Log, source, topic, version string) (*change.Table, error) {
	deadline := time.Now().Add(schemaWait)
	for {
		t, err := c.find(ctx, log, source, schemaKey{topic, version})
		if t != nil || err != nil {
			return t, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("find schema %s of topic %s: it is not on topic %s; is the topic's cleanup policy compact, and was nothing deleted from it?", version, topic, SchemasTopic(source))
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Schema returns a table's schema; see Log.
func (e *Embedded) Schema(ctx context.Context, source, topic, version string) (*change.Table, error) {
	return e.schemas.wait(ctx, e, source, topic, version)
}

func sortedNames[T any](m map[string]T, want func(string) bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(name string) bool { return !want(name) || strings.TrimSpace(name) == "" })
}
