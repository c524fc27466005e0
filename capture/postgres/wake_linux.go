package postgres

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// wakeMark sets how many bytes have to be there before a reader that waits is woken
// (SO_RCVLOWAT). The zero value has no connection to set it on.
type wakeMark struct{ raw syscall.RawConn }

// newWakeMark takes the connection below TLS, if there is one.
func newWakeMark(conn net.Conn) wakeMark {
	if outer, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = outer.NetConn()
	}
	c, ok := conn.(*net.TCPConn)
	if !ok { // a Unix socket wakes its reader whatever was set
		return wakeMark{}
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return wakeMark{}
	}
	return wakeMark{raw}
}

// set tells whether it could; 1 is how connections begin.
func (m wakeMark) set(bytes int) bool {
	if m.raw == nil {
		return false
	}
	var set error
	err := m.raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes) })
	return err == nil && set == nil
}

// wait waits until so many bytes are there, at most as many as were set, or the
// connection's read deadline. It may return early.
func (m wakeMark) wait(bytes int) error {
	waited := false
	return m.raw.Read(func(fd uintptr) bool {
		if waited {
			return true
		}
		waited = true
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		return err != nil || n >= bytes
	})
}
