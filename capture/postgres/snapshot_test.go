package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
)

// TestLoad loads tables with keys of many kinds while writers work on them, kills capture
// again and again at each step of a load, and compares what the log says with the tables.
// PENSTOCK_LOAD_SEED repeats a run, PENSTOCK_LOAD_ROUNDS makes more of them.
func TestLoad(t *testing.T) {
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_LOAD_ROUNDS")); err == nil {
		rounds = n
	}
	servers := []string{"postgres18"}
	if os.Getenv("PENSTOCK_TEST_ALL") != "" || rounds > 1 {
		servers = []string{"postgres14", "postgres18"}
	}
	for _, server := range servers {
		for round := range rounds {
			seed := rand.Uint64N(1 << 32)
			if n, err := strconv.ParseUint(os.Getenv("PENSTOCK_LOAD_SEED"), 10, 64); err == nil {
				seed = n + uint64(round)
			}
			t.Run(fmt.Sprintf("%s/%d", server, seed), func(t *testing.T) { testLoad(t, server, seed) })
		}
	}
}

func testLoad(t *testing.T, server string, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	lt := &loadTest{d: newDatabase(t, server), kinds: slices.Clone(keyKinds), keys: 40}
	random.Shuffle(len(lt.kinds), func(i, j int) { lt.kinds[i], lt.kinds[j] = lt.kinds[j], lt.kinds[i] })
	lt.kinds = lt.kinds[:4]
	lt.create(t)
	lt.load(t, lt.d.config(), seed, random)
}

// load loads the tables and kills capture meanwhile; the writers work on lt.d. Capture goes on until it is stopped.
func (lt *loadTest) load(t *testing.T, cfg *postgres.Config, seed uint64, random *rand.Rand) (src *postgres.Source, log *mortalLog, stopCapture func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	stop := func() {
		cancel()
		writers.Wait()
	}
	defer stop()
	for w := range 3 {
		writers.Go(func() { lt.write(ctx, t, seed, uint64(w+1)) })
	}
	writers.Go(func() { lt.linger(ctx, t, seed) })

	cfg.SnapshotWorkers = 1 + random.IntN(3)
	log = &mortalLog{Log: capturetest.NewLog(nil)}
	points := []string{"snapshot.read", "snapshot.before_publish", "snapshot.after_publish", "capture.before_flush", "capture.after_flush"}
	for kills := 0; ; kills++ {
		point, left := points[random.IntN(len(points))], int64(1+random.IntN(30))
		var passed atomic.Int64
		fail := func(name string) {
			if kills < 4 && name == point && passed.Add(1) == left {
				log.dead.Store(true)
			}
		}
		var err error
		if src, err = postgres.Open(cfg, "shop", postgres.WithChunkRows(1+random.IntN(5), 10), postgres.WithFailpoint(fail)); err != nil {
			t.Fatal(err)
		}
		if err := src.Check(t.Context(), log.Resume()); err != nil {
			t.Fatal(err)
		}
		runContext, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- capture.Run(runContext, src, log, change.NewEncoder(src.Identity("1.0")), capture.Options{Failpoint: fail, BatchBytes: 2000})
		}()
		stopCapture = func() {
			end()
			err := <-done
			done <- err
		}
		t.Cleanup(stopCapture)
		var ended error
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("chunks of few rows, %d workers, killed at %s: %+v", cfg.SnapshotWorkers, point, src.Status())
			}
		})
		capturetest.Poll(t, "loaded tables", func() bool {
			if log.dead.Load() {
				end()
			}
			select {
			case ended = <-done:
				done <- ended
				return true
			default:
				return src.Status().State == "streaming"
			}
		})
		if !log.dead.Load() {
			if ended != nil {
				t.Fatal(ended)
			}
			break
		}
		end()
		err = <-done
		done <- err
		if err != nil && !errors.Is(err, errKilled) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		log.Crash()
		log.dead.Store(false)
	}
	stop()
	lt.arrived(t, src)
	lt.check(t, log.Log)
	return src, log, stopCapture
}

// arrived waits until all that was committed is in the log.
func (lt *loadTest) arrived(t *testing.T, src *postgres.Source) {
	t.Helper()
	end := lt.d.query(t, "SELECT pg_current_wal_insert_lsn()")[0][0]
	lt.d.exec(t, "CREATE TABLE skip_"+strings.ReplaceAll(end, "/", "_")+" ()") // and flushed
	capturetest.Poll(t, "end of the WAL", func() bool {
		c := src.Status().Confirmed
		return c != "" && lt.d.query(t, "SELECT '"+c+"'::pg_lsn >= '"+end+"'::pg_lsn")[0][0] == "t"
	})
}

var errKilled = errors.New("killed")

// mortalLog takes nothing any more once it is dead, as if its process had been killed.
type mortalLog struct {
	*capturetest.Log
	dead atomic.Bool
}

func (l *mortalLog) Flush(ctx context.Context, resume []byte) error {
	if l.dead.Load() {
		return errKilled
	}
	return l.Log.Flush(ctx, resume)
}
