// Command penstock carries every committed change of a production database to the
// apps a business runs on. docs/ describes its commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // schedules name zones, and the machine may have none

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/config"
)

// Set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

// memoryLimit is what the Go heap is kept below, in bytes, if garbage can be: SQLite has
// some more beside it. The environment variable GOMEMLIMIT replaces it.
const memoryLimit = 58 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes, the same for all commands.
const (
	exitDone        = 0
	exitFailed      = 1
	exitDifferences = 2 // differences were found, with --detailed-exitcode
	exitRemainders  = 3 // done, but records are quarantined, held or stopped by a guard
	exitUsage       = 64
	exitInterrupted = 130
)

// exit is an error that ends the process with its code. Err may be nil when all was said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func execute(args []string, stdout, stderr io.Writer) int {
	if f := terminal(stderr); f != nil {
		stderr = newLoadScreen(f)
	}
	c := &cli{out: stdout, err: stderr}
	root := c.command()
	root.SetArgs(longFlags(args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	ctx, stop := interruptible(stderr)
	defer stop()
	err := root.ExecuteContext(ctx)
	var ex *exit
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &ex):
		if ex.err != nil {
			fmt.Fprintln(stderr, "penstock: "+ex.err.Error())
		}
		return ex.code
	case !c.started: // cobra's own: an unknown command or flag
		fmt.Fprintf(stderr, "penstock: %v\nRun 'penstock --help' for the commands and flags.\n", err)
		return exitUsage
	}
	fmt.Fprintln(stderr, "penstock: "+err.Error())
	return exitFailed
}

// longFlags takes -var and -var-file, as Terraform has them, for the long flags that they are.
func longFlags(args []string) []string {
	out := slices.Clone(args)
	for i, a := range out {
		if a == "--" {
			break
		}
		name, _, _ := strings.Cut(a, "=")
		if name == "-var" || name == "-var-file" {
			out[i] = "-" + a
		}
	}
	return out
}

// interruptible returns a context that the first SIGINT or SIGTERM ends; the second ends the process.
func interruptible(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		fmt.Fprintln(stderr, "penstock: stopping; once more to stop now")
		cancel()
		if _, ok := <-signals; ok {
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}

// cli is what the commands share: where they write and the flags of them all.
type cli struct {
	out, err io.Writer
	json     bool
	format   string
	level    string
	input    config.Input // -var and -var-file
	started  bool         // a command's own code runs: errors are no longer usage
}

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "penstock",
		Short:         "Carry every committed change of a database to the apps a business runs on",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.ValidateFlagGroups(); err != nil {
				return err
			}
			switch c.format {
			case "text", "github":
			case "json":
				c.json = true
			default:
				return fmt.Errorf("--output is text, json or github, not %q", c.format)
			}
			var level slog.Level
			if err := level.UnmarshalText([]byte(c.level)); err != nil {
				return fmt.Errorf("--log-level is debug, info, warn or error, not %q", c.level)
			}
			slog.SetDefault(slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: level})))
			c.started = true
			if c.json {
				return c.line(map[string]any{"type": "version", "penstock": version, "format": "1.0"})
			}
			return nil
		},
	}
	root.PersistentFlags().StringVar(&c.format, "output", "text", "form of the results on stdout: text, json, or github (diagnostics as annotations of a workflow)")
	root.PersistentFlags().StringVar(&c.level, "log-level", "info", "logs on stderr from: debug, info, warn or error")
	root.PersistentFlags().StringArrayVar(&c.input.Vars, "var", nil, "set a variable of the project: -var 'name=value'")
	root.PersistentFlags().StringArrayVar(&c.input.Files, "var-file", nil, "set variables from a file of lines name = value")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(c.versionCommand())
	for _, command := range c.commands() {
		root.AddCommand(command)
	}
	return root
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Version, commit and Go version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if c.json {
				return c.line(map[string]any{"type": "build", "version": version, "commit": commit, "go": runtime.Version()})
			}
			_, err := fmt.Fprintf(c.out, "penstock %s (commit %s, %s)\n", version, commit, runtime.Version())
			return err
		},
	}
}
