package mysql

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-mysql-org/go-mysql/replication"
)

// errShort is what a cut-off event is refused with.
var errShort = errors.New("event is shorter than its content")

// headerSize is the size of a binlog event's header in format version 4.
const headerSize = 19

// header is a binlog event's header.
type header struct {
	time     uint32 // seconds
	kind     replication.EventType
	serverID uint32
	size     uint32 // header, body and checksum
	end      uint32 // where the event ends in its file, modulo 4 GiB; 0: not known
	flags    uint16
}

func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize {
		return header{}, errShort
	}
	le := binary.LittleEndian
	return header{
		time: le.Uint32(b), kind: replication.EventType(b[4]), serverID: le.Uint32(b[5:]),
		size: le.Uint32(b[9:]), end: le.Uint32(b[13:]), flags: le.Uint16(b[17:]),
	}, nil
}

// reader reads the fields of an event one after the other. The first read past the
// end sets err; what is read after it is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.err = errShort
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint(n int) uint64 { return littleEndian(r.bytes(n)) }

// packed reads a length-encoded integer.
func (r *reader) packed() uint64 {
	switch first := r.byte(); first {
	case 251, 255:
		r.err = errors.New("length-encoded integer is malformed")
		return 0
	case 252:
		return r.uint(2)
	case 253:
		return r.uint(3)
	case 254:
		return r.uint(8)
	default:
		return uint64(first)
	}
}

// count reads a length-encoded integer that counts things of at least size bytes each
// which follow.
func (r *reader) count(size int) int {
	n := r.packed()
	if r.err != nil || n*uint64(size) > uint64(len(r.b)) || n > 1<<31 {
		r.err = errShort
		return 0
	}
	return int(n)
}

// text reads a length-encoded string.
func (r *reader) text() []byte { return r.bytes(r.count(1)) }

func littleEndian(b []byte) uint64 {
	var n uint64
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n
}

func bigEndian(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// query is a QUERY event: a statement that was logged as its text.
type query struct {
	thread   uint32
	database string
	text     string
}

func parseQuery(body []byte, compressed bool) (query, error) {
	r := reader{b: body}
	q := query{thread: uint32(r.uint(4))}
	r.uint(4) // seconds it took
	database := int(r.byte())
	r.uint(2) // its error code
	r.bytes(int(r.uint(2)))
	q.database = string(r.bytes(database))
	r.byte() // NUL
	if r.err != nil {
		return query{}, r.err
	}
	if compressed {
		text, err := inflate(r.b)
		if err != nil {
			return query{}, fmt.Errorf("decompress query: %w", err)
		}
		q.text = string(text)
		return q, nil
	}
	q.text = string(r.b)
	return q, nil
}
