package rest

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Pace finds out how many calls an app takes. Where its answers say so in the usual headers (RateLimit-Limit,
// RateLimit-Policy, X-RateLimit-Limit) those are believed; where nothing is said it grows while calls succeed and
// falls when the app answers 429, remembering at which rate that was.
type Pace struct {
	mu      sync.Mutex
	rate    float64 // calls a second
	most    float64
	ceiling float64   // the rate that was too much; 0: none known
	cut     time.Time // when that was
	since   time.Time // start of the second that is counted
	calls   int       // that succeeded in it
	told    Told
}

// Told is a limit that the app names.
type Told struct {
	Calls  int
	Window time.Duration
}

const (
	paceDown   = 0.7              // of the rate after a 429
	paceUp     = 1.25             // with no ceiling known
	paceCreep  = 1.02             // below a ceiling that is known
	paceUnder  = 0.95             // of the ceiling: as near as it comes
	paceForget = 10 * time.Minute // after which a ceiling is tried anew, a little higher
	paceLeast  = 1.0 / 60
)

// NewPace starts at so many calls a second, and never goes above most.
func NewPace(start, most float64) *Pace { return &Pace{rate: start, most: most} }

// Limit is the pace at the moment.
func (p *Pace) Limit() (calls int, window time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told.Calls > 0 {
		return p.told.Calls, p.told.Window
	}
	if p.rate >= 1 {
		return int(p.rate), time.Second
	}
	return 1, time.Duration(float64(time.Second) / p.rate)
}

// Observe takes an answer into account.
func (p *Pace) Observe(status int, h http.Header, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if told, ok := told(h); ok {
		p.told = told
	}
	switch {
	case status == http.StatusTooManyRequests:
		if now.Sub(p.cut) < time.Second {
			return // calls that were under way together
		}
		if p.told.Calls > 0 {
			p.told.Calls = max(1, p.told.Calls*9/10) // others use the same limit; the next answer that names it restores it
		}
		p.ceiling, p.cut = p.rate, now
		p.rate = max(p.rate*paceDown, paceLeast)
		p.since, p.calls = now, 0
	case status/100 == 2:
		p.calls++
		took := now.Sub(p.since)
		if took < time.Second || float64(p.calls) < 1 {
			return
		}
		// A rate that was not used in full proves nothing.
		if used := float64(p.calls) / took.Seconds(); used >= 0.8*min(p.rate, float64(int(max(p.rate, 1)))) {
			p.grow(now)
		}
		p.since, p.calls = now, 0
	}
}

func (p *Pace) grow(now time.Time) {
	if p.ceiling > 0 && now.Sub(p.cut) > paceForget {
		p.ceiling, p.cut = p.ceiling*1.1, now
	}
	if p.ceiling > 0 {
		p.rate = max(p.rate, min(p.rate*paceCreep, p.ceiling*paceUnder))
	} else {
		p.rate *= paceUp
	}
	p.rate = min(p.rate, p.most)
}

// told reads a limit and its window: "RateLimit-Policy: 100;w=60" (also with a name and q=), or "RateLimit-Limit: 100, 100;w=60".
func told(h http.Header) (Told, bool) {
	for _, name := range []string{"RateLimit-Policy", "RateLimit-Limit", "X-RateLimit-Limit"} {
		best := Told{}
		for policy := range strings.SplitSeq(h.Get(name), ",") {
			parts := strings.Split(policy, ";")
			t := Told{}
			t.Calls, _ = strconv.Atoi(strings.TrimSpace(parts[0]))
			for _, part := range parts[1:] {
				key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
				n, err := strconv.Atoi(value)
				switch {
				case err != nil:
				case key == "w":
					t.Window = time.Duration(min(n, 86_400)) * time.Second
				case key == "q":
					t.Calls = n
				}
			}
			if t.Calls > 0 && t.Calls <= 1_000_000 && t.Window > 0 && (best.Calls == 0 || perSecond(t) < perSecond(best)) {
				best = t
			}
		}
		if best.Calls > 0 {
			return best, true
		}
	}
	return Told{}, false
}

func perSecond(t Told) float64 { return float64(t.Calls) / t.Window.Seconds() }
