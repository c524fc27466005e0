package stream

import "encoding/binary"

// wireWriter appends the primitive types of Kafka's protocol, those of the versions
// that are not "flexible".
type wireWriter struct{ b []byte }

func (w *wireWriter) int8(n int8)   { w.b = append(w.b, byte(n)) }
func (w *wireWriter) int16(n int16) { w.b = binary.BigEndian.AppendUint16(w.b, uint16(n)) }
func (w *wireWriter) int32(n int32) { w.b = binary.BigEndian.AppendUint32(w.b, uint32(n)) }
func (w *wireWriter) int64(n int64) { w.b = binary.BigEndian.AppendUint64(w.b, uint64(n)) }

func (w *wireWriter) bool(v bool) {
	if v {
		w.int8(1)
	} else {
		w.int8(0)
	}
}

func (w *wireWriter) string(s string) {
	w.int16(int16(len(s)))
	w.b = append(w.b, s...)
}

func (w *wireWriter) null() { w.int16(-1) }

func (w *wireWriter) bytes(b []byte) {
	w.int32(int32(len(b)))
	w.b = append(w.b, b...)
}

func (w *wireWriter) array(n int) { w.int32(int32(n)) }

func (w *wireWriter) uvarint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }

// room leaves four bytes for a length, which settle fills with what follows them.
func (w *wireWriter) room() int {
	w.int32(0)
	return len(w.b)
}

func (w *wireWriter) settle(start int) {
	binary.BigEndian.PutUint32(w.b[start-4:], uint32(len(w.b)-start))
}

// wireReader reads them; bad once something was cut off or made no sense.
type wireReader struct {
	rest []byte
	bad  bool
}

func (r *wireReader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *wireReader) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *wireReader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *wireReader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *wireReader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// string reads a string; null is "".
func (r *wireReader) string() string {
	n := r.int16()
	if n < 0 {
		return ""
	}
	return string(r.take(int(n)))
}

// bytes reads bytes; null is nil.
func (r *wireReader) bytes() []byte {
	n := r.int32()
	if n < 0 {
		return nil
	}
	return r.take(int(n))
}

// array reads a count of elements of which each takes at least a byte; null is -1.
func (r *wireReader) array() int {
	n := int(r.int32())
	if n > len(r.rest) {
		r.bad, r.rest = true, nil
		return 0
	}
	if r.bad {
		return 0
	}
	return n
}
