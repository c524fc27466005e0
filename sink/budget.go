package sink

import "time"

// budget counts calls in a rolling window. It is the dispatcher's to lock.
type budget struct {
	calls  int
	window time.Duration
	at     []time.Time // of the last calls, a ring
	next   int
}

// set takes over the app's limits as they are now.
func (b *budget) set(calls int, window time.Duration) {
	if calls == b.calls && window == b.window {
		return
	}
	old := b.recent()
	b.calls, b.window, b.next = calls, window, 0
	b.at = nil
	if calls > 0 && window > 0 {
		b.at = make([]time.Time, calls)
		if len(old) > calls {
			old = old[len(old)-calls:]
		}
		for _, t := range old {
			b.at[b.next] = t
			b.next = (b.next + 1) % calls
		}
	}
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

// wait returns how long the next call has to wait, when reserve calls of the window are kept for others.
func (b *budget) wait(now time.Time, reserve int) time.Duration {
	if len(b.at) == 0 {
		return 0
	}
	reserve = min(reserve, len(b.at)-1)
	// The call that must have left the window is the one `calls - reserve` back.
	oldest := b.at[(b.next+reserve)%len(b.at)]
	if oldest.IsZero() {
		return 0
	}
	return oldest.Add(b.window + windowMargin).Sub(now)
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
