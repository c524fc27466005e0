package postgres

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// wakeMark sets how many bytes have to be there before a reader that waits is woken
// (SO_RCVLOWAT). The zero value has no connection to set it on.
type wakeMark struct {
	raw  syscall.RawConn
	high int // 0: it was never raised
}

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
	return wakeMark{raw: raw}
}

// raise sets the mark to wakeBytes, or to nearBytes, all that the connection has room for then, where the server is near. It
// tells whether it could.
func (m *wakeMark) raise() bool {
	if m.raw == nil {
		return false
	}
	if m.high == 0 {
		m.high = wakeBytes
		if err := m.raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			near := err == nil && time.Duration(info.Rtt)*time.Microsecond <= nearTime
			if near && unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, nearBytes) == nil {
				m.high = nearBytes
			}
		}); err != nil {
			return false
		}
	}
	return m.set(m.high)
}

// lower has readers woken for every byte, as connections begin.
func (m *wakeMark) lower() { m.set(1) }

func (m *wakeMark) set(bytes int) bool {
	var set error
	err := m.raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes) })
	return err == nil && set == nil
}

// wait waits until as many bytes are there as were set, or for d at the longest: then it returns os.ErrDeadlineExceeded. It
// blocks its thread: the runtime's poller, with a deadline for every wait, wakes threads that take the server's processor.
func (m *wakeMark) wait(d time.Duration) error {
	var ready int
	var polled error
	err := m.raw.Control(func(fd uintptr) {
		ready, polled = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(d.Milliseconds()))
	})
	switch {
	case err != nil:
		return err
	case errors.Is(polled, unix.EINTR), polled == nil && ready == 0:
		return os.ErrDeadlineExceeded
	}
	return polled
}
