package mysql

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

type tlsSettings = tls.Config

// idleDialer makes connections. The first one is the stream's: it tells when a read
// would have to wait. The driver makes another to end it.
type idleDialer struct {
	idle   func() // called by the goroutine that reads
	dialed bool
}

func (d *idleDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network == "" {
		network = "tcp"
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if d.dialed {
		return conn, nil
	}
	d.dialed = true
	c := &idleConn{Conn: conn, dialer: d}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	return c, nil
}

type idleConn struct {
	net.Conn
	dialer *idleDialer
	raw    syscall.RawConn
}

func (c *idleConn) Read(b []byte) (int, error) {
	if c.raw != nil && c.dialer.idle != nil && c.empty() {
		c.dialer.idle()
	}
	return c.Conn.Read(b)
}

// empty tells whether nothing has arrived that was not read.
func (c *idleConn) empty() bool {
	nothing := false
	_ = c.raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		nothing = err == unix.EAGAIN || err == unix.EWOULDBLOCK
		return true
	})
	return nothing
}
