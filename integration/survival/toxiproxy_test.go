package survival

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/integration/service"
)

// flood is a server that says all it can to whoever connects.
func flood(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for chunk := make([]byte, 1<<16); ; {
					if _, err := conn.Write(chunk); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// stuckReader connects and reads so late that everything before it is full.
func stuckReader(t *testing.T, addr string) net.Conn {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // as the end of a killed process: a reset
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// flows fails the test unless data comes through a proxy.
func flows(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
}

// All that a round does to a proxy goes through while a reader is stuck, and after it has gone.
func TestProxyStuckReader(t *testing.T) {
	p := &proxies{server: service.StartToxiproxy(t), note: t.Errorf}
	p.add(t, "database", freePort(t), flood(t))
	at := p.listen("database")
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for range 5 {
		stuckReader(t, at)
		do("slow down", p.toxic("database", "latency", map[string]any{"latency": 5, "jitter": 2}))
		gone := stuckReader(t, at)
		gone.Close()
		do("clean", p.clean())
		stuckReader(t, at)
		do("break off", p.toxic("database", "limit_data", map[string]any{"bytes": 1000}))
		stuckReader(t, at)
		do("clean", p.clean())
		stuckReader(t, at).Close()
		do("cut", p.cut("database"))
		do("mend", p.mend("database"))
		flows(t, at)
	}
}

// A Toxiproxy that has locked up is replaced, and what was asked for is done.
func TestProxyLockedUp(t *testing.T) {
	noted := 0
	p := &proxies{server: service.StartToxiproxy(t), note: func(string, ...any) { noted++ }}
	p.add(t, "database", freePort(t), flood(t))
	p.add(t, "kafka", freePort(t), flood(t))
	reader := stuckReader(t, p.listen("database"))
	// Once all buffers are full its step waits for the reader, the end of the connection then for the step, and nothing for the end.
	var err error
	for n := 0; n < 1000 && err == nil; n++ {
		err = p.call(http.MethodPost, "/proxies/database/toxics", map[string]any{"name": fmt.Sprint(n), "type": "limit_data", "attributes": map[string]any{"bytes": 1 << 40}})
	}
	if !errors.Is(err, errStuck) {
		t.Fatalf("toxics for a connection whose reader does not read: %v, want a Toxiproxy that answers no more; without it the proxies need no such care", err)
	}
	reader.Close()
	if err := p.cut("database"); err != nil {
		t.Fatal(err)
	}
	if noted != 1 {
		t.Errorf("it was replaced %d times, want once", noted)
	}
	if conn, err := net.Dial("tcp", p.listen("database")); err == nil {
		conn.Close()
		t.Error("the proxy is not cut")
	}
	flows(t, p.listen("kafka"))
	if err := p.clean(); err != nil {
		t.Fatal(err)
	}
	flows(t, p.listen("database"))
}
