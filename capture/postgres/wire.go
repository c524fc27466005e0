package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	// wireBuffer is how much is read at once: a few hundred rows.
	wireBuffer = 128 << 10
	// silence is how long the server may say nothing before it is taken for gone. The
	// status message asks for an answer far more often.
	silence = 5 * time.Minute
	// maxMessage is the largest message that the protocol lets the server send.
	maxMessage = 1 << 30
)

// The server writes every row by itself. A reader that waits for each is woken for each,
// which on a machine that they share slows the server down more than reading does: so
// while many bytes come, the reader waits for wakeBytes of them, or for wakeDelay.
//
// That leaves a packet for each row, which costs the server as much as the row does. While nobody can send, though, rows
// gather in the server's socket and leave it as few large packets. So with a near server and a flow, the reader gives the
// connection nearBytes of room and reads when they are used up, or after flowDelay.
const (
	wakeBytes = 64 << 10
	wakeDelay = time.Millisecond
	// manyBytes is how much has to come within a wakeDelay for that: at 5,000 rows a
	// second nobody waits.
	manyBytes = 4 << 10

	nearBytes = 192 << 10
	flowDelay = 5 * time.Millisecond
	flowBytes = 32 << 10 // within a wakeDelay
	// nearTime is the longest round trip to a server that is near: nearBytes in each are 200 MB/s.
	nearTime = time.Millisecond
)

// wire reads a connection's messages in place: what next returns points into the
// buffer and is valid until the next call. Writing is for any goroutine.
type wire struct {
	conn    net.Conn
	pid     uint32
	buf     []byte
	r, w    int
	waiting func() // called before waiting for the server for longer than wakeDelay

	mark    wakeMark
	marked  bool      // the reader is woken for many bytes only
	many    bool      // many bytes came in the last stretch of at least wakeDelay
	flow    bool      // they were a flow
	came    int       // bytes in this stretch
	stretch time.Time // when it began
	patient time.Time // when the read deadline was set

	writing sync.Mutex
}

// takeOver makes a wire of an idle connection. For one that streams rows mark is still to be set.
func takeOver(conn *pgconn.PgConn) (*wire, error) {
	h, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	// An idle session has sent nothing that was not read, except a late notice.
	for h.Frontend.ReadBufferLen() > 0 {
		if _, err := h.Frontend.Receive(); err != nil {
			return nil, fmt.Errorf("take over connection: %w", err)
		}
	}
	return &wire{conn: h.Conn, pid: h.PID, buf: make([]byte, wireBuffer), waiting: func() {}}, nil
}

// whenDone makes pending and later calls fail once ctx ends; the caller calls what it
// returns when it is through.
func (w *wire) whenDone(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = w.conn.Close() })
}

// next returns the next message: its type and its body.
func (w *wire) next() (byte, []byte, error) {
	if w.w-w.r < 5 {
		if err := w.fill(5); err != nil {
			return 0, nil, err
		}
	}
	size := int(binary.BigEndian.Uint32(w.buf[w.r+1:])) + 1
	if size < 5 || size > maxMessage {
		return 0, nil, fmt.Errorf("read message %q: its length %d cannot be", w.buf[w.r], size)
	}
	if w.w-w.r < size {
		if err := w.fill(size); err != nil {
			return 0, nil, err
		}
	}
	typ, body := w.buf[w.r], w.buf[w.r+5:w.r+size]
	w.r += size
	return typ, body, nil
}

// fill reads until n bytes are there.
func (w *wire) fill(n int) error {
	switch {
	case n > len(w.buf):
		grown := make([]byte, max(n, wireBuffer)+4096)
		w.w = copy(grown, w.buf[w.r:w.w])
		w.buf, w.r = grown, 0
	case len(w.buf) > 4*wireBuffer && n <= wireBuffer && w.w-w.r <= wireBuffer: // a large message has passed
		usual := make([]byte, wireBuffer)
		w.w = copy(usual, w.buf[w.r:w.w])
		w.buf, w.r = usual, 0
	default:
		w.w = copy(w.buf, w.buf[w.r:w.w])
		w.r = 0
	}
	for w.w < n {
		m, err := w.read(w.buf[w.w:])
		w.w += m
		if err != nil && w.w < n {
			return fmt.Errorf("read from server: %w", err)
		}
	}
	return nil
}

// read waits for bytes and reads what is there.
func (w *wire) read(p []byte) (n int, err error) {
	now := time.Now()
	w.measure(now)
	defer func() { w.came += n }()
	if w.many && !w.marked {
		w.marked = w.mark.raise()
	}
	if now.Sub(w.patient) > silence/10 {
		if err := w.conn.SetReadDeadline(now.Add(silence)); err != nil {
			return 0, err
		}
		w.patient = now
	}
	if w.marked {
		delay := wakeDelay
		if w.flow {
			delay = flowDelay
		}
		err := w.mark.wait(delay)
		if err == nil {
			return w.conn.Read(p)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		w.mark.lower()
		w.marked = false
	}
	w.waiting()
	return w.conn.Read(p)
}

// measure notes whether many bytes come. They need not come evenly.
func (w *wire) measure(now time.Time) {
	d := now.Sub(w.stretch)
	if d < wakeDelay || w.many && d < 10*wakeDelay {
		return
	}
	came := int64(w.came) * int64(wakeDelay)
	w.many, w.flow = came >= manyBytes*int64(d), came >= flowBytes*int64(d)
	w.came, w.stretch = 0, now
}

// query sends a simple query.
func (w *wire) query(sql string) error {
	b := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(sql)+1))
	return w.write(append(append(b, sql...), 0))
}

// standbyStatus tells the server what was received and what it may forget; with reply
// it answers.
func (w *wire) standbyStatus(received, durable uint64, reply bool) error {
	b := make([]byte, 0, 39)
	b = append(b, 'd', 0, 0, 0, 38, 'r')
	b = binary.BigEndian.AppendUint64(b, received)
	b = binary.BigEndian.AppendUint64(b, durable)
	b = binary.BigEndian.AppendUint64(b, durable)
	b = binary.BigEndian.AppendUint64(b, uint64(time.Since(postgresEpoch).Microseconds()))
	if reply {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return w.write(b)
}

func (w *wire) write(b []byte) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	if err := w.conn.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return fmt.Errorf("write to server: %w", err)
	}
	if _, err := w.conn.Write(b); err != nil {
		return fmt.Errorf("write to server: %w", err)
	}
	return nil
}

// close says goodbye and closes.
func (w *wire) close() {
	w.writing.Lock()
	defer w.writing.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = w.conn.Write([]byte{'X', 0, 0, 0, 4})
	_ = w.conn.Close()
}

// serverError reads an ErrorResponse.
func serverError(body []byte) error {
	var m pgproto3.ErrorResponse
	if err := m.Decode(body); err != nil {
		return errors.New("the server sent an error that cannot be read")
	}
	return pgconn.ErrorResponseToPgError(&m)
}

// postgresEpoch is where the protocol's times begin.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
