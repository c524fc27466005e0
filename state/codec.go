package state

import (
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/penstock-cdc/penstock/change"
)

// Rows are kept as compact binary: a CRC-32C over what names the row and its body, then
// the body: integers as varints, texts and values with their length before them.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writer lays out one row's body. Its memory is reused from row to row.
type writer struct{ b []byte }

func (w *writer) start()          { w.b = append(w.b[:0], 0, 0, 0, 0) }
func (w *writer) int(n int64)     { w.b = binary.AppendVarint(w.b, n) }
func (w *writer) byte(n byte)     { w.b = append(w.b, n) }
func (w *writer) id(id change.ID) { w.b = append(w.b, id[:]...) }
func (w *writer) text(s string) {
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) bytes(p []byte) {
	w.b = binary.AppendUvarint(w.b, uint64(len(p)))
	w.b = append(w.b, p...)
}

func (w *writer) value(v change.Value) {
	w.b = append(w.b, byte(v.Kind()))
	if k := v.Kind(); k != change.Null && k != change.Unchanged {
		w.text(v.Text())
	}
}

func (w *writer) values(vs []change.Value) {
	w.int(int64(len(vs)))
	for _, v := range vs {
		w.value(v)
	}
}

func (w *writer) flags(fs ...bool) {
	var n byte
	for i, f := range fs {
		if f {
			n |= 1 << i
		}
	}
	w.b = append(w.b, n)
}

// seal puts the checksum before the body and returns the row.
func (w *writer) seal(name int64, key []byte) []byte {
	binary.LittleEndian.PutUint32(w.b, checksum(name, key, w.b[4:]))
	return w.b
}

func checksum(name int64, key, body []byte) uint32 {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(name))
	sum := crc32.Update(0, castagnoli, n[:])
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, body)
}

// reader reads a body back. It reads from one string, so that texts need no memory of
// their own; bad is set by whatever does not fit.
type reader struct {
	s   string
	bad bool
}

// open checks the checksum.
func (r *reader) open(name int64, key, row []byte) bool {
	if len(row) < 4 || binary.LittleEndian.Uint32(row) != checksum(name, key, row[4:]) {
		return false
	}
	r.s, r.bad = string(row[4:]), false
	return true
}

func (r *reader) byte() byte {
	if r.s == "" {
		r.bad = true
		return 0
	}
	b := r.s[0]
	r.s = r.s[1:]
	return b
}

func (r *reader) uint() uint64 {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		b := r.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	r.bad = true
	return 0
}

func (r *reader) int() int64 {
	n := r.uint()
	v := int64(n >> 1)
	if n&1 != 0 {
		v = ^v
	}
	return v
}

func (r *reader) text() string {
	n := r.uint()
	if n > uint64(len(r.s)) {
		r.bad = true
		return ""
	}
	t := r.s[:n]
	r.s = r.s[n:]
	return t
}

func (r *reader) bytes() []byte {
	t := r.text()
	if t == "" {
		return nil
	}
	return []byte(t)
}

func (r *reader) id() (id change.ID) {
	if len(r.s) < change.IDSize {
		r.bad = true
		return id
	}
	copy(id[:], r.s)
	r.s = r.s[change.IDSize:]
	return id
}

func (r *reader) value() change.Value {
	k := change.Kind(r.byte())
	if k == change.Null || k == change.Unchanged {
		return change.Of(k, "")
	}
	return change.Of(k, r.text())
}

func (r *reader) values() []change.Value {
	n := r.int()
	if n < 0 || n > int64(len(r.s)) {
		r.bad = true
		return nil
	}
	vs := make([]change.Value, n)
	for i := range vs {
		vs[i] = r.value()
	}
	return vs
}

func (r *reader) ok() bool { return !r.bad }

// trimmed keeps a string from holding on to a larger one.
func trimmed(s string) string { return strings.Clone(s) }
