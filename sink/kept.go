package sink

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/penstock-cdc/penstock/change"
)

// appendEvent lays a message out for keeping; readEvent gives it back.
func appendEvent(dst []byte, m *Message) []byte {
	n := 32 + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += 8 + len(h.Key) + len(h.Value)
	}
	w := packer{b: append(dst, make([]byte, 0, n)...)}
	if cap(w.b) == 0 {
		w.b = make([]byte, 0, n)
	}
	w.number(m.Offset)
	w.bytes(m.Key)
	w.bytes(m.Value)
	w.number(int64(len(m.Headers)))
	for _, h := range m.Headers {
		w.bytes([]byte(h.Key))
		w.bytes(h.Value)
	}
	return w.b
}

func readEvent(b []byte) (*Message, error) {
	r := unpacker{b: b}
	m := &Message{Offset: r.number(), Key: bytes.Clone(r.bytes()), Value: bytes.Clone(r.bytes())}
	for n := r.number(); n > 0 && !r.bad; n-- {
		m.Headers = append(m.Headers, change.Header{Key: string(r.bytes()), Value: bytes.Clone(r.bytes())})
	}
	if r.bad {
		return nil, errors.New("read kept event: it is cut off")
	}
	return m, nil
}

// fillFrom gives an event those values that it leaves out and an older one of its row has. False: they can't be told
// apart, since they are of two schemas, or one can't be read.
func (m *Message) fillFrom(older *Message) bool {
	if !bytes.Equal(header(m.Headers, change.HeaderSchema), header(older.Headers, change.HeaderSchema)) {
		return false
	}
	var missing, missingBefore []string
	if json.Unmarshal(header(m.Headers, change.HeaderUnchanged), &missing) != nil {
		return false
	}
	if h := header(older.Headers, change.HeaderUnchanged); h != nil && json.Unmarshal(h, &missingBefore) != nil {
		return false
	}
	var whole map[string]json.RawMessage
	var before struct{ After map[string]json.RawMessage }
	var after map[string]json.RawMessage
	if json.Unmarshal(m.Value, &whole) != nil || json.Unmarshal(older.Value, &before) != nil || json.Unmarshal(whole["after"], &after) != nil {
		return false
	}
	missing = slices.DeleteFunc(missing, func(column string) bool {
		value, ok := before.After[column]
		if !ok || slices.Contains(missingBefore, column) {
			return false
		}
		after[column] = value
		return true
	})
	names, err := json.Marshal(missing)
	if err != nil {
		return false
	}
	whole["after"] = object(after)
	m.Value = object(whole)
	m.Headers = slices.Clone(m.Headers)
	for i := range m.Headers {
		if m.Headers[i].Key == change.HeaderUnchanged {
			m.Headers[i].Value = names
		}
	}
	if len(missing) == 0 {
		m.Headers = slices.DeleteFunc(m.Headers, func(h change.Header) bool { return h.Key == change.HeaderUnchanged })
	}
	return true
}

// object writes members as they are: the text of a JSON column is a value, so it must keep its form.
func object(members map[string]json.RawMessage) []byte {
	b := []byte{'{'}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		quoted, _ := json.Marshal(name) // a string has no error
		b = append(append(append(b, quoted...), ':'), members[name]...)
	}
	return append(b, '}')
}
