package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// Source captures one MySQL or MariaDB server. It implements capture.Source.
type Source struct {
	cfg      *Config
	name     string
	address  address
	selected capture.Selection
	serverID uint32
	log      *slog.Logger
	mariadb  atomic.Bool // what the server was last

	mu        sync.Mutex // guards the rest
	status    capture.Status
	confirmed *resume // durable in the log
}

// Open makes a source of its settings; name is the source's in the configuration. It
// does not connect.
func Open(cfg *Config, name string, log *slog.Logger) (*Source, error) {
	a, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("source %s: url: %w", name, err)
	}
	s := &Source{cfg: cfg, name: name, address: a, selected: cfg.selection(), serverID: cfg.ServerID, log: log.With("source", name)}
	if s.serverID == 0 {
		s.serverID = 1<<30 + rand.Uint32N(1<<31) //nolint:gosec // need only differ from others
	}
	return s, nil
}

// declared asks the server for the captured tables.
func (s *Source) declared(ctx context.Context) ([]*declaration, error) {
	session, err := s.address.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer session.close()
	f, err := s.readFacts(session)
	if err != nil {
		return nil, err
	}
	return declarations(session, f, s.selected)
}

// Describe returns the captured tables as they are now, sorted by name.
func (s *Source) Describe(ctx context.Context) ([]*change.Table, error) {
	declared, err := s.declared(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]*change.Table, 0, len(declared))
	var problems []error
	for _, d := range declared {
		t, _, err := s.tableOf(d)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		out = append(out, t)
	}
	return out, errors.Join(problems...)
}

// Estimates says of the captured tables about how many rows they have, as the server's
// statistics do.
func (s *Source) Estimates(ctx context.Context) (map[string]int64, error) {
	declared, err := s.declared(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, d := range declared {
		out[d.qualifiedName()] = d.estimate
	}
	return out, nil
}

// Run takes the snapshot and then follows the binlog. See capture.Source.
func (s *Source) Run(ctx context.Context, text []byte, out capture.Output) error {
	r, err := parseResume(text)
	if err != nil {
		return err
	}
	s.Confirm(text) // the log has it
	const first, longest = 200 * time.Millisecond, 10 * time.Second
	wait := first
	for {
		began := time.Now()
		state := &state{Source: s, out: out, resume: r}
		err := state.run(ctx)
		r = state.resume // its progress, as far as it was committed
		switch {
		case ctx.Err() != nil:
			return nil
		case !waitMends(err):
			return err
		}
		if time.Since(began) > longest {
			wait = first
		}
		s.log.Warn("connection lost, trying again", "error", err, "wait", wait)
		s.setState("waiting", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// Confirm does nothing but for the status: MySQL keeps its binlog by time, whoever reads.
func (s *Source) Confirm(text []byte) {
	r, err := parseResume(text)
	if err != nil || r == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Confirmed = r.String()
	s.confirmed = r
}

// Status returns a copy of the present state.
func (s *Source) Status() capture.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Tables = append([]capture.TableStatus(nil), st.Tables...)
	st.Warnings = append([]string(nil), st.Warnings...)
	return st
}

// At is what a resume point says of a source that is not captured now.
func (s *Source) At(text []byte) (capture.Status, error) {
	r, err := parseResume(text)
	if err != nil || r == nil {
		return capture.Status{}, err
	}
	return capture.Status{Position: r.String(), Confirmed: r.String(), Epoch: r.Epoch}, nil
}

// Drop has nothing to remove: a replica leaves nothing behind at the server.
func (s *Source) Drop(context.Context) error { return nil }

func (s *Source) setState(name, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.State, s.status.Detail = name, detail
}

// warn adds a warning that an operator should see, once.
func (s *Source) warn(text string) {
	s.mu.Lock()
	for _, w := range s.status.Warnings {
		if w == text {
			s.mu.Unlock()
			return
		}
	}
	s.status.Warnings = append(s.status.Warnings, text)
	s.mu.Unlock()
	s.log.Warn(text)
}

// setTable changes what the status says of one table, which it adds if need be.
func (s *Source) setTable(name string, set func(t *capture.TableStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.status.Tables {
		if s.status.Tables[i].Name == name {
			set(&s.status.Tables[i])
			return
		}
	}
	t := capture.TableStatus{Name: name}
	set(&t)
	s.status.Tables = append(s.status.Tables, t)
}

var _ capture.Source = (*Source)(nil)
