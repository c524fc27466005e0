package sink

import "encoding/binary"

// packer and unpacker lay out the events that state keeps for us.
type packer struct{ b []byte }

func (w *packer) number(n int64) { w.b = binary.AppendVarint(w.b, n) }
func (w *packer) bytes(p []byte) {
	w.b = binary.AppendUvarint(w.b, uint64(len(p)))
	w.b = append(w.b, p...)
}

type unpacker struct {
	b   []byte
	bad bool
}

func (r *unpacker) number() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *unpacker) bytes() []byte {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[size : size+int(n)]
	r.b = r.b[size+int(n):]
	return p
}
