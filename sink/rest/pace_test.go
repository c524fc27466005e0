package rest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/sink/rest"
)

// drive calls an app that takes `limit` calls in any second and says nothing, as fast as
// the pace allows; it returns what was taken and what was refused after the warm-up.
func drive(p *rest.Pace, limit int, warm, long time.Duration) (taken, refused int) {
	now := time.Unix(1_800_000_000, 0)
	start := now
	var at []time.Time
	for now.Sub(start) < warm+long {
		calls, window := p.Limit()
		now = now.Add(window / time.Duration(calls))
		for len(at) > 0 && now.Sub(at[0]) >= time.Second {
			at = at[1:]
		}
		status := http.StatusOK
		if len(at) >= limit {
			status = http.StatusTooManyRequests
		} else {
			at = append(at, now)
		}
		p.Observe(status, http.Header{}, now)
		if now.Sub(start) > warm {
			if status == http.StatusOK {
				taken++
			} else {
				refused++
			}
		}
	}
	return taken, refused
}

func TestPaceFindsTheLimit(t *testing.T) {
	for _, limit := range []int{1, 2, 5, 40, 300} {
		taken, refused := drive(rest.NewPace(5, 1000), limit, time.Minute, 9*time.Minute)
		share := float64(taken) / float64(limit*9*60)
		if share < 0.5 || limit >= 40 && share < 0.85 {
			t.Errorf("limit %d: %.0f %% of it used", limit, 100*share)
		}
		if refused*100 > taken {
			t.Errorf("limit %d: %d refused, %d taken", limit, refused, taken)
		}
	}
}

func TestPaceStaysBelowItsMost(t *testing.T) {
	p := rest.NewPace(5, 20)
	drive(p, 1000, time.Minute, time.Minute)
	if calls, window := p.Limit(); calls != 20 || window != time.Second {
		t.Errorf("%d in %v, want 20 a second", calls, window)
	}
}

func TestPaceThatIsNotUsedDoesNotGrow(t *testing.T) {
	p := rest.NewPace(5, 1000)
	now := time.Unix(1_800_000_000, 0)
	for range 100 {
		now = now.Add(2 * time.Second)
		p.Observe(200, http.Header{}, now)
	}
	if calls, _ := p.Limit(); calls != 5 {
		t.Errorf("%d calls a second after one in two seconds", calls)
	}
}

func TestPaceThatIsTold(t *testing.T) {
	for text, want := range map[string]rest.Told{
		"RateLimit-Policy: 100;w=60":                            {Calls: 100, Window: time.Minute},
		`RateLimit-Policy: "burst";q=100;w=1,"day";q=5000;w=10`: {Calls: 100, Window: time.Second},
		"Ratelimit-Limit: 10, 10;w=1, 150;w=60":                 {Calls: 150, Window: time.Minute},
		"X-Ratelimit-Limit: 77":                                 {Calls: 5, Window: time.Second}, // of what window it does not say
		"RateLimit-Policy: -1;w=60":                             {Calls: 5, Window: time.Second},
	} {
		p := rest.NewPace(5, 1000)
		name, value, _ := strings.Cut(text, ": ")
		h := http.Header{}
		h.Set(name, value)
		p.Observe(200, h, time.Now())
		if calls, window := p.Limit(); calls != want.Calls || window != want.Window {
			t.Errorf("%s: %d in %v, want %+v", text, calls, window, want)
		}
	}
}
