package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	barWidth = 12 // so that what matters fits into 80 columns
	// maxBars is how many tables are shown; the others are counted.
	maxBars = 8
)

// loadScreen draws how far loads of tables are at the foot of a terminal: a bar for each. What is written through it, such
// as logs, scrolls above.
type loadScreen struct {
	out   io.Writer
	file  *os.File   // the terminal, nil in tests
	width func() int // of the terminal, in columns

	mu    sync.Mutex
	lines []string // that are drawn
}

// newLoadScreen draws on a terminal.
func newLoadScreen(f *os.File) *loadScreen {
	return &loadScreen{out: f, file: f, width: func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 {
			return 80
		}
		return width
	}}
}

// Write writes above the bars.
func (s *loadScreen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.lines
	s.draw(nil)
	n, err := s.out.Write(p)
	s.draw(lines)
	return n, err
}

// show draws a line for each load that goes on; none: nothing is there.
func (s *loadScreen) show(loads []loadLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for i := range loads {
		if i == maxBars {
			lines = append(lines, fmt.Sprintf("and %d tables more", len(loads)-i))
			break
		}
		lines = append(lines, loads[i].bar())
	}
	s.draw(lines)
}

// draw replaces what is drawn. A line that the terminal would wrap is cut: the next draw counts lines.
func (s *loadScreen) draw(lines []string) {
	var b strings.Builder
	if n := len(s.lines); n > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", n) // up, and clear what is below
	}
	s.lines = lines
	for _, line := range lines {
		runes := []rune(line)
		b.WriteString(string(runes[:min(len(runes), s.width()-1)]) + "\n")
	}
	_, _ = io.WriteString(s.out, b.String()) // where a terminal is gone nobody is left to be told
}

// loadLine is how far the load of one table is.
type loadLine struct {
	source string
	*tableReport
}

// bar is the load as a line of a terminal.
func (l *loadLine) bar() string {
	done := "?"
	filled := 0
	if l.SnapshotTotal > 0 {
		share := min(1, float64(l.SnapshotRows)/float64(l.SnapshotTotal))
		filled = int(share * barWidth)
		done = fmt.Sprintf("%d%%", int(share*100))
	}
	text := fmt.Sprintf("%s %s [%s%s] %4s  %s", l.source, l.Table, strings.Repeat("=", filled), strings.Repeat(" ", barWidth-filled), done, l.figures())
	switch {
	case l.SnapshotWaits != "":
		text += "  waits: " + l.SnapshotWaits
	case l.Snapshot != "reading":
		text += "  " + l.Snapshot
	}
	return text
}

// figures are rows, bytes, rate and time left, short.
func (l *loadLine) figures() string {
	text := countText(l.SnapshotRows)
	if l.SnapshotTotal > l.SnapshotRows {
		text += "/" + countText(l.SnapshotTotal)
	}
	text += " rows"
	if l.SnapshotBytes > 0 {
		text += "  " + bytesText(l.SnapshotBytes)
	}
	if l.SnapshotRate >= 1 {
		text += "  " + countText(int64(l.SnapshotRate)) + "/s"
	}
	if l.SnapshotLeft >= 1 {
		text += "  " + timeText(l.SnapshotLeft) + " left"
	}
	return text
}

// countText is a number for people: 9999, 45.2k, 1.0M.
func countText(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprint(n)
	case n < 999_950:
		return fmt.Sprintf("%.1fk", float64(n)/1000)
	}
	return fmt.Sprintf("%.1fM", float64(n)/1e6)
}

// timeText is a number of seconds for people.
func timeText(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}
