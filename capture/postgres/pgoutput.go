package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// message is one decoded pgoutput message. Its slices point into the message that it
// was decoded from, and are reused by the next decode.
type message struct {
	kind     byte   // the protocol's letter
	xid      uint32 // Begin, Stream Start, Stream Commit, Stream Abort; within a stream of every message
	subxid   uint32 // Stream Abort
	first    bool   // Stream Start: the transaction's first
	lsn      uint64 // Begin: commit LSN; Commit: commit LSN; Origin; Message: its own
	end      uint64 // Commit: where the next record begins
	time     int64  // Begin, Commit: microseconds since 2000-01-01 UTC
	relation uint32 // of Relation, Insert, Update, Delete
	rel      relationMessage
	oldKind  byte // 'K' the key, 'O' the whole row, 0 none
	old, new []field
	truncate []uint32 // relations
	cascade  bool
	origin   []byte
	prefix   []byte
	content  []byte
	inTx     bool // Message: transactional
}

// field is one value of a tuple: 'n' null, 'u' unchanged TOAST, 't' text.
type field struct {
	kind byte
	data []byte
}

// relationMessage describes a relation as it was at that point of the stream.
type relationMessage struct {
	schema, name string
	identity     byte // d, n, f, i: pg_class.relreplident
	columns      []relationColumn
	number       uint64 // counts the descriptions in this stream
}

type relationColumn struct {
	name   string
	key    bool // part of the replica identity
	typ    uint32
	typmod int32
}

// decoder decodes pgoutput messages of protocol version 2.
type decoder struct {
	message
	streaming bool // between Stream Start and Stream Stop: messages begin with an xid
}

// decodeError says where a message is not as the protocol has it.
type decodeError struct {
	kind   byte
	offset int
	what   string
}

func (e *decodeError) Error() string {
	return fmt.Sprintf("decode pgoutput message %q: at byte %d: %s", e.kind, e.offset, e.what)
}

// cursor reads a message from front to back; after the first mistake it reads zeros.
type cursor struct {
	b   []byte
	at  int
	err string
}

func (c *cursor) take(n int, what string) []byte {
	if c.err != "" || n < 0 || len(c.b)-c.at < n {
		if c.err == "" {
			c.err = "too short for " + what
		}
		return nil
	}
	p := c.b[c.at : c.at+n : c.at+n]
	c.at += n
	return p
}

func (c *cursor) byte(what string) byte {
	if p := c.take(1, what); p != nil {
		return p[0]
	}
	return 0
}

func (c *cursor) uint16(what string) uint16 {
	if p := c.take(2, what); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (c *cursor) uint32(what string) uint32 {
	if p := c.take(4, what); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (c *cursor) uint64(what string) uint64 {
	if p := c.take(8, what); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// text reads up to a zero byte.
func (c *cursor) text(what string) []byte {
	if c.err != "" {
		return nil
	}
	i := bytes.IndexByte(c.b[c.at:], 0)
	if i < 0 {
		c.err = what + " without an end"
		return nil
	}
	p := c.b[c.at : c.at+i]
	c.at += i + 1
	return p
}

// decode reads one message; the result is in d.message.
func (d *decoder) decode(b []byte) error {
	c := cursor{b: b}
	d.kind = c.byte("its kind")
	d.xid = 0
	if d.streaming {
		switch d.kind {
		case 'R', 'Y', 'I', 'U', 'D', 'T', 'M':
			d.xid = c.uint32("xid")
		}
	}
	switch d.kind {
	case 'I':
		d.relation = c.uint32("relation")
		if k := c.byte("tuple kind"); k != 'N' && c.err == "" {
			c.err = "an insert without a new row"
		}
		d.oldKind, d.old = 0, d.old[:0]
		d.new = d.tuple(&c, d.new)
	case 'U':
		d.relation = c.uint32("relation")
		k := c.byte("tuple kind")
		d.oldKind, d.old = 0, d.old[:0]
		if k == 'K' || k == 'O' {
			d.oldKind = k
			d.old = d.tuple(&c, d.old)
			k = c.byte("tuple kind")
		}
		if k != 'N' && c.err == "" {
			c.err = "an update without a new row"
		}
		d.new = d.tuple(&c, d.new)
	case 'D':
		d.relation = c.uint32("relation")
		d.oldKind = c.byte("tuple kind")
		if d.oldKind != 'K' && d.oldKind != 'O' && c.err == "" {
			c.err = "a delete without an old row"
		}
		d.new = d.new[:0]
		d.old = d.tuple(&c, d.old)
	case 'B':
		d.lsn = c.uint64("commit lsn")
		d.time = int64(c.uint64("commit time"))
		d.xid = c.uint32("xid")
	case 'C':
		c.byte("flags")
		d.lsn = c.uint64("commit lsn")
		d.end = c.uint64("end lsn")
		d.time = int64(c.uint64("commit time"))
	case 'R':
		d.relationMessage(&c)
	case 'Y':
		c.uint32("type")
		c.text("schema")
		c.text("name")
	case 'O':
		d.lsn = c.uint64("origin lsn")
		d.origin = c.text("origin")
	case 'T':
		n := int(c.uint32("number of relations"))
		d.cascade = c.byte("options")&1 != 0
		d.truncate = d.truncate[:0]
		for i := 0; i < n && c.err == ""; i++ {
			d.truncate = append(d.truncate, c.uint32("relation"))
		}
	case 'M':
		d.inTx = c.byte("flags")&1 != 0
		d.lsn = c.uint64("lsn")
		d.prefix = c.text("prefix")
		d.content = c.take(int(c.uint32("length")), "content")
	case 'S':
		d.xid = c.uint32("xid")
		d.first = c.byte("segment") == 1
		d.streaming = c.err == ""
	case 'E':
		d.streaming = false
	case 'c':
		d.xid = c.uint32("xid")
		c.byte("flags")
		d.lsn = c.uint64("commit lsn")
		d.end = c.uint64("end lsn")
		d.time = int64(c.uint64("commit time"))
	case 'A':
		d.xid = c.uint32("xid")
		d.subxid = c.uint32("subtransaction")
	default:
		if c.err == "" {
			c.err = "a kind of message that protocol version 2 does not have"
		}
	}
	if c.err == "" && c.at != len(b) {
		c.err = fmt.Sprintf("%d bytes more than expected", len(b)-c.at)
	}
	if c.err != "" {
		return &decodeError{d.kind, c.at, c.err}
	}
	return nil
}

// tuple reads one row into fields, reusing its memory.
func (d *decoder) tuple(c *cursor, fields []field) []field {
	n := int(c.uint16("number of columns"))
	fields = fields[:0]
	b, at := c.b, c.at
	for range n {
		if c.err != "" {
			return fields
		}
		if at >= len(b) {
			c.at, c.err = at, "too short for a column"
			return fields
		}
		kind := b[at]
		at++
		switch kind {
		case 'n', 'u':
			fields = append(fields, field{kind: kind})
		case 't':
			if len(b)-at < 4 {
				c.at, c.err = at, "too short for a value's length"
				return fields
			}
			length := int(binary.BigEndian.Uint32(b[at:]))
			at += 4
			if length < 0 || len(b)-at < length {
				c.at, c.err = at, "too short for a value"
				return fields
			}
			fields = append(fields, field{'t', b[at : at+length : at+length]})
			at += length
		default:
			c.at, c.err = at-1, fmt.Sprintf("a value of kind %q", kind)
			return fields
		}
	}
	c.at = at
	return fields
}

// relationMessage reads a Relation message; what it returns has memory of its own.
func (d *decoder) relationMessage(c *cursor) {
	d.relation = c.uint32("relation")
	r := relationMessage{schema: string(c.text("schema")), name: string(c.text("name"))}
	if r.schema == "" {
		r.schema = "pg_catalog" // the protocol's way of saying so
	}
	r.identity = c.byte("replica identity")
	n := int(c.uint16("number of columns"))
	for i := 0; i < n && c.err == ""; i++ {
		r.columns = append(r.columns, relationColumn{
			key:  c.byte("column flags")&1 != 0,
			name: string(c.text("column name")),
			typ:  c.uint32("column type"), typmod: int32(c.uint32("column typmod")),
		})
	}
	d.rel = r
}
