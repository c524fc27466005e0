// Package change has the nouns that every other package speaks in: an Event is one
// committed change of one row, a Table the schema that its rows have, an ID its place
// in the source's history; and the codec between events and Debezium's JSON envelope.
package change

import "time"

// Op is what an event did, in Debezium's letters.
type Op byte

// The operations.
const (
	Read     Op = 'r' // a row found by a snapshot
	Create   Op = 'c'
	Update   Op = 'u'
	Delete   Op = 'd'
	Truncate Op = 't' // of the whole table; no row, no key; goes to every partition
	Message  Op = 'm' // a logical message: Prefix and Content, no table
)

func (o Op) String() string { return string(rune(o)) }

// Connector is the kind of database, in Debezium's words.
type Connector string

// The connectors.
const (
	Postgres Connector = "postgresql"
	MySQL    Connector = "mysql"
	MariaDB  Connector = "mariadb"
)

// Source is what is the same for all events of one source.
type Source struct {
	Connector Connector
	Name      string // the source's name in the configuration; Debezium's topic.prefix
	Version   string // penstock's version
}

// Event is one committed change. A source may reuse it and the memory behind its
// rows as soon as the call it was handed to returns.
//
// A changed key is two events: a Delete with NewKey set, then a Create with OldKey
// set, both of the same commit and with successive ordinals.
type Event struct {
	Table  *Table
	Op     Op
	ID     ID
	Before Row // nil where the database sent none; key columns alone where that is all it sent (the others Null)
	After  Row // nil on d and t
	OldKey Row // on the create half of a changed key: the former row's values (only key columns are read)
	NewKey Row // on the delete half: the new row's values (only key columns are read)
	// Images, when set, stand for the rows above, which are then nil.
	Images *Images

	Prefix  string // Message only
	Content []byte // Message only

	CommitTime time.Time // at the source; of a snapshot row: when it was read
	Snapshot   string    // Debezium's source.snapshot: "" (a streamed change, written as "false"), "true", "first", "last"
	TxID       string    // Debezium's transaction.id; "" for none (snapshot rows)
	TxOrder    int64     // place in the transaction, from 1
	TableOrder int64     // place among the transaction's events of this table, from 1
	Log        LogPosition
}

// Images are what an envelope says of an event's rows, in the stream's own bytes. A
// source that learns a change's place only later (a transaction in progress) keeps
// them instead of the rows.
type Images struct {
	Key       []byte // the message's key; nil: null
	Rows      []byte // "before":…,"after":…
	Moved     []byte // of a changed key: the value of HeaderNewKey on the delete, of HeaderOldKey on the create
	Unchanged []byte // the value of HeaderUnchanged; nil: none
}

// LogPosition is where the database's own log has the change, for the source block.
type LogPosition struct {
	// Postgres.
	LSN       uint64 // the change's own
	LastLSN   uint64 // commit LSN of the transaction before this one
	XID       uint32
	Origin    string // replication origin, "" for none
	OriginLSN uint64 // 0: unknown
	// MySQL and MariaDB.
	ServerID uint32
	GTID     string
	File     string
	Pos      uint64
	Row      int // in its rows event
	Thread   uint32
}

// KeyRow returns the image that holds the event's key: After, or Before on a delete.
func (e *Event) KeyRow() Row {
	if e.Op == Delete {
		return e.Before
	}
	return e.After
}

// movedKey returns the row that has the other key of a changed one.
func (e *Event) movedKey() Row {
	if e.NewKey != nil {
		return e.NewKey
	}
	return e.OldKey
}
