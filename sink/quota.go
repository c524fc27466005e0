package sink

import (
	"fmt"
	"time"
)

// quota follows a day's quota of calls, as the app tells what is left of it. It is the dispatcher's to lock.
type quota struct {
	day, left int
	samples   []sample  // one a minute, of the last hour, oldest first
	renewed   time.Time // when it was seen to begin anew; zero: not yet
}

// sample is what was left at a time.
type sample struct {
	at   time.Time
	left int
}

const (
	quotaEvery = time.Minute
	quotaSpan  = time.Hour
	// quotaWarn is how long before its end an emptying quota is warned about.
	quotaWarn = 12 * time.Hour
	// quotaProbe is how often an app is called whose quota is used up to the reserve: vendors renew it at a midnight
	// that they do not name, and say so only in an answer.
	quotaProbe = 15 * time.Minute
)

// observe takes over what the app last said.
func (q *quota) observe(l Limits, now time.Time) {
	if l.Day <= 0 {
		return
	}
	if l.DayLeft > q.left && q.day > 0 {
		// Answers of calls that were under way together come in any order: that is no renewal.
		if l.DayLeft-q.left < q.day/100 {
			return
		}
		q.samples, q.renewed = nil, now
	}
	q.day, q.left = l.Day, l.DayLeft
	if n := len(q.samples); n > 0 && now.Sub(q.samples[n-1].at) < quotaEvery {
		return
	}
	for len(q.samples) > 0 && now.Sub(q.samples[0].at) > quotaSpan {
		q.samples = q.samples[1:]
	}
	q.samples = append(q.samples, sample{now, l.DayLeft})
}

// empty returns when the quota is used up at the rate of the last hour, by everyone who calls the account; zero: not before
// it is renewed, or it is not known.
func (q *quota) empty(now time.Time) time.Time {
	if len(q.samples) == 0 {
		return time.Time{}
	}
	if q.left == 0 {
		return now
	}
	first := q.samples[0]
	used, took := first.left-q.left, now.Sub(first.at)
	if used <= 0 || took < 2*quotaEvery {
		return time.Time{}
	}
	at := now.Add(time.Duration(float64(q.left) / float64(used) * float64(took)))
	renewal := now.Add(24 * time.Hour) // at the latest
	if !q.renewed.IsZero() {
		renewal = q.renewed.Add(24 * time.Hour)
	}
	if at.After(renewal) {
		return time.Time{}
	}
	return at
}

// warning says that the quota will be used up, hours before.
func (q *quota) warning(now time.Time) string {
	at := q.empty(now)
	if at.IsZero() || at.Sub(now) > quotaWarn {
		return ""
	}
	return fmt.Sprintf("the day's quota of %d calls will be empty at %s at the rate of the last hour (%d are left, for all that call this account): what is sent then waits for the next day",
		q.day, at.UTC().Format(time.RFC3339), q.left)
}
