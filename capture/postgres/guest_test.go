package postgres_test

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/integration/service"
)

// number is a figure from the environment, for longer runs by hand.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no number", name, text)
	}
	return n
}

// TestGuest: captured tables are idle and others write PENSTOCK_GUEST_MIB. The confirmed
// position is never more than 1 s or 32 MiB behind what the server has sent, and after
// they stop the server keeps at most 48 MiB.
func TestGuest(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems, "CREATE TABLE skip_this (v text)")
	log := capturetest.NewLog(nil)
	d.harness(t).Start(t, log).Streaming(t)

	writer := &database{url: d.url}
	writer.connect(t)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range number(t, "PENSTOCK_GUEST_MIB", 128) / 16 {
			writer.exec(t, "INSERT INTO skip_this SELECT repeat('x', 1000) FROM generate_series(1, 15000)", "TRUNCATE skip_this")
		}
	}()
	// behindSince is since when the confirmed position is before what had been sent then.
	var behindSince time.Time
	var goal, most string
	var worst time.Duration
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-written:
			done = true
		case <-tick.C:
		}
		row := d.query(t, `SELECT r.sent_lsn, s.confirmed_flush_lsn >= COALESCE(NULLIF('`+goal+`', '')::pg_lsn, '0/0'), r.sent_lsn - s.confirmed_flush_lsn
			FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name = 'slot_`+d.name+`'`)
		if len(row) == 0 {
			t.Fatal("the stream ended")
		}
		bytes, _ := strconv.ParseInt(row[0][2], 10, 64)
		if row[0][1] == "t" { // what was sent then is confirmed: the next goal
			goal, behindSince = row[0][0], time.Now()
			continue
		}
		if late := time.Since(behindSince); late > worst && bytes > 32<<20 {
			worst, most = late, row[0][2]
		}
	}
	if limit := guestPatience; worst > limit {
		t.Errorf("the confirmed position was behind for %s, by %s bytes", worst, most)
	}
	t.Logf("at most %s behind by more than 32 MiB", worst)
	capturetest.Poll(t, "less than 48 MiB retained", func() bool {
		return d.query(t, "SELECT pg_current_wal_lsn() - restart_lsn < 48 * 1048576 FROM pg_replication_slots WHERE slot_name = 'slot_"+d.name+"'")[0][0] == "t"
	})
	if len(log.Events("")) != 0 {
		t.Error("something was captured")
	}
}

// guestPatience is the figure, and a second for a machine that does other things too.
const guestPatience = 2 * time.Second

// TestOpenTransactions: those of others that hold the slot's WAL are named, not what they ran.
func TestOpenTransactions(t *testing.T) {
	server := service.StartPostgres(t, "18")
	d := private(t, server)
	d.exec(t, createItems)
	src, err := postgres.Open(d.config(), "shop", postgres.WithRetainedWarning(1))
	if err != nil {
		t.Fatal(err)
	}
	d.harness(t).StartSource(t, capturetest.NewLog(nil), src, capture.Options{}).Streaming(t)
	other := &database{url: strings.Replace(d.url, "?", "?application_name=night-job&", 1)}
	other.connect(t)
	d.exec(t, "BEGIN; INSERT INTO items VALUES (78, 'secret', 1); PREPARE TRANSACTION 'forgotten too'")
	other.exec(t, "BEGIN", "INSERT INTO items VALUES (79, 'secret', 1)")
	pid := other.query(t, "SELECT pg_backend_pid()")[0][0]
	capturetest.Poll(t, "warning", func() bool {
		return slices.ContainsFunc(src.Status().Warnings, func(w string) bool {
			return strings.Contains(w, "pid "+pid+", user postgres, application_name \"night-job\", for ") && strings.Contains(w, `prepared transaction "forgotten too" of user postgres`) && !strings.Contains(w, "secret")
		})
	})
	other.exec(t, "COMMIT")
	d.exec(t, "ROLLBACK PREPARED 'forgotten too'")
	capturetest.Poll(t, "no warning", func() bool {
		return !slices.ContainsFunc(src.Status().Warnings, func(w string) bool { return strings.Contains(w, "transactions that are open") })
	})
}

// TestCeiling: beyond max_retained_wal capture stops by name, or gives the slot up and reads the tables again.
func TestCeiling(t *testing.T) {
	server := service.StartPostgres(t, "18")
	d := private(t, server)
	d.exec(t, createItems, "INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2)")
	log := capturetest.NewLog(nil)
	d.captured(t, log, 1)
	at := log.Resume()
	d.exec(t, "DELETE FROM items WHERE id = 2", "SELECT pg_switch_wal()", "INSERT INTO items VALUES (9, 'i', 9)", "SELECT pg_switch_wal()", "CHECKPOINT")
	cfg := d.config()
	cfg.MaxRetainedWAL, cfg.OnMaxRetainedWAL = "8MiB", postgres.CeilingStop
	refused(t, d.open(t, cfg), at, "E0431", "more than max_retained_wal", "penstock source reset shop")

	cfg.OnMaxRetainedWAL = postgres.CeilingDrop
	src := d.open(t, cfg)
	checkError(t, src.Check(t.Context(), at), nil)
	before := len(log.Events(""))
	run := d.harness(t).StartSource(t, log, src, capture.Options{})
	run.Streaming(t)
	log.Wait(t, "the rows read again", func([]*capturetest.Record) bool { return len(log.Events("")) >= before+3 })
	var ids []string
	for _, e := range log.Events("")[before:] {
		ids = append(ids, e.Op.String()+" "+e.After[0].Text())
	}
	diff(t, ids, []string{"r 1", "r 3", "r 9"})
	if epoch := src.Status().Epoch; epoch != 2 {
		t.Errorf("epoch %d", epoch)
	}
	// And while it streams: a transaction that is open holds the WAL.
	other := &database{url: d.url}
	other.connect(t)
	other.exec(t, "BEGIN", "INSERT INTO items VALUES (10, 'j', 10)")
	d.exec(t, "SELECT pg_switch_wal()", "INSERT INTO items VALUES (11, 'k', 11)", "SELECT pg_switch_wal()")
	capturetest.Poll(t, "the next epoch", func() bool { return src.Status().Epoch == 3 })
	other.exec(t, "COMMIT")
	run.Streaming(t)
	if err := run.Stop(); err != nil {
		t.Error(err)
	}
}

// TestCeilingConfig: mistakes in it are found before anything is asked.
func TestCeilingConfig(t *testing.T) {
	for _, tt := range []struct{ size, policy, snapshot, want string }{
		{"10GiB", "", "", ""}, {"1 TiB", "stop", "", ""}, {"512MiB", "drop", "initial", ""},
		{"10", "", "", "is no size"}, {"0GiB", "", "", "is no size"}, {"99999999TiB", "", "", "is no size"},
		{"", "stop", "", "goes with max_retained_wal"}, {"1GiB", "panic", "", "no policy"}, {"1GiB", "drop", "never", "cannot be dropped"},
	} {
		_, err := postgres.Open(&postgres.Config{URL: "postgres://a/b", Tables: []string{"a.*"}, MaxRetainedWAL: tt.size, OnMaxRetainedWAL: tt.policy, Snapshot: tt.snapshot}, "shop")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v", tt, err)
		}
	}
}

// TestLeastPrivileges: a role with exactly what docs/operating.md says captures; without
// each one the check names it. Timeouts that the role has been given do not end its sessions,
// and these are named.
func TestLeastPrivileges(t *testing.T) {
	for _, version := range []string{"14", "18"} {
		t.Run(version, func(t *testing.T) {
			server := service.StartPostgres(t, version)
			d := private(t, server)
			d.exec(t, createItems, "REVOKE ALL ON SCHEMA public FROM PUBLIC", "CREATE ROLE guest LOGIN REPLICATION PASSWORD 'penstock'", "GRANT USAGE ON SCHEMA public TO guest",
				"GRANT SELECT ON public.items TO guest", "CREATE PUBLICATION shop FOR TABLE public.items",
				"ALTER ROLE guest SET statement_timeout = '200ms'", "ALTER ROLE guest SET idle_in_transaction_session_timeout = '200ms'", "ALTER ROLE guest SET lock_timeout = '200ms'")
			if version == "18" {
				d.exec(t, "ALTER ROLE guest SET transaction_timeout = '200ms'", "ALTER ROLE guest SET idle_session_timeout = '200ms'")
			}
			cfg := d.config()
			u, err := url.Parse(d.url)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword("guest", "penstock")
			cfg.URL = u.String()
			for _, tt := range []struct{ revoke, grant, code, says string }{
				{"ALTER ROLE guest NOREPLICATION", "ALTER ROLE guest REPLICATION", "E0446", `ALTER ROLE "guest" REPLICATION`},
				{"REVOKE USAGE ON SCHEMA public FROM guest", "GRANT USAGE ON SCHEMA public TO guest", "E0456", `GRANT USAGE ON SCHEMA "public" TO "guest"`},
				{"REVOKE SELECT ON public.items FROM guest", "GRANT SELECT ON public.items TO guest", "E0455", `GRANT SELECT ON "public"."items" TO "guest"`},
				{"ALTER PUBLICATION shop DROP TABLE public.items", "ALTER PUBLICATION shop ADD TABLE public.items", "E0469", `ADD TABLE "public"."items"`},
			} {
				d.exec(t, tt.revoke)
				err := d.open(t, cfg).Check(t.Context(), nil)
				if got := codes(err); !slices.Equal(got, []string{tt.code}) || !strings.Contains(fmt.Sprint(err), tt.says) {
					t.Errorf("%s: got %v", tt.revoke, err)
				}
				d.exec(t, tt.grant)
			}
			d.exec(t, "INSERT INTO items VALUES (1, 'a', 1)")
			log := capturetest.NewLog(nil)
			run := d.harness(t).StartSource(t, log, d.open(t, cfg), capture.Options{})
			run.Streaming(t)
			d.exec(t, "INSERT INTO items VALUES (2, 'b', 1)")
			arrived(t, log, 2)
			names := func() (out []string) {
				for _, row := range d.query(t, "SELECT application_name FROM pg_stat_activity WHERE usename = 'guest' ORDER BY 1") {
					out = append(out, row[0])
				}
				return out
			}
			capturetest.Poll(t, "named sessions", func() bool { return slices.Equal(names(), []string{"penstock shop stream", "penstock shop watch"}) })
			pids := func() [][]string {
				return d.query(t, "SELECT pid FROM pg_stat_activity WHERE usename = 'guest' ORDER BY 1")
			}
			first := pids()
			capturetest.Poll(t, "sessions that are older than the role's timeouts", func() bool {
				return d.query(t, "SELECT bool_and(clock_timestamp() - backend_start > interval '1 s') FROM pg_stat_activity WHERE usename = 'guest'")[0][0] == "t"
			})
			diff(t, pids(), first)
			if err := run.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
