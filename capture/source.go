// Package capture carries the committed changes of one database into the log: a
// Source reads the database, Run hands what it emits to the log and tells the source
// what is durable.
package capture

import (
	"context"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// Source reads the committed changes of one database. Implementations:
// capture/postgres, capture/mysql.
//
// Check, then Run, are called by one goroutine; Confirm and Status may be called by
// any while Run runs.
type Source interface {
	// Check looks at the server, the settings, the privileges and the captured tables,
	// changes nothing, and returns all that is wrong at once, each with the statement
	// or setting that mends it (errors.Join, of *Problem where the error has a code).
	// Resume is as for Run.
	Check(ctx context.Context, resume []byte) error

	// Run makes what capture needs at the server (slot, publication), takes the
	// snapshot that resume has not seen finished, then streams, until ctx ends (nil) or
	// something is wrong that waiting can't mend. Lost connections it mends itself,
	// with back-off. Resume is what the log has durably from the last Commit, nil at
	// the very first start.
	Run(ctx context.Context, resume []byte, out Output) error

	// Confirm says that everything up to the Commit that had this resume is durable:
	// the database may forget it.
	Confirm(resume []byte)

	// Status is what `penstock status` and the metrics show.
	Status() Status

	// Drop removes what Run made at the server.
	Drop(ctx context.Context) error
}

// Output is what a source emits into, from one goroutine, in order. Each call may
// block (back-pressure); an error ends Run with it. Nothing handed over is kept after
// the call returns, except a *change.Table, which is immutable.
type Output interface {
	// Event takes one change. Its Table, if not seen before, is announced by this.
	Event(e *change.Event) error
	// Marker writes a marker to every partition of the table's topic.
	Marker(t *change.Table, id change.ID, m change.Marker) error
	// Commit ends a transaction, a snapshot chunk or a stretch in which nothing was
	// captured: all events since the last Commit belong together, and a restart with
	// this resume emits what comes after. The output may drop what has an ID not above
	// the last one its partition has: after a crash the same events may come again.
	Commit(resume []byte) error
	// Idle says that the source has nothing more to read for now: what was committed
	// should not wait for company. It does not block.
	Idle()
	// Flush waits until all committed so far is durable (a chunk counter raised before
	// its chunk is read).
	Flush(ctx context.Context) error
}

// Status is a source's state at a moment. Zero fields are unknown.
type Status struct {
	State         string        // connecting, snapshot, streaming, waiting: with its reason in Detail
	Detail        string        // what it waits for, or the last error
	Position      string        // where it reads, in the database's own words
	Confirmed     string        // up to where the database may forget
	Behind        int64         // bytes between the server's end and Position
	Lag           time.Duration // between now and the commit time of what was last read, 0 when at the end
	RetainedBytes int64         // WAL or binlog that the server keeps because of us
	Epoch         uint32        // of the event ids
	Tables        []TableStatus // captured tables
	Warnings      []string      // what an operator should act on
	Transactions  *Transactions // nil: the source has only committed ones
}

// Transactions are those in progress at the database of which the source has received
// a part, which it publishes when they commit; and those that the database keeps itself.
type Transactions struct {
	Open        int       // received in part
	MemoryBytes int64     // kept of them in memory
	FileBytes   int64     // kept of them in files
	Oldest      time.Time // when the first part of the oldest came
	// ServerSpilled and ServerSpilledBytes count the transactions that did not fit into
	// the database's memory for them and were written to its own disk, and their bytes,
	// since its statistics were reset.
	ServerSpilled, ServerSpilledBytes int64
}

// TableStatus is one captured table.
type TableStatus struct {
	Name          string // schema.table
	Topic         string
	SchemaVersion string
	Snapshot      string // "", pending, reading, done
	SnapshotRows  int64  // read so far
	SnapshotTotal int64  // an estimate; 0: unknown
	SnapshotBytes int64  // of the rows, as the database sent them
	// SnapshotChunks counts the parts in which they were read; 0: the table is read in one.
	SnapshotChunks int64
	SnapshotRate   float64 // rows a second since this process reads it; 0: unknown
	SnapshotWaits  string  // why no more is read for now, "" while it is
	// SnapshotLeft is an estimate of the time until it is done; 0: unknown.
	SnapshotLeft time.Duration
}

// Log is what Run needs of the stream: a writer of one source's topics that knows
// what is durable. stream.Writer implements it.
type Log interface {
	// Resume returns the resume point of the last durable Flush, nil at the first start.
	Resume() []byte
	// Table makes the table's topic ready and, when that version is new, writes its
	// schema to the schemas topic.
	Table(ctx context.Context, t *change.Table) error
	// Add lays a record into the next flush and returns the bytes it takes there, 0
	// when the partition already has its ID and it was dropped.
	Add(r *change.Record) (int, error)
	// Flush makes everything added so far durable together with the resume point: when
	// it returns nil, both are.
	Flush(ctx context.Context, resume []byte) error
}
