// Package state keeps what the sink must remember across restarts: positions in the
// stream, what each app has (shadows), what it is to get (pending), what was sent with
// no answer yet (intents), quarantine, guards and ledgers. All of one batch is written
// in one transaction.
package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-cdc/penstock/change"
)

// ErrStale means that another owner has moved the position of a partition: the caller lost it
// and must stop taking in.
var ErrStale = errors.New("the partition has a newer owner")

// ErrOwned means that the app's record already belongs to another record of the pipeline.
var ErrOwned = errors.New("the app's record belongs to another key")

// Store is a durable state. Implementations: OpenSQLite. An error of Update that is not the
// function's own is final: nothing of the transaction was kept, or it is not known
// whether it was, and the process must end and read the state again.
type Store interface {
	// Update runs f in one durable transaction; there is one at a time. When f returns an
	// error nothing is kept and Update returns that error.
	Update(ctx context.Context, f func(Tx) error) error
	// View runs f on one consistent state; writing in it is an error.
	View(ctx context.Context, f func(Tx) error) error
	// Space returns an error that names the reserve when there is too little room for taking in more.
	Space() error
	// Backup writes a consistent copy while others go on.
	Backup(ctx context.Context, path string) error
	// TrimHistory drops the oldest of the history: what is from before a time, Unix ms, and what is beyond
	// a number of bytes.
	TrimHistory(ctx context.Context, before, most int64) error
	// Load and Save keep one source's mark: see stream.Marks.
	Load(ctx context.Context, source string) ([]byte, error)
	Save(ctx context.Context, source string, mark []byte) error
	Close() error
}

// Tx is one transaction. The rows that it hands to functions are theirs to keep. Functions must not use the
// Tx while they are called.
type Tx interface {
	// Pipeline returns the pipeline of that name, made when there is none. In a View
	// that one has no ID.
	Pipeline(name string) (Pipeline, error)
	PutPipeline(p *Pipeline) error

	Positions(pipeline int64, f func(Position) error) error
	// Position returns the zero Position but for topic and partition when there is none.
	Position(pipeline int64, topic string, partition int) (Position, error)
	// Advance replaces the position from by to, both of one topic and partition. It
	// returns ErrStale when the stored one is not from or has a newer generation than to.
	Advance(pipeline int64, from, to *Position) error

	// Shadows finds records by source key; those not there are left out.
	Shadows(pipeline int64, keys [][]byte, f func(*Shadow) error) error
	// ShadowsByID finds records by ID.
	ShadowsByID(pipeline int64, ids []int64, f func(*Shadow) error) error
	// ScanShadows returns up to limit records with an ID above after, in order of ID.
	ScanShadows(pipeline, after int64, limit int, f func(*Shadow) error) error
	// PutShadow writes a record; ID 0 gets a new one. The key of one that is there must be the
	// stored one; RekeyShadow changes it.
	PutShadow(pipeline int64, s *Shadow) error
	RekeyShadow(pipeline int64, s *Shadow) error
	DeleteShadow(pipeline, id int64) error

	// Owner returns the record that owns an app's record, 0 for none.
	Owner(pipeline int64, appID string) (int64, error)
	// Own makes record its owner; ErrOwned when another one is.
	Own(pipeline int64, appID string, record int64) error
	Disown(pipeline int64, appID string) error
	// Leaving is about values of the app's key field which a record has there, or may have, and
	// the source's row has no more. LeavingCount counts them, LeavingByKey returns the records that
	// have one, LeavingByRecord what a record has.
	LeavingCount(pipeline int64) (int64, error)
	LeavingByKey(pipeline int64, key string) ([]int64, error)
	LeavingByRecord(pipeline, record int64) ([]string, error)
	PutLeaving(pipeline int64, key string, record int64) error
	DeleteLeaving(pipeline int64, key string, record int64) error

	// PendingByRecord finds wanted states by record.
	PendingByRecord(pipeline int64, records []int64, f func(*Pending) error) error
	// NextPending returns up to limit of one queue that are due at now, oldest first.
	NextPending(pipeline int64, q Queue, now int64, limit int, f func(*Pending) error) error
	// NextDue returns the earliest Due of a queue, 0 for an empty one.
	NextDue(pipeline int64, q Queue) (int64, error)
	// PendingCounts returns how many wait in each queue.
	PendingCounts(pipeline int64) (map[Queue]int64, error)
	// OldPending counts what waits in a queue with Seq at most seq.
	OldPending(pipeline int64, q Queue, seq int64) (int64, error)
	PutPending(pipeline int64, p *Pending) error
	DeletePending(pipeline, record int64) error
	// Requeue moves what is in a queue with Seq at most seq to another; it returns how many.
	Requeue(pipeline int64, from, to Queue, seq int64) (int64, error)
	// ScanPending returns up to limit with a record ID above after, in order of it.
	ScanPending(pipeline, after int64, limit int, f func(*Pending) error) error

	// PutIntent writes an intent; ID 0 gets a new one.
	PutIntent(pipeline int64, in *Intent) error
	DeleteIntent(pipeline, id int64) error
	Intents(pipeline int64, f func(*Intent) error) error

	// PutQuarantine writes an entry; ID 0 gets a new one.
	PutQuarantine(pipeline int64, q *Quarantine) error
	DeleteQuarantine(pipeline, id int64) error
	// QuarantineByRecord returns a record's entry, nil for none.
	QuarantineByRecord(pipeline, record int64) (*Quarantine, error)
	QuarantineByID(pipeline, id int64) (*Quarantine, error)
	// QuarantineByCode returns the IDs of the entries of a code, oldest first.
	QuarantineByCode(pipeline int64, code string) ([]int64, error)
	ScanQuarantine(pipeline, after int64, limit int, f func(*Quarantine) error) error

	Moves(pipeline int64, f func(*Move) error) error
	PutMove(pipeline int64, m *Move) error
	DeleteMove(pipeline int64, token change.ID) error

	// Deferred hands over all, in order of ID. PutDeferred writes a new one and sets its ID.
	Deferred(pipeline int64, f func(*Deferred) error) error
	PutDeferred(pipeline int64, d *Deferred) error
	DeleteDeferred(pipeline, id int64) error

	// PutReference writes that a record names a parent. A later Due does not take the place of an earlier one.
	PutReference(pipeline int64, r *Reference) error
	DeleteReference(pipeline int64, r *Reference) error
	// DeleteOtherReferences drops a record's references of that name to other keys; with no Key, to all.
	DeleteOtherReferences(pipeline int64, r *Reference) error
	// DeleteReferences drops all of a record.
	DeleteReferences(pipeline, record int64) error
	// MarkReferences makes the references to a key of a parent due at once; it returns how many there are.
	MarkReferences(parent int64, key []byte) (int64, error)
	// DueReferences returns up to limit of a pipeline's references that are due at now, those that are due first first.
	DueReferences(pipeline, now int64, limit int, f func(*Reference) error) error
	// NextReference returns when the next one is due, Settled for none.
	NextReference(pipeline int64) (int64, error)
	// WaitingReferences counts by name those whose record is in the queue Waiting for its parent.
	WaitingReferences(pipeline int64) (map[string]int64, error)

	// Guard returns what a guard remembers.
	Guard(pipeline int64, kind Kind) (Guard, error)
	PutGuard(pipeline int64, kind Kind, g *Guard) error

	// PutHistory writes a row of history; ID 0 gets a new one.
	PutHistory(pipeline int64, h *History) error
	// HistoryOf hands over up to limit changes of a record, newest first. It costs as many rows as there are changes.
	HistoryOf(pipeline int64, s *Shadow, limit int, f func(time int64, c *Changed) error) error
	// ScanHistory returns up to limit rows with an ID below before, newest first.
	ScanHistory(pipeline, before int64, limit int, f func(*History) error) error

	// Delivery returns what is known of when a pipeline sends.
	Delivery(pipeline int64) (Delivery, error)
	PutDelivery(pipeline int64, d *Delivery) error

	// Verify returns how far a pipeline has looked for what others change in the app.
	Verify(pipeline int64) (Verify, error)
	PutVerify(pipeline int64, v *Verify) error

	// Forgotten hands over the hashes of keys that were forgotten; PutForgotten adds one, at a time in Unix ms.
	Forgotten(pipeline int64, f func(hash [32]byte)) error
	PutForgotten(pipeline int64, hash [32]byte, at int64) error
	// MaxSeq returns the highest Seq in use.
	MaxSeq() (int64, error)
}

// Lane says how urgent a wanted state is.
type Lane uint8

// The lanes.
const (
	Live     Lane = iota // a streamed change
	Backfill             // a row found by a snapshot
)

// Kind is what a guard counts.
type Kind uint8

// The kinds.
const (
	Create Kind = iota // the app has no record as far as we know
	Change             // it has one
	Delete             // it is to be removed
	Kinds  = 3
)

var kindNames = [Kinds]string{"creates", "changes", "deletes"}

func (k Kind) String() string { return kindNames[k] }

// Queue is where a wanted state waits.
type Queue uint8

// Approved marks what a guard lets through; Held waits for a person's decision,
// Guarded for a guard's approval whatever the guard's limit, Waiting for another event
// (the other half of a moved key) or for a parent.
const (
	approvedBit Queue = 1 << 3
	Held        Queue = 64
	Guarded     Queue = 65
	Waiting     Queue = 66
)

// QueueOf returns the queue of what is ready to be sent.
func QueueOf(k Kind, l Lane, approved bool) Queue {
	q := Queue(l)<<2 | Queue(k)
	if approved {
		q |= approvedBit
	}
	return q
}

// Ready tells whether it is a queue of what is ready to be sent.
func (q Queue) Ready() bool { return q < 16 && q&3 != 3 }

// Kind is the kind of what waits in a ready queue.
func (q Queue) Kind() Kind { return Kind(q & 3) }

// Lane is the lane of what waits in a ready queue.
func (q Queue) Lane() Lane { return Lane(q >> 2 & 1) }

// Approved tells whether it is the queue of what a person has let through the guard.
func (q Queue) Approved() bool { return q.Ready() && q&approvedBit != 0 }

// DamageError is a row whose content is not what was written.
type DamageError struct {
	File, Table string
	Row         string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("read state: %s: row %s of table %s is damaged (its checksum differs): stop, check the disk, and put back a copy made by `penstock state backup`; records are found again by key, nothing is doubled",
		e.File, e.Row, e.Table)
}
