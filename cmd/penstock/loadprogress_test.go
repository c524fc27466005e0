package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// glass is a terminal as far as bars need one: lines, carriage return, cursor up, clearing of what is below.
type glass struct {
	lines []string
	row   int
}

func (g *glass) Write(p []byte) (int, error) {
	for text := string(p); text != ""; {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexAny(text, "AJ")
			switch text[end] {
			case 'A':
				up, _ := strconv.Atoi(text[2:end])
				g.row -= up
			case 'J':
				g.lines = g.lines[:g.row]
			}
			text = text[end+1:]
		case text[0] == '\r':
			text = text[1:]
		default:
			line, rest, whole := strings.Cut(text, "\n")
			if !whole {
				return 0, fmt.Errorf("a line that does not end: %q", line)
			}
			g.lines = append(g.lines[:g.row], line)
			g.row, text = g.row+1, rest
		}
	}
	return len(p), nil
}

func loadsOf(tables ...tableReport) []sourceReport {
	return []sourceReport{{Source: "shop", Tables: tables}}
}

// TestLoadBars: a bar for each load at the foot of the terminal, with what else is written above.
func TestLoadBars(t *testing.T) {
	g := &glass{}
	width := 200
	screen := &loadScreen{out: g, width: func() int { return width }}
	teller := newLoadTeller(screen)
	teller.log = slog.New(slog.NewTextHandler(screen, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	fmt.Fprintln(screen, "started")
	teller.tell(loadsOf(
		tableReport{Table: "public.a", Snapshot: "reading", SnapshotRows: 450_000, SnapshotTotal: 1_000_000, SnapshotBytes: 126 << 20, SnapshotRate: 35_000, SnapshotLeft: 75.7},
		tableReport{Table: "public.b", Snapshot: "pending"},
		tableReport{Table: "public.c", Snapshot: "done", SnapshotRows: 5},
		tableReport{Table: "public.d", Snapshot: "reading", SnapshotRows: 30, SnapshotTotal: 20, SnapshotWaits: "pipeline d takes in what was read"},
	))
	want := []string{
		"started",
		"shop public.a [=====       ]  45%  450.0k/1.0M rows  126.0 MiB  35.0k/s  1m16s left",
		"shop public.b [            ]    ?  0 rows  pending",
		"shop public.d [============] 100%  30 rows  waits: pipeline d takes in what was read",
	}
	if d := cmp.Diff(want, g.lines); d != "" {
		t.Errorf("bars (-want +got):\n%s", d)
	}
	width = 30
	fmt.Fprintln(screen, "level=WARN msg=something") // while bars are there
	teller.tell(loadsOf(
		tableReport{Table: "public.a", Snapshot: "done", SnapshotRows: 1_000_000, SnapshotBytes: 280},
		tableReport{Table: "public.b", Snapshot: "paused", SnapshotRows: 2},
		tableReport{Table: "public.d", Snapshot: ""},
	))
	want = []string{
		"started", "level=WARN msg=something",
		`level=INFO msg="table is loaded" source=shop table=public.a rows=1000000 bytes=280 seconds=0`,
		"shop public.b [            ] ",
	}
	if d := cmp.Diff(want, g.lines); d != "" {
		t.Errorf("later (-want +got):\n%s", d)
	}
	var many []tableReport
	for n := range maxBars + 3 {
		many = append(many, tableReport{Table: fmt.Sprint("t", n), Snapshot: "pending"})
	}
	teller.tell(loadsOf(many...))
	if n := len(g.lines); n != 3+maxBars+1 || g.lines[n-1] != "and 3 tables more" {
		t.Errorf("many: %q", g.lines)
	}
	screen.show(nil)
	if d := cmp.Diff(want[:3], g.lines); d != "" {
		t.Errorf("at the end (-want +got):\n%s", d)
	}
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// TestLoadLog: without a terminal there is a line for each load every 10 s, none for one that is shorter, and one at its end.
func TestLoadLog(t *testing.T) {
	var text bytes.Buffer
	now := time.Unix(1_800_000_000, 0)
	teller := newLoadTeller(nil)
	teller.log, teller.now = slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: withoutTime})), func() time.Time { return now }
	lines := func(state string, seconds int) []string {
		for range seconds {
			teller.tell(loadsOf(tableReport{Table: "public.a", Snapshot: state, SnapshotRows: 7, SnapshotTotal: 9, SnapshotBytes: 70, SnapshotRate: 3.5, SnapshotLeft: 4, SnapshotWaits: "it"},
				tableReport{Table: "public.b", Snapshot: "pending"}))
			now = now.Add(time.Second)
		}
		defer text.Reset()
		return slices.Collect(strings.Lines(text.String()))
	}
	line := "level=INFO msg=\"table is being loaded\" source=shop table=public.a rows=7 rows_estimated=9 bytes=70 rows_per_second=3 seconds_left=4 waits=it\n"
	for _, step := range []struct {
		state   string
		seconds int
		want    []string
	}{
		{"pending", 20, nil}, {"reading", 10, nil}, {"reading", 20, []string{line, line}}, {"paused", 30, nil},
		{"reading", 10, nil}, {"done", 20, []string{"level=INFO msg=\"table is loaded\" source=shop table=public.a rows=7 bytes=70 seconds=70\n"}},
	} {
		if d := cmp.Diff(step.want, lines(step.state, step.seconds)); d != "" {
			t.Errorf("%s for %d s (-want +got):\n%s", step.state, step.seconds, d)
		}
	}
}
