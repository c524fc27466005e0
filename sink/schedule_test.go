package sink_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// interval ticks at multiples of itself.
type interval time.Duration

func (i interval) Next(after time.Time) time.Time {
	return after.Truncate(time.Duration(i)).Add(time.Duration(i))
}
func (i interval) String() string { return "every " + time.Duration(i).String() }

// scheduled is a plant whose pipeline sends every ten minutes, with one customer taken in.
func scheduled(t *testing.T) (*plant, *shop, *sinktest.Vendor) {
	v := sinktest.NewVendor("source_id", sink.Limits{Batch: 10, Read: 10, Concurrent: 2})
	p := newPlant(t, v, 1, func(s *sink.Spec) { s.Schedule = interval(10 * time.Minute) })
	s := newShop(1)
	p.open()
	s.begin()
	s.insert(row(1, "a@x.test", "A", "pro", 1, 1))
	p.take(s, 10)
	return p, s, v
}

// idle says that there is nothing more to read.
func (p *plant) idle() {
	p.t.Helper()
	for n, next := range p.next {
		if err := p.engine.Pipeline("crm").Idle(p.t.Context(), customers.Topic, n, next); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *plant) status() sink.PipelineStatus { return p.engine.Status().Pipelines[0] }

// In synctest time begins at midnight UTC, a tick.
func TestScheduleStopsSendingAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, v := scheduled(t)
		defer func() { p.stop() }()
		<-time.After(9 * time.Minute)
		if l := p.ledger(); l.Taken != 1 || l.Pending != 1 || len(v.Live()) != 0 {
			t.Fatalf("before the tick: %+v, %d in the app", l, len(v.Live()))
		}
		if st := p.status(); st.Next.Minute() != 10 || !st.Began.IsZero() {
			t.Errorf("next run %v, last %v", st.Next, st.Began)
		}
		<-time.After(90 * time.Second)
		p.idle()
		<-time.After(5 * time.Second)
		if len(v.Live()) != 1 {
			t.Fatal("the tick sent nothing")
		}
		st := p.status()
		if st.Began.Minute() != 10 || st.End.Before(st.Began) || st.Next.Minute() != 20 {
			t.Errorf("last run %v to %v, next %v", st.Began, st.End, st.Next)
		}
		s.begin()
		s.update(row(1, "a@x.test", "B", "pro", 2, 1))
		p.take(s, 10)
		<-time.After(time.Minute)
		if got := v.Live()["1"]["name"]; got != "A" {
			t.Errorf("sent between two ticks: %s", got)
		}
		<-time.After(10 * time.Minute)
		if got := v.Live()["1"]["name"]; got != "B" {
			t.Errorf("the next tick did not send: %s", got)
		}
	})
}

func TestMissedTicksAreOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, v := scheduled(t)
		p.stop()
		<-time.After(45 * time.Minute)
		p.open()
		defer func() { p.stop() }()
		<-time.After(2 * time.Second)
		if len(v.Live()) != 1 {
			t.Fatal("what was missed is not made good")
		}
		<-time.After(2 * time.Minute)
		if st := p.status(); st.Began.Minute() != 45 || st.End.IsZero() || st.Next.Minute() != 50 {
			t.Errorf("last run %v to %v, next %v", st.Began, st.End, st.Next)
		}
	})
}

// A run that is slower than its schedule is not begun a second time, and does not take in what came after it began.
func TestRunsDoNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, v := scheduled(t)
		defer func() { p.stop() }()
		v.SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault {
			return sinktest.Broken
		})
		<-time.After(12 * time.Minute)
		s.begin()
		s.insert(row(2, "b@x.test", "B", "pro", 1, 2))
		p.take(s, 10)
		<-time.After(10 * time.Minute)
		st := p.status()
		if st.Began.Minute() != 10 || !st.End.IsZero() || !st.Next.IsZero() {
			t.Errorf("the run of minute 10 does not go on: %v to %v, next %v", st.Began, st.End, st.Next)
		}
		v.SetFault(nil)
		<-time.After(2 * time.Minute)
		if live := v.Live(); len(live) != 1 || live["1"] == nil {
			t.Errorf("the run sent %v, want what was taken in when it began", live)
		}
		if st = p.status(); st.Next.Minute() != 30 {
			t.Errorf("after the run the next is at %v", st.Next)
		}
		<-time.After(10 * time.Minute)
		if len(v.Live()) != 2 {
			t.Error("the next run did not send what had come meanwhile")
		}
	})
}

// A record waits in a run for a key that another one gives up by an event that came after the run had begun: the run ends
// without it, and the next one has both.
func TestRunEndsThoughAKeyIsNotFree(t *testing.T) {
	bubble(t, func(s *sink.Spec) {
		s.Schedule, s.Program = interval(10*time.Minute), program{print: "1", byCode: true}
	}, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		run := func(late func()) {
			t.Helper()
			if err := p.engine.RunNow(t.Context(), "crm"); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second)
			p.idle() // what belongs to the run is settled
			<-time.After(2 * time.Second)
			late()
			<-time.After(5 * time.Second)
			if st := p.status(); st.Next.IsZero() {
				t.Fatalf("the run does not end: %+v", st.Ledger)
			}
		}
		s.begin()
		s.insert(coded(1, 1, 1))
		p.take(s, 100)
		run(func() {})
		s.begin()
		s.insert(coded(2, 1, 1)) // what gave its code up is taken in later
		p.take(s, 100)
		run(func() {
			s.begin()
			s.update(coded(1, 5, 2))
			p.take(s, 100)
		})
		run(func() {})
		live := v.Live()
		if len(live) != 2 || live["5"]["ident"] != "1" || live["1"]["ident"] != "2" {
			t.Errorf("the app has %v", live)
		}
	})
}

func TestRunNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, v := scheduled(t)
		defer func() { p.stop() }()
		if err := p.engine.RunNow(t.Context(), "crm"); err != nil {
			t.Fatal(err)
		}
		if err := p.engine.RunNow(t.Context(), "crm"); err == nil || !strings.Contains(err.Error(), "a run goes on") {
			t.Errorf("a second at once: %v", err)
		}
		<-time.After(2 * time.Second)
		if len(v.Live()) != 1 {
			t.Error("nothing was sent")
		}
		// Killed in the run: the next process goes on with it.
		p.stop()
		p.open()
		if st := p.status(); !st.Next.IsZero() {
			t.Error("the run did not outlive the process")
		}
		<-time.After(2 * time.Minute)
		if st := p.status(); st.Next.IsZero() {
			t.Error("the run does not end")
		}
	})
}

func TestPauseOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := sinktest.NewVendor("source_id", sink.Limits{Batch: 10, Read: 10, Concurrent: 2})
		p := newPlant(t, v, 1, nil)
		s := newShop(1)
		p.open()
		defer func() { p.stop() }()
		since := time.Now()
		if err := p.engine.Pause(t.Context(), "crm", true); err != nil {
			t.Fatal(err)
		}
		s.begin()
		s.insert(row(1, "a@x.test", "A", "pro", 1, 1))
		p.take(s, 10)
		<-time.After(time.Minute)
		p.stop()
		p.open()
		<-time.After(time.Minute)
		if l := p.ledger(); l.Taken != 1 || len(v.Live()) != 0 {
			t.Fatalf("paused: %+v, %d in the app", l, len(v.Live()))
		}
		if got := p.status().Paused; !got.Equal(since) {
			t.Errorf("paused since %v, want %v", got, since)
		}
		if g, err := p.engine.Progress("crm", nil); err != nil || !g.CaughtUp() || !g.Paused {
			t.Errorf("%+v, %v: a paused pipeline keeps nobody waiting", g, err)
		}
		if err := p.engine.Pause(t.Context(), "crm", false); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if len(v.Live()) != 1 || !p.status().Paused.IsZero() {
			t.Error("resumed, and nothing was sent")
		}
	})
}

// A tick that comes while the pipeline is paused is made good when it goes on.
func TestPausedSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, v := scheduled(t)
		defer func() { p.stop() }()
		if err := p.engine.Pause(t.Context(), "crm", true); err != nil {
			t.Fatal(err)
		}
		<-time.After(15 * time.Minute)
		if err := p.engine.RunNow(t.Context(), "crm"); err == nil || !strings.Contains(err.Error(), "paused") {
			t.Errorf("run now while paused: %v", err)
		}
		if len(v.Live()) != 0 {
			t.Error("sent while paused")
		}
		if err := p.engine.Pause(t.Context(), "crm", false); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second)
		if len(v.Live()) != 1 {
			t.Error("the missed tick is not made good")
		}
	})
}
