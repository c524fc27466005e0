package mysql_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture/mysql"
	"github.com/penstock-cdc/penstock/change"
)

// typeCase is a column type with values as SQL writes them and the text that the
// stream has for each. An empty want is what `SELECT column` says.
type typeCase struct {
	column string
	kind   change.Kind
	values []string // SQL, text, SQL, text ...
	only   string   // mysql or mariadb; empty: both
}

var typeCases = []typeCase{
	{column: "tinyint", kind: change.Int, values: []string{"-128", "-128", "127", "127", "0", "0"}},
	{column: "tinyint(1)", kind: change.Int, values: []string{"1", "1"}},
	{column: "bool", kind: change.Int, values: []string{"true", "1"}},
	{column: "tinyint unsigned", kind: change.Uint, values: []string{"255", "255"}},
	{column: "smallint", kind: change.Int, values: []string{"-32768", "-32768", "32767", "32767"}},
	{column: "smallint unsigned", kind: change.Uint, values: []string{"65535", "65535"}},
	{column: "mediumint", kind: change.Int, values: []string{"-8388608", "-8388608", "8388607", "8388607"}},
	{column: "mediumint unsigned", kind: change.Uint, values: []string{"16777215", "16777215"}},
	{column: "int", kind: change.Int, values: []string{"-2147483648", "-2147483648", "2147483647", "2147483647"}},
	{column: "int unsigned", kind: change.Uint, values: []string{"4294967295", "4294967295"}},
	{column: "int(6) zerofill", kind: change.Uint, values: []string{"42", "42"}},
	{column: "bigint", kind: change.Int, values: []string{"-9223372036854775808", "-9223372036854775808", "9223372036854775807", "9223372036854775807"}},
	{column: "bigint unsigned", kind: change.Uint, values: []string{"18446744073709551615", "18446744073709551615"}},
	{column: "float", kind: change.Float, values: []string{"1.5", "1.5", "0.1", "0.1", "16777217", "16777216", "-3.4028234663852886e38", "-3.4028235e38", "1e-45", "1e-45", "123456.79", "123456.79", "0", "0", "-1e10", "-10000000000"}},
	{column: "double", kind: change.Float, values: []string{
		"3.141592653589793", "3.141592653589793", "1.7976931348623157e308", "1.7976931348623157e308", "5e-324", "5e-324", "0.1", "0.1",
		"1e14", "100000000000000", "1e15", "1e15", "1e16", "1e16", "123456789012345678", "1.2345678901234568e17", "1234567890123456.7", "1234567890123456.8", "0.0001", "0.0001", "1e-10", "0.0000000001",
	}},
	{column: "double", kind: change.Float, only: "mysql", values: []string{"(-1e-200)*1e-200", "-0"}}, // MariaDB stores 0
	{column: "decimal(10,2)", kind: change.Decimal, values: []string{"12345.60", "12345.60", "-0.01", "-0.01", "0", "0.00", "99999999.99", "99999999.99", "-99999999.99", "-99999999.99"}},
	{column: "decimal(65,30)", kind: change.Decimal, values: []string{"12345678901234567890123456789012345.123456789012345678901234567890", "12345678901234567890123456789012345.123456789012345678901234567890", "-0.000000000000000000000000000001", "-0.000000000000000000000000000001"}},
	{column: "decimal(5,0)", kind: change.Decimal, values: []string{"-99999", "-99999", "7", "7"}},
	{column: "decimal(5,5)", kind: change.Decimal, values: []string{"0.12345", "0.12345", "-0.5", "-0.50000"}},
	{column: "decimal(20,9) unsigned", kind: change.Decimal, values: []string{"1.000000001", "1.000000001", "10000000000.1", "10000000000.100000000"}},
	{column: "decimal(8,2) zerofill", kind: change.Decimal, values: []string{"1.5", "1.50", "0.25", "0.25"}},
	{column: "bit(1)", kind: change.Bool, values: []string{"b'1'", "true", "b'0'", "false"}},
	{column: "bit(10)", kind: change.Bits, values: []string{"b'1010101010'", "1010101010", "b'1'", "0000000001"}},
	{column: "bit(64)", kind: change.Bits, values: []string{"x'ff00000000000001'", "1111111100000000000000000000000000000000000000000000000000000001"}},
	{column: "year", kind: change.Int, values: []string{"2026", "2026", "1901", "1901", "2155", "2155", "0", "0"}},
	{column: "date", kind: change.Date, values: []string{"'2026-03-04'", "2026-03-04", "'0000-00-00'", "0000-00-00", "'9999-12-31'", "9999-12-31", "'1000-01-01'", "1000-01-01", "'2026-00-00'", "2026-00-00"}},
	{column: "time", kind: change.Time, values: []string{"'13:14:15'", "13:14:15", "'-838:59:59'", "-838:59:59", "'838:59:59'", "838:59:59", "'00:00:00'", "00:00:00", "'-00:00:01'", "-00:00:01"}},
	{column: "time(1)", kind: change.Time, values: []string{"'13:14:15.1'", "13:14:15.1", "'-00:00:00.1'", "-00:00:00.1", "'-01:02:03.9'", "-01:02:03.9"}},
	{column: "time(3)", kind: change.Time, values: []string{"'13:14:15.123'", "13:14:15.123", "'-00:00:00.001'", "-00:00:00.001", "'-23:59:59.999'", "-23:59:59.999"}},
	{column: "time(6)", kind: change.Time, values: []string{"'-838:59:58.999999'", "-838:59:58.999999", "'00:00:00.000001'", "00:00:00.000001", "'-00:00:00.000001'", "-00:00:00.000001"}},
	{column: "datetime", kind: change.Timestamp, values: []string{"'2026-03-04 13:14:15'", "2026-03-04T13:14:15", "'0000-00-00 00:00:00'", "0000-00-00T00:00:00", "'9999-12-31 23:59:59'", "9999-12-31T23:59:59"}},
	{column: "datetime(2)", kind: change.Timestamp, values: []string{"'2026-03-04 13:14:15.12'", "2026-03-04T13:14:15.12"}},
	{column: "datetime(3)", kind: change.Timestamp, values: []string{"'2026-03-04 13:14:15.123'", "2026-03-04T13:14:15.123"}},
	{column: "datetime(6)", kind: change.Timestamp, values: []string{"'1000-01-01 00:00:00.000001'", "1000-01-01T00:00:00.000001", "'0000-00-00 00:00:00'", "0000-00-00T00:00:00.000000"}},
	{column: "timestamp NULL", kind: change.TimestampTZ, values: []string{"'2026-03-04 13:14:15'", "2026-03-04T13:14:15Z", "'1970-01-01 00:00:01'", "1970-01-01T00:00:01Z", "'2038-01-19 03:14:07'", "2038-01-19T03:14:07Z", "'0000-00-00 00:00:00'", "0000-00-00T00:00:00", "'2024-02-29 23:59:59'", "2024-02-29T23:59:59Z"}},
	{column: "timestamp(6) NULL", kind: change.TimestampTZ, values: []string{"'2026-03-04 13:14:15.000001'", "2026-03-04T13:14:15.000001Z"}},
	{column: "char(5)", kind: change.String, values: []string{"'ab'", "ab", "''", "", "'é☃😀'", "é☃😀", "'ab   '", "ab"}},
	{column: "char(200)", kind: change.String, values: []string{"'long'", "long"}},
	{column: "varchar(30)", kind: change.String, values: []string{"'varchar é '", "varchar é ", `'a"b\\c\nd'`, "a\"b\\c\nd"}},
	{column: "varchar(30) CHARACTER SET utf8mb3", kind: change.String, values: []string{"'é☃'", "é☃"}},
	{column: "varchar(30) CHARACTER SET latin1", kind: change.String, values: []string{"'latin é €'", "latin é €", "'plain'", "plain"}},
	{column: "varchar(30) CHARACTER SET ascii", kind: change.String, values: []string{"'plain'", "plain"}},
	{column: "varchar(30) CHARACTER SET cp1251", kind: change.String, values: []string{"'Привет'", "Привет"}},
	{column: "varchar(30) CHARACTER SET utf16", kind: change.String, values: []string{"'é☃😀'", "é☃😀"}},
	{column: "varchar(30) CHARACTER SET utf16le", kind: change.String, values: []string{"'é☃😀'", "é☃😀"}},
	{column: "varchar(30) CHARACTER SET utf32", kind: change.String, values: []string{"'é☃😀'", "é☃😀"}},
	{column: "varchar(30) CHARACTER SET ucs2", kind: change.String, values: []string{"'é☃'", "é☃"}},
	{column: "varchar(30) CHARACTER SET sjis", kind: change.String, values: []string{"'日本語'", "日本語"}},
	{column: "varchar(30) CHARACTER SET gbk", kind: change.String, values: []string{"'中文'", "中文"}},
	{column: "varchar(30) CHARACTER SET big5", kind: change.String, values: []string{"'中文'", "中文"}},
	{column: "varchar(30) CHARACTER SET euckr", kind: change.String, values: []string{"'한국'", "한국"}},
	{column: "tinytext", kind: change.String, values: []string{"'tiny'", "tiny"}},
	{column: "text", kind: change.String, values: []string{"'text \"quoted\" ☃'", "text \"quoted\" ☃", "REPEAT('x', 60000)", strings.Repeat("x", 60000)}},
	{column: "text CHARACTER SET latin1", kind: change.String, values: []string{"'é'", "é"}},
	{column: "mediumtext", kind: change.String, values: []string{"REPEAT('é', 70000)", strings.Repeat("é", 70000)}},
	{column: "longtext", kind: change.String, values: []string{"'long'", "long"}},
	{column: "binary(4)", kind: change.Bytes, values: []string{"x'00ff'", "\x00\xff\x00\x00", "x'01020304'", "\x01\x02\x03\x04", "''", "\x00\x00\x00\x00"}},
	{column: "varbinary(10)", kind: change.Bytes, values: []string{"x'00ff1000'", "\x00\xff\x10\x00"}},
	{column: "varbinary(300)", kind: change.Bytes, values: []string{"x'00ff1000'", "\x00\xff\x10\x00"}},
	{column: "blob", kind: change.Bytes, values: []string{"x'00ff1020'", "\x00\xff\x10\x20", "''", ""}},
	{column: "longblob", kind: change.Bytes, values: []string{"x'80'", "\x80"}},
	{column: "enum('a','b''q','ü')", kind: change.Enum, values: []string{"'a'", "a", "'b''q'", "b'q", "'ü'", "ü", "'bad'", ""}},
	{column: "enum('é','x') CHARACTER SET latin1", kind: change.Enum, values: []string{"'é'", "é"}},
	{column: "set('x','y','z')", kind: change.String, values: []string{"'x,z'", "x,z", "''", "", "'z,y'", "y,z"}},
	{column: "point", kind: change.Object, values: []string{"ST_GeomFromText('POINT(1.5 2.5)')", `{"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAARA","srid":0}`}},
	{column: "geometry", kind: change.Object, values: []string{"ST_GeomFromText('POINT(1 2)', 4326)", `{"wkb":"AQEAAAAAAAAAAAAAQAAAAAAAAPA/","srid":4326}`}, only: "mysql"},
	{column: "json", kind: change.JSON, only: "mysql", values: []string{
		`'{"a": 1, "b": [true, null], "d": 1.50}'`, `{"a": 1, "b": [true, null], "d": 1.5}`,
		`'{}'`, `{}`, `'[]'`, `[]`, `'null'`, `null`, `'"x"'`, `"x"`, `'1.0'`, `1.0`, `'-0.0'`, `-0.0`, `'1e100'`, `1e100`,
		`'[1, -1, 32767, -32768, 65535, 65536, -2147483648, 4294967295, 4294967296, -9223372036854775808, 18446744073709551615]'`, ``,
		`'{"long key with \\"quotes\\"": "line\\nbreak \\u0001 tab\\t / \\\\ é ☃"}'`, ``,
		`JSON_OBJECT('d', CAST(1.50 AS DECIMAL(10,2)), 'date', CAST('2026-03-04' AS DATE), 'time', CAST('-13:14:15.5' AS TIME(6)), 'dt', CAST('2026-03-04 13:14:15.123' AS DATETIME(3)), 'bin', x'00ff10', 'big', REPEAT('x', 70000))`, ``,
		`JSON_ARRAY(CAST(123456789012345678901234567890.123 AS DECIMAL(40,5)), -1.5e-7, 1e15, 123456789.125, 1e14, 0.1, 2e-320)`, ``,
		`JSON_ARRAY(CAST(b'101' AS JSON), CAST(2026 AS YEAR), ST_GeomFromText('POINT(1 2)'), TIMESTAMP('2026-03-04 01:02:03'))`, ``,
		`CONCAT('[', REPEAT('{"k":[1,2,"three"]},', 5000), 'null]')`, ``,
		`CONCAT(REPEAT('[', 90), REPEAT(']', 90))`, ``,
	}},
	{column: "json", kind: change.JSON, only: "mariadb", values: []string{`'{"a": 1,  "b":[true]}'`, `{"a": 1,  "b":[true]}`}},
	{column: "uuid", kind: change.UUID, only: "mariadb", values: []string{
		"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000",
		"'123e4567-e89b-12d3-a456-426655440000'", "123e4567-e89b-12d3-a456-426655440000", "'017f22e2-79b0-7cc3-98c4-dc0c0c07398f'", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "'ffffffff-ffff-ffff-ffff-ffffffffff00'", "ffffffff-ffff-ffff-ffff-ffffffffff00",
	}},
	{column: "inet6", kind: change.String, only: "mariadb", values: []string{"'2001:db8::ff00:42:8329'", "", "'::1'", "", "'::ffff:1.2.3.4'", "", "'::'", "", "'fe80::'", "", "'::1.2.3.4'", "", "'1:0:0:2::'", "", "'1:0:2:3:4:5:6:7'", "", "'::5:1.2.3.4'", "", "'::1:2'", "", "'1:0:0:2:3:0:0:4'", "", "'1::2:3:4:5:6:0'", "", "'0:1:0:0:2:0:0:0'", ""}},
	{column: "inet4", kind: change.String, only: "mariadb", values: []string{"'192.0.2.0'", "192.0.2.0", "'255.255.255.255'", "255.255.255.255", "'0.0.0.0'", "0.0.0.0"}},
	{column: "vector(3)", kind: change.Array, only: "mysql", values: []string{"TO_VECTOR('[1,-2.5,0.1]')", "[1,-2.5,0.1]"}},
	{column: "vector(3)", kind: change.Array, only: "mariadb", values: []string{"VEC_FromText('[1,-2.5,0.1]')", "[1,-2.5,0.1]"}},
}

// TestTypes: for every type and its edge values, the snapshot, the stream and the
// text that is to be are equal.
func TestTypes(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			var cases []typeCase
			rows := 0
			for _, c := range typeCases {
				if c.only == "" || c.only == server {
					cases = append(cases, c)
					rows += len(c.values)/2 + 1
				}
			}
			insert := func(first int) {
				for i, c := range cases {
					for j := 0; j < len(c.values); j += 2 {
						d.exec(fmt.Sprintf("INSERT INTO c%d VALUES (%d, %s)", i, first+j/2, c.values[j]))
					}
					d.exec(fmt.Sprintf("INSERT INTO c%d VALUES (%d, NULL)", i, first+len(c.values)/2))
				}
			}
			for i, c := range cases {
				d.exec(fmt.Sprintf("CREATE TABLE c%d (id int PRIMARY KEY, v %s)", i, c.column))
			}
			insert(0)
			r := d.run(mysql.Config{}, nil)
			r.wait(t, atLeast(rows))
			insert(1000)
			events := r.wait(t, atLeast(2*rows))
			got := map[string]change.Value{}
			versions := map[string]string{}
			for _, e := range events {
				id := e.After[0].Text()
				got[e.Table.Name+"/"+id] = e.After[1]
				if old := versions[e.Table.Name]; old != "" && old != e.Table.Version {
					t.Errorf("%s: snapshot and stream have different versions of the table: %+v", e.Table.Name, e.Table.Columns[1])
				}
				versions[e.Table.Name] = e.Table.Version
			}
			for i, c := range cases {
				for j := 0; j <= len(c.values); j += 2 {
					kind, want := change.Null, ""
					if j < len(c.values) {
						kind, want = c.kind, c.values[j+1]
						if want == "" && (c.kind == change.JSON || c.column == "inet6") {
							want = d.text(fmt.Sprintf("SELECT v FROM c%d WHERE id = %d", i, j/2))
						}
					}
					for from, id := range map[string]int{"snapshot": j / 2, "stream": 1000 + j/2} {
						v, ok := got[fmt.Sprintf("c%d/%d", i, id)]
						if !ok {
							t.Errorf("%s: %s has no row %d", c.column, from, id)
							continue
						}
						if v.Kind() != kind || v.Text() != want {
							t.Errorf("%s: value %d in the %s: got %s %.300q, want %s %.300q", c.column, j/2, from, v.Kind(), v.Text(), kind, want)
						}
					}
				}
			}
		})
	}
}
