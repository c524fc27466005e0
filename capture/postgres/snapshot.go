package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/penstock-cdc/penstock/capture"
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
	Again [][]string `json:"again,omitempty"`
	Rows  int64      `json:"rows,omitempty"`
	Bytes int64      `json:"bytes,omitempty"`

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
	since     time.Time
	sinceRows int64
}

// keyRange is a part of a table by its key: the rows above Last up to High. A nil High
// is the end; Last moves as chunks are published.
type keyRange struct {
	Last []string `json:"last,omitempty"`
	High []string `json:"high,omitempty"`
	Done bool     `json:"done,omitempty"`

	taken  bool
	flight []*chunk // read and not published, or published before an earlier one
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
		Ranges: ld.Ranges, Again: ld.Again, Rows: ld.Rows, Bytes: ld.Bytes,
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

// The methods that the stream calls are no-ops on a nil loader.

// begin notes the beginning of a transaction; of one in progress (Stream Start), of each
// of its parts.
func (l *loader) begin(xid uint32, inProgress bool) {
	if l == nil || len(l.loads) == 0 && !inProgress {
		return
	}
	t := l.record.of(xid)
	if t.seen {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.seen = true
	for _, v := range l.horizon() {
		t.seen = t.seen && v != nil && v.shows(xid)
	}
}

// horizon returns snapshots that every chunk's is not older than one of; mu is held.
func (l *loader) horizon() []*visibility {
	all := []*visibility{l.latest}
	for c := range l.chunks {
		all = append(all, c.seen())
	}
	return all
}

// note notes that a transaction, named by its top-level id, changes a row. It is called
// as the change is received, whether its transaction has committed or not.
func (l *loader) note(xid uint32, r *relation, m *message) {
	if l == nil || len(l.loads) == 0 {
		return
	}
	ld := l.find(r.oid)
	if ld == nil {
		return
	}
	t := l.record.of(xid)
	if len(r.keyPlaces) == 0 { // the key was dropped
		t.table(r.oid).all = true
		return
	}
	partial := m.kind == 'U' && r.partial(m.new)
	moved := false
	var ok bool
	if m.oldKind != 0 {
		if l.record.key, ok = appendKey(l.record.key[:0], r.keyPlaces, m.old, nil); ok && !t.seen {
			t.table(r.oid).add(l.record.key, false)
		}
		moved = m.kind == 'U'
	}
	if m.kind == 'D' {
		return
	}
	old := string(l.record.key)
	if l.record.key, ok = appendKey(l.record.key[:0], r.keyPlaces, m.new, m.old); !ok {
		return
	}
	if !t.seen {
		t.table(r.oid).add(l.record.key, partial)
	}
	if moved && partial && old != string(l.record.key) {
		l.again(ld, string(l.record.key))
	}
}

// again notes a key that is to be read at the end.
func (l *loader) again(ld *load, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ld.again[key] {
		return
	}
	ld.again[key] = true
	ld.Again = append(ld.Again, keyTexts(key))
	if len(ld.Again) > maxAgain {
		l.restart(ld)
	}
	l.st.r.changedLoads()
}

// restart makes a load begin at the table's start again; mu is held.
func (l *loader) restart(ld *load) {
	for _, r := range ld.Ranges {
		l.drop(r)
	}
	ld.Ranges, ld.Again, ld.again, ld.plan, ld.Key = nil, nil, map[string]bool{}, nil, ""
	l.st.r.changedLoads()
}

// drop gives up what was read of a range and not published; mu is held.
func (l *loader) drop(r *keyRange) {
	for _, c := range r.flight {
		c.dead = true
		delete(l.chunks, c)
	}
	r.flight, r.taken = nil, false
}

// truncated notes a TRUNCATE.
func (l *loader) truncated(xid, oid uint32) {
	if l == nil || len(l.loads) == 0 || l.find(oid) == nil {
		return
	}
	if t := l.record.of(xid); !t.seen {
		t.table(oid).truncated = true
	}
}

// rolledBack notes that a part of a transaction in progress was rolled back: which rows
// the rest has changed is not known any more. All of it: nothing remains.
func (l *loader) rolledBack(xid, subxid uint32) {
	if l == nil {
		return
	}
	t := l.record.open[xid]
	if t == nil {
		return
	}
	if xid == subxid {
		delete(l.record.open, xid)
		return
	}
	for _, tt := range t.tables {
		tt.all, tt.truncated, tt.keys = true, false, nil
	}
}

// committed notes that a transaction's events have been emitted.
func (l *loader) committed(xid uint32) {
	if l != nil {
		l.record.committed(xid)
	}
}

// describedAs notes how the stream describes a table from here on.
func (l *loader) describedAs(oid uint32, t *change.Table) {
	if l == nil {
		return
	}
	if ld := l.find(oid); ld != nil {
		l.mu.Lock()
		ld.described = t
		l.mu.Unlock()
	}
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

// state is what status shows.
func (ld *load) state() string {
	switch {
	case ld.Paused:
		return "paused"
	case ld.Begun:
		return "reading"
	}
	return "pending"
}

// setState tells how the session stands.
func (l *loader) setState() {
	l.showing.Lock()
	defer l.showing.Unlock()
	l.mu.Lock()
	left := 0
	for _, ld := range l.loads {
		if !ld.Paused {
			left++
		}
	}
	joining := l.joining
	l.mu.Unlock()
	switch {
	case left > 0:
		l.s.setState("snapshot", fmt.Sprintf("%d tables left to load; changes are streamed meanwhile", left))
	case joining:
		l.s.setState("snapshot", "new tables are looked at")
	default:
		l.s.setState("streaming", "")
	}
}

// progress shows how far a load is; ended is the state of one that has ended.
func (l *loader) progress(ld *load, ended string) {
	l.showing.Lock()
	defer l.showing.Unlock()
	l.mu.Lock()
	state := ended
	if !ld.ended {
		state = ld.state()
	}
	name, rows, bytes := ld.name, ld.Rows, ld.Bytes
	rate := 0.0
	if d := time.Since(ld.since).Seconds(); d > 0 {
		rate = float64(rows-ld.sinceRows) / d
	}
	l.mu.Unlock()
	l.s.updateTable(name, func(st *capture.TableStatus) {
		st.Snapshot, st.SnapshotRows, st.SnapshotBytes, st.SnapshotTotal = state, rows, bytes, max(st.SnapshotTotal, rows)
		st.SnapshotLeft = 0
		if state == "reading" && rate > 0 {
			st.SnapshotLeft = time.Duration(float64(st.SnapshotTotal-rows) / rate * float64(time.Second))
		}
		if state == "done" {
			st.SnapshotTotal = rows
		}
	})
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

const (
	nudgeInterval = 10 * time.Millisecond
	// flushPatience is how long the WAL's end may wait for being flushed. What is not by
	// then has no commit in it: those are flushed with the commit, or with
	// synchronous_commit off within three wal_writer_delays.
	flushPatience = 2 * time.Second
)

// nudge asks the server for its position while something waits for the stream.
func (l *loader) nudge(ctx context.Context) {
	ticker := time.NewTicker(nudgeInterval)
	defer ticker.Stop()
	var lowered time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if l.waiting.Load() == 0 {
			continue
		}
		l.ask()
		if time.Since(lowered) > flushPatience/2 && l.overdue() {
			l.lower(ctx)
			lowered = time.Now()
		}
	}
}

// overdue tells whether an item has waited for longer than commits may stay unflushed.
func (l *loader) overdue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.items, func(it *item) bool { return time.Since(it.since) > flushPatience && it.min > l.stuck[1] })
}

// lower takes the end of the flushed WAL for items that wait for one that is not flushed:
// there the records of open transactions may stand that nobody waits for.
func (l *loader) lower(ctx context.Context) {
	conn, err := l.s.connect(ctx, false)
	if err != nil {
		return // the next round tries again
	}
	defer closeConn(conn)
	l.mu.Lock()
	var late []*item
	for _, it := range l.items {
		if time.Since(it.since) > flushPatience {
			late = append(late, it)
		}
	}
	l.mu.Unlock()
	rows, err := query(ctx, conn, "SELECT pg_catalog.pg_current_wal_flush_lsn()")
	if err != nil {
		return
	}
	flushed, err := pglogrepl.ParseLSN(rows[0][0])
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range late {
		if it.min > uint64(flushed) {
			l.stuck = [2]uint64{it.min, uint64(flushed)}
			it.min = uint64(flushed)
		}
	}
}
