package sink_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// keyed runs a test with 1 and 6 partitions, taking messages in one by one and many at once.
func keyed(t *testing.T, rows int, byCode bool, test func(t *testing.T, s *shop), check func(t *testing.T, before, after map[string]map[string]string)) {
	for _, partitions := range []int{1, 6} {
		for _, size := range []int{1, 700} {
			t.Run(fmt.Sprintf("%d partitions, %d at once", partitions, size), func(t *testing.T) {
				bubbleOf(t, partitions, func(s *sink.Spec) { s.Program = program{print: "1", byCode: byCode} }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
					for id := 1; id <= rows; id++ {
						s.begin()
						s.insert(row(id, fmt.Sprintf("c%d@x.test", id), "C", "pro", 1, id))
					}
					p.take(s, 1000)
					p.settle()
					before := v.Live()
					s.begin()
					test(t, s)
					p.take(s, size)
					p.settle()
					check(t, before, v.Live())
					if l := p.ledger(); l.Rejected+l.Held+l.Waiting+l.Pending != 0 || l.Keys.InApp != int64(len(v.Live())) {
						t.Errorf("ledger %+v", l)
					}
					if err := v.Err(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// follows checks that each row has the record that it had, under another key.
func follows(t *testing.T, before, after map[string]map[string]string, to func(id int) int) {
	t.Helper()
	if len(after) != len(before) {
		t.Errorf("the app had %d records and has %d", len(before), len(after))
	}
	for id := 1; id <= len(before); id++ {
		was, is := before[itoa(id)], after[itoa(to(id))]
		if is == nil || is["ident"] != was["ident"] || is["id"] != was["id"] {
			t.Fatalf("row %d: record %v became %v", id, was, is)
		}
	}
}

// UPDATE t SET id = id + 1, in the order in which each key is given away before its row gives it up.
func TestEveryKeyGoesToTheNext(t *testing.T) {
	const rows = 1000
	keyed(t, rows, false, func(_ *testing.T, s *shop) {
		for id := 1; id <= rows; id++ {
			s.rekey(row(id, fmt.Sprintf("c%d@x.test", id), "C", "pro", 1, id), row(id+1, fmt.Sprintf("c%d@x.test", id), "C", "pro", 2, id))
		}
	}, func(t *testing.T, before, after map[string]map[string]string) {
		follows(t, before, after, func(id int) int { return id + 1 })
	})
}

func TestTwoRowsSwapKeys(t *testing.T) {
	keyed(t, 2, false, func(_ *testing.T, s *shop) {
		s.rekey(row(1, "c1@x.test", "C", "pro", 1, 1), row(2, "c1@x.test", "C", "pro", 2, 1))
		s.rekey(row(2, "c2@x.test", "C", "pro", 1, 2), row(1, "c2@x.test", "C", "pro", 2, 2))
	}, func(t *testing.T, before, after map[string]map[string]string) {
		follows(t, before, after, func(id int) int { return 3 - id })
	})
}

func TestOldKeyIsUsedAgain(t *testing.T) {
	keyed(t, 1, false, func(_ *testing.T, s *shop) {
		s.rekey(row(1, "c1@x.test", "C", "pro", 1, 1), row(2, "c1@x.test", "C", "pro", 2, 1))
		s.insert(row(1, "new@x.test", "New", "pro", 1, 9))
	}, func(t *testing.T, before, after map[string]map[string]string) {
		if len(after) != 2 || after["2"]["id"] != before["1"]["id"] || after["1"]["ident"] != "9" {
			t.Errorf("the app has %v", after)
		}
	})
}

// The app's key is a unique column that is not the table's key.
func TestTwoRowsExchangeAppKeys(t *testing.T) {
	keyed(t, 3, true, func(_ *testing.T, s *shop) {
		for _, id := range []int{1, 2} {
			s.update(coded(id, 3-id, 2))
		}
	}, func(t *testing.T, before, after map[string]map[string]string) {
		for id, code := range map[int]int{1: 2, 2: 1, 3: 3} {
			was, is := before[itoa(id)], after[itoa(code)]
			if is == nil || is["ident"] != itoa(id) || is["id"] != was["id"] {
				t.Errorf("row %d: record %v became %v", id, was, is)
			}
		}
	})
}

// coded is a customer whose code, the app's key in some tests, is another number than its id.
func coded(id, code, ver int) change.Row {
	r := row(id, "c"+itoa(id)+"@x.test", "C", "pro", ver, id)
	r[6] = change.OfInt(int64(code))
	return r
}

// haveTheirOwn checks that rows 1 and 2 have the records 1 and 2, under the same keys, of that version.
func (p *plant) haveTheirOwn(ver int) {
	p.t.Helper()
	live := p.vendor.Live()
	for _, id := range []string{"1", "2"} {
		if is := live[id]; is == nil || is["id"] != id || is["ident"] != id || is["ver"] != itoa(ver) {
			p.t.Errorf("row %s has the record %v", id, is)
		}
	}
	if l := p.ledger(); len(live) != 2 || l.Rejected != 0 {
		p.t.Errorf("ledger %+v, the app has %v", l, live)
	}
}

// The creates of two rows are not answered, and the rows exchange the app's key before it is known what became of them: each
// row's record is the one that was sent with the key that the row had then.
func TestUnansweredCreatesExchangeKeys(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.Program = program{print: "1", byCode: true} }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		v.SetFault(onCall(1, sinktest.DropAfter))
		s.begin()
		s.insert(coded(1, 2, 1))
		s.insert(coded(2, 1, 1))
		p.take(s, 100)
		<-time.After(50 * time.Millisecond)
		if calls, _ := v.Calls(); calls != 1 {
			t.Fatalf("%d calls were made, want one", calls)
		}
		if err := p.engine.Pause(t.Context(), "crm", true); err != nil {
			t.Fatal(err)
		}
		s.begin()
		s.update(coded(1, 1, 2))
		s.update(coded(2, 2, 2))
		p.take(s, 100)
		if err := p.engine.Pause(t.Context(), "crm", false); err != nil {
			t.Fatal(err)
		}
		p.settle()
		p.haveTheirOwn(2)
	})
}

// The second half of an exchange is read long after the first: its row waits that long for the key, and the two then go one
// after the other.
func TestHalfAnExchangeComesLate(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.Program = program{print: "1", byCode: true} }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		v.Bounds.Batch, v.Bounds.Concurrent = 1, 1
		p.fill(s, 2)
		s.begin()
		s.update(coded(1, 2, 2))
		p.take(s, 100)
		<-time.After(5 * time.Minute)
		s.update(coded(2, 1, 2))
		p.take(s, 100)
		p.settle()
		live := v.Live()
		if l := p.ledger(); len(live) != 2 || live["2"]["ident"] != "1" || live["1"]["ident"] != "2" || l.Rejected != 0 {
			t.Errorf("ledger %+v, the app has %v", l, live)
		}
	})
}

// Two rows exchange the app's key, the process ends before the answer, and the rows exchange it back: the app has the keys of in
// between.
func TestUnansweredExchangeIsTakenBack(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.Program = program{print: "1", byCode: true} }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 2)
		take := func(one, two change.Row) {
			s.begin()
			s.update(one)
			s.update(two)
			p.take(s, 100)
		}
		p.point = func(name string) {
			if calls, _ := v.Calls(); name == "dispatch.after_call" && calls == 4 { // one has filled, one was refused, one has cleared both keys
				runtime.Goexit()
			}
		}
		take(coded(1, 2, 2), coded(2, 1, 2))
		<-time.After(50 * time.Millisecond)
		if live := v.Live(); live["1"]["ident"] != "2" || live["2"]["ident"] != "1" {
			t.Fatalf("the app has %v before the answer is lost", live)
		}
		p.stop()
		p.point = nil
		p.open()
		take(coded(1, 1, 3), coded(2, 2, 3))
		p.settle()
		p.haveTheirOwn(3)
	})
}

// A record gets the key that a row had whose create has not gone out yet, and the event that gives that row another key has
// not been taken in: the create would be written over the record.
func TestCreateDoesNotGoWithALostKey(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.Program = program{print: "1", byCode: true} }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 1)
		v.Observe = func(_ sink.Action, id string, fields map[string]string) error {
			if ident := fields["ident"]; (id == "1") != (ident == "1") {
				return fmt.Errorf("record %s is made row %s's", id, ident)
			}
			return nil
		}
		pause := func(paused bool) {
			if err := p.engine.Pause(t.Context(), "crm", paused); err != nil {
				t.Fatal(err)
			}
		}
		pause(true)
		s.begin()
		s.insert(customer(2))
		s.begin()
		s.update(coded(1, 2, 2))
		p.take(s, 100)
		pause(false)
		<-time.After(5 * time.Second)
		second := row(2, "c2@x.test", "C", "pro", 2, 2)
		second[6] = row(1, "", "", "", 0, 0)[0]
		s.update(second) // of the same commit
		p.take(s, 100)
		p.settle()
		live := v.Live()
		if len(live) != 2 || live["2"]["ident"] != "1" || live["1"]["ident"] != "2" {
			t.Errorf("the app has %v", live)
		}
		if l := p.ledger(); l.Rejected != 0 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// A source whose keys are not unique has the second row's record refused, not waiting without end.
func TestKeyThatIsNotUniqueIsRefused(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.Program = program{print: "1", byCode: true} }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 1)
		s.begin()
		s.update(coded(1, 2, 2))
		s.begin()
		s.insert(customer(2))
		p.take(s, 100)
		for range 40 {
			<-time.After(time.Second)
			if err := p.engine.Pipeline("crm").Idle(t.Context(), customers.Topic, 0, p.next[0]); err != nil {
				t.Fatal(err)
			}
		}
		p.settle()
		if l := p.ledger(); l.Rejected != 1 || l.Pending != 0 {
			t.Errorf("ledger %+v", l)
		}
		if live := v.Live(); len(live) != 1 || live["2"]["ident"] != "1" {
			t.Errorf("the app has %v", live)
		}
	})
}
