package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/ops/control"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// calledApp is a call to an app as tap --calls shows it. Nothing of what was sent or answered is in it.
type calledApp struct {
	Type    string    `json:"type"` // call
	Time    time.Time `json:"time"` // of its end
	App     string    `json:"app"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`   // without ids
	Status  int       `json:"status"` // 0: no answer
	Millis  float64   `json:"duration_ms"`
	Records int       `json:"records"` // in it, 0 where it is of none
	Request string    `json:"request_id"`
	Lost    int       `json:"lost,omitempty"` // calls before it that were not shown, for the reader is slow
}

// calledBuffer is how many calls a reader may be behind.
const calledBuffer = 1000

// callTaps hands calls to those who look. The zero value works.
type callTaps struct {
	mu   sync.Mutex
	taps map[*callTap]bool
}

type callTap struct {
	calls chan calledApp
	lost  int // guarded by the mu of its callTaps
}

// add never waits for a reader.
func (t *callTaps) add(c rest.Call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for tap := range t.taps {
		out := calledApp{"call", time.Now().UTC(), c.App, c.Method, c.Path, c.Status, float64(c.Duration.Microseconds()) / 1000, c.Records, c.ID, tap.lost}
		select {
		case tap.calls <- out:
			tap.lost = 0
		default:
			tap.lost++
		}
	}
}

// show hands calls to an app ("": any) to f as they come, until ctx ends, f fails or there were limit of them (0: any number).
// From ready on all are seen.
func (t *callTaps) show(ctx context.Context, app string, limit int, ready func() error, f func(calledApp) error) error {
	tap := &callTap{calls: make(chan calledApp, calledBuffer)}
	t.mu.Lock()
	if t.taps == nil {
		t.taps = map[*callTap]bool{}
	}
	t.taps[tap] = true
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.taps, tap)
	}()
	if err := ready(); err != nil {
		return err
	}
	for n := 0; limit == 0 || n < limit; {
		select {
		case <-ctx.Done():
			return nil
		case c := <-tap.calls:
			if app != "" && c.App != app {
				continue
			}
			if err := f(c); err != nil {
				return err
			}
			n++
		}
	}
	return nil
}

// tapCalls shows the calls of the process that runs the sink.
func (c *cli) tapCalls(ctx context.Context, dir, app string, limit int) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	names := []string{}
	for _, a := range p.Apps {
		names = append(names, a.Name)
	}
	if app != "" && p.apps[app] == nil {
		hint := ""
		if s := config.Suggest(app, names); s != "" {
			hint = fmt.Sprintf("did you mean %s? ", s)
		}
		return fmt.Errorf("there is no app %q: %sthe project has %s", app, hint, strings.Join(names, ", "))
	}
	socket := socketOf(p, partAll)
	if _, err := os.Stat(socket); err != nil {
		socket = socketOf(p, partSink)
	}
	query := url.Values{"app": {app}, "limit": {fmt.Sprint(limit)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://penstock/calls?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := control.Dial(socket).Do(req)
	if control.NotRunning(err) {
		return errors.New("no penstock runs on this project, so no calls are made: start it with penstock run")
	}
	if err != nil {
		return quiet(ctx, err)
	}
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	if res.StatusCode != http.StatusOK {
		var refusal struct{ Error string }
		_ = dec.Decode(&refusal)
		return errors.New(refusal.Error)
	}
	slog.Info("looking at calls", "app", app)
	for n := 0; limit == 0 || n < limit; n++ {
		var call calledApp
		if err := dec.Decode(&call); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return errors.New("the process has ended")
		}
		if err := c.showCall(&call); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) showCall(call *calledApp) error {
	if c.json {
		return c.line(call)
	}
	if call.Lost > 0 {
		fmt.Fprintf(c.out, "%d calls are not shown\n", call.Lost)
	}
	status := fmt.Sprint(call.Status)
	if call.Status == 0 {
		status = "no answer"
	}
	_, err := fmt.Fprintf(c.out, "%s %s %s %s: %s, %.1f ms, %d records, request %s\n",
		call.Time.Format("15:04:05.000"), call.App, call.Method, call.Path, status, call.Millis, call.Records, call.Request)
	return err
}
