package change

// Header names on the stream's messages.
const (
	HeaderID        = "penstock.id"        // ID's text
	HeaderSchema    = "penstock.schema"    // Table.Version
	HeaderMarker    = "penstock.marker"    // JSON of Marker
	HeaderUnchanged = "penstock.unchanged" // JSON array of the columns the database did not send
	HeaderNewKey    = "__debezium.newkey"
	HeaderOldKey    = "__debezium.oldkey"
)

// Unavailable stands for an unchanged value in an envelope; HeaderUnchanged names such columns.
const Unavailable = "__debezium_unavailable_value"

// Header is one header of a message.
type Header struct {
	Key   string
	Value []byte
}

// Record is one message of the stream, ready to be laid into a record batch. Its
// memory belongs to whoever made it and may be reused when the call it was handed to
// returns.
type Record struct {
	Topic   string
	Key     []byte // nil: null key
	Value   []byte // nil: a tombstone
	Headers []Header
	ID      ID
	// Everywhere: to every partition of the topic (truncate, markers).
	Everywhere bool
}

// MarkerKind is the kind of a control message.
type MarkerKind string

// The markers.
const (
	SnapshotBegin MarkerKind = "snapshot_begin"
	SnapshotEnd   MarkerKind = "snapshot_end"
	SnapshotAbort MarkerKind = "snapshot_abort" // a begun snapshot that has no end: nothing follows from it
	Fence         MarkerKind = "fence"
)

// Marker is a control message, on every partition of a table's topic; key and value
// are null, the header HeaderMarker has this as JSON.
type Marker struct {
	Kind     MarkerKind `json:"kind"`
	Snapshot string     `json:"snapshot,omitempty"` // its id: the same on begin and end
	// Partial: the snapshot has a part of the table, and what it lacks is not gone.
	Partial bool `json:"partial,omitempty"`
}
