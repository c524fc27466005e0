//go:build !linux

package main

import "net"

// wakeAt does nothing here: only the plain baseline means something.
func wakeAt(net.Conn, int) error { return nil }
