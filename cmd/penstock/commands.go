package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/penstock-cdc/penstock/cmd/penstock/demo"
)

// commands are the subcommands, in the order of the docs.
func (c *cli) commands() []*cobra.Command {
	return []*cobra.Command{
		c.runCommand(), c.captureCommand(), c.sinkCommand(), c.initCommand(), c.validateCommand(), c.schemaCommand(), c.testCommand(), c.evalCommand(), c.fmtCommand(), c.statusCommand(), c.dlqCommand(), c.holdCommand(), c.guardCommand(),
		c.pauseCommand(), c.resumeCommand(), c.backfillCommand(),
		c.tapCommand(), c.sourceCommand(), c.stateCommand(), c.simulateCommand(), c.demoCommand(), c.docsCommand(),
		c.historyCommand(),
		c.snapshotCommand(), c.explainCommand(), c.planCommand(), c.forgetCommand(), c.reconcileCommand(),
	}
}

// group is a command that has only subcommands.
func group(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &exit{exitUsage, fmt.Errorf("penstock %s needs a subcommand: penstock %s --help lists them", use, use)}
			}
			return &exit{exitUsage, fmt.Errorf("unknown command %q for penstock %s: penstock %s --help lists them", args[0], use, use)}
		},
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (c *cli) dlqCommand() *cobra.Command {
	var q quarantineQuery
	var each, grouped bool
	root := group("dlq", "Quarantined records: list, show, replay, drop")
	filters := func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&q.Pipeline, "pipeline", "", "of this pipeline")
		cmd.Flags().StringVar(&q.Reason, "reason", "", "with this reason")
		cmd.Flags().StringVar(&q.Key, "key", "", `of this source key, as JSON: '{"id":1}'`)
	}
	list := &cobra.Command{
		Use: "list [DIR]", Short: "What is in quarantine, and why", Args: cobra.MaximumNArgs(1),
		Long: "Print what is in quarantine, grouped by pipeline and reason; with --each, or --key, single entries.\nWith --output json the entries are printed, one a line, and with --grouped the groups.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if grouped || !c.json && !each && q.Key == "" {
				return c.dlqGroups(cmd.Context(), folder(args), q)
			}
			return c.dlqList(cmd.Context(), folder(args), q)
		},
	}
	filters(list)
	list.Flags().BoolVar(&each, "each", false, "single entries")
	list.Flags().BoolVar(&grouped, "grouped", false, "groups by pipeline and reason, also with --output json")
	show := &cobra.Command{
		Use: "show ID [DIR]", Short: "One record: reason, request, event (with its values)", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.ID, err = entryID(args[0]); err != nil {
				return err
			}
			return c.dlqShow(cmd.Context(), folder(args[1:]), q)
		},
	}
	root.AddCommand(list, show, c.dlqSettle("replay", "Take records in again, after a fix: one by its ID, or --all that match", askReplay, &q, filters),
		c.dlqSettle("drop", "Take records out for good: one by its ID, or --all that match", askDrop, &q, filters))
	return root
}

func entryID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return 0, &exit{exitUsage, fmt.Errorf("%q is not an entry's ID: penstock dlq list shows them", text)}
	}
	return id, nil
}

func (c *cli) dlqList(ctx context.Context, dir string, q quarantineQuery) error {
	var entries []quarantined
	if err := c.ask(ctx, dir, askList, q, &entries); err != nil {
		return err
	}
	if c.json {
		for i := range entries {
			if err := c.line(entries[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(entries) == 0 {
		_, err := fmt.Fprintln(c.out, "quarantine is empty")
		return err
	}
	reasons := map[string]int{}
	rows := make([][]string, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		reasons[e.Reason]++
		by := "pipeline"
		if e.ByApp {
			by = "app"
		}
		rows = append(rows, []string{strconv.FormatInt(e.ID, 10), e.Pipeline, string(e.Key), e.Reason, by, e.Time.Format(time.RFC3339), e.Message})
	}
	if err := c.table([]string{"ID", "PIPELINE", "KEY", "REASON", "BY", "SINCE", "MESSAGE"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.out, "%d records: %s\n", len(entries), countsText(reasons))
	return err
}

func countsText(m map[string]int) string {
	parts := make([]string, 0, len(m))
	for _, k := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%d %s", m[k], k))
	}
	return strings.Join(parts, ", ")
}

func (c *cli) dlqShow(ctx context.Context, dir string, q quarantineQuery) error {
	var entries []quarantined
	if err := c.ask(ctx, dir, askList, q, &entries); err != nil {
		return err
	}
	if len(entries) == 0 {
		return fmt.Errorf("there is no entry %d in quarantine", q.ID)
	}
	if c.json {
		return c.line(entries[0])
	}
	e := &entries[0]
	fmt.Fprintf(c.out, "entry %d of pipeline %s\nkey: %s\nreason: %s\nmessage: %s\nevent id: %s\nsince: %s\n", e.ID, e.Pipeline, e.Key, e.Reason, e.Message, e.Event, e.Time.Format(time.RFC3339))
	if e.Request != nil {
		fmt.Fprintln(c.out, "fields that were sent:")
		for _, name := range sortedKeys(e.Request) {
			fmt.Fprintf(c.out, "  %s = %v\n", name, e.Request[name])
		}
	}
	_, err := fmt.Fprintf(c.out, "event: %s\n", e.Value)
	return err
}

func (c *cli) dlqSettle(name, short, question string, q *quarantineQuery, filters func(*cobra.Command)) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " [ID] [DIR]", Short: short, Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) > 0 && !q.All {
				if q.ID, err = entryID(args[0]); err != nil {
					return err
				}
				args = args[1:]
			}
			if q.ID == 0 && !q.All {
				return &exit{exitUsage, errors.New("name an entry by its ID, or choose all that match with --all")}
			}
			var n count
			if err := c.ask(cmd.Context(), folder(args), question, *q, &n); err != nil {
				return err
			}
			return c.counted(name, n.Count)
		},
	}
	filters(cmd)
	cmd.Flags().BoolVar(&q.All, "all", false, "every record that matches the other flags")
	if question == askDrop {
		cmd.Flags().StringVar(&q.Because, "because", "", "why, for the record's history")
	}
	return cmd
}

// counted prints what a command has done to how many records.
func (c *cli) counted(verb string, n int64) error {
	if c.json {
		return c.line(map[string]any{"type": verb, "records": n})
	}
	_, err := fmt.Fprintf(c.out, "%s: %d records\n", verb, n)
	return err
}

// done says what a command has done.
func (c *cli) done(verb, text string) error {
	if c.json {
		return c.counted(verb, 1)
	}
	_, err := fmt.Fprintln(c.out, text)
	return err
}

func (c *cli) holdCommand() *cobra.Command {
	root := group("hold", "Records that wait for a decision, since someone removed them in the app: list, resolve")
	var q holdQuery
	list := &cobra.Command{
		Use: "list [DIR]", Short: "Records that wait for a decision", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []held
			if err := c.ask(cmd.Context(), folder(args), askHolds, q, &all); err != nil {
				return err
			}
			rows := make([][]string, 0, len(all))
			for i := range all {
				h := &all[i]
				if c.json {
					if err := c.line(h); err != nil {
						return err
					}
				}
				rows = append(rows, []string{strconv.FormatInt(h.ID, 10), h.Pipeline, string(h.Key), h.AppKey, h.Time.Format(time.RFC3339)})
			}
			if c.json {
				return nil
			}
			if len(all) == 0 {
				_, err := fmt.Fprintln(c.out, "nothing is held")
				return err
			}
			return c.table([]string{"ID", "PIPELINE", "KEY", "APP KEY", "CHANGED"}, rows)
		},
	}
	list.Flags().StringVar(&q.Pipeline, "pipeline", "", "of this pipeline alone")
	var r holdQuery
	var forget bool
	resolve := &cobra.Command{
		Use: "resolve [ID] [DIR]", Short: "Decide: make the record anew in the app, or forget it", Args: cobra.MaximumNArgs(2),
		Long: "Decide about records that someone removed in the app while their rows are still there: --recreate makes them anew as the rows are now, --forget leaves them out of the app, whatever changes in their rows.",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) > 0 && !r.All {
				if r.ID, err = entryID(args[0]); err != nil {
					return err
				}
				args = args[1:]
			}
			switch {
			case r.ID == 0 && !r.All:
				return &exit{exitUsage, errors.New("name a record by its ID, or choose all with --all")}
			case r.Recreate == forget:
				return &exit{exitUsage, errors.New("say what to do with it: --recreate or --forget")}
			}
			var n count
			if err := c.ask(cmd.Context(), folder(args), askResolve, r, &n); err != nil {
				return err
			}
			return c.counted("resolve", n.Count)
		},
	}
	resolve.Flags().StringVar(&r.Pipeline, "pipeline", "", "of this pipeline alone")
	resolve.Flags().BoolVar(&r.All, "all", false, "every held record")
	resolve.Flags().BoolVar(&r.Recreate, "recreate", false, "make it anew in the app")
	resolve.Flags().BoolVar(&forget, "forget", false, "leave it out of the app")
	root.AddCommand(list, resolve)
	return root
}

func (c *cli) guardCommand() *cobra.Command {
	root := group("guard", "What guards hold: list, approve")
	list := &cobra.Command{
		Use: "list [DIR]", Short: "What guards hold back", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var stops []guardStop
			if err := c.ask(cmd.Context(), folder(args), askGuards, nil, &stops); err != nil {
				return err
			}
			rows := make([][]string, 0, len(stops))
			for _, g := range stops {
				if c.json {
					if err := c.line(g); err != nil {
						return err
					}
				}
				rows = append(rows, []string{g.Pipeline, g.Kind, strconv.FormatInt(g.Queued, 10), strconv.FormatInt(g.Sent, 10), limitText(g), strconv.FormatInt(g.Seen, 10)})
			}
			if c.json {
				return nil
			}
			if len(stops) == 0 {
				_, err := fmt.Fprintln(c.out, "no guard holds anything back")
				return err
			}
			return c.table([]string{"PIPELINE", "KIND", "QUEUED", "SENT IN THE HOUR", "LIMIT", "SEEN"}, rows)
		},
	}
	var a approval
	approve := &cobra.Command{
		Use: "approve PIPELINE [DIR]", Short: "Let through what a guard holds back", Args: cobra.RangeArgs(1, 2),
		Long: "Let through what a guard of the pipeline holds back now, or with --seen what it held back when guard list printed that number; what is queued or changed later counts anew.",
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Pipeline = args[0]
			var n count
			if err := c.ask(cmd.Context(), folder(args[1:]), askApprove, a, &n); err != nil {
				return err
			}
			if n.Count == 0 {
				fmt.Fprintln(c.err, "penstock: no guard holds back what this names; penstock guard list shows what there is")
			}
			return c.counted("approve", n.Count)
		},
	}
	approve.Flags().StringVar(&a.Kind, "kind", "", "creates, changes, deletes or truncate (all by default)")
	approve.Flags().Int64Var(&a.Seen, "seen", 0, "the SEEN number of guard list")
	root.AddCommand(list, approve)
	return root
}

// limitText is the limit that stopped a guard; a TRUNCATE is held whatever the limit.
func limitText(g guardStop) string {
	if g.Kind == "truncate" {
		return "always held"
	}
	return strconv.FormatInt(g.Limit, 10)
}

func (c *cli) sourceCommand() *cobra.Command {
	root := group("source", "What a source has at its server: drop, reset")
	root.AddCommand(&cobra.Command{
		Use: "drop NAME [DIR]", Short: "Remove a source's slot and publication", Args: cobra.RangeArgs(1, 2),
		Long: "Remove what capture made at the database server: the replication slot, which keeps WAL, and the publication.\nTo capture the source again its tables are read anew.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p := c.load(folder(args[1:]))
			if p.diags.HasErrors() {
				return c.refuse(p)
			}
			src := p.sources[args[0]]
			if src == nil {
				return &exit{exitUsage, fmt.Errorf("there is no source %q: it is one of %s", args[0], strings.Join(sortedKeys(p.sources), ", "))}
			}
			if err := src.Drop(cmd.Context()); err != nil {
				return err
			}
			return c.done("drop", fmt.Sprintf("source %s: what capture made for it at the server is removed", args[0]))
		},
	}, &cobra.Command{
		Use: "reset NAME [DIR]", Short: "Give up a source's position: its tables are read again", Args: cobra.RangeArgs(1, 2),
		Long: "Give up a position that leads nowhere any more: a slot that is gone or lost, another server, a purged binlog, a log that lost its end.\nThe source's slot is removed, and its tables are read again when penstock runs next; the apps get only what differs, and what was deleted in between goes through the guard.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.resetSource(cmd.Context(), folder(args[1:]), args[0])
		},
	})
	return root
}

func (c *cli) stateCommand() *cobra.Command {
	root := group("state", "What the sink remembers: backup")
	root.AddCommand(&cobra.Command{
		Use: "backup FILE [DIR]", Short: "Write a consistent copy of the state, while penstock runs or not", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if _, err := os.Stat(path); err == nil {
				return fmt.Errorf("%s exists: name a new file", path)
			}
			if err := c.ask(cmd.Context(), folder(args[1:]), askBackup, path, &struct{}{}); err != nil {
				return err
			}
			return c.done("backup", "the state is copied to "+path)
		},
	})
	return root
}

func (c *cli) demoCommand() *cobra.Command {
	var postgres, cache string
	var port int
	o := demo.Options{}
	cmd := &cobra.Command{
		Use: "demo", Short: "The main job, watched: a database, a CRM, and a kill -9 in the middle", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if postgres != "" {
				return demo.Database(postgres, cache, port, cmd.InOrStdin(), c.out)
			}
			o.DatabaseURL, o.Out, o.Err = os.Getenv("DEMO_DATABASE_URL"), c.out, c.err
			if f, ok := c.out.(*os.File); ok {
				o.Terminal = term.IsTerminal(int(f.Fd()))
			}
			return demo.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "leave everything running at the end, to play with")
	cmd.Flags().DurationVar(&o.Load, "load", 25*time.Second, "how long the workload runs")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 1, "of the workload")
	cmd.Flags().StringVar(&postgres, "postgres", "", "run a Postgres in this folder (for the demo itself)")
	cmd.Flags().StringVar(&cache, "cache", "", "where that Postgres' binaries are kept")
	cmd.Flags().IntVar(&port, "port", 0, "of that Postgres")
	for _, internal := range []string{"postgres", "cache", "port"} {
		_ = cmd.Flags().MarkHidden(internal)
	}
	return cmd
}
