package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// Tables with a key are loaded in chunks while the stream goes on, each chunk in a short
// transaction of its own:
//
//   - A worker locks the table against TRUNCATE and ALTER, takes a snapshot S, then L, the
//     end of the WAL, and reads the rows that follow the last key read. What S shows was
//     committed before L.
//   - The stream, when it has come past L and stands between two transactions, at X,
//     publishes the rows there. All that S shows has been emitted by then. Of what S does
//     not show, some has been emitted too: it leaves out the rows that those transactions
//     have changed, whose events are newer than the rows.
//   - A row that is left out, and whose event lacked values that did not change, is read
//     once more, in a later snapshot, before the chunk counts as done.
//
// Nothing is written to the database, and no transaction outlives its chunk.

// load is the snapshot of one table and how far it is: a part of the resume point. Its
// exported fields are changed by the stream's goroutine alone, with loader.mu held.
type load struct {
	Table  uint32 `json:"table"` // OID
	ID     string `json:"id"`    // the snapshot's, in its markers
	Begun  bool   `json:"begun,omitempty"`
	Paused bool   `json:"paused,omitempty"`
	Where  string `json:"where,omitempty"`
	// Foreign: who put the table into the publication did not wait for its writers.
	Foreign bool        `json:"foreign,omitempty"`
	Topic   string      `json:"topic,omitempty"`
	Key     string      `json:"key,omitempty"` // plan.describe of the ranges
	Ranges  []*keyRange `json:"ranges,omitempty"`
	// Again are keys whose rows came under another key before with values left out that
	// did not change: they are read at the end.
	Again  [][]string `json:"again,omitempty"`
	Rows   int64      `json:"rows,omitempty"`
	Bytes  int64      `json:"bytes,omitempty"`
	Chunks int64      `json:"chunks,omitempty"` // published

	name      string        // schema.table, when it was last looked at
	plan      *plan         // nil: to be looked at
	last      *change.Table // of its last plan
	described *change.Table // what the stream has described last
	mustShow  []uint32      // transactions that came before the begin marker: every chunk has to show them
	again     map[string]bool
	added     time.Time // when it became known in this session
	stale     int       // how often rows did not fit the types of the plan
	busy      bool      // a worker prepares it or reads Again
	ended     bool      // finished or canceled
	retryAt   time.Time
	limit     int // rows of the next chunk
	unpaced   int // chunks that were read since one had to wait, up to unpacedChunks
	waiting   int // workers that may not read its next chunk
	why       string
	since     time.Time
	sinceRows int64
}

// maxAgain is how many keys a resume point keeps for being read again; a load with more
// starts over.
const maxAgain = 1000

// loader loads tables beside one session's stream.
type loader struct {
	s   *Source
	srv *server
	st  *stream

	record record  // of the stream's goroutine, as is
	tuple  []field // this

	waiting atomic.Int32  // len(items)
	poke    chan struct{} // asks the server where its stream is

	// showing is held from looking at the loads until Status has what was seen, so that nothing older comes after it.
	// It is taken before mu.
	showing sync.Mutex

	mu       sync.Mutex
	changed  chan struct{} // closed when there may be work
	items    []*item
	loads    []*load
	chunks   map[*chunk]bool // being read or waiting
	latest   *visibility
	settled  time.Time // loads added before may begin
	numbered bool      // the attempt was raised in this session
	number   uint64    // of the last chunk
	joining  bool      // the tables that were there at the start are still being looked at
	stuck    [2]uint64 // an end of the WAL that was not flushed for long, and up to where it was
	first    bool      // no row was emitted yet
}

// item is what is to be done between two transactions of the stream, once it has come to
// a point.
type item struct {
	min   uint64
	since time.Time
	run   func(x uint64) error
}

func newLoader(s *Source, srv *server, st *stream) *loader {
	l := &loader{s: s, srv: srv, st: st, poke: make(chan struct{}, 1), changed: make(chan struct{}), chunks: map[*chunk]bool{}, first: true, joining: true}
	for _, ld := range st.r.Loads {
		l.add(ld)
	}
	return l
}

// add takes up a load of the resume point.
func (l *loader) add(ld *load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*ld = load{
		Table: ld.Table, ID: ld.ID, Begun: ld.Begun, Paused: ld.Paused, Where: ld.Where, Foreign: ld.Foreign, Topic: ld.Topic, Key: ld.Key,
		Ranges: ld.Ranges, Again: ld.Again, Rows: ld.Rows, Bytes: ld.Bytes, Chunks: ld.Chunks,
		added: time.Now(), since: time.Now(), sinceRows: ld.Rows, again: map[string]bool{},
	}
	for _, key := range ld.Again {
		ld.again[joined(key)] = true
	}
	for _, r := range ld.Ranges {
		r.taken, r.flight = false, nil
	}
	ld.name = fmt.Sprintf("OID %d", ld.Table)
	if info := l.srv.relation(ld.Table); info != nil {
		ld.name = info.qualified()
	}
	l.loads = append(l.loads, ld)
	for _, t := range l.record.open { // what came of it before was not noted
		t.seen = false
		t.table(ld.Table).all = true
	}
	l.announce()
}

// announce wakes the workers; mu is held.
func (l *loader) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// find returns the load of a table, nil when there is none. It is for the stream's goroutine.
func (l *loader) find(oid uint32) *load {
	for _, ld := range l.loads {
		if ld.Table == oid {
			return ld
		}
	}
	return nil
}

// submit has run called in the stream's goroutine between two transactions, when the
// stream has come to min.
func (l *loader) submit(it *item) {
	it.since = time.Now()
	l.mu.Lock()
	l.items = append(l.items, it)
	l.waiting.Store(int32(len(l.items)))
	l.mu.Unlock()
	l.ask()
}

// do submits and waits.
func (l *loader) do(ctx context.Context, minimum uint64, run func(x uint64) error) error {
	done := make(chan struct{})
	l.submit(&item{min: minimum, run: func(x uint64) error {
		defer close(done)
		return run(x)
	}})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *loader) ask() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// restart makes a load begin at the table's start again; mu is held.
func (l *loader) restart(ld *load) {
	for _, r := range ld.Ranges {
		l.drop(r)
	}
	ld.Ranges, ld.Again, ld.again, ld.plan, ld.Key = nil, nil, map[string]bool{}, nil, ""
	ld.Rows, ld.Bytes, ld.Chunks, ld.since, ld.sinceRows = 0, 0, 0, time.Now(), 0
	l.st.r.changedLoads()
}

// boundary is called between two transactions, when all that was committed before x was
// emitted and nothing of what is committed from there on.
func (l *loader) boundary(x uint64) error {
	if l == nil || l.waiting.Load() == 0 {
		return nil
	}
	x = max(x, l.st.r.LSN)
	for {
		l.mu.Lock()
		i := slices.IndexFunc(l.items, func(it *item) bool { return it.min <= x })
		if i < 0 {
			l.mu.Unlock()
			return nil
		}
		it := l.items[i]
		l.items = slices.Delete(l.items, i, i+1)
		l.waiting.Store(int32(len(l.items)))
		l.mu.Unlock()
		if err := it.run(x); err != nil {
			return err
		}
	}
}

// commit makes x the position.
func (l *loader) commit(x uint64) error {
	l.st.r.LSN = max(l.st.r.LSN, x)
	return l.st.commit()
}

// nextNumber returns the number of the next chunk. Numbers are never used again: the
// session's first is above all of the sessions before, and durable before it is used.
func (l *loader) nextNumber() (uint64, error) {
	if !l.numbered {
		l.st.r.Attempt++
		if err := l.st.commit(); err != nil {
			return 0, err
		}
		if err := l.st.out.Flush(l.st.ctx); err != nil {
			return 0, output(err)
		}
		l.numbered, l.number = true, uint64(l.st.r.Attempt)<<32
	}
	l.number++
	return l.number, nil
}

// marker writes a marker at x.
func (l *loader) marker(t *change.Table, ld *load, kind change.MarkerKind, x uint64) error {
	n, err := l.nextNumber()
	if err != nil {
		return err
	}
	m := change.Marker{Kind: kind, Snapshot: ld.ID, Partial: ld.Where != ""}
	return output(l.st.out.Marker(t, change.NewPointID(l.st.r.Epoch, x-1, n, 0), m))
}

// end takes a load off the list.
func (l *loader) end(ld *load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ld.ended = true
	l.loads = slices.DeleteFunc(l.loads, func(o *load) bool { return o == ld })
	l.st.r.Loads = slices.DeleteFunc(l.st.r.Loads, func(o *load) bool { return o == ld })
	if !l.st.r.has(ld.Table) {
		l.st.r.Tables = append(l.st.r.Tables, ld.Table)
	}
	l.st.r.changedLoads()
	l.announce()
}

// run has workers load tables until ctx ends.
func (l *loader) run(ctx context.Context) {
	l.setState()
	var workers sync.WaitGroup
	for range l.s.workers() {
		workers.Go(func() { l.work(ctx) })
	}
	workers.Go(func() { l.nudge(ctx) })
	workers.Go(func() { l.join(ctx) })
	workers.Wait()
}

// workers is how many sessions load tables.
func (s *Source) workers() int { return cmp.Or(s.cfg.SnapshotWorkers, 2) }
