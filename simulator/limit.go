package simulator

import (
	"sync"
	"time"
)

// Day as a Limit's Window means the calendar day in UTC; any other window rolls.
const Day = 24 * time.Hour

// Limit is how many calls a vendor takes in a window of time.
type Limit struct {
	Name   string
	Max    int
	Window time.Duration
}

// LimitState is a limit with what is left of it.
type LimitState struct {
	Limit
	Remaining int
	Reset     time.Duration // until at least one more call is taken, when none is left
}

// limiter counts accepted calls. A refused call uses up nothing.
type limiter struct {
	mu      sync.Mutex
	windows map[string]*window
}

type window struct {
	Limit
	times []time.Time // rolling: the last accepted calls, at most Max, as a ring
	head  int         // index of the oldest in times once it is full
	day   int64       // calendar day: which one
	used  int         // calendar day: calls in it
}

func newLimiter(limits []Limit, opts Options) *limiter {
	l := &limiter{windows: make(map[string]*window, len(limits))}
	if opts.NoLimits {
		return l
	}
	for _, limit := range limits {
		if size, ok := opts.Limits[limit.Name]; ok {
			limit.Max = size
		}
		if limit.Max >= 0 {
			l.windows[limit.Name] = &window{Limit: limit}
		}
	}
	return l
}

func (l *limiter) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.windows {
		*w = window{Limit: w.Limit}
	}
}

// take counts a call against the named limits, or against none of them if one is used
// up, which it then returns.
func (l *limiter) take(names []string, now time.Time) (states []LimitState, refused *LimitState) {
	if len(names) == 0 || len(l.windows) == 0 {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	states = make([]LimitState, 0, len(names))
	for _, name := range names {
		w, ok := l.windows[name]
		if !ok {
			continue
		}
		state := w.state(now)
		if state.Remaining <= 0 && refused == nil {
			refused = &state
		}
		states = append(states, state)
	}
	if refused != nil {
		return states, refused
	}
	for i := range states {
		l.windows[states[i].Name].add(now)
		states[i].Remaining--
	}
	return states, nil
}

func (w *window) state(now time.Time) LimitState {
	s := LimitState{Limit: w.Limit}
	if w.Window == Day {
		if day := now.Unix() / 86400; day != w.day {
			w.day, w.used = day, 0
		}
		s.Remaining = w.Max - w.used
		s.Reset = now.UTC().Truncate(Day).Add(Day).Sub(now)
		return s
	}
	since := now.Add(-w.Window)
	used := 0
	oldest := now
	for i := range w.times { // newest first; at most Max, a few hundred
		at := w.times[(w.head+len(w.times)-1-i)%len(w.times)]
		if !at.After(since) {
			break
		}
		used, oldest = used+1, at
	}
	s.Remaining = w.Max - used
	s.Reset = oldest.Add(w.Window).Sub(now)
	return s
}

func (w *window) add(now time.Time) {
	if w.Window == Day {
		w.used++
		return
	}
	if len(w.times) < w.Max {
		w.times = append(w.times, now)
		return
	}
	w.times[w.head] = now
	w.head = (w.head + 1) % len(w.times)
}
