//go:build !linux

package postgres

import (
	"net"
	"time"
)

// wakeMark does nothing where the system has no such mark that wakes a reader when it
// is lowered.
type wakeMark struct{}

func newWakeMark(net.Conn) wakeMark { return wakeMark{} }

func (wakeMark) raise() bool { return false }

func (wakeMark) lower() {}

func (wakeMark) wait(time.Duration) error { return nil }
