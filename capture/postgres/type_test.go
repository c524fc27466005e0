package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/change"
)

// typeCase is one column: its type, a value as SQL, and what it is in the stream.
type typeCase struct {
	typ, sql string
	kind     change.Kind
	want     string
}

var typeCases = []typeCase{
	{"int2", "-32768", change.Int, "-32768"},
	{"int4", "2147483647", change.Int, "2147483647"},
	{"int8", "-9223372036854775808", change.Int, "-9223372036854775808"},
	{"oid", "4294967295", change.Uint, "4294967295"},
	{"xid", "'4294967295'", change.Uint, "4294967295"},
	{"float4", "1.1", change.Float, "1.1"},
	{"float8", "0.1::float8 + 0.2::float8", change.Float, "0.30000000000000004"},
	{"float8", "1e300", change.Float, "1e+300"},
	{"float8", "'-0'", change.Float, "-0"},
	{"float8", "'NaN'", change.Float, "NaN"},
	{"float8", "'-Infinity'", change.Float, "-Infinity"},
	{"float4", "'Infinity'", change.Float, "Infinity"},
	{"numeric(10,2)", "12345.6", change.Decimal, "12345.60"},
	{"numeric", "12345678901234567890.1234567890", change.Decimal, "12345678901234567890.1234567890"},
	{"numeric", "'NaN'", change.Decimal, "NaN"},
	{"numeric", "'-Infinity'", change.Decimal, "-Infinity"},
	{"numeric", "-0.000000000000000000001", change.Decimal, "-0.000000000000000000001"},
	{"bool", "true", change.Bool, "true"},
	{"bool", "false", change.Bool, "false"},
	{"char(3)", "'ab'", change.String, "ab "},
	{"varchar(20)", "'varchar é'", change.String, "varchar é"},
	{"text", `E'a\tb\nc\r\\N "quoted" ☃ \b\f\x0b'`, change.String, "a\tb\nc\r\\N \"quoted\" ☃ \b\f\v"},
	{"text", `'\N'`, change.String, `\N`},
	{"text", "''", change.String, ""},
	{"name", "'aname'", change.String, "aname"},
	{`"char"`, "'x'", change.String, "x"},
	{"bytea", `'\x00ff10'`, change.Bytes, "\x00\xff\x10"},
	{"bytea", `''`, change.Bytes, ""},
	{"date", "'2026-03-04'", change.Date, "2026-03-04"},
	{"date", "'infinity'", change.Date, "infinity"},
	{"date", "'-infinity'", change.Date, "-infinity"},
	{"date", "'0044-03-15 BC'", change.Date, "-0043-03-15"},
	{"date", "'0001-12-31 BC'", change.Date, "0000-12-31"},
	{"date", "'12026-01-02'", change.Date, "+12026-01-02"},
	{"date", "'4714-11-24 BC'", change.Date, "-4713-11-24"},
	{"time", "'13:14:15.123456'", change.Time, "13:14:15.123456"},
	{"time", "'24:00:00'", change.Time, "24:00:00"},
	{"time(3)", "'13:14:15.1239'", change.Time, "13:14:15.124"},
	{"timetz", "'13:14:15.5+02'", change.TimeTZ, "13:14:15.5+02:00"},
	{"timetz", "'13:14:15-03:30'", change.TimeTZ, "13:14:15-03:30"},
	{"timestamp", "'2026-03-04 13:14:15.123456'", change.Timestamp, "2026-03-04T13:14:15.123456"},
	{"timestamp", "'-infinity'", change.Timestamp, "-infinity"},
	{"timestamp", "'0044-03-15 12:00:00 BC'", change.Timestamp, "-0043-03-15T12:00:00"},
	{"timestamp", "'12026-03-15 12:00:00'", change.Timestamp, "+12026-03-15T12:00:00"},
	{"timestamp(3)", "'2026-03-04 13:14:15.12'", change.Timestamp, "2026-03-04T13:14:15.12"},
	{"timestamptz", "'2026-03-04 13:14:15.123456+02'", change.TimestampTZ, "2026-03-04T11:14:15.123456Z"},
	{"timestamptz", "'infinity'", change.TimestampTZ, "infinity"},
	{"timestamptz", "'0044-03-15 12:00:00.5+00 BC'", change.TimestampTZ, "-0043-03-15T12:00:00.5Z"},
	{"timestamptz", "'12026-03-15 12:00:00+00'", change.TimestampTZ, "+12026-03-15T12:00:00Z"},
	{"interval", "'1 year 2 mons 3 days 04:05:06.789'", change.Interval, "P1Y2M3DT4H5M6.789S"},
	{"interval", "'-1 mons +2 days -00:00:01.5'", change.Interval, "P-1M2DT-1.5S"},
	{"interval", "'0'", change.Interval, "PT0S"},
	{"json", `'{"a": 1,  "b": [true, null]}'`, change.JSON, `{"a": 1,  "b": [true, null]}`},
	{"jsonb", `'{"a": 1,  "b": [1.50, null]}'`, change.JSON, `{"a": 1, "b": [1.50, null]}`},
	{"xml", "'<a>x</a>'", change.String, "<a>x</a>"},
	{"uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", change.UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
	{"inet", "'192.168.1.5/24'", change.String, "192.168.1.5/24"},
	{"cidr", "'10.0.0.0/8'", change.String, "10.0.0.0/8"},
	{"macaddr", "'08:00:2b:01:02:03'", change.String, "08:00:2b:01:02:03"},
	{"macaddr8", "'08:00:2b:01:02:03:04:05'", change.String, "08:00:2b:01:02:03:04:05"},
	{"bit(1)", "B'1'", change.Bool, "true"},
	{"bit(8)", "B'10101010'", change.Bits, "10101010"},
	{"varbit(12)", "B'1011'", change.Bits, "1011"},
	{"money", "'1234.56'", change.String, "$1,234.56"},
	{"int4range", "'[1,10)'", change.String, "[1,10)"},
	{"tstzrange", "'[2026-01-01 02:00:00+02,)'", change.String, `["2026-01-01 00:00:00+00",)`},
	{"int4multirange", "'{[1,3),[5,7)}'", change.String, "{[1,3),[5,7)}"},
	{"point", "'(1.5,2.5)'", change.String, "(1.5,2.5)"},
	{"box", "'((0,0),(1,1))'", change.String, "(1,1),(0,0)"},
	{"polygon", "'((0,0),(1,1),(1,0))'", change.String, "((0,0),(1,1),(1,0))"},
	{"tsvector", "'a fat cat'", change.String, "'a' 'cat' 'fat'"},
	{"pg_lsn", "'16/B374D848'", change.String, "16/B374D848"},
	{"int2vector", "'1 2 3'", change.String, "1 2 3"},
	{"mood", "'happy'", change.Enum, "happy"},
	{"posint", "7", change.Int, "7"},
	{"price", "7.5", change.Decimal, "7.50"},
	{"ints", "'{1,2}'", change.Array, "[1,2]"},
	{"pair", `ROW(1, 'two "words", (and) \ more', NULL)`, change.Object, `{"a":1,"b":"two \"words\", (and) \\ more","c":null}`},
	{"pair", "ROW(NULL, '', '{1,NULL}')", change.Object, `{"a":null,"b":"","c":["1",null]}`},
	{"pair[]", "ARRAY[ROW(1, 'x', NULL)::pair, NULL]", change.Array, `[{"a":1,"b":"x","c":null},null]`},
	{"hstore", `'a=>1, "b c"=>NULL, "d\"e"=>"f\\g"'`, change.Object, `{"a":"1","b c":null,"d\"e":"f\\g"}`},
	{"citext", "'MiXed'", change.String, "MiXed"},
	{"int4[]", "'{1,2,NULL}'", change.Array, "[1,2,null]"},
	{"int4[]", "'{}'", change.Array, "[]"},
	{"text[]", `'{"a","b c",NULL,"NULL","q\"\\"}'`, change.Array, `["a","b c",null,"NULL","q\"\\"]`},
	{"bool[]", "'{t,f,NULL}'", change.Array, "[true,false,null]"},
	{"float8[]", "'{1.5,NaN,Infinity}'", change.Array, `[1.5,"NaN","Infinity"]`},
	{"bytea[]", `ARRAY['\x00ff'::bytea]`, change.Array, `["AP8="]`},
	{"numeric(10,2)[]", "'{1.1,2.20}'", change.Array, `["1.10","2.20"]`},
	{"timestamptz[]", `'{"2026-03-04 13:14:15.123456+02"}'`, change.Array, `["2026-03-04T11:14:15.123456Z"]`},
	{"uuid[]", "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'", change.Array, `["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]`},
	{"mood[]", "'{sad,happy}'", change.Array, `["sad","happy"]`},
	{"jsonb[]", `ARRAY['{"a": 1}'::jsonb]`, change.Array, `["{\"a\": 1}"]`},
	{"int4[][]", "'{{1,2},{3,4}}'", change.Array, "[[1,2],[3,4]]"},
	{"int4[]", "'[0:1]={1,2}'", change.String, "[0:1]={1,2}"},
	{"box[]", "'{((0,0),(1,1));((0,0),(2,2))}'", change.Array, `["(1,1),(0,0)","(2,2),(0,0)"]`},
	{"bit(1)[]", "'{1,0}'", change.Array, "[true,false]"},
	{"bit(2)[]", "'{10,01}'", change.Array, `["10","01"]`},
	{"text", "NULL", change.Null, ""},
	{"int4[]", "NULL", change.Null, ""},
	{"bool", "NULL", change.Null, ""},
	{"bytea", "NULL", change.Null, ""},
}

// TestTypes: a value is the same in the snapshot and in the stream, and it is what
// the table above says.
func TestTypes(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres17", "postgres18"} {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			columns, values := []string{"id int PRIMARY KEY"}, []string{}
			for i, c := range typeCases {
				columns = append(columns, fmt.Sprintf("c%d %s", i, c.typ))
				values = append(values, c.sql)
			}
			insert := func(id int) string {
				return fmt.Sprintf("INSERT INTO types VALUES (%d, %s)", id, strings.Join(values, ", "))
			}
			d.exec(t, "SET lc_monetary = 'C'", "CREATE EXTENSION hstore", "CREATE EXTENSION citext", "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
				"CREATE DOMAIN posint AS int CHECK (VALUE > 0)", "CREATE DOMAIN price AS numeric(10,2)", "CREATE DOMAIN ints AS int[]",
				"CREATE TYPE pair AS (a int, b text, c numeric[])",
				"ALTER DATABASE "+d.name+" SET timezone = 'Asia/Tokyo'", "ALTER DATABASE "+d.name+" SET datestyle = 'SQL, DMY'",
				"ALTER DATABASE "+d.name+" SET bytea_output = 'escape'", "ALTER DATABASE "+d.name+" SET extra_float_digits = 0",
				"CREATE TABLE types ("+strings.Join(columns, ", ")+")", insert(1))
			h := d.harness(t)
			log := capturetest.NewLog(nil)
			h.Start(t, log).Streaming(t)
			d.exec(t, insert(2))
			log.Wait(t, "both rows", func([]*capturetest.Record) bool { return len(log.Events("")) == 2 })
			events := log.Events("")
			if events[0].Op != change.Read || events[1].Op != change.Create {
				t.Fatalf("got events %v and %v", events[0].Op, events[1].Op)
			}
			if a, b := events[0].Table.Version, events[1].Table.Version; a != b {
				t.Errorf("schema of the snapshot is %s, of the stream %s", a, b)
			}
			for i, c := range typeCases {
				for _, e := range events {
					v := e.After[i+1]
					if v.Kind() != c.kind || v.Text() != c.want {
						t.Errorf("%s %s: on %v got %v %q, want %v %q", c.typ, c.sql, e.Op, v.Kind(), v.Text(), c.kind, c.want)
					}
				}
			}
		})
	}
}

// TestColumns: what the schema says of columns.
func TestColumns(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TYPE mood AS ENUM ('sad', 'ok')",
		`CREATE TABLE "Odd name.x" (b varchar(5), a int NOT NULL, n numeric(8,3), m mood NOT NULL, ts timestamptz(3), l text[], g int GENERATED ALWAYS AS (a * 2) STORED, secret text, PRIMARY KEY (a, b))`)
	cfg := d.config()
	cfg.TableBlocks = append(cfg.TableBlocks, tableConfig("odd", "public.Odd name.x", func(c *tableBlock) {
		c.Exclude = []string{"secret"}
		c.PII = []string{"b"}
	}))
	src := d.open(t, cfg)
	tables, err := src.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []change.Column{
		{Name: "b", Kind: change.String, Type: "character varying(5)", Length: 5, PII: true},
		{Name: "a", Kind: change.Int, Type: "integer", Precision: 32},
		{Name: "n", Kind: change.Decimal, Type: "numeric(8,3)", Nullable: true, Precision: 8, Scale: 3},
		{Name: "m", Kind: change.Enum, Type: "public.mood", Labels: []string{"sad", "ok"}},
		{Name: "ts", Kind: change.TimestampTZ, Type: "timestamp(3) with time zone", Nullable: true, Precision: 3},
		{Name: "l", Kind: change.Array, Type: "text[]", Nullable: true, Element: change.String},
		{Name: "g", Kind: change.Int, Type: "integer", Nullable: true, Precision: 32, Generated: true},
	}
	if len(tables) != 1 {
		t.Fatalf("got %d tables", len(tables))
	}
	diff(t, tables[0].Columns, want)
	diff(t, tables[0].Key, []int{1, 0})
	diff(t, tables[0].Topic, "shop.public.Odd_u0020name.x")
	diff(t, src.TableAliases(), map[string]string{"odd": "public.Odd name.x"})
}
