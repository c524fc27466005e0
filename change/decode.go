package change

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decoder reads the stream's messages back into events. It keeps its buffers between
// calls and is for one goroutine.
type Decoder struct {
	arena          arena
	before, after  Row
	oldKey, newKey Row
	unchanged      []string
}

// NewDecoder makes a decoder.
func NewDecoder() *Decoder { return &Decoder{} }

// Decode reads one message into e; t is the table that the header penstock.schema
// names (nil for a logical message). The event's rows and texts are views of the
// message and of the decoder's memory, valid until the next Decode. A tombstone or a
// marker is an error: they are told by their nil value.
func (d *Decoder) Decode(t *Table, key, value []byte, headers []Header, e *Event) error {
	if value == nil {
		return errors.New("decode event: message has no value")
	}
	d.arena.reset()
	*e = Event{Table: t}
	d.unchanged = d.unchanged[:0]
	var oldKey, newKey []byte
	for i := range headers {
		switch h := &headers[i]; h.Key {
		case HeaderID:
			if err := e.ID.UnmarshalText(h.Value); err != nil {
				return fmt.Errorf("decode event: header %s: %w", HeaderID, err)
			}
		case HeaderUnchanged:
			if err := json.Unmarshal(h.Value, &d.unchanged); err != nil {
				return fmt.Errorf("decode event: header %s: %w", HeaderUnchanged, err)
			}
		case HeaderOldKey:
			oldKey = h.Value
		case HeaderNewKey:
			newKey = h.Value
		}
	}
	s := scanner{text: value, arena: &d.arena}
	err := s.members(func(name string) (err error) {
		switch name {
		case "before":
			e.Before, err = d.row(&s, t, &d.before, nil)
		case "after":
			e.After, err = d.row(&s, t, &d.after, d.unchanged)
		case "source":
			err = decodeSource(&s, e)
		case "transaction":
			err = decodeTransaction(&s, e)
		case "message":
			err = d.message(&s, e)
		case "op":
			var op string
			if op, err = s.str(); err == nil {
				if len(op) != 1 {
					return fmt.Errorf("op %q is not one letter", op)
				}
				e.Op = Op(op[0])
			}
		default:
			_, err = s.raw()
		}
		return err
	})
	if err == nil && s.next() != 0 {
		err = s.fail("the end")
	}
	if err == nil && !strings.ContainsRune("rcudtm", rune(e.Op)) {
		err = fmt.Errorf("unknown op %q", string(rune(e.Op)))
	}
	if err == nil && e.Op != Message && t == nil {
		err = errors.New("table is not known")
	}
	if err == nil && oldKey != nil {
		e.OldKey, err = d.movedKey(oldKey, t, &d.oldKey)
	}
	if err == nil && newKey != nil {
		e.NewKey, err = d.movedKey(newKey, t, &d.newKey)
	}
	if err != nil {
		return fmt.Errorf("decode event: %w", err)
	}
	return nil
}

// row takes an image, with the names of columns that may stand there for unchanged values: only those of the new row do.
// Columns that it lacks are Null; a column that the table lacks is an error.
func (d *Decoder) row(s *scanner, t *Table, keep *Row, unchanged []string) (Row, error) {
	if s.next() == 'n' {
		_, err := s.raw()
		return nil, err
	}
	if t == nil {
		return nil, errors.New("table is not known")
	}
	r := (*keep)[:0]
	for range t.Columns {
		r = append(r, Value{})
	}
	if r == nil {
		r = Row{} // a table without columns has rows too
	}
	*keep = r
	at := 0
	err := s.members(func(name string) error {
		if at >= len(t.Columns) || t.Columns[at].Name != name {
			if at = t.Column(name); at < 0 {
				return fmt.Errorf("column %q is not in version %s of table %s", name, t.Version, t.QualifiedName())
			}
		}
		v, err := d.value(s, &t.Columns[at], unchanged)
		if err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
		r[at] = v
		at++
		return nil
	})
	return r, err
}

func (d *Decoder) value(s *scanner, c *Column, unchanged []string) (Value, error) {
	switch s.next() {
	case '"':
		text, err := s.str()
		if err != nil {
			return Value{}, err
		}
		if text == Unavailable && slices.Contains(unchanged, c.Name) {
			return Value{kind: Unchanged}, nil
		}
		switch c.Kind {
		case Bytes:
			buf := s.arena.room(base64.StdEncoding.DecodedLen(len(text)))
			buf, err := base64.StdEncoding.AppendDecode(buf, []byte(text))
			if err != nil {
				return Value{}, errors.New("bytes are not base64")
			}
			return Value{view(s.arena.keep(buf)), Bytes}, nil
		case Bool, Int, Uint, Array, Object: // a form of its own, such as an array with custom bounds
			return Value{text, String}, nil
		}
		return Value{text, c.Kind}, nil
	case '[':
		raw, err := s.raw()
		return Value{view(raw), Array}, err
	case '{':
		raw, err := s.raw()
		return Value{view(raw), Object}, err
	}
	raw, err := s.raw()
	if err != nil {
		return Value{}, err
	}
	switch text := view(raw); {
	case text == "null":
		return Value{}, nil
	case text == "true" || text == "false":
		return Value{text, Bool}, nil
	case !json.Valid(raw):
		return Value{}, fmt.Errorf("JSON before byte %d: want a value", s.pos)
	case c.Kind == Int || c.Kind == Uint || c.Kind == Float || c.Kind == Decimal:
		return Value{text, c.Kind}, nil
	case bytes.ContainsAny(raw, ".eE"):
		return Value{text, Float}, nil
	default:
		return Value{text, Int}, nil
	}
}

// Key reads a message's key, or one out of a header. The row is the decoder's, valid until the next call.
func (d *Decoder) Key(t *Table, key []byte) (Row, error) {
	d.arena.reset()
	row, err := d.movedKey(key, t, &d.newKey)
	if err == nil && row == nil {
		err = errors.New("it is null")
	}
	if err != nil {
		return nil, fmt.Errorf("decode key: %w", err)
	}
	return row, nil
}

// movedKey reads a key out of a header: the key itself, or a Kafka Connect document with it as payload.
func (d *Decoder) movedKey(text []byte, t *Table, keep *Row) (Row, error) {
	s := scanner{text: text, arena: &d.arena}
	payload := text
	if err := s.members(func(name string) error {
		raw, err := s.raw()
		if name == "payload" {
			payload = raw
		}
		return err
	}); err != nil {
		return nil, fmt.Errorf("header of a changed key: %w", err)
	}
	s = scanner{text: payload, arena: &d.arena}
	return d.row(&s, t, keep, nil)
}

func (d *Decoder) message(s *scanner, e *Event) error {
	return s.members(func(name string) (err error) {
		switch name {
		case "prefix":
			e.Prefix, err = s.nullable()
		case "content":
			var text string
			if text, err = s.nullable(); err == nil {
				e.Content, err = base64.StdEncoding.DecodeString(text)
			}
		default:
			_, err = s.raw()
		}
		return err
	})
}

func decodeTransaction(s *scanner, e *Event) error {
	if s.next() == 'n' {
		_, err := s.raw()
		return err
	}
	return s.members(func(name string) (err error) {
		switch name {
		case "id":
			e.TxID, err = s.nullable()
		case "total_order":
			e.TxOrder, err = s.integer()
		case "data_collection_order":
			e.TableOrder, err = s.integer()
		default:
			_, err = s.raw()
		}
		return err
	})
}

func decodeSource(s *scanner, e *Event) error {
	return s.members(func(name string) (err error) {
		var n int64
		switch name {
		case "ts_ns":
			if n, err = s.integer(); err == nil {
				e.CommitTime = time.Unix(0, n).UTC()
			}
		case "snapshot":
			if e.Snapshot, err = s.nullable(); e.Snapshot == "false" {
				e.Snapshot = ""
			}
		case "lsn":
			n, err = s.integer()
			e.Log.LSN = uint64(n)
		case "txId":
			n, err = s.integer()
			e.Log.XID = uint32(n)
		case "sequence":
			var text string
			if text, err = s.nullable(); err == nil {
				e.Log.LastLSN = lastLSN(text)
			}
		case "origin":
			e.Log.Origin, err = s.nullable()
		case "origin_lsn":
			n, err = s.integer()
			e.Log.OriginLSN = uint64(n)
		case "server_id":
			n, err = s.integer()
			e.Log.ServerID = uint32(n)
		case "gtid":
			e.Log.GTID, err = s.nullable()
		case "file":
			e.Log.File, err = s.nullable()
		case "pos":
			n, err = s.integer()
			e.Log.Pos = uint64(n)
		case "row":
			n, err = s.integer()
			e.Log.Row = int(n)
		case "thread":
			n, err = s.integer()
			e.Log.Thread = uint32(n)
		default:
			_, err = s.raw()
		}
		return err
	})
}

// lastLSN reads the first of the two LSNs of source.sequence, 0 when it is null.
func lastLSN(sequence string) uint64 {
	_, rest, _ := strings.Cut(sequence, `["`)
	digits, _, _ := strings.Cut(rest, `"`)
	n, _ := strconv.ParseUint(digits, 10, 64)
	return n
}
