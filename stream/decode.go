package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// batchInfo is what a sealed batch's header says.
type batchInfo struct {
	base, last    int64 // offsets of its first and last record
	size          int   // bytes of the whole batch
	attributes    uint16
	count         int
	baseTime      int64
	maxTime       int64
	producer      int64
	producerEpoch int16
}

var errCutOff = errors.New("record batch is cut off")

// parseBatch reads the header of the batch that data begins with, without looking
// at the checksum. errCutOff: data ends before the batch does.
func parseBatch(data []byte) (batchInfo, error) {
	if len(data) < batchHeader {
		return batchInfo{}, errCutOff
	}
	b := batchInfo{
		base:          int64(binary.BigEndian.Uint64(data[atBaseOffset:])),
		size:          int(int32(binary.BigEndian.Uint32(data[atLength:]))) + atLeaderEpoch,
		attributes:    binary.BigEndian.Uint16(data[atAttributes:]),
		count:         int(int32(binary.BigEndian.Uint32(data[atCount:]))),
		baseTime:      int64(binary.BigEndian.Uint64(data[atBaseTime:])),
		maxTime:       int64(binary.BigEndian.Uint64(data[atMaxTime:])),
		producer:      int64(binary.BigEndian.Uint64(data[atProducer:])),
		producerEpoch: int16(binary.BigEndian.Uint16(data[atProducerEpoch:])),
	}
	b.last = b.base + int64(int32(binary.BigEndian.Uint32(data[atLastDelta:])))
	if data[atMagic] != 2 {
		return b, fmt.Errorf("record batch has format %d, want 2", data[atMagic])
	}
	if b.size < batchHeader || b.last < b.base || b.count < 0 {
		return b, errors.New("record batch's header makes no sense")
	}
	if len(data) < b.size {
		return b, errCutOff
	}
	return b, nil
}

// checkBatch parses the batch and verifies its checksum.
func checkBatch(data []byte) (batchInfo, error) {
	b, err := parseBatch(data)
	if err != nil {
		return b, err
	}
	if crc32.Checksum(data[atAttributes:b.size], castagnoli) != binary.BigEndian.Uint32(data[atCRC:]) {
		return b, errors.New("record batch fails its checksum")
	}
	return b, nil
}

// decoder turns batches into messages. Its memory, and with it the messages, is used
// again after reset. It is for one goroutine.
type decoder struct {
	decompressor
	raw      [][]byte // plain records of each batch since reset
	used     int
	headers  []change.Header
	messages []Message
	names    map[string]string // header names seen
	now      time.Time
	nowMilli int64
}

// reset gives up the messages decoded so far.
func (d *decoder) reset() {
	const keep = 8 << 20
	for i := range d.raw {
		if cap(d.raw[i]) > keep {
			d.raw[i] = nil
		}
	}
	d.used = 0
	clear(d.messages)
	d.headers, d.messages = d.headers[:0], d.messages[:0]
}

// shrink lets go of the memory of a reader that has nothing to read.
func (d *decoder) shrink() {
	d.raw, d.used, d.headers, d.messages = nil, 0, nil, nil
}

// decode adds the messages of one whole batch with offsets from..., in memory of the
// decoder's or of data.
func (d *decoder) decode(data []byte, topic string, partition int, from int64) (batchInfo, error) {
	b, err := checkBatch(data)
	if err != nil {
		return b, err
	}
	if b.attributes&attributeControl != 0 {
		return b, nil
	}
	records := data[batchHeader:b.size]
	if c := codec(b.attributes & codecMask); c != codecPlain {
		if d.used == len(d.raw) {
			d.raw = append(d.raw, nil)
		}
		if records, err = d.decompress(c, d.raw[d.used][:0], records); err != nil {
			return b, err
		}
		d.raw[d.used] = records
		d.used++
	}
	d.messages = slices.Grow(d.messages, min(b.count, len(records)/7+1)) // a record takes 7 bytes at least
	for n := 0; n < b.count; n++ {
		size, k := binary.Varint(records)
		if k <= 0 || size < 0 || size > int64(len(records)-k) {
			return b, fmt.Errorf("record %d of the batch is cut off", n)
		}
		if err := d.record(&b, records[k:k+int(size)], topic, partition, from); err != nil {
			return b, fmt.Errorf("record %d of the batch: %w", n, err)
		}
		records = records[k+int(size):]
	}
	return b, nil
}

var errRecord = errors.New("a length in it makes no sense")

func (d *decoder) record(b *batchInfo, rec []byte, topic string, partition int, from int64) error {
	if len(rec) == 0 {
		return errRecord
	}
	rec = rec[1:] // attributes
	timeDelta, k := binary.Varint(rec)
	if k <= 0 {
		return errRecord
	}
	rec = rec[k:]
	delta, k := binary.Varint(rec)
	if k <= 0 {
		return errRecord
	}
	rec = rec[k:]
	if b.base+delta < from {
		return nil
	}
	d.messages = append(d.messages, Message{Topic: topic, Partition: partition, Offset: b.base + delta, Time: d.time(b.baseTime + timeDelta)})
	m := &d.messages[len(d.messages)-1]
	var ok bool
	if m.Key, rec, ok = cutBytes(rec); !ok {
		return errRecord
	}
	if m.Value, rec, ok = cutBytes(rec); !ok {
		return errRecord
	}
	count, k := binary.Varint(rec)
	if k <= 0 || count < 0 || count > int64(len(rec)) {
		return errRecord
	}
	rec = rec[k:]
	start := len(d.headers)
	for range count {
		var name, value []byte
		if name, rec, ok = cutBytes(rec); !ok {
			return errRecord
		}
		if value, rec, ok = cutBytes(rec); !ok {
			return errRecord
		}
		d.headers = append(d.headers, change.Header{Key: d.name(name), Value: value})
	}
	m.Headers = d.headers[start:len(d.headers):len(d.headers)]
	return nil
}

// time keeps the last one: neighbours mostly share it.
func (d *decoder) time(ms int64) time.Time {
	if ms != d.nowMilli || d.now.IsZero() {
		d.nowMilli, d.now = ms, time.UnixMilli(ms)
	}
	return d.now
}

// name returns a header's name without a new string for those seen before.
func (d *decoder) name(b []byte) string {
	switch string(b) {
	case change.HeaderID:
		return change.HeaderID
	case change.HeaderSchema:
		return change.HeaderSchema
	}
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if d.names == nil {
		d.names = map[string]string{}
	}
	if len(d.names) < 256 {
		d.names[s] = s
	}
	return s
}

// cutBytes reads a length and as many bytes; a length of -1 is nil.
func cutBytes(rec []byte) (b, rest []byte, ok bool) {
	n, k := binary.Varint(rec)
	if k <= 0 || n > int64(len(rec)-k) {
		return nil, nil, false
	}
	rec = rec[k:]
	if n < 0 {
		return nil, rec, true
	}
	return rec[:n:n], rec[n:], true
}

// messageID returns the event id in a message's headers, zero where there is none.
func messageID(m *Message) change.ID {
	var id change.ID
	if text, ok := m.Header(change.HeaderID); ok {
		if id.UnmarshalText(text) != nil {
			return change.ID{}
		}
	}
	return id
}

// last is the plain form of the records that were unpacked last.
func (d *decoder) last() []byte {
	if d.used == 0 {
		return nil
	}
	return d.raw[d.used-1]
}
