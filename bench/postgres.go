package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/integration/service"
)

// postgresDatabase is a database of this run.
type postgresDatabase struct {
	name, url string
	conn      *pgconn.PgConn
}

// serverURL is the server that the environment names.
func serverURL(name string) (string, error) {
	variable := service.Variable(name)
	if url := os.Getenv(variable); url != "" {
		return url, nil
	}
	return "", fmt.Errorf("%s is not set: go run ./integration/service/cmd/services run -with postgres18,mysql -- go run ./bench", variable)
}

func newPostgres(ctx context.Context) (*postgresDatabase, error) {
	server, err := serverURL("postgres18")
	if err != nil {
		return nil, err
	}
	admin, err := pgconn.Connect(ctx, server)
	if err != nil {
		return nil, err
	}
	d := &postgresDatabase{name: "bench_" + strings.ToLower(rand.Text())}
	_, err = admin.Exec(ctx, "CREATE DATABASE "+d.name).ReadAll()
	if err = errors.Join(err, admin.Close(ctx)); err != nil {
		return nil, err
	}
	u, err := url.Parse(server)
	if err != nil {
		return nil, errors.New("the server's URL does not parse") // err would show the password
	}
	u.Path = "/" + d.name
	d.url = u.String()
	d.conn, err = pgconn.Connect(ctx, d.url)
	return d, err
}

func (d *postgresDatabase) exec(ctx context.Context, sql string) error {
	_, err := d.conn.Exec(ctx, sql).ReadAll()
	return err
}

// drop removes the database with its slots. A slot whose reader has just gone is in use
// for a moment longer.
func (d *postgresDatabase) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := d.dropSlots(ctx, "%"); err != nil {
		return err
	}
	server, err := serverURL("postgres18")
	if err != nil {
		return err
	}
	admin, err := pgconn.Connect(ctx, server)
	if err != nil {
		return err
	}
	err = d.conn.Close(ctx)
	_, dropErr := admin.Exec(ctx, "DROP DATABASE "+d.name+" WITH (FORCE)").ReadAll()
	return errors.Join(err, dropErr, admin.Close(ctx))
}

// dropSlots removes the database's slots of a name (a LIKE pattern).
func (d *postgresDatabase) dropSlots(ctx context.Context, pattern string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := d.exec(ctx, fmt.Sprintf("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '%s' AND slot_name LIKE '%s'", d.name, pattern))
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "55006" { // object_in_use
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// transactionRows is how many changes a transaction of the load has: 50 inserts, 35
// updates and 15 deletes of rows that the transaction before inserted.
const transactionRows = 100

// A row has 9 columns and, as the text that the server sends, some 240 bytes.
const postgresTable = `CREATE TABLE public.bench (id bigint PRIMARY KEY, email text, first_name text, last_name text,
	mrr numeric(12,2), active bool, changed timestamptz, ref uuid, note text) WITH (autovacuum_enabled = false)`

// postgresInsert is the statement for 50 rows; the first id is the parameter. The values
// differ from row to row and half of the text is hex digits, so that the log does not
// compress them better than real ones.
const postgresInsert = `INSERT INTO public.bench SELECT %[1]s + n, 'somebody' || (%[1]s + n) || '@example.com', initcap(left(md5(n::text), 5)), initcap(right(md5(n::text), 7)),
	(%[1]s + n) %% 100000 + 0.25, n %% 3 > 0, clock_timestamp(), gen_random_uuid(),
	md5((%[1]s + n)::text) || ' ' || md5((%[1]s - n)::text) || ' ' || md5((%[1]s * n)::text) || ' customer since 2019, net 30' FROM generate_series(1, 50) n`

// load makes that many changes.
func (d *postgresDatabase) load(ctx context.Context, rows int) error {
	return d.exec(ctx, fmt.Sprintf(`DO $$ BEGIN
		FOR i IN (SELECT coalesce(max(id), 0) / 50 FROM public.bench) .. (SELECT coalesce(max(id), 0) / 50 FROM public.bench) + %d LOOP
			%s;
			UPDATE public.bench SET mrr = mrr + 1, changed = now() WHERE id BETWEEN i * 50 - 34 AND i * 50;
			DELETE FROM public.bench WHERE id BETWEEN i * 50 - 49 AND i * 50 - 35;
			COMMIT;
		END LOOP; END $$`, rows/transactionRows-1, fmt.Sprintf(postgresInsert, "i * 50")))
}

// create makes the table with the rows that the first transaction of a load changes.
func (d *postgresDatabase) create(ctx context.Context) error {
	return errors.Join(d.exec(ctx, postgresTable), d.exec(ctx, fmt.Sprintf(postgresInsert, "0")))
}

const publication = "bench"

// postgres compares capture with a client that discards, each on slots of its own with
// the same content.
func (s *suite) postgres(ctx context.Context) (err error) {
	s.note("postgres: %s rows, %d runs", number(float64(s.rows)), s.runs)
	d, err := newPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(ctx)) }()
	if err := d.create(ctx); err != nil {
		return err
	}
	if err := d.exec(ctx, "CREATE PUBLICATION "+publication+" FOR TABLE public.bench WITH (publish_via_partition_root = true, publish_generated_columns = stored)"); err != nil {
		return err
	}
	var slots []string
	for i := range 4*s.runs + 1 {
		slots = append(slots, fmt.Sprintf("%s_%d", d.name, i))
		if err := d.exec(ctx, fmt.Sprintf("SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", slots[i])); err != nil {
			return err
		}
	}
	if err := d.load(ctx, s.rows); err != nil {
		return err
	}
	if err := d.exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	read := func(name string, reader func(slot string) (float64, error)) func() (float64, error) {
		return func() (float64, error) {
			slot := slots[0]
			slots = slots[1:]
			before := processorTime()
			rate, err := s.profiled(name, func() (float64, error) { return reader(slot) })
			if err != nil {
				return 0, err
			}
			s.note("  %-11s %s rows/s, %.2f µs of our processor time a row", name, number(rate), (processorTime()-before).Seconds()*1e6/float64(s.rows))
			return rate, d.dropSlots(ctx, slot)
		}
	}
	discard := read("discard", func(slot string) (float64, error) { return discardSlot(ctx, d.url, slot, s.rows, 0) })
	if _, err := discard(); err != nil { // the server's caches are warm for all
		return err
	}
	results, err := alternate(s.runs, discard,
		read("discard-64k", func(slot string) (float64, error) { return discardSlot(ctx, d.url, slot, s.rows, 64<<10) }),
		read("nowhere", func(slot string) (float64, error) {
			src, err := d.source(slot)
			if err != nil {
				return 0, err
			}
			return captured(ctx, src, src.Identity("bench"), nowhere{}, nil, s.rows)
		}),
		read("embedded", func(slot string) (float64, error) {
			src, err := d.source(slot)
			if err != nil {
				return 0, err
			}
			return s.capturedInto(ctx, src, src.Identity("bench"), nil, s.rows)
		}))
	if err != nil {
		return err
	}
	// What capture is held against is the faster of the two: see discardSlot.
	base := max(median(results[0]), median(results[1]))
	for i, what := range []string{"Postgres: a client that discards, woken by every row", "Postgres: a client that discards, woken by 64 KiB"} {
		s.add(figure{what: what, measured: number(median(results[i])) + " rows/s", detail: list(results[i], number)})
	}
	for i, goal := range []float64{0.90, 0.75} {
		what := []string{"Postgres to nowhere (decode + envelope)", "Postgres to the embedded log, durable"}[i]
		m := median(results[i+2])
		s.add(figure{
			what: what, goal: fmt.Sprintf("≥ %.2f of the faster client", goal), measured: fmt.Sprintf("%.2f (%s rows/s)", m/base, number(m)),
			verdict: atLeast(m/base, goal), detail: list(results[i+2], number),
		})
	}
	return nil
}

func (d *postgresDatabase) source(slot string) (*postgres.Source, error) {
	return postgres.Open(&postgres.Config{
		URL: d.url, Tables: []string{"public.bench"}, Slot: slot, Publication: publication, Snapshot: postgres.SnapshotNever,
	}, "shop")
}
