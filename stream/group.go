package stream

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// groupAge is how long after its last commit a Kafka group counts as a reader.
const groupAge = 7 * 24 * time.Hour

// committed is what a Kafka group committed for a partition.
type committed struct {
	position int64
	metadata string
	time     int64 // ms
}

// groups are the offsets that Kafka groups committed at the embedded endpoint.
type groups struct {
	mu      sync.Mutex
	offsets map[reader]committed
}

func loadGroups(ctx context.Context, e *Embedded) (*groups, error) {
	g := &groups{offsets: map[reader]committed{}}
	err := query(ctx, e.writer, "SELECT grp, topic, partition, position, metadata, time FROM committed", func(rows *sql.Rows) error {
		var r reader
		var c committed
		if err := rows.Scan(&r.group, &r.topic, &r.partition, &c.position, &c.metadata, &c.time); err != nil {
			return err
		}
		g.offsets[r] = c
		return nil
	})
	return g, err
}

// slowest returns the lowest position that a group committed for a partition lately,
// and whether any did.
func (g *groups) slowest(topic string, partition int, now time.Time) (int64, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	position, found := int64(math.MaxInt64), false
	for r, c := range g.offsets {
		if r.topic == topic && r.partition == partition && now.Sub(time.UnixMilli(c.time)) < groupAge {
			position, found = min(position, c.position), true
		}
	}
	return position, found
}

// commit makes a group's positions durable.
func (g *groups) commit(e *Embedded, offsets map[reader]committed) error {
	e.write.Lock()
	defer e.write.Unlock()
	ctx := context.Background()
	err := e.transact(ctx, func() error {
		for r, c := range offsets {
			if _, err := e.writer.ExecContext(ctx, `INSERT INTO committed (grp, topic, partition, position, metadata, time) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (grp, topic, partition) DO UPDATE SET position = excluded.position, metadata = excluded.metadata, time = excluded.time`,
				r.group, r.topic, r.partition, c.position, c.metadata, c.time); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for r, c := range offsets {
		g.offsets[r] = c
	}
	return nil
}

// of returns what a group committed.
func (g *groups) of(name string) map[reader]committed {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[reader]committed{}
	for r, c := range g.offsets {
		if r.group == name {
			out[r] = c
		}
	}
	return out
}

// names lists the groups that committed anything, sorted.
func (g *groups) names() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for r := range g.offsets {
		out = append(out, r.group)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
