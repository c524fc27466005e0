package stream

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/penstock-cdc/penstock/change"
)

// SchemasTopic is the name of a source's topic with the schemas of its tables.
func SchemasTopic(source string) string { return change.Topic(source, "penstock", "schemas") }

// MessageTopic is the name of a source's topic with its logical messages.
func MessageTopic(source string) string { return change.Topic(source, "message") }

// isOwn tells whether a topic is one of penstock's own, which no retention trims.
func isOwn(topic string) bool { return strings.Contains(topic, ".penstock.") }

// schemaKey is the key of a message on the schemas topic.
type schemaKey struct {
	Topic   string `json:"topic"`
	Version string `json:"version"`
}

// schemaRecord is the message that tells a table's schema.
func schemaRecord(source string, t *change.Table) (*change.Record, error) {
	key, err := json.Marshal(schemaKey{t.Topic, t.Version})
	if err != nil {
		return nil, fmt.Errorf("write schema of topic %s: %w", t.Topic, err)
	}
	value, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("write schema of topic %s: %w", t.Topic, err)
	}
	return &change.Record{Topic: SchemasTopic(source), Key: key, Value: value}, nil
}

// readSchema reads a message of the schemas topic.
func readSchema(m *Message) (schemaKey, *change.Table, error) {
	var key schemaKey
	if m.Value == nil {
		return key, nil, nil // a fence, or deleted
	}
	if err := json.Unmarshal(m.Key, &key); err != nil {
		return key, nil, fmt.Errorf("read topic %s offset %d: key: %w", m.Topic, m.Offset, err)
	}
	t := new(change.Table)
	if err := json.Unmarshal(m.Value, t); err != nil {
		return key, nil, fmt.Errorf("read topic %s offset %d: schema: %w", m.Topic, m.Offset, err)
	}
	if t.Seal().Version != key.Version {
		return key, nil, fmt.Errorf("read topic %s offset %d: schema of topic %s has version %s by its key and %s by its content; was it written by a newer penstock?",
			m.Topic, m.Offset, key.Topic, key.Version, t.Version)
	}
	return key, t, nil
}
