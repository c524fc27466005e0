package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// backfillRows is how many rows the initial load of a run has: more than the app takes while it is measured
// (100 calls of 100 records in 10 s).
const backfillRows = 1_000_000

// settling is left out at the begin of a run: the first calls go out as fast as they can.
const settling = 20 * time.Second

// quota measures an initial load into a CRM with its request limits: what share of the calls that are allowed it
// makes, how many of them are refused, and how late changes of single rows are there meanwhile.
func (s *suite) quota(ctx context.Context) error {
	s.note("quota: a load of %s rows, looked at for %s", number(backfillRows), s.latency)
	return s.withCRM(ctx, simulator.Options{}, s.useQuota)
}

func (s *suite) useQuota(ctx context.Context, d *postgresDatabase, crm *crm, dir string) error {
	if err := d.exec(ctx, contactRows(1, backfillRows)); err != nil {
		return err
	}
	if err := writeProject(dir, "postgres", d.settings(), "public.bench", "hubspot", crm.settings(), "", ""); err != nil {
		return err
	}
	p, err := s.start(ctx, dir, "run", dir)
	if err != nil {
		return err
	}
	defer p.stop(syscall.SIGTERM)
	if err := p.until(ctx, 5*time.Minute, func() bool { return len(crm.objectCalls()) > 0 }); err != nil {
		return err
	}
	begun := time.Now().Add(settling)
	if err := p.until(ctx, time.Minute, func() bool { return time.Now().After(begun) }); err != nil {
		return err
	}
	late, err := s.liveChanges(ctx, d, crm, p)
	if err != nil {
		return err
	}
	made, refused := 0, 0
	for _, call := range crm.objectCalls() {
		if call.Time.Before(begun) {
			continue
		}
		if made++; call.Status == http.StatusTooManyRequests {
			refused++
		}
	}
	allowed := time.Since(begun).Seconds() * 10 // 100 calls in 10 s
	used, share := 100*float64(made-refused)/allowed, 100*float64(refused)/float64(max(made, 1))
	percent := func(f float64) string { return fmt.Sprintf("%.2f %%", f) }
	s.add(figure{what: "Share of the app's quota that a backlog uses", goal: "≥ 97 %", measured: percent(used), verdict: atLeast(used, 97)})
	s.add(figure{what: "Share of calls answered 429", goal: "< 0.05 %", measured: percent(share), verdict: verdict(share < 0.05)})
	p99 := quantile(late, 0.99)
	s.add(figure{
		what: "Commit to accepted while a load of 1,000,000 rows runs at full quota, p99", goal: "≤ 2 s",
		measured: fmt.Sprintf("%.0f ms (p50 %.0f ms, %d commits)", p99, quantile(late, 0.5), len(late)), verdict: atMost(p99, 2000),
	})
	s.addMemory("Resident memory meanwhile", p.memory())
	return nil
}

// contactRows is the statement that inserts rows with those ids.
func contactRows(first, last int) string {
	return fmt.Sprintf(`INSERT INTO public.bench SELECT n, 'Customer' || n || '@example.com', 'Ada', 'Lovelace', 1, true, now(), gen_random_uuid(), 'x' FROM generate_series(%d, %d) n`, first, last)
}

// settings are the app block's for this CRM.
func (c *crm) settings() string {
	return fmt.Sprintf("  token = secret.token\n  base_url = %q", c.url)
}

// liveChanges changes a row of those that are loaded first now and then, on average twice a second, and returns the milliseconds from
// each commit to the call that has it.
func (s *suite) liveChanges(ctx context.Context, d *postgresDatabase, crm *crm, p *process) ([]float64, error) {
	random := rand.New(rand.NewPCG(5, 6))
	committed := map[string]time.Time{}
	for end := time.Now().Add(s.latency); time.Now().Before(end); {
		next := time.Now().Add(time.Duration(random.Int64N(int64(time.Second))))
		if err := p.until(ctx, time.Minute, func() bool { return time.Now().After(next) }); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("Ada live %d", len(committed))
		if err := d.exec(ctx, fmt.Sprintf("UPDATE public.bench SET first_name = '%s' WHERE id = %d", name, 1+random.IntN(5000))); err != nil {
			return nil, err
		}
		committed[name] = time.Now()
	}
	arrived := map[string]float64{}
	looked := 0
	var again time.Time
	err := p.until(ctx, time.Minute, func() bool {
		if time.Now().Before(again) {
			return false
		}
		again = time.Now().Add(time.Second) // each look copies the whole history
		all := crm.sim.History("contacts")
		for _, c := range all[looked:] {
			for _, f := range c.Fields {
				if !strings.HasPrefix(f.Value, "Ada live ") {
					continue
				}
				if at, ok := committed[f.Value]; ok {
					arrived[f.Value] = milliseconds(c.Time.Sub(at))
				}
			}
		}
		looked = len(all)
		// A row that was changed again before it was sent is sent once.
		return len(arrived) >= len(committed)*97/100
	})
	late := make([]float64, 0, len(arrived))
	for _, ms := range arrived {
		late = append(late, ms)
	}
	return late, err
}
