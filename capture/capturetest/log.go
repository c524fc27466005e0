// Package capturetest is the suite that every capture.Source passes, and an
// in-memory log that shows what a source emitted.
package capturetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// Record is one record as it was made durable.
type Record struct {
	Topic      string
	ID         change.ID
	Key, Value []byte
	Headers    []change.Header
	Everywhere bool
	// Event is what the record decodes to; nil for a tombstone, a marker and a logical message.
	Event  *change.Event
	Marker *change.Marker
}

// Tombstone tells whether the record is the second one of a delete.
func (r *Record) Tombstone() bool { return r.Value == nil && r.Marker == nil }

// Header returns a header's value as text, "" when there is none.
func (r *Record) Header(key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// Flushed is the state after one Flush.
type Flushed struct {
	Resume  []byte
	Records int // durable by then
}

// Log is a capture.Log in memory, with one partition a topic. Like a real one it
// drops what has an ID not above its topic's last.
type Log struct {
	mu      sync.Mutex
	changed chan struct{} // closed at each Flush
	tables  map[string]*change.Table
	last    map[string]change.ID
	records []*Record // durable ones
	pending []*Record
	flushes []Flushed
	resume  []byte
	dropped int
	failure error
	decoder *change.Decoder
}

// NewLog makes an empty log whose resume point is resume.
func NewLog(resume []byte) *Log {
	return &Log{
		changed: make(chan struct{}), tables: map[string]*change.Table{}, last: map[string]change.ID{},
		resume: slices.Clone(resume), decoder: change.NewDecoder(),
	}
}

// Resume returns the resume point of the last Flush.
func (l *Log) Resume() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.resume)
}

// Crash forgets what was not flushed, as a kill would.
func (l *Log) Crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = nil
	clear(l.last)
	for _, r := range l.records {
		l.last[r.Topic] = r.ID
	}
}

// Fail makes the following Flushes fail; nil mends the log.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = err
}

// Table keeps the table, and fails when it is not sealed or differs from one of the same version.
func (l *Log) Table(_ context.Context, t *change.Table) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Version == "" || t.Topic == "" {
		return fmt.Errorf("table %s has no version or no topic", t.QualifiedName())
	}
	l.tables[t.Topic+" "+t.Version] = t
	return nil
}

// Add keeps a copy of the record until the next Flush.
func (l *Log) Add(r *change.Record) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if order := r.ID.Compare(l.last[r.Topic]); order <= 0 {
		n := len(l.pending)
		tombstone := order == 0 && r.Value == nil && n > 0 && l.pending[n-1].ID == r.ID && l.pending[n-1].Topic == r.Topic
		if !tombstone {
			l.dropped++
			return 0, nil
		}
	}
	c := &Record{Topic: r.Topic, ID: r.ID, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Everywhere: r.Everywhere}
	for _, h := range r.Headers {
		c.Headers = append(c.Headers, change.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	if err := l.decode(c); err != nil {
		return 0, err
	}
	l.last[r.Topic] = r.ID
	l.pending = append(l.pending, c)
	return len(r.Key) + len(r.Value), nil
}

func (l *Log) decode(r *Record) error {
	if text := r.Header(change.HeaderMarker); text != "" {
		r.Marker = &change.Marker{}
		return json.Unmarshal([]byte(text), r.Marker)
	}
	version := r.Header(change.HeaderSchema)
	if r.Value == nil || version == "" {
		return nil
	}
	t := l.tables[r.Topic+" "+version]
	if t == nil {
		return fmt.Errorf("record of topic %s has schema %s, which was not announced", r.Topic, version)
	}
	var e change.Event
	if err := l.decoder.Decode(t, r.Key, r.Value, r.Headers, &e); err != nil {
		return fmt.Errorf("decode record of topic %s: %w", r.Topic, err)
	}
	e.Before, e.After, e.OldKey, e.NewKey = e.Before.Clone(), e.After.Clone(), e.OldKey.Clone(), e.NewKey.Clone()
	e.Table = t
	r.Event = &e
	return nil
}

// Flush makes what was added durable.
func (l *Log) Flush(_ context.Context, resume []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return l.failure
	}
	l.records = append(l.records, l.pending...)
	l.pending = nil
	l.resume = slices.Clone(resume)
	l.flushes = append(l.flushes, Flushed{l.resume, len(l.records)})
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

// Records returns the durable records, in order.
func (l *Log) Records() []*Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

// Dropped returns how many records were dropped because the log had them.
func (l *Log) Dropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Flushes returns the state after each Flush.
func (l *Log) Flushes() []Flushed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.flushes)
}

// Events returns the durable events of a topic, of all with "".
func (l *Log) Events(topic string) []*change.Event {
	var out []*change.Event
	for _, r := range l.Records() {
		if r.Event != nil && (topic == "" || r.Topic == topic) {
			out = append(out, r.Event)
		}
	}
	return out
}

// patience is how long the suite waits for what a database should send at once.
const patience = 60 * time.Second

// Wait waits until the durable records are as ok wants them.
func (l *Log) Wait(tb testing.TB, what string, ok func([]*Record) bool) {
	tb.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		records := l.Records()
		if ok(records) {
			return
		}
		if tb.Failed() {
			tb.Fatalf("no %s after what went wrong before", what)
		}
		select {
		case <-changed:
		case <-deadline:
			tb.Fatalf("after %v there is still no %s; %d records came", patience, what, len(records))
		}
	}
}
