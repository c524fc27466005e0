package postgres_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
)

// forgetful stands between us and a server, whose descriptions of relations it loses as often as lose says.
type forgetful struct {
	server string
	lose   atomic.Int32
}

func (f *forgetful) listen(t *testing.T) string { return listen(t, f.serve) }

func (f *forgetful) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", f.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(server, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(server, body); err != nil {
			return
		}
		// CopyData, XLogData (25 bytes), Relation.
		if head[0] == 'd' && len(body) > 25 && body[0] == 'w' && body[25] == 'R' && f.lose.Add(-1) >= 0 {
			continue
		}
		if _, err := client.Write(append(append([]byte(nil), head...), body...)); err != nil {
			return
		}
	}
}

// TestUnfitStream: a row without its description is read again in a new session; at the same place twice, capture stops by name.
func TestUnfitStream(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems)
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetful{server: u.Host}
	u.Host = f.listen(t)
	cfg := d.config()
	cfg.URL = u.String()
	log := capturetest.NewLog(nil)
	h := d.harness(t)
	c := h.StartSource(t, log, d.open(t, cfg), capture.Options{})
	c.Streaming(t)
	f.lose.Store(1)
	// A row without a description.
	d.exec(t, "INSERT INTO items VALUES (1, 'x', 1)", "INSERT INTO items VALUES (2, 'x', 1)")
	arrived(t, log, 2)
	if n := len(log.Events("shop.public.items")); n != 2 {
		t.Errorf("got %d events, want 2", n)
	}
	f.lose.Store(1000)
	d.exec(t, "ALTER TABLE items ADD note text", "INSERT INTO items VALUES (3, 'x', 1)")
	checkError(t, c.Wait(), []string{"(E0432)", "which was not described", "penstock source reset shop"})
}
