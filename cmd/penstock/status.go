package main

import (
	"context"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/ops/control"
)

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status [DIR]", Short: "Positions, lag and both ledgers", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := c.gather(cmd.Context(), folder(args))
			if err != nil {
				return err
			}
			return c.writeReport(r)
		},
	}
}

// gather asks the project's process, or with capture and sink apart each of them. What none of them answers for is
// read from what it left.
func (c *cli) gather(ctx context.Context, dir string) (*report, error) {
	p, r := c.load(dir), &report{}
	if err := c.askOf(ctx, p, askStatus, nil, r); err != nil {
		return nil, err
	}
	if p.Stream.Kind != "kafka" {
		return r, nil
	}
	if len(r.Sources) > 0 && r.Running { // both halves in one process, or capture alone
		if len(r.Pipelines) == len(p.Pipelines) {
			return r, nil
		}
		rt, err := c.openQuietly(ctx, p)
		if err != nil {
			return nil, err
		}
		defer rt.close()
		half, err := rt.status(ctx)
		if err != nil {
			return nil, err
		}
		r.Apps, r.Pipelines = half.Apps, half.Pipelines
		return r, nil
	}
	// The sink answered, or nobody.
	var half report
	err := control.Call(ctx, control.Dial(socketOf(p, partCapture)), http.MethodPost, "/ask/"+askStatus, nil, &half)
	if err == nil {
		r.Sources = half.Sources
		if !r.Running {
			r.Running, r.Since = true, half.Since
		}
		return r, nil
	}
	if !control.NotRunning(err) {
		return nil, err
	}
	if _, err := os.Stat(p.partFolder(partCapture)); err != nil {
		return r, nil //nolint:nilerr // nothing was ever captured apart
	}
	rt, err := openStore(p, partCapture)
	if err != nil {
		return nil, err
	}
	defer rt.close()
	if err := rt.openStream(ctx); err != nil {
		return nil, err
	}
	r.Sources = nil
	for _, block := range p.Sources {
		r.Sources = append(r.Sources, rt.left(ctx, &reading{database: p.sources[block.Name], name: block.Name}))
	}
	return r, nil
}

// left reports on a source that no process captures, from what the last one left.
func (rt *plant) left(ctx context.Context, src *reading) sourceReport {
	st := capture.Status{}
	resume, err := rt.log.Resume(ctx, src.name, rt.store)
	if err == nil {
		st, err = src.At(resume)
	}
	st.State, st.Detail = "stopped", "no process captures it"
	if err != nil {
		st.Detail += "; where it stopped can't be read: " + err.Error()
	}
	return src.report(st)
}
