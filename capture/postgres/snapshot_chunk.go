package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/penstock-cdc/penstock/change"
)

const (
	// A chunk is meant to have chunkBytes, and to take chunkTime to read.
	chunkBytes = 4 << 20
	chunkTime  = 500 * time.Millisecond
	// maxChunkBytes ends the reading of a chunk whose rows are larger than expected.
	maxChunkBytes = 4 * chunkBytes
	firstRows     = 1000
	maxRows       = 200_000
)

// chunk is a part of a table, read in one snapshot.
type chunk struct {
	load  *load
	from  *keyRange
	plan  *plan
	low   []string   // the rows above this key,
	high  []string   // and up to this one
	keys  [][]string // or: the rows of these
	limit int        // rows; 0: all
	begin int        // how many keys of load.Again it was made of

	next  []string // key of the last row
	short bool     // no rows are left that it might have had
	part  bool     // reading was ended early
	upTo  []string // the range is done up to here with it
	final bool     // with it the range is done

	floor     *visibility // the snapshot is not older
	shown     *visibility
	before    uint64        // on a standby: it was replayed before the snapshot was taken
	minimum   uint64        // its rows may be published from here on
	described *change.Table // what the stream had described before it was read
	copied                  // in COPY's text format
	dead      bool          // nobody wants it any more
	published bool
	came      map[string]bool // keys that rows came for, of a chunk that was not read to its end
	verdict   chan verdict
}

// verdict is what became of a chunk.
type verdict int

const (
	accepted verdict = iota
	readAgain
	readRest // with what chunk.low or chunk.keys say now
	planAgain
	dropped
)

func (c *chunk) seen() *visibility {
	if c.shown != nil {
		return c.shown
	}
	return c.floor
}

func (c *chunk) line(i int) []byte {
	start := 0
	if i > 0 {
		start = c.ends[i-1]
	}
	return c.buf[start:c.ends[i]]
}

// errChanged: the table is not as it was when the plan was made.
var errChanged = errors.New("the table was altered")

// errNotYet: the snapshot lacks transactions that the stream has had before.
var errNotYet = errors.New("the snapshot is too early")

// reader is a worker's session.
type reader struct {
	s     *Source
	wire  *wire
	stop  func() bool
	spare []copied // of chunks that are done
}

// copied are a chunk's rows as the server sent them.
type copied struct {
	buf  []byte
	ends []int
}

// reuse keeps what a chunk that is done has taken of memory for the next one, unless its rows were larger than expected.
func (rd *reader) reuse(c *chunk) {
	if cap(c.buf) <= 2*chunkBytes {
		rd.spare = append(rd.spare, c.copied)
	}
	c.copied = copied{}
}

func (rd *reader) open(ctx context.Context) error {
	if rd.wire != nil {
		return nil
	}
	conn, err := rd.s.connect(ctx, false)
	if err != nil {
		return err
	}
	if rd.wire, err = takeOver(conn); err != nil {
		closeConn(conn)
		return err
	}
	rd.stop = rd.wire.whenDone(ctx)
	return nil
}

func (rd *reader) close() {
	if rd.wire != nil {
		rd.stop()
		rd.wire.close()
		rd.wire = nil
	}
}

// fetch reads a chunk. After an error the session is closed, or between two transactions.
func (l *loader) fetch(ctx context.Context, rd *reader, c *chunk) error {
	if err := rd.open(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	if c.dead {
		l.mu.Unlock()
		return nil
	}
	c.floor, c.shown, c.described = l.latest, nil, c.load.described
	l.chunks[c] = true
	where := c.load.Where
	mustShow := c.load.mustShow
	l.mu.Unlock()
	if n := len(rd.spare); c.buf == nil && n > 0 {
		c.copied, rd.spare = rd.spare[n-1], rd.spare[:n-1]
	}
	c.buf, c.ends, c.next, c.part = c.buf[:0], c.ends[:0], nil, false
	began := time.Now()
	err := l.replayed(ctx, rd, &c.before)
	if err == nil {
		err = l.receive(rd, c, where, mustShow)
	}
	if err == nil {
		err = l.replayed(ctx, rd, &c.minimum)
	}
	if err != nil {
		var server *serverFault
		if !errors.As(err, &server) && !errors.Is(err, errChanged) && !errors.Is(err, errNotYet) {
			rd.close()
		}
		return err
	}
	l.s.failpoint("snapshot.read")
	rows := len(c.ends)
	c.short = !c.part && (c.limit == 0 || rows < c.limit)
	if rows > 0 {
		line := append([]byte(nil), c.line(rows-1)...)
		fields := splitCopy(nil, line, len(c.plan.message.columns))
		for _, k := range c.plan.keys {
			c.next = append(c.next, string(fields[k.place].data))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.load.adapt(rows, len(c.buf), time.Since(began), l.s.chunkRows)
	if len(mustShow) > 0 {
		c.load.mustShow = nil
	}
	return nil
}

// replayed reads how far a standby is. What a snapshot shows was replayed, and so in the stream, when it has been read; what
// was replayed before it was taken it shows.
func (l *loader) replayed(ctx context.Context, rd *reader, to *uint64) (err error) {
	if l.srv.standby {
		var end uint64
		if end, err = l.walEnd(ctx, rd); err == nil {
			*to = end
		}
	}
	return err
}

// adapt sets the rows of the next chunk from what one took; fixed, if not 0, is obeyed.
func (ld *load) adapt(rows, bytes int, took time.Duration, fixed int) {
	if fixed > 0 {
		ld.limit = fixed
		return
	}
	if rows == 0 {
		return
	}
	next := min(4*ld.limit, chunkBytes/max(1, bytes/rows))
	if took > chunkTime {
		next = min(next, max(1, int(float64(rows)*float64(chunkTime)/float64(took))))
	}
	ld.limit = min(max(1, next), maxRows)
}

// serverFault is an error of the server that leaves the session usable.
type serverFault struct{ err error }

func (e *serverFault) Error() string { return e.err.Error() }
func (e *serverFault) Unwrap() error { return e.err }

// receive runs a chunk's transaction, which is one message to the server.
func (l *loader) receive(rd *reader, c *chunk, where string, mustShow []uint32) error {
	w := rd.wire
	if err := w.query(c.plan.lockStatement() + c.plan.copyStatement(c, where) + "; COMMIT"); err != nil {
		return err
	}
	var failed, unfit error
	for {
		typ, body, err := w.next()
		if err != nil {
			return err
		}
		switch typ {
		case 'D':
			if unfit, err = l.head(c, body, mustShow); err != nil {
				return err
			}
		case 'd':
			if unfit != nil {
				continue
			}
			c.buf = append(c.buf, body...)
			c.ends = append(c.ends, len(c.buf))
			if len(c.buf) > maxChunkBytes { // the rest in another: what was read is in order
				c.part = true
				rd.close()
				return nil
			}
		case 'E':
			failed = serverError(body)
		case 'Z':
			if len(body) == 1 && body[0] != 'I' { // the transaction failed
				if err := w.query("ROLLBACK"); err != nil {
					return err
				}
				if _, err := w.untilReady(); err != nil {
					return err
				}
			}
			if failed != nil {
				return &serverFault{failed}
			}
			return unfit
		}
	}
}

// head reads the row that comes before a chunk's: its snapshot, the WAL's end, and the
// table as it is.
func (l *loader) head(c *chunk, body []byte, mustShow []uint32) (unfit, err error) {
	values, err := rowTexts(body)
	if err != nil || len(values) != 4 {
		return nil, fmt.Errorf("read the head of a chunk: %d values: %w", len(values), err)
	}
	shown, err := parseVisibility(values[0])
	if err != nil {
		return nil, err
	}
	end, err := pglogrepl.ParseLSN(values[1])
	if err != nil {
		return nil, fmt.Errorf("read the end of the WAL: %w", err)
	}
	block, err := strconv.ParseUint(values[2], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read wal_block_size: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.srv.standby {
		shown.replayed = c.before
	}
	c.shown, c.minimum = shown, endOfRecord(uint64(end), block)
	if c.minimum == l.stuck[0] {
		c.minimum = l.stuck[1]
	}
	l.latest = later(l.latest, shown)
	if values[3] != c.plan.signature {
		return errChanged, nil
	}
	for _, xid := range mustShow {
		if !shown.shows(xid) {
			return errNotYet, nil
		}
	}
	return nil, nil
}

// endOfRecord is where the record before a WAL position ends: a position behind a page's
// header (24 bytes, 40 on a segment's first page) is one that no record has ended at, and
// that the stream may not come to before there is another.
// Source: src/include/access/xlog_internal.h.
func endOfRecord(lsn, block uint64) uint64 {
	if offset := lsn % block; offset == 24 || offset == 40 {
		return lsn - offset
	}
	return lsn
}

// rowTexts reads a DataRow message of text values.
func rowTexts(body []byte) ([]string, error) {
	if len(body) < 2 {
		return nil, errors.New("a row without a count")
	}
	var out []string
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	for range n {
		if len(body) < 4 {
			return out, errors.New("a row that is too short")
		}
		size := int(int32(binary.BigEndian.Uint32(body)))
		body = body[4:]
		if size < 0 {
			out = append(out, "")
			continue
		}
		if len(body) < size {
			return out, errors.New("a row that is too short")
		}
		out = append(out, string(body[:size]))
		body = body[size:]
	}
	return out, nil
}

// untilReady reads up to the end of a statement and returns its rows.
func (w *wire) untilReady() ([][]string, error) {
	var rows [][]string
	var failed error
	for {
		typ, body, err := w.next()
		if err != nil {
			return nil, err
		}
		switch typ {
		case 'D':
			row, err := rowTexts(body)
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
		case 'E':
			failed = &serverFault{serverError(body)}
		case 'Z':
			return rows, failed
		}
	}
}
