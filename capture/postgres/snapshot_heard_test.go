package postgres

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/integration/service"
)

// TestWaitingLoadForgets: while a load waits, what transactions have changed is kept only until others see them.
func TestWaitingLoadForgets(t *testing.T) {
	address := service.Database(t, service.Shared(t, "postgres18"))
	connect := func() *pgconn.PgConn {
		conn, err := pgconn.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeConn(conn) })
		return conn
	}
	transaction := func(conn *pgconn.PgConn, begin string) uint32 {
		t.Helper()
		if err := exec(t.Context(), conn, begin); err != nil {
			t.Fatal(err)
		}
		rows, err := query(t.Context(), conn, "SELECT pg_current_xact_id()")
		if err != nil {
			t.Fatal(err)
		}
		xid, _ := strconv.ParseUint(rows[0][0], 10, 64)
		return uint32(xid)
	}
	conn, unseen := connect(), connect()
	s, err := Open(&Config{URL: address, Tables: []string{"public.*"}}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	st := newStream(t.Context(), s, &server{}, &resume{Loads: []*load{{Table: 7, Paused: true}}}, nil)
	l := newLoader(s, st.srv, st)
	for _, xid := range []uint32{transaction(conn, ""), transaction(unseen, "BEGIN"), transaction(conn, "")} {
		l.begin(xid, false)
		l.record.of(xid).table(7).add([]byte("key"), false)
		l.committed(xid, 1)
	}
	kept := func() int {
		t.Helper()
		if err := l.refresh(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if err := l.boundary(1); err != nil {
			t.Fatal(err)
		}
		return len(l.record.closed)
	}
	if n := kept(); n != 1 {
		t.Errorf("%d transactions are kept, want the one that others do not see", n)
	}
	if err := exec(t.Context(), unseen, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if n := kept(); n != 0 {
		t.Errorf("%d transactions are kept, want none", n)
	}
}
