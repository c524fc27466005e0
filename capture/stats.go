package capture

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// Stats counts what one source's capture has put into the log. It may be read while
// Run runs and kept through several Runs.
type Stats struct {
	bytes, flushes, flushTime atomic.Int64

	mu     sync.Mutex
	tables map[string]*counters
}

// NewStats makes Stats with all counts at zero.
func NewStats() *Stats { return &Stats{tables: map[string]*counters{}} }

// ops are the operations in the order of counters.
var ops = [...]change.Op{change.Read, change.Create, change.Update, change.Delete, change.Truncate, change.Message}

type counters [len(ops)]atomic.Uint64

func (c *counters) of(op change.Op) *atomic.Uint64 {
	for i := range ops {
		if ops[i] == op {
			return &c[i]
		}
	}
	return nil
}

func (s *Stats) table(name string) *counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.tables[name]
	if c == nil {
		c = &counters{}
		s.tables[name] = c
	}
	return c
}

func (s *Stats) flushed(took time.Duration) {
	s.flushes.Add(1)
	s.flushTime.Add(int64(took))
}

// Events calls yield for each table and operation that occurred, in no order; the
// table is "" for logical messages. Tombstones and markers are not counted, nor what
// the log already had.
func (s *Stats) Events(yield func(table string, op change.Op, n uint64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, c := range s.tables {
		for i := range c {
			if n := c[i].Load(); n > 0 {
				yield(name, ops[i], n)
			}
		}
	}
}

// Bytes returns what the records took in the log.
func (s *Stats) Bytes() int64 { return s.bytes.Load() }

// Flushes returns how often the log was made durable, and the time that took in all.
func (s *Stats) Flushes() (n int64, took time.Duration) {
	return s.flushes.Load(), time.Duration(s.flushTime.Load())
}
