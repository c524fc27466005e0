package state

import "github.com/penstock-cdc/penstock/change"

// Pipeline is what is known of one pipeline as a whole.
type Pipeline struct {
	ID          int64
	Name        string
	Fingerprint string
	// Layouts has the lists of field names that values are aligned with; a row's Layout
	// is an index. The last one is the present one.
	Layouts [][]string
	Ledger  Ledger
}

// Delivery is what is known of when a pipeline sends; times are Unix ms, 0 for never.
type Delivery struct {
	Paused int64 // since when, 0: it is not
	// Started and Ended are of the last run of a schedule; one that is going on has not Ended since it Started.
	Started, Ended int64
	// Since is the moment after which the next tick counts: a tick before now is missed, and made good by one run.
	Since int64
	// Backfilled is the fingerprint of the rules by which the rows that are there were taken in, or "new"; Approved that for which
	// a person has let them be.
	Backfilled, Approved string
}

// Verify is how far a pipeline has looked for what others change in the app; times are Unix ms, 0 for never.
type Verify struct {
	Target       string // the app and object that Cursor is of
	Cursor       string // where to go on, in the app's own form
	Began, Ended int64  // the last round; one that goes on has not Ended since it Began
	// Since ever: records that were looked at, edits of records that were put back or written over, records that were removed
	// there, and fields that are left as the app writes them.
	Looked, Edited, Gone, Left int64
}

// Position is how far one pipeline has taken in one partition.
type Position struct {
	Topic      string
	Partition  int
	Offset     int64     // of the next message
	LastID     change.ID // of the last event taken in
	Generation int64     // of the partition's owner
	// Snapshot is the snapshot that has begun and not ended here, "" for none, Begin the
	// ID of its begin marker.
	Snapshot string
	Begin    change.ID
	// What was last seen below Unseen is gone as of End, which a snapshot has found that ended there; zero for none, or once it is known
	// what that is.
	Unseen, End change.ID
}

// Unsettled tells whether a snapshot has ended here and it is not known yet what it did not find.
func (p *Position) Unsettled() bool { return !p.End.IsZero() }

// Standing is what is known of the app's side of a record.
type Standing uint8

// The standings.
const (
	New       Standing = iota // the app has no record that we know of
	InApp                     // it has AppID
	Removed                   // it had one, which we removed
	Forgotten                 // removed in the app by others, and it is to stay so
)

// Shadow is one record: the source's key and what the app has for it.
type Shadow struct {
	ID        int64
	Key       []byte // source key; nil while it moves to another
	Partition int
	Standing  Standing
	// Excluded: `where` was false for its last event. Rejected: the quarantine has an entry for it.
	// Deleted: the source has no row any more. Leaving: there are rows of LeavingByRecord.
	Excluded, Rejected, Deleted, Leaving bool
	Marked                               Mark

	AppID   string
	AppKey  change.Value // the unique field's value as last sent
	Applied change.ID    // last event that the app took over
	Seen    change.ID    // last event taken in that was written here
	Time    int64        // of the last answer, Unix ms
	History int64        // the History with its last change, 0: none
	Layout  int
	// Sent has for each field what was last sent, Unchanged where nothing was.
	Sent []change.Value
	// Stored has the app's canonical form of fields where it is another text than what was sent.
	Stored []Stored
	// PutBack has the fields whose edits in the app were undone.
	PutBack []PutBack
	// Links are the records with which the app has, or may have, this one associated.
	Links []Link
}

// PutBack is a field that was written again since the app had another text than it took over.
type PutBack struct {
	Field       int    // index in the layout
	Sent, Found string // what it was to be, and what the app had
	Times       int
}

// Link is an association with the record of a parent.
type Link struct {
	Name string // of the parent
	To   string // the app's id of its record
}

// Reference says which record of another pipeline a record names as its parent.
type Reference struct {
	Record int64
	Name   string
	Parent int64  // pipeline
	Key    []byte // source key
	// Due is when it is to be looked at, Unix ms: 0 since the parent changed, later while the record waits for it.
	Due int64
}

// Settled is the Due of a reference that is only looked at when its parent changes.
const Settled = int64(-1)

// Mark says whether a record that the app keeps without its row has the fields of `action = "set"`.
type Mark uint8

// The marks.
const (
	Unmarked    Mark = iota
	MayBeMarked      // the answer is not known, of this or of what was written since
	MarkDeleted      // those of `on "delete"`
	MarkLeft         // those of `on "leave"`
)

// Stored is the app's form of one field.
type Stored struct {
	Field int // index in the layout
	Text  string
}

// Want is what a record is to become.
type Want uint8

// The wants.
const (
	Put        Want = iota // be as Fields say
	Archive                // be archived
	Remove                 // be deleted for good
	SetDeleted             // stay, with the fields of `on "delete"` set
	SetLeft                // stay, with the fields of `on "leave"` set
)

// Sets tells whether a record is to stay in the app with fields set, instead of being removed.
func (w Want) Sets() bool { return w == SetDeleted || w == SetLeft }

// Removes tells whether a record is to be taken out of the app.
func (w Want) Removes() bool { return w == Archive || w == Remove }

// Cause says why a removal is wanted.
type Cause uint8

// The causes.
const (
	ByRow      Cause = iota // the row itself
	ByLeave                 // `where` is now false
	ByTruncate              // TRUNCATE
	BySweep                 // a snapshot did not find it
	ByMove                  // its key changed to one that never came
)

var causeNames = [...]string{"row", "leave", "truncate", "sweep", "move"}

func (c Cause) String() string { return causeNames[c] }

// Pending is a wanted state that the app does not have yet.
type Pending struct {
	Record      int64
	Queue       Queue
	Seq         int64 // order of taking in; kept when a newer event takes the older's place
	Due         int64 // not to be sent before, Unix ms
	Want        Want
	Cause       Cause
	Unknown     bool // it was sent with no answer: the app may have it
	RemovalSent bool // what was sent with no answer was a removal
	Over        Want // the removal of a former row of the key whose place this took; Put: none
	Attempts    int
	Since       int64 // when another row was first found to have its key, Unix ms; 0: none was
	EventID     change.ID
	Time        int64  // the event's commit, Unix ms
	Fingerprint string // of the program that made it
	Key, Match  change.Value
	Layout      int
	Fields      []change.Value // Unchanged where not known
	Event       []byte         // the event as taken in, for making it anew; opaque here
	Error       string         // of the last try, without values
	Links       []Link         // associations that are made with it, in an intent
}

// Intent says that a call with these is about to be made: sent, outcome unknown. A
// wanted state is either here or among the pending, never in both.
type Intent struct {
	ID    int64
	App   string
	Items []*Pending
}

// Quarantine is a record that was refused.
type Quarantine struct {
	ID          int64
	Record      int64 // 0: the event has no key
	Key         []byte
	EventID     change.ID
	Partition   int
	Offset      int64 // -1: not known
	Code        string
	Message     string
	ByApp       bool
	Time        int64 // Unix ms
	Fingerprint string
	Event       []byte
	// Request has the fields that were sent, or are known though the event left them out, as in Pending.
	Layout  int
	Request []change.Value
}

// Move is a record that has lost its key.
type Move struct {
	// Token is the ID of the delete that offers Record (0: the source's row had none) to the create
	// that claims it. Displaced: the ID of a create which took the key before the record's own
	// delete of the same commit came. Key is the key that was lost.
	Token     change.ID
	Record    int64
	Time      int64 // Unix ms
	Displaced bool
	Key       []byte
}

// Deferred is an event of a key whose turn has not come: the first of a key is a create whose
// other half, the delete of the key before, is in another partition and not taken in
// yet; what follows it waits behind it.
type Deferred struct {
	ID        int64 // in order of taking in
	Key       []byte
	Partition int
	Time      int64 // Unix ms
	Event     []byte
}

// Guard is what a guard remembers of one kind.
type Guard struct {
	Tripped bool
	Since   int64 // Unix ms
	Base    int64 // sent in the hour before it tripped
	// Sent counts by minute: the Unix minute and how many.
	Sent []Minute
}

// Minute is a count of one minute.
type Minute struct{ At, N int64 }
