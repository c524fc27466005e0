package sink

import (
	"slices"
	"sort"
	"time"
)

// budget counts calls in a rolling window. It is the dispatcher's to lock.
type budget struct {
	calls  int
	window time.Duration
	at     []time.Time // of the last calls, a ring
	next   int
	toldAt time.Time // when the app last said how many calls were made
}

// set takes over the app's limits as they are now.
func (b *budget) set(calls int, window time.Duration) {
	if calls == b.calls && window == b.window {
		return
	}
	old := b.recent()
	b.calls, b.window, b.at = calls, window, nil
	if calls > 0 && window > 0 {
		b.at = make([]time.Time, calls)
		b.fill(old)
	}
}

// fill makes the ring have the newest of some times, which come oldest first.
func (b *budget) fill(times []time.Time) {
	clear(b.at)
	b.next = 0
	for _, t := range times[max(0, len(times)-len(b.at)):] {
		b.at[b.next] = t
		b.next = (b.next + 1) % len(b.at)
	}
}

// told takes in how many calls the app had counted at a time. What is more than we know of was made by a process before
// this one or by others, at times unknown: they count from now on.
func (b *budget) told(used int, at time.Time) {
	if len(b.at) == 0 || !at.After(b.toldAt) {
		return
	}
	b.toldAt = at
	// Calls that may have left the app's window already count as known: what is counted twice is not called.
	known, _ := b.made(at.Add(-b.window - 5*windowMargin))
	missing := min(used, len(b.at)) - known
	if missing < 2 {
		return
	}
	all := b.recent()
	for range missing {
		all = append(all, at)
	}
	slices.SortFunc(all, time.Time.Compare)
	b.fill(all)
}

// recent returns the calls that are known, oldest first.
func (b *budget) recent() []time.Time {
	var all []time.Time
	for i := range b.at {
		if t := b.at[(b.next+i)%len(b.at)]; !t.IsZero() {
			all = append(all, t)
		}
	}
	return all
}

// windowMargin is added to the window for the way to the app: calls may arrive closer than they were made.
const windowMargin = 50 * time.Millisecond

// wait returns how long the next call has to wait, when reserve calls of the window are kept for others. Once half
// of the window's calls are made, those that are left are spread over the time until the first of them may be made
// again: changes then go out together every fraction of a second, rather than at once and then not for most of a window.
func (b *budget) wait(now time.Time, reserve int) time.Duration {
	if len(b.at) == 0 {
		return 0
	}
	reserve = min(reserve, len(b.at)-1)
	// The call that must have left the window is the one `calls - reserve` back.
	oldest := b.at[(b.next+reserve)%len(b.at)]
	length := b.window + windowMargin
	if w := oldest.Add(length).Sub(now); !oldest.IsZero() && w > 0 {
		return w
	}
	made, first := b.made(now.Add(-length))
	left := len(b.at) - reserve - made
	if 2*made < len(b.at) || left <= 0 {
		return 0
	}
	// A little closer than evenly, so that a call that was late for its place does not cost another.
	last := b.at[(b.next+len(b.at)-1)%len(b.at)]
	return last.Add(first.Add(length).Sub(now) * 15 / 16 / time.Duration(left)).Sub(now)
}

// made returns how many calls were made after a time, and when the first of them was.
func (b *budget) made(after time.Time) (n int, first time.Time) {
	// From the last one backwards: at is a ring in order of time.
	n = sort.Search(len(b.at), func(i int) bool {
		t := b.at[(b.next+2*len(b.at)-1-i)%len(b.at)]
		return !t.After(after)
	})
	if n > 0 {
		first = b.at[(b.next+len(b.at)-n)%len(b.at)]
	}
	return n, first
}

// take notes a call.
func (b *budget) take(now time.Time) {
	if len(b.at) > 0 {
		b.at[b.next] = now
		b.next = (b.next + 1) % len(b.at)
	}
}

// giveBack takes the last call back: it was not made.
func (b *budget) giveBack() {
	if len(b.at) > 0 {
		b.next = (b.next + len(b.at) - 1) % len(b.at)
		b.at[b.next] = time.Time{}
	}
}
