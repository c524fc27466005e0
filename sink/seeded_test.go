package sink_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "repeat one run of a random test")
	roundsFlag = flag.Int("rounds", 0, "runs of a random test, with seeds that were not tried before; 0: as many as is usual, the same ones each time")
)

// seeded runs a random test with one seed after the other, in virtual time, until one fails. A seed stands for what is done to
// the rows; which call fails and where the process crashes depends on the goroutines' order too, so that one that failed may have
// to be tried some hundred times (-test.count).
func seeded(t *testing.T, usual int, run func(t *testing.T, seed uint64)) {
	first, rounds := uint64(1), usual
	switch {
	case *seedFlag != 0:
		first, rounds = *seedFlag, 1
	case *roundsFlag != 0:
		first, rounds = uint64(time.Now().UnixNano()), *roundsFlag
	case testing.Short():
		rounds = min(usual, 30)
	}
	name := t.Name()
	for i := range rounds {
		seed := first + uint64(i)
		if !t.Run("", func(t *testing.T) {
			t.Logf("seed %d: repeat with -run '%s$' -seed %d", seed, name, seed)
			synctest.Test(t, func(t *testing.T) { run(t, seed) })
		}) {
			return
		}
		if *roundsFlag != 0 && (i+1)%100 == 0 {
			fmt.Fprintf(os.Stderr, "%s: %d of %d\n", name, i+1, rounds)
		}
	}
}
