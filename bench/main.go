// Bench measures penstock against the figures that it promises: capture against a
// client that throws away what it reads, the sink against an app that throws away what
// it gets, and the command as a whole for latency, calls and memory. docs/performance.md
// says what each figure means.
//
//	go run ./integration/service/cmd/services run -with postgres18,mysql -- go run ./bench
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// suite is one run of the program: its settings, and the figures so far.
type suite struct {
	rows    int           // changes that a database has for each run
	keys    int           // records of the sink's runs
	shadow  int           // records of the state that is measured
	runs    int           // of each variant; figures are medians
	latency time.Duration // length of one run of single commits
	huge    int           // rows of the largest transaction; 0: not measured
	big     int64         // bytes of the log that a start after kill -9 finds; 0: not measured
	dir     string        // for everything that is written
	profile string        // folder for CPU profiles; "": none
	out     io.Writer

	command string // the built penstock
	figures []figure
}

// benchmark is one group of figures.
type benchmark struct {
	name string
	run  func(*suite, context.Context) error
}

func benchmarks() []benchmark {
	return []benchmark{
		{"postgres", (*suite).postgres},
		{"transaction", (*suite).transaction},
		{"load", (*suite).load},
		{"mysql", (*suite).mysql},
		{"sink", (*suite).sink},
		{"calls", (*suite).calls},
		{"latency", (*suite).delivery},
		{"quota", (*suite).quota},
		{"shadows", (*suite).shadows},
		{"memory", (*suite).memory},
		{"restart", (*suite).restart},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(64)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	s := &suite{out: out}
	var names []string
	for _, b := range benchmarks() {
		names = append(names, b.name)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "run these alone, comma separated: "+strings.Join(names, " "))
	dir := flags.String("dir", "", "folder for the files, on the disk to be measured; a temporary one by default")
	markdown := flags.String("markdown", "", "file for the table, as Markdown")
	flags.IntVar(&s.rows, "rows", 1_000_000, "changes in the database for each run")
	flags.IntVar(&s.keys, "keys", 200_000, "records in the sink's runs")
	flags.IntVar(&s.shadow, "shadows", 1_000_000, "records of the state whose size is measured")
	flags.IntVar(&s.runs, "runs", 5, "runs of each variant, at most 10")
	flags.DurationVar(&s.latency, "latency", time.Minute, "length of a run of single commits")
	flags.IntVar(&s.huge, "huge", 10_000_000, "rows of the transaction that the memory of capture is measured through, and of the table that is loaded beside commits; 0: neither")
	flags.Int64Var(&s.big, "big", 5<<30, "bytes in the log for the start after kill -9")
	flags.StringVar(&s.profile, "cpuprofile", "", "folder for CPU profiles, one for each variant")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	wanted := names
	if *only != "" {
		wanted = strings.Split(*only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no benchmark %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	if s.runs < 1 || s.runs > 10 {
		return fmt.Errorf("-runs is %d: 1 to 10, since each has replication slots of its own", s.runs)
	}
	s.rows = max(transactionRows, s.rows/transactionRows*transactionRows)
	if s.dir, err = os.MkdirTemp(*dir, "penstock-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	if s.profile != "" {
		if err := os.MkdirAll(s.profile, 0o755); err != nil {
			return err
		}
	}
	machine, err := lookAtMachine(s.dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, machine)
	for _, b := range benchmarks() {
		if !slices.Contains(wanted, b.name) {
			continue
		}
		if err := b.run(s, ctx); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	// The disk and the load once more: others may have begun to work meanwhile.
	after, err := lookAtMachine(s.dir)
	if err != nil {
		return err
	}
	table := markdownTable(s.figures) + "\n" + machine.String() + "\nAfterwards: " + after.disk() + "\n"
	fmt.Fprintf(out, "\n%s\n%s", textTable(s.figures), table)
	if *markdown != "" {
		return os.WriteFile(*markdown, []byte(table), 0o644)
	}
	return nil
}

// note prints progress.
func (s *suite) note(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }
