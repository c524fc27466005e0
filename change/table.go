package change

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
)

// Column describes one column as the database declares it.
type Column struct {
	Name     string `json:"name"`
	Kind     Kind   `json:"kind"`               // of its non-null values
	Type     string `json:"type"`               // the database's own words: numeric(10,2), bigint unsigned
	Nullable bool   `json:"nullable,omitempty"` // may be NULL
	// Length is a text's or a binary's limit in characters or bytes, 0 for none.
	Length int `json:"length,omitempty"`
	// Precision and Scale are a decimal's declared ones; Precision 0 means any. For
	// integers Precision is the size in bits; for times it is the fraction's digits.
	Precision int `json:"precision,omitempty"`
	Scale     int `json:"scale,omitempty"`
	// Labels are an enum's or a SET's members, in order.
	Labels []string `json:"labels,omitempty"`
	// Element is the kind of an array's elements.
	Element Kind `json:"element,omitempty"`
	// Generated: computed by the database; the stream may not carry it.
	Generated bool `json:"generated,omitempty"`
	// PII: marked as personal data in the configuration.
	PII bool `json:"pii,omitempty"`
}

// Table is one version of a table's schema. It is immutable once it was emitted:
// a change of the schema is a new Table with another Version.
type Table struct {
	Database string   `json:"database,omitempty"` // the database's name as Debezium's source.db has it
	Schema   string   `json:"schema,omitempty"`   // Postgres schema; empty for MySQL, whose Database plays that part
	Name     string   `json:"name"`
	Topic    string   `json:"topic"`
	Columns  []Column `json:"columns"`
	// Key has the indexes of the key's columns, in key order; empty: no key, null message keys.
	Key []int `json:"key,omitempty"`
	// FullBefore: updates and deletes carry the whole row as it was.
	FullBefore bool `json:"full_before,omitempty"`
	// Version is the content hash of all of the above: 16 hex digits.
	Version string `json:"-"`
}

// Seal computes the table's Version and returns the table.
func (t *Table) Seal() *Table {
	text, err := json.Marshal(t)
	if err != nil {
		panic("marshal table: " + err.Error()) // plain data: cannot fail
	}
	sum := sha256.Sum256(text)
	t.Version = hex.EncodeToString(sum[:8])
	return t
}

// QualifiedName is the name users write in `tables`: schema.table, or database.table in MySQL.
func (t *Table) QualifiedName() string {
	if t.Schema != "" {
		return t.Schema + "." + t.Name
	}
	return t.Database + "." + t.Name
}

// Column returns the index of a column, -1 when there is none of that name.
func (t *Table) Column(name string) int {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

// InKey tells whether column i belongs to the key.
func (t *Table) InKey(i int) bool {
	for _, k := range t.Key {
		if k == i {
			return true
		}
	}
	return false
}

// Topic returns the topic of a table: the parts joined with dots, each character
// that Kafka does not allow in a topic as _uXXXX, its code point in at least four
// upper-case hex digits.
func Topic(parts ...string) string {
	var b strings.Builder
	for i, part := range parts {
		if i > 0 {
			b.WriteByte('.')
		}
		for _, r := range part {
			switch {
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
				b.WriteRune(r)
			default:
				hexa := strings.ToUpper(strconv.FormatInt(int64(r), 16))
				b.WriteString("_u" + strings.Repeat("0", max(0, 4-len(hexa))) + hexa)
			}
		}
	}
	return b.String()
}
