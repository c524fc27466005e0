package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// lastRows are more than any atOnce has: for them the reader is woken as usual, since
// nothing may come after them.
const lastRows = 2000

// discardSlot reads a slot until it has seen that many rows and throws them away: the
// least that any client has to do. It reads the length and the kind of each message,
// nothing else. It returns rows a second.
//
// With atOnce above 0 it is woken only when so many bytes are there. The server writes
// each row by itself, and waking a reader that waits for every one of them slows the
// server down: a client that has more to do, and sleeps less, can then be the faster one.
func discardSlot(ctx context.Context, url, slot string, rows, atOnce int) (float64, error) {
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return 0, errors.New("the database's URL does not parse") // err would show the password
	}
	cfg.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return 0, err
	}
	h, err := conn.Hijack()
	if err != nil {
		return 0, err
	}
	defer h.Conn.Close()
	defer context.AfterFunc(ctx, func() { _ = h.Conn.Close() })()
	query := fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '2', publication_names '%s')\x00", slot, publication)
	if _, err := h.Conn.Write(append(binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(query))), query...)); err != nil {
		return 0, err
	}
	if err := wakeAt(h.Conn, atOnce); err != nil {
		return 0, err
	}
	var watch stopwatch
	in := bufio.NewReaderSize(h.Conn, 128<<10)
	for seen := 0; seen < rows; {
		// Type and length; of a CopyData the kind, three numbers, and the row message's kind.
		head, err := in.Peek(5)
		if err != nil {
			return 0, fmt.Errorf("read slot: %w", err)
		}
		size := int(binary.BigEndian.Uint32(head[1:])) + 1
		switch head[0] {
		case 'E':
			return 0, errors.New("read slot: the server refuses")
		case 'd':
			if size < 31 {
				break
			}
			if head, err = in.Peek(31); err != nil {
				return 0, fmt.Errorf("read slot: %w", err)
			}
			if head[5] != 'w' {
				break
			}
			switch head[30] {
			case 'I', 'U', 'D':
				if seen == 0 {
					watch.first = time.Now()
				}
				if seen++; seen == rows-lastRows {
					if err := wakeAt(h.Conn, 0); err != nil {
						return 0, err
					}
				}
			}
		}
		if _, err := in.Discard(size); err != nil {
			return 0, fmt.Errorf("read slot: %w", err)
		}
	}
	watch.last = time.Now()
	_, err = h.Conn.Write([]byte{'X', 0, 0, 0, 4})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return watch.rate(rows), err
}
