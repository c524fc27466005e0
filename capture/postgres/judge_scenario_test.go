package postgres_test

import "github.com/penstock-cdc/penstock/capture/postgres"

var scenarios = []scenario{
	{
		name: "rows",
		setup: []string{
			"CREATE TABLE plain (id int PRIMARY KEY, v text)", "INSERT INTO plain SELECT n, 'before' FROM generate_series(1, 50) n",
			"CREATE TABLE full_rows (a int, b text)", "ALTER TABLE full_rows REPLICA IDENTITY FULL", "INSERT INTO full_rows VALUES (1, 'x'), (1, 'x'), (2, NULL)",
			"CREATE TABLE by_index (a int NOT NULL, b int NOT NULL, c text)", "CREATE UNIQUE INDEX by_index_b ON by_index (b)", "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_b",
			"CREATE TABLE two (a int, b int, c text, PRIMARY KEY (b, a))", "CREATE TABLE included (id int, v text, PRIMARY KEY (id) INCLUDE (v))",
			"CREATE TABLE empty ()", "ALTER TABLE empty REPLICA IDENTITY FULL",
		},
		steps: []string{
			"INSERT INTO plain SELECT n, 'after' FROM generate_series(51, 100) n", "UPDATE plain SET v = v || '!' WHERE id % 3 = 0", "DELETE FROM plain WHERE id % 10 = 1", "UPDATE plain SET id = -id WHERE id > 90",
			"UPDATE plain SET id = id - 1000 WHERE id < 0 AND id % 2 = 0", "INSERT INTO plain VALUES (2, 'again') ON CONFLICT (id) DO UPDATE SET v = 'upserted'", "BEGIN; DELETE FROM plain; ROLLBACK",
			"UPDATE full_rows SET b = 'y' WHERE ctid = (SELECT min(ctid) FROM full_rows)", "DELETE FROM full_rows WHERE b IS NULL", "INSERT INTO full_rows VALUES (NULL, NULL), (NULL, NULL)", "DELETE FROM full_rows WHERE ctid = (SELECT max(ctid) FROM full_rows)",
			"INSERT INTO by_index SELECT n, n * 2, 'c' FROM generate_series(1, 20) n", "UPDATE by_index SET b = b + 1000 WHERE a > 10", "UPDATE by_index SET a = 0", "DELETE FROM by_index WHERE b < 10",
			"INSERT INTO two SELECT n % 3, n, 'v' FROM generate_series(1, 30) n", "UPDATE two SET a = a + 10 WHERE b < 5", "DELETE FROM two WHERE a = 1", "restart", "UPDATE two SET c = NULL WHERE a = 2",
			"INSERT INTO included VALUES (1, 'a'), (2, 'b')", "UPDATE included SET v = 'c'", "DELETE FROM included WHERE id = 1", "INSERT INTO empty DEFAULT VALUES", "INSERT INTO empty DEFAULT VALUES",
			"MERGE INTO plain p USING (VALUES (3, 'merged'), (500, 'new'), (4, NULL)) s (id, v) ON p.id = s.id WHEN MATCHED AND s.v IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)",
		},
		since:  15,
		tables: []string{"plain", "full_rows", "by_index", "two", "included", "empty"},
	},
	{
		name: "types",
		setup: []string{
			"CREATE EXTENSION hstore", "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')", "CREATE TYPE pair AS (a int, b text, c numeric[])", "CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE >= 0)", "CREATE DOMAIN ints AS int[]",
			"CREATE TABLE arrays (id int PRIMARY KEY, i int[], t text[], n numeric[], d timestamptz[], m mood[], r int4range[])",
			"CREATE TABLE others (id int PRIMARY KEY, m mood, p pair, d price, l ints, h hstore, r int8range, ms nummultirange, j jsonb, b bytea, u uuid, iv interval, at timestamptz, bits bit(4), one bit(1))",
			"CREATE TABLE by_time (at timestamptz PRIMARY KEY, v text)", "CREATE TABLE by_range (r int4range PRIMARY KEY, v text)", "CREATE TABLE by_mood (m mood, n numeric, PRIMARY KEY (m, n))", "CREATE TABLE by_array (k int[] PRIMARY KEY, v int)",
		},
		steps: []string{
			"INSERT INTO arrays VALUES (1, '{1,2,NULL}', '{\"a b\",NULL,\"\",\"NULL\"}', '{1.10,NaN}', '{\"2026-01-01 00:00:00+02\",infinity}', '{sad,happy}', '{\"[1,3)\",empty}'), (2, '{{1,2},{3,4}}', '{}', NULL, '{NULL}', NULL, '{}')",
			"UPDATE arrays SET i = i || 7, t = array_append(t, E'q\"\\\\\\n') WHERE id = 1", "UPDATE arrays SET i[5] = 5 WHERE id = 1",
			`INSERT INTO others VALUES (1, 'ok', '(1,"x, y",{1.5})', 12.5, '{1,2}', 'a=>1, b=>NULL', '[1,10]', '{[1,2),[5,6)}', '{"a": 12345678901234567890.10}', '\x00ff', gen_random_uuid(), '1 mon -3 days', '2026-03-04 05:06:07.089+00', B'1010', B'1')`, "INSERT INTO others (id) VALUES (2)",
			"UPDATE others SET p.b = NULL, h = h || 'c=>\"=>\"', m = 'happy', at = 'infinity' WHERE id = 1", "DELETE FROM others WHERE id = 2",
			"INSERT INTO by_time SELECT '2026-01-01'::timestamptz + n * interval '1.5 s', n::text FROM generate_series(1, 20) n", "INSERT INTO by_time VALUES ('infinity', 'i'), ('0044-03-15 00:00:00+00 BC', 'bc')", "UPDATE by_time SET at = at + interval '1 us' WHERE v = '3'", "DELETE FROM by_time WHERE v IN ('4', 'bc')",
			"INSERT INTO by_range VALUES ('[1,5)', 'a'), ('(,)', 'b'), ('empty', 'c')", "UPDATE by_range SET v = 'd' WHERE r = 'empty'", "DELETE FROM by_range WHERE r = '[1,5)'",
			"INSERT INTO by_mood VALUES ('sad', 1), ('sad', 1.5), ('ok', 'NaN')", "UPDATE by_mood SET m = 'happy' WHERE n = 1", "DELETE FROM by_mood WHERE n = 'NaN'",
			"INSERT INTO by_array VALUES ('{1,2}', 1), ('{}', 2), ('{NULL}', 3)", "UPDATE by_array SET v = 9 WHERE k = '{}'", "DELETE FROM by_array WHERE k = '{NULL}'",
		},
		tables: []string{"arrays", "others", "by_time", "by_range", "by_mood", "by_array"},
	},
	{
		name:   "constraints",
		setup:  []string{"CREATE TABLE parent (id int PRIMARY KEY)", "CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE)", "CREATE TABLE swapped (id int PRIMARY KEY DEFERRABLE, v text)", "ALTER TABLE swapped REPLICA IDENTITY FULL"},
		steps:  []string{"INSERT INTO parent SELECT generate_series(1, 10)", "INSERT INTO child SELECT n, n % 10 + 1 FROM generate_series(1, 30) n", "UPDATE parent SET id = id + 100 WHERE id > 5", "DELETE FROM parent WHERE id < 4", "INSERT INTO swapped VALUES (1, 'a'), (2, 'b')", "UPDATE swapped SET id = 3 - id", "DELETE FROM swapped WHERE v = 'a'", "INSERT INTO swapped VALUES (3, 'c')"},
		tables: []string{"parent", "child", "swapped"},
	},
	{
		name:   "rewrites",
		setup:  []string{"CREATE TABLE t (a int PRIMARY KEY, b text)", "INSERT INTO t VALUES (1, 'one')"},
		steps:  []string{"INSERT INTO t VALUES (2, 'two')", "ALTER TABLE t ADD c int NOT NULL DEFAULT 0", "INSERT INTO t VALUES (3, 'three', 33)", "ALTER TABLE t ADD d text DEFAULT random()::text, ALTER b TYPE varchar(20), ALTER c TYPE bigint", "UPDATE t SET d = 'x'", "VACUUM FULL t", "CLUSTER t USING t_pkey", "UPDATE t SET c = c + 1", "INSERT INTO t VALUES (4, 'four', 4, 'd')", "ALTER TABLE t DROP d", "UPDATE t SET b = upper(b)"},
		tables: []string{"t"},
	},
	{
		name:   "alterations",
		setup:  []string{"CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')"},
		steps:  []string{"BEGIN; INSERT INTO t VALUES (2, 'b'); ALTER TABLE t ADD w int; INSERT INTO t VALUES (3, 'c', 3); COMMIT", "BEGIN; ALTER TABLE t DROP v; UPDATE t SET w = 9; ROLLBACK", "ALTER TABLE t RENAME v TO title", "UPDATE t SET title = title || '?', w = 1", "restart", "BEGIN; ALTER TABLE t ADD x int; SAVEPOINT s; ALTER TABLE t DROP w; INSERT INTO t VALUES (4, 'd', 4); ROLLBACK TO s; INSERT INTO t VALUES (5, 'e', 5, 5); ALTER TABLE t DROP w; COMMIT", "UPDATE t SET x = id", "DELETE FROM t WHERE id = 2"},
		tables: []string{"t"},
	},
	{
		name:   "truncate",
		setup:  []string{"CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)", "CREATE TABLE c (id serial PRIMARY KEY, v text)", "CREATE TABLE d (v text)", "ALTER TABLE d REPLICA IDENTITY FULL", "INSERT INTO a SELECT generate_series(1, 9)", "INSERT INTO b SELECT n, n FROM generate_series(1, 9) n"},
		steps:  []string{"INSERT INTO c (v) SELECT 'x' FROM generate_series(1, 9)", "INSERT INTO d VALUES ('x'), ('x')", "TRUNCATE a CASCADE", "INSERT INTO a VALUES (1)", "BEGIN; TRUNCATE c RESTART IDENTITY; INSERT INTO c (v) VALUES ('y'); TRUNCATE d; INSERT INTO d VALUES ('y'); COMMIT", "BEGIN; TRUNCATE a, b, c, d; ROLLBACK", "BEGIN; SAVEPOINT s; TRUNCATE c; ROLLBACK TO s; INSERT INTO c (v) VALUES ('z'); COMMIT", "INSERT INTO b VALUES (1, 1)"},
		tables: []string{"a", "b", "c", "d"},
	},
	{
		name:   "generated",
		setup:  []string{"CREATE TABLE g (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)", "INSERT INTO g VALUES (1, 2)", "CREATE TABLE ident (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)", "CREATE TABLE gfull (a int, b int GENERATED ALWAYS AS (a + 1) STORED)", "ALTER TABLE gfull REPLICA IDENTITY FULL"},
		steps:  []string{"INSERT INTO g VALUES (2, 3)", "UPDATE g SET n = 7 WHERE id = 1", "ALTER TABLE g ALTER twice DROP EXPRESSION", "UPDATE g SET twice = 1", "INSERT INTO ident (v) VALUES ('a'), ('b')", "DELETE FROM ident WHERE v = 'a'", "INSERT INTO gfull VALUES (1), (2)", "UPDATE gfull SET a = 5 WHERE a = 1", "DELETE FROM gfull WHERE a = 2"},
		tables: []string{"g", "ident", "gfull"},
	},
	{
		name: "partitions",
		setup: []string{
			"CREATE TABLE p (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)", "CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu')", "CREATE TABLE p_us (v text, region text NOT NULL, gone int, id int NOT NULL)", "ALTER TABLE p_us DROP gone", "ALTER TABLE p ATTACH PARTITION p_us FOR VALUES IN ('us')",
			"CREATE TABLE p_rest PARTITION OF p DEFAULT PARTITION BY HASH (id)", "CREATE TABLE p_rest_0 PARTITION OF p_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "CREATE TABLE p_rest_1 PARTITION OF p_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1)", "INSERT INTO p SELECT n, (ARRAY['eu', 'us', 'xx'])[n % 3 + 1], 'v' FROM generate_series(1, 30) n",
		},
		steps: []string{
			"UPDATE p SET region = 'us' WHERE region = 'eu' AND id < 10", "UPDATE p SET id = id + 100, region = 'yy' WHERE region = 'us' AND id > 20", "UPDATE p_rest SET id = id + 1 WHERE id < 10", "DELETE FROM p_eu WHERE id > 20", "INSERT INTO p_us VALUES ('direct', 'us', 500)", "UPDATE p SET v = 'w' WHERE id % 2 = 0",
			"ALTER TABLE p ADD w int DEFAULT 3", "UPDATE p SET w = 4 WHERE region = 'eu'", "CREATE TABLE p_jp PARTITION OF p FOR VALUES IN ('jp')", "INSERT INTO p VALUES (600, 'jp', 'new', 1)", "UPDATE p SET v = v || '.'", "DELETE FROM p WHERE region = 'jp'", "ALTER TABLE p DETACH PARTITION p_jp", "DROP TABLE p_jp", "INSERT INTO p VALUES (602, 'jp', 'in the default partition', 1)", "TRUNCATE p", "INSERT INTO p VALUES (1, 'eu', 'x', 1)",
		},
		tables: []string{"p"},
	},
	{
		name:   "large transactions",
		set:    []string{"logical_decoding_work_mem=64kB"},
		setup:  []string{"CREATE TABLE t (id int PRIMARY KEY, v text, n int)", "CREATE TABLE u (id int PRIMARY KEY, v text)"},
		steps:  []string{"INSERT INTO t SELECT n, repeat(md5(n::text), 4), n % 7 FROM generate_series(1, 3000) n", "BEGIN; INSERT INTO t SELECT n, repeat(md5(n::text), 4), 0 FROM generate_series(3001, 6000) n; UPDATE t SET v = 'x' WHERE id % 2 = 0; DELETE FROM t WHERE id % 3 = 0", "2: BEGIN; INSERT INTO u SELECT n, repeat(md5(n::text), 4) FROM generate_series(1, 3000) n; UPDATE u SET id = id + 10000 WHERE id % 5 = 0", "COMMIT", "2: ROLLBACK", "2: INSERT INTO u VALUES (1, 'one')"},
		tables: []string{"t", "u"},
	},
	{
		name:   "large transactions with savepoints",
		set:    []string{"logical_decoding_work_mem=64kB"},
		setup:  []string{"CREATE TABLE t (id int PRIMARY KEY, v text)"},
		steps:  []string{"BEGIN; INSERT INTO t SELECT n, repeat(md5(n::text), 4) FROM generate_series(1, 1000) n; SAVEPOINT a; INSERT INTO t SELECT n, repeat(md5(n::text), 4) FROM generate_series(1001, 2000) n; SAVEPOINT b; UPDATE t SET v = 'lost' WHERE id <= 500; ROLLBACK TO b; SAVEPOINT c; UPDATE t SET v = 'kept' WHERE id > 1500; RELEASE c; DELETE FROM t WHERE id % 4 = 0; SAVEPOINT d; INSERT INTO t SELECT n, repeat(md5(n::text), 4) FROM generate_series(5001, 6000) n; ROLLBACK TO a; INSERT INTO t SELECT n, repeat(md5(n::text), 4) FROM generate_series(7001, 8000) n; COMMIT"},
		tables: []string{"t"},
	},
	{
		name:  "large transactions with alterations",
		set:   []string{"logical_decoding_work_mem=64kB"},
		setup: []string{"CREATE TABLE t (id int PRIMARY KEY, v text)"},
		steps: []string{
			"BEGIN; INSERT INTO t SELECT n, repeat(md5(n::text), 4) FROM generate_series(1, 1000) n; ALTER TABLE t ADD c int; INSERT INTO t SELECT n, repeat(md5(n::text), 4), n FROM generate_series(1001, 2000) n; ALTER TABLE t ADD d text; UPDATE t SET d = 'd', c = 1 WHERE id > 1500; COMMIT",
			"BEGIN; SAVEPOINT s; ALTER TABLE t ADD e int; INSERT INTO t SELECT n, repeat(md5(n::text), 4), n, 'x', n FROM generate_series(2001, 3000) n; ROLLBACK TO s; INSERT INTO t SELECT n, repeat(md5(n::text), 4), n, 'y' FROM generate_series(2001, 3000) n; ALTER TABLE t DROP c; UPDATE t SET v = 'w' WHERE id % 2 = 0; COMMIT",
			"UPDATE t SET d = 'end' WHERE id = 1",
		},
		tables: []string{"t"},
	},
	{
		name:   "two-phase",
		set:    []string{"max_prepared_transactions=10", "logical_decoding_work_mem=64kB"},
		setup:  []string{"CREATE TABLE t (id int PRIMARY KEY, v text)"},
		steps:  []string{"BEGIN; INSERT INTO t VALUES (1, 'one'); PREPARE TRANSACTION 'one'", "INSERT INTO t VALUES (2, 'two')", "sync", "COMMIT PREPARED 'one'", "BEGIN; INSERT INTO t SELECT n, repeat(md5(n::text), 4) FROM generate_series(100, 2000) n; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; PREPARE TRANSACTION 'large'", "BEGIN; DELETE FROM t WHERE id = 2; PREPARE TRANSACTION 'never'", "restart", "COMMIT PREPARED 'large'", "ROLLBACK PREPARED 'never'", "UPDATE t SET v = 'x' WHERE id < 3"},
		tables: []string{"t"},
	},
	{
		name:   "schema publication",
		since:  15,
		setup:  []string{"CREATE SCHEMA other", "CREATE TABLE other.x (id int PRIMARY KEY)", "CREATE TABLE a (id int PRIMARY KEY, v text)", "INSERT INTO a VALUES (1, 'x')", "CREATE PUBLICATION shop FOR TABLES IN SCHEMA public WITH (publish_via_partition_root = true)"},
		steps:  []string{"INSERT INTO other.x VALUES (1)", "INSERT INTO a VALUES (2, 'y')", "CREATE TABLE later (id int PRIMARY KEY)", "INSERT INTO later VALUES (1), (2)", "DELETE FROM later WHERE id = 1", "UPDATE a SET v = 'z'"},
		tables: []string{"a", "later"},
	},
	{
		name:    "row filter",
		since:   15,
		setup:   []string{"CREATE TABLE a (id int PRIMARY KEY, v text)", "CREATE PUBLICATION shop FOR TABLE a WHERE (id > 5) WITH (publish_via_partition_root = true)"},
		refused: []string{"public.a", "row filter", "ALTER PUBLICATION"},
	},
	{
		name:    "column list",
		since:   15,
		setup:   []string{"CREATE TABLE a (id int PRIMARY KEY, v text, w text)", "CREATE PUBLICATION shop FOR TABLE a (id, v) WITH (publish_via_partition_root = true)"},
		refused: []string{"public.a", "column list", "ALTER PUBLICATION"},
	},
	{
		name:  "columns left out",
		setup: []string{"CREATE TABLE a (id int PRIMARY KEY, v text, w text)", "ALTER TABLE a REPLICA IDENTITY FULL", "INSERT INTO a VALUES (1, 'x')"},
		config: func(c *postgres.Config) {
			c.TableBlocks = append(c.TableBlocks, tableConfig("a", "public.a", func(b *tableBlock) { b.Columns = []string{"id", "v"} }))
		},
		steps:  []string{"INSERT INTO a VALUES (2, 'y')", "UPDATE a SET id = 3 WHERE id = 1", "DELETE FROM a WHERE id = 2"},
		tables: []string{"a"},
	},
	{
		name:    "some operations only",
		setup:   []string{"CREATE TABLE a (id int PRIMARY KEY)", "CREATE PUBLICATION shop FOR TABLE a WITH (publish = 'insert', publish_via_partition_root = true)"},
		refused: []string{"publish", "insert, update, delete, truncate"},
	},
	{
		name:   "origin",
		setup:  []string{"CREATE TABLE a (id int PRIMARY KEY)", "SELECT pg_replication_origin_create('elsewhere_' || current_database())"},
		steps:  []string{"INSERT INTO a VALUES (1)", "SELECT pg_replication_origin_session_setup('elsewhere_' || current_database()); BEGIN; SELECT pg_replication_origin_xact_setup('0/ABC', now()); INSERT INTO a VALUES (2); COMMIT; SELECT pg_replication_origin_session_reset(); SELECT pg_replication_origin_drop('elsewhere_' || current_database())", "DELETE FROM a WHERE id = 1"},
		tables: []string{"a"},
	},
	{
		name:   "unchanged values",
		setup:  []string{"CREATE TABLE a (id int PRIMARY KEY, big text, small int)", "CREATE TABLE b (id int, big text NOT NULL, small int)", "CREATE TABLE c (id int PRIMARY KEY, big text NOT NULL, small int)", "ALTER TABLE b REPLICA IDENTITY FULL", "CREATE UNIQUE INDEX c_big ON c (md5(big))", "ALTER TABLE a ALTER big SET STORAGE EXTERNAL", "ALTER TABLE b ALTER big SET STORAGE EXTERNAL", "INSERT INTO a SELECT n, repeat('a', 9000), 0 FROM generate_series(1, 5) n"},
		steps:  []string{"INSERT INTO a SELECT n, repeat('b', 9000), 0 FROM generate_series(6, 10) n", "UPDATE a SET small = 1", "UPDATE a SET id = id + 100 WHERE id % 2 = 0", "UPDATE a SET big = repeat('c', 9000) WHERE id = 3", "INSERT INTO b SELECT n, repeat('b', 9000), 0 FROM generate_series(1, 5) n", "UPDATE b SET small = 1", "UPDATE b SET id = id + 100 WHERE id % 2 = 0", "DELETE FROM b WHERE id = 3", "INSERT INTO c SELECT n, repeat(md5(n::text), 900), 0 FROM generate_series(1, 5) n", "UPDATE c SET small = small + 1", "UPDATE c SET id = id + 50"},
		tables: []string{"a", "b", "c"},
	},
	{
		name:   "what is not captured",
		setup:  []string{"CREATE TABLE a (id int PRIMARY KEY, v text)", "CREATE MATERIALIZED VIEW public.skip_mv AS SELECT * FROM a", "CREATE VIEW public.skip_v AS SELECT * FROM a"},
		steps:  []string{"CREATE TEMP TABLE tmp (id int PRIMARY KEY)", "INSERT INTO tmp VALUES (1)", "CREATE UNLOGGED TABLE skip_u (id int)", "INSERT INTO skip_u VALUES (1)", "INSERT INTO a VALUES (1, 'x')", "REFRESH MATERIALIZED VIEW public.skip_mv", "BEGIN; REFRESH MATERIALIZED VIEW public.skip_mv; INSERT INTO a VALUES (2, 'y'); COMMIT", "CREATE TABLE skip_as AS SELECT * FROM a", "BEGIN; CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT * FROM a; UPDATE a SET v = 'z'; COMMIT", "CREATE SEQUENCE s; SELECT nextval('s')"},
		tables: []string{"a"},
	},
	{
		name:   "functions and triggers",
		setup:  []string{"CREATE TABLE a (id int PRIMARY KEY, v int)", "CREATE TABLE log (id bigserial PRIMARY KEY, what text)", "CREATE FUNCTION double(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i * 2'", "CREATE INDEX ON a (double(v)) WHERE double(v) > 4", "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (TG_OP); BEGIN INSERT INTO a VALUES (NEW.id, 0); EXCEPTION WHEN unique_violation THEN NULL; END; RETURN NEW; END $$", "CREATE TRIGGER note AFTER INSERT OR UPDATE ON a FOR EACH ROW WHEN (pg_trigger_depth() < 1) EXECUTE FUNCTION note()"},
		steps:  []string{"INSERT INTO a SELECT n, n FROM generate_series(1, 20) n", "UPDATE a SET v = v + 1 WHERE id > 10", "WITH gone AS (DELETE FROM a WHERE id < 5 RETURNING *) INSERT INTO log (what) SELECT 'moved ' || id FROM gone", "COPY (SELECT 1) TO STDOUT"},
		tables: []string{"a", "log"},
	},
	{
		name:   "names",
		setup:  []string{`CREATE TABLE "Größe ""x"".日本" ("käse $" int PRIMARY KEY, "select" text)`, `INSERT INTO "Größe ""x"".日本" VALUES (1, 'a')`},
		steps:  []string{`INSERT INTO "Größe ""x"".日本" VALUES (2, 'b')`, `UPDATE "Größe ""x"".日本" SET "käse $" = 3 WHERE "select" = 'a'`, `ALTER TABLE "Größe ""x"".日本" RENAME "select" TO "where"`, `UPDATE "Größe ""x"".日本" SET "where" = 'c'`},
		tables: []string{`Größe "x".日本`},
	},
}
