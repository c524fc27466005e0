package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/schema"
)

func (c *cli) validateCommand() *cobra.Command {
	var live bool
	cmd := &cobra.Command{
		Use: "validate [DIR]", Short: "All that is wrong with a project, at once", Args: cobra.MaximumNArgs(1),
		Long: "Check a project and print all diagnostics at once, against schema.lock.json where there is one.\nWith --live also against the databases and apps: settings of the server, privileges, columns, types, fields.",
		RunE: func(cmd *cobra.Command, args []string) error { return c.validate(cmd.Context(), folder(args), live) },
	}
	cmd.Flags().BoolVar(&live, "live", false, "connect to the sources and apps and check against them")
	return cmd
}

// folder is the DIR argument, . by default.
func folder(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

func (c *cli) validate(ctx context.Context, dir string, live bool) error {
	p := c.load(dir)
	var failures []error
	against := "columns and app fields are not checked, as there is no " + schema.FileName + ": penstock schema pull writes it, --live asks the databases and apps"
	switch {
	case live:
		failures = p.checkLive(ctx)
		against = "checked against the live databases and apps"
	case p.useLock():
		programs, err := p.checkLocked(ctx)
		if err != nil {
			return err
		}
		p.cases(programs)
		against = "checked against " + schema.FileName
	default:
		p.cases(nil)
	}
	if err := c.report(p); err != nil {
		return err
	}
	for _, err := range failures {
		fmt.Fprintf(c.err, "penstock: %v\n", err)
	}
	if p.diags.HasErrors() || len(failures) > 0 {
		return &exit{code: exitFailed}
	}
	if c.json {
		return nil
	}
	_, err := fmt.Fprintf(c.out, "%s: %d sources, %d apps, %d pipelines; %s\n", dir, len(p.Sources), len(p.Apps), len(p.Pipelines), against)
	return err
}

// report prints the diagnostics to stdout, where they are the result.
func (c *cli) report(p *project) error {
	return p.Print(c.out, c.style(c.out), p.shown())
}

// shown are the diagnostics without those that the configuration silences.
func (p *project) shown() hcl.Diagnostics {
	return p.Silence(p.Causes(config.Normalize(p.diags)), func(code string) bool { return p.compiled || !strings.HasPrefix(code, "W03") })
}

// checkLive checks sources, apps and pipelines against what is there. What is wrong in
// the configuration becomes diagnostics of the project; the rest is returned.
func (p *project) checkLive(ctx context.Context) (failures []error) {
	failures = p.checkSources(ctx)
	for _, block := range p.Apps {
		if p.apps[block.Name] == nil {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, 30*time.Second)
		if err := p.apps[block.Name].Ping(limit); err != nil {
			var dial *net.OpError
			text := err.Error()
			if errors.As(err, &dial) {
				text += ". Check base_url, and proxy where there is one"
			}
			p.diags = append(p.diags, config.Errorf("E0403", block.Range.Ptr(), fmt.Sprintf("App %q does not answer", block.Name), text))
			delete(p.apps, block.Name)
		}
		cancel()
	}
	for name := range p.sources {
		if p.tables[name] == nil {
			delete(p.sources, name) // its pipelines can't be checked
		}
	}
	programs, err := p.compile(ctx, p.live, func(string, string) bool { return false })
	if err != nil {
		failures = append(failures, err)
	}
	p.cases(programs)
	return failures
}

// checkSources checks the sources and describes their tables, writing nothing. What is wrong with their settings becomes
// diagnostics; the rest is returned.
func (p *project) checkSources(ctx context.Context) (failures []error) {
	for _, block := range p.Sources {
		src := p.sources[block.Name]
		if src == nil {
			continue // its block is wrong
		}
		limit, cancel := context.WithTimeout(ctx, 30*time.Second)
		if err := src.Check(limit, nil); err != nil {
			for _, problem := range unjoin(err) {
				var known *capture.Problem
				if errors.As(problem, &known) && known.Taken && p.hasRun() {
					continue // by this project
				}
				p.diags = append(p.diags, sourceDiagnostic(block, problem))
			}
		}
		if adviser, ok := src.(adviser); ok {
			for _, advice := range adviser.Advice() {
				p.diags = append(p.diags, sourceDiagnostic(block, advice))
			}
		}
		if tables, err := src.Describe(limit); err == nil {
			p.tables[block.Name] = tables
		} else if !p.diags.HasErrors() {
			failures = append(failures, err)
		}
		cancel()
	}
	return failures
}

// adviser is a source whose Check also finds what it can work with, and should not have to.
type adviser interface{ Advice() []*capture.Problem }

// sourceDiagnostic is what a source's Check found, under the code that it has.
func sourceDiagnostic(block *config.Source, err error) *hcl.Diagnostic {
	var p *capture.Problem
	if !errors.As(err, &p) {
		var dial *net.OpError
		var lookup *net.DNSError
		switch {
		case errors.As(err, &lookup):
			err = fmt.Errorf("the host %s is not known (%s): correct it in the url", lookup.Name, lookup.Err)
		case errors.As(err, &dial) && dial.Addr != nil:
			err = fmt.Errorf("%s can't be reached: %w. Check host and port in the url, that the server runs, and that no firewall is in between", dial.Addr, dial.Err)
		}
		return config.Errorf("E0402", block.Range.Ptr(), fmt.Sprintf("Source %q can't be captured", block.Name), err.Error())
	}
	if p.Warning() {
		return config.Warnf(p.Code, block.Range.Ptr(), fmt.Sprintf("Source %q: %s", block.Name, p.What), p.Detail())
	}
	return config.Errorf(p.Code, block.Range.Ptr(), fmt.Sprintf("Source %q can't be captured: %s", block.Name, p.What), p.Detail())
}

// hasRun tells whether the project's data folder has a state.
func (p *project) hasRun() bool {
	for _, part := range []string{partAll, partCapture} {
		if _, err := os.Stat(filepath.Join(p.partFolder(part), "state.db")); err == nil {
			return true
		}
	}
	return false
}

// unjoin returns the errors that errors.Join has put into one, at any depth.
func unjoin(err error) []error {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, unjoin(e)...)
		}
		return out
	}
	return []error{err}
}

// refuse tells whether any diagnostic stands in the way, after printing them all to stderr.
func (c *cli) refuse(p *project) error {
	shown := p.shown()
	if err := p.Print(c.err, c.style(c.err), shown); err != nil {
		return err
	}
	if p.diags.HasErrors() {
		return &exit{exitFailed, fmt.Errorf("nothing was started: %s", mistakes(shown))}
	}
	return nil
}

// mistakes counts the errors.
func mistakes(shown hcl.Diagnostics) string {
	if n := len(errorsOf(shown)); n != 1 {
		return fmt.Sprintf("%d errors in the configuration", n)
	}
	return "1 error in the configuration"
}

func errorsOf(diags hcl.Diagnostics) (out hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			out = append(out, d)
		}
	}
	return out
}
