package sink_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// null accepts everything: the measure of what the sink itself costs.
type null struct{}

func (null) Limits(string) sink.Limits  { return sink.Limits{Batch: 1000, Concurrent: 4} }
func (null) Ping(context.Context) error { return nil }
func (null) Push(_ context.Context, _ string, _ sink.Action, changes []sink.Change) ([]sink.Result, error) {
	results := make([]sink.Result, len(changes))
	for i := range changes {
		results[i].AppID = changes[i].Key.Value.Text()
	}
	return results, nil
}

// BenchmarkIntakeAndDispatch takes in events and sends them, durably, until all are answered; keys is how many
// records there are, an event changes each in turn.
func BenchmarkIntakeAndDispatch(b *testing.B) {
	for _, mode := range []string{"new", "changed", "changed without history", "unchanged"} {
		b.Run(mode, func(b *testing.B) { benchmark(b, mode) })
	}
}

func benchmark(b *testing.B, mode string) {
	const keys = 20000
	keep := time.Hour
	if mode == "changed without history" {
		mode, keep = "changed", 0
	}
	store, err := state.OpenSQLite(b.TempDir()+"/state.db", state.SQLiteOptions{Reserve: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	e, err := sink.New(b.Context(), sink.Options{Store: store, Apps: map[string]sink.App{"null": null{}}, Pipelines: []sink.Spec{{
		Name: "crm", Topic: customers.Topic, App: "null", Object: "o", Program: program{print: "1"}, Schema: schema, OnDelete: "archive", OnLeave: "archive", Guard: sink.DefaultGuard,
	}}, History: sink.HistoryOptions{Keep: keep}})
	if err != nil {
		b.Fatal(err)
	}
	p := e.Pipeline("crm")
	if _, err := p.Assign(b.Context(), customers.Topic, 0, 1); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	s := newShop(1)
	take := func(from int) {
		all := s.parts[0]
		for from < len(all) {
			n := min(1000, len(all)-from)
			if err := p.Take(b.Context(), customers.Topic, 0, all[from:from+n]); err != nil {
				b.Fatal(err)
			}
			from += n
		}
		for end := time.Now().Add(time.Minute); ; {
			g, err := e.Progress("crm", nil)
			if err != nil {
				b.Fatal(err)
			}
			if g.CaughtUp() {
				return
			}
			if time.Now().After(end) {
				b.Fatal("not caught up")
			}
			<-time.After(time.Millisecond)
		}
	}
	if mode != "new" {
		for i := range keys {
			s.begin()
			s.insert(row(i, fmt.Sprintf("customer-%d@example.test", i), "A Name Of Some Length", "pro", 1, i))
		}
		take(0)
	}
	from := len(s.parts[0])
	for i := range b.N {
		s.begin()
		switch mode {
		case "new":
			s.insert(row(i, fmt.Sprintf("customer-%d@example.test", i), "A Name Of Some Length", "pro", 1, i))
		case "changed":
			s.update(row(i%keys, fmt.Sprintf("customer-%d@example.test", i%keys), "A Name Of Some Length", "pro", 2+i/keys, i%keys))
		default:
			s.update(row(i%keys, fmt.Sprintf("customer-%d@example.test", i%keys), "A Name Of Some Length", "pro", 1, i%keys))
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	take(from)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.StopTimer()
	l, want := e.Status().Pipelines[0].Ledger, int64(b.N)
	if mode == "changed" {
		want += keys
	}
	if mode != "unchanged" && l.Applied+l.Superseded != want || l.Check() != nil {
		b.Fatalf("ledger %+v, want %d applied", l, want)
	}
	b.ReportMetric(float64(l.Superseded), "superseded")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
