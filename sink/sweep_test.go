package sink_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// All keys move on while their table is loaded, and one partition is at the end of the load before the others have begun: what its keys
// have become is not known there yet.
func TestSnapshotEndsAsKeysMove(t *testing.T) {
	const rows, partitions = 12, 6
	for first := range partitions {
		t.Run(fmt.Sprintf("partition %d first", first), func(t *testing.T) {
			bubbleOf(t, partitions, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
				p.fill(s, rows)
				before := v.Live()
				s.marker(change.SnapshotBegin, "1")
				s.begin()
				moved := func(id int) change.Row { return row(id+1, "c"+itoa(id)+"@x.test", "C", "pro", 2, id) }
				for id := 1; id < rows; id++ { // the last one is gone
					s.rekey(customer(id), moved(id))
				}
				s.begin()
				for id := 1; id < rows; id++ {
					s.read(moved(id), id)
				}
				s.marker(change.SnapshotEnd, "1")
				if err := p.engine.Pipeline("crm").Take(t.Context(), customers.Topic, first, s.parts[first][p.next[first]:]); err != nil {
					t.Fatal(err)
				}
				p.next[first] = int64(len(s.parts[first]))
				<-time.After(time.Minute)
				p.take(s, 100)
				p.settle()
				live := v.Live()
				for id := 1; id < rows; id++ {
					if was, is := before[itoa(id)], live[itoa(id+1)]; is["id"] != was["id"] || is["ident"] != itoa(id) {
						t.Errorf("row %d: record %v became %v", id, was, is)
					}
				}
				if len(live) != rows-1 {
					t.Errorf("the app has %d records, want %d", len(live), rows-1)
				}
			})
		})
	}
}

// What a snapshot did not find is looked for again by the next process.
func TestEndOfASnapshotIsNotForgotten(t *testing.T) {
	for _, point := range []string{"sweep.before_commit", "sweep.after_commit"} {
		t.Run(point, func(t *testing.T) {
			bubble(t, func(s *sink.Spec) { s.Guard.Deletes = sink.Quota{Share: -1, Count: -1} }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
				p.fill(s, 1200) // more than one transaction of a sweep
				p.point = once(point)
				s.marker(change.SnapshotBegin, "1")
				s.begin()
				s.read(customer(7), 7)
				s.marker(change.SnapshotEnd, "1")
				s.begin()
				s.insert(customer(1201))
				s.insert(customer(3)) // its row is there again
				p.take(s, 100)
				<-time.After(time.Minute)
				if g, err := p.engine.Progress("crm", nil); err != nil || g.CaughtUp() {
					t.Errorf("it says %+v, %v before it knows what is gone", g, err)
				}
				if !p.status().Partitions[0].Unsettled {
					t.Error("its status does not say that the end of the snapshot is not done with")
				}
				p.stop()
				p.point = nil
				p.open()
				p.settle()
				if live := v.Live(); len(live) != 3 || live["7"] == nil || live["1201"] == nil || live["3"] == nil {
					t.Errorf("the app has %d records, want 3", len(live))
				}
			})
		})
	}
}

// A row takes the key of one that a snapshot has just not found, and another one in the same commit.
func TestKeyOfAGoneRowIsTaken(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 5)
		before := v.Live()
		s.marker(change.SnapshotBegin, "1")
		s.begin()
		for _, id := range []int{1, 2, 4, 5} {
			s.read(customer(id), id)
		}
		s.marker(change.SnapshotEnd, "1")
		s.begin()
		two := func(id, ver int) change.Row { return row(id, "c2@x.test", "C", "pro", ver, 2) }
		s.rekey(two(2, 1), two(3, 2))
		s.rekey(two(3, 2), two(6, 3))
		p.take(s, 100)
		p.settle()
		live := v.Live()
		if len(live) != 4 || live["6"]["id"] != before["2"]["id"] || live["6"]["ident"] != "2" {
			t.Errorf("the app has %v", live)
		}
	})
}

// once ends the goroutine that passes a failpoint first.
func once(point string) func(string) {
	var done atomic.Bool
	return func(name string) {
		if name == point && !done.Swap(true) {
			runtime.Goexit()
		}
	}
}

// cutSweep ends a snapshot that finds nothing, and the goroutine that looks for what is gone at a failpoint.
func (p *plant) cutSweep(s *shop, point string) {
	p.t.Helper()
	p.point = once(point)
	s.marker(change.SnapshotBegin, "1")
	s.marker(change.SnapshotEnd, "1")
	p.take(s, 100)
	<-time.After(time.Minute)
}

// The process ends when the guard has seen a part of what a snapshot did not find, which it would let through.
func TestGuardSeesAllThatASnapshotDidNotFind(t *testing.T) {
	bubble(t, func(s *sink.Spec) { s.Guard.Deletes = sink.Quota{Share: -1, Count: 600} }, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 1200)
		p.cutSweep(s, "sweep.after_commit")
		if held := len(v.Live()); held != 1200 {
			t.Errorf("%d are gone before the guard has seen all", 1200-held)
		}
		p.stop()
		p.open()
		p.settle()
		if stops := p.engine.Guards(); len(stops) != 1 || stops[0].Queued != 1200 {
			t.Errorf("guards: %+v", stops)
		}
		if live := len(v.Live()); live != 1200 {
			t.Errorf("the app has %d records, want all", live)
		}
	})
}

// A table is emptied while what a snapshot of it did not find is being deleted: rows that are deleted afterwards do not wait for that.
func TestTruncateInASweep(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 5)
		p.cutSweep(s, "sweep.before_commit")
		s.truncate()
		s.begin()
		s.insert(customer(6))
		s.begin()
		s.insert(customer(7))
		p.take(s, 100)
		p.settle()
		s.begin()
		s.delete(customer(6))
		p.take(s, 100)
		p.settle()
		if live := v.Live(); live["6"] != nil || live["7"] == nil {
			t.Errorf("the app has %v", live)
		}
		if stops := p.engine.Guards(); len(stops) != 1 || stops[0].Kind != "truncate" || stops[0].Queued != 5 {
			t.Errorf("guards: %+v", stops)
		}
	})
}

// The answer to a change is lost, and the table is emptied before it is known whether the app has it.
func TestApprovedTruncateOfWhatMayHaveBeenSent(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 2)
		v.SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault { return sinktest.DropAfter })
		s.begin()
		s.update(row(1, "c1@x.test", "New", "pro", 2, 1))
		p.take(s, 100)
		<-time.After(100 * time.Millisecond)
		v.SetFault(nil)
		s.truncate()
		p.take(s, 100)
		for _, stop := range p.engine.Guards() {
			if _, err := p.engine.Approve(t.Context(), stop); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.engine.Recount(t.Context(), "crm"); err != nil {
			t.Error(err)
		}
		p.settle()
		if live := v.Live(); len(live) != 0 {
			t.Errorf("the app has %v", live)
		}
	})
}
