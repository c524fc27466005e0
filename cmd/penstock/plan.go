package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// planOptions are the flags of plan.
type planOptions struct {
	pipeline   string
	sample     int64 // rows a table; 0: all
	showValues bool
	detailed   bool
	out        string
}

// planned is what a run would do for one pipeline; its JSON form is part of the output format.
type planned struct {
	Type     string        `json:"type"`
	Pipeline string        `json:"pipeline"`
	Source   string        `json:"source"`
	Table    string        `json:"table"`
	App      string        `json:"app"`
	Object   string        `json:"object"`
	Rows     int64         `json:"rows_read"`
	Sampled  bool          `json:"sampled"` // the table has more rows: nothing is known of rows that are gone
	Counts   planCounts    `json:"records"`
	Rejects  []planReject  `json:"rejects"`
	Guards   []planGuard   `json:"guards"`
	Calls    int64         `json:"calls"`
	Minutes  float64       `json:"minutes"` // at the app's quota; 0: it has none that is known
	Notes    []string      `json:"notes,omitempty"`
	rejects  []*planReject // as they come, by reason
}

// planCounts counts records by what becomes of them.
type planCounts struct {
	Create  int64 `json:"create"`
	Change  int64 `json:"change"`
	Adopt   int64 `json:"adopt"`
	Archive int64 `json:"archive"`
	Delete  int64 `json:"delete"`
	Set     int64 `json:"set"`
	Leave   int64 `json:"leave"`
	Reject  int64 `json:"reject"`
	Filter  int64 `json:"filter"`
	Hold    int64 `json:"hold"`
}

// any tells whether something would be sent.
func (c *planCounts) any() bool { return c.Create+c.Change+c.Adopt+c.Archive+c.Delete+c.Set > 0 }

func (c *planCounts) add(d *sink.Decision) {
	switch {
	case d.Verdict == sink.WillCreate:
		c.Create++
	case d.Verdict == sink.WillChange && d.Adopted:
		c.Adopt++
	case d.Verdict == sink.WillChange:
		c.Change++
	case d.Verdict == sink.WillArchive:
		c.Archive++
	case d.Verdict == sink.WillDelete:
		c.Delete++
	case d.Verdict == sink.WillSet:
		c.Set++
	case d.Verdict == sink.WillReject:
		c.Reject++
	case d.Verdict == sink.WillFilter:
		c.Filter++
	case d.Verdict == sink.WillHold:
		c.Hold++
	default:
		c.Leave++
	}
}

// planReject is a group of rejected rows.
type planReject struct {
	Reason   string        `json:"reason"`
	Records  int64         `json:"records"`
	Examples []planExample `json:"examples,omitempty"`
}

// planExample is a rejected row; Key is null where it is personal data and was not asked for.
type planExample struct {
	Key     json.RawMessage `json:"key"`
	Message string          `json:"message,omitempty"` // it may have values of the row
}

// planGuard is what a guard would say.
type planGuard struct {
	Kind    string `json:"kind"` // creates, changes, deletes
	Records int64  `json:"records"`
	Sent    int64  `json:"sent_in_the_hour"`
	Limit   int64  `json:"limit"`
	Stops   bool   `json:"stops"`
}

// planApp is what all pipelines of an app come to.
type planApp struct {
	Type    string  `json:"type"`
	App     string  `json:"app"`
	Calls   int64   `json:"calls"`
	Minutes float64 `json:"minutes"`
	Day     int     `json:"calls_left_today,omitempty"`
}

func (c *cli) planCommand() *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use: "plan [DIR]", Short: "What a run would do now: records to create, change, archive, reject; calls; guards", Args: cobra.MaximumNArgs(1),
		Long: `Read the sources' tables and say what a run would do about each row, given what the apps have: from the state, and of rows that it does not know, read from the app.
Nothing is changed anywhere, and it may be used while penstock runs. No values are printed unless --show-values asks for them.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.sample < 0:
				return &exit{exitUsage, errors.New("--sample is how many rows of a table to read, 1 or more")}
			case o.out != "" && o.pipeline != "":
				return &exit{exitUsage, errors.New("--out is for a plan of all pipelines: leave out --pipeline")}
			}
			return c.plan(cmd.Context(), folder(args), o)
		},
	}
	cmd.Flags().StringVar(&o.pipeline, "pipeline", "", "for this pipeline alone")
	cmd.Flags().Int64Var(&o.sample, "sample", 0, "read so many rows of each table at most, the first by key (default all)")
	cmd.Flags().BoolVar(&o.showValues, "show-values", false, "with messages of rejections and keys that are personal data")
	cmd.Flags().BoolVar(&o.detailed, "detailed-exitcode", false, "end with 2 when there is anything to send")
	cmd.Flags().StringVar(&o.out, "out", "", "save the plan in a file, for penstock run --plan")
	return cmd
}

// dryRun says what a run would do once it has caught up, after the checks that a run begins with. It is a plan: what a run
// brings about in the end is what the tables say now, and a slot that is read is one that capture can't have.
func (c *cli) dryRun(ctx context.Context, dir string) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	failures := p.checkSources(ctx)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	err := c.planProject(ctx, p, planOptions{})
	if ctx.Err() != nil {
		return &exit{exitInterrupted, errors.New("interrupted; nothing was changed")}
	}
	return err
}

func (c *cli) plan(ctx context.Context, dir string, o planOptions) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	return c.planProject(ctx, p, o)
}

// planProject plans the pipelines of a project that has no errors so far.
func (c *cli) planProject(ctx context.Context, p *project, o planOptions) error {
	if o.pipeline != "" && p.Project.Pipeline(o.pipeline) == nil {
		return p.unknownPipeline(o.pipeline)
	}
	if err := p.describe(ctx); err != nil {
		return err
	}
	programs, err := p.compile(ctx, p.live, func(string, string) bool { return false })
	if err != nil {
		return err
	}
	if err := c.refuse(p); err != nil {
		return err
	}
	store, err := p.readState()
	if err != nil {
		return err
	}
	if store != nil {
		defer func() { _ = store.Close() }() // it was only read
	}
	saved := savedPlan{Format: planFormat, Time: time.Now().UTC(), Penstock: version}
	totals := map[string]*planApp{}
	anything := false
	for _, pipe := range p.Pipelines {
		if o.pipeline != "" && pipe.Name != o.pipeline {
			continue
		}
		pl := &planner{project: p, store: store, pipe: pipe, program: programs[pipe.Name], table: p.table(pipe), o: o, progress: c.progress(pipe.Name)}
		mark, err := pl.mark(ctx)
		if err != nil {
			return err
		}
		out, err := pl.run(ctx)
		pl.progress(-1)
		if err != nil {
			return fmt.Errorf("plan pipeline %s: %w", pipe.Name, err)
		}
		anything = anything || out.Counts.any()
		total := totals[pipe.To.App]
		if total == nil {
			total = &planApp{Type: "plan_app", App: pipe.To.App}
			totals[pipe.To.App] = total
		}
		l := p.apps[pipe.To.App].Limits(pipe.To.Object)
		total.Calls += out.Calls
		total.Minutes = minutes(total.Calls, l)
		if l.Day > 0 {
			total.Day = l.DayLeft
		}
		mark.Plan = out
		saved.Pipelines = append(saved.Pipelines, mark)
		if err := c.writePlanned(out); err != nil {
			return err
		}
	}
	for _, app := range sortedKeys(totals) {
		if err := c.writePlanApp(totals[app]); err != nil {
			return err
		}
	}
	if o.out != "" {
		if err := saved.write(o.out); err != nil {
			return err
		}
	}
	if o.detailed && anything {
		return &exit{code: exitDifferences}
	}
	return nil
}

// readState opens the project's state for reading, also while a process writes it; nil: there is none.
func (p *project) readState() (*state.SQLite, error) {
	for _, part := range []string{partAll, partSink} {
		store, err := state.ReadSQLite(filepath.Join(p.partFolder(part), "state.db"))
		if !errors.Is(err, fs.ErrNotExist) {
			return store, err
		}
	}
	return nil, nil
}

// progress returns a function that shows on a terminal how many rows were read; negative: the end.
func (c *cli) progress(pipeline string) func(rows int64) {
	if terminal(c.err) == nil {
		return func(int64) {}
	}
	return showProgress(c.err, pipeline)
}

func showProgress(w io.Writer, pipeline string) func(rows int64) {
	var last time.Time
	return func(rows int64) {
		switch {
		case rows < 0:
			fmt.Fprint(w, "\r\033[K")
		case time.Since(last) > 200*time.Millisecond:
			last = time.Now()
			fmt.Fprintf(w, "\r%s: %d rows read\033[K", pipeline, rows)
		}
	}
}

// minutes is how long calls take at an app's quota; 0: it has none that is known.
func minutes(calls int64, l sink.Limits) float64 {
	if l.Calls <= 0 || l.Window <= 0 {
		return 0
	}
	return float64(calls) / float64(l.Calls) * l.Window.Minutes()
}

func (c *cli) writePlanned(p *planned) error {
	if c.json {
		return c.line(p)
	}
	read := fmt.Sprintf("all %d rows", p.Rows)
	if p.Sampled {
		read = fmt.Sprintf("the first %d rows", p.Rows)
	}
	fmt.Fprintf(c.out, "%s: %s of %s, into %s of %s\n", p.Pipeline, read, p.Table, p.Object, p.App)
	n := &p.Counts
	var words []string
	for _, w := range []struct {
		n    int64
		text string
	}{
		{n.Create, "to create"}, {n.Change, "to change"}, {n.Adopt, "to adopt"}, {n.Archive, "to archive"}, {n.Delete, "to delete"}, {n.Set, "to set, without a row"},
		{n.Leave, "to leave as they are"}, {n.Reject, "to reject"}, {n.Filter, "filtered"}, {n.Hold, "held for a decision"},
	} {
		if w.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", w.n, w.text))
		}
	}
	if len(words) == 0 {
		words = []string{"nothing"}
	}
	fmt.Fprintf(c.out, "  %s\n", strings.Join(words, ", "))
	for _, r := range p.Rejects {
		fmt.Fprintf(c.out, "  reject %s: %d", r.Reason, r.Records)
		for i, e := range r.Examples {
			key := "(personal data)"
			if !bytes.Equal(e.Key, []byte("null")) {
				key = string(e.Key)
			}
			fmt.Fprint(c.out, [2]string{", as ", ", "}[min(i, 1)]+key)
			if e.Message != "" {
				fmt.Fprintf(c.out, " (%s)", e.Message)
			}
		}
		fmt.Fprintln(c.out)
	}
	for _, g := range p.Guards {
		says := "lets them go"
		if g.Stops {
			says = "would stop them, until penstock guard approve"
		}
		fmt.Fprintf(c.out, "  guard on %s %s: %d to go, %d sent in the last hour, limit %d", g.Kind, says, g.Records, g.Sent, g.Limit)
		if first := g.Limit - g.Sent; g.Stops && first > 0 {
			fmt.Fprintf(c.out, "; up to %d may go before it sees more", first)
		}
		fmt.Fprintln(c.out)
	}
	for _, note := range p.Notes {
		fmt.Fprintf(c.out, "  note: %s\n", note)
	}
	return nil
}

func (c *cli) writePlanApp(a *planApp) error {
	if c.json {
		return c.line(a)
	}
	fmt.Fprintf(c.out, "app %s: %d calls", a.App, a.Calls)
	switch {
	case a.Minutes >= 1:
		fmt.Fprintf(c.out, ", about %.0f minutes at its quota", a.Minutes)
	case a.Minutes > 0 && a.Calls > 0:
		fmt.Fprint(c.out, ", less than a minute at its quota")
	}
	if a.Day > 0 {
		fmt.Fprintf(c.out, "; %d calls are left today", a.Day)
	}
	_, err := fmt.Fprintln(c.out)
	return err
}
