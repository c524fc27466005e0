package survival

import (
	"context"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"github.com/penstock-cdc/penstock/integration/service"
	"github.com/penstock-cdc/penstock/simulator"
)

// mischief is what goes wrong while the workload runs, at times and in an order that a
// seed draws.
type mischief struct {
	rand      *rand.Rand
	lane      *lane
	broker    *service.Server // nil with the embedded log
	simulator *simulator.Server
	penstock  []*supervisor
	note      func(format string, args ...any)
}

// run makes mischief until ctx ends, then undoes it: servers run, connections are whole,
// the simulator behaves.
func (m *mischief) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return m.mend()
		case <-time.After(time.Duration(50+m.rand.IntN(700)) * time.Millisecond):
		}
		if err := m.strike(ctx); err != nil {
			return err
		}
	}
}

func (m *mischief) mend() error {
	m.simulator.ClearFaults()
	if err := m.lane.proxy.clean(); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, s := range []*service.Server{m.lane.database, m.broker} {
		if s != nil && !s.Running() {
			if err := s.Restart(limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// strike does one thing.
func (m *mischief) strike(ctx context.Context) error {
	link := "database"
	if m.broker != nil && m.rand.IntN(2) == 0 {
		link = "kafka"
	}
	p := m.penstock[m.rand.IntN(len(m.penstock))]
	switch n := m.rand.IntN(100); {
	case n < 22:
		m.note("kill -9 of penstock %s", p.role)
		p.signal(syscall.SIGKILL)
	case n < 28:
		m.note("SIGTERM to penstock %s", p.role)
		p.signal(syscall.SIGTERM)
	case n < 33:
		return m.restart(ctx, m.lane.database, true)
	case n < 37:
		return m.restart(ctx, m.lane.database, false)
	case n < 39 && m.broker != nil:
		return m.restart(ctx, m.broker, m.rand.IntN(2) == 0)
	case n < 52:
		m.note("cut %s", link)
		if err := m.lane.proxy.cut(link); err != nil {
			return err
		}
		m.pause(ctx, 20+m.rand.IntN(800))
		m.note("mend %s", link)
		return m.lane.proxy.mend(link)
	case n < 60:
		m.note("slow down %s", link)
		if err := m.lane.proxy.toxic(link, "latency", map[string]any{"latency": 5 + m.rand.IntN(100), "jitter": 20}); err != nil {
			return err
		}
		m.pause(ctx, 100+m.rand.IntN(800))
		return m.lane.proxy.clean()
	case n < 66:
		m.note("break %s off in the middle of what it says", link)
		if err := m.lane.proxy.toxic(link, "limit_data", map[string]any{"bytes": 1 + m.rand.IntN(20000)}); err != nil {
			return err
		}
		m.pause(ctx, 100+m.rand.IntN(500))
		return m.lane.proxy.clean()
	default:
		return m.simulatorFault()
	}
	return nil
}

// restart ends a server, with SIGKILL or in the orderly way, and starts it again after a moment.
func (m *mischief) restart(ctx context.Context, s *service.Server, hard bool) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	how := s.Halt
	if hard {
		how = func(context.Context) error { return s.Kill() }
	}
	m.note("restart of %s, with SIGKILL: %t", s.Kind, hard)
	if err := how(limit); err != nil {
		return err
	}
	m.pause(ctx, m.rand.IntN(500))
	err := s.Restart(limit)
	m.note("%s is back", s.Kind)
	return err
}

func (m *mischief) pause(ctx context.Context, ms int) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(ms) * time.Millisecond):
	}
}

// simulatorFault makes the app fail for some calls.
func (m *mischief) simulatorFault() error {
	f := simulator.Fault{Calls: 1 + m.rand.IntN(4)}
	switch m.rand.IntN(8) {
	case 0:
		f.Kind, f.Status, f.RetryAfter = "status", http.StatusTooManyRequests, simulator.Duration(time.Second)
	case 1:
		f.Kind, f.Status = "status", http.StatusInternalServerError
	case 2:
		f.Kind, f.Status, f.AfterCommit = "status", http.StatusBadGateway, true
	case 3:
		f.Kind = "drop"
	case 4, 5:
		f.Kind = "drop_after_commit"
	case 6:
		f.Kind = "garbage"
	case 7:
		f.Kind, f.Delay = "delay", simulator.Duration(time.Duration(50+m.rand.IntN(1500))*time.Millisecond)
	}
	m.note("app: %s %d, %d calls", f.Kind, f.Status, f.Calls)
	return m.simulator.AddFault(f)
}
