package sink_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

// sent is the last call that an engine made.
type sent struct {
	action sink.Action
	change *sink.Change
}

// TestDeciderAgreesWithTheEngine lets random things happen to a few rows and asks the
// decider before each what the engine will do.
func TestDeciderAgreesWithTheEngine(t *testing.T) {
	verdicts := map[sink.Verdict]int{}
	adopted := 0
	seeds := uint64(8)
	if os.Getenv("PENSTOCK_TEST_ALL") != "" {
		seeds = 100
	}
	for seed := range seeds {
		for _, gone := range []string{"hold", "recreate", "forget"} {
			r := rand.New(rand.NewPCG(seed, 1))
			leave := []string{"archive", "delete", "ignore"}[r.IntN(3)]
			spec := func(s *sink.Spec) {
				s.Program, s.OnAppDelete, s.OnLeave, s.OnDelete = program{print: "1", fill: true}, gone, leave, []string{"archive", "delete"}[r.IntN(2)]
			}
			bubble(t, spec, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
				var last sent
				v.Fault = func(_ int, action sink.Action, changes []sink.Change) sinktest.Fault {
					c := changes[0]
					c.Fields = append([]sink.Field{}, c.Fields...)
					last = sent{action, &c}
					return sinktest.None
				}
				d := sink.NewDecider(p.spec, false)
				v.Add(map[string]string{"email": "m1@x.test", "title": "Dr."})
				v.Add(map[string]string{"email": "m2@x.test"})
				rows := map[int]change.Row{}
				for step := range 25 {
					id := 1 + r.IntN(3)
					email := []string{fmt.Sprintf("m%d@x.test", id), fmt.Sprintf("n%d@x.test", id), ""}[r.IntN(3)]
					if email == "" && r.IntN(3) > 0 {
						email = fmt.Sprintf("m%d@x.test", id)
					}
					next := row(id, email, []string{"A", "B"}[r.IntN(2)], []string{"pro", "pro", "test"}[r.IntN(3)], 1+r.IntN(2), id)
					op := change.Create
					switch old := rows[id]; {
					case old != nil && r.IntN(4) == 0:
						op = change.Delete
					case old != nil:
						op = change.Update
					}
					known := p.known(id)
					if known.Shadow != nil && known.Shadow.Standing == state.InApp && r.IntN(6) == 0 && live(v, known.Shadow.AppID) {
						v.Archive(known.Shadow.AppID)
					}
					known.Gone = known.Shadow != nil && known.Shadow.Standing == state.InApp && !live(v, known.Shadow.AppID)
					known.App = appRecord(v, known, next)
					if p.holds(known) || taken(v, known, next) {
						continue // what waits for a person, and what only the app refuses, is not the decider's matter
					}
					var made sink.Made
					event := change.Event{Op: op, After: next, Table: customers}
					if op != change.Delete {
						p.spec.Program.NewWorker().Eval(&event, &made)
					}
					decision := d.Decide(op, &made, known)
					verdicts[decision.Verdict]++
					if decision.Adopted {
						adopted++
					}
					last = sent{}
					before := p.ledger()
					s.begin()
					switch op {
					case change.Create:
						s.insert(next)
						rows[id] = next
					case change.Update:
						s.update(next)
						rows[id] = next
					default:
						s.delete(rows[id])
						delete(rows, id)
					}
					p.take(s, 1)
					p.settle()
					if got, want := p.outcome(before, last, known, op, id), decision.Verdict; got != want {
						t.Fatalf("seed %d, %s, step %d: the engine's outcome of %s is %s, the decider said %s", seed, gone, step, op, got, want)
					}
					if w := decision.Verdict; w == sink.WillCreate || w == sink.WillChange {
						if diff := cmp.Diff(decision.Write, last.change.Fields, cmp.Comparer(func(a, b change.Value) bool { return a == b }), cmpopts.EquateEmpty()); diff != "" {
							t.Fatalf("seed %d, step %d: fields (-decider +engine):\n%s", seed, step, diff)
						}
					}
				}
			})
		}
	}
	for _, v := range []sink.Verdict{sink.WillCreate, sink.WillChange, sink.WillArchive, sink.WillDelete, sink.WillReject, sink.WillFilter, sink.WillHold, sink.WillNothing} {
		if verdicts[v] < 5 {
			t.Errorf("%s was decided %d times: %v", v, verdicts[v], verdicts)
		}
	}
	if adopted < 5 {
		t.Errorf("%d records were adopted", adopted)
	}
}

// known is what the state has of a row's record.
func (p *plant) known(id int) (known sink.Known) {
	p.t.Helper()
	err := p.store.View(p.t.Context(), func(tx state.Tx) error {
		kept, err := tx.Pipeline("crm")
		if err != nil {
			return err
		}
		return tx.Shadows(kept.ID, [][]byte{fmt.Appendf(nil, `{"id":%d}`, id)}, func(s *state.Shadow) error {
			known.Shadow = s
			return nil
		})
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return known
}

// holds tells whether a record waits for a person's decision.
func (p *plant) holds(known sink.Known) (held bool) {
	if known.Shadow == nil {
		return false
	}
	err := p.store.View(p.t.Context(), func(tx state.Tx) error {
		kept, err := tx.Pipeline("crm")
		if err != nil {
			return err
		}
		return tx.PendingByRecord(kept.ID, []int64{known.Shadow.ID}, func(w *state.Pending) error {
			held = w.Queue == state.Held
			return nil
		})
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return held
}

// quarantined tells whether a row's last event is in quarantine.
func (p *plant) quarantined(id int) bool {
	sh := p.known(id).Shadow
	return sh != nil && sh.Rejected
}

// appRecord is the record that the app has for a row: ours, else that of its key or address.
func appRecord(v *sinktest.Vendor, known sink.Known, row change.Row) *sink.Record {
	for _, fields := range v.Live() {
		ours := known.Shadow != nil && known.Shadow.Standing == state.InApp
		if ours && fields["id"] == known.Shadow.AppID || !ours && (fields["source_id"] == row[0].Text() || row[1].Text() != "" && fields["email"] == row[1].Text()) {
			return &sink.Record{ID: fields["id"], Fields: fields}
		}
	}
	return nil
}

func live(v *sinktest.Vendor, id string) bool {
	for _, fields := range v.Live() {
		if fields["id"] == id {
			return true
		}
	}
	return false
}

// taken tells whether the app has another record with the address of a row whose record is ours.
func taken(v *sinktest.Vendor, known sink.Known, row change.Row) bool {
	for _, fields := range v.Live() {
		if known.Shadow != nil && known.Shadow.Standing == state.InApp && fields["id"] != known.Shadow.AppID && fields["email"] == row[1].Text() {
			return true
		}
	}
	return false
}

// outcome is what the engine has done.
func (p *plant) outcome(before state.Ledger, last sent, known sink.Known, op change.Op, id int) sink.Verdict {
	now := p.ledger()
	removed := last.change != nil && (last.action == sink.Archive || last.action == sink.Remove)
	switch {
	case p.quarantined(id):
		return sink.WillReject
	case now.Held > before.Held:
		return sink.WillHold
	case removed && known.Gone && op == change.Delete: // it was not there any more
		return sink.WillNothing
	case removed && known.Gone, now.Filtered > before.Filtered:
		return sink.WillFilter
	case last.change == nil, now.Unchanged > before.Unchanged:
		return sink.WillNothing
	case last.action == sink.Upsert:
		return sink.WillCreate
	case last.action == sink.Update:
		return sink.WillChange
	case last.action == sink.Archive:
		return sink.WillArchive
	}
	return sink.WillDelete
}

// TestForesee: a guard is foreseen as it acts.
func TestForesee(t *testing.T) {
	now := int64(1_800_000_000_000)
	sentNow := state.Guard{Sent: []state.Minute{{At: now/60000 - 59, N: 30}, {At: now/60000 - 60, N: 500}}}
	stopped := state.Guard{Tripped: true, Base: 40, Sent: []state.Minute{{At: now / 60000, N: 7}}}
	for _, c := range []struct {
		name           string
		kind           state.Kind
		n, inApp       int64
		kept           state.Guard
		limit, sentOut int64
		stops          bool
	}{
		{"no limit", state.Create, 1e6, 0, state.Guard{}, -1, 0, false},
		{"the floor", state.Delete, 20, 100, state.Guard{}, 20, 0, false},
		{"above the floor", state.Delete, 21, 100, state.Guard{}, 20, 0, true},
		{"a share", state.Delete, 50, 1000, state.Guard{}, 50, 0, false},
		{"what was sent counts, an hour long", state.Delete, 21, 1000, sentNow, 50, 30, true},
		{"one that has stopped", state.Delete, 11, 1000, stopped, 50, 40, true},
		{"one that has stopped, for nothing", state.Delete, 0, 1000, stopped, 50, 40, false},
	} {
		limit, sentOut, stops := sink.DefaultGuard.Foresee(c.kind, c.n, c.inApp, c.kept, now)
		if limit != c.limit || sentOut != c.sentOut || stops != c.stops {
			t.Errorf("%s: got %d, %d, %v", c.name, limit, sentOut, stops)
		}
	}
}
