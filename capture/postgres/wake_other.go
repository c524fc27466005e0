//go:build !linux

package postgres

import "net"

// wakeMark does nothing where the system has no such mark that wakes a reader when it
// is lowered.
type wakeMark struct{}

func newWakeMark(net.Conn) wakeMark { return wakeMark{} }

func (wakeMark) set(int) bool { return false }

func (wakeMark) wait(int) error { return nil }
