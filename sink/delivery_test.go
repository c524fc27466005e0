package sink_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// unsaid is a row whose name the database left out of the event.
func unsaid(r change.Row) change.Row {
	r[2] = change.Of(change.Unchanged, "")
	return r
}

func TestLingerFillsABatch(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.Linger = 3 * time.Second }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		start := time.Now()
		for id := 1; id <= 5; id++ {
			s.begin()
			s.insert(customer(id))
			p.take(s, 1)
			<-time.After(200 * time.Millisecond)
		}
		p.settle()
		if pushes, _ := v.Calls(); pushes != 1 || len(v.Live()) != 5 {
			t.Errorf("%d calls for %d records, want one for 5", pushes, len(v.Live()))
		}
		if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("sent after %s, want 3 s", took)
		}
	})
}

func TestFillWritesOnlyWhereTheAppHasNothing(t *testing.T) {
	fill := func(s *sink.Spec) { s.Program = program{print: "1", fill: true} }
	bubble(t, fill, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		v.Add(map[string]string{"email": "c1@x.test", "title": "Dr."})
		v.Add(map[string]string{"email": "c2@x.test"})
		p.fill(s, 3)
		for key, title := range map[string]string{"1": "Dr.", "2": "C", "3": "C"} {
			if got := v.Live()[key]["title"]; got != title {
				t.Errorf("record %s has the title %q, want %q", key, got, title)
			}
		}
		s.begin()
		s.update(row(3, "c3@x.test", "Other", "pro", 2, 3))
		p.take(s, 10)
		p.settle()
		if r := v.Live()["3"]; r["title"] != "C" || r["name"] != "Other" {
			t.Errorf("after the row's change: %v, want the first title still", r)
		}
	})
}

func TestRemovedInTheAppIsMadeAnewWithWhatWasLeftOut(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.OnAppDelete = "recreate" }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 2)
		v.Archive(v.Live()["1"]["id"])
		s.begin()
		s.update(unsaid(row(1, "new@x.test", "", "pro", 2, 1)))
		p.take(s, 10)
		p.settle()
		if r := v.Live()["1"]; r["email"] != "new@x.test" || r["name"] != "C" {
			t.Errorf("made anew as %v, want the name that it had", r)
		}
	})
}

// The app has no record any more when it is looked for, after the row's newest event was refused.
func TestRemovedInTheAppWhileRefusedLeavesNoGap(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.OnAppDelete = "recreate" }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 1)
		v.Archive(v.Live()["1"]["id"])
		v.SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault { return sinktest.Drop })
		s.begin()
		s.update(unsaid(row(1, "new@x.test", "", "pro", 2, 1)))
		p.take(s, 10)
		<-time.After(time.Second)
		s.begin()
		s.update(unsaid(row(1, "", "", "pro", 3, 1))) // refused
		p.take(s, 10)
		v.SetFault(nil)
		p.settle()
		s.begin()
		s.update(unsaid(row(1, "newer@x.test", "", "pro", 4, 1)))
		p.take(s, 10)
		p.settle()
		if r := v.Live()["1"]; r["email"] != "newer@x.test" || r["name"] != "C" {
			t.Errorf("the app has %v, want the name that it had; ledger %+v", r, p.ledger())
		}
	})
}

// A call a second is allowed, and there are always changes to be sent: creates and removals have their turns all the same.
func TestKindsTakeTurns(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 20)
		v.Bounds = sink.Limits{Batch: 100, Read: 100, Concurrent: 1, Calls: 1, Window: time.Second}
		for n := range 30 {
			s.begin()
			s.update(row(2+n%10, "c"+itoa(2+n%10)+"@x.test", "New", "pro", 2+n, 2+n%10))
			if n == 5 {
				s.insert(customer(100))
				s.delete(customer(1))
			}
			p.take(s, 10)
			<-time.After(500 * time.Millisecond)
		}
		live := v.Live()
		if live["100"] == nil || live["1"] != nil {
			t.Errorf("after 12 s with a call a second the new customer is there: %v, the deleted one too: %v", live["100"] != nil, live["1"] != nil)
		}
	})
}

func TestRemovedInTheAppIsForgotten(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.OnAppDelete = "forget" }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 2)
		v.Archive(v.Live()["1"]["id"])
		for ver := 2; ver < 5; ver++ {
			s.begin()
			s.update(row(1, "c1@x.test", "New", "pro", ver, 1))
			p.take(s, 10)
			p.settle()
		}
		if pushes, _ := v.Calls(); pushes != 2 || len(v.Live()) != 1 {
			t.Errorf("%d calls, %d records: want the first, the one that found it gone, and one record", pushes, len(v.Live()))
		}
	})
}

func TestRemovalOfWhatIsGoneIsDone(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 1)
		v.Archive(v.Live()["1"]["id"])
		s.begin()
		s.delete(customer(1))
		p.take(s, 10)
		if g := p.settle(); g.Held != 0 {
			t.Errorf("%+v: a removal has nothing to be decided", g)
		}
	})
}

func TestRefusedEventsLeaveNoGap(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 1)
		s.begin()
		s.update(row(1, "", "New", "pro", 2, 1)) // refused: it has no e-mail
		s.update(unsaid(row(1, "", "", "pro", 3, 1)))
		s.update(unsaid(row(1, "c1@x.test", "", "pro", 4, 1)))
		p.take(s, 1)
		p.settle()
		if r := v.Live()["1"]; r["name"] != "New" || r["ver"] != "4" {
			t.Errorf("the app has %v, want the name that only the refused event had", r)
		}
		if l := p.ledger(); l.Rejected != 0 || l.Superseded != 2 {
			t.Errorf("ledger %+v", l)
		}
	})
}

func TestFormerRowsRecordIsRemovedWhenTheNextIsRefused(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 1)
		v.SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault { return sinktest.Busy })
		s.begin()
		s.delete(customer(1))
		s.insert(row(1, "other@x.test", "Other", "pro", 1, 2))
		s.update(row(1, "", "Other", "pro", 2, 2))
		p.take(s, 1)
		v.SetFault(nil)
		p.settle()
		if live := v.Live(); len(live) != 0 {
			t.Errorf("the app has %v, want nothing: the deleted row's record is gone, the new row is refused", live)
		}
		if l := p.ledger(); l.Rejected != 1 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// A change is on its way and can't be sent, and meanwhile a newer event of its row is refused: the older one is not sent, as if it
// had waited.
func TestRefusedWhileAnOlderChangeFails(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.point = func(name string) {
			if calls, _ := v.Calls(); name == "dispatch.before_call" && calls == 0 {
				<-time.After(time.Second)
			}
		}
		v.SetFault(onCall(1, sinktest.Busy))
		s.begin()
		s.insert(customer(1))
		p.take(s, 100)
		<-time.After(100 * time.Millisecond)
		s.begin()
		s.update(row(1, "", "Refused", "pro", 2, 1))
		p.take(s, 100)
		p.settle()
		if calls, _ := v.Calls(); calls != 1 {
			t.Errorf("%d calls were made, want the one that failed", calls)
		}
		if l := p.ledger(); len(v.Live()) != 0 || l.Rejected != 1 || l.Pending != 0 {
			t.Errorf("ledger %+v, the app has %v", l, v.Live())
		}
	})
}

// Neither the answer to a create nor that to the fields set on its row's delete is seen, for the process ends each time. When the
// row comes back, everything is written, what the app owns too.
func TestFieldsSetUnseenAreWrittenOver(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.OnDelete, s.SetOnDelete = "set", setTo("gone") }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		pause := func(paused bool) {
			if err := p.engine.Pause(t.Context(), "crm", paused); err != nil {
				t.Fatal(err)
			}
		}
		unseen := func(call int, event func()) {
			p.point = func(name string) {
				if calls, _ := v.Calls(); name == "dispatch.after_call" && calls == call {
					runtime.Goexit()
				}
			}
			s.begin()
			event()
			p.take(s, 100)
			pause(false)
			<-time.After(3 * time.Second)
			pause(true) // what is not known is not looked for before the next event has come
			p.stop()
			p.point = nil
		}
		unseen(1, func() { s.insert(customer(1)) })
		p.open()
		unseen(2, func() { s.delete(customer(1)) })
		if have := v.Live()["1"]; have["stage"] != "gone" {
			t.Fatalf("the app has %v", v.Live())
		}
		p.open()
		s.begin()
		s.insert(row(1, "c1@x.test", "Back", "pro", 3, 1))
		p.take(s, 100)
		pause(false)
		p.settle()
		if have := v.Live()["1"]; have["stage"] != "lead" || have["name"] != "Back" {
			t.Errorf("the row is back, and the app has %v", have)
		}
	})
}
