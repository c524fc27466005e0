package sink_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

// A vendor that refuses batches as a whole and names nobody: the others wait for less than a second, and the calls
// grow with the number of refused records and the logarithm of the batch.
func TestRefusedBatchIsTakenApart(t *testing.T) {
	for k, most := range map[int]int{1: 15, 2: 27, 5: 53} { // 2k(log2(100/k) + 1) + 1, and so on
		bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
			p.stop()
			v.Bounds = sink.Limits{Batch: 100, Read: 100, Concurrent: 1}
			p.open()
			poison := map[string]bool{}
			for _, id := range rand.New(rand.NewPCG(uint64(k), 1)).Perm(100)[:k] {
				poison[itoa(id)] = true
			}
			v.SetFault(func(_ int, _ sink.Action, changes []sink.Change) sinktest.Fault {
				for _, c := range changes {
					if poison[c.Key.Value.Text()] {
						return sinktest.Refuse
					}
				}
				return sinktest.None
			})
			began := time.Now()
			s.begin()
			for id := range 100 {
				s.insert(customer(id))
			}
			p.take(s, 100)
			p.settle()
			if calls, _ := v.Calls(); calls > most {
				t.Errorf("%d poisoned: %d calls, want %d at most", k, calls, most)
			}
			if took := time.Since(began); took >= time.Second {
				t.Errorf("%d poisoned: the others took %s", k, took)
			}
			if n := len(v.Live()); n != 100-k {
				t.Errorf("%d poisoned: %d records", k, n)
			}
			if err := p.engine.Quarantined(t.Context(), sink.QuarantineFilter{}, func(_ string, q *state.Quarantine) error {
				k--
				return nil
			}); err != nil || k != 0 {
				t.Errorf("%d are missing in quarantine, %v", k, err)
			}
		})
	}
}

// watch checks that both ledgers add up whenever someone asks, until it is stopped.
func (p *plant) watch() (stop func()) {
	engine := p.engine
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(37 * time.Millisecond):
			}
			l := engine.Status().Pipelines[0].Ledger
			k := l.Keys
			keys := k.InSync + k.Pending + k.Unknown + k.Rejected + k.Held + k.Waiting + k.Excluded + k.Removed + k.Absent
			if err := l.Check(); err != nil || k.InApp > keys || k.InApp < 0 || l.Dropped > l.Rejected {
				p.t.Errorf("ledger does not add up: %v: %+v", err, l)
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}
