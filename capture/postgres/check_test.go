package postgres_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"

	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/integration/service"
)

// TestCheck: each mistake is found before anything moves, and named with what mends it.
func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		setup []string
		set   func(*postgres.Config)
		want  []string // parts of the error; none: all is well
	}{
		{"fine", nil, nil, nil},
		{"no key", []string{"CREATE TABLE loose (a int)"}, nil, []string{"public.loose has no primary key", `ALTER TABLE "public"."loose" REPLICA IDENTITY FULL`}},
		{"identity nothing", []string{"ALTER TABLE items REPLICA IDENTITY NOTHING"}, nil, []string{"replica identity nothing", "REPLICA IDENTITY DEFAULT"}},
		{"unlogged", []string{"CREATE UNLOGGED TABLE u (id int PRIMARY KEY)"}, nil, []string{`ALTER TABLE "public"."u" SET LOGGED`}},
		{"pattern", nil, func(c *postgres.Config) { c.Tables = append(c.Tables, "pubic.items") }, []string{`"pubic.items" matches no table`, "did you mean public.items?"}},
		{"missing table", nil, func(c *postgres.Config) {
			c.TableBlocks = []postgres.TableConfig{{Alias: "i", Name: "public.itens"}}
		}, []string{"there is no table public.itens: did you mean public.items?"}},
		{"columns", nil, func(c *postgres.Config) {
			c.TableBlocks = []postgres.TableConfig{{Alias: "i", Name: "public.items", Exclude: []string{"id", "nme"}}}
		}, []string{`names column "nme"`, "did you mean name?", `column "id" is part of the primary key`}},
		{"key outside identity", []string{"CREATE TABLE k (id int PRIMARY KEY, a int)", "ALTER TABLE k REPLICA IDENTITY NOTHING"}, func(c *postgres.Config) {
			c.TableBlocks = []postgres.TableConfig{{Alias: "k", Name: "public.k", Key: []string{"a"}}}
		}, []string{"key a is not in the replica identity"}},
		{"topics", []string{"CREATE TABLE \"a b\" (id int PRIMARY KEY)", "CREATE TABLE a_u0020b (id int PRIMARY KEY)"}, nil, []string{"would share topic shop.public.a_u0020b"}},
		{"plugin", []string{"SELECT pg_create_logical_replication_slot('slot_' || current_database(), 'test_decoding')"}, nil, []string{"has plugin test_decoding", "pg_drop_replication_slot"}},
		{"slot of others", []string{"SELECT pg_create_logical_replication_slot('slot_' || current_database(), 'pgoutput')"}, nil, []string{"this project has no position for it", "pg_drop_replication_slot"}},
		{"publication", []string{"CREATE PUBLICATION shop FOR TABLE items WITH (publish = 'insert')"}, nil, []string{`ALTER PUBLICATION "shop" SET (publish = 'insert, update, delete, truncate')`}},
		{"row filter", []string{"CREATE PUBLICATION shop FOR TABLE items WHERE (id > 5)"}, nil, []string{"row filter", `DROP TABLE public.items`}},
		{"several", []string{"CREATE TABLE loose (a int)"}, func(c *postgres.Config) { c.Tables = append(c.Tables, "nope.*") }, []string{"public.loose has no primary key", `"nope.*" matches no table`}},
		{"password", nil, func(c *postgres.Config) { c.URL = strings.Replace(c.URL, "penstock@", "hunter2@", 1) }, []string{"refuses role postgres", "password", "(E0450)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDatabase(t, "postgres18")
			d.exec(t, createItems)
			d.exec(t, tt.setup...)
			cfg := d.config()
			if tt.set != nil {
				tt.set(cfg)
			}
			checkError(t, d.open(t, cfg).Check(t.Context(), nil), tt.want)
		})
	}
}

func checkError(t *testing.T, err error, want []string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("got %v", err)
		}
		return
	}
	if err == nil {
		t.Fatal("got no error")
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error does not say %q:\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error has the password: %v", err)
	}
}

// TestCheckPrivileges: what a role lacks is named with the grant.
func TestCheckPrivileges(t *testing.T) {
	d := newDatabase(t, "postgres18")
	role := "r_" + d.name
	d.exec(t, createItems, "CREATE ROLE "+role+" LOGIN PASSWORD 'penstock'")
	t.Cleanup(func() {
		if err := service.Shared(t, "postgres18").Exec(context.Background(), "DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	cfg := d.config()
	cfg.URL = strings.Replace(cfg.URL, "//postgres:", "//"+role+":", 1)
	checkError(t, d.open(t, cfg).Check(t.Context(), nil), []string{
		"ALTER ROLE \"" + role + "\" REPLICATION", `GRANT SELECT ON "public"."items" TO "` + role + `"`, "GRANT CREATE ON DATABASE", "does not own table public.items",
	})
}

// TestPositions: a position that does not fit the server is an error, never silently on.
func TestPositions(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres17", "postgres18"} {
		t.Run(server, func(t *testing.T) { testPositions(t, server) })
	}
}

func testPositions(t *testing.T, server string) {
	d := newDatabase(t, server)
	d.exec(t, createItems, "CREATE TABLE other (id int PRIMARY KEY)")
	log := capturetest.NewLog(nil)
	c := d.harness(t).Start(t, log)
	c.Streaming(t)
	old := log.Resume()
	d.exec(t, "INSERT INTO items VALUES (1, 'a', 1)")
	arrived(t, log, 1)
	slot := "slot_" + d.name
	var before struct{ LSN string }
	if err := json.Unmarshal(old, &before); err != nil {
		t.Fatal(err)
	}
	capturetest.Poll(t, "confirmed position", func() bool {
		return d.query(t, "SELECT confirmed_flush_lsn > '"+before.LSN+"' AND confirmed_flush_lsn::text = '"+c.Source.Status().Confirmed+"' FROM pg_replication_slots WHERE slot_name = '"+slot+"'")[0][0] == "t"
	})
	check := func(resume []byte) error { return d.open(t, d.config()).Check(t.Context(), resume) }

	inUse := d.config()
	src, err := postgres.Open(inUse, "another")
	if err != nil {
		t.Fatal(err)
	}
	checkError(t, src.Check(t.Context(), log.Resume()), []string{"(E0418)", "in use by pid", "from 127.0.0.1, since 2", `"penstock shop stream"`, "pg_terminate_backend"})
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	now := log.Resume()
	checkError(t, check(now), nil)
	d.wasRead(t, slot)
	checkError(t, check(old), []string{"slot " + slot + " is ahead of us", "penstock source reset shop", "(E0413)"})
	checkError(t, check([]byte(strings.Replace(string(now), `"system":"`, `"system":"9`, 1))), []string{"(E0420)", "another server", "penstock source reset shop"})
	checkError(t, check([]byte(strings.Replace(string(now), `"lsn":"`, `"lsn":"FFF`, 1))), []string{"WAL ends at", "(E0423)"})

	d.exec(t, "ALTER PUBLICATION shop DROP TABLE other")
	checkError(t, check(now), []string{"public.other was taken out of publication shop", "(E0428)"})
	d.exec(t, "DROP PUBLICATION shop")
	checkError(t, check(now), []string{"publication shop is gone", "(E0425)"})
	d.dropSlot(t)
	checkError(t, check(now), []string{"slot " + slot + " is gone", "penstock source reset shop", "(E0411)"})
}

// TestDecodeConfig: the block of the configuration, and mistakes in it.
func TestDecodeConfig(t *testing.T) {
	decode := func(text string) (*postgres.Config, string) {
		file, diags := hclparse.NewParser().ParseHCL([]byte(text), "x.hcl")
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		cfg, diags := postgres.Decode(file.Body, nil)
		return cfg, diags.Error()
	}
	cfg, _ := decode(`
		url = "postgres://a:b@c/d"
		tables = ["public.*", "!public.x"]
		messages = true
		table "customers" {
			name = "public.customers"
			pii  = ["email"]
		}`)
	if cfg == nil {
		t.Fatal("a good block was refused")
	}
	diff(t, *cfg, postgres.Config{
		URL: "postgres://a:b@c/d", Tables: []string{"public.*", "!public.x"}, Messages: true,
		TableBlocks: []postgres.TableConfig{{Alias: "customers", Name: "public.customers", PII: []string{"email"}}},
	})
	for text, want := range map[string]string{
		`url = "mysql://a"`:                                                 "not a Postgres URL",
		`url = "postgres://u:sec ret@h:x/d"`:                                "not a Postgres URL",
		`url = "postgres://a/b"`:                                            "No table is captured",
		"url = \"postgres://a/b\"\ntables = [\"a\"]":                        "x.hcl:2",
		"url = \"postgres://a/b\"\ntables = [\"a.*\"]\nslot = \"A-b\"":      "x.hcl:3",
		"url = \"postgres://a/b\"\ntables = [\"a.*\"]\nsnapshot = \"once\"": `no snapshot mode "once"`,
		"url = \"postgres://a/b\"\ntables = [\"a.*\"]\nslots = \"x\"":       "slots",
	} {
		if cfg, got := decode(text); cfg != nil || !strings.Contains(got, want) || strings.Contains(got, "sec ret") {
			t.Errorf("%s: got %q, want %q in it", text, got, want)
		}
	}
}
