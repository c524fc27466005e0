package sink

import "github.com/penstock-cdc/penstock/change"

// Program is a pipeline's compiled transform.
type Program interface {
	// Fields are the app's fields that it makes, in the order of Made.Fields.
	Fields() []FieldSpec
	KeyField() string
	KeyPII() bool       // the key is made of columns with personal data
	KeyOfKey() bool     // the key is made of the table's key alone: it changes with that alone
	MatchField() string // "" for none
	// MatchAlso are further fields that must have a record's values. With them Made.Match is the JSON array of all values' texts.
	MatchAlso() []string
	// Fingerprint names all that determines results.
	Fingerprint() string
	// NewWorker returns an evaluator of one goroutine's own.
	NewWorker() Worker
}

// Worker evaluates events. What it puts into a Made is valid until its next Eval, and no longer than the event.
type Worker interface {
	Eval(e *change.Event, m *Made)
}

// FieldSpec is one field that a pipeline writes.
type FieldSpec struct {
	Name  string
	Group Group
	PII   bool // made of columns with personal data
}

// Group says who owns a field: see config.Group, whose words it has.
type Group string

// The groups.
const (
	OwnedBySource Group = "source"
	OwnedByApp    Group = "app"
	Fill          Group = "fill"
	// ByParent is no field of the app, but a parent: the value is its source key as its messages have it.
	ByParent Group = "parent"
)

// Outcome is what a transform says of a row.
type Outcome uint8

// The outcomes.
const (
	Pass     Outcome = iota
	Filtered         // `where` is not true
	Rejected         // by a reject block or an error of an expression: Reason and Message
	Reselect         // an unchanged input is needed: the row must be read again
)

// Made is what a transform makes of a row.
type Made struct {
	Outcome    Outcome
	Reason     string // code of a rejection
	Message    string // its text, without values other than those the user put there
	Key, Match change.Value
	Fields     []change.Value // Unchanged where all inputs are
}

// Message is one record of the stream; its fields are those of stream.Message.
type Message struct {
	Topic     string
	Partition int
	Offset    int64
	Time      int64 // of publishing, Unix ms
	Key       []byte
	Value     []byte // nil: a tombstone or a marker
	Headers   []change.Header
}

func header(headers []change.Header, key string) []byte {
	for i := range headers {
		if headers[i].Key == key {
			return headers[i].Value
		}
	}
	return nil
}
