//go:build failpoint

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// failpoint kills the process with SIGKILL when it passes the point that the
// environment variable PENSTOCK_FAILPOINT names for the nth time: dispatch.after_call:3.
// Only the survival tests build with this.
var failpoint = func() func(name string) {
	name, count, _ := strings.Cut(os.Getenv("PENSTOCK_FAILPOINT"), ":")
	nth, _ := strconv.ParseInt(count, 10, 64)
	if name == "" {
		return nil
	}
	var passed atomic.Int64
	return func(at string) {
		if at == name && passed.Add(1) == max(nth, 1) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}()
