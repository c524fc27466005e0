// Package alert tells people what needs them: what is wrong now goes in, notices of what has become
// wrong and right again come out, each once, and again while it lasts.
package alert

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"
)

// Condition is something that is wrong now.
type Condition struct {
	Kind    string // lag, guard, ...
	Subject string // pipeline customers
	Summary string // for a person: what, and which command to run; no row values, no secrets
	Since   time.Time
}

// Notice is what the receiver gets, as JSON.
type Notice struct {
	Type     string    `json:"type"`   // alert
	Status   string    `json:"status"` // firing, resolved
	Kind     string    `json:"kind"`
	Subject  string    `json:"subject"`
	Summary  string    `json:"summary"`
	Since    time.Time `json:"since"` // it is wrong
	Penstock string    `json:"penstock"`
	Project  string    `json:"project"`
}

// firing is what the receiver has been told, or will be.
type firing struct {
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"`
	Summary string    `json:"summary"`
	Since   time.Time `json:"since"`
	Told    time.Time `json:"told"` // last
	// restored: it was so before the start, and was not seen since.
	restored bool
}

// queued is a notice that was not delivered yet.
type queued struct {
	ID string `json:"id"` // the same in every attempt
	Notice
}

// ledger is what outlives the process.
type ledger struct {
	Firing []*firing `json:"firing"`
	Queue  []queued  `json:"queue"` // the first may be on its way
}

// observe compares what is wrong now with what was told, and queues notices. It tells whether anything changed.
func (l *ledger) observe(now time.Time, repeat time.Duration, all []Condition, sure func(kind string) bool) (changed bool) {
	is := map[[2]string]*Condition{}
	for i := range all {
		is[[2]string{all[i].Kind, all[i].Subject}] = &all[i]
	}
	left := l.Firing[:0:0]
	for _, f := range l.Firing {
		c := is[[2]string{f.Kind, f.Subject}]
		if c == nil {
			if f.restored && !sure(f.Kind) {
				left = append(left, f)
				continue
			}
			l.queue(f.notice("resolved", fmt.Sprintf("Over after %s. It was: %s", max(0, now.Sub(f.Since)).Round(time.Second), f.Summary)))
			changed = true
			continue
		}
		f.restored = false
		f.Summary = c.Summary
		if now.Sub(f.Told) >= repeat && !l.waits(f.Kind, f.Subject) {
			f.Told, changed = now, true
			l.queue(f.notice("firing", c.Summary))
		}
		left = append(left, f)
	}
	l.Firing = left
	for i := range all {
		c := &all[i]
		if l.find(c.Kind, c.Subject) != nil {
			continue
		}
		f := &firing{Kind: c.Kind, Subject: c.Subject, Summary: c.Summary, Since: c.Since, Told: now}
		if f.Since.IsZero() {
			f.Since = now
		}
		f.Since, changed = f.Since.UTC().Truncate(time.Second), true
		l.Firing = append(l.Firing, f)
		if since, ok := l.takeBack(f.Kind, f.Subject); ok {
			f.Since = since
			continue
		}
		l.queue(f.notice("firing", c.Summary))
	}
	return changed
}

func (f *firing) notice(status, summary string) Notice {
	return Notice{Type: "alert", Status: status, Kind: f.Kind, Subject: f.Subject, Summary: summary, Since: f.Since}
}

func (l *ledger) find(kind, subject string) *firing {
	for _, f := range l.Firing {
		if f.Kind == kind && f.Subject == subject {
			return f
		}
	}
	return nil
}

func (l *ledger) queue(n Notice) { l.Queue = append(l.Queue, queued{rand.Text(), n}) }

// waits tells whether a notice of it was not delivered yet.
func (l *ledger) waits(kind, subject string) bool {
	return slices.ContainsFunc(l.Queue, func(q queued) bool { return q.Kind == kind && q.Subject == subject })
}

// takeBack takes a resolved notice back that was not sent: what comes back before is what it was, so that
// nothing that comes and goes fills the queue of a receiver that is down.
func (l *ledger) takeBack(kind, subject string) (since time.Time, ok bool) {
	for i := len(l.Queue) - 1; i > 0; i-- {
		if q := l.Queue[i]; q.Kind == kind && q.Subject == subject {
			if q.Status != "resolved" {
				return since, false
			}
			l.Queue = slices.Delete(l.Queue, i, i+1)
			return q.Since, true
		}
	}
	return since, false
}

// delivered takes a notice out of the queue.
func (l *ledger) delivered(id string) {
	l.Queue = slices.DeleteFunc(l.Queue, func(q queued) bool { return q.ID == id })
}
