package main

import (
	"context"
	"log/slog"
	"os"
	"time"
)

const (
	// logLoads is how often the log says how far loads are where no bars are drawn.
	logLoads = 10 * time.Second
	// drawLoads is how often bars are drawn.
	drawLoads = 250 * time.Millisecond
)

// loading collects the loads that are not done, of sources in their order.
func loading(sources []sourceReport) (out []loadLine) {
	for i := range sources {
		for k := range sources[i].Tables {
			t := &sources[i].Tables[k]
			switch t.Snapshot {
			case "pending", "reading", "paused":
				out = append(out, loadLine{sources[i].Source, t})
			}
		}
	}
	return out
}

// loadTeller tells how far loads are: with bars on a terminal, else with a line of the log for each every 10 s.
type loadTeller struct {
	screen *loadScreen // nil: there is no terminal
	log    *slog.Logger
	now    func() time.Time

	began  map[string]time.Time // of loads that were seen going on
	logged time.Time            // when the log last had lines; zero: no load goes on
}

// newLoadTeller tells on w.
func newLoadTeller(screen *loadScreen) *loadTeller {
	return &loadTeller{screen: screen, log: slog.Default(), now: time.Now, began: map[string]time.Time{}}
}

// every is how often tell is to be called.
func (lt *loadTeller) every() time.Duration {
	if lt.screen != nil {
		return drawLoads
	}
	return time.Second
}

// tell shows the loads as they are now.
func (lt *loadTeller) tell(sources []sourceReport) {
	now := lt.now()
	loads := loading(sources)
	if lt.screen != nil {
		lt.screen.show(loads)
	}
	reading := map[string]bool{}
	for i := range loads {
		if l := &loads[i]; l.Snapshot == "reading" {
			name := l.source + " " + l.Table
			reading[name] = true
			if _, known := lt.began[name]; !known {
				lt.began[name] = now
			}
		}
	}
	for i := range sources {
		for k := range sources[i].Tables {
			t := &sources[i].Tables[k]
			name := sources[i].Source + " " + t.Table
			began, known := lt.began[name]
			if !known || reading[name] || t.Snapshot == "paused" || t.Snapshot == "pending" {
				continue
			}
			delete(lt.began, name)
			if t.Snapshot == "done" {
				lt.log.Info("table is loaded", "source", sources[i].Source, "table", t.Table, "rows", t.SnapshotRows, "bytes", t.SnapshotBytes, "seconds", int(now.Sub(began).Seconds()))
			}
		}
	}
	if lt.screen != nil {
		return
	}
	switch {
	case len(reading) == 0:
		lt.logged = time.Time{}
		return
	case lt.logged.IsZero():
		lt.logged = now // one that is done soon needs no line
		return
	case now.Sub(lt.logged) < logLoads:
		return
	}
	lt.logged = now
	for i := range loads {
		l := &loads[i]
		if l.Snapshot != "reading" {
			continue
		}
		args := []any{"source", l.source, "table", l.Table, "rows", l.SnapshotRows, "rows_estimated", l.SnapshotTotal, "bytes", l.SnapshotBytes,
			"rows_per_second", int64(l.SnapshotRate), "seconds_left", int64(l.SnapshotLeft)}
		if l.SnapshotWaits != "" {
			args = append(args, "waits", l.SnapshotWaits)
		}
		lt.log.Info("table is being loaded", args...)
	}
}

// run tells what report says until ctx ends.
func (lt *loadTeller) run(ctx context.Context, report func() []sourceReport) {
	tick := time.NewTicker(lt.every())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if lt.screen != nil {
				lt.screen.show(nil)
			}
			return
		case <-tick.C:
			lt.tell(report())
		}
	}
}

// loadScreen is where bars are drawn, nil where they are not: without a terminal, or where the results are JSON.
func (c *cli) loadScreen() *loadScreen {
	if s, ok := c.err.(*loadScreen); ok && !c.json && os.Getenv("TERM") != "dumb" {
		return s
	}
	return nil
}

// tellLoads tells how far the loads of this process are until the returned function is called.
func (rt *plant) tellLoads(ctx context.Context, screen *loadScreen) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		newLoadTeller(screen).run(ctx, func() (out []sourceReport) {
			for _, block := range rt.Sources {
				if r := rt.sources[block.Name]; r != nil {
					out = append(out, r.report(r.Status()))
				}
			}
			return out
		})
	}()
	return func() {
		cancel()
		<-ended
	}
}
