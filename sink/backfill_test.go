package sink_test

import (
	"testing"
	"testing/synctest"

	"github.com/penstock-cdc/penstock/sink"
)

func TestBackfillIsOwedToNewAndChangedRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, newVendor(), 1, nil)
		restart := func(print string) sink.Backfill {
			t.Helper()
			if p.stop != nil {
				p.stop()
			}
			p.spec.Program = program{print: print}
			p.open()
			return p.engine.Backfill("crm")
		}
		defer func() { p.stop() }()
		if b := restart("1"); b.Why != "new" {
			t.Errorf("at the first start: %+v", b)
		}
		if b := restart("1"); b.Why != "new" {
			t.Errorf("it is not owed any more after a start without it: %+v", b)
		}
		if err := p.engine.Backfilled(t.Context(), "crm"); err != nil {
			t.Fatal(err)
		}
		if b := restart("1"); b.Why != "" {
			t.Errorf("after it was given: %+v", b)
		}
		if err := p.engine.ApproveBackfill(t.Context(), "crm"); err == nil {
			t.Error("approved, and nothing is owed")
		}
		if b := restart("2"); b.Why != "changed" || b.Approved {
			t.Errorf("with other rules: %+v", b)
		}
		if err := p.engine.ApproveBackfill(t.Context(), "crm"); err != nil {
			t.Fatal(err)
		}
		if b := restart("2"); !b.Approved {
			t.Errorf("the approval did not outlive the process: %+v", b)
		}
		if b := restart("3"); b.Why != "changed" || b.Approved {
			t.Errorf("the approval of other rules counts: %+v", b)
		}
		if b := restart("1"); b.Why != "changed" {
			t.Errorf("back at the rules of the last one, after others wrote: %+v", b)
		}
	})
}

// What a person let through a guard was made by the rules of then.
func TestApprovalsLapseWithTheRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor()
		p := newPlant(t, v, 1, nil)
		s := newShop(1)
		p.open()
		defer func() { p.stop() }()
		p.fill(s, 100)
		if err := p.engine.Pause(t.Context(), "crm", true); err != nil {
			t.Fatal(err)
		}
		s.begin()
		for id := 1; id <= 30; id++ {
			s.delete(customer(id))
		}
		p.take(s, 100)
		if err := p.engine.Pause(t.Context(), "crm", false); err != nil {
			t.Fatal(err)
		}
		p.settle()
		if err := p.engine.Pause(t.Context(), "crm", true); err != nil {
			t.Fatal(err)
		}
		for _, stop := range p.engine.Guards() {
			if n, err := p.engine.Approve(t.Context(), stop); err != nil || n != 30 {
				t.Fatalf("approved %d, %v", n, err)
			}
		}
		p.stop()
		p.spec.Program = program{print: "2"}
		p.open()
		if err := p.engine.Pause(t.Context(), "crm", false); err != nil {
			t.Fatal(err)
		}
		if g := p.settle(); g.Guarded != 30 || len(v.Live()) != 100 {
			t.Errorf("%+v, %d in the app: the approval did not lapse", g, len(v.Live()))
		}
	})
}
