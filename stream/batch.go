package stream

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/penstock-cdc/penstock/change"
)

// Layout of a record batch, version 2 (Kafka's protocol guide, "Record Batch"): the
// offsets of its fields. The checksum covers everything from the attributes on, so
// the base offset may be set last.
const (
	atBaseOffset    = 0
	atLength        = 8 // of what follows the field
	atLeaderEpoch   = 12
	atMagic         = 16
	atCRC           = 17
	atAttributes    = 21
	atLastDelta     = 23
	atBaseTime      = 27
	atMaxTime       = 35
	atProducer      = 43
	atProducerEpoch = 51
	atSequence      = 53
	atCount         = 57
	batchHeader     = 61

	attributeControl = 1 << 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is a record batch being filled and then sealed. Its buffers are reused.
type batch struct {
	raw      []byte // records, plain
	count    int
	baseTime int64 // ms
	maxTime  int64
	first    change.ID // of the oldest record
	last     change.ID // of the newest one
	out      []byte    // sealed: header and records, compressed where that is smaller
	sealed   chan struct{}
}

func (b *batch) reset() {
	b.raw, b.count, b.out, b.sealed = b.raw[:0], 0, nil, nil
}

// append lays a record in, with its timestamp in ms, and returns the bytes it takes.
func (b *batch) append(r *change.Record, now int64) int {
	if b.count == 0 {
		b.baseTime, b.maxTime, b.first = now, now, r.ID
	}
	b.maxTime = max(b.maxTime, now)
	size := recordSize(r, now-b.baseTime, b.count)
	before := len(b.raw)
	raw := binary.AppendVarint(b.raw, int64(size))
	raw = append(raw, 0) // attributes
	raw = binary.AppendVarint(raw, now-b.baseTime)
	raw = binary.AppendVarint(raw, int64(b.count))
	raw = appendBytes(raw, r.Key)
	raw = appendBytes(raw, r.Value)
	raw = binary.AppendVarint(raw, int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		raw = binary.AppendVarint(raw, int64(len(h.Key)))
		raw = append(raw, h.Key...)
		raw = appendBytes(raw, h.Value)
	}
	b.raw = raw
	b.count++
	b.last = r.ID
	return len(raw) - before
}

// recordSize is what a record takes behind its length field.
func recordSize(r *change.Record, timeDelta int64, offsetDelta int) int {
	n := 1 + varintSize(timeDelta) + varintSize(int64(offsetDelta)) + bytesSize(r.Key) + bytesSize(r.Value) + varintSize(int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		n += varintSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
	}
	return n
}

// messageSize is a record's size as limits count it.
func messageSize(r *change.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

func varintSize(n int64) int {
	u := uint64(n<<1) ^ uint64(n>>63)
	size := 1
	for u >= 0x80 {
		u >>= 7
		size++
	}
	return size
}

func bytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // -1 as a zigzag varint
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

// seal writes the whole batch into memory of its own, without producer and with the
// base offset 0.
func (b *batch) seal(c *compressor) {
	var head [batchHeader]byte
	out, codec := c.compress(head[:], b.raw)
	binary.BigEndian.PutUint32(out[atLength:], uint32(len(out)-atLeaderEpoch))
	out[atMagic] = 2
	binary.BigEndian.PutUint16(out[atAttributes:], uint16(codec))
	binary.BigEndian.PutUint32(out[atLastDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(out[atBaseTime:], uint64(b.baseTime))
	binary.BigEndian.PutUint64(out[atMaxTime:], uint64(b.maxTime))
	binary.BigEndian.PutUint32(out[atCount:], uint32(b.count))
	setProducer(out, -1, -1, -1)
	b.out = out
}

// setProducer says who wrote a sealed batch, and sets its checksum.
func setProducer(out []byte, id int64, epoch int16, sequence int32) {
	binary.BigEndian.PutUint64(out[atProducer:], uint64(id))
	binary.BigEndian.PutUint16(out[atProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(out[atSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(out[atCRC:], crc32.Checksum(out[atAttributes:], castagnoli))
}

func setBaseOffset(out []byte, offset int64) {
	binary.BigEndian.PutUint64(out[atBaseOffset:], uint64(offset))
}
