package transform

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
)

// evaluate computes one expression on a row, and shows the result as kind and text,
// "fail" and the reason, or the code of the first error.
func evaluate(t testing.TB, src string, row change.Row) string {
	t.Helper()
	table := customers(false)
	if row == nil {
		row = customer(table, nil)
	}
	n, c := checkExpr(t, src, table)
	for _, d := range c.diags {
		if d.Severity == hcl.DiagError {
			return fmt.Sprint("error ", codeOf(d), ": ", d.Detail)
		}
	}
	w := (&Program{table: table, source: "shop"}).NewWorker()
	var res Result
	w.begin(event(table, change.Create, nil, row), &res)
	return showValue(w, compile(n)(w))
}

func showValue(w *Worker, v value) string {
	switch v.kind {
	case isNull:
		return "null"
	case failed:
		return "fail " + v.s
	}
	return v.kind.String() + " " + w.text(v)
}

func checkExpr(t testing.TB, src string, table *change.Table) (*node, *checker) {
	t.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(src), "expr.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("parse %s: %s", src, diags)
	}
	p, env := parsePipeline(t, "test.hcl", "")
	env.Files["expr.hcl"] = &hcl.File{Bytes: []byte(src)}
	c := &checker{pipeline: p, table: table, env: env}
	c.scratch = (&Program{table: table, source: "shop"}).NewWorker()
	return c.check(e), c
}

func TestExamplesOfFunctions(t *testing.T) {
	for _, family := range families {
		for _, f := range family.functions {
			if f.doc == "" || len(f.examples) == 0 {
				t.Errorf("%s has no doc or no example", f.name)
			}
			for _, r := range f.fails {
				if reasons[r] == "" {
					t.Errorf("%s fails for %q, which is not among the reasons", f.name, r)
				}
			}
			for _, ex := range f.examples {
				got, want := evaluate(t, ex[0], nil), evaluate(t, ex[1], nil)
				if got != want && !(strings.HasPrefix(want, "int ") && got == strings.Replace(want, "int", "decimal", 1)) {
					t.Errorf("%s: got %s, want %s", ex[0], got, want)
				}
			}
		}
	}
}

// TestFunctions has NULL, empty, edge and bad input of every function.
func TestFunctions(t *testing.T) {
	long := strings.Repeat("x", 70)
	tests := map[string][][2]string{
		"lower":    {{`lower(null)`, "null"}, {`lower("")`, "text "}, {`lower("ÀÉ x")`, "text àé x"}, {`lower("İ")`, "text i"}},
		"upper":    {{`upper(null)`, "null"}, {`upper("")`, "text "}, {`upper("straße é")`, "text STRAßE É"}},
		"trim":     {{`trim(null)`, "null"}, {`trim("")`, "text "}, {"trim(\"\\u00a0\\u200b x\\t\")", "text x"}, {`trim("  ")`, "text "}},
		"collapse": {{`collapse(null)`, "null"}, {`collapse("")`, "text "}, {`collapse("  ")`, "text "}, {"collapse(\"a\\u00a0\\n b\")", "text a b"}},
		"title_case": {
			{`title_case(null)`, "null"}, {`title_case("")`, "text "}, {`title_case("MARÍA-JOSÉ d'angelo")`, "text María-José D'Angelo"}, {`title_case("o’neil")`, "text O’Neil"},
			{`title_case("don't we'll")`, "text Don't We'll"}, {`title_case("sMITH mcdonald DeVito")`, "text Smith Mcdonald DeVito"}, {`title_case("ǆ ßa 3rd")`, "text ǅ ßa 3Rd"},
			{`title_case("dell'acqua (vip)")`, "text Dell'Acqua (Vip)"}, {`title_case("O'Brien")`, "text O'Brien"}, {`title_case("jean - luc'")`, "text Jean - Luc'"},
		},
		"replace":       {{`replace(null, "a", "b")`, "null"}, {`replace("a", null, "b")`, "null"}, {`replace("", "a", "b")`, "text "}, {`replace("aa", "", "x")`, "text aa"}, {`replace("aXa", "a", "")`, "text X"}},
		"regex_replace": {{`regex_replace(null, "a", "b")`, "null"}, {`regex_replace("", "a", "b")`, "text "}, {`regex_replace("john smith", "(\\w+) (\\w+)", "$2 $1")`, "text smith john"}, {`regex_replace("", "^$", "x")`, "text x"}},
		"regex_match":   {{`regex_match(null, "a")`, "null"}, {`regex_match("", "a")`, "bool false"}, {`regex_match("é", "^.$")`, "bool true"}},
		"substr": {
			{`substr(null, 1)`, "null"}, {`substr("abc", null)`, "null"}, {`substr("", 0, 5)`, "text "}, {`substr("abc", 5)`, "text "}, {`substr("abc", -9, 2)`, "text ab"},
			{`substr("abc", 1, 0)`, "text "}, {`substr("abc", 0, -1)`, "text "}, {`substr("äöü", 1)`, "text öü"}, {`substr("abc", 9223372036854775807, 9223372036854775807)`, "text "},
		},
		"split":       {{`split(",", null)`, "null"}, {`split(",", "")`, "list []"}, {`split(";", "a;b")`, `list ["a","b"]`}, {`split("", "ab")`, `list ["a","b"]`}, {`split(",", ",")`, `list ["",""]`}},
		"join":        {{`join(",", null)`, "null"}, {`join(",", [])`, "text "}, {`join(",", row.tags)`, "text a,b"}, {`join(",", row.numbers)`, "text 1,3"}, {`join(",", [1.50, null])`, "text 1.50"}},
		"concat_ws":   {{`concat_ws(null, "a")`, "null"}, {`concat_ws(" ", null)`, "text "}, {`concat_ws(" ", "", "a", 5, null)`, "text  a 5"}},
		"starts_with": {{`starts_with(null, "a")`, "null"}, {`starts_with("", "")`, "bool true"}, {`starts_with("a", "ab")`, "bool false"}},
		"ends_with":   {{`ends_with(null, "a")`, "null"}, {`ends_with("", "")`, "bool true"}, {`ends_with("a", "ba")`, "bool false"}},
		"contains": {
			{`contains(null, "a")`, "null"}, {`contains("", "")`, "bool true"}, {`contains(row.tags, "b")`, "bool true"}, {`contains(row.numbers, 3)`, "bool true"}, {`contains(row.numbers, 2.0)`, "bool false"},
			{`contains(row.numbers, 3.0)`, "bool true"}, {`contains([1, 2], "a")`, "error E0315: contains: the list has elements of type int, but this is text."}, {`contains("a", 1)`, "error E0315: contains: a text has only text in it, but this is int; use tostring()."},
		},
		"length":   {{`length(null)`, "null"}, {`length("")`, "int 0"}, {`length(row.photo)`, "int 2"}, {`length(row.numbers)`, "int 3"}, {`length([])`, "int 0"}},
		"coalesce": {{`coalesce(null, null)`, "null"}, {`coalesce("", "x")`, "text "}, {`coalesce(null, 1, 1 / 0)`, "decimal 1"}, {`coalesce(row.deleted_at, row.created_at)`, "timestamptz 2026-03-04T13:14:15.123456Z"}},
		"nullif":   {{`nullif(null, 1)`, "null"}, {`nullif(1, null)`, "int 1"}, {`nullif("", "")`, "null"}, {`nullif(1, 1.0)`, "null"}},
		"nonempty": {{`nonempty(null)`, "null"}, {`nonempty("")`, "null"}, {"nonempty(\"\\u00a0\")", "null"}, {`nonempty("a")`, "text a"}},
		"email_normalize": {
			{`email_normalize(null)`, "null"}, {`email_normalize("")`, "fail bad_email"}, {`email_normalize(row.email)`, "text ada@example.com"}, {`email_normalize("a@b")`, "fail bad_email"}, {`email_normalize("a..b@c.de")`, "fail bad_email"},
			{`email_normalize(".a@c.de")`, "fail bad_email"}, {`email_normalize("a@-c.de")`, "fail bad_email"}, {`email_normalize("a@c.de.")`, "fail bad_email"}, {`email_normalize("a@1.2.3.4")`, "fail bad_email"},
			{`email_normalize("\"a b\"@c.de")`, "fail bad_email"}, {`email_normalize("a b@c.de")`, "fail bad_email"}, {`email_normalize("ä@c.de")`, "fail bad_email"}, {`email_normalize("A+x_y@Sub.C-D.DE")`, "text a+x_y@sub.c-d.de"},
			{`email_normalize("` + long[:64] + `@c.de")`, "text " + long[:64] + "@c.de"}, {`email_normalize("` + long[:65] + `@c.de")`, "fail bad_email"}, {`email_normalize("a@MÜNCHEN.de")`, "text a@xn--mnchen-3ya.de"},
			{`email_normalize("a@xn--zzzzzzz99.de")`, "fail bad_email"}, {`email_normalize("a@b@c.de")`, "fail bad_email"}, {`email_normalize("a@c.d")`, "fail bad_email"}, {`email_normalize_or(null, "x")`, "null"}, {`email_normalize_or("", "x")`, "text x"},
		},
		"is_email":     {{`is_email(null)`, "null"}, {`is_email("")`, "bool false"}, {`is_email(row.email)`, "bool true"}},
		"email_domain": {{`email_domain(null)`, "null"}, {`email_domain("")`, "fail bad_email"}, {`email_domain("x@Bücher.example")`, "text xn--bcher-kva.example"}},
		"phone_e164": {
			{`phone_e164(null, "US")`, "null"}, {`phone_e164("1", null)`, "null"}, {`phone_e164("", "US")`, "fail bad_phone"}, {`phone_e164("+49 30 901820")`, "text +4930901820"}, {`phone_e164("030 901820", "de")`, "text +4930901820"},
			{`phone_e164("030 901820")`, "fail bad_phone"}, {`phone_e164("0049 30 901820", "FR")`, "text +4930901820"}, {`phone_e164("555", "US")`, "fail bad_phone"}, {`phone_e164("+4930901820", "XX")`, "text +4930901820"},
			{`phone_e164("(415) 555-2671 ext. 5", "US")`, "text +14155552671"}, {`phone_e164("` + strings.Repeat("1", 300) + `", "US")`, "fail bad_phone"},
		},
		"country_code": {
			{`country_code(null)`, "null"}, {`country_code("")`, "fail bad_country"}, {`country_code("de")`, "text DE"}, {`country_code("DEU")`, "text DE"}, {`country_code(" u.s.a. ")`, "text US"}, {`country_code("Côte d’Ivoire")`, "text CI"},
			{`country_code("St. Kitts & Nevis")`, "text KN"}, {`country_code("Atlantis")`, "fail bad_country"}, {`country_code("UK")`, "text GB"}, {`country_code("Antigua and Barbuda")`, "text AG"},
		},
		"round": {
			{`round(null)`, "null"}, {`tostring(round(0.5))`, "text 1"}, {`tostring(round(-2.5))`, "text -3"}, {`round(7, 2)`, "int 7"}, {`tostring(round(1.5, 3))`, "text 1.5"}, {`round(-1250, -2)`, "int -1300"},
			{`round(row.score)`, "float 1"}, {`tostring(round(12345.678, -2))`, "text 12300"}, {`round(1, null)`, "null"}, {`tostring(round(-0.4))`, "text 0"}, {`round(9223372036854775807, -1)`, "fail overflow"},
		},
		"floor": {{`floor(null)`, "null"}, {`floor(5)`, "int 5"}, {`tostring(floor(1.99))`, "text 1"}, {`floor(row.score)`, "float 0"}},
		"ceil":  {{`ceil(null)`, "null"}, {`ceil(5)`, "int 5"}, {`tostring(ceil(-1.99))`, "text -1"}, {`tostring(ceil(-0.5))`, "text 0"}, {`ceil(row.score)`, "float 1"}},
		"abs":   {{`abs(null)`, "null"}, {`abs(0)`, "int 0"}, {`tostring(abs(-1.50))`, "text 1.50"}, {`abs(-row.score)`, "float 0.5"}, {`abs(-9223372036854775807 - 1)`, "fail overflow"}},
		"min":   {{`min(null, 1)`, "null"}, {`min(1)`, "int 1"}, {`tostring(min(1, 0.5))`, "text 0.5"}, {`min(row.created_at, row.created_at)`, "timestamptz 2026-03-04T13:14:15.123456Z"}, {`min(row.score, 1)`, "float 0.5"}},
		"max":   {{`max(1, null)`, "null"}, {`max("a", "B")`, "text a"}, {`max(1, 1.0)`, "decimal 1"}, {`max(1, "a")`, "error E0311: The arguments of max must have one type, but these are int and text. There is no implicit conversion: use tostring() on the number, or toint() or todecimal() on the text."}},
		"major": {{`major(null, "EUR")`, "null"}, {`major(5, "KWD")`, "decimal 0.005"}, {`major(-5, "eur")`, "decimal -0.05"}, {`major(0, "EUR")`, "decimal 0.00"}, {`major(1, row.country)`, "fail bad_currency"}, {`major_or(1, row.country, 0)`, "decimal 0"}},
		"minor": {{`minor(null, "EUR")`, "null"}, {`minor(0.005, "KWD")`, "int 5"}, {`minor(12.345, "EUR")`, "fail not_exact"}, {`minor(12.3400, "EUR")`, "int 1234"}, {`minor(9223372036854775807, "EUR")`, "fail overflow"}, {`minor(row.balance, "EUR")`, "int 1250"}},
		"date_trunc": {
			{`date_trunc("day", null)`, "null"}, {`date_trunc("week", row.created_at)`, "timestamptz 2026-03-02T00:00:00Z"}, {`date_trunc("quarter", row.born)`, "date 1990-01-01"}, {`date_trunc("year", row.updated_at)`, "timestamp 2026-01-01T00:00:00"},
			{`date_trunc("minute", row.created_at)`, "timestamptz 2026-03-04T13:14:00Z"}, {`date_trunc("hour", row.created_at)`, "timestamptz 2026-03-04T13:00:00Z"}, {`date_trunc("second", row.created_at)`, "timestamptz 2026-03-04T13:14:15Z"},
			{`date_trunc("week", todate("1969-12-31"))`, "date 1969-12-29"}, {`date_trunc("day", todate("infinity"))`, "date infinity"}, {`date_trunc("day", todate("-0043-03-15"))`, "date -0043-03-15"},
		},
		"format_time": {
			{`format_time(null, "%Y")`, "null"}, {`format_time(row.created_at, "%Y-%m-%dT%H:%M:%S.%f%z")`, "text 2026-03-04T13:14:15.123456Z"}, {`format_time(row.born, "%e %b %B %a %A %y %j %I %p %% x")`, "text 28 Feb February Wed Wednesday 90 059 12 AM % x"},
			{`format_time(todate("infinity"), "%Y")`, "fail bad_date"}, {`format_time(row.born, "")`, "text "},
		},
		"parse_time": {
			{`parse_time(null, "%Y")`, "null"}, {`parse_time("", "%Y")`, "fail bad_time"}, {`parse_time("2026-02-29", "%Y-%m-%d")`, "fail bad_time"}, {`parse_time("2026-03-04T01:02:03.5+02:00", "%Y-%m-%dT%H:%M:%S.%f%z")`, "timestamptz 2026-03-03T23:02:03.5Z"},
			{`parse_time("4 mar 69", "%e %b %y")`, "timestamp 1969-03-04T00:00:00"}, {`parse_time("12:30 AM", "%I:%M %p")`, "timestamp 1970-01-01T00:30:00"}, {`parse_time("13:30 AM", "%I:%M %p")`, "fail bad_time"}, {`parse_time("2026x", "%Y")`, "fail bad_time"},
			{`parse_time("366 2024", "%j %Y")`, "timestamp 2024-12-31T00:00:00"}, {`parse_time("366 2023", "%j %Y")`, "fail bad_time"}, {`parse_time("24:00", "%H:%M")`, "fail bad_time"}, {`parse_time_or("x", "%Y", null)`, "null"},
		},
		"to_tz":        {{`to_tz(null, "UTC")`, "null"}, {`to_tz(row.created_at, "America/New_York")`, "timestamp 2026-03-04T08:14:15.123456"}, {`to_tz(row.updated_at, "Asia/Kolkata")`, "timestamptz 2026-03-04T07:44:15Z"}},
		"unix_seconds": {{`unix_seconds(null)`, "null"}, {`unix_seconds(row.created_at)`, "int 1772630055"}, {`unix_seconds(parse_time("1969-12-31T23:59:59.5Z", "%Y-%m-%dT%H:%M:%S.%f%z"))`, "int -1"}},
		"json_get": {
			{`json_get(null, "a")`, "null"}, {`json_get(row.data, "city")`, "text Wien"}, {`json_get(row.data, "n[1]")`, "text 2.50"}, {`json_get(row.data, "n[-2]")`, "text 1"}, {`json_get(row.data, "n")`, "text [1, 2.50]"}, {`json_get(row.data, "n[5]")`, "null"},
			{`json_get(row.data, "city.x")`, "null"}, {`json_get("", "a")`, "fail bad_json"}, {`json_get("{", "a")`, "fail bad_json"}, {`json_get("{\"a\":null}", "a")`, "null"}, {`json_get("{\"a\":\"x\\n\"}", "a")`, "text x\n"}, {`json_get_or("x", "a", "-")`, "text -"},
			{`json_get("[[1],[2,{\"b\":\"],\"}]]", "[1][1].b")`, "text ],"}, {`json_get("{\"a\":1,\"a\":2}", "a")`, "text 2"}, {`json_get("{\"a,b\" : {\"c\" : true } }", "a,b.c")`, "text true"},
		},
		"sha256":    {{`sha256(null)`, "null"}, {`sha256("")`, "text e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}, {`sha256(row.photo)`, "text 06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8"}},
		"tostring":  {{`tostring(null)`, "null"}, {`tostring("")`, "text "}, {`tostring(row.balance)`, "text 12.50"}, {`tostring(row.visits)`, "text 18446744073709551615"}, {`tostring(row.uid)`, "text a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, {`tostring([1, null])`, "text [1,null]"}, {`tostring(row.score + 0)`, "text 0.5"}, {`tostring(row.every)`, "text P1D"}, {`tostring(["a\"ä", "\n"])`, `text ["a\"ä","\n"]`}},
		"toint":     {{`toint(null)`, "null"}, {`toint("")`, "fail bad_number"}, {`toint("9223372036854775808")`, "fail bad_number"}, {`toint("+5")`, "int 5"}, {`toint(12.00)`, "int 12"}, {`toint(12.5)`, "fail bad_number"}, {`toint(row.visits)`, "fail bad_number"}, {`toint(row.score)`, "fail bad_number"}, {`toint_or("x", null)`, "null"}},
		"todecimal": {{`todecimal(null)`, "null"}, {`todecimal("")`, "fail bad_number"}, {`todecimal(".")`, "fail bad_number"}, {`todecimal("1e3")`, "decimal 1000"}, {`todecimal("-1.50")`, "decimal -1.50"}, {`todecimal("NaN")`, "fail bad_number"}, {`todecimal("1e9999")`, "fail bad_number"}, {`todecimal(row.score)`, "decimal 0.5"}, {`todecimal_or("x", 0)`, "decimal 0"}, {`todecimal("0x10")`, "fail bad_number"}, {`todecimal("-0.0")`, "decimal 0.0"}},
		"tobool":    {{`tobool(null)`, "null"}, {`tobool("")`, "fail bad_bool"}, {`tobool(" OFF ")`, "bool false"}, {`tobool(1)`, "bool true"}, {`tobool(2)`, "fail bad_bool"}, {`tobool("ja")`, "fail bad_bool"}},
		"todate":    {{`todate(null)`, "null"}, {`todate("")`, "fail bad_date"}, {`todate(row.created_at)`, "date 2026-03-04"}, {`todate("0000-00-00")`, "fail bad_date"}, {`todate("2026-02-29")`, "fail bad_date"}, {`todate("2024-02-29")`, "date 2024-02-29"}, {`todate("infinity")`, "date infinity"}},
	}
	for name := range functions {
		if len(tests[name]) < 3 {
			t.Errorf("%s: too few cases", name)
		}
	}
	for _, cases := range tests {
		for _, tt := range cases {
			if got := evaluate(t, tt[0], nil); got != tt[1] {
				t.Errorf("%s\n got %s\nwant %s", tt[0], got, tt[1])
			}
		}
	}
}

func TestOperators(t *testing.T) {
	for _, tt := range [][2]string{
		{`7 / 2`, "decimal 3.5"}, {`6 / 2`, "decimal 3"}, {`1 / 3`, "decimal 0.3333333333333333333333333333333333"}, {`6.00 / 2`, "decimal 3.00"}, {`1 / 0`, "fail division_by_zero"}, {`1 % 0`, "fail division_by_zero"}, {`1.0 / 0`, "fail division_by_zero"}, {`row.score / 0`, "fail division_by_zero"},
		{`7 % 4`, "int 3"}, {`-7 % 4`, "int -3"}, {`7.5 % 2`, "decimal 1.5"}, {`1.10 + 2.20`, "decimal 3.30"}, {`0.1 + 0.2 == 0.3`, "bool true"}, {`1.20 * 2`, "decimal 2.40"}, {`9223372036854775807 + 1`, "fail overflow"}, {`-9223372036854775807 - 2`, "fail overflow"},
		{`4611686018427387904 * 2`, "fail overflow"}, {`4611686018427387904 * -2`, "int -9223372036854775808"}, {`3037000500 * 3037000500`, "fail overflow"}, {`row.visits + 1`, "decimal 18446744073709551616"}, {`row.age + 1`, "int 37"},
		{`1 == 1.0`, "bool true"}, {`1 < 1.5`, "bool true"}, {`null == null`, "bool true"}, {`row.deleted_at == null`, "bool true"}, {`row.deleted_at != null`, "bool false"}, {`null + 1`, "null"}, {`null < 1`, "null"}, {`row.is_test == null`, "bool false"},
		{`row.deleted_at < row.created_at`, "null"}, {`null + 1 / 0`, "fail division_by_zero"}, {`false && 1 / 0 == 1`, "bool false"}, {`true || 1 / 0 == 1`, "bool true"}, {`null && false`, "bool false"}, {`null && true`, "null"}, {`null || true`, "bool true"}, {`null || false`, "null"}, {`!null`, "null"},
		{`null ? 1 : 2`, "int 2"}, {`true ? 1 : 1 / 0`, "decimal 1"}, {`"b" > "a"`, "bool true"}, {`"Z" < "a"`, "bool true"}, {`row.plan == "pro"`, "bool true"}, {`row.created_at > row.created_at`, "bool false"}, {`row.born < todate("1990-03-01")`, "bool true"},
		{`"a${1}b${2.50}"`, "text a1b2.50"}, {`"x${row.deleted_at}"`, "null"}, {`"${row.id}"`, "text 7"}, {`"%{ if true }yes%{ else }no%{ endif }"`, "text yes"}, {"<<-X\n  a ${row.id}\n  b\n  X\n", "text a 7\nb\n"},
		{`[1, 2.5]`, `list ["1","2.5"]`}, {`row.tags == ["a", "b"]`, "bool true"}, {`row.tags == ["a"]`, "bool false"}, {`row.numbers == [1, null, 3]`, "bool true"}, {`-row.balance`, "decimal -12.50"}, {`-(0.0)`, "decimal 0.0"}, {`-row.score`, "float -0.5"}, {`row["id"]`, "int 7"},
		{`local.rate * 2`, "decimal 0.38"}, {`local.names`, `list ["a","b"]`}, {`var.region`, "text EU"}, {`local.map.x`, "text deep"}, {`local.limit`, "int 5"}, {`0.10`, "decimal 0.10"}, {`1e2`, "decimal 100"},
		{`meta.op`, "text c"}, {`meta.source`, "text shop"}, {`meta.table`, "text public.customers"}, {`meta.ts`, "timestamptz 2026-03-04T12:00:00.000005Z"}, {`meta.now`, "timestamptz 2026-03-04T12:00:00.000005Z"}, {`meta.id`, "text 000000010000000000000002000000000000000300000004"}, {`meta.snapshot`, "bool false"},
		{"\"e\u0301\" == \"\u00e9\"", "bool false"}, {"length(\"e\u0301\\n\")", "int 3"}, {`row.visits == 18446744073709551615`, "bool true"}, {`2 * row.score`, "float 1"}, {`row.uid == row.uid`, "bool true"}, {`row.opens_at < row.opens_at`, "bool false"},
	} {
		if got := evaluate(t, tt[0], nil); got != tt[1] {
			t.Errorf("%s\n got %s\nwant %s", tt[0], got, tt[1])
		}
	}
}
