package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/integration/service"
)

// misconfiguration is one that Check finds: made by setup, mended by undo.
type misconfiguration struct {
	name  string
	setup []string
	set   func(*postgres.Config)
	undo  []string
	want  []string // codes, in any order
	parts []string // of the text: the SQL that mends it
}

// TestMisconfigurations makes each misconfiguration on a real server, one at a time: it is
// found, alone, with what mends it, and after that is done nothing is left of it.
func TestMisconfigurations(t *testing.T) {
	for _, version := range []string{"14", "18"} {
		t.Run(version, func(t *testing.T) { testMisconfigurations(t, version) })
	}
}

func testMisconfigurations(t *testing.T, version string) {
	server := service.StartPostgres(t, version, service.Setting("max_slot_wal_keep_size", "10GB"), service.Setting("max_replication_slots", "2"), service.Setting("max_wal_senders", "5"))
	d := private(t, server)
	const grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest"
	d.exec(t, createItems, "CREATE ROLE guest LOGIN REPLICATION PASSWORD 'penstock'", "GRANT CREATE ON DATABASE postgres TO guest", "ALTER TABLE items OWNER TO guest",
		"CREATE SCHEMA mine", "CREATE TABLE mine.t (id int PRIMARY KEY)", "ALTER TABLE mine.t OWNER TO guest", "GRANT USAGE ON SCHEMA mine TO guest", grant)
	guest := func(change func(*url.URL)) string {
		u, err := url.Parse(d.url)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("guest", "penstock")
		if change != nil {
			change(u)
		}
		return u.String()
	}
	config := func() *postgres.Config {
		return &postgres.Config{URL: guest(nil), Tables: []string{"public.items"}, Slot: "shop", Publication: "shop"}
	}
	also := func(pattern string) func(*postgres.Config) {
		return func(c *postgres.Config) { c.Tables = append(c.Tables, pattern) }
	}
	block := func(b postgres.TableConfig) func(*postgres.Config) {
		return func(c *postgres.Config) { c.TableBlocks = append(c.TableBlocks, b) }
	}
	param := func(name, value string) func(*postgres.Config) {
		return func(c *postgres.Config) {
			c.URL = guest(func(u *url.URL) {
				q := u.Query()
				q.Set(name, value)
				u.RawQuery = q.Encode()
			})
		}
	}
	system := func(name, value string) []string {
		return []string{"ALTER SYSTEM SET " + name + " = '" + value + "'", "SELECT pg_reload_conf()"}
	}
	restore := func(name string) []string {
		return []string{"ALTER SYSTEM RESET " + name, "SELECT pg_reload_conf()"}
	}
	drop := func(table string) []string { return []string{"DROP TABLE public." + table} }
	slot := func(name, plugin string) string {
		return "SELECT pg_create_logical_replication_slot('" + name + "', '" + plugin + "')"
	}
	dropSlots := []string{"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"}
	publish := func(what string) []string {
		return []string{"CREATE PUBLICATION shop FOR " + what, "ALTER PUBLICATION shop OWNER TO guest"}
	}
	unpublish := []string{"DROP PUBLICATION shop"}
	partitioned := func(and string) []string {
		return []string{"CREATE TABLE mine.p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)", "CREATE TABLE mine.p_0 PARTITION OF mine.p DEFAULT", "ALTER TABLE mine.p OWNER TO guest", "ALTER TABLE mine.p_0 OWNER TO guest", and}
	}
	generated := []string{"CREATE TABLE mine.g (id int NOT NULL, code text GENERATED ALWAYS AS ('c' || id) STORED, PRIMARY KEY (id, code))", "ALTER TABLE mine.g OWNER TO guest"}
	tests := []misconfiguration{
		{name: "fine"},
		{name: "slots exhausted", setup: []string{slot("a", "pgoutput"), slot("b", "pgoutput")}, undo: dropSlots, want: []string{"E0445"}, parts: []string{"ALTER SYSTEM SET max_replication_slots = 12"}},
		{name: "plugin", setup: []string{slot("shop", "test_decoding")}, undo: dropSlots, want: []string{"E0474"}, parts: []string{"pg_drop_replication_slot('shop')"}},
		{name: "physical slot", setup: []string{"SELECT pg_create_physical_replication_slot('shop')"}, undo: dropSlots, want: []string{"E0473"}, parts: []string{"another name"}},
		{name: "slot without a position", setup: []string{slot("shop", "pgoutput")}, undo: dropSlots, want: []string{"E0419"}, parts: []string{"penstock source drop shop", "pg_drop_replication_slot('shop')"}},
		{name: "no replication", setup: []string{"ALTER ROLE guest NOREPLICATION"}, undo: []string{"ALTER ROLE guest REPLICATION"}, want: []string{"E0446"}, parts: []string{`ALTER ROLE "guest" REPLICATION`}},
		{name: "connection limit", setup: []string{"ALTER ROLE guest CONNECTION LIMIT 3"}, undo: []string{"ALTER ROLE guest CONNECTION LIMIT -1"}, want: []string{"E0476"}, parts: []string{`ALTER ROLE "guest" CONNECTION LIMIT -1`}},
		{name: "no login", setup: []string{"ALTER ROLE guest NOLOGIN"}, undo: []string{"ALTER ROLE guest LOGIN"}, want: []string{"E0450"}, parts: []string{`ALTER ROLE "guest" LOGIN`}},
		{name: "password", set: func(c *postgres.Config) {
			c.URL = guest(func(u *url.URL) { u.User = url.UserPassword("guest", "hunter2") })
		}, want: []string{"E0450"}},
		{name: "no database", set: func(c *postgres.Config) { c.URL = guest(func(u *url.URL) { u.Path = "/shop" }) }, want: []string{"E0450"}, parts: []string{"there is no database shop"}},
		{name: "no connect", setup: []string{"REVOKE CONNECT ON DATABASE postgres FROM PUBLIC"}, undo: []string{"GRANT CONNECT ON DATABASE postgres TO PUBLIC"}, want: []string{"E0450"}, parts: []string{`GRANT CONNECT ON DATABASE "postgres" TO "guest"`}},
		{name: "TLS", set: param("sslmode", "require"), want: []string{"E0449"}, parts: []string{"ssl = on"}},
		{name: "no select", setup: []string{"CREATE TABLE other (id int PRIMARY KEY)"}, set: also("public.other"), undo: drop("other"), want: []string{"E0455", "E0465"},
			parts: []string{`GRANT SELECT ON "public"."other" TO "guest"`, "as its owner postgres: CREATE PUBLICATION"}},
		{name: "no usage", setup: []string{"REVOKE USAGE ON SCHEMA mine FROM guest"}, set: also("mine.*"), undo: []string{"GRANT USAGE ON SCHEMA mine TO guest"}, want: []string{"E0456"}, parts: []string{`GRANT USAGE ON SCHEMA "mine" TO "guest"`}},
		{name: "no create", setup: []string{"REVOKE CREATE ON DATABASE postgres FROM guest"}, undo: []string{"GRANT CREATE ON DATABASE postgres TO guest"}, want: []string{"E0464"}, parts: []string{`GRANT CREATE ON DATABASE "postgres" TO "guest"`}},
		{name: "row security", setup: []string{"ALTER TABLE items ENABLE ROW LEVEL SECURITY", "ALTER TABLE items FORCE ROW LEVEL SECURITY"}, undo: []string{"ALTER TABLE items NO FORCE ROW LEVEL SECURITY", "ALTER TABLE items DISABLE ROW LEVEL SECURITY"}, want: []string{"E0460"}, parts: []string{`ALTER ROLE "guest" BYPASSRLS`}},
		{name: "identity nothing", setup: []string{"ALTER TABLE items REPLICA IDENTITY NOTHING"}, undo: []string{"ALTER TABLE items REPLICA IDENTITY DEFAULT"}, want: []string{"E0457"}, parts: []string{`ALTER TABLE "public"."items" REPLICA IDENTITY DEFAULT`}},
		{name: "no key", setup: []string{"ALTER TABLE items DROP CONSTRAINT items_pkey"}, undo: []string{"ALTER TABLE items ADD PRIMARY KEY (id)"}, want: []string{"E0458"}, parts: []string{`ALTER TABLE "public"."items" REPLICA IDENTITY FULL`}},
		{name: "deferrable key", setup: []string{"ALTER TABLE items DROP CONSTRAINT items_pkey, ADD PRIMARY KEY (id) DEFERRABLE"}, undo: []string{"ALTER TABLE items DROP CONSTRAINT items_pkey, ADD PRIMARY KEY (id)"}, want: []string{"E0459"}, parts: []string{"REPLICA IDENTITY FULL", "NOT DEFERRABLE"}},
		{name: "identity index gone", setup: []string{"CREATE UNIQUE INDEX u ON items (id)", "ALTER TABLE items REPLICA IDENTITY USING INDEX u", "DROP INDEX u"}, undo: []string{"ALTER TABLE items REPLICA IDENTITY DEFAULT"}, want: []string{"E0472"}, parts: []string{"REPLICA IDENTITY DEFAULT"}},
		{name: "root full, leaf not", setup: partitioned("ALTER TABLE mine.p REPLICA IDENTITY FULL"), set: also("mine.p"), undo: []string{"DROP TABLE mine.p"}, want: []string{"E0480"}, parts: []string{`ALTER TABLE "mine"."p_0" REPLICA IDENTITY FULL`}},
		{name: "leaf without identity", setup: partitioned("ALTER TABLE mine.p_0 REPLICA IDENTITY NOTHING"), set: also("mine.p"), undo: []string{"DROP TABLE mine.p"}, want: []string{"E0480"}, parts: []string{"partition mine.p_0 of mine.p has no replica identity"}},
		{name: "leaf full, root not", setup: partitioned("ALTER TABLE mine.p_0 REPLICA IDENTITY FULL"), set: also("mine.p"), undo: []string{"DROP TABLE mine.p"}, want: []string{"W0411"}, parts: []string{`ALTER TABLE "mine"."p_0" REPLICA IDENTITY DEFAULT`}},
		{name: "key outside identity", setup: []string{"ALTER TABLE items REPLICA IDENTITY NOTHING"},
			set: block(postgres.TableConfig{Alias: "i", Name: "public.items", Key: []string{"name"}}), undo: []string{"ALTER TABLE items REPLICA IDENTITY DEFAULT"}, want: []string{"E0457", "E0471"}, parts: []string{"REPLICA IDENTITY FULL"}},
		{name: "unlogged", setup: []string{"ALTER TABLE items SET UNLOGGED"}, undo: []string{"ALTER TABLE items SET LOGGED"}, want: []string{"E0453"}, parts: []string{`ALTER TABLE "public"."items" SET LOGGED`}},
		{name: "view", setup: []string{"CREATE VIEW v AS SELECT * FROM items"}, set: also("public.v"), undo: []string{"DROP VIEW v"}, want: []string{"E0454"}, parts: []string{"public.v is a view"}},
		{name: "materialized view", setup: []string{"CREATE MATERIALIZED VIEW v AS SELECT * FROM items"}, set: block(postgres.TableConfig{Alias: "v", Name: "public.v"}), undo: []string{"DROP MATERIALIZED VIEW v"}, want: []string{"E0454"}, parts: []string{"public.v is a materialized view"}},
		{name: "foreign table", setup: []string{"CREATE FOREIGN DATA WRAPPER w", "CREATE SERVER s FOREIGN DATA WRAPPER w", "CREATE FOREIGN TABLE far (id int) SERVER s"}, set: also("public.far"), undo: []string{"DROP FOREIGN DATA WRAPPER w CASCADE"}, want: []string{"E0454"}, parts: []string{"public.far is a foreign table"}},
		{name: "temporary table", set: block(postgres.TableConfig{Alias: "x", Name: "pg_temp.x"}), want: []string{"E0454"}, parts: []string{"temporary"}},
		{name: "pattern", set: also("pubic.items"), want: []string{"E0452"}, parts: []string{"did you mean public.items?"}},
		{name: "missing table", set: block(postgres.TableConfig{Alias: "i", Name: "public.itens"}), want: []string{"E0451"}, parts: []string{"did you mean public.items?"}},
		{name: "columns", set: block(postgres.TableConfig{Alias: "i", Name: "public.items", Exclude: []string{"nme"}}), want: []string{"E0462"}, parts: []string{"did you mean name?"}},
		{name: "key left out", set: block(postgres.TableConfig{Alias: "i", Name: "public.items", Exclude: []string{"id"}}), want: []string{"E0463"}},
		{name: "topics", setup: []string{`CREATE TABLE mine."a b" (id int PRIMARY KEY)`, "CREATE TABLE mine.a_u0020b (id int PRIMARY KEY)", `ALTER TABLE mine."a b" OWNER TO guest`, "ALTER TABLE mine.a_u0020b OWNER TO guest"}, set: also("mine.a*"),
			undo: []string{`DROP TABLE mine."a b"`, "DROP TABLE mine.a_u0020b"}, want: []string{"E0461"}, parts: []string{"topic ="}},
		{name: "publish", setup: publish("TABLE items WITH (publish = 'insert, update')"), undo: unpublish, want: []string{"E0466"}, parts: []string{`ALTER PUBLICATION "shop" SET (publish = 'insert, update, delete, truncate')`}},
		{name: "partitions", setup: append(publish("TABLE items, mine.t"), "CREATE TABLE mine.p (id int PRIMARY KEY) PARTITION BY RANGE (id)", "ALTER TABLE mine.p OWNER TO guest", "ALTER PUBLICATION shop ADD TABLE mine.p"), set: also("mine.p"),
			undo: append([]string{"DROP TABLE mine.p"}, unpublish...), want: []string{"E0468"}, parts: []string{"SET (publish_via_partition_root = true)"}},
		{name: "publication of another", setup: append(publish("TABLE mine.t"), "ALTER PUBLICATION shop OWNER TO postgres"), undo: unpublish, want: []string{"E0469"}, parts: []string{`ALTER PUBLICATION "shop" ADD TABLE "public"."items"`}},
		{name: "synchronous", setup: system("synchronous_standby_names", `"penstock shop stream"`), undo: restore("synchronous_standby_names"), want: []string{"E0477"}, parts: []string{"synchronous_standby_names"}},
		{name: "synchronous, all", setup: system("synchronous_standby_names", "FIRST 1 (*)"), undo: restore("synchronous_standby_names"), want: []string{"E0477"}},
		{name: "keep size unset", setup: system("max_slot_wal_keep_size", "-1"), undo: restore("max_slot_wal_keep_size"), want: []string{"W0401"}, parts: []string{"ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'"}},
		{name: "keep size small", setup: system("max_slot_wal_keep_size", "64MB"), undo: restore("max_slot_wal_keep_size"), want: []string{"W0402"}, parts: []string{"is 64 MB"}},
		{name: "decoding memory", setup: system("logical_decoding_work_mem", "1MB"), undo: restore("logical_decoding_work_mem"), want: []string{"W0403"}, parts: []string{"ALTER SYSTEM SET logical_decoding_work_mem"}},
		{name: "no sender timeout", setup: system("wal_sender_timeout", "0"), undo: restore("wal_sender_timeout"), want: []string{"W0405"}, parts: []string{"ALTER SYSTEM SET wal_sender_timeout = '60s'"}},
		{name: "short sender timeout", setup: system("wal_sender_timeout", "2s"), undo: restore("wal_sender_timeout"), want: []string{"W0406"}},
		{name: "SQL_ASCII", setup: []string{"CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"}, set: func(c *postgres.Config) {
			c.URL, c.Tables = guest(func(u *url.URL) { u.Path = "/bytes" }), []string{"public.nothing"}
		}, undo: []string{"DROP DATABASE bytes WITH (FORCE)"}, want: []string{"E0452", "E0464", "W0407"}},
		{name: "slot of another database", setup: []string{"CREATE DATABASE elsewhere"}, set: func(c *postgres.Config) {
			elsewhere := &database{url: server.Database("elsewhere")}
			elsewhere.connect(t)
			elsewhere.exec(t, slot("shop", "pgoutput"))
		}, undo: append(slices.Clone(dropSlots), "DROP DATABASE elsewhere WITH (FORCE)"), want: []string{"E0475"}, parts: []string{"slot shop is of database elsewhere"}},
	}
	if version == "14" {
		tests = append(tests, misconfiguration{name: "generated key", setup: generated, set: also("mine.g"), undo: []string{"DROP TABLE mine.g"}, want: []string{"E0481"}, parts: []string{"column code of table mine.g is generated", `ALTER TABLE "mine"."g" ALTER "code" DROP EXPRESSION`}})
	}
	if version != "14" {
		tests = append(tests,
			misconfiguration{name: "generated key", setup: append(publish("TABLE items"), append(generated, "ALTER PUBLICATION shop ADD TABLE mine.g")...), set: also("mine.g"), undo: append([]string{"DROP TABLE mine.g"}, unpublish...),
				want: []string{"E0481"}, parts: []string{`ALTER PUBLICATION "shop" SET (publish_generated_columns = stored)`}},
			misconfiguration{name: "row filter", setup: publish("TABLE items WHERE (id > 5)"), undo: unpublish, want: []string{"E0467"}, parts: []string{"row filter", `ALTER PUBLICATION "shop" DROP TABLE public.items`}},
			misconfiguration{name: "column list", setup: publish("TABLE items (id)"), undo: unpublish, want: []string{"E0467"}, parts: []string{"column list"}},
			misconfiguration{name: "idle timeout", setup: system("idle_replication_slot_timeout", "1h"), undo: restore("idle_replication_slot_timeout"), want: []string{"W0404"}, parts: []string{"is 3600 s", "ALTER SYSTEM SET idle_replication_slot_timeout = 0"}},
			misconfiguration{name: "standby slots", setup: system("synchronized_standby_slots", "gone"), undo: restore("synchronized_standby_slots"), want: []string{"W0409"}, parts: []string{"has gone, which no standby uses"}},
		)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d.exec(t, tt.setup...)
			cfg := config()
			if tt.set != nil {
				tt.set(cfg)
			}
			expect(t, cfg, tt.want, tt.parts)
			d.exec(t, tt.undo...)
			expect(t, config(), nil, nil)
		})
	}
	t.Run("hba", func(t *testing.T) { testRefusedSessions(t, server, d, config()) })
	t.Run("pooler", func(t *testing.T) { testPoolers(t, server, config) })
	t.Run("restart", func(t *testing.T) {
		for _, tt := range []misconfiguration{
			{name: "wal_level", setup: system("wal_level", "replica"), want: []string{"E0443"}, parts: []string{"ALTER SYSTEM SET wal_level = 'logical'"}},
			{name: "senders", setup: append(system("wal_level", "logical"), system("max_wal_senders", "0")...), want: []string{"E0444"}, parts: []string{"ALTER SYSTEM SET max_wal_senders = 10"}},
		} {
			d.exec(t, tt.setup...)
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			d.connect(t)
			expect(t, config(), tt.want, tt.parts)
		}
	})
}

// expect checks what is found, warnings included: codes, and parts of the text.
func expect(t *testing.T, cfg *postgres.Config, want, parts []string) {
	t.Helper()
	src, err := postgres.Open(cfg, "shop")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	err = src.Check(t.Context(), nil)
	text := fmt.Sprint(err)
	found = codes(err)
	for _, p := range src.Advice() {
		found, text = append(found, p.Code), text+"\n"+p.Error()
	}
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("found %v, want %v:\n%s", found, want, text)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
	if strings.Contains(text, "hunter2") {
		t.Errorf("it has the password: %s", text)
	}
}

// testRefusedSessions: pg_hba.conf does not let the role in, or only with TLS.
func testRefusedSessions(t *testing.T, server *service.Server, d *database, cfg *postgres.Config) {
	if err := server.Access(context.Background(), "host all postgres 127.0.0.1/32 scram-sha-256", "host postgres guest 127.0.0.1/32 reject"); err != nil {
		t.Fatal(err)
	}
	expect(t, cfg, []string{"E0449"}, []string{"pg_hba.conf rejects", "a line host in pg_hba.conf"})
	if err := server.Access(context.Background(), "host all postgres 127.0.0.1/32 scram-sha-256", "hostssl postgres guest 127.0.0.1/32 scram-sha-256"); err != nil {
		t.Fatal(err)
	}
	expect(t, cfg, []string{"E0449"}, []string{"sslmode=require"})
	if err := server.Access(context.Background(), "host all all 127.0.0.1/32 scram-sha-256"); err != nil {
		t.Fatal(err)
	}
	expect(t, cfg, nil, nil)
}
