package postgres_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/integration/service"
)

// pooler stands between us and a real server and behaves as poolers do: sessions get
// another pid than that of the server's process, and a startup packet with a parameter
// that it does not know is refused.
type pooler struct {
	refused string // the parameter
	answer  pgproto3.ErrorResponse
	server  string
}

func (p *pooler) listen(t *testing.T) string { return listen(t, p.serve) }

// listen serves connections until the test ends, and returns where.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return listener.Addr().String()
}

func (p *pooler) serve(client net.Conn) {
	defer client.Close()
	size := make([]byte, 4)
	if _, err := io.ReadFull(client, size); err != nil {
		return
	}
	startup := make([]byte, binary.BigEndian.Uint32(size)-4)
	if _, err := io.ReadFull(client, startup); err != nil {
		return
	}
	if strings.Contains(string(startup), "\x00"+p.refused+"\x00") {
		answer, err := p.answer.Encode(nil)
		if err == nil {
			_, _ = client.Write(answer)
		}
		return
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := server.Write(append(size, startup...)); err != nil {
		return
	}
	go func() { _, _ = io.Copy(server, client) }()
	head := make([]byte, 5)
	for head[0] != 'Z' {
		if _, err := io.ReadFull(server, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(server, body); err != nil {
			return
		}
		if head[0] == 'K' {
			body[3]++
		}
		if _, err := client.Write(append(append([]byte(nil), head...), body...)); err != nil {
			return
		}
	}
	_, _ = io.Copy(client, server)
}

// testPoolers: what is between us and the server is known by how it behaves.
func testPoolers(t *testing.T, server *service.Server, config func() *postgres.Config) {
	unsupported := func(parameter string) pgproto3.ErrorResponse {
		return pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: " + parameter}
	}
	for _, tt := range []struct {
		name   string
		pooler pooler
		want   []string
		parts  []string
	}{
		{"no settings", pooler{refused: "bytea_output", answer: unsupported("bytea_output")}, []string{"E0448"}, []string{"point the url at the server itself"}},
		{"no replication", pooler{refused: "replication", answer: unsupported("replication")}, []string{"E0448"}, []string{"unsupported startup parameter: replication"}},
		{"replication refused", pooler{refused: "replication", answer: pgproto3.ErrorResponse{Severity: "FATAL", Code: "28000", Message: "replication is not for you"}}, []string{"E0447"}, []string{"replication is not for you"}},
		{"passes all", pooler{refused: "nothing"}, []string{"W0408"}, []string{"the session that answers is not the one that was opened"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.pooler.server = server.Addr
			cfg := config()
			u, err := url.Parse(cfg.URL)
			if err != nil {
				t.Fatal(err)
			}
			u.Host = tt.pooler.listen(t)
			cfg.URL = u.String()
			expect(t, cfg, tt.want, tt.parts)
		})
	}
}
