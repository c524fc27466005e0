package sink_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

// verifying is a plant whose vendor has n records of ours, and what was found in it.
type verifying struct {
	*plant
	t     *testing.T
	s     *shop
	v     *sinktest.Vendor
	found chan sink.Edit
	rows  map[int]change.Row
}

func newVerifying(t *testing.T, n int, bounds sink.Limits, with func(*sink.Spec, *sinktest.Vendor)) *verifying {
	v := sinktest.NewVendor("source_id", bounds)
	w := &verifying{t: t, s: newShop(1), v: v, found: make(chan sink.Edit, 10_000), rows: map[int]change.Row{}}
	w.plant = newPlant(t, v, 1, func(spec *sink.Spec) { with(spec, v) })
	w.onEdit = func(e sink.Edit) { w.found <- e }
	w.open()
	for id := 1; id <= n; id++ {
		w.s.begin()
		w.rows[id] = row(id, itoa(id)+"@x.test", "N", "pro", 1, id)
		w.s.insert(w.rows[id])
	}
	w.take(w.s, 1000)
	w.settle()
	return w
}

// touch gives a row another version.
func (w *verifying) touch(id, version int, name string) {
	w.rows[id] = row(id, itoa(id)+"@x.test", name, "pro", version, id)
	w.s.begin()
	w.s.update(w.rows[id])
	w.take(w.s, 1000)
}

// id is the app's id of a row's record.
func (w *verifying) id(row int) string { return w.v.Live()[itoa(row)]["id"] }

// edits returns what was found, each as its kind, its key and its fields.
func (w *verifying) edits() (all []string) {
	for len(w.found) > 0 {
		e := <-w.found
		text := fmt.Sprintf("%s %s", e.Found, e.Key)
		for _, f := range e.Fields {
			text += fmt.Sprintf(" %s: %s -> %s", f.Name, f.Want.Text(), f.Have.Text())
		}
		if e.Left {
			text += " left"
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

func (w *verifying) history(id int) (all []string) {
	w.t.Helper()
	if _, err := w.engine.History(w.t.Context(), "crm", fmt.Appendf(nil, `{"id":%d}`, id), 20, func(c sink.RecordChange) error {
		text := c.Kind.String()
		for _, f := range c.Fields {
			old := f.Old.Text()
			if f.Old.IsUnchanged() {
				old = "?"
			}
			text += fmt.Sprintf(" %s: %s -> %s", f.Name, old, f.New.Text())
		}
		all = append(all, text)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return all
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// TestVerifyBeforeWrite: with one read more a call, edits of what is not written are put back, and those of what is
// written are not lost unseen.
func TestVerifyBeforeWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVerifying(t, 1000, sink.Limits{Batch: 100, Read: 100, Concurrent: 2}, func(spec *sink.Spec, _ *sinktest.Vendor) { spec.Verify.BeforeWrite = true })
		defer func() { w.stop() }()
		w.v.Edit(w.id(1), map[string]string{"email": "mine@x.test", "stage": "customer"})
		w.v.Edit(w.id(2), map[string]string{"name": "Eve", "email": "eve@x.test"})
		w.v.Edit(w.id(3), map[string]string{"source_id": "stray"})
		w.v.Edit(w.id(4), map[string]string{"name": "M"})
		third := w.v.Live()["stray"]["id"]
		pushes, reads := w.v.Calls()
		w.s.begin()
		for id := range 1000 {
			w.rows[id+1] = row(id+1, itoa(id+1)+"@x.test", "M", "pro", 2, id+1)
			w.s.update(w.rows[id+1])
		}
		w.take(w.s, 1000)
		w.settle()
		if p, r := w.v.Calls(); p-pushes != 10 || r-reads != 10 {
			t.Errorf("%d writes and %d reads for 1000 known records", p-pushes, r-reads)
		}
		live := w.v.Live()
		if len(live) != 1000 || live["1"]["email"] != "1@x.test" || live["1"]["stage"] != "customer" || live["2"]["name"] != "M" || live["2"]["email"] != "2@x.test" || live["3"]["id"] != third || live["4"]["name"] != "M" {
			t.Errorf("the app has %d, %v, %v, %v, %v", len(live), live["1"], live["2"], live["3"], live["4"])
		}
		equal(t, w.edits(), []string{
			`app_differs {"id":1} email: 1@x.test -> mine@x.test`,
			`app_differs {"id":2} email: 2@x.test -> eve@x.test name: N -> Eve`,
			`app_differs {"id":3} source_id: 3 -> stray`,
			`app_differs {"id":4} name: N -> M`,
		})
		equal(t, w.history(2), []string{
			"updated email: eve@x.test -> 2@x.test name: Eve -> M ver: 1 -> 2",
			"drifted email: 2@x.test -> eve@x.test name: N -> Eve",
			"created source_id: ? -> 2 email: ? -> 2@x.test name: ? -> N ver: ? -> 1 ident: ? -> 2 stage: ? -> lead",
		})
		if st := w.engine.Status().Pipelines[0].Verify; st.Edited != 4 {
			t.Errorf("%+v", st)
		}
		if err := w.v.Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestVerifyBeforeWriteFindsGone: a record that someone removed is not written, but treated as the pipeline says.
func TestVerifyBeforeWriteFindsGone(t *testing.T) {
	for onGone, want := range map[string]int{"hold": 1, "recreate": 3, "forget": 1} {
		t.Run(onGone, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVerifying(t, 3, sink.Limits{Batch: 10, Read: 10}, func(spec *sink.Spec, _ *sinktest.Vendor) {
					spec.Verify.BeforeWrite, spec.OnAppDelete = true, onGone
				})
				defer func() { w.stop() }()
				w.v.Archive(w.id(1))
				if err := w.v.Erase(t.Context(), "contacts", w.id(2)); err != nil {
					t.Fatal(err)
				}
				for id := 1; id <= 3; id++ {
					w.touch(id, 2, "M")
				}
				w.settle()
				if live := w.v.Live(); len(live) != want || live["3"]["name"] != "M" {
					t.Errorf("the app has %v", live)
				}
				if n := w.engine.Status().Pipelines[0].Verify.Gone; n != 2 {
					t.Errorf("%d gone", n)
				}
			})
		})
	}
}

// TestVerifyRounds: what is edited with no change of its row is put back in the next round, over restarts.
func TestVerifyRounds(t *testing.T) {
	for onGone, want := range map[string]int{"hold": 8, "recreate": 10, "forget": 8} {
		t.Run(onGone, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVerifying(t, 10, sink.Limits{Batch: 10, Read: 3}, func(spec *sink.Spec, _ *sinktest.Vendor) {
					spec.Verify.Every, spec.OnAppDelete = time.Hour, onGone
				})
				defer func() { w.stop() }()
				<-time.After(time.Minute)
				w.v.Edit(w.id(1), map[string]string{"name": "Eve", "stage": "customer"})
				w.v.Edit(w.id(2), map[string]string{"source_id": "stray"})
				w.v.Edit(w.id(5), map[string]string{"stage": "customer"})
				w.v.Archive(w.id(3))
				w.v.Archive(w.id(4))
				stranger := w.v.Add(map[string]string{"name": "Stranger"})
				w.v.Edit(stranger, map[string]string{"name": "S"})
				second := w.v.Live()["stray"]["id"]
				_, reads := w.v.Calls()
				w.stop()
				w.open()
				<-time.After(50 * time.Minute)
				if len(w.found) != 0 || w.v.Polls() != 0 {
					t.Errorf("before its time: %v, %d polls", w.edits(), w.v.Polls())
				}
				<-time.After(10 * time.Minute)
				w.settle()
				if live := w.v.Live(); len(live) != want+1 || live["1"]["name"] != "N" || live["1"]["stage"] != "customer" || live["2"]["id"] != second {
					t.Errorf("the app has %v", live)
				}
				equal(t, w.edits(), []string{`app_archived {"id":3}`, `app_archived {"id":4}`, `app_differs {"id":1} name: N -> Eve`, `app_differs {"id":2} source_id: 2 -> stray`})
				if _, r := w.v.Calls(); r-reads > 2 {
					t.Errorf("%d reads", r-reads)
				}
				// All is as it should be: a round finds its own writes, and nothing else.
				before, _ := w.v.Calls()
				<-time.After(3 * time.Hour)
				if after, _ := w.v.Calls(); after != before || len(w.found) != 0 {
					t.Errorf("%d more writes, found %v", after-before, w.edits())
				}
				st := w.engine.Status().Pipelines[0].Verify
				if st.Edited != 2 || st.Gone != 2 || st.Ended.IsZero() || !st.Next.After(time.Now()) || st.Detail != "" {
					t.Errorf("%+v", st)
				}
				if got := w.history(1); len(got) < 2 || got[1] != "drifted name: N -> Eve" || got[0] != "updated name: Eve -> N" {
					t.Errorf("%q", got)
				}
				if err := w.v.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestVerifyLeavesTheAppsOwnForm: an app that makes another text of a value and does not say so is written once more, or as
// often as is allowed when others change the record in between, and then no more.
func TestVerifyLeavesTheAppsOwnForm(t *testing.T) {
	for name, busy := range map[string]bool{"quiet": false, "edited": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVerifying(t, 5, sink.Limits{Batch: 10, Read: 10}, func(spec *sink.Spec, v *sinktest.Vendor) {
					spec.Verify.Every = time.Hour
					v.Silent, v.Canon = true, func(field, value string) string {
						if field == "name" {
							return strings.ToLower(value)
						}
						return value
					}
				})
				defer func() { w.stop() }()
				pushes, _ := w.v.Calls()
				for n := range 10 {
					<-time.After(30 * time.Minute)
					for id := 1; id <= 5 && (busy || n == 0); id++ {
						w.v.Edit(w.id(id), map[string]string{"stage": itoa(n)})
					}
					<-time.After(30 * time.Minute)
					if n == 4 {
						w.stop()
						w.open()
					}
					w.settle()
				}
				want := 1
				if busy {
					want = 3
				}
				if p, _ := w.v.Calls(); p-pushes != want {
					t.Errorf("%d writes more", p-pushes)
				}
				st := w.engine.Status().Pipelines[0].Verify
				if st.Left != 5 || w.v.Live()["1"]["name"] != "n" {
					t.Errorf("%+v, %v", st, w.v.Live()["1"])
				}
				w.edits()
				// A person's edit is told from it, and a new value is written.
				w.v.Edit(w.id(1), map[string]string{"name": "eve"})
				<-time.After(2 * time.Hour)
				w.settle()
				equal(t, w.edits(), []string{`app_differs {"id":1} name: n -> eve`})
				w.touch(1, 2, "M")
				w.settle()
				if got := w.v.Live()["1"]["name"]; got != "m" {
					t.Errorf("the app has %q", got)
				}
			})
		})
	}
}

// TestVerifyModel edits and removes records in the app at random, while rows change, calls fail and the process starts
// anew; in the end the app has what the table says, and each edit was seen.
func TestVerifyModel(t *testing.T) {
	seeded(t, 12, func(t *testing.T, seed uint64) { verifyModel(t, rand.New(rand.NewPCG(seed, 1))) })
}

func verifyModel(t *testing.T, rnd *rand.Rand) {
	var faults atomic.Bool
	luck := rand.New(rand.NewPCG(rnd.Uint64(), 2))
	silent, beforeWrite := rnd.IntN(3) == 0, rnd.IntN(2) == 0
	w := newVerifying(t, 20, sink.Limits{Batch: 1 + rnd.IntN(9), Read: 1 + rnd.IntN(9), Concurrent: 1 + rnd.IntN(3)}, func(spec *sink.Spec, v *sinktest.Vendor) {
		spec.Verify = sink.Verify{Every: 10 * time.Minute, BeforeWrite: beforeWrite}
		spec.OnAppDelete = "recreate"
		v.Fault = func(int, sink.Action, []sink.Change) sinktest.Fault {
			if !faults.Load() || luck.IntN(4) > 0 {
				return sinktest.None
			}
			return []sinktest.Fault{sinktest.Busy, sinktest.Drop, sinktest.DropAfter, sinktest.Broken, sinktest.Partial}[luck.IntN(5)]
		}
		v.Canon = func(field, value string) string {
			if v.Silent = silent; field == "name" {
				return strings.ToLower(value)
			}
			return value
		}
	})
	defer func() { w.stop() }()
	version := 1
	edited := map[string]bool{} // e-mails that people put there: seen, or not there any more before they could be
	latest := map[int]string{}
	for range 20 + rnd.IntN(30) {
		faults.Store(rnd.IntN(2) == 0)
		id := 1 + rnd.IntN(20)
		switch have := w.v.Live()[itoa(id)]; rnd.IntN(6) {
		case 0, 1:
			version++
			w.touch(id, version, "Name"+itoa(rnd.IntN(3)))
		case 2, 3:
			if have != nil {
				field, text := []string{"email", "name"}[rnd.IntN(2)], fmt.Sprintf("edit %d", rnd.IntN(1<<30))
				if field == "email" {
					edited[text], edited[latest[id]], latest[id] = false, true, text
				}
				w.v.Edit(have["id"], map[string]string{field: text})
			}
		case 4:
			if have != nil && rnd.IntN(3) == 0 {
				w.v.Archive(have["id"])
				edited[latest[id]] = true
			}
		case 5:
			w.stop()
			w.open()
		}
		<-time.After(time.Duration(rnd.IntN(400)) * time.Second)
		if err := w.engine.Recount(t.Context(), "crm"); err != nil {
			t.Fatal(err)
		}
	}
	faults.Store(false)
	for range 10 { // the app's own form is left at the latest after the third time
		<-time.After(10 * time.Minute)
		w.settle()
	}
	for len(w.found) > 0 {
		for _, f := range (<-w.found).Fields {
			edited[f.Have.Text()] = true
		}
	}
	for text, seen := range edited {
		if !seen && beforeWrite {
			t.Errorf("%s was written over unseen", text)
		}
	}
	live := w.v.Live()
	for id, r := range w.rows {
		have := live[itoa(id)]
		if have["email"] != r[1].Text() || have["name"] != strings.ToLower(r[2].Text()) || have["ver"] != r[4].Text() {
			t.Errorf("row %d, %v, is %v in the app", id, r, have)
		}
	}
	if len(live) != len(w.rows) {
		t.Errorf("the app has %d records", len(live))
	}
	pushes, _ := w.v.Calls()
	<-time.After(2 * time.Hour)
	if after, _ := w.v.Calls(); after != pushes {
		t.Errorf("%d writes with nothing to be written", after-pushes)
	}
	if l := w.ledger(); l.Keys != (state.Keys{InSync: 20, InApp: 20}) {
		t.Errorf("ledger %+v", l)
	}
	if err := w.v.Err(); err != nil {
		t.Error(err)
	}
}

// TestVerifyThatIsRefused: an app that does not tell what has changed holds up nothing but that, says so, and is asked again.
func TestVerifyThatIsRefused(t *testing.T) {
	for name, refusal := range map[string]error{"for good": sink.Halt(errors.New("no scope")), "for now": errors.New("status 500")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVerifying(t, 5, sink.Limits{Batch: 10, Read: 10}, func(spec *sink.Spec, _ *sinktest.Vendor) { spec.Verify.Every = time.Minute })
				defer func() { w.stop() }()
				<-time.After(30 * time.Second)
				w.v.Mute(refusal)
				w.v.Edit(w.id(1), map[string]string{"name": "Eve"})
				for n := range 20 {
					<-time.After(30 * time.Second)
					start := time.Now()
					w.touch(2, n+2, "M"+itoa(n))
					w.settle()
					if took := time.Since(start); took > 100*time.Millisecond {
						t.Errorf("a change took %s", took)
					}
				}
				st := w.engine.Status()
				if st.Apps[0].State != "open" || st.Pipelines[0].Verify.Detail == "" {
					t.Errorf("%+v, %+v", st.Apps[0], st.Pipelines[0].Verify)
				}
				w.v.Mute(nil)
				<-time.After(2 * time.Minute)
				w.settle()
				equal(t, w.edits(), []string{`app_differs {"id":1} name: N -> Eve`})
				if st := w.engine.Status().Pipelines[0].Verify; st.Detail != "" || w.v.Live()["1"]["name"] != "N" {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}
