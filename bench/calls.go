package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// contacts are how many records the app has before the single commits, and how many a
// run of calls changes.
const contacts = 1000

// callCase is something that happens to many rows, and what it may cost in calls.
type callCase struct {
	what string
	most int
	seen []float64
}

// calls runs the command with a CRM and counts the calls that many rows take, then those with edits looked for before
// each write.
func (s *suite) calls(ctx context.Context) error {
	s.note("calls: %d runs of %d contacts", s.runs, contacts)
	return s.withCRM(ctx, simulator.Options{NoLimits: true}, s.countCalls)
}

func (s *suite) countCalls(ctx context.Context, d *postgresDatabase, crm *crm, dir string) error {
	const match = "  match { email = clean.email }\n"
	run := func(pipeline string, each func(p *process, run int) error) error {
		if err := writeProject(dir, "postgres", d.settings(), "public.bench", "hubspot", crm.settings(), "", match+pipeline); err != nil {
			return err
		}
		p, err := s.start(ctx, dir, "run", dir)
		if err != nil {
			return err
		}
		defer p.stop(syscall.SIGTERM)
		for n := range s.runs {
			if err := each(p, n); err != nil {
				return err
			}
		}
		return nil
	}
	fresh, changed, adopted := &callCase{what: "new, none there before", most: 10}, &callCase{what: "known and changed", most: 10}, &callCase{what: "new, 5 % there before", most: 30}
	same, verified := &callCase{what: "changed in what is not synced", most: 0}, &callCase{what: "known and changed, read before they are written", most: 20}
	count := func(c *callCase, p *process, records int, sql string, args ...any) error {
		n, err := crm.callsFor(ctx, p, records, func() error { return d.exec(ctx, fmt.Sprintf(sql, args...)) })
		c.seen = append(c.seen, float64(n))
		return err
	}
	const insert = `INSERT INTO public.bench SELECT n, 'customer' || n || '@example.com', 'Ada', 'Lovelace', 1, true, now(), gen_random_uuid(), 'x' FROM generate_series(%d, %d) n`
	err := run("", func(p *process, n int) error {
		first := 2*n*contacts + 1
		if err := count(fresh, p, contacts, insert, first, first+contacts-1); err != nil {
			return err
		}
		if err := count(changed, p, contacts, `UPDATE public.bench SET mrr = mrr + 1 WHERE id BETWEEN %d AND %d`, first, first+contacts-1); err != nil {
			return err
		}
		// What comes after them in the log is one call: when that was made they are through.
		if err := d.exec(ctx, fmt.Sprintf(`UPDATE public.bench SET active = NOT active, note = 'y' WHERE id BETWEEN %d AND %d`, first, first+contacts-1)); err != nil {
			return err
		}
		if err := count(same, p, 1, `UPDATE public.bench SET mrr = mrr + 1 WHERE id = %d`, first); err != nil {
			return err
		}
		same.seen[n]--
		first += contacts
		if err := crm.someone(ctx, first, 20); err != nil {
			return err
		}
		return count(adopted, p, contacts, insert, first, first+contacts-1)
	})
	if err != nil {
		return err
	}
	if err := run("  verify { before_write = true }\n", func(p *process, n int) error {
		return count(verified, p, contacts, `UPDATE public.bench SET mrr = mrr + 1 WHERE id BETWEEN %d AND %d`, 2*n*contacts+1, (2*n+1)*contacts)
	}); err != nil {
		return err
	}
	for _, c := range []*callCase{fresh, changed, adopted, same, verified} {
		s.add(figure{what: fmt.Sprintf("Calls for %s contacts: %s", number(contacts), c.what), goal: fmt.Sprintf("≤ %d", c.most), measured: number(median(c.seen)), verdict: atMost(median(c.seen), float64(c.most)), detail: list(c.seen, number)})
	}
	return nil
}

// someone makes contacts in the app by hand, with the e-mail address of one row in so many from first on.
func (c *crm) someone(ctx context.Context, first, every int) error {
	type input struct {
		Properties map[string]string `json:"properties"`
	}
	var body struct {
		Inputs []input `json:"inputs"`
	}
	for i := 0; i < contacts; i += every {
		body.Inputs = append(body.Inputs, input{map[string]string{"email": fmt.Sprintf("customer%d@example.com", first+i)}})
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/crm/v3/objects/contacts/batch/create", bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer someone")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("make contacts in the simulator: %s", answer.Status)
	}
	return nil
}

// callsFor makes changes to that many contacts and counts the calls until the app has
// them all.
func (c *crm) callsFor(ctx context.Context, p *process, records int, change func() error) (int, error) {
	history, calls := len(c.sim.History("contacts")), len(c.objectCalls())
	if err := change(); err != nil {
		return 0, err
	}
	err := p.until(ctx, time.Minute, func() bool { return len(c.sim.History("contacts")) >= history+records })
	return len(c.objectCalls()) - calls, err
}
