package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/capture"
)

func (c *cli) runCommand() *cobra.Command {
	var o runOptions
	var dry bool
	cmd := &cobra.Command{
		Use: "run [DIR]", Short: "Everything in one process until stopped", Args: cobra.MaximumNArgs(1),
		Long: `Capture the sources, keep the log and push into the apps, in one process, until stopped.

With --until-caught-up the goal is what was committed at the sources when it started (and the snapshot): that is delivered or accounted for,
then a summary is printed and the command ends with 0, or with 3 when records are quarantined, held, stopped by a guard or wait in a paused pipeline.
Schedules are not waited for: what is taken in is sent.

With --dry-run nothing is sent and nothing is kept: sources and apps are read, and for each pipeline it is said what would be created, changed, archived
and rejected, in how many calls and minutes, and what the guards would say. Then it ends.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dry {
				if o != (runOptions{untilCaughtUp: o.untilCaughtUp}) {
					return &exit{exitUsage, errors.New("--dry-run starts nothing: leave out --plan, --timeout and --adopt")}
				}
				return c.dryRun(cmd.Context(), folder(args))
			}
			if o.timeout != 0 && !o.untilCaughtUp {
				return &exit{exitUsage, errors.New("--timeout goes with --until-caught-up")}
			}
			return c.runParts(cmd.Context(), folder(args), partAll, o)
		},
	}
	cmd.Flags().BoolVar(&o.untilCaughtUp, "until-caught-up", false, "end when what is at the sources now is in the apps or accounted for")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "with --until-caught-up: give up after this long, naming what waits")
	cmd.Flags().StringVar(&o.plan, "plan", "", "start only if pipelines, schemas and state are as they were when penstock plan --out wrote this file")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what the run would do, as penstock plan does, and do nothing")
	o.adoptFlag(cmd)
	return cmd
}

// runOptions are the flags of the commands that run a part.
type runOptions struct {
	untilCaughtUp bool
	timeout       time.Duration
	adopt         bool
	plan          string // file of a saved plan; "": none
}

func (o *runOptions) adoptFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.adopt, "adopt", false, "start where log and state are found to differ: only after the damage that penstock named was understood")
}

func (c *cli) captureCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use: "capture [DIR]", Short: "The first half alone: sources into Kafka", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.runParts(cmd.Context(), folder(args), partCapture, o)
		},
	}
	o.adoptFlag(cmd)
	return cmd
}

func (c *cli) sinkCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use: "sink [DIR]", Short: "The second half alone: Kafka into the apps", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.runParts(cmd.Context(), folder(args), partSink, o)
		},
	}
	o.adoptFlag(cmd)
	return cmd
}

var errCaughtUp = errors.New("caught up")

// runParts starts the parts of a project and runs them until stopped, or caught up. What
// a signal cuts short is an orderly end: 0, or 130 for a run until caught up.
func (c *cli) runParts(ctx context.Context, dir, part string, o runOptions) error {
	err := c.runStarted(ctx, dir, part, o)
	if ctx.Err() == nil || fatal(err) {
		return err
	}
	if o.untilCaughtUp {
		return &exit{exitInterrupted, errors.New("interrupted; what was done is saved")}
	}
	return nil
}

func (c *cli) runStarted(ctx context.Context, dir, part string, o runOptions) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	if os.Getenv("GOGC") == "" && (part == partCapture || len(p.Pipelines) == 0) {
		debug.SetGCPercent(40) // capture makes little garbage: 10 MiB less for a fiftieth of the rows/s
	}
	var saved *savedPlan
	if o.plan != "" {
		var err error
		if saved, err = readPlan(o.plan); err != nil {
			return err
		}
	}
	rt, err := openStore(p, part)
	if err != nil {
		return err
	}
	defer rt.close()
	rt.plan = saved
	rt.running, rt.adopt, rt.atOnce = true, o.adopt, o.untilCaughtUp
	if err := rt.openStream(ctx); err != nil {
		return err
	}
	if part != partSink {
		if err := rt.openSources(ctx); err != nil {
			return err
		}
	}
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	if part == partCapture {
		if err := rt.describe(ctx); err != nil {
			return err
		}
	} else {
		if err := rt.openEngine(ctx, true); err != nil {
			return err
		}
		rt.checkRows(ctx)
		rt.tellBackfills()
	}
	if err := c.refuse(p); err != nil {
		return err
	}
	if rt.watch == nil {
		rt.watch = newSchemaWatch(p)
	}
	rt.openAlerts()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopServing, err := rt.serve(ctx)
	if err != nil {
		return err
	}
	defer stopServing()
	if part != partSink {
		defer rt.tellLoads(ctx, c.loadScreen())()
	}
	slog.Info("started", "sources", len(rt.sources), "pipelines", len(p.Pipelines), "pid", os.Getpid())
	releaseProgram()
	if !o.untilCaughtUp {
		return rt.run(ctx)
	}
	return c.catchUp(ctx, cancel, rt, o.timeout)
}

// appPatience is how long an app may be down while --until-caught-up waits for it.
const appPatience = 10 * time.Minute

// catchUp runs until the goal is reached and prints a summary.
func (c *cli) catchUp(ctx context.Context, cancel context.CancelCauseFunc, rt *plant, timeout time.Duration) error {
	goal, err := rt.goal(ctx)
	if err != nil {
		return err
	}
	if timeout > 0 {
		timer := time.AfterFunc(timeout, func() { cancel(errTimeout) })
		defer timer.Stop()
	}
	watched := make(chan error, 1)
	interrupted := ctx
	ctx, stop := context.WithCancelCause(ctx)
	go func() {
		err := goal.wait(ctx)
		stop(errCaughtUp)
		watched <- err
	}()
	err = rt.run(ctx)
	stop(err)
	if werr := <-watched; err == nil {
		err = werr
	}
	if errors.Is(context.Cause(interrupted), errTimeout) {
		return &exit{exitFailed, fmt.Errorf("not caught up after %s: %s", timeout, goal.waits(context.WithoutCancel(ctx)))}
	}
	if interrupted.Err() != nil {
		return err // runParts says the rest
	}
	if err != nil {
		return err
	}
	report, err := rt.status(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	return c.summary(report)
}

var errTimeout = errors.New("timeout")

// summary prints what a run until caught up has done; its error has the exit code.
func (c *cli) summary(r *report) error {
	var left []string
	for i := range r.Pipelines {
		p := &r.Pipelines[i]
		if c.json {
			if err := c.line(p); err != nil {
				return err
			}
		} else {
			e := p.Events
			fmt.Fprintf(c.out, "%s: caught up; %d events taken in: %d applied, %d unchanged, %d superseded, %d filtered, %d rejected, %d held, %d waiting, %d pending; %d records in the app\n",
				p.Pipeline, e.TakenIn, e.Applied, e.Unchanged, e.Superseded, e.Filtered, e.Rejected, e.Held, e.Waiting, e.Pending, p.Keys.InApp)
		}
		if p.Paused != nil && p.Events.Pending > 0 {
			left = append(left, fmt.Sprintf("%s is paused since %s and %d records wait (penstock resume %s)", p.Pipeline, p.Paused.Format(time.RFC3339), p.Events.Pending, p.Pipeline))
			continue
		}
		if p.Keys.Rejected > 0 || p.Events.Held > 0 || p.Guarded > 0 {
			left = append(left, fmt.Sprintf("%s has %d records in quarantine, %d held, %d stopped by guards", p.Pipeline, p.Keys.Rejected, p.Events.Held, p.Guarded))
		}
		for _, w := range p.WaitsFor {
			left = append(left, fmt.Sprintf("%s has %d records that wait for their parent %s (pipeline %s)", p.Pipeline, w.Records, w.Parent, w.Pipeline))
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &exit{exitRemainders, fmt.Errorf("%s: see penstock dlq list, penstock hold list, penstock guard list", strings.Join(left, "; "))}
}

// goal is what a run until caught up is to reach.
type goal struct {
	rt      *plant
	sources map[string]func() bool
	ends    map[string]map[int]int64 // by pipeline: the next offset of each partition, once the sources are reached
}

func (rt *plant) goal(ctx context.Context) (*goal, error) {
	g := &goal{rt: rt, sources: map[string]func() bool{}, ends: map[string]map[int]int64{}}
	for name, src := range rt.sources {
		reached, err := src.Goal(ctx)
		if err != nil {
			return nil, err
		}
		g.sources[name] = reached
	}
	return g, nil
}

// wait returns when the goal is reached, ctx has ended, or an app keeps it from being reached for too long.
func (g *goal) wait(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var downSince time.Time
	for {
		reached, err := g.reached(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if reached {
			return nil
		}
		down := ""
		for _, a := range g.rt.engine.Status().Apps {
			if a.State == "stopped" {
				return fmt.Errorf("app %s is stopped: %s; waiting: %s", a.Name, a.Detail, g.waits(ctx))
			}
			if a.State == "down" {
				down = a.Name + ": " + a.Detail
			}
		}
		switch {
		case down == "":
			downSince = time.Time{}
		case downSince.IsZero():
			downSince = time.Now()
		case time.Since(downSince) > appPatience:
			return fmt.Errorf("app %s stays down; waiting: %s", down, g.waits(ctx))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (g *goal) reached(ctx context.Context) (bool, error) {
	for name, reached := range g.sources {
		if g.rt.sources[name].failure() != nil {
			return false, fmt.Errorf("source %s: %w", name, g.rt.sources[name].failure())
		}
		if !reached() || g.rt.sources[name].loading() {
			return false, nil
		}
	}
	// A parent that has nothing left to do has had its children look at it: so they are asked after it.
	for _, pipe := range g.rt.parentsFirst() {
		if err := g.rt.pipelineFailure(pipe.Name); err != nil {
			return false, err
		}
		if g.ends[pipe.Name] == nil {
			ends, err := g.rt.ends(ctx, g.rt.topics[pipe.Name])
			if err != nil {
				return false, err
			}
			g.ends[pipe.Name] = ends
		}
		progress, err := g.rt.engine.Progress(pipe.Name, g.ends[pipe.Name])
		if err != nil {
			return false, err
		}
		if !progress.CaughtUp() {
			return false, nil
		}
	}
	return true, nil
}

// ends returns the next offset of each of a topic's partitions.
func (rt *plant) ends(ctx context.Context, topic string) (map[int]int64, error) {
	n, err := rt.log.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := map[int]int64{}
	for p := range n {
		if _, out[p], err = rt.log.Bounds(ctx, topic, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// waits says in words what is not there yet.
func (g *goal) waits(ctx context.Context) string {
	var out []string
	for name, reached := range g.sources {
		if !reached() {
			st := capture.Status{}
			if src := g.rt.sources[name]; src != nil {
				st = src.Status()
			}
			out = append(out, fmt.Sprintf("source %s is %s %s", name, st.State, st.Detail))
		}
	}
	if r, err := g.rt.status(ctx); err == nil {
		for i := range r.Pipelines {
			if p := &r.Pipelines[i]; p.LagEvents > 0 || p.Events.Pending > 0 {
				out = append(out, fmt.Sprintf("pipeline %s has %d events to take in and %d to send", p.Pipeline, p.LagEvents, p.Events.Pending))
			}
		}
		for _, a := range r.Apps {
			if a.State != "open" {
				out = append(out, fmt.Sprintf("app %s is %s: %s", a.App, a.State, a.Detail))
			}
		}
	}
	if len(out) == 0 {
		return "nothing that can be named"
	}
	return strings.Join(out, "; ")
}
