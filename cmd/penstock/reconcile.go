package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/ops/control"
	"github.com/penstock-cdc/penstock/sink"
)

// reconcileQuery chooses pipelines; Only and Repair are about what an earlier answer named, by pipeline.
type reconcileQuery struct {
	Pipeline       string
	Examples       int
	ShowValues     bool
	CallsPerSecond float64
	Only           map[string][]sink.DriftRef
	Repair         bool
}

// reconciled is one pipeline's; its JSON form is part of the output format.
type reconciled struct {
	Type      string               `json:"type"`
	Pipeline  string               `json:"pipeline"`
	Ledgers   string               `json:"ledgers"` // ok, or how they do not add up
	Rows      int64                `json:"rows"`
	Records   int64                `json:"records"`
	ReadBack  int64                `json:"read_back"`
	Calls     int64                `json:"calls"`
	Apart     map[string]int64     `json:"apart"` // what can't be compared now, by why
	Drift     map[sink.Drift]int64 `json:"drift"`
	Examples  []driftExample       `json:"examples"`
	Unchecked []string             `json:"unchecked,omitempty"`
	Behind    bool                 `json:"behind,omitempty"`
	Plan      *repairPlan          `json:"plan,omitempty"`
	Repaired  int64                `json:"repaired,omitempty"`
	More      bool                 `json:"more,omitempty"` // there is more drift than one repair takes
	Refs      []sink.DriftRef      `json:"refs,omitempty"` // between process and command alone
}

// driftExample is one record that drifts.
type driftExample struct {
	Kind   sink.Drift      `json:"kind"`
	Key    json.RawMessage `json:"key"`
	Fields []driftField    `json:"fields,omitempty"`
}

// driftField has values only when they were asked for.
type driftField struct {
	Name string          `json:"name"`
	Want json.RawMessage `json:"want,omitempty"`
	Have json.RawMessage `json:"have,omitempty"`
}

// repairPlan is what a repair would send.
type repairPlan struct {
	Changes   int64    `json:"changes"`
	Creates   int64    `json:"creates"`
	Removals  int64    `json:"removals"`
	Held      int64    `json:"held"`
	Forgotten int64    `json:"forgotten"`
	Guards    []string `json:"guards,omitempty"`
}

// reconcileProgress is how far the process is.
type reconcileProgress struct {
	Pipeline string `json:"pipeline"`
	Stage    string `json:"stage"`
	Done     int64  `json:"done"`
}

func (rt *plant) reconcile(ctx context.Context, q reconcileQuery) ([]reconciled, error) {
	out := []reconciled{}
	defer rt.reconciling.Store(nil)
	for _, pipe := range rt.Pipelines {
		only, chosen := q.Only[pipe.Name]
		if q.Pipeline != "" && q.Pipeline != pipe.Name || q.Only != nil && !chosen {
			continue
		}
		done, err := rt.engine.Reconcile(ctx, pipe.Name, sink.ReconcileOptions{
			CallsPerSecond: q.CallsPerSecond, Examples: q.Examples, Only: only, Repair: q.Repair,
			Progress: func(stage string, n int64) { rt.reconciling.Store(&reconcileProgress{pipe.Name, stage, n}) },
		})
		if err != nil {
			return nil, err
		}
		out = append(out, reconciledOf(done, q))
	}
	if len(out) == 0 && q.Pipeline != "" {
		names := make([]string, len(rt.Pipelines))
		for i, pipe := range rt.Pipelines {
			names[i] = pipe.Name
		}
		hint := ""
		if s := config.Suggest(q.Pipeline, names); s != "" {
			hint = fmt.Sprintf(": did you mean %s?", s)
		}
		return nil, fmt.Errorf("there is no pipeline %q%s", q.Pipeline, hint)
	}
	return out, nil
}

func reconciledOf(d *sink.Reconciled, q reconcileQuery) reconciled {
	r := reconciled{
		Type: "reconciled", Pipeline: d.Pipeline, Ledgers: "ok", Rows: d.Rows, Records: d.Records, ReadBack: d.InApp, Calls: d.Calls, Apart: d.Apart,
		Drift: d.Drift, Examples: []driftExample{}, Unchecked: d.Unchecked, Behind: d.Behind, Repaired: d.Repaired, More: d.More, Refs: d.Refs,
	}
	if d.Wrong != "" {
		r.Ledgers = d.Wrong
	}
	if d.Total() > 0 && !q.Repair {
		plan := repairPlan(d.Plan)
		r.Plan = &plan
	}
	for _, e := range d.Examples {
		shown := driftExample{Kind: e.Kind, Key: keyJSON(e.Key)}
		for _, f := range e.Fields {
			field := driftField{Name: f.Name}
			if q.ShowValues {
				field.Want, field.Have = plainValue(f.Want), plainValue(f.Have)
			}
			shown.Fields = append(shown.Fields, field)
		}
		r.Examples = append(r.Examples, shown)
	}
	return r
}

func (r *reconciled) total() (n int64) {
	for _, c := range r.Drift {
		n += c
	}
	return n
}

func (c *cli) reconcileCommand() *cobra.Command {
	var q reconcileQuery
	var detailed, repair, yes bool
	cmd := &cobra.Command{
		Use: "reconcile [PIPELINE] [DIR]", Short: "Prove ledgers, records and apps against each other, and list or repair what drifts", Args: cobra.MaximumNArgs(2),
		Long: `Count the ledgers anew, compare every row of the source with the record that is kept of it, and read every record back from the app, slowly.
What is on its way, held or refused is no drift, and is counted apart. Nothing is changed.

With --repair what drifts is, after a plan was shown and agreed to, put among what is to be sent: guards, ledgers and history see it as any change.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			switch {
			case len(args) == 2:
				q.Pipeline, dir = args[0], args[1]
			case len(args) == 1 && isFolder(args[0]):
				dir = args[0]
			case len(args) == 1:
				q.Pipeline = args[0]
			}
			if q.Examples < 0 || q.CallsPerSecond < 0 {
				return &exit{exitUsage, fmt.Errorf("--examples and --calls-per-second take no negative number")}
			}
			drifts, err := c.reconcile(cmd.Context(), dir, q, repair, yes, cmd.InOrStdin())
			if err == nil && drifts && detailed {
				return &exit{code: exitDifferences}
			}
			return err
		},
	}
	cmd.Flags().IntVar(&q.Examples, "examples", 5, "records to name of each kind of drift")
	cmd.Flags().BoolVar(&q.ShowValues, "show-values", false, "with the values that differ, personal data too")
	cmd.Flags().Float64Var(&q.CallsPerSecond, "calls-per-second", 0, "calls to the app at most (default: a tenth of what it allows)")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "end with 2 when something drifts")
	cmd.Flags().BoolVar(&repair, "repair", false, "after asking, have what drifts sent again")
	cmd.Flags().BoolVar(&yes, "yes", false, "repair without asking")
	return cmd
}

// reconcile tells whether something drifts, or did before it was repaired.
func (c *cli) reconcile(ctx context.Context, dir string, q reconcileQuery, repair, yes bool, in io.Reader) (bool, error) {
	all, err := c.askReconcile(ctx, dir, q)
	if err != nil {
		return false, err
	}
	drifts, only, n := false, map[string][]sink.DriftRef{}, 0
	for i := range all {
		r := &all[i]
		drifts = drifts || r.total() > 0 || r.Ledgers != "ok"
		if len(r.Refs) > 0 {
			only[r.Pipeline] = r.Refs
			n += len(r.Refs)
		}
		r.Refs = nil
		if err := c.writeReconciled(r); err != nil {
			return drifts, err
		}
	}
	if !repair || n == 0 {
		return drifts, nil
	}
	if !yes {
		fmt.Fprintf(c.err, "Have %d records sent again? Only yes is taken for it: ", n)
		line, _ := bufio.NewReader(in).ReadString('\n') // no line is no consent
		if strings.TrimSpace(line) != "yes" {
			return drifts, &exit{exitFailed, fmt.Errorf("nothing was changed; scripts pass --yes")}
		}
	}
	// A pipeline at a time: what one question may carry is bounded.
	for _, name := range sortedKeys(only) {
		q.Only, q.Repair, q.Pipeline, q.Examples = map[string][]sink.DriftRef{name: only[name]}, true, name, 0
		done, err := c.askReconcile(ctx, dir, q)
		if err != nil {
			return drifts, err
		}
		for i := range done {
			r := &done[i]
			r.Type, r.Refs = "repaired", nil
			if c.json {
				if err := c.line(r); err != nil {
					return drifts, err
				}
				continue
			}
			fmt.Fprintf(c.out, "%s: %d of %d records are to be sent again; penstock status shows how far that is\n", name, r.Repaired, len(only[name]))
			for _, u := range r.Unchecked {
				if strings.Contains(u, "partitions") {
					fmt.Fprintln(c.out, "  "+u)
				}
			}
		}
	}
	return drifts, nil
}

// askReconcile asks, and on a terminal shows how far the running process is meanwhile.
func (c *cli) askReconcile(ctx context.Context, dir string, q reconcileQuery) (all []reconciled, err error) {
	if terminal(c.err) != nil && !c.json {
		watch, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.watchReconcile(watch, dir)
		}()
		defer func() {
			stop()
			<-ended
		}()
	}
	err = c.ask(ctx, dir, askReconcile, q, &all)
	return all, err
}

func (c *cli) watchReconcile(ctx context.Context, dir string) {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return // the question itself says so
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	shown := false
	for {
		select {
		case <-ctx.Done():
			if shown {
				fmt.Fprint(c.err, "\r\x1b[K")
			}
			return
		case <-tick.C:
		}
		for _, part := range []string{partAll, partSink} {
			var at reconcileProgress
			if err := control.Call(ctx, control.Dial(socketOf(p, part)), http.MethodPost, "/ask/"+askReconciling, struct{}{}, &at); err == nil && at.Pipeline != "" {
				fmt.Fprintf(c.err, "\r\x1b[K%s: %s %d", at.Pipeline, at.Stage, at.Done)
				shown = true
				break
			}
		}
	}
}

var driftTexts = map[sink.Drift]string{
	sink.RowMissing: "rows without a record", sink.RowDiffers: "rows of which other values were sent", sink.RowLeft: "records whose row is not the pipeline's any more",
	sink.RowGone: "records whose row is gone", sink.AppMissing: "records that the app has lost", sink.AppArchived: "records that are archived in the app",
	sink.AppDiffers: "records with other values in the app",
}

func (c *cli) writeReconciled(r *reconciled) error {
	if c.json {
		return c.line(r)
	}
	fmt.Fprintf(c.out, "%s: %d rows, %d records, %d read back from the app with %d calls\n", r.Pipeline, r.Rows, r.Records, r.ReadBack, r.Calls)
	if r.Ledgers == "ok" {
		fmt.Fprintln(c.out, "  ledgers add up")
	} else {
		fmt.Fprintln(c.out, "  LEDGERS: "+r.Ledgers)
	}
	if r.total() == 0 {
		fmt.Fprintln(c.out, "  nothing drifts")
	}
	for _, kind := range sink.Drifts {
		if r.Drift[kind] == 0 {
			continue
		}
		fmt.Fprintf(c.out, "  %s: %d %s\n", kind, r.Drift[kind], driftTexts[kind])
		for _, e := range r.Examples {
			if e.Kind != kind {
				continue
			}
			texts := make([]string, len(e.Fields))
			for i, f := range e.Fields {
				if texts[i] = f.Name; f.Want != nil || f.Have != nil {
					texts[i] += fmt.Sprintf(" (%s, not %s)", valueText(f.Have), valueText(f.Want))
				}
			}
			fmt.Fprintf(c.out, "    %s  %s\n", e.Key, strings.Join(texts, ", "))
		}
	}
	for _, why := range sortedKeys(r.Apart) {
		fmt.Fprintf(c.out, "  not compared, %s: %d\n", why, r.Apart[why])
	}
	for _, u := range r.Unchecked {
		fmt.Fprintln(c.out, "  not checked: "+u)
	}
	if r.Behind {
		fmt.Fprintln(c.out, "  penstock does not run, so that what the source has changed since looks like drift too")
	}
	if p := r.Plan; p != nil {
		fmt.Fprintf(c.out, "  a repair would send %d changes, %d creates and %d removals", p.Changes, p.Creates, p.Removals)
		if p.Held > 0 {
			fmt.Fprintf(c.out, ", and hold %d (on \"app_delete\")", p.Held)
		}
		if p.Forgotten > 0 {
			fmt.Fprintf(c.out, ", and leave %d alone from then on (on \"app_delete\")", p.Forgotten)
		}
		fmt.Fprintln(c.out)
		for _, g := range p.Guards {
			fmt.Fprintln(c.out, "  guard on "+g)
		}
	}
	if r.More {
		fmt.Fprintln(c.out, "  one repair takes the first of them: run it again for the rest")
	}
	return nil
}
