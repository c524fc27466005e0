package sink_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

func key(id int) []byte { return fmt.Appendf(nil, `{"id":%d}`, id) }

func (p *plant) forget(id int, erase bool) sink.Forgotten {
	p.t.Helper()
	done, err := p.engine.Forget(p.t.Context(), "crm", key(id), erase)
	if err != nil {
		p.t.Fatal(err)
	}
	return done
}

func TestForgottenStaysForgotten(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 3)
		s.begin()
		s.update(row(1, "c1@x.test", "Changed", "pro", 2, 1))
		s.update(row(2, "", "Refused", "pro", 2, 2))
		p.take(s, 100)
		p.settle()
		if got := p.forget(1, true); !got.Erased || !got.Record || got.History != 2 || got.Before {
			t.Errorf("%+v", got)
		}
		if got := p.forget(2, false); got.Erased || got.Entries != 1 || got.History != 1 {
			t.Errorf("%+v", got)
		}
		if got := p.forget(1, true); got.Erased || got.Record || got.History != 0 || !got.Before {
			t.Errorf("again: %+v", got)
		}
		if live := v.Live(); len(live) != 2 || live["1"] != nil || live["2"] == nil {
			t.Errorf("the app has %v, want record 2 left as it was", live)
		}
		if err := p.engine.Recount(t.Context(), "crm"); err != nil {
			t.Error(err)
		}
		// Neither the row's changes nor the log read from its start bring it back, also after a restart, also under
		// another key.
		p.stop()
		p.open()
		s.begin()
		s.update(row(1, "c1@x.test", "Again", "pro", 3, 1))
		s.update(row(2, "c2@x.test", "Again", "pro", 3, 2))
		s.begin()
		s.rekey(row(1, "c1@x.test", "Again", "pro", 3, 1), row(9, "c1@x.test", "Moved", "pro", 4, 1))
		s.begin()
		s.update(row(9, "c1@x.test", "Later", "pro", 5, 1))
		s.begin()
		s.delete(row(9, "c1@x.test", "Later", "pro", 5, 1))
		p.take(s, 100)
		p.settle()
		if l := p.ledger(); l.Waiting != 0 || l.Filtered != 4 || l.Unchanged != 2 {
			t.Errorf("ledger %+v, want all events of forgotten keys passed over, deletes as unchanged", l)
		}
		if live := v.Live(); len(live) != 2 || live["2"]["name"] != "C" || live["3"] == nil {
			t.Errorf("the app has %v", live)
		}
		for id, c := range map[int]bool{1: true, 2: true, 3: false} {
			n := 0
			if err := p.engine.Changes(t.Context(), "crm", 100, func(r sink.RecordChange) error {
				if string(r.Key) == string(key(id)) {
					n++
				}
				return nil
			}); err != nil || (n == 0) != c {
				t.Errorf("key %d has %d changes in the history, %v", id, n, err)
			}
		}
		if err := p.store.View(t.Context(), func(tx state.Tx) error {
			return tx.ScanQuarantine(1, 0, 10, func(q *state.Quarantine) error {
				t.Errorf("the quarantine has %s", q.Key)
				return nil
			})
		}); err != nil {
			t.Error(err)
		}
		if err := p.engine.Recount(t.Context(), "crm"); err != nil {
			t.Error(err)
		}
	})
}

func TestForgetErasesWhatWasSentWithNoAnswer(t *testing.T) {
	for name, is := range map[string]struct {
		fault sinktest.Fault
		takes time.Duration
	}{
		"made": {sinktest.DropAfter, 0}, "made later": {sinktest.Late, 0}, "made later, after a long wait": {sinktest.Late, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
				n := 0
				v.SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault {
					if n++; n == 1 {
						<-time.After(is.takes)
						return is.fault
					}
					return sinktest.Busy
				})
				s.begin()
				s.insert(customer(1))
				p.take(s, 100)
				<-time.After(time.Millisecond)
				if n != 1 {
					t.Fatalf("%d calls were made, want one", n)
				}
				done, err := p.engine.Forget(t.Context(), "crm", key(1), true)
				if err != nil || !done.Erased {
					t.Fatalf("%+v, %v", done, err)
				}
				v.SetFault(nil)
				p.settle()
				if live := v.Live(); v.Created() != 1 || len(live) != 0 {
					t.Errorf("the app has %v", live)
				}
			})
		})
	}
}

func TestForgetErasesNothingThatItCannot(t *testing.T) {
	store, err := state.OpenSQLite(t.TempDir()+"/state.db", state.SQLiteOptions{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	e, err := sink.New(t.Context(), sink.Options{Store: store, Apps: map[string]sink.App{"null": null{}}, Pipelines: []sink.Spec{{
		Name: "crm", Topic: customers.Topic, App: "null", Object: "o", Program: program{print: "1"}, Schema: schema,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Forget(t.Context(), "crm", key(1), true); err == nil || !strings.Contains(err.Error(), "can't erase") {
		t.Errorf("got %v", err)
	}
	if _, err := e.Forget(t.Context(), "other", key(1), false); err == nil {
		t.Error("there is no such pipeline")
	}
}

// Under UPDATE t SET id = id + 1 each key goes to the next row before its own gives it up. A row that is forgotten stays so
// under its new key; the row that gets its key is gone as far as the app goes; all others keep their records.
func TestForgottenRowAmongChangedKeys(t *testing.T) {
	const rows, forgotten = 8, 3
	for _, partitions := range []int{1, 6} {
		for _, size := range []int{1, 700} {
			t.Run(fmt.Sprintf("%d partitions, %d at once", partitions, size), func(t *testing.T) {
				bubbleOf(t, partitions, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
					p.fill(s, rows)
					before := v.Live()
					p.forget(forgotten, true)
					s.begin()
					for id := 1; id <= rows; id++ {
						s.rekey(row(id, before[itoa(id)]["email"], "C", "pro", 1, id), row(id+1, before[itoa(id)]["email"], "C", "pro", 2, id))
					}
					s.begin()
					for id := 1; id <= rows; id++ {
						s.update(row(id+1, before[itoa(id)]["email"], "Later", "pro", 3, id))
					}
					p.take(s, size)
					p.settle()
					after := v.Live()
					if len(after) != rows-2 {
						t.Errorf("the app has %d records: %v", len(after), after)
					}
					for id := 1; id <= rows; id++ {
						was, is := before[itoa(id)], after[itoa(id+1)]
						if gone := id == forgotten || id == forgotten-1; gone != (is == nil) || !gone && (is["id"] != was["id"] || is["name"] != "Later") {
							t.Errorf("row %d: record %v became %v", id, was, is)
						}
					}
					if l := p.ledger(); l.Waiting+l.Pending != 0 {
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

// The two halves of a changed key are not taken in together, and its new key is forgotten in between.
func TestKeyIsForgottenBeforeARowHasIt(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 4)
		s.begin()
		old, now := row(4, "c4@x.test", "C", "pro", 1, 4), row(6, "c4@x.test", "C", "pro", 2, 4)
		s.moveOut(old, now)
		p.take(s, 100)
		p.forget(6, false)
		s.moveInto(old, now)
		p.take(s, 100)
		p.settle()
		if live := v.Live(); len(live) != 3 {
			t.Errorf("the app has %v, want the rows 1 to 3", live)
		}
	})
}

// takePart takes in what a partition has.
func (p *plant) takePart(s *shop, n int) {
	p.t.Helper()
	all := s.parts[n]
	if err := p.engine.Pipeline("crm").Take(p.t.Context(), customers.Topic, n, all[p.next[n]:]); err != nil {
		p.t.Fatal(err)
	}
	p.next[n] = int64(len(all))
}

// Two rows swap keys, and one of the keys is forgotten when only its partition has come: what was put off on it offers the
// other key nothing any more, and nobody waits for that.
func TestForgottenWhileKeysSwap(t *testing.T) {
	bubbleOf(t, 6, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 8)
		partOf := map[int]int{}
		for id := 1; id <= 8; id++ {
			before := make([]int, len(s.parts))
			for n := range s.parts {
				before[n] = len(s.parts[n])
			}
			s.begin()
			s.update(row(id, "c"+itoa(id)+"@x.test", "D", "pro", 2, id))
			for n := range s.parts {
				if len(s.parts[n]) > before[n] {
					partOf[id] = n
				}
			}
		}
		other := 2
		for partOf[other] == partOf[1] {
			other++
		}
		p.take(s, 100)
		p.settle()
		one, two := row(1, "c1@x.test", "D", "pro", 2, 1), row(other, "c"+itoa(other)+"@x.test", "D", "pro", 2, other)
		s.begin()
		s.rekey(one, row(other, "c1@x.test", "D", "pro", 3, 1))
		s.rekey(two, row(1, "c"+itoa(other)+"@x.test", "D", "pro", 3, other))
		p.takePart(s, partOf[other]) // its create waits for the other key's delete, and its delete behind that
		if l := p.ledger(); l.Waiting == 0 {
			t.Fatalf("nothing waits: %+v", l)
		}
		if got := p.forget(other, true); !got.Record || !got.Erased {
			t.Errorf("%+v", got)
		}
		began := time.Now()
		p.take(s, 100)
		p.settle()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
		if l := p.ledger(); l.Waiting != 0 {
			t.Errorf("something waits still: %+v", l)
		}
		live := v.Live()
		if len(live) != 6 || live["1"] != nil || live[itoa(other)] != nil {
			t.Errorf("the app has %v, want all rows but 1 and %d", live, other)
		}
		s.begin() // the forgotten row has key 1 now
		s.update(row(1, "c"+itoa(other)+"@x.test", "E", "pro", 4, other))
		p.take(s, 100)
		p.settle()
		if len(v.Live()) != 6 {
			t.Errorf("the forgotten row is back: %v", v.Live())
		}
	})
}

// A change is not answered, its row goes to a forgotten key, and another row takes the key that it had and is deleted too, all before
// it is known what became of the change: nothing stays of the first row.
func TestRowGoesToAForgottenKeyUnanswered(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.OnDelete, s.SetOnDelete = "set", setTo("gone") }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 2)
		p.forget(3, true)
		v.SetFault(onCall(2, sinktest.DropAfter))
		s.begin()
		s.update(row(1, "c1@x.test", "Changed", "pro", 2, 1))
		p.take(s, 100)
		<-time.After(50 * time.Millisecond)
		s.begin()
		s.rekey(row(1, "c1@x.test", "Changed", "pro", 2, 1), row(3, "c1@x.test", "Changed", "pro", 3, 1))
		s.begin()
		s.insert(row(1, "c9@x.test", "Other", "pro", 1, 9))
		s.begin()
		s.delete(row(1, "c9@x.test", "Other", "pro", 1, 9))
		p.take(s, 100)
		p.settle()
		for _, have := range v.Live() {
			if have["ident"] == "1" {
				t.Errorf("the app has %v", have)
			}
		}
	})
}
