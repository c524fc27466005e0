package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/integration/service"
)

// codes are those of the problems in an error.
func codes(err error) (out []string) {
	var many interface{ Unwrap() []error }
	var p *capture.Problem
	switch {
	case err == nil:
	case errors.As(err, &many):
		for _, e := range many.Unwrap() {
			out = append(out, codes(e)...)
		}
	case errors.As(err, &p):
		out = append(out, p.Code)
	default:
		out = append(out, err.Error())
	}
	return out
}

// refused checks that a position is refused with this code alone, by Check and by Run,
// in words that have all the parts; Run must not have emitted anything.
func refused(tb testing.TB, src *postgres.Source, resume []byte, code string, parts ...string) {
	tb.Helper()
	err := src.Check(tb.Context(), resume)
	if got := codes(err); !slices.Equal(got, []string{code}) {
		tb.Errorf("got %v, want %s: %v", got, code, err)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			tb.Errorf("error does not say %q:\n%v", part, err)
		}
	}
	err = src.Run(tb.Context(), resume, nothing{tb})
	if got := codes(err); !slices.Equal(got, []string{code}) {
		tb.Errorf("Run ends with %v, want %s: %v", got, code, err)
	}
}

// nothing is an output that takes nothing.
type nothing struct{ testing.TB }

func (n nothing) fail() error {
	n.Helper()
	n.Error("something was emitted from a position that does not fit")
	return errors.New("nothing is taken")
}

func (n nothing) Event(*change.Event) error                            { return n.fail() }
func (n nothing) Marker(*change.Table, change.ID, change.Marker) error { return n.fail() }
func (n nothing) Commit([]byte) error                                  { return n.fail() }
func (n nothing) Flush(context.Context) error                          { return n.fail() }
func (n nothing) Idle()                                                {}

// private is a database on a server of the test's own.
func private(tb testing.TB, server *service.Server) *database {
	tb.Helper()
	d := &database{url: server.Database("postgres"), name: "postgres"}
	d.connect(tb)
	return d
}

// captured streams n more rows of items and stops; the result is the position.
func (d *database) captured(tb testing.TB, log *capturetest.Log, n int) []byte {
	tb.Helper()
	c := d.harness(tb).Start(tb, log)
	c.Streaming(tb)
	d.exec(tb, fmt.Sprintf("INSERT INTO items SELECT g, 'x', 1 FROM generate_series((SELECT COALESCE(max(id), 0) + 1 FROM items), (SELECT COALESCE(max(id), 0) + %d FROM items)) g", n))
	rows, want := d.query(tb, "SELECT max(id) FROM items"), ""
	want = rows[0][0]
	log.Wait(tb, "row "+want, func([]*capturetest.Record) bool {
		events := log.Events("")
		return len(events) > 0 && events[len(events)-1].After[0].Text() == want
	})
	if err := c.Stop(); err != nil {
		tb.Fatal(err)
	}
	d.freeSlot(tb)
	return log.Resume()
}

// TestPositionsOfPublication: changes that a publication has not published, since it was
// another one while we were away, are not passed over.
func TestPositionsOfPublication(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres18"} {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec(t, createItems, "CREATE TABLE other (id int PRIMARY KEY)")
			log := capturetest.NewLog(nil)
			src := d.open(t, d.config())
			at := d.captured(t, log, 3)
			checkError(t, src.Check(t.Context(), at), nil)

			d.exec(t, "ALTER PUBLICATION shop DROP TABLE other", "INSERT INTO other VALUES (1)")
			refused(t, src, at, "E0428", "public.other was taken out", "ADD TABLE", "penstock source reset shop")
			d.exec(t, "ALTER PUBLICATION shop ADD TABLE other")
			refused(t, src, at, "E0429", "public.other was taken out of publication shop and put back", "penstock source reset shop")
			if server != "postgres14" {
				d.exec(t, "ALTER PUBLICATION shop SET TABLE items, other WHERE (id > 5)")
				err := src.Check(t.Context(), at)
				if got := codes(err); !slices.Contains(got, "E0429") || !slices.Contains(got, "E0467") {
					t.Errorf("row filter: got %v", err)
				}
				d.exec(t, "ALTER PUBLICATION shop SET TABLE items, other (id)")
				if got := codes(src.Check(t.Context(), at)); !slices.Contains(got, "E0429") || !slices.Contains(got, "E0467") {
					t.Errorf("column list: got %v", got)
				}
			}
			d.exec(t, "ALTER PUBLICATION shop DROP TABLE other", "DROP TABLE other")
			checkError(t, src.Check(t.Context(), at), nil) // a table that is gone has nothing to lose

			d.exec(t, "ALTER PUBLICATION shop SET (publish = 'insert')", "UPDATE items SET qty = 2", "ALTER PUBLICATION shop SET (publish = 'insert, update, delete, truncate')")
			refused(t, src, at, "E0427", "publication shop was altered", "penstock source reset shop")
			d.exec(t, "DROP PUBLICATION shop")
			refused(t, src, at, "E0425", "publication shop is gone", "CREATE PUBLICATION", "penstock source reset shop")
			d.exec(t, "UPDATE items SET qty = 3", "CREATE PUBLICATION shop FOR TABLE items")
			refused(t, src, at, "E0426", "dropped and made anew", "penstock source reset shop")

			// The way on that the errors name.
			fresh, err := src.Reset(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			if err := log.Flush(t.Context(), fresh); err != nil {
				t.Fatal(err)
			}
			d.captured(t, log, 1)
			checkError(t, src.Check(t.Context(), log.Resume()), nil)
		})
	}
}

// TestPositionsOfSlot: slots that are not what they were.
func TestPositionsOfSlot(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres18"} {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec(t, createItems)
			log := capturetest.NewLog(nil)
			src, slot := d.open(t, d.config()), "slot_"+d.name
			at := d.captured(t, log, 3)

			d.exec(t, "INSERT INTO items VALUES (1000, 'x', 1)")
			d.query(t, "SELECT count(*) FROM pg_logical_slot_get_binary_changes('"+slot+"', NULL, NULL, 'proto_version', '1', 'publication_names', 'shop')")
			d.wasRead(t, slot)
			refused(t, src, at, "E0413", "slot "+slot+" is ahead of us", "our log ends at", "penstock source reset shop")

			d.exec(t, "SELECT pg_drop_replication_slot('"+slot+"')")
			refused(t, src, at, "E0411", "slot "+slot+" is gone", "penstock source reset shop")

			d.exec(t, "INSERT INTO items VALUES (1001, 'x', 1)", "SELECT pg_create_logical_replication_slot('"+slot+"', 'pgoutput')")
			capturetest.Poll(t, "statistics of the new slot", func() bool {
				rows := d.query(t, "SELECT total_txns = 0 FROM pg_stat_replication_slots WHERE slot_name = '"+slot+"'")
				return len(rows) == 1 && rows[0][0] == "t"
			})
			refused(t, src, at, "E0412", "dropped and made anew", "penstock source reset shop")
		})
	}
}

// wasRead waits until the server's statistics, which come late on 14, tell that a slot was read.
func (d *database) wasRead(t *testing.T, slot string) {
	t.Helper()
	capturetest.Poll(t, "statistics of the slot", func() bool {
		rows := d.query(t, "SELECT total_txns > 0 FROM pg_stat_replication_slots WHERE slot_name = '"+slot+"'")
		return len(rows) == 1 && rows[0][0] == "t"
	})
}

// TestPositionsLost: a slot that the server gave up, for each reason that it can have on a
// server that was always a primary.
func TestPositionsLost(t *testing.T) {
	for _, version := range []string{"14", "18"} {
		t.Run(version, func(t *testing.T) {
			server := service.StartPostgres(t, version, service.Setting("max_slot_wal_keep_size", "1MB"), service.Setting("min_wal_size", "32MB"), service.Setting("max_wal_size", "32MB"))
			d := private(t, server)
			d.exec(t, createItems)
			log := capturetest.NewLog(nil)
			src := d.open(t, d.config())
			at := d.captured(t, log, 3)
			lost := func(force ...string) {
				t.Helper()
				capturetest.Poll(t, "loss of the slot", func() bool {
					d.exec(t, force...)
					return d.query(t, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'slot_postgres'")[0][0] == "lost"
				})
			}
			lost("INSERT INTO items SELECT max(id) + 1, 'x', 1 FROM items", "SELECT pg_switch_wal()", "CHECKPOINT")
			refused(t, src, at, "E0414", "wal_removed", "max_slot_wal_keep_size", "penstock source reset shop", "pg_drop_replication_slot('slot_postgres')")
			if version == "14" {
				return
			}
			fresh, err := src.Reset(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			if err := log.Flush(t.Context(), fresh); err != nil {
				t.Fatal(err)
			}
			at = d.captured(t, log, 1)
			d.exec(t, "ALTER SYSTEM SET idle_replication_slot_timeout = '1s'", "ALTER SYSTEM SET max_slot_wal_keep_size = -1", "SELECT pg_reload_conf()")
			lost("CHECKPOINT")
			refused(t, src, at, "E0417", "idle_timeout", "idle_replication_slot_timeout", "penstock source reset shop")
		})
	}
}

// TestPositionsOfServer: a position on another server, on one that was upgraded, put back
// from a copy, restored from before it, or promoted without the slot.
func TestPositionsOfServer(t *testing.T) {
	for _, version := range []string{"14", "18"} {
		t.Run(version, func(t *testing.T) { testPositionsOfServer(t, version) })
	}
}

func testPositionsOfServer(t *testing.T, version string) {
	primary := service.StartPostgres(t, version)
	d := private(t, primary)
	d.exec(t, createItems)
	log := capturetest.NewLog(nil)
	d.captured(t, log, 3)
	stopped := func(s *service.Server, err error) *service.Server {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	copied := stopped(primary.Clone(t.Context()))
	standby := stopped(primary.Standby(t.Context(), "standby1"))
	d.connect(t)
	capturetest.Poll(t, "streaming standby", func() bool {
		return len(d.query(t, "SELECT FROM pg_stat_replication WHERE application_name = 'standby1' AND state = 'streaming'")) == 1
	})
	on := func(s *service.Server) *postgres.Source {
		cfg := d.config()
		cfg.URL = s.Database("postgres")
		return d.open(t, cfg)
	}
	early := log.Resume()
	checkError(t, on(standby).Check(t.Context(), early), []string{"(E0442)", "target_session_attrs=read-write"})
	if err := standby.Halt(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := d.captured(t, log, 500)

	refused(t, on(copied), late, "E0423", "before our position", "penstock source reset shop")

	// Servers of one version have one system identifier here: they are made of one template.
	other, code, parts := "postgres18", "E0421", []string{"from Postgres 14 to 18", "was not kept"}
	if version == "18" {
		other, code, parts = "postgres14", "E0420", []string{"this is another server"}
	}
	cfg := d.config()
	cfg.URL = service.Database(t, service.Shared(t, other))
	moved := &database{url: cfg.URL}
	moved.connect(t)
	moved.exec(t, createItems, "CREATE PUBLICATION shop FOR TABLE items")
	refused(t, d.open(t, cfg), late, code, append(parts, "penstock source reset shop")...)
	if code == "E0421" { // pg_upgrade to 18 keeps slots, if it comes from 17
		moved.exec(t, "SELECT pg_create_logical_replication_slot('slot_postgres', 'pgoutput')")
		from17 := []byte(strings.Replace(string(late), `"server":14`, `"server":17`, 1))
		err := d.open(t, cfg).Check(t.Context(), from17)
		checkError(t, err, []string{"(E0421)", "from Postgres 17 to 18", "the slot was kept, from "})
	}

	if err := primary.Halt(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := standby.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	src := on(standby)
	checkError(t, src.Check(t.Context(), late), []string{"(E0422)", "It left timeline 1 at", "no longer in the database", "penstock source reset shop"})
	refused(t, src, early, "E0424", "a standby was promoted (timeline 2, ours was 1)", "has no slot slot_postgres", "penstock source reset shop")
}
