package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/disk"
)

// pacer is a source that loads tables in chunks while it streams.
type pacer interface {
	// Pace has the chunks of a table's load wait while hold gives a reason for its topic.
	Pace(hold func(topic string) string)
}

const (
	// paceTime is for how long a pipeline may have events of a table to take in before no more of the table is read: a
	// change that is made meanwhile comes behind them. paceEvents bounds their number, where it is not known how fast they
	// are taken in too; leastEvents keep it busy.
	paceTime    = 300 * time.Millisecond
	paceEvents  = 20_000
	leastEvents = 1_000
	// paceReserve is how much of the disk loads leave free, in bytes: twice what the log and the state leave free, so that
	// changes are captured for long after a load has stopped.
	paceReserve = 512 << 20
	// paceFor is how long an answer holds: a load reads as much as a million rows a second meanwhile.
	paceFor = 20 * time.Millisecond
)

// pace slows the loads of tables down to what the pipelines take in. A pipeline that takes nothing in any more does not hold
// up the others: then the disk's reserve ends the load, and the stream goes on.
type pace struct {
	free   func() (uint64, error)
	behind func(topic string) (pipeline string, events, taken int64) // the one that is most, and how many it has had of the topic

	mu     sync.Mutex
	topics map[string]*paceTopic
	full   bool // the disk was, when it was last asked
}

// intakeRate is how fast a topic is taken in.
type intakeRate struct {
	pipeline  string
	at        time.Time // of the last look
	taken     int64
	busy      bool    // there was something to take in then
	perSecond float64 // 0: not known
}

// rateOver is the least time that a rate is taken from.
const rateOver = 100 * time.Millisecond

// note takes a look at a pipeline in, and returns how many events it may have to take in.
func (r *intakeRate) note(now time.Time, pipeline string, events, taken int64) int64 {
	switch d := now.Sub(r.at); {
	case r.pipeline != pipeline || taken < r.taken:
		*r = intakeRate{pipeline: pipeline, at: now, taken: taken, busy: events > 0}
	case d >= rateOver:
		if r.busy && events > 0 {
			latest := float64(taken-r.taken) / d.Seconds()
			if r.perSecond == 0 {
				r.perSecond = latest
			}
			r.perSecond += (latest - r.perSecond) / 4
		}
		r.at, r.taken, r.busy = now, taken, events > 0
	}
	if r.perSecond == 0 {
		return paceEvents
	}
	return min(paceEvents, max(leastEvents, int64(r.perSecond*paceTime.Seconds())))
}

// paceTopic is the last answer for a topic.
type paceTopic struct {
	at   time.Time
	why  string
	rate intakeRate
}

// hold tells why no more of a topic's table is read for now, "" for no reason.
func (p *pace) hold(topic string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.topics[topic]
	if t == nil {
		if p.topics == nil {
			p.topics = map[string]*paceTopic{}
		}
		t = &paceTopic{}
		p.topics[topic] = t
	}
	if time.Since(t.at) >= paceFor {
		t.why = p.why(topic, &t.rate)
		t.at = time.Now()
	}
	return t.why
}

func (p *pace) why(topic string, rate *intakeRate) string {
	free, err := p.free()
	full := err == nil && free < paceReserve // a disk that does not say: writing will
	if full != p.full {
		p.full = full
		if full {
			slog.Warn("loads of tables wait for room on the disk of the data folder; changes are captured", "free_mib", free>>20, "needed_mib", paceReserve>>20)
		} else {
			slog.Info("loads of tables go on: the disk of the data folder has room again")
		}
	}
	if full {
		return fmt.Sprintf("the disk of the data folder has less than %d MiB free", paceReserve>>20)
	}
	pipeline, events, taken := p.behind(topic)
	if events > rate.note(time.Now(), pipeline, events, taken) {
		return "pipeline " + pipeline + " takes in what was read"
	}
	return ""
}

// paceLoads has the loads of tables wait for the pipelines of this process.
func (rt *plant) paceLoads(ctx context.Context) {
	p := &pace{free: func() (uint64, error) { return disk.Free(rt.DataDir) }, behind: func(topic string) (string, int64, int64) { return rt.behind(ctx, topic) }}
	for _, r := range rt.sources {
		if src, ok := r.database.(pacer); ok {
			src.Pace(p.hold)
		}
	}
}

// behind returns which of the pipelines that read a topic has most of it to take in, and how many messages of it that one has
// had. Those that have failed do not count.
func (rt *plant) behind(ctx context.Context, topic string) (pipeline string, events, had int64) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, pipe := range rt.Pipelines {
		if rt.topics[pipe.Name] != topic || rt.pipelineFailure(pipe.Name) != nil {
			continue
		}
		taken, err := rt.engine.Taken(pipe.Name)
		if err != nil {
			return "", 0, 0
		}
		left, past := int64(0), int64(0)
		for n, next := range taken {
			start, end, err := rt.log.Bounds(ctx, topic, n)
			if err != nil {
				return "", 0, 0 // the log does not answer: what is read waits before it
			}
			left += end - max(start, next)
			past += next
		}
		if pipeline == "" || left > events {
			pipeline, events, had = pipe.Name, left, past
		}
	}
	return pipeline, events, had
}
