package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

func (c *cli) backfillCommand() *cobra.Command {
	root := group("backfill", "History for pipelines that are new or whose rules changed: approve")
	root.AddCommand(&cobra.Command{
		Use: "approve PIPELINE [DIR]", Short: "Read a pipeline's table again, for one with backfill = \"ask\"", Args: cobra.RangeArgs(1, 2),
		Long: "Let a pipeline with backfill = \"ask\" that is new, or whose rules changed, have the rows that are there: its table is read again, now or when penstock runs next. Records that are as they should be are not sent.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.ask(cmd.Context(), folder(args[1:]), askBackfill, args[0], &struct{}{}); err != nil {
				return err
			}
			if c.json {
				return c.line(map[string]any{"type": "backfill", "pipeline": args[0]})
			}
			_, err := fmt.Fprintf(c.out, "pipeline %s: its table is read again\n", args[0])
			return err
		},
	})
	return root
}

// approveBackfill lets a pipeline have its backfill; a source that is captured here reads the table at once.
func (rt *plant) approveBackfill(ctx context.Context, body json.RawMessage) (any, error) {
	var name string
	if err := json.Unmarshal(body, &name); err != nil {
		return nil, err
	}
	if err := rt.engine.ApproveBackfill(ctx, name); err != nil {
		return nil, err
	}
	for _, pipe := range rt.Pipelines {
		if r := rt.sources[pipe.From.Source]; pipe.Name == name && rt.running && r != nil {
			r.interrupt()
		}
	}
	return struct{}{}, nil
}

// backfill makes a source's resume point such that the tables of pipelines that are to have the rows that are there are
// read again. What it decides is durable before anything is read; done twice, it reads twice and sends nothing twice.
func (rt *plant) backfill(ctx context.Context, r *reading) error {
	if rt.engine == nil {
		return nil
	}
	var tables []string
	var due []*config.Pipeline
	for _, pipe := range rt.Pipelines {
		table := rt.table(pipe)
		if pipe.From.Source != r.name || table == nil {
			continue
		}
		b := rt.engine.Backfill(pipe.Name)
		switch {
		case b.Why == "":
			continue
		case pipe.Backfill == "never":
			slog.Info("history is left out", "pipeline", pipe.Name, "since", "backfill is never")
		case pipe.Backfill == "ask" && !b.Approved:
			slog.Warn("pipeline is "+b.Why+" and waits for penstock backfill approve; live changes go on", "pipeline", pipe.Name, "records", b.Records)
			continue
		default:
			tables = append(tables, table.QualifiedName())
		}
		due = append(due, pipe)
	}
	if len(tables) > 0 {
		slices.Sort(tables)
		resume, rows, err := r.Rejoin(ctx, r.writer.Resume(), slices.Compact(tables))
		if err != nil {
			return err
		}
		for table, n := range rows {
			slog.Info("table is read again, for pipelines that are new or changed", "source", r.name, "table", table, "rows_estimated", n)
		}
		if len(rows) > 0 {
			if err := r.writer.Flush(ctx, resume); err != nil {
				return fmt.Errorf("read tables of source %s again: %w", r.name, err)
			}
		}
	}
	for _, pipe := range due {
		if err := rt.engine.Backfilled(ctx, pipe.Name); err != nil {
			return err
		}
	}
	return nil
}

// capture runs a source until ctx ends; when it is interrupted, it goes on with the tables that are to be read again.
func (rt *plant) capture(ctx context.Context, r *reading) error {
	for {
		if err := rt.backfill(ctx, r); err != nil {
			return err
		}
		run, cancel := context.WithCancel(ctx)
		r.interrupted(cancel)
		err := capture.Run(run, r, watchedWriter{r.writer, r.name, rt.watch}, change.NewEncoder(r.Identity(version)), capture.Options{Stats: r.stats, Failpoint: failpoint})
		again := run.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil || !again {
			return err
		}
	}
}

// loading tells whether tables are being read.
func (r *reading) loading() bool {
	for _, t := range r.Status().Tables {
		if t.Snapshot == "pending" || t.Snapshot == "reading" {
			return true
		}
	}
	return false
}

// tellBackfills says which pipelines of a process that does not capture are to have the rows that are there.
func (rt *plant) tellBackfills() {
	if rt.part != partSink || rt.engine == nil {
		return
	}
	for _, pipe := range rt.Pipelines {
		if b := rt.engine.Backfill(pipe.Name); b.Why != "" && pipe.Backfill != "never" {
			slog.Warn("pipeline is "+b.Why+": penstock source reset, where the source is captured, gives it the rows that are there", "pipeline", pipe.Name, "source", pipe.From.Source)
		}
	}
}

// interrupted says how the source's run is interrupted.
func (r *reading) interrupted(by context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = by
}

// interrupt begins the source's run anew, at the position that it has.
func (r *reading) interrupt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut != nil {
		r.cut()
	}
}
