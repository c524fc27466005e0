package ops

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// readiness answers /readyz. All who ask within CheckEvery get one answer.
// againAfter is how long an answer that something is not ready holds.
const againAfter = 250 * time.Millisecond

type readiness struct {
	checks []Check
	every  time.Duration

	mu      sync.Mutex // held while checking: others wait for the same answer
	at      time.Time
	reasons []reason
}

type reason struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

func newReadiness(s Sources) *readiness {
	every := s.CheckEvery
	if every <= 0 {
		every = 10 * time.Second
	}
	return &readiness{checks: s.Checks, every: every}
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	reasons := r.check(request.Context())
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, struct {
		Ready   bool     `json:"ready"`
		Reasons []reason `json:"reasons,omitempty"`
	}{len(reasons) == 0, reasons})
}

// check runs all checks at once, with 10 s for them. The one who asks may go away: the
// answer is for the others too, so that does not end the checks.
func (r *readiness) check(ctx context.Context) []reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	every := r.every
	if len(r.reasons) > 0 {
		every = min(every, againAfter) // it is waited for
	}
	if !r.at.IsZero() && time.Since(r.at) < every {
		return r.reasons
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	errs := make([]error, len(r.checks))
	var all sync.WaitGroup
	for i, c := range r.checks {
		all.Go(func() { errs[i] = c.Check(ctx) })
	}
	all.Wait()
	r.reasons = nil
	for i, err := range errs {
		if err != nil {
			r.reasons = append(r.reasons, reason{r.checks[i].Name, err.Error()})
		}
	}
	r.at = time.Now()
	return r.reasons
}
