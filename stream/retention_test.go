package stream_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/stream/streamtest"
)

func TestEmbeddedRetention(t *testing.T) {
	opts := stream.EmbeddedOptions{Path: filepath.Join(t.TempDir(), "stream.db")}
	e := openEmbedded(t, opts)
	defer func() { e.Close() }()
	w, err := e.Writer(t.Context(), "shop", &streamtest.Marks{})
	if err != nil {
		t.Fatal(err)
	}
	table := streamtest.Table("shop", "customers")
	if err := w.Table(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		for j := range 10 {
			if _, err := w.Add(streamtest.Record(table.Topic, 10*i+j+1, strings.Repeat("x", 1000))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	trim := func(now time.Time, want int64) {
		t.Helper()
		if err := e.Trim(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		start, end, err := e.Bounds(t.Context(), table.Topic, 0)
		if err != nil {
			t.Fatal(err)
		}
		if start != want || end != 100 {
			t.Fatalf("kept %d to %d, want %d to 100", start, end, want)
		}
		for at := start; at < end; {
			messages, err := e.Read(t.Context(), table.Topic, 0, at, 1<<20)
			if err != nil || len(messages) == 0 || messages[0].Offset != at {
				t.Fatalf("offset %d: %d messages, %v", at, len(messages), err)
			}
			at = messages[len(messages)-1].Offset + 1
		}
	}
	now := time.Now().Add(time.Second)
	trim(now, 0)                         // nobody reads it
	trim(now.Add(6*24*time.Hour), 0)     // for less than a week
	e.Taken("fast", table.Topic, 0, 100) // one group has it all
	e.Taken("slow", table.Topic, 0, 35)  // another has three batches and a half
	trim(now, 30)                        //
	trim(now.Add(30*24*time.Hour), 30)   // age does not matter to those who read
	e.Taken("slow", table.Topic, 0, 70)  //
	trim(now, 70)                        //
	if _, err := e.Read(t.Context(), table.Topic, 0, 69, 1); err == nil {
		t.Error("a trimmed offset was read")
	}
	var gap *stream.GapError
	c := &fixed{at: 12}
	if err := e.Consume(t.Context(), "late", []string{table.Topic}, c); !errors.As(err, &gap) || gap.Want != 12 || gap.Start != 70 || gap.Group != "late" {
		t.Errorf("a position in what was trimmed gave %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openEmbedded(t, opts) // the groups are unknown to this process
	trim(now, 70)
	trim(now.Add(8*24*time.Hour), 100)
}

func TestEmbeddedUnreadSize(t *testing.T) {
	e := openEmbedded(t, stream.EmbeddedOptions{Path: filepath.Join(t.TempDir(), "stream.db"), UnreadSize: 100})
	defer e.Close()
	w, err := e.Writer(t.Context(), "shop", &streamtest.Marks{})
	if err != nil {
		t.Fatal(err)
	}
	table := streamtest.Table("shop", "customers")
	if err := w.Table(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := w.Add(streamtest.Record(table.Topic, i+1, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Trim(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if start, _, err := e.Bounds(t.Context(), table.Topic, 0); err != nil || start == 0 {
		t.Errorf("nothing was trimmed beyond the size: start %d, %v", start, err)
	}
}

// fixed is a consumer at one position.
type fixed struct{ at int64 }

func (f *fixed) Assign(context.Context, string, int, int64) (int64, error) { return f.at, nil }
func (f *fixed) Take(context.Context, string, int, []stream.Message) error { return nil }
func (f *fixed) Idle(context.Context, string, int, int64) error            { return nil }
