package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/ops/control"
)

// snapshotter is a source that reads tables again while it streams.
type snapshotter interface {
	// Snapshot acts on a wish (start, pause, resume, cancel) while the source runs.
	Snapshot(ctx context.Context, action, table string) error
	// Request acts on one while it does not: it returns the resume point that has it.
	Request(ctx context.Context, resume []byte, action, table string) ([]byte, error)
}

// snapshotWish is what the command asks of the running process.
type snapshotWish struct{ Table, Action string }

const askSnapshot = "snapshot"

func (c *cli) snapshotCommand() *cobra.Command {
	flags := map[string]*bool{"pause": new(bool), "resume": new(bool), "cancel": new(bool)}
	wait := false
	cmd := &cobra.Command{
		Use: "snapshot TABLE [DIR]", Short: "Read a table again while streaming; pause, resume or cancel that", Args: cobra.RangeArgs(1, 2),
		Long: `Read a Postgres table again, in chunks, while its changes go on being streamed: the apps get only what differs, and rows that are gone are deleted, through the guard.
TABLE is the label of a table block or schema.table; where several sources have it, SOURCE.schema.table.

Without a running process the wish is kept, and acted on at the next start.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := snapshotWish{Table: args[0], Action: "start"}
			for action, set := range flags {
				if *set {
					w.Action = action
				}
			}
			return c.snapshot(cmd.Context(), folder(args[1:]), w, wait)
		},
	}
	cmd.Flags().BoolVar(flags["pause"], "pause", false, "read no more of the table for now; its changes are streamed")
	cmd.Flags().BoolVar(flags["resume"], "resume", false, "go on with a paused snapshot")
	cmd.Flags().BoolVar(flags["cancel"], "cancel", false, "give the snapshot up; nothing is deleted for it")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the table is read, and show how far that is")
	cmd.MarkFlagsMutuallyExclusive("pause", "resume", "cancel")
	cmd.MarkFlagsMutuallyExclusive("pause", "wait", "cancel")
	cmd.AddCommand(&cobra.Command{
		Use: "list [DIR]", Short: "Tables and how far their snapshots are", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.listSnapshots(cmd.Context(), folder(args)) },
	})
	return cmd
}

func (c *cli) snapshot(ctx context.Context, dir string, w snapshotWish, wait bool) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	name, table, err := p.sourceOf(w.Table)
	if err != nil {
		return &exit{exitUsage, err}
	}
	w.Table = name + "." + table
	running := ""
	for _, part := range []string{partAll, partCapture} {
		socket := socketOf(p, part)
		if _, err := os.Stat(socket); err != nil {
			continue
		}
		var out struct{}
		err := control.Call(ctx, control.Dial(socket), http.MethodPost, "/ask/"+askSnapshot, w, &out)
		if control.NotRunning(err) {
			continue
		}
		if err != nil {
			return err
		}
		running = socket
		break
	}
	if wait && running == "" {
		return errors.New("--wait waits for the process that reads the table, and none runs: start penstock run, or leave --wait out and the wish is kept")
	}
	if running == "" {
		if err := c.keepWish(ctx, p, name, table, w.Action); err != nil {
			return err
		}
	}
	if wait {
		if schema := p.sources[name].TableAliases()[table]; schema != "" {
			table = schema
		}
		return c.waitForLoad(ctx, running, name, table)
	}
	if c.json {
		return c.line(map[string]any{"type": "snapshot", "source": name, "table": table, "action": w.Action, "running": running != ""})
	}
	done := map[string]string{"start": "is read again", "pause": "is paused", "resume": "goes on", "cancel": "is given up"}[w.Action]
	if running == "" {
		done += " when penstock runs next"
	}
	_, err = fmt.Fprintf(c.out, "snapshot of %s: %s; penstock status shows how far it is\n", table, done)
	return err
}

// sourceOf finds the source that a table's name is of. Where the configuration alone does
// not say, the only source is taken.
func (p *project) sourceOf(table string) (source, name string, err error) {
	var found []string
	for _, candidate := range sortedKeys(p.sources) {
		if rest, ok := strings.CutPrefix(table, candidate+"."); ok {
			if _, alias := p.sources[candidate].TableAliases()[rest]; alias || strings.Contains(rest, ".") {
				return candidate, rest, nil
			}
		}
		aliases := p.sources[candidate].TableAliases()
		if _, ok := aliases[table]; ok || slices.Contains(sortedValues(aliases), table) {
			found = append(found, candidate)
		}
	}
	if len(found) == 0 && len(p.sources) == 1 {
		found = sortedKeys(p.sources)
	}
	switch len(found) {
	case 1:
		return found[0], table, nil
	case 0:
		return "", "", fmt.Errorf("which source has table %q? Write SOURCE.%[1]s, SOURCE being one of %s", table, strings.Join(sortedKeys(p.sources), ", "))
	}
	return "", "", fmt.Errorf("sources %s have a table %q: write SOURCE.%[2]s", strings.Join(found, " and "), table)
}

func sortedValues(m map[string]string) []string {
	var out []string
	for _, v := range m {
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

// keepWish writes a wish into the resume point while no process runs.
func (c *cli) keepWish(ctx context.Context, p *project, source, table, action string) error {
	s, ok := p.sources[source].(snapshotter)
	if !ok {
		return errNoSnapshotter(source)
	}
	part := partAll
	if p.Stream.Kind == "kafka" && isFolder(p.partFolder(partCapture)) {
		part = partCapture
	}
	rt, err := openStore(p, part)
	if err != nil {
		return err
	}
	defer rt.close()
	if err := rt.openStream(ctx); err != nil {
		return err
	}
	w, err := rt.log.Writer(ctx, source, rt.store)
	if err != nil {
		return err
	}
	defer w.Close()
	resume, err := s.Request(ctx, w.Resume(), action, table)
	if err != nil {
		return err
	}
	return w.Flush(ctx, resume)
}

func errNoSnapshotter(source string) error {
	return fmt.Errorf("source %s can't read one table again while it streams: penstock source reset %[1]s reads all of them", source)
}

// snapshotNow acts on a wish in the running process.
func (rt *plant) snapshotNow(ctx context.Context, body json.RawMessage) (any, error) {
	var w snapshotWish
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, err
	}
	name, table, _ := strings.Cut(w.Table, ".")
	src := rt.sources[name]
	if src == nil || rt.part == partSink {
		return nil, errors.New("this process captures no such source")
	}
	s, ok := src.database.(snapshotter)
	if !ok {
		return nil, errNoSnapshotter(name)
	}
	if err := src.failure(); err != nil {
		return nil, fmt.Errorf("source %s is not read any more: %w", name, err)
	}
	return struct{}{}, s.Snapshot(ctx, w.Action, table)
}

func (c *cli) listSnapshots(ctx context.Context, dir string) error {
	var r report
	if err := c.ask(ctx, dir, askStatus, struct{}{}, &r); err != nil {
		return err
	}
	for _, s := range r.Sources {
		for _, t := range s.Tables {
			if c.json {
				if err := c.line(map[string]any{"type": "snapshot", "source": s.Source, "table": t.Table, "state": t.Snapshot, "rows": t.SnapshotRows, "bytes": t.SnapshotBytes, "chunks": t.SnapshotChunks, "total": t.SnapshotTotal, "seconds_left": t.SnapshotLeft, "waits": t.SnapshotWaits}); err != nil {
					return err
				}
				continue
			}
			if _, err := fmt.Fprintf(c.out, "%s.%s: %s\n", s.Source, t.Table, t.snapshotText()); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshotText says how far a table's snapshot is.
func (t *tableReport) snapshotText() string {
	text := t.Snapshot
	if text == "" {
		text = "none"
	}
	if t.SnapshotRows > 0 {
		text += fmt.Sprintf(" (%d rows", t.SnapshotRows)
		if t.SnapshotTotal > t.SnapshotRows {
			text += fmt.Sprintf(" of about %d", t.SnapshotTotal)
		}
		if t.SnapshotBytes > 0 {
			text += ", " + bytesText(t.SnapshotBytes)
		}
		if t.SnapshotLeft > 0 {
			text += fmt.Sprintf(", about %.0f s left", t.SnapshotLeft)
		}
		text += ")"
	}
	if t.SnapshotWaits != "" {
		text += ", waits: " + t.SnapshotWaits
	}
	return text
}
