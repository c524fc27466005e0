package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/penstock-cdc/penstock/ops/control"
)

// waitForLoad waits until the process at a socket has read a table, and tells how far it is meanwhile.
func (c *cli) waitForLoad(ctx context.Context, socket, source, table string) error {
	screen := c.loadScreen()
	if screen != nil {
		defer screen.show(nil)
	}
	teller := newLoadTeller(screen)
	tick := time.NewTicker(teller.every())
	defer tick.Stop()
	began := time.Now()
	for {
		var r report
		err := control.Call(ctx, control.Dial(socket), http.MethodPost, "/ask/"+askStatus, struct{}{}, &r)
		switch {
		case ctx.Err() != nil:
			return &exit{exitInterrupted, errors.New("not waited for any longer; the table goes on being read")}
		case control.NotRunning(err):
			return errors.New("penstock has stopped: the table goes on being read at its next start")
		case err != nil:
			return err
		}
		load := tableOf(r.Sources, source, table)
		if load == nil {
			return fmt.Errorf("source %s has no table %s any more", source, table)
		}
		teller.tell([]sourceReport{{Source: source, Tables: []tableReport{*load}}})
		switch load.Snapshot {
		case "pending", "reading", "paused":
		case "done":
			if c.json {
				return c.line(map[string]any{"type": "snapshot", "source": source, "table": table, "state": "done", "rows": load.SnapshotRows, "bytes": load.SnapshotBytes})
			}
			_, err := fmt.Fprintf(c.out, "snapshot of %s: %d rows (%s) read in %s\n", table, load.SnapshotRows, bytesText(load.SnapshotBytes), timeText(time.Since(began).Seconds()))
			return err
		default:
			return fmt.Errorf("the snapshot of %s was given up", table)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func tableOf(sources []sourceReport, source, table string) *tableReport {
	for i := range sources {
		if sources[i].Source != source {
			continue
		}
		for k := range sources[i].Tables {
			if t := &sources[i].Tables[k]; t.Table == table {
				return t
			}
		}
	}
	return nil
}
