package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: chunks of a table wait while a pipeline that reads it is far behind, and while the disk is short of room.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, failed := uint64(paceReserve), error(nil)
		behind := map[string]int64{"shop.public.a": paceEvents + 1, "shop.public.b": paceEvents}
		asked := 0
		p := &pace{
			free: func() (uint64, error) { return free, failed },
			behind: func(topic string) (string, int64, int64) {
				asked++
				return "customers", behind[topic], 0
			},
		}
		check := func(topic, want string) {
			t.Helper()
			if why := p.hold(topic); why == "" != (want == "") || !strings.Contains(why, want) {
				t.Errorf("%s waits because %q, want %q", topic, why, want)
			}
		}
		check("shop.public.a", "pipeline customers takes in")
		check("shop.public.b", "")
		behind["shop.public.a"] = 0
		check("shop.public.a", "pipeline customers takes in") // the answer of a moment ago
		if asked != 2 {
			t.Errorf("it was looked at %d times, want once a topic", asked)
		}
		time.Sleep(paceFor)
		check("shop.public.a", "")
		time.Sleep(paceFor)
		free--
		check("shop.public.a", "less than 512 MiB")
		check("shop.public.none", "less than 512 MiB")
		time.Sleep(paceFor)
		failed = errors.New("no such file system")
		check("shop.public.a", "")
	})
}

// TestPaceOfASlowPipeline: what waits for a pipeline is what it takes in within 300 ms, within bounds.
func TestPaceOfASlowPipeline(t *testing.T) {
	now := time.Unix(0, 0)
	var r intakeRate
	taken := int64(0)
	run := func(perSecond int64, seconds int) (limit int64) {
		for range 10 * seconds {
			now = now.Add(100 * time.Millisecond)
			taken += perSecond / 10
			limit = r.note(now, "customers", 50_000, taken)
		}
		return limit
	}
	if got := r.note(now, "customers", 0, 0); got != paceEvents {
		t.Errorf("nothing is known, and %d events may wait", got)
	}
	for _, c := range []struct{ perSecond, want int64 }{{10_000, 3_000}, {30_000, 9_000}, {200_000, paceEvents}, {100, leastEvents}} {
		if got := run(c.perSecond, 5); got < c.want*99/100 || got > c.want*101/100 {
			t.Errorf("%d events a second are taken in and %d may wait, want %d", c.perSecond, got, c.want)
		}
	}
	if got := r.note(now.Add(time.Second), "others", 50_000, 0); got != paceEvents {
		t.Errorf("another pipeline is the last, and %d events may wait", got)
	}
}
