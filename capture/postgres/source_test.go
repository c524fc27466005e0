package postgres_test

import (
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/integration/service"
)

// database is a fresh database and a session on it.
type database struct {
	url  string
	name string
	mu   sync.Mutex
	conn *pgconn.PgConn
}

func newDatabase(tb testing.TB, server string) *database {
	tb.Helper()
	address := service.Database(tb, service.Shared(tb, server))
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	d := &database{url: address, name: strings.TrimPrefix(u.Path, "/")}
	d.connect(tb)
	return d
}

func (d *database) connect(tb testing.TB) {
	tb.Helper()
	conn, err := pgconn.Connect(tb.Context(), d.url)
	if err != nil {
		tb.Fatal(err)
	}
	d.conn = conn
	tb.Cleanup(func() { _ = conn.Close(tb.Context()) })
}

func (d *database) exec(tb testing.TB, statements ...string) {
	tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, sql := range statements {
		if _, err := d.conn.Exec(tb.Context(), sql).ReadAll(); err != nil {
			tb.Errorf("%.200s: %v", sql, err)
			return
		}
	}
}

func (d *database) query(tb testing.TB, sql string) [][]string {
	tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	result := d.conn.ExecParams(tb.Context(), sql, nil, nil, nil, nil).Read()
	if result.Err != nil {
		tb.Fatalf("%s: %v", sql, result.Err)
	}
	var rows [][]string
	for _, row := range result.Rows {
		var texts []string
		for _, v := range row {
			texts = append(texts, string(v))
		}
		rows = append(rows, texts)
	}
	return rows
}

// dropSlot drops the slot of config once its last session has ended.
func (d *database) dropSlot(tb testing.TB) {
	tb.Helper()
	d.freeSlot(tb)
	d.exec(tb, "SELECT pg_drop_replication_slot('slot_"+d.name+"')")
}

// freeSlot waits until no session has the slot of config.
func (d *database) freeSlot(tb testing.TB) {
	tb.Helper()
	capturetest.Poll(tb, "free slot", func() bool {
		return d.query(tb, "SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name = 'slot_"+d.name+"'")[0][0] == "0"
	})
}

// config captures all of schema public but skip_*.
func (d *database) config() *postgres.Config {
	return &postgres.Config{URL: d.url, Tables: []string{"public.*", "!public.skip_*"}, Slot: "slot_" + d.name, Publication: "shop"}
}

func (d *database) open(tb testing.TB, cfg *postgres.Config) *postgres.Source {
	tb.Helper()
	src, err := postgres.Open(cfg, "shop")
	if err != nil {
		tb.Fatal(err)
	}
	return src
}

func (d *database) harness(tb testing.TB) *capturetest.Harness {
	return &capturetest.Harness{
		Identity: d.open(tb, d.config()).Identity("1.0"),
		Schema:   "public",
		Open:     func(tb testing.TB) capture.Source { return d.open(tb, d.config()) },
		Exec:     d.exec,
		Tx: func(tb testing.TB, commit bool, statements ...string) {
			end := "ROLLBACK"
			if commit {
				end = "COMMIT"
			}
			d.exec(tb, "BEGIN; "+strings.Join(statements, "; ")+"; "+end)
		},
		Query:        d.query,
		NoKey:        func(table string) []string { return []string{"ALTER TABLE " + table + " REPLICA IDENTITY FULL"} },
		TruncateInTx: true,
		Resumes:      true,
	}
}

func TestSuite(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres17", "postgres18"} {
		t.Run(server, func(t *testing.T) {
			capturetest.Run(t, func(t *testing.T) *capturetest.Harness { return newDatabase(t, server).harness(t) })
		})
	}
}

type tableBlock = postgres.TableConfig

func tableConfig(alias, name string, set func(*tableBlock)) tableBlock {
	c := tableBlock{Alias: alias, Name: name}
	if set != nil {
		set(&c)
	}
	return c
}

func diff(tb testing.TB, got, want any) {
	tb.Helper()
	if d := cmp.Diff(want, got); d != "" {
		tb.Errorf("(-want +got):\n%s", d)
	}
}
