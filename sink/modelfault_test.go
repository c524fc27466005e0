package sink_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

// chance draws from faults' and crashes' own randomness.
func (m *model) chance(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.luck.IntN(n)
}

// fault is called with the vendor locked.
func (m *model) fault(call int, action sink.Action, changes []sink.Change) (fault sinktest.Fault) {
	if m.faults.Load() {
		switch r := m.chance(100); {
		case r < 6:
			fault = sinktest.Busy
		case r < 12:
			fault = sinktest.Drop
		case r < 20:
			fault = sinktest.DropAfter
		case r < 24:
			fault = sinktest.Broken
		case r < 30:
			fault = sinktest.Partial
		case r < 33:
			fault = sinktest.Late
		}
	}
	var text strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&text, " [%s app id %s key %s:", c.Ref, c.AppID, c.Key.Value.Text())
		for _, f := range c.Fields {
			fmt.Fprintf(&text, " %s=%s", f.Name, f.Value.Text())
		}
		text.WriteString("]")
	}
	m.logf("    call %d: %s fault %d%s", call, action, fault, text.String())
	return fault
}

func (m *model) observe(action sink.Action, id string, fields map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if action == sink.Archive || action == sink.Remove {
		if m.p.spec.OnDelete == "set" && m.p.spec.OnLeave == "set" && !m.purge {
			return fmt.Errorf("record %s is removed", id)
		}
		delete(m.owner, id)
		return nil
	}
	ver, err := strconv.Atoi(fields["ver"])
	if err != nil {
		return fmt.Errorf("record %s has no version", id)
	}
	if ver < m.vers[id] && !m.byCode {
		return fmt.Errorf("record %s: version %d after %d", id, ver, m.vers[id])
	}
	m.logf("    record %s: %v", id, fields)
	m.vers[id] = ver
	for other, ident := range m.owner {
		// A row that changed keys may have two until each partition has its truncate.
		if other != id && ident == fields["ident"] && !m.emptied[ident] {
			return fmt.Errorf("row %s has two records, %s and %s", ident, other, id)
		}
	}
	was, marked := m.owner[id], m.marked[id]
	m.owner[id], m.marked[id] = fields["ident"], fields["stage"] != "lead"
	// A record is another row's when its own is gone, or was told to be: not while that one is there.
	if was != "" && was != fields["ident"] && !marked && !m.purge && m.table.TryLock() {
		defer m.table.Unlock()
		for _, r := range m.rows {
			if itoa(r.ident) == was && r.plan != "test" {
				return fmt.Errorf("record %s of row %s is made row %s's", id, was, fields["ident"])
			}
		}
	}
	return nil
}

// ofEngine tells whether it is called in the engine's own goroutines.
func ofEngine() bool {
	pcs := make([]uintptr, 64)
	for frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)]); ; {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, ".(*model).guarded") {
			return false
		}
		if !more {
			return true
		}
	}
}

func (m *model) failpoint(name string) {
	m.mu.Lock()
	hit := m.crash > 0 && m.luck.IntN(m.crash) == 0
	if hit {
		m.crash = 0
	}
	engine := hit && ofEngine()
	if engine {
		m.dead = true
	}
	m.mu.Unlock()
	switch {
	case engine:
		runtime.Goexit() // not the test's goroutine: what it was about to do is not done
	case hit:
		panic(errCrash{name})
	}
}

// revive starts the process again after a crash in dispatch; it tells whether there was one.
func (m *model) revive() bool {
	m.mu.Lock()
	dead := m.dead
	m.dead, m.crash = false, 0
	m.mu.Unlock()
	if dead {
		m.logf("crash in dispatch")
		m.p.stop()
		m.p.open()
	}
	return dead
}

// settle waits until all is sent, through crashes.
func (m *model) settle() {
	m.pause(false)
	for tries := 0; ; tries++ {
		<-time.After(10 * time.Second)
		if tries == 100 {
			_ = m.p.store.View(m.t.Context(), func(tx state.Tx) error {
				return tx.ScanPending(1, 0, 100, func(w *state.Pending) error {
					m.t.Logf("record %d: queue %d, want %d, unknown %v, key %s, attempts %d, due in %d ms: %s", w.Record, w.Queue, w.Want, w.Unknown, w.Key.Text(),
						w.Attempts, w.Due-time.Now().UnixMilli(), w.Error)
					return nil
				})
			})
			m.t.Logf("%+v", m.p.engine.Status())
			m.check()
			m.t.Fatal("it does not settle")
		}
		m.revive()
		m.p.take(m.s, 50)
		m.approve()
		if (m.purge || m.reloads) && tries > 2 {
			m.idle() // a move to a key that was forgotten between its halves, or from one whose row is gone unseen
		}
		g, err := m.p.engine.Progress("crm", nil)
		if err != nil {
			m.t.Fatal(err)
		}
		if g.CaughtUp() {
			m.p.settle()
			return
		}
	}
}
