package postgres_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/integration/service"
)

// TestStandby captures from a standby: what it lacks is said with the statement for the primary, tables are loaded while the
// primary is written to and capture is killed, a slot that the standby gave up is known by its reason, and capture goes on when
// the standby is promoted.
func TestStandby(t *testing.T) {
	versions := []string{"18"}
	if os.Getenv("PENSTOCK_TEST_ALL") != "" {
		versions = []string{"16", "17", "18"}
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { testStandby(t, version) })
	}
}

func testStandby(t *testing.T, version string) {
	seed := rand.Uint64N(1 << 32)
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	primary := service.StartPostgres(t, version)
	lt := &loadTest{d: private(t, primary), kinds: slices.Clone(keyKinds), keys: 40}
	random.Shuffle(len(lt.kinds), func(i, j int) { lt.kinds[i], lt.kinds[j] = lt.kinds[j], lt.kinds[i] })
	lt.kinds = lt.kinds[:3]
	lt.create(t)
	lt.d.exec(t, "CREATE TABLE lines (n int)", "ALTER TABLE lines REPLICA IDENTITY FULL", "INSERT INTO lines VALUES (1), (2)")
	standby, err := primary.Standby(t.Context(), "standby1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	lt.d.connect(t)
	second := private(t, standby)
	cfg := lt.d.config()
	cfg.URL = second.url
	check := func(resume []byte) []string { return codes(lt.d.open(t, cfg).Check(t.Context(), resume)) }

	// What has to be done at the primary is said with the statement for it.
	err = lt.d.open(t, cfg).Check(t.Context(), nil)
	var missing *capture.Problem
	if !errors.As(err, &missing) || missing.Code != "E0479" {
		t.Fatalf("got %v", err)
	}
	sql, there := strings.CutPrefix(missing.Fix, "at the primary: ")
	if !there {
		t.Fatalf("the fix is %q", missing.Fix)
	}
	lt.d.exec(t, "CREATE TABLE late (id int PRIMARY KEY)", sql)
	capturetest.Poll(t, "the publication at the standby", func() bool { return slices.Equal(check(nil), []string{"E0479"}) }) // without the table
	lt.d.exec(t, "ALTER PUBLICATION shop ADD TABLE late")
	capturetest.Poll(t, "all of the publication", func() bool { return check(nil) == nil })
	var resume []byte
	feedback := func(on string, want ...string) {
		t.Helper()
		second.exec(t, "ALTER SYSTEM SET hot_standby_feedback = "+on, "SELECT pg_reload_conf()")
		capturetest.Poll(t, "feedback "+on, func() bool { return slices.Equal(check(resume), want) })
	}
	feedback("off", "E0478")
	feedback("on")

	// A slot is made when the primary says which transactions are open.
	told, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if told.Err() != nil || primary.Exec(told, "SELECT pg_log_standby_snapshot()") != nil && told.Err() != nil {
				return
			}
		}
	}()
	src, log, end := lt.load(t, cfg, seed, random)
	if n := len(log.Events("shop.public.lines")); n != 2 {
		t.Errorf("%d rows of the table without key, want 2", n)
	}
	if s := src.Status(); s.RetainedBytes < 0 || s.Position == "" {
		t.Errorf("status %+v", s)
	}
	end()
	resume = log.Resume()

	// Each reason for which a standby gives a slot up, and the way back.
	lost := func(code, reason string) {
		t.Helper()
		if version == "16" { // it does not say why
			code, reason = "E0430", "conflicting"
		}
		capturetest.Poll(t, code, func() bool {
			return len(second.query(t, "SELECT FROM pg_replication_slots WHERE slot_name = '"+cfg.Slot+"' AND wal_status = 'lost'")) == 1
		})
		refused(t, lt.d.open(t, cfg), resume, code, "slot slot_postgres is lost ("+reason+")", "penstock source reset shop")
	}
	again := func(late string) *capturetest.Capture {
		t.Helper()
		src := lt.d.open(t, cfg)
		resume, err := src.Reset(t.Context(), resume)
		if err != nil {
			t.Fatal(err)
		}
		c := lt.d.harness(t).StartSource(t, capturetest.NewLog(resume), src, capture.Options{})
		c.Streaming(t)
		lt.d.exec(t, "INSERT INTO late VALUES ("+late+")")
		c.Log.Wait(t, "row "+late, func([]*capturetest.Record) bool { return lastLate(c.Log) == late })
		return c
	}
	second.exec(t, "ALTER SYSTEM SET hot_standby_feedback = off", "SELECT pg_reload_conf()")
	capturetest.Poll(t, "slot without feedback", func() bool {
		return len(lt.d.query(t, "SELECT FROM pg_replication_slots WHERE slot_name = 'standby1' AND catalog_xmin IS NULL")) == 1
	})
	lt.d.exec(t, "CREATE TABLE gone (id int)", "DROP TABLE gone", "VACUUM pg_catalog.pg_class", "VACUUM pg_catalog.pg_attribute", "INSERT INTO late VALUES (1)")
	feedback("on", map[bool]string{true: "E0430", false: "E0415"}[version == "16"])
	lost("E0415", "rows_removed")
	if err := again("2").Stop(); err != nil {
		t.Error(err)
	}
	// The slot goes, the publication is the primary's.
	if err := lt.d.open(t, cfg).Drop(t.Context()); err != nil {
		t.Error(err)
	}
	if left := second.query(t, "SELECT (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_publication)")[0]; left[0] != "0" || left[1] != "1" {
		t.Errorf("%s slots and %s publications are left, want 0 and 1", left[0], left[1])
	}
	if err := again("20").Stop(); err != nil {
		t.Error(err)
	}
	restart := func(level string) {
		t.Helper()
		lt.d.exec(t, "ALTER SYSTEM SET wal_level = '"+level+"'")
		if err := primary.Halt(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := primary.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		lt.d.connect(t)
		end := lt.d.query(t, "SELECT pg_switch_wal()")[0][0]
		capturetest.Poll(t, "what the primary has written", func() bool { return second.query(t, "SELECT pg_last_wal_replay_lsn() >= '"+end+"'")[0][0] == "t" })
	}
	restart("replica")
	lost("E0416", "wal_level_insufficient")
	src = lt.d.open(t, cfg)
	without, err := src.Reset(t.Context(), resume)
	if err != nil {
		t.Fatal(err)
	}
	checkError(t, lt.d.harness(t).StartSource(t, capturetest.NewLog(without), src, capture.Options{}).Wait(), []string{"(E0443)", "at the primary: ALTER SYSTEM SET wal_level = 'logical'"})
	restart("logical")

	// The standby is promoted: its slot is still there.
	c := again("3")
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	second.exec(t, "INSERT INTO late VALUES (4)")
	c.Log.Wait(t, "row of the promoted server", func([]*capturetest.Record) bool { return lastLate(c.Log) == "4" })
	c.Streaming(t)
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if got := codes(lt.d.open(t, cfg).Check(t.Context(), c.Log.Resume())); got != nil {
		t.Errorf("after the promotion: %v", got)
	}
}

// lastLate is the last row of the table late that came.
func lastLate(log *capturetest.Log) string {
	events := log.Events("shop.public.late")
	if len(events) == 0 {
		return ""
	}
	return events[len(events)-1].After[0].Text()
}
