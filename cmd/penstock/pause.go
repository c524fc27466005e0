package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

// timing says what becomes of a pipeline's sending.
type timing struct {
	Pipeline string
	Paused   bool
	Now      bool // begin a run of its schedule
}

func (c *cli) pauseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pause PIPELINE [DIR]", Short: "Stop sending for a pipeline, until resume", Args: cobra.RangeArgs(1, 2),
		Long: "Stop sending for a pipeline, until penstock resume, also when penstock is started anew. Changes are taken in all the while; calls that are under way end.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.timing(cmd.Context(), folder(args[1:]), timing{Pipeline: args[0], Paused: true}, "paused; its changes are taken in and wait")
		},
	}
}

func (c *cli) resumeCommand() *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use: "resume PIPELINE [DIR]", Short: "Let a paused pipeline go on; with --now, run one with a schedule out of turn", Args: cobra.RangeArgs(1, 2),
		Long: "Let a paused pipeline go on. One that has a schedule sends at its next tick, or at once if a tick was missed while it was paused; with --now a run begins at once, whatever the schedule says.",
		RunE: func(cmd *cobra.Command, args []string) error {
			done := "sends again"
			if now {
				done = "runs now"
			}
			return c.timing(cmd.Context(), folder(args[1:]), timing{Pipeline: args[0], Now: now}, done)
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "begin a run of the pipeline's schedule")
	return cmd
}

func (c *cli) timing(ctx context.Context, dir string, t timing, done string) error {
	if err := c.ask(ctx, dir, askTiming, t, &struct{}{}); err != nil {
		return err
	}
	if c.json {
		return c.line(map[string]any{"type": "timing", "pipeline": t.Pipeline, "paused": t.Paused, "now": t.Now})
	}
	_, err := fmt.Fprintf(c.out, "pipeline %s: %s\n", t.Pipeline, done)
	return err
}

func (rt *plant) timing(ctx context.Context, body json.RawMessage) (any, error) {
	var t timing
	if err := json.Unmarshal(body, &t); err != nil {
		return nil, err
	}
	if err := rt.engine.Pause(ctx, t.Pipeline, t.Paused); err != nil || !t.Now {
		return struct{}{}, err
	}
	return struct{}{}, rt.engine.RunNow(ctx, t.Pipeline)
}
