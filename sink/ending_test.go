package sink_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// lastRead is a vendor whose first answer to a read comes when the process that asked has no time left.
type lastRead struct {
	*sinktest.Vendor
	end func() // nil: it has come
}

func (l *lastRead) Read(ctx context.Context, object, field string, values, fields []string) ([]sink.Record, error) {
	found, err := l.Vendor.Read(ctx, object, field, values, fields)
	if end := l.end; end != nil {
		l.end = nil
		go end()
		<-ctx.Done()
	}
	return found, err
}

// A create is not answered and its row gets another key; the process ends as it is told that the record is there.
func TestProcessEndsAsItLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor()
		v.SetFault(onCall(1, sinktest.DropAfter))
		p, s := newPlant(t, v, 1, nil), newShop(1)
		stopped := make(chan bool)
		p.app = &lastRead{v, func() {
			p.stop()
			close(stopped)
		}}
		p.open()
		defer func() { p.stop() }()
		s.begin()
		s.insert(customer(1))
		p.take(s, 100)
		<-time.After(time.Millisecond)
		if calls, _ := v.Calls(); calls != 1 {
			t.Fatalf("%d calls were made, want one", calls)
		}
		s.begin()
		s.rekey(customer(1), row(2, "c1@x.test", "C", "pro", 2, 1))
		p.take(s, 100)
		<-stopped
		p.open()
		p.take(s, 100)
		p.settle()
		if live := v.Live(); len(live) != 1 || live["2"]["ident"] != "1" {
			t.Errorf("the app has %v, want one record under the new key", live)
		}
	})
}

// A call is cut off, and carried out a second later: its row's next state comes after it, and nothing is made twice.
func TestCutCallIsCarriedOutLate(t *testing.T) {
	for name, next := range map[string]func(s *shop){
		"another value": func(s *shop) { s.update(row(1, "c1@x.test", "Next", "pro", 2, 1)) },
		"another key":   func(s *shop) { s.rekey(customer(1), row(2, "c1@x.test", "Next", "pro", 2, 1)) },
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %v", name, killed), func(t *testing.T) {
				bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
					v.SetFault(onCall(1, sinktest.Late))
					p.point = func(name string) {
						if calls, _ := v.Calls(); killed && calls == 1 && name == "dispatch.after_call" {
							runtime.Goexit()
						}
					}
					s.begin()
					s.insert(customer(1))
					p.take(s, 100)
					<-time.After(50 * time.Millisecond)
					if killed {
						p.stop()
						p.open()
					}
					s.begin()
					next(s)
					p.take(s, 100)
					p.settle()
					<-time.After(2 * time.Second)
					live := v.Live()
					for _, have := range live {
						if have["name"] != "Next" {
							t.Errorf("the app has %v", live)
						}
					}
					if len(live) != 1 {
						t.Errorf("the app has %v", live)
					}
				})
			})
		}
	}
}

// Calls are not answered that give a record another key, and what would have settled that is never sent, or does not. The key is
// written with the next state, though it is the one that the record had before.
func TestKeyInDoubtIsWritten(t *testing.T) {
	one := func(name string, ver int) change.Row { return row(1, "c1@x.test", name, "pro", ver, 1) }
	two := func(name, plan string, ver int) change.Row { return row(2, "c1@x.test", name, plan, ver, 1) }
	for name, test := range map[string]func(s *shop, take, later func()){
		"its row left, and came back with what the app refuses": func(s *shop, take, later func()) {
			s.begin()
			s.update(two("Left", "test", 3))
			s.begin()
			s.update(two("Poison", "pro", 4))
			take()
			s.begin()
			s.rekey(two("Poison", "pro", 4), one("Back", 5))
			later()
		},
		"its row was deleted, and came back": func(s *shop, take, later func()) {
			s.begin()
			s.rekey(two("C", "pro", 2), one("C", 3))
			s.begin()
			s.delete(one("C", 3))
			take()
			s.begin()
			s.insert(one("Back", 5))
			later()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(s *sink.Spec) {
				s.OnDelete, s.SetOnDelete, s.OnLeave, s.SetOnLeave = "set", setTo("gone"), "set", setTo("left")
			}, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
				p.fill(s, 1)
				v.Poison = func(c sink.Change) bool {
					return slices.ContainsFunc(c.Fields, func(f sink.Field) bool { return f.Value.Text() == "Poison" })
				}
				v.SetFault(func(call int, _ sink.Action, changes []sink.Change) sinktest.Fault {
					switch {
					case call == 2:
						return sinktest.DropAfter
					case slices.ContainsFunc(changes[0].Fields, func(f sink.Field) bool { return f.Value.Text() == "left" }):
						return sinktest.Broken
					}
					return sinktest.None
				})
				s.begin()
				s.rekey(customer(1), two("C", "pro", 2))
				p.take(s, 100)
				<-time.After(50 * time.Millisecond)
				if live := v.Live(); live["2"] == nil {
					t.Fatalf("the app has %v", live)
				}
				test(s, func() {
					p.take(s, 100)
					<-time.After(10 * time.Second)
				}, func() { p.take(s, 100) })
				p.settle()
				if live := v.Live(); len(live) != 1 || live["1"]["name"] != "Back" {
					t.Errorf("the app has %v", live)
				}
			})
		})
	}
}

// A record is removed whose fields had been set, another one is made for its row with no answer, and that row's next event is
// refused: the fields are set when the row is deleted.
func TestRemovedRecordIsNotSet(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.OnDelete, s.SetOnDelete = "set", setTo("gone") }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 1)
		s.begin()
		s.delete(customer(1))
		p.take(s, 100)
		p.settle()
		if have := v.Live()["1"]; have["stage"] != "gone" {
			t.Fatalf("the app has %v", have)
		}
		s.begin()
		s.insert(row(1, "c1@x.test", "C", "test", 2, 2))
		p.take(s, 100)
		p.settle()
		if live := v.Live(); len(live) != 0 {
			t.Fatalf("its row left, and the app has %v", live)
		}
		before, _ := v.Calls()
		v.SetFault(onCall(before+1, sinktest.DropAfter))
		s.begin()
		s.update(row(1, "c1@x.test", "C", "pro", 3, 2))
		p.take(s, 100)
		<-time.After(50 * time.Millisecond)
		s.begin()
		s.update(row(1, "", "C", "pro", 4, 2))
		p.take(s, 100)
		p.settle()
		s.begin()
		s.delete(row(1, "", "C", "pro", 4, 2))
		p.take(s, 100)
		p.settle()
		if have := v.Live()["1"]; have["stage"] != "gone" {
			t.Errorf("the row is gone, and the app has %v", have)
		}
	})
}

// A record got another key with no answer, and another one the key that it had. Its row is refused then: the record does not take
// the key back.
func TestRefusedRowGivesWay(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 2)
		v.SetFault(onCall(2, sinktest.DropAfter))
		s.begin()
		s.rekey(customer(1), row(3, "c1@x.test", "C", "pro", 2, 1))
		s.rekey(customer(2), row(1, "c2@x.test", "C", "pro", 2, 2))
		p.take(s, 100)
		<-time.After(50 * time.Millisecond)
		if live := v.Live(); live["3"] == nil || live["1"]["ident"] != "2" {
			t.Fatalf("the app has %v", live)
		}
		s.begin()
		s.update(row(3, "", "C", "pro", 3, 1))
		p.take(s, 100)
		<-time.After(10 * time.Second)
		if l, live := p.ledger(), v.Live(); l.Pending != 0 || l.Rejected != 1 || len(live) != 2 || live["1"]["ident"] != "2" {
			t.Errorf("ledger %+v, the app has %v", l, live)
		}
	})
}

// A record whose key is in doubt has what its row is to have refused: it may have that key since before all the same, and gives it
// up when another row takes it.
func TestKeyInDoubtIsGivenUp(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.OnLeave, s.SetOnLeave = "set", setTo("left") }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 2)
		v.Poison = func(c sink.Change) bool {
			return slices.ContainsFunc(c.Fields, func(f sink.Field) bool { return f.Value.Text() == "Poison" })
		}
		v.SetFault(onCall(2, sinktest.DropAfter))
		one := func(id int, name, plan string, ver int) change.Row { return row(id, "c1@x.test", name, plan, ver, 1) }
		s.begin()
		s.rekey(customer(1), one(3, "C", "pro", 2))
		p.take(s, 100)
		<-time.After(50 * time.Millisecond)
		for _, r := range []change.Row{one(3, "C", "test", 3), one(3, "Poison", "pro", 4), one(3, "C", "test", 5)} {
			s.begin()
			s.update(r)
			p.take(s, 100)
			p.settle()
		}
		s.begin()
		s.rekey(one(3, "C", "test", 5), one(4, "C", "test", 6))
		s.rekey(customer(2), row(3, "c2@x.test", "C", "pro", 2, 2))
		p.take(s, 100)
		<-time.After(10 * time.Second)
		if l, live := p.ledger(), v.Live(); l.Pending != 0 || l.Rejected != 0 || live["3"]["ident"] != "2" {
			t.Errorf("ledger %+v, the app has %v", l, live)
		}
	})
}

// A create is under way when its row's next event is refused, and the process ends before it is sent: it is not sent afterwards.
func TestKilledWhileNewerIsRefused(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.point = func(name string) {
			if name == "dispatch.before_call" {
				runtime.Goexit()
			}
		}
		s.begin()
		s.insert(customer(1))
		p.take(s, 100)
		<-time.After(50 * time.Millisecond)
		s.begin()
		s.update(row(1, "", "C", "pro", 2, 1))
		p.take(s, 100)
		p.point = nil
		p.stop()
		p.open()
		p.settle()
		if l, live := p.ledger(), v.Live(); l.Pending != 0 || l.Rejected != 1 || len(live) != 0 {
			t.Errorf("ledger %+v, the app has %v", l, live)
		}
	})
}
