package postgres

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// wirePair is a wire whose server is the test.
func wirePair(t *testing.T) (*wire, net.Conn) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return &wire{conn: client, buf: make([]byte, wireBuffer), waiting: func() {}, mark: newWakeMark(client)}, server
}

func numbered(n, size int) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'d'}, uint32(4+4+size))
	return append(binary.BigEndian.AppendUint32(b, uint32(n)), make([]byte, size)...)
}

// TestWireUnderLoad sends many messages at once, then single ones: nobody waits for
// company that does not come, and nothing is lost at the end.
func TestWireUnderLoad(t *testing.T) {
	w, server := wirePair(t)
	const burst, rounds = 50_000, 3
	waits, loaded := 0, false
	w.waiting = func() { waits++ }
	next := make(chan struct{})
	sent := make(chan error, 1)
	go func() {
		n := 0
		for range rounds {
			for range burst {
				if _, err := server.Write(numbered(n, 300)); err != nil {
					sent <- err
					return
				}
				n++
			}
			for range 100 {
				<-next // all before was read
				if _, err := server.Write(numbered(n, 300)); err != nil {
					sent <- err
					return
				}
				n++
			}
		}
		_, err := server.Write(append(numbered(n, wireBuffer), numbered(n+1, 0)...))
		sent <- err
		_ = server.Close()
	}()
	total := rounds * (burst + 100)
	for n := range total + 2 {
		typ, body, err := w.next()
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		if typ != 'd' || binary.BigEndian.Uint32(body) != uint32(n) {
			t.Fatalf("message %d is %q %d", n, typ, binary.BigEndian.Uint32(body))
		}
		loaded = loaded || w.many
		if at := n%(burst+100) - burst + 1; n < total && at >= 0 && at < 100 {
			next <- struct{}{}
		}
	}
	if _, _, err := w.next(); err == nil || !lost(err) {
		t.Errorf("after the end: %v", err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !loaded || waits < rounds*100 {
		t.Errorf("load was noticed: %v; waited %d times, want at least once for each single message", loaded, waits)
	}
}

// TestWireMeasure: a few thousand rows a second wait for nobody.
func TestWireMeasure(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		bytes int // each millisecond
		want  bool
	}{{1500, false}, {3000, false}, {10_000, true}, {160_000, true}} {
		w := &wire{stretch: now}
		for range 100 {
			now = now.Add(time.Millisecond)
			w.came += test.bytes
			w.measure(now)
		}
		if w.many != test.want {
			t.Errorf("%d bytes a millisecond are many: %v", test.bytes, w.many)
		}
		if w.measure(now.Add(time.Second)); w.many {
			t.Error("a second of silence is no load")
		}
	}
}

// BenchmarkWire reads messages that are written one by one.
func BenchmarkWire(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	w := &wire{conn: client, buf: make([]byte, wireBuffer), waiting: func() {}, mark: newWakeMark(client)}
	message := numbered(1, 300)
	go func() {
		for {
			if _, err := server.Write(message); err != nil {
				return
			}
		}
	}()
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := w.next(); err != nil {
			b.Fatal(err)
		}
	}
	_ = server.Close()
	_, _ = io.Copy(io.Discard, client)
}
