package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/schema"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/transform"
	"github.com/penstock-cdc/penstock/trial"
)

func (c *cli) testCommand() *cobra.Command {
	var run, junit string
	cmd := &cobra.Command{
		Use: "test [DIR]", Short: "Run the test blocks of a project, with no network", Args: cobra.MaximumNArgs(1),
		Long: "Run the test blocks of a project: each row goes through its pipeline, and what would be sent is compared with what is expected.\nColumns and fields have the types of " + schema.FileName + ", so no database and no app is asked: penstock schema pull writes it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			only, err := regexp.Compile(run)
			if err != nil {
				return &exit{exitUsage, fmt.Errorf("--run is no regular expression: %w", err)}
			}
			return c.test(cmd.Context(), folder(args), only, junit)
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "only cases whose \"pipeline/name\" this regular expression matches")
	cmd.Flags().StringVar(&junit, "junit", "", "write the results to this file too, as JUnit's XML")
	return cmd
}

func (c *cli) test(ctx context.Context, dir string, only *regexp.Regexp, junit string) error {
	p := c.loadAs(dir, false)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	if len(p.Tests) > 0 && !p.useLock() && !p.diags.HasErrors() {
		return &exit{exitFailed, fmt.Errorf("tests need %s, which says what types the columns and fields have: write it with penstock schema pull, and commit it", lockPath(dir))}
	}
	var cases []*trial.Case
	if len(p.Tests) > 0 && !p.diags.HasErrors() {
		programs, err := p.checkLocked(ctx)
		if err != nil {
			return err
		}
		cases = p.cases(programs)
	}
	if p.diags.HasErrors() {
		shown := p.shown()
		if err := p.Print(c.err, c.style(c.err), shown); err != nil {
			return err
		}
		return &exit{exitFailed, fmt.Errorf("no test was run: %s", mistakes(shown))}
	}
	var results []trial.Result
	for _, one := range cases {
		if ctx.Err() != nil {
			return &exit{code: exitInterrupted}
		}
		if only.MatchString(one.Test.Pipeline + "/" + one.Name) {
			results = append(results, one.Run())
		}
	}
	if junit != "" {
		if err := putFile(junit, junitText(p, results), 0o644); err != nil {
			return err
		}
	}
	failed, err := c.reportTests(p, results)
	switch {
	case err != nil:
		return err
	case failed > 0:
		return &exit{code: exitFailed}
	case len(results) == 0 && len(cases) > 0:
		return &exit{exitFailed, fmt.Errorf("no case matches --run %q", only)}
	}
	return nil
}

// cases evaluates the test blocks of the pipelines that are compiled; what is wrong in
// them becomes diagnostics.
func (p *project) cases(programs map[string]*program) (all []*trial.Case) {
	p.diags = append(p.diags, p.CheckTests()...)
	for _, t := range p.Tests {
		prog := programs[t.Pipeline]
		if prog == nil {
			continue // said already
		}
		pipe := prog.pipeline
		on := &trial.Pipeline{Table: prog.table, Spec: specOf(pipe, prog)}
		if app := p.apps[pipe.To.App]; app != nil {
			on.Whole = app.Limits(pipe.To.Object).Whole
		}
		cases, diags := trial.Prepare(t, on, p.TestContext())
		p.diags = append(p.diags, diags...)
		all = append(all, cases...)
	}
	p.diags = config.Normalize(p.diags)
	return all
}

// specOf is what a pipeline says of the sink.
func specOf(pipe *config.Pipeline, prog *program) sink.Spec {
	return sink.Spec{
		Name: pipe.Name, App: pipe.To.App, Object: pipe.To.Object, Program: prog,
		OnDelete: pipe.On.Delete, OnLeave: pipe.On.Leave, OnAppDelete: pipe.On.AppDelete, Linger: pipe.Deliver.Linger,
		SetOnDelete: constants(prog.SetOnDelete()), SetOnLeave: constants(prog.SetOnLeave()),
		Parents: parentsOf(pipe),
		Guard:   sink.Guard{Deletes: sink.Quota(pipe.Guard.MaxDeletes), Changes: sink.Quota(pipe.Guard.MaxChanges), Creates: sink.Quota(pipe.Guard.MaxCreates)},
		Verify:  sink.Verify{Every: pipe.Verify.Every, BeforeWrite: pipe.Verify.BeforeWrite},
	}
}

func constants(fields []transform.Constant) (out []sink.Field) {
	for _, f := range fields {
		out = append(out, sink.Field{Name: f.Name, Value: f.Value})
	}
	return out
}

// testProblem is a difference in the form of --output json.
type testProblem struct {
	What   string `json:"what"`
	Want   string `json:"want,omitempty"`
	Got    string `json:"got,omitempty"`
	Text   string `json:"message,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// reportTests prints the results and returns how many cases failed.
func (c *cli) reportTests(p *project, results []trial.Result) (failed int, err error) {
	for i := range results {
		r := &results[i]
		if len(r.Problems) > 0 {
			failed++
		}
		if c.json {
			problems := []testProblem{}
			for _, x := range r.Problems {
				problems = append(problems, testProblem{x.What, x.Want, x.Got, x.Text, x.Range.Filename, x.Range.Start.Line, x.Range.Start.Column})
			}
			if err := c.line(map[string]any{
				"type": "test", "pipeline": r.Case.Test.Pipeline, "name": r.Case.Name, "passed": len(problems) == 0, "seconds": r.Duration.Seconds(),
				"problems": problems, "file": r.Case.Test.Range.Filename, "line": r.Case.Test.Range.Start.Line,
			}); err != nil {
				return failed, err
			}
			continue
		}
		word := "ok  "
		if len(r.Problems) > 0 {
			word = "FAIL"
		}
		fmt.Fprintf(c.out, "%s  %s: %s\n", word, r.Case.Test.Pipeline, r.Case.Name)
		for j := range r.Problems {
			fmt.Fprintf(c.out, "      %s: %s\n", p.PlaceOf(r.Problems[j].Range), r.Problems[j].String())
		}
	}
	if c.json {
		return failed, c.line(map[string]any{"type": "summary", "cases": len(results), "failed": failed})
	}
	_, err = fmt.Fprintf(c.out, "%d cases, %d failed\n", len(results), failed)
	return failed, err
}

// The elements of JUnit's XML that test tools read.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		File    string        `xml:"file,attr"`
		Line    int           `xml:"line,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitFailure `xml:"failure,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func junitText(p *project, results []trial.Result) []byte {
	var all junitSuites
	at := map[string]int{}
	spent := map[string]time.Duration{}
	for i := range results {
		r := &results[i]
		name := r.Case.Test.Pipeline
		n, ok := at[name]
		if !ok {
			n = len(all.Suites)
			at[name] = n
			all.Suites = append(all.Suites, junitSuite{Name: name})
		}
		s := &all.Suites[n]
		one := junitCase{Class: name, Name: r.Case.Name, File: r.Case.Test.Range.Filename, Line: r.Case.Test.Range.Start.Line, Time: secondsText(r.Duration)}
		if len(r.Problems) > 0 {
			s.Failures++
			one.Failure = &junitFailure{Message: r.Problems[0].String()}
			for j := range r.Problems {
				one.Failure.Text += fmt.Sprintf("%s: %s\n", p.PlaceOf(r.Problems[j].Range), r.Problems[j].String())
			}
		}
		s.Tests++
		spent[name] += r.Duration
		s.Time = secondsText(spent[name])
		s.Cases = append(s.Cases, one)
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		panic("encode junit: " + err.Error()) // plain data: cannot fail
	}
	return append([]byte(xml.Header), append(text, '\n')...)
}

func secondsText(d time.Duration) string { return fmt.Sprintf("%.6f", d.Seconds()) }
