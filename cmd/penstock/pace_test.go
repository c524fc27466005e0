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
			behind: func(topic string) (string, int64) {
				asked++
				return "customers", behind[topic]
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
