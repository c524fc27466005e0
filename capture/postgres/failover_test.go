package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/integration/service"
)

// TestFailover kills the primary under load and promotes its standby, which has the slot:
// capture goes on there by itself, and has exactly the rows that the new primary has.
// PENSTOCK_FAILOVER_ROUNDS is how often.
func TestFailover(t *testing.T) {
	for round := range number(t, "PENSTOCK_FAILOVER_ROUNDS", 1) {
		t.Run(strconv.Itoa(round), testFailover)
	}
}

func testFailover(t *testing.T) {
	primary := service.StartPostgres(t, "18")
	d := private(t, primary)
	d.exec(t, createItems)
	standby, err := primary.Standby(t.Context(), "standby1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	d.connect(t)
	d.exec(t, "ALTER SYSTEM SET synchronized_standby_slots = 'standby1'", "SELECT pg_reload_conf()")
	cfg := d.config()
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = standby.Addr + "," + primary.Addr // the one that cannot be written to first
	cfg.URL = u.String()
	log := capturetest.NewLog(nil)
	run := d.harness(t).StartSource(t, log, d.open(t, cfg), capture.Options{})
	run.Streaming(t)

	load, stop := context.WithCancel(t.Context())
	defer stop()
	conn, err := pgconn.Connect(load, d.url)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for id := 1; ; id++ {
			if _, err := conn.Exec(load, fmt.Sprintf("INSERT INTO items VALUES (%d, 'x', 1)", id)).ReadAll(); err != nil {
				return
			}
		}
	}()
	second := private(t, standby)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	// The server looks after slots to copy only every 30 s while there is nothing to do.
	for end := time.Now().Add(3 * time.Minute); ; <-tick.C {
		d.exec(t, "SELECT pg_log_standby_snapshot()") // moves the slot's restart point past where the copy begins
		rows := second.query(t, "SELECT synced AND NOT temporary AND invalidation_reason IS NULL FROM pg_replication_slots WHERE slot_name = 'slot_postgres'")
		if len(rows) == 1 && rows[0][0] == "t" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the slot did not come to the standby")
		}
	}
	before := len(log.Events(""))
	log.Wait(t, "rows under load", func([]*capturetest.Record) bool { return len(log.Events("")) > before+200 })

	killed := time.Now()
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	promoted := time.Now()
	second.exec(t, "INSERT INTO items VALUES (1000000000, 'after', 1)")
	log.Wait(t, "the row written after the promotion", func([]*capturetest.Record) bool {
		events := log.Events("")
		return len(events) > 0 && events[len(events)-1].After[0].Text() == "1000000000"
	})
	t.Logf("going again %s after the promotion, %s after the kill", time.Since(promoted).Round(time.Millisecond), time.Since(killed).Round(time.Millisecond))
	if took := time.Since(promoted); took > 20*time.Second { // the figure is 10 s, on a machine that does nothing else
		t.Errorf("going again after %s", took)
	}
	var want, got []string
	for _, row := range second.query(t, "SELECT id FROM items ORDER BY id") {
		want = append(want, row[0])
	}
	for _, e := range log.Events("") {
		got = append(got, e.After[0].Text())
	}
	if !slices.Equal(got, want) {
		t.Errorf("captured %d rows, the new primary has %d", len(got), len(want))
	}
	if err := run.Stop(); err != nil {
		t.Error(err)
	}
}
