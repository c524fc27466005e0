package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/config"
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

// callTaps hands calls to those who look. The zero value works.
type callTaps struct{ taps taps[calledApp] }

func (t *callTaps) add(c rest.Call) {
	at := time.Now().UTC()
	t.taps.give(func(lost int) calledApp {
		return calledApp{"call", at, c.App, c.Method, c.Path, c.Status, float64(c.Duration.Microseconds()) / 1000, c.Records, c.ID, lost}
	})
}

// show hands calls to an app ("": any) to f: see taps.
func (t *callTaps) show(ctx context.Context, app string, limit int, ready func() error, f func(calledApp) error) error {
	return t.taps.show(ctx, limit, ready, func(c calledApp) bool { return app == "" || c.App == app }, f)
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
	return look(ctx, p, "/calls", url.Values{"app": {app}, "limit": {fmt.Sprint(limit)}}, limit, c.showCall)
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
