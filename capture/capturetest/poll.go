package capturetest

import (
	"testing"
	"time"
)

// Poll waits until ok, and fails the test when that takes too long.
func Poll(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !ok(); <-ticker.C {
		if tb.Failed() {
			tb.Fatalf("no %s after what went wrong before", what)
		}
		if time.Now().After(end) {
			tb.Fatalf("after %v there is still no %s", patience, what)
		}
	}
}
