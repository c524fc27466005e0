package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/alert"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
)

// nightWatch looks at a report again and again, by a clock of its own.
type nightWatch struct {
	t    *testing.T
	a    *alerting
	now  time.Time
	r    report
	told alert.Options
}

func newNightWatch(t *testing.T) *nightWatch {
	w := &nightWatch{t: t, now: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}
	w.told = alert.Options{Kinds: config.AlertKinds, Repeat: 4 * time.Hour, Path: filepath.Join(t.TempDir(), "alert.json"), Log: slog.New(slog.DiscardHandler)}
	w.start()
	w.r.Sources = []sourceReport{{Source: "shop", State: "streaming"}}
	w.r.Apps = []appReport{{App: "crm", State: "open"}}
	w.r.Pipelines = []pipelineReport{{Pipeline: "p", App: "crm", State: "running", Where: []partPosition{{}}}}
	return w
}

// start is a start of the process.
func (w *nightWatch) start() {
	w.a = newAlerting(&config.Alert{Quarantine: config.Rate{Count: 10, Within: time.Hour}, Lag: 10 * time.Minute, Stalled: 15 * time.Minute, WALRetention: 1000}, alert.Open(w.told))
}

// after lets a time pass, changing the report at each look (nil: nothing changes), and returns what is wrong in the end.
func (w *nightWatch) after(d time.Duration, change func(), stops ...sink.GuardStop) []string {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(alertEvery) {
		if change != nil {
			change()
		}
		w.look(nil, stops...)
	}
	return w.look(nil, stops...)
}

func (w *nightWatch) look(err error, stops ...sink.GuardStop) []string {
	w.t.Helper()
	all := w.a.look(w.now, &w.r, stops, err)
	if err := w.a.hook.Observe(w.now, all, func(string) bool { return true }); err != nil {
		w.t.Fatal(err)
	}
	out := []string{}
	for _, c := range all {
		out = append(out, c.Kind+" "+c.Subject)
		if !strings.Contains(c.Summary, "penstock ") {
			w.t.Errorf("%q says no command", c.Summary)
		}
	}
	return out
}

func (w *nightWatch) want(what string, got []string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestAlertsOfABusyPipeline(t *testing.T) {
	w := newNightWatch(t)
	p := &w.r.Pipelines[0]
	// There is always something on its way, none of it for long.
	w.want("busy", w.after(2*time.Hour, func() {
		p.Where[0].End += 500
		p.Where[0].Next = p.Where[0].End - 100
		p.LagEvents, p.Events.Pending = 100, 50
		p.Events.Applied += 500
	}))
}

func TestAlertsOfAnAppThatIsDown(t *testing.T) {
	w := newNightWatch(t)
	p := &w.r.Pipelines[0]
	down := func() { // events come and are taken in
		p.Where[0].End++
		p.Where[0].Next++
		p.Events.Pending++
	}
	w.want("9 minutes", w.after(9*time.Minute, down))
	w.want("11 minutes", w.after(2*time.Minute, down), "lag pipeline p")
	w.want("16 minutes", w.after(5*time.Minute, down), "stalled pipeline p", "lag pipeline p")
	w.start()
	w.want("started anew", w.after(time.Minute, down), "stalled pipeline p", "lag pipeline p")
	p.Events.Applied++
	p.Events.Pending--
	w.want("moves", w.after(0, nil), "lag pipeline p")
	p.Events.Applied += p.Events.Pending
	p.Events.Pending = 0
	w.want("up", w.after(0, nil))

	p.Where[0].Next += 10
	p.Where[0].End += 10
	p.Events.Pending = 10
	p.Guarded = 10
	w.want("held back by a guard", w.after(time.Hour, nil, sink.GuardStop{Pipeline: "p", Kind: "deletes", Queued: 10}), "guard pipeline p deletes")
	p.Guarded, p.State = 0, "paused"
	w.want("paused", w.after(time.Hour, nil))
	p.State = "running"
	w.want("resumed", w.after(16*time.Minute, nil), "stalled pipeline p", "lag pipeline p")
}

func TestAlertsOfIntake(t *testing.T) {
	w := newNightWatch(t)
	p := &w.r.Pipelines[0]
	p.Where[0].End, p.LagEvents = 5, 5
	w.want("stands still", w.after(15*time.Minute, nil), "stalled pipeline p", "lag pipeline p")
	p.State = "failed"
	w.want("failed", w.after(0, nil), "stalled pipeline p", "lag pipeline p")
}

func TestAlertsOfASource(t *testing.T) {
	w := newNightWatch(t)
	s := &w.r.Sources[0]
	s.State = "connecting"
	w.want("away", w.after(15*time.Minute, nil), "stalled source shop")
	w.start()
	w.want("away after a start", w.after(time.Minute, nil), "stalled source shop")
	s.State, s.LagBytes, s.LagSeconds = "streaming", 10, 601
	w.want("back", w.after(time.Hour, func() { s.Events++ }), "lag source shop")
	s.LagSeconds = 1
	w.want("does not move", w.after(15*time.Minute, nil), "stalled source shop")
	s.State = "failed"
	w.want("failed", w.after(0, nil), "stalled source shop")
	s.State, s.LagBytes, s.LagSeconds = "streaming", 0, 0
	for _, step := range []struct {
		bytes int64
		want  []string
	}{{1000, nil}, {1001, []string{"wal_retention source shop"}}, {950, []string{"wal_retention source shop"}}, {900, nil}, {950, nil}} {
		s.RetainedBytes = step.bytes
		w.want("retained", w.after(0, nil), step.want...)
	}
}

func TestAlertsOfQuarantine(t *testing.T) {
	w := newNightWatch(t)
	p := &w.r.Pipelines[0]
	p.Events.Rejected = 500 // from before
	w.want("old ones", w.after(time.Hour, nil))
	p.Events.Rejected = 509
	w.want("9 more", w.after(30*time.Minute, nil))
	p.Events.Rejected = 400 // replayed
	w.want("replayed", w.after(10*time.Minute, nil))
	p.Events.Rejected = 401
	w.want("10 within the hour", w.after(10*time.Minute, nil), "quarantine pipeline p")
	w.want("the first 9 are older", w.after(15*time.Minute, nil))
}

func TestAlertsOfApps(t *testing.T) {
	w := newNightWatch(t)
	w.r.Apps[0].State = "stopped"
	w.want("refused", w.after(time.Minute, nil), "credentials app crm")
	blind := errors.New("no broker answers")
	w.want("blind", w.look(blind), "credentials app crm")
	w.now = w.now.Add(15 * time.Minute)
	w.want("blind for long", w.look(blind), "credentials app crm", "stalled process")
	w.r.Apps[0].State = "open"
	w.want("sees again", w.after(0, nil))
}
