package stream_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/stream/streamtest"
)

// TestEmbeddedLarge opens a log of PENSTOCK_STREAM_GIB gibibytes after a process that
// ended without closing it: the start reads the ends of the partitions and not the
// whole. Without the variable it is a small one.
func TestEmbeddedLarge(t *testing.T) {
	gib, err := strconv.ParseFloat(os.Getenv("PENSTOCK_STREAM_GIB"), 64)
	if err != nil {
		gib = 0.02
	}
	path, marks := filepath.Join(t.TempDir(), "stream.db"), &streamtest.Marks{}
	e := openEmbedded(t, stream.EmbeddedOptions{Path: path})
	w, err := e.Writer(t.Context(), "shop", marks)
	if err != nil {
		t.Fatal(err)
	}
	table := streamtest.Table("shop", "customers")
	if err := w.Table(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	text := noise(1)
	for n, written := 1, 0.0; written < gib*(1<<30); {
		for range 200 {
			size, err := w.Add(streamtest.Record(table.Topic, n, text))
			if err != nil {
				t.Fatal(err)
			}
			n++
			written += float64(size)
		}
		if err := w.Flush(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, end, err := e.Bounds(t.Context(), table.Topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A copy of the files as they are is what a killed process leaves.
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		if err := os.Link(path+suffix, filepath.Join(dir, "stream.db"+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	again := openEmbedded(t, stream.EmbeddedOptions{Path: filepath.Join(dir, "stream.db")})
	if _, err := again.Writer(t.Context(), "shop", marks); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	messages, err := again.Read(t.Context(), table.Topic, 0, end/2, 1)
	if err != nil || len(messages) != 1 || messages[0].Offset != end/2 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := &counter{want: end, done: cancel}
	begin := time.Now()
	if err := again.Consume(ctx, "g", []string{table.Topic}, c); err != nil {
		t.Fatal(err)
	}
	t.Logf("opened in %v, read %d messages in %v; %s", took, end, time.Since(begin), resident(t))
	if took > 10*time.Second {
		t.Errorf("the start took %v", took)
	}
}

// resident is the process's memory, where the system tells it.
func resident(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "memory unknown"
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "VmHWM") {
			return strings.TrimSpace(line)
		}
	}
	return "memory unknown"
}
