package stream

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// batchSize is how many bytes of plain records make a batch full. Larger ones
// compress no better (measured: 4.2 to 1 with 64 KiB and with 1 MiB).
const batchSize = 256 << 10

// batchCodec is what batches are written with. Measured with envelopes of 900 bytes on
// one core: snappy 2,500 MB/s and 4.2 to 1, zstd at its fastest 640 MB/s and 9 to 1,
// lz4 820 MB/s and 4.4 to 1; written into the embedded log with two cores, snappy
// 1.3 million rows/s, zstd 0.7. Capture shares its cores with the database, so time
// counts more than disk.
const batchCodec = codecSnappy

// lane is one partition as its writer sees it.
type lane struct {
	topic     string
	partition int
	last      change.ID // of the newest record in the log or laid in
	next      int64     // offset of the next record to be written
	written   change.ID // of the newest record that is durable
	limit     int       // bytes of a message; 0: the loom's
	sequence  int32     // of the next batch (Kafka)
	wrote     time.Time // when something was written last (Kafka)

	open    *batch   // being filled
	full    []*batch // filled, in order
	deleted bool     // the newest record of open is a delete whose tombstone may follow
	dirty   bool     // in the loom's list
}

// loom lays records into the lanes of one source's partitions and cuts off what was
// laid in as sealed batches. Full batches are compressed by a goroutine of its own
// while more records are laid in.
type loom struct {
	limit   int    // bytes of a message
	setting string // that raises it
	batch   int    // bytes of plain records that make a batch full
	topics  map[string][]*lane
	dirty   []*lane
	clock   change.Clock

	comp  compressor
	full  chan *batch
	done  chan struct{}
	spare sync.Pool // *batch
}

func newLoom(limit int, setting string) *loom {
	l := &loom{
		limit: limit, setting: setting, batch: batchSize, topics: map[string][]*lane{}, comp: compressor{codec: batchCodec},
		full: make(chan *batch, 8), done: make(chan struct{}),
	}
	l.spare.New = func() any { return new(batch) }
	go l.seal()
	return l
}

// seal compresses full batches until close.
func (l *loom) seal() {
	defer close(l.done)
	comp := compressor{codec: batchCodec}
	for b := range l.full {
		b.seal(&comp)
		close(b.sealed)
	}
}

func (l *loom) close() {
	close(l.full)
	<-l.done
}

// add lays a record into its lane, or into all lanes of its topic, and returns the
// bytes it takes: 0 if each lane already has its id.
func (l *loom) add(r *change.Record) (int, error) {
	lanes := l.topics[r.Topic]
	if len(lanes) == 0 {
		return 0, fmt.Errorf("add message to topic %s: the topic was not announced", r.Topic)
	}
	limit := l.limit
	if lanes[0].limit > 0 {
		limit = lanes[0].limit
	}
	if size := messageSize(r); size > limit {
		return 0, &TooLargeError{Topic: r.Topic, Key: len(r.Key), Size: size, Limit: limit, Setting: l.setting}
	}
	now := l.clock.Now().UnixMilli()
	if r.Everywhere {
		n := 0
		for _, lane := range lanes {
			n += l.lay(lane, r, now)
		}
		return n, nil
	}
	return l.lay(lanes[partitionOf(r.Key, len(lanes))], r, now), nil
}

func (l *loom) lay(lane *lane, r *change.Record, now int64) int {
	tombstone := r.Value == nil && r.Key != nil
	switch c := bytes.Compare(r.ID[:], lane.last[:]); {
	case r.ID.IsZero(): // penstock's own, such as a schema: the caller sees to repeats
	case c < 0:
		return 0
	case c == 0:
		// A tombstone has its delete's id and follows it at once, in the same batch.
		if !tombstone || !lane.deleted {
			return 0
		}
	default:
		if lane.open != nil && len(lane.open.raw)+messageSize(r) > l.batch {
			l.fill(lane)
		}
	}
	if lane.open == nil {
		lane.open = l.spare.Get().(*batch)
		if !lane.dirty {
			lane.dirty = true
			l.dirty = append(l.dirty, lane)
		}
	}
	if !r.ID.IsZero() {
		lane.last = r.ID
	}
	lane.deleted = !tombstone
	return lane.open.append(r, now)
}

// fill closes the lane's open batch and has it compressed.
func (l *loom) fill(lane *lane) {
	b := lane.open
	b.sealed = make(chan struct{})
	lane.full = append(lane.full, b)
	lane.open, lane.deleted = nil, false
	l.full <- b
}

// piece is what one flush writes to one partition.
type piece struct {
	lane    *lane
	batches []*batch
}

// cut takes everything laid in since the last cut, sealed.
func (l *loom) cut() []piece {
	pieces := make([]piece, len(l.dirty))
	for i, lane := range l.dirty {
		if lane.open != nil {
			if len(l.dirty) == 1 || len(lane.open.raw) < 32<<10 {
				lane.open.seal(&l.comp)
				lane.full = append(lane.full, lane.open)
				lane.open, lane.deleted = nil, false
			} else {
				l.fill(lane)
			}
		}
		pieces[i] = piece{lane, lane.full}
		lane.full, lane.dirty = nil, false
	}
	l.dirty = l.dirty[:0]
	l.clock.Ask()
	return pieces
}

// wait waits until the piece's batches are compressed, and returns their records and bytes.
func (p *piece) wait() (count, size int) {
	for _, b := range p.batches {
		if b.sealed != nil {
			<-b.sealed
		}
		count += b.count
		size += len(b.out)
	}
	return count, size
}

// release gives the batches' buffers back for reuse.
func (l *loom) release(pieces []piece) {
	for _, p := range pieces {
		for _, b := range p.batches {
			if cap(b.raw) <= 2*l.batch+64<<10 {
				b.reset()
				l.spare.Put(b)
			}
		}
	}
}
