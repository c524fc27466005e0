package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

// callsPerSecond is the rate of the single commits, below the app's own limit (100
// calls in 10 s), so that every one can be a call.
const callsPerSecond = 9

// delivery runs the command with a CRM: how late single commits are there.
func (s *suite) delivery(ctx context.Context) error {
	s.note("delivery: %d runs of %s, %d commits a second", s.runs, s.latency, callsPerSecond)
	return s.withCRM(ctx, simulator.Options{NoLimits: true}, s.deliver)
}

func (s *suite) deliver(ctx context.Context, d *postgresDatabase, crm *crm, dir string) error {
	if err := writeProject(dir, "postgres", d.settings(), "public.bench", "hubspot", crm.settings(), "", ""); err != nil {
		return err
	}
	p, err := s.start(ctx, dir, "run", dir)
	if err != nil {
		return err
	}
	defer p.stop(syscall.SIGTERM)

	if _, err := crm.callsFor(ctx, p, s.runs*contacts, func() error {
		return d.exec(ctx, fmt.Sprintf(`INSERT INTO public.bench SELECT n, 'Customer' || n || '@example.com', 'Ada', 'Lovelace', 1, true, now(), gen_random_uuid(), 'x' FROM generate_series(1, %d) n`, s.runs*contacts))
	}); err != nil {
		return err
	}
	// The calls so far leave the app's window of 10 s, or the first commits wait for it.
	quiet := time.Now().Add(11 * time.Second)
	if err := p.until(ctx, time.Minute, func() bool { return time.Now().After(quiet) }); err != nil {
		return err
	}
	var p50s, p99s []float64
	for run := range s.runs {
		late, err := s.singleCommits(ctx, d, crm, p, run)
		if err != nil {
			return err
		}
		p50s, p99s = append(p50s, quantile(late, 0.50)), append(p99s, quantile(late, 0.99))
		s.note("  p50 %.1f ms, p99 %.1f ms, longest %.1f ms", p50s[run], p99s[run], quantile(late, 1))
	}
	form := func(f float64) string { return fmt.Sprintf("%.1f", f) }
	s.add(figure{what: "Commit to accepted, p50", goal: "≤ 50 ms", measured: form(median(p50s)) + " ms", verdict: atMost(median(p50s), 50), detail: list(p50s, form)})
	s.add(figure{what: "Commit to accepted, p99", goal: "≤ 250 ms", measured: form(median(p99s)) + " ms", verdict: atMost(median(p99s), 250), detail: list(p99s, form)})
	s.addMemory("Resident memory, single commits into HubSpot", p.memory())
	return nil
}

func (s *suite) addMemory(what string, bytes float64) {
	s.add(figure{what: what, goal: "≤ 128 MiB", measured: mebibytes(bytes), verdict: atMost(bytes, 128<<20)})
}

// settings are the source block's for this database.
func (d *postgresDatabase) settings() string {
	return fmt.Sprintf("  url = %q\n  slot = %q\n  publication = %q", d.url, d.name, d.name)
}

// singleCommits changes one contact a commit, each at a random time within its 1/9 s,
// so that no 10 s have more commits than the app's limit lets through. It returns the
// milliseconds from each commit's return to the call that has it.
func (s *suite) singleCommits(ctx context.Context, d *postgresDatabase, crm *crm, p *process, run int) ([]float64, error) {
	const slot = time.Second / callsPerSecond
	random := rand.New(rand.NewPCG(uint64(run), 9))
	before := len(crm.sim.History("contacts"))
	committed := map[string]time.Time{}
	start := time.Now()
	for i := range int(s.latency / slot) {
		at := start.Add(time.Duration(i)*slot + time.Duration(random.Int64N(int64(slot))))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Until(at)):
		}
		name := fmt.Sprintf("Ada %d-%d", run, i)
		if err := d.exec(ctx, fmt.Sprintf("UPDATE public.bench SET first_name = '%s' WHERE id = %d", name, random.IntN(s.runs*contacts)+1)); err != nil {
			return nil, err
		}
		committed[name] = time.Now()
	}
	var late []float64
	err := p.until(ctx, 30*time.Second, func() bool {
		late = late[:0]
		for _, c := range crm.sim.History("contacts")[before:] {
			for _, f := range c.Fields {
				if at, ok := committed[f.Value]; ok && f.Name == "firstname" {
					late = append(late, milliseconds(c.Time.Sub(at)))
				}
			}
		}
		// A row that was changed again before it was sent is sent once.
		return len(late) >= len(committed)*99/100
	})
	return late, err
}

// withCRM runs a benchmark with the load's empty table, a CRM and a folder for the project.
func (s *suite) withCRM(ctx context.Context, o simulator.Options, run func(ctx context.Context, d *postgresDatabase, crm *crm, dir string) error) (err error) {
	d, err := newPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(ctx)) }()
	if err := d.exec(ctx, postgresTable); err != nil {
		return err
	}
	crm, err := newCRM(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crm.server.Close()) }()
	dir, err := os.MkdirTemp(s.dir, "crm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return run(ctx, d, crm, dir)
}

// crm is the simulator of HubSpot.
type crm struct {
	sim    *simulator.Server
	server *http.Server
	url    string
}

func newCRM(ctx context.Context, o simulator.Options) (*crm, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &crm{url: "http://" + l.Addr().String()}
	o.Data = strings.NewReader(contactProperties)
	c.sim = simulator.New(hubspot.New(), o)
	c.server = &http.Server{Handler: c.sim, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := c.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("simulator ended", "error", err)
		}
	}()
	return c, nil
}

// objectCalls are the calls about records, without those about properties.
func (c *crm) objectCalls() (out []simulator.LoggedCall) {
	for _, call := range c.sim.Calls() {
		if strings.Contains(call.Path, "/objects/") {
			out = append(out, call)
		}
	}
	return out
}
