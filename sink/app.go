// Package sink takes events in from the stream and brings each app to the state they
// say: intake turns events into wanted states, dispatch pushes these into the apps.
package sink

import (
	"context"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// App is one connected app. Implementations: one folder each below sink/.
//
// Push may be called by several goroutines at once, up to Limits.Concurrent, never
// with two changes of one record at the same time.
type App interface {
	// Limits says how this app wants to be called for an object.
	Limits(object string) Limits
	// Push delivers one batch: changes of one object and one action, at most
	// Limits.Batch of them, no record twice. It returns one Result per change in the
	// same order. The error is for the call as a whole, when no change has a result of
	// its own: see Reject, RetryAfter, Halt, Unknown.
	Push(ctx context.Context, object string, action Action, changes []Change) ([]Result, error)
	// Ping checks address and credentials, for /readyz and validate --live.
	Ping(ctx context.Context) error
}

// Reader is an App that can read records back.
type Reader interface {
	// Read returns the records whose field has one of the values ("id" is the app's own
	// id), with the named fields; what is not there is left out. At most Limits.Read
	// values a call. Archived records are returned only when read by id.
	Read(ctx context.Context, object, field string, values []string, fields []string) ([]Record, error)
}

// Changer is an App that can say which of its records were changed, by whomever.
type Changer interface {
	// Changes returns records of an object that were changed, with the named fields, and where to go on: cursor is the Next of the
	// page before, "" for the present, of which only Next is wanted. It makes one call to the app at most.
	Changes(ctx context.Context, object, cursor string, fields []string) (Changes, error)
}

// Changes is a page of what was changed in an app. It may come late and be old by then: a record that differs is read before
// anything is done about it. The same record may come again.
type Changes struct {
	Records []Record
	Next    string
	More    bool // there is more now; else the next page is of what is changed from now on
}

// Describer is an App that can say what its objects look like, for the checker.
type Describer interface {
	Describe(ctx context.Context, object string) (Object, error)
}

// Declared is a Describer whose objects are declared in its block: it asks no network.
type Declared interface {
	Describer
	Declared()
}

// Eraser is an App that can forget a person for good, as privacy law asks; what it erased it never takes back.
type Eraser interface {
	// Erase erases the record of that id, archived or not. A record that is not there is no error.
	Erase(ctx context.Context, object, id string) error
}

// Associator is an App that keeps associations between records.
type Associator interface {
	// Associate makes associations between records that are there, or takes them away, at most Limits.Associate of them. One
	// that is there already, or gone already, is no error: what was not answered is sent again. It returns one error
	// per pair in the same order, ErrGone where the app has one of the two records no more; the error is for the call as a whole.
	Associate(ctx context.Context, a Associations) ([]error, error)
}

// Associations are pairs of records of two objects.
type Associations struct {
	From, To string // objects
	Kind     string // in the app's words; "": its default for the two objects
	Remove   bool
	Pairs    []Pair
}

// Pair is two records by the app's own ids.
type Pair struct{ From, To string }

// Action is what to do with a record.
type Action uint8

// The actions.
const (
	// Upsert creates the record, or changes the one that has Change.Key.
	Upsert Action = iota
	// Update changes the record Change.AppID.
	Update
	// Archive takes the record AppID out of sight, restorable where the app can.
	Archive
	// Remove deletes the record AppID for good.
	Remove
)

var actionNames = [...]string{"upsert", "update", "archive", "delete"}

func (a Action) String() string { return actionNames[a] }

// Change is one record's wanted change.
type Change struct {
	Ref    string  // unique in the batch and opaque: a trace id, an idempotency key; the same when the same change is sent again
	AppID  string  // the app's own id; "" only on Upsert
	Key    Field   // the unique field by which our record is found
	Fields []Field // to set; a Null value clears the field. Key is not among them
}

// Field is one field of an app's record with its value.
type Field struct {
	Name  string
	Value change.Value
}

// Result is what became of one Change.
type Result struct {
	AppID   string
	Created bool
	// Stored has fields as the app says that it stores them, where it says so: its canonical form.
	Stored []Field
	// Kept names fields that the app left as they were by a rule of its own (a stage that only moves forward):
	// an outcome, not an error. Stored has what it keeps.
	Kept []string
	// Err is nil when the app has taken the change over; else Reject, RetryAfter,
	// Halt, Unknown, Conflict, Gone or, to be tried again with back-off, any other.
	Err error
}

// Record is a record as it is in the app.
type Record struct {
	ID       string
	Archived bool
	Fields   map[string]string // "" is an empty field
	Updated  time.Time
	// Merged are the ids of records that were merged into this one, in a read by id, where the app says so. An id
	// that comes back neither as ID nor here is erased, or archived too long ago to be restored.
	Merged []string
}

// Limits is how an app wants to be called. Zero fields: 1 a batch, 1 at once, no pace.
type Limits struct {
	Batch      int // changes in one Push
	Read       int // values in one Read
	Associate  int // pairs in one Associate
	Concurrent int // calls at once, all objects together
	// Calls in a Window, all objects together; learned from the app's answers where it says so.
	Calls  int
	Window time.Duration
	// Used is how many of those calls, by others too, the app had counted when it had one that was sent at UsedAt.
	// UsedAt zero: it says nothing.
	Used   int
	UsedAt time.Time
	// Day is the quota of calls in a day, for all that call this account, and DayLeft what the app last said is left
	// of it; 0 and 0: it says nothing.
	Day, DayLeft int
	// Reserve is the share of the day's quota that is left to others who call the account; Calls is without theirs already.
	Reserve float64
	// Whole: a change of a known record carries all fields of the pipeline, not only those that changed.
	Whole bool
}

// Object describes an app's object.
type Object struct {
	Name       string
	Fields     []ObjectField
	Archivable bool
}

// ObjectField describes one field of an object.
type ObjectField struct {
	Name     string
	Label    string
	Type     string // text, int, decimal, bool, timestamp, date, enum, list, email, phone, url
	Length   int    // characters; 0: no limit known
	Options  []string
	Required bool
	Unique   bool // the app keeps values unique: usable as key
	ReadOnly bool
}
