// Package demo runs penstock's main job where it can be watched: a Postgres with a
// workload on it, a CRM that is the HubSpot simulator, and penstock between them, killed
// in the middle. At the end it compares database and CRM without penstock's help.
package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penstock-cdc/penstock/examples"
	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

// Options says how the demo runs.
type Options struct {
	DatabaseURL string        // a Postgres with wal_level = logical; "": one is started
	Keep        bool          // leave everything running at the end
	Load        time.Duration // how long the workload runs
	Seed        uint64        // of the workload
	Out, Err    io.Writer
	Terminal    bool // Out is a terminal: draw in place
}

const customersBefore = 2000

// Run runs the demo; nil: database and CRM agree.
func Run(ctx context.Context, o Options) error {
	dir, err := os.MkdirTemp("", "penstock-demo-")
	if err != nil {
		return err
	}
	d := &demo{Options: o, dir: dir, screen: newScreen(o.Out, o.Terminal)}
	err = d.run(ctx)
	d.stopPenstock(syscall.SIGTERM)
	if d.db != nil {
		d.db.stop()
	}
	if err == nil {
		return os.RemoveAll(dir)
	}
	return fmt.Errorf("%w\nlogs and data are in %s", err, dir)
}

type demo struct {
	Options
	dir    string
	screen *screen
	db     *database
	sim    *simulator.Server
	simURL string
	child  *exec.Cmd
	failed atomic.Pointer[error] // penstock ended by itself
}

func (d *demo) run(ctx context.Context) error {
	d.screen.say("Starting a Postgres, a CRM (the HubSpot simulator) and a table with %d customers, some of them dirty.", customersBefore)
	var err error
	if d.db, err = startDatabase(ctx, d.DatabaseURL, d.dir, d.Err); err != nil {
		return err
	}
	if err := d.startCRM(ctx); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, d.db.url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := d.project(ctx, conn); err != nil {
		return err
	}
	work, err := newLoad(ctx, d.db.url, d.Seed)
	if err != nil {
		return err
	}
	defer work.conn.Close(context.WithoutCancel(ctx))
	if err := work.seed(ctx, customersBefore); err != nil {
		return err
	}
	d.screen.say("Starting penstock with the pipeline of examples/customers-to-crm: it loads the table, then follows it.")
	if err := d.startPenstock(); err != nil {
		return err
	}
	if err := d.watchLoad(ctx, work); err != nil {
		return err
	}
	return d.finish(ctx, conn, work)
}

// project lays out the example's folder and its table.
func (d *demo) project(ctx context.Context, conn *pgx.Conn) error {
	const name = "customers-to-crm"
	err := fs.WalkDir(examples.Projects, name, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := examples.Projects.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(d.dir, filepath.Base(path)), text, 0o600)
	})
	if err != nil {
		return err
	}
	table, err := examples.Projects.ReadFile(name + "/customers.sql")
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "DROP TABLE IF EXISTS public.customers;\n"+string(table)); err != nil {
		return fmt.Errorf("make table: %w", err)
	}
	return nil
}

// startCRM serves the simulator with the properties that the example needs.
func (d *demo) startCRM(ctx context.Context) error {
	data, err := examples.Projects.ReadFile("customers-to-crm/hubspot.jsonl")
	if err != nil {
		return err
	}
	d.sim = simulator.New(hubspot.New(), simulator.Options{})
	if err := d.sim.Load(bytes.NewReader(data)); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.simURL = "http://" + l.Addr().String()
	go func() { _ = http.Serve(l, d.sim) }() //nolint:gosec // loopback, for the demo's time
	return nil
}

func (d *demo) command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), "SHOP_URL="+d.db.url, "HUBSPOT_URL="+d.simURL, "HUBSPOT_TOKEN=demo")
	return cmd, nil
}

func (d *demo) startPenstock() error {
	cmd, err := d.command(context.Background(), "run", d.dir)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(d.dir, "penstock.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	d.child = cmd
	return nil
}

// stopPenstock ends penstock with a signal and waits for its end.
func (d *demo) stopPenstock(sig syscall.Signal) {
	if d.child == nil {
		return
	}
	_ = d.child.Process.Signal(sig)
	_ = d.child.Wait()
	d.child = nil
}

// watchLoad runs the workload, kills penstock with SIGKILL in the middle of it and starts it again.
func (d *demo) watchLoad(ctx context.Context, work *load) error {
	d.screen.say("Now inserts, updates, deletes and rollbacks for %s. In the middle penstock is killed with SIGKILL.", d.Load)
	start := time.Now()
	killed, restarted := false, false
	err := work.run(ctx, d.Load, 60, func(done counts) {
		at := time.Since(start)
		switch {
		case !killed && at > d.Load/2:
			killed = true
			d.stopPenstock(syscall.SIGKILL)
			d.screen.say("kill -9 of penstock; the workload goes on.")
		case killed && !restarted && at > d.Load/2+2*time.Second:
			restarted = true
			if err := d.startPenstock(); err != nil {
				d.failed.Store(&err)
				return
			}
			d.screen.say("penstock is started again.")
		}
		d.screen.figures(func() figures { return d.figures(done) })
	})
	if failed := d.failed.Load(); failed != nil && err == nil {
		err = *failed
	}
	return err
}

func (d *demo) figures(done counts) figures {
	f := figures{counts: done, running: d.child != nil}
	records, err := d.sim.Objects("contacts")
	if err != nil {
		return f
	}
	for _, r := range records {
		if !r.Archived {
			f.contacts++
		}
	}
	f.calls = len(d.sim.Calls())
	return f
}

// finish lets penstock catch up, compares, and gives the verdict.
func (d *demo) finish(ctx context.Context, conn *pgx.Conn, work *load) error {
	d.screen.say("The workload has ended: %d transactions (%d inserts, %d updates, %d deletes) and %d rolled back. Catching up.",
		work.done.transactions, work.done.inserts, work.done.updates, work.done.deletes, work.done.rolledBack)
	d.stopPenstock(syscall.SIGTERM)
	cmd, err := d.command(ctx, "run", "--until-caught-up", "--timeout", "2m", d.dir)
	if err != nil {
		return err
	}
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && (!errors.As(err, &ended) || ended.ExitCode() != 3) {
		return fmt.Errorf("catch up: %w\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, ": caught up;") {
			d.screen.say("%s", strings.TrimSpace(line))
		}
	}
	want, rejected, err := expected(ctx, conn)
	if err != nil {
		return err
	}
	records, err := d.sim.Objects("contacts")
	if err != nil {
		return err
	}
	listed, reasons, example, err := d.quarantined(ctx)
	if err != nil {
		return err
	}
	diffs, fields := compare(want, records, rejected)
	for key := range rejected {
		if !listed[key] {
			diffs = append(diffs, difference{key, "dirty, but not in quarantine"})
		}
	}
	d.screen.say("Rejected while the rest flowed on, and listed by penstock dlq list: %s (for example: %s).", strings.Join(reasons, ", "), example)
	for i, diff := range diffs {
		if i == 10 {
			d.screen.say("... and %d more", len(diffs)-i)
			break
		}
		d.screen.say("customer %s: %s", diff.key, diff.what)
	}
	if len(diffs) > 0 {
		return fmt.Errorf("database and CRM differ in %d places", len(diffs))
	}
	d.screen.say("VERDICT: database and CRM agree. %d customers, %d fields compared, in %d calls to the CRM; nothing lost, nothing doubled.", len(want), fields, len(d.sim.Calls()))
	if d.Keep {
		return d.keep(ctx)
	}
	return nil
}

// quarantined asks `penstock dlq list` for the customers in quarantine, their number by
// reason, and one of the messages.
func (d *demo) quarantined(ctx context.Context) (keys map[string]bool, reasons []string, example string, err error) {
	cmd, err := d.command(ctx, "dlq", "list", "--output", "json", d.dir)
	if err != nil {
		return nil, nil, "", err
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, "", fmt.Errorf("list quarantine: %w", err)
	}
	keys = map[string]bool{}
	counts := map[string]int{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var entry struct {
			Type, Reason, Message string
			Key                   struct {
				ID json.Number `json:"id"`
			}
		}
		err := dec.Decode(&entry)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, "", fmt.Errorf("read quarantine: %w", err)
		}
		if entry.Type == "quarantined" {
			keys[entry.Key.ID.String()] = true
			counts[entry.Reason]++
			example = entry.Message
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		reasons = append(reasons, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	return keys, reasons, example, nil
}

// keep leaves database, CRM and penstock running until ctx ends.
func (d *demo) keep(ctx context.Context) error {
	if err := d.startPenstock(); err != nil {
		return err
	}
	fmt.Fprintf(d.Out, `
Left running; Ctrl-C ends it. To play:
  psql %s -c "update customers set first_name = 'Grace' where id = 1"
  curl -s %s/_sim/objects/contacts | head -1
  penstock status %s        (with SHOP_URL, HUBSPOT_URL=%s, HUBSPOT_TOKEN=demo)
The pipeline is %s, the log %s.
`, d.db.url, d.simURL, d.dir, d.simURL, filepath.Join(d.dir, "customers.hcl"), filepath.Join(d.dir, "penstock.log"))
	<-ctx.Done()
	return nil
}
