package demo

import (
	"fmt"
	"io"
	"time"
)

// figures is what the demo shows while it runs.
type figures struct {
	counts
	contacts, calls int
	running         bool
}

// screen shows progress: a line that is drawn in place on a terminal, else a plain line every few seconds.
type screen struct {
	out      io.Writer
	terminal bool
	start    time.Time
	last     time.Time
	drawn    bool
}

func newScreen(out io.Writer, terminal bool) *screen {
	return &screen{out: out, terminal: terminal, start: time.Now()}
}

func (s *screen) clear() {
	if s.drawn {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.drawn = false
	}
}

// say writes a line that stays.
func (s *screen) say(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.out, "%6.1fs  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// figures shows what get returns, when it is time to.
func (s *screen) figures(get func() figures) {
	every := 3 * time.Second
	if s.terminal {
		every = 200 * time.Millisecond
	}
	if time.Since(s.last) < every {
		return
	}
	s.last = time.Now()
	f := get()
	state := "penstock runs"
	if !f.running {
		state = "penstock is dead"
	}
	line := fmt.Sprintf("database: %5d transactions, +%d ~%d -%d, %d rolled back | CRM: %5d contacts, %4d calls | %s",
		f.transactions, f.inserts, f.updates, f.deletes, f.rolledBack, f.contacts, f.calls, state)
	if !s.terminal {
		s.say("%s", line)
		return
	}
	s.clear()
	fmt.Fprintf(s.out, "%6.1fs  %s", time.Since(s.start).Seconds(), line)
	s.drawn = true
}
