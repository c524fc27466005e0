package service

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Ports are taken from below the range that systems hand out to outgoing
// connections (32768 up on Linux, 49152 up on macOS): one of those could
// otherwise sit on a server's port while the server is down.
const (
	firstPort = 20000
	lastPort  = 32000
)

// A lease keeps ports for us among all processes of the user, by locked files
// that the system unlocks when we end. A nil lease is none.
type lease struct {
	ports []int
	locks []*os.File
}

// leasePorts takes n ports, the first of them want if it is not 0.
func leasePorts(want, n int) (*lease, error) {
	dir := filepath.Join(os.TempDir(), "penstock-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for port locks: %w", err)
	}
	l := &lease{}
	if want != 0 {
		if err := l.take(dir, want); err != nil {
			return nil, err
		}
	}
	for range 1000 {
		if len(l.ports) == n {
			return l, nil
		}
		// A port that is taken is skipped; why does not matter.
		_ = l.take(dir, firstPort+rand.IntN(lastPort-firstPort))
	}
	l.release()
	return nil, fmt.Errorf("find a free port between %d and %d: all that were tried are in use", firstPort, lastPort)
}

var errPortTaken = errors.New("a server of another test has it")

func (l *lease) take(dir string, port int) error {
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock port %d: %w", port, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return fmt.Errorf("lock port %d: %w", port, errPortTaken)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)) //nolint:noctx // binds at once
	if err != nil {
		f.Close()
		return fmt.Errorf("use port %d: %w", port, err)
	}
	ln.Close()
	l.ports = append(l.ports, port)
	l.locks = append(l.locks, f)
	return nil
}

func (l *lease) release() {
	if l == nil {
		return
	}
	for _, f := range l.locks {
		f.Close()
	}
	l.locks = nil
}
