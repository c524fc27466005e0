package simulator

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Kinds of faults (Fault.Kind).
const (
	kindStatus          = "status"
	kindDrop            = "drop"
	kindDropAfterCommit = "drop_after_commit"
	kindDelay           = "delay"
	kindGarbage         = "garbage"
)

// Fault is something that goes wrong with some of the vendor's calls.
//
//   - status: answered with Status (and Retry-After), nothing done, or with
//     AfterCommit once the call has taken effect
//   - drop: the connection is cut, nothing done
//   - drop_after_commit: the call takes effect, then the connection is cut; calls that
//     cannot change records neither suffer it nor use it up
//   - delay: the call takes effect at once, its answer comes after Delay
//   - garbage: the call takes effect, its answer is a 200 cut off or not JSON
//
// It strikes the next Calls matching calls, or a Share of all of them by a generator
// started with Seed, or with both that share until Calls were struck, or with neither
// every one. Of several faults that would strike a call the oldest does; delays add up.
type Fault struct {
	Kind       string   `json:"kind"`
	Status     int      `json:"status,omitempty"`
	RetryAfter Duration `json:"retry_after,omitzero"`
	Delay      Duration `json:"delay,omitzero"`
	// AfterCommit makes a status fault one of the way back: a gateway's 502 for a call
	// that took effect.
	AfterCommit bool    `json:"after_commit,omitempty"`
	Calls       int     `json:"calls,omitempty"`
	Share       float64 `json:"share,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`
	Method      string  `json:"method,omitempty"`
	Path        string  `json:"path,omitempty"` // prefix
}

// Duration is a time.Duration written as a string ("2s") in JSON.
type Duration time.Duration

// MarshalJSON writes a duration as time.Duration's text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads what time.ParseDuration takes.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("read duration: want a string such as \"2s\"")
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("read duration: %w", err)
	}
	*d = Duration(parsed)
	return nil
}

func (f Fault) check() error {
	switch f.Kind {
	case kindStatus:
		if f.Status < 200 || f.Status > 599 {
			return fmt.Errorf("add fault status: status %d, want 200 to 599", f.Status)
		}
	case kindDelay:
		if f.Delay <= 0 {
			return fmt.Errorf("add fault delay: no delay given, want one such as \"3s\"")
		}
	case kindDrop, kindDropAfterCommit, kindGarbage:
	default:
		return fmt.Errorf("add fault: kind %q, want status, drop, drop_after_commit, delay or garbage", f.Kind)
	}
	if f.Share < 0 || f.Share > 1 {
		return fmt.Errorf("add fault %s: share %v, want 0 to 1", f.Kind, f.Share)
	}
	if f.Calls < 0 {
		return fmt.Errorf("add fault %s: calls %d, want 1 or more", f.Kind, f.Calls)
	}
	return nil
}

// faults are the faults in force.
type faults struct {
	mu     sync.Mutex
	active []*activeFault
}

type activeFault struct {
	Fault
	random *rand.Rand
	struck int
}

// outcome is what happens to one call.
type outcome struct {
	kind       string // "" for a call that goes well
	status     int
	retryAfter time.Duration
	delay      time.Duration
	commit     bool // a status fault lets the call take effect first
	nth        int  // calls that this fault has struck before
}

// AddFault puts a fault in force.
func (s *Server) AddFault(f Fault) error {
	if err := f.check(); err != nil {
		return err
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.active = append(s.faults.active, &activeFault{Fault: f, random: rand.New(rand.NewPCG(f.Seed, 0))})
	return nil
}

// ClearFaults takes all faults away.
func (s *Server) ClearFaults() { s.faults.clear() }

// Faults returns those in force, with the calls that each still has.
func (s *Server) Faults() []Fault {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	left := []Fault{}
	for _, f := range s.faults.active {
		rest := f.Fault
		if rest.Calls > 0 {
			rest.Calls -= f.struck
		}
		left = append(left, rest)
	}
	return left
}

func (fs *faults) clear() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.active = nil
}

func (fs *faults) take(method, path string, writes bool) outcome {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var o outcome
	kept := fs.active[:0]
	for _, f := range fs.active {
		if f.strikes(method, path, writes, o.kind != "") {
			switch f.Kind {
			case kindDelay:
				o.delay += time.Duration(f.Delay)
			default:
				o.kind, o.status, o.commit, o.retryAfter, o.nth = f.Kind, f.Status, f.AfterCommit, time.Duration(f.RetryAfter), f.struck
			}
			f.struck++
		}
		if f.Calls == 0 || f.struck < f.Calls {
			kept = append(kept, f)
		}
	}
	clear(fs.active[len(kept):])
	fs.active = kept
	return o
}

func (f *activeFault) strikes(method, path string, writes, struckAlready bool) bool {
	if f.Method != "" && !strings.EqualFold(f.Method, method) || !strings.HasPrefix(path, f.Path) {
		return false
	}
	if f.Kind == kindDropAfterCommit && !writes {
		return false
	}
	// Drawn even when another fault has the call, so that one fault's sequence does not
	// depend on the others.
	if f.Share > 0 && f.random.Float64() >= f.Share {
		return false
	}
	return f.Kind == kindDelay || !struckAlready
}
