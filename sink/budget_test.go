package sink

import (
	"testing"
	"time"
)

// spend makes calls whenever the budget lets it, for so long, and returns when each was made. Each wait ends late.
func spend(b *budget, start time.Time, d, late time.Duration) []time.Duration {
	var at []time.Duration
	for now := start; now.Sub(start) < d; {
		if w := b.wait(now, 0); w > 0 {
			now = now.Add(max(w, time.Millisecond) + late)
			continue
		}
		b.take(now)
		at = append(at, now.Sub(start))
		now = now.Add(time.Millisecond) // the call's own time
	}
	return at
}

func TestBudgetSpreads(t *testing.T) {
	for _, late := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond} {
		t.Run(late.String(), func(t *testing.T) { testBudgetSpreads(t, late) })
	}
}

func testBudgetSpreads(t *testing.T, late time.Duration) {
	var b budget
	const calls, window = 100, 10 * time.Second
	b.set(calls, window)
	at := spend(&b, time.Unix(1e9, 0), 100*time.Second, late)
	for i := range at {
		if i >= calls && at[i]-at[i-calls] < window {
			t.Fatalf("calls %d and %d are %s apart: %d in a window of %s", i-calls, i, at[i]-at[i-calls], calls+1, window)
		}
		if i > 0 && at[i]-at[i-1] > 300*time.Millisecond {
			t.Errorf("nothing was sent for %s after %s", at[i]-at[i-1], at[i-1])
		}
	}
	if used := float64(len(at)) / 1000; used < 0.97 {
		t.Errorf("%d calls in 100 s: %.1f %% of what was allowed, want 97", len(at), 100*used)
	}
	if at[calls/2-1] > 100*time.Millisecond {
		t.Errorf("the first half of the calls took %s, want no wait", at[calls/2-1])
	}
}

// A process before this one has made calls: the app says so with its first answers, and is not asked for more than it lets.
func TestBudgetIsToldOfOthers(t *testing.T) {
	const calls, window = 100, 10 * time.Second
	start := time.Unix(1e9, 0)
	for _, before := range []time.Duration{9 * time.Second, 5 * time.Second, time.Second} { // how long ago the first of them was made
		var b budget
		b.set(calls, window)
		var app []time.Time // what it has counted
		for i := range 60 {
			app = append(app, start.Add(-before+time.Duration(i)*before/60))
		}
		refused, longest, last := 0, time.Duration(0), start
		for now := start; now.Sub(start) < 60*time.Second; {
			if w := b.wait(now, 0); w > 0 {
				now = now.Add(max(w, time.Millisecond))
				continue
			}
			b.take(now)
			used := 0
			for _, at := range app {
				if now.Sub(at) < window {
					used++
				}
			}
			if used >= calls {
				refused++
				now = now.Add(time.Second)
				continue
			}
			app = append(app, now)
			b.told(used+1, now)
			longest, last = max(longest, now.Sub(last)), now
			now = now.Add(10 * time.Millisecond)
		}
		made := len(app) - 60
		if refused > 0 || longest > time.Second || made < 530 {
			t.Errorf("first %s ago: %d calls refused, %d made in a minute, none for %s", before, refused, made, longest)
		}
		// What the app counts of ours is nothing new.
		if now := last.Add(time.Millisecond); b.wait(now, 0) > time.Second {
			t.Errorf("first %s ago: a call waits for %s in the end", before, b.wait(now, 0))
		}
	}
}

func TestBudgetReserve(t *testing.T) {
	var b budget
	b.set(10, 10*time.Second)
	now := time.Unix(1e9, 0)
	n := 0
	for ; n < 20; n++ {
		w := b.wait(now, 3)
		if w > 9*time.Second {
			break
		}
		now = now.Add(max(0, w))
		b.take(now)
	}
	if n < 7 {
		t.Errorf("%d calls went through beside a reserve of 3 of 10, want at least 7", n)
	}
	if w := b.wait(now, 0); w > 5*time.Second {
		t.Errorf("the reserve has to wait for %s", w)
	}
}
