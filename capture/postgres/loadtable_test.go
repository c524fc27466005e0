package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/change"
)

// keyKind is a form that a table's key has in TestLoad.
type keyKind struct {
	name    string
	columns string // of the table, with the constraint
	prepare []string
	key     func(n int) string // the key's values, as SQL, of row n
	names   []string
}

var keyKinds = []keyKind{
	{name: "bigint", columns: "id bigint PRIMARY KEY", names: []string{"id"}, key: func(n int) string { return strconv.Itoa(n) }},
	{name: "text", columns: `id text COLLATE "C" PRIMARY KEY`, names: []string{"id"}, key: func(n int) string { return fmt.Sprintf(`E'k\\%d''é\t'`, n) }},
	{name: "composite", columns: "a int, b text, PRIMARY KEY (b, a)", names: []string{"a", "b"}, key: func(n int) string { return fmt.Sprintf("%d, 'b%d'", n, n%7) }},
	{name: "uuid", columns: "id uuid PRIMARY KEY", names: []string{"id"}, key: func(n int) string { return fmt.Sprintf("md5('%d')::uuid", n) }},
	{name: "numeric", columns: "id numeric PRIMARY KEY", names: []string{"id"}, key: func(n int) string { return fmt.Sprintf("%d.%d0", n-20, n%5) }},
	{name: "timestamptz", columns: "id timestamptz PRIMARY KEY", names: []string{"id"}, key: func(n int) string { return fmt.Sprintf("'2026-01-01'::timestamptz + %d * interval '1.000001 s'", n) }},
	{name: "bytea", columns: "id bytea PRIMARY KEY", names: []string{"id"}, key: func(n int) string { return fmt.Sprintf("decode(md5('%d'), 'hex')", n) }},
	{name: "enum", columns: "kind color, id int, PRIMARY KEY (kind, id)", names: []string{"kind", "id"}, prepare: []string{"CREATE TYPE color AS ENUM ('red', 'green', 'blue')"},
		key: func(n int) string { return fmt.Sprintf("'%s', %d", []string{"blue", "red", "green"}[n%3], n) }},
	{name: "domain", columns: "id code PRIMARY KEY", names: []string{"id"}, prepare: []string{`CREATE DOMAIN code AS varchar(20) COLLATE "POSIX" CHECK (VALUE <> '')`}, key: func(n int) string { return fmt.Sprintf("'x%d'", n) }},
	{name: "char", columns: "id char(12) PRIMARY KEY", names: []string{"id"}, key: func(n int) string { return fmt.Sprintf("'c%d'", n) }},
	{name: "partitioned", columns: "id int, region text, PRIMARY KEY (id, region)", names: []string{"id", "region"}, key: func(n int) string { return fmt.Sprintf("%d, '%s'", n/2, []string{"eu", "us"}[n%2]) }},
	{name: "index", columns: "id int NOT NULL UNIQUE", names: []string{"id"}, key: func(n int) string { return strconv.Itoa(n) }},
}

// loadTest is a database that writers work on while it is loaded.
type loadTest struct {
	d     *database
	kinds []keyKind
	keys  int // of a table
}

func (lt *loadTest) create(t *testing.T) {
	lt.d.exec(t, "CREATE SEQUENCE version")
	for _, k := range lt.kinds {
		lt.d.exec(t, k.prepare...)
		table := "t_" + k.name
		end := ")"
		if k.name == "partitioned" {
			end = ") PARTITION BY LIST (region)"
		}
		lt.d.exec(t, "CREATE TABLE "+table+" ("+k.columns+", v bigint, big text"+end)
		switch k.name {
		case "partitioned":
			lt.d.exec(t, "CREATE TABLE "+table+"_eu PARTITION OF "+table+" FOR VALUES IN ('eu')", "CREATE TABLE "+table+"_us (big text, v bigint, region text NOT NULL, id int NOT NULL)",
				"ALTER TABLE "+table+" ATTACH PARTITION "+table+"_us FOR VALUES IN ('us')",
				"ALTER TABLE "+table+"_eu ALTER big SET STORAGE EXTERNAL", "ALTER TABLE "+table+"_us ALTER big SET STORAGE EXTERNAL")
		case "index":
			lt.d.exec(t, "ALTER TABLE "+table+" REPLICA IDENTITY USING INDEX "+table+"_id_key")
		}
		lt.d.exec(t, "ALTER TABLE "+table+" ALTER big SET STORAGE EXTERNAL")
		for n := 0; n < lt.keys; n += 2 {
			lt.d.exec(t, fmt.Sprintf("INSERT INTO %s (%s, v, big) VALUES (%s, nextval('version'), repeat('%d', 2500))", table, strings.Join(k.names, ", "), k.key(n), n%10))
		}
		lt.d.exec(t, "ANALYZE "+table)
	}
}

// statement is a random change of a random table.
func (lt *loadTest) statement(random *rand.Rand) string {
	k := lt.kinds[random.IntN(len(lt.kinds))]
	table, columns := "t_"+k.name, strings.Join(k.names, ", ")
	a, b := k.key(random.IntN(lt.keys)), k.key(random.IntN(lt.keys))
	switch random.IntN(20) {
	case 0, 1, 2, 3, 4:
		return fmt.Sprintf("INSERT INTO %s (%s, v, big) VALUES (%s, nextval('version'), repeat('%d', 2500)) ON CONFLICT DO NOTHING", table, columns, a, random.IntN(10))
	case 5, 6, 7, 8, 9, 10:
		return fmt.Sprintf("UPDATE %s SET v = nextval('version') WHERE (%s) = (%s)", table, columns, a) // big does not change
	case 11:
		return fmt.Sprintf("UPDATE %s SET v = nextval('version'), big = repeat('%d', 2500) WHERE (%s) = (%s)", table, random.IntN(10), columns, a)
	case 12, 13, 14:
		return fmt.Sprintf("DELETE FROM %s WHERE (%s) = (%s)", table, columns, a)
	case 15, 16, 17: // another key, big does not change
		return fmt.Sprintf("UPDATE %s SET (%s) = ROW(%s), v = nextval('version') WHERE (%[2]s) = (%s) AND NOT EXISTS (SELECT FROM %[1]s WHERE (%[2]s) = (%[3]s))", table, columns, b, a)
	case 18:
		if random.IntN(10) == 0 {
			return "TRUNCATE " + table
		}
		fallthrough
	default: // many rows at once
		return fmt.Sprintf("UPDATE %s SET v = nextval('version') WHERE v %% 7 = %d", table, random.IntN(7))
	}
}

// write works on the database until its context ends. Conflicts of writers are no errors.
func (lt *loadTest) write(ctx context.Context, t *testing.T, seed, writer uint64) {
	random := rand.New(rand.NewPCG(seed, writer))
	conn, err := pgconn.Connect(ctx, lt.d.url)
	if err != nil {
		if ctx.Err() == nil {
			t.Error(err)
		}
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	run := func(sql string) bool {
		_, err := conn.Exec(ctx, sql).ReadAll()
		var pg *pgconn.PgError
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
		if !errors.As(err, &pg) || pg.Code != "23505" && pg.Code != "40P01" && pg.Code != "25P02" && pg.Code != "55P03" {
			t.Errorf("%.200s: %v", sql, err)
		}
		return false
	}
	if random.IntN(2) == 0 {
		run("SET synchronous_commit = off")
	}
	run("SET lock_timeout = '300ms'")
	for ctx.Err() == nil {
		run("BEGIN")
		for range 1 + random.IntN(6) {
			switch random.IntN(8) {
			case 0: // a part that is rolled back
				run("SAVEPOINT s")
				run(lt.statement(random))
				run("ROLLBACK TO s")
			default:
				if run("SAVEPOINT e"); !run(lt.statement(random)) {
					run("ROLLBACK TO e")
				}
			}
		}
		if random.IntN(10) == 0 {
			run("ROLLBACK")
		} else {
			run("COMMIT")
		}
	}
}

// open keeps a transaction open that writes now and then.
func (lt *loadTest) linger(ctx context.Context, t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 99))
	conn, err := pgconn.Connect(ctx, lt.d.url)
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	k := lt.kinds[0]
	for n := 0; ctx.Err() == nil; n++ {
		statements := []string{"BEGIN", fmt.Sprintf("INSERT INTO t_%s (%s, v, big) VALUES (%s, nextval('version'), 'late') ON CONFLICT DO NOTHING", k.name, strings.Join(k.names, ", "), k.key(lt.keys+random.IntN(20))),
			"SELECT pg_sleep(0.3)", fmt.Sprintf("DELETE FROM t_%s WHERE (%s) = (%s)", k.name, strings.Join(k.names, ", "), k.key(lt.keys+random.IntN(20))), "COMMIT"}
		for _, s := range statements {
			if _, err := conn.Exec(ctx, s).ReadAll(); err != nil {
				_, _ = conn.Exec(ctx, "ROLLBACK").ReadAll()
				break
			}
		}
	}
}

// check compares what the log says of each table with the table.
func (lt *loadTest) check(t *testing.T, log *capturetest.Log) {
	t.Helper()
	for _, k := range lt.kinds {
		table := "t_" + k.name
		var names []string
		rows, gone := map[string]change.Row{}, map[string]change.Row{}
		var last change.ID
		for i, r := range log.Records() {
			if r.Topic != "shop.public."+table {
				continue
			}
			if c := r.ID.Compare(last); c < 0 || c == 0 && !r.Tombstone() {
				t.Errorf("%s: record %d: id %v comes after %v", table, i, r.ID, last)
			}
			last = r.ID
			e := r.Event
			if e == nil {
				continue
			}
			if names == nil {
				for _, c := range e.Table.Columns {
					names = append(names, c.Name)
				}
			}
			key := string(r.Key)
			switch e.Op {
			case change.Truncate:
				clear(rows)
				clear(gone)
			case change.Delete:
				if e.NewKey != nil && rows[key] != nil {
					gone[keyOf(e.Table, e.Before)] = rows[key]
				}
				delete(rows, key)
			default:
				row := e.After.Clone()
				before := rows[key]
				if v := e.Table.Column("v"); before != nil && versionOf(row[v]) < versionOf(before[v]) {
					t.Errorf("%s: record %d: %v of key %s goes back from version %s to %s", table, i, e.Op, key, before[v].Text(), row[v].Text())
				}
				if e.OldKey != nil {
					before = gone[keyOf(e.Table, e.OldKey)]
				}
				for i := range row {
					if row[i].IsUnchanged() && before != nil {
						row[i] = before[i]
					}
				}
				rows[key] = row
			}
		}
		var got, want []string
		for _, row := range rows {
			got = append(got, rowText(row))
		}
		if names != nil {
			lt.d.exec(t, "SET timezone = 'UTC'")
			quoted := make([]string, len(names))
			for i, n := range names {
				quoted[i] = n + "::text"
				if k.name == "bytea" && n == "id" {
					quoted[i] = "encode(id, 'hex')"
				}
				if k.name == "char" && n == "id" {
					quoted[i] = "rpad(id::text, 12)"
				}
				if k.name == "timestamptz" && n == "id" {
					quoted[i] = "replace(replace(id::text, ' ', 'T'), '+00', 'Z')"
				}
			}
			for _, row := range lt.d.query(t, "SELECT "+strings.Join(quoted, ", ")+" FROM "+table) {
				want = append(want, strings.Join(row, "|"))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		diff(t, map[string][]string{table: got}, map[string][]string{table: want})
	}
}

func versionOf(v change.Value) int64 {
	n, _ := v.Int64()
	return n
}

func keyOf(t *change.Table, r change.Row) string { return string(change.AppendKey(nil, t, r)) }

func rowText(r change.Row) string {
	var parts []string
	for _, v := range r {
		switch {
		case v.IsUnchanged():
			parts = append(parts, "UNCHANGED")
		case v.Kind() == change.Bytes:
			parts = append(parts, fmt.Sprintf("%x", v.Text()))
		default:
			parts = append(parts, v.Text())
		}
	}
	return strings.Join(parts, "|")
}
