package main

import (
	"errors"
	"net"
	"syscall"
)

// wakeAt makes a connection readable only when so many bytes are there; 0: any.
func wakeAt(conn net.Conn, bytes int) error {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("the connection to the database is not a plain one")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, max(1, bytes))
	})
	return errors.Join(err, set)
}
