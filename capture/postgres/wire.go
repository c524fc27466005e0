package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
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

// wire reads a connection's messages in place: what next returns points into the
// buffer and is valid until the next call. Writing is for any goroutine.
type wire struct {
	conn    net.Conn
	pid     uint32
	buf     []byte
	r, w    int
	waiting func() // called before waiting for the server

	writing sync.Mutex
}

// takeOver makes a wire of an idle connection.
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
	w.waiting()
	for w.w < n {
		if err := w.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return fmt.Errorf("read from server: %w", err)
		}
		m, err := w.conn.Read(w.buf[w.w:])
		w.w += m
		if err != nil && w.w < n {
			return fmt.Errorf("read from server: %w", err)
		}
	}
	return nil
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
