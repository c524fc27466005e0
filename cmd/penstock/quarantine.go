package main

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// quarantineGroup is what a pipeline has in quarantine for one reason.
type quarantineGroup struct {
	Type     string    `json:"type"`
	Pipeline string    `json:"pipeline"`
	Reason   string    `json:"reason"`
	ByApp    bool      `json:"by_app"`
	Records  int64     `json:"records"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Message  string    `json:"message"` // of the last
}

func (rt *plant) quarantineGroups(ctx context.Context, q quarantineQuery) ([]quarantineGroup, error) {
	if q.Pipeline != "" && rt.engine.Pipeline(q.Pipeline) == nil {
		return nil, fmt.Errorf("there is no pipeline %q", q.Pipeline)
	}
	type name struct {
		pipeline, reason string
		byApp            bool
	}
	groups := map[name]*quarantineGroup{}
	err := rt.engine.Quarantined(ctx, sink.QuarantineFilter{Pipeline: q.Pipeline, Code: q.Reason, Key: q.Key}, func(pipeline string, e *state.Quarantine) error {
		n, at := name{pipeline, e.Code, e.ByApp}, time.UnixMilli(e.Time).UTC()
		g := groups[n]
		if g == nil {
			g = &quarantineGroup{Type: "quarantine_group", Pipeline: pipeline, Reason: e.Code, ByApp: e.ByApp, First: at, Last: at}
			groups[n] = g
		}
		g.Records++
		if at.Before(g.First) {
			g.First = at
		}
		if !at.Before(g.Last) {
			g.Last, g.Message = at, e.Message
		}
		return nil
	})
	out := []quarantineGroup{}
	for _, g := range groups {
		out = append(out, *g)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Records != out[j].Records {
			return out[i].Records > out[j].Records
		}
		return out[i].Pipeline+" "+out[i].Reason < out[j].Pipeline+" "+out[j].Reason
	})
	return out, err
}

// dlqGroups prints what is in quarantine by reason, the largest group first.
func (c *cli) dlqGroups(ctx context.Context, dir string, q quarantineQuery) error {
	var groups []quarantineGroup
	if err := c.ask(ctx, dir, askGroups, q, &groups); err != nil {
		return err
	}
	rows := make([][]string, 0, len(groups))
	for i := range groups {
		g := &groups[i]
		if c.json {
			if err := c.line(g); err != nil {
				return err
			}
		}
		by := "pipeline"
		if g.ByApp {
			by = "app"
		}
		rows = append(rows, []string{strconv.FormatInt(g.Records, 10), g.Reason, g.Pipeline, by, g.First.Format(time.RFC3339), g.Last.Format(time.RFC3339), g.Message})
	}
	if c.json {
		return nil
	}
	if len(groups) == 0 {
		_, err := fmt.Fprintln(c.out, "quarantine is empty")
		return err
	}
	return c.table([]string{"RECORDS", "REASON", "PIPELINE", "BY", "FIRST", "LAST", "LAST MESSAGE"}, rows)
}
