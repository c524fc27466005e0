package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/change"
)

// mark is what a writer knows to be durable, as it is kept apart from the log.
type mark struct {
	log      string // the embedded log's own identity; "" with Kafka
	sequence uint64 // flushes of this source so far
	producer int64  // Kafka only, as are the next two
	epoch    int16
	resume   []byte
	lanes    []laneMark
}

// laneMark is the high-water mark of one partition.
type laneMark struct {
	topic     string
	partition int
	next      int64     // the last durable offset + 1
	last      change.ID // of the record there
}

const markVersion = 1

// append writes the mark: version, identity, numbers, resume, one entry a partition
// (its topic only where it is not the one before's), CRC-32C of it all.
func (m *mark) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, markVersion)
	dst = appendText(dst, m.log)
	dst = binary.AppendUvarint(dst, m.sequence)
	dst = binary.AppendVarint(dst, m.producer)
	dst = binary.AppendVarint(dst, int64(m.epoch))
	if m.resume == nil {
		dst = append(dst, 0)
	} else {
		dst = appendText(append(dst, 1), string(m.resume))
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.lanes)))
	topic := ""
	for i := range m.lanes {
		l := &m.lanes[i]
		if l.topic == topic {
			dst = append(dst, 0)
		} else {
			dst = appendText(dst, l.topic)
			topic = l.topic
		}
		dst = binary.AppendUvarint(dst, uint64(l.partition))
		dst = binary.AppendUvarint(dst, uint64(l.next))
		dst = append(dst, l.last[:]...)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// sortLanes brings the entries into the order in which topics are written once.
func (m *mark) sortLanes() {
	slices.SortFunc(m.lanes, func(a, b laneMark) int {
		if c := strings.Compare(a.topic, b.topic); c != 0 {
			return c
		}
		return a.partition - b.partition
	})
}

func parseMark(data []byte) (*mark, error) {
	if len(data) < 5 {
		return nil, errors.New("read mark: it is cut off")
	}
	sum := binary.BigEndian.Uint32(data[len(data)-4:])
	data = data[:len(data)-4]
	if crc32.Checksum(data, castagnoli) != sum {
		return nil, errors.New("read mark: it fails its checksum")
	}
	if data[0] != markVersion {
		return nil, fmt.Errorf("read mark: it has version %d, this penstock knows %d", data[0], markVersion)
	}
	r := textReader{rest: data[1:]}
	m := &mark{log: string(r.text()), sequence: r.uvarint(), producer: r.varint(), epoch: int16(r.varint())}
	if r.uvarint() == 1 {
		m.resume = append([]byte{}, r.text()...)
	}
	count := r.uvarint()
	topic := ""
	for range count {
		if r.bad {
			break
		}
		if name := r.text(); len(name) > 0 {
			topic = string(name)
		}
		l := laneMark{topic: topic, partition: int(r.uvarint()), next: int64(r.uvarint())}
		copy(l.last[:], r.take(change.IDSize))
		m.lanes = append(m.lanes, l)
	}
	if r.bad || len(r.rest) > 0 {
		return nil, errors.New("read mark: a length in it makes no sense")
	}
	return m, nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// textReader reads what append functions wrote; bad once something made no sense.
type textReader struct {
	rest []byte
	bad  bool
}

func (r *textReader) uvarint() uint64 {
	n, k := binary.Uvarint(r.rest)
	if k <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[k:]
	return n
}

func (r *textReader) varint() int64 {
	n, k := binary.Varint(r.rest)
	if k <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[k:]
	return n
}

func (r *textReader) text() []byte { return r.take(r.uvarint()) }

func (r *textReader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}
