package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/alert"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
)

const (
	// alertEvery is how often alerts look at the status.
	alertEvery = 5 * time.Second
	// alertGoodbye is how long the end of the process waits for notices.
	alertGoodbye = 5 * time.Second
	// alertSettling is how long after the start what was wrong before it counts as wrong, seen or not: sources and apps
	// are not asked at once. Guards are known from the state.
	alertSettling = time.Minute
)

// alerting is an alert block at work.
type alerting struct {
	*config.Alert
	hook  *alert.Webhook
	clock map[string]*clock    // of what should move, by its name
	lags  map[string]*lagClock // by pipeline
	rates map[string]*rateClock
	wrong []alert.Condition // when last looked
	blind time.Time         // since when the status can't be had
	short bool              // a run until caught up
}

// openAlerts makes the alerts that are in the configuration.
func (rt *plant) openAlerts() {
	dir, err := filepath.Abs(rt.Dir)
	if err != nil {
		dir = rt.Dir
	}
	for _, block := range rt.Alerts {
		a := newAlerting(block, alert.Open(alert.Options{
			Name: block.Name, URL: block.URL, SigningKey: block.SigningKey, Kinds: block.On, Repeat: block.Repeat,
			Path: filepath.Join(rt.partFolder(rt.part), "alert-"+block.Name+".json"), Penstock: version, Project: filepath.Base(dir), Log: slog.Default(),
		}))
		a.short = rt.atOnce
		rt.alerts = append(rt.alerts, a)
	}
}

func newAlerting(block *config.Alert, hook *alert.Webhook) *alerting {
	return &alerting{Alert: block, hook: hook, clock: map[string]*clock{}, lags: map[string]*lagClock{}, rates: map[string]*rateClock{}}
}

// watchAlerts looks and delivers until ctx ends.
func (rt *plant) watchAlerts(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, a := range rt.alerts {
		wg.Go(func() { a.hook.Run(ctx) })
	}
	tick := time.NewTicker(alertEvery)
	defer tick.Stop()
	for len(rt.alerts) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			rt.lookForAlerts(ctx, false)
		}
	}
}

// lastAlerts looks once more when all has stopped, and tries shortly to deliver what is left.
func (rt *plant) lastAlerts(ctx context.Context) {
	if len(rt.alerts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, alertGoodbye)
	defer cancel()
	rt.lookForAlerts(ctx, true)
	var wg sync.WaitGroup
	for _, a := range rt.alerts {
		wg.Go(func() {
			if err := a.hook.Flush(ctx); err != nil {
				slog.Warn("alert not delivered; it is at the next start", "alert", a.Name, "error", err)
			}
		})
	}
	wg.Wait()
}

func (rt *plant) lookForAlerts(ctx context.Context, last bool) {
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := rt.status(limit)
	if ctx.Err() != nil {
		return
	}
	var stops []sink.GuardStop
	if rt.engine != nil {
		stops = rt.engine.Guards()
	}
	now := time.Now()
	sure := func(kind string) bool {
		return kind == "guard" || now.Sub(rt.started) >= alertSettling || last && rt.atOnce
	}
	for _, a := range rt.alerts {
		before := a.wrong
		all := a.look(now, r, stops, err)
		if last { // nothing moves any more, which says nothing of what did
			moves := func(c alert.Condition) bool {
				return c.Kind == "lag" || c.Kind == "stalled" || c.Kind == "wal_retention"
			}
			all = slices.DeleteFunc(all, moves)
			for _, c := range before {
				if moves(c) {
					all = append(all, c)
				}
			}
		}
		if err := a.hook.Observe(now, all, sure); err != nil {
			slog.Warn("alerts are not kept; they are told again after a restart", "alert", a.Name, "error", err)
		}
	}
}

// look says what is wrong. While the status can't be had, what was wrong stays so.
func (a *alerting) look(now time.Time, r *report, stops []sink.GuardStop, err error) []alert.Condition {
	if err != nil {
		if a.blind.IsZero() {
			a.blind = now
			slog.Warn("alerts can't see the status", "alert", a.Name, "error", err)
		}
		out := a.wrong
		if now.Sub(a.blind) >= a.Stalled {
			out = append(out[:len(out):len(out)], alert.Condition{Kind: "stalled", Subject: "process", Since: a.blind,
				Summary: "penstock can't read its own status, so its log or Kafka does not answer. Look at the log of the process and at the brokers; then: penstock status"})
		}
		return out
	}
	a.blind, a.wrong = time.Time{}, nil
	for i := range r.Sources {
		a.source(now, &r.Sources[i])
	}
	for i := range r.Apps {
		if p := &r.Apps[i]; p.State == "stopped" {
			a.add("credentials", "app "+p.App, time.Time{},
				"app %s is stopped and gets nothing until someone acts: %s. Put valid credentials where its secret reads them: a file or command is read again and the app goes on by itself, an environment variable is read when penstock starts. See: penstock status", p.App, p.Detail)
		}
	}
	for i := range r.Pipelines {
		a.pipeline(now, &r.Pipelines[i])
	}
	for _, s := range stops {
		since := time.Time{}
		if s.Since != 0 {
			since = time.UnixMilli(s.Since)
		}
		why := fmt.Sprintf("the guard holds back %d %s of pipeline %s (%d went out in the hour before, the limit is %d)", s.Queued, s.Kind, s.Pipeline, s.Sent, s.Limit)
		if s.Kind == "truncate" {
			why = fmt.Sprintf("a TRUNCATE would delete %d records of pipeline %s", s.Queued, s.Pipeline)
		}
		a.add("guard", "pipeline "+s.Pipeline+" "+s.Kind, since,
			"%s. None of them is sent; everything else goes on. Look: penstock guard list. If they are meant: penstock guard approve %s --kind %s. If not, put the rows back in the database", why, s.Pipeline, s.Kind)
	}
	return a.wrong
}

func (a *alerting) add(kind, subject string, since time.Time, format string, args ...any) {
	a.wrong = append(a.wrong, alert.Condition{Kind: kind, Subject: subject, Since: since, Summary: fmt.Sprintf(format, args...)})
}

func (a *alerting) source(now time.Time, s *sourceReport) {
	subject := "source " + s.Source
	bound := a.WALRetention
	if a.hook.Firing("wal_retention", subject) {
		bound -= bound / 10 // so that what hovers around the bound is one alert
	}
	if s.RetainedBytes > bound {
		a.add("wal_retention", subject, time.Time{},
			"the database of source %s keeps %s of its log for penstock, more than %s: its disk can fill. See: penstock status. A source that is not needed any more: penstock source drop %s",
			s.Source, bytesText(s.RetainedBytes), bytesText(a.WALRetention), s.Source)
	}
	lag := time.Duration(s.LagSeconds * float64(time.Second))
	if lag > a.Lag {
		a.add("lag", subject, now.Add(-lag), "source %s is read %s behind its database. See: penstock status", s.Source, lag.Round(time.Second))
	}
	var rows int64
	for _, t := range s.Tables {
		rows += t.SnapshotRows
	}
	away := s.State == "connecting" || s.State == "waiting"
	since, idle := a.idle(now, subject, "", away || s.LagBytes > 0, fmt.Sprint(away, s.Position, s.Confirmed, s.Events, rows))
	switch {
	case s.State == "failed":
		a.add("stalled", subject, time.Time{}, "source %s is not read any more; it is not tried again before penstock is started anew. The reason: penstock status, and the log of the process", s.Source)
	case idle:
		a.add("stalled", subject, since, "source %s is %s and has not moved for %s. The reason: penstock status", s.Source, s.State, a.Stalled)
	}
}

func (a *alerting) pipeline(now time.Time, p *pipelineReport) {
	subject := "pipeline " + p.Pipeline
	rate := a.rates[p.Pipeline]
	if rate == nil {
		rate = &rateClock{start: now, last: p.Events.Rejected}
		a.rates[p.Pipeline] = rate
	}
	n := rate.grown(now, a.Quarantine.Within, p.Events.Rejected)
	known := a.hook.Firing("quarantine", subject)
	if n >= a.Quarantine.Count || known && (n*2 >= a.Quarantine.Count || !a.short && now.Sub(rate.start) < a.Quarantine.Within) {
		a.add("quarantine", subject, time.Time{},
			"%d records of pipeline %s came into quarantine within %s; %d are there. By reason: penstock dlq list. After the cause is mended: penstock dlq replay", n, p.Pipeline, a.Quarantine.Within, p.Keys.Rejected)
	}

	sendable := max(0, p.Events.Pending-p.Guarded) // what a guard holds back has its own alert
	var next, end int64
	for _, w := range p.Where {
		next, end = next+w.Next, end+w.End
	}
	waits := p.State == "paused" || p.State == "scheduled" // as someone wants it
	if p.State == "failed" {
		a.add("stalled", subject, time.Time{}, "pipeline %s takes nothing in any more; it is not tried again before penstock is started anew. The reason: penstock status, and the log of the process", p.Pipeline)
	} else {
		e := p.Events
		in, noIntake := a.idle(now, subject, "in", p.LagEvents > 0, fmt.Sprint(next))
		out, noOutput := a.idle(now, subject, "out", sendable > 0 && !waits, fmt.Sprint(e.Applied, e.Unchanged, e.Rejected, e.Held, e.Waiting))
		switch {
		case noIntake:
			a.add("stalled", subject, in, "pipeline %s has %d events to take in and took in none for %s. The reason: penstock status", p.Pipeline, p.LagEvents, a.Stalled)
		case noOutput:
			a.add("stalled", subject, out, "pipeline %s has %d changes for app %s, and none was settled for %s. Is the app down? The reason: penstock status", p.Pipeline, sendable, p.App, a.Stalled)
		}
	}

	lag := a.lags[p.Pipeline]
	if lag == nil {
		lag = &lagClock{}
		a.lags[p.Pipeline] = lag
	}
	if waits {
		*lag = lagClock{}
		return
	}
	behind, since := lag.behind(now, end, next-sendable)
	if behind > a.Lag || behind >= 0 && !lag.caught && a.hook.Firing("lag", subject) {
		a.add("lag", subject, since, "pipeline %s is more than %s behind: %d events to take in, %d changes to send to app %s. See: penstock status", p.Pipeline, max(a.Lag, behind.Round(time.Second)), p.LagEvents, sendable, p.App)
	}
}

// clock is how long something that has work has not moved.
type clock struct {
	since time.Time // zero: it has no work
	mark  string
	moved bool // since the process started
}

// idle tells whether something has work and has had the same mark for as long as stalled says; what was told to be stalled
// before the process started is so until it moves.
func (a *alerting) idle(now time.Time, subject, part string, works bool, mark string) (since time.Time, idle bool) {
	name := subject + " " + part
	c := a.clock[name]
	if c == nil {
		c = &clock{mark: mark}
		a.clock[name] = c
	}
	if c.mark != mark || !works {
		c.mark, c.since, c.moved = mark, time.Time{}, true
	}
	if !works {
		return time.Time{}, false
	}
	if c.since.IsZero() {
		c.since = now
	}
	return c.since, now.Sub(c.since) >= a.Stalled || !c.moved && a.hook.Firing("stalled", subject)
}

// lagClock is how long ago the log ended where a pipeline has now got to.
type lagClock struct {
	samples []lagSample // the oldest first; those whose end is reached are gone
	caught  bool        // the first that there ever was is reached
}

type lagSample struct {
	at  time.Time
	end int64
}

// lagSamples is how many are kept; where there would be more, every second is left out.
const lagSamples = 1000

// behind returns for how long the log's end has not been reached; negative: it is. Done counts the events that are taken
// in and settled, in the same numbers as the end of the log.
func (l *lagClock) behind(now time.Time, end, done int64) (time.Duration, time.Time) {
	if n := len(l.samples); n == 0 || l.samples[n-1].end < end {
		l.samples = append(l.samples, lagSample{now, end})
	}
	for len(l.samples) > 0 && l.samples[0].end <= done {
		l.samples, l.caught = l.samples[1:], true
	}
	if len(l.samples) == 0 {
		return -1, time.Time{}
	}
	if len(l.samples) > lagSamples {
		kept := make([]lagSample, 0, lagSamples)
		for i := 0; i < len(l.samples); i += 2 {
			kept = append(kept, l.samples[i])
		}
		l.samples = kept
	}
	return now.Sub(l.samples[0].at), l.samples[0].at
}

// rateClock is by how much a number has grown within a time. What it loses in between does not count.
type rateClock struct {
	start time.Time
	last  int64
	grew  []grown // a minute each
}

type grown struct {
	at time.Time
	n  int64
}

func (r *rateClock) grown(now time.Time, within time.Duration, value int64) (n int64) {
	if by := value - r.last; by > 0 {
		if l := len(r.grew); l > 0 && now.Sub(r.grew[l-1].at) < within/60 {
			r.grew[l-1].n += by
		} else {
			r.grew = append(r.grew, grown{now, by})
		}
	}
	r.last = value
	for len(r.grew) > 0 && now.Sub(r.grew[0].at) >= within {
		r.grew = r.grew[1:]
	}
	for _, g := range r.grew {
		n += g.n
	}
	return n
}
