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
	got := showValue(w, compile(n)(w))
	checkUnfolded(t, src, table, row, got)
	return got
}

// checkUnfolded computes an expression without folding its constants: the result is the same, and of the
// type that was found for it.
func checkUnfolded(t testing.TB, src string, table *change.Table, row change.Row, want string) {
	t.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(src), "expr.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, env := parsePipeline(t, "test.hcl", "")
	env.Files["expr.hcl"] = &hcl.File{Bytes: []byte(src)}
	c := &checker{pipeline: p, table: table, env: env, unfolded: true}
	c.scratch = (&Program{table: table, source: "shop"}).NewWorker()
	n := c.check(e)
	if c.diags.HasErrors() {
		return // an argument that must be constant is one only when it is folded
	}
	w := (&Program{table: table, source: "shop"}).NewWorker()
	var res Result
	w.begin(event(table, change.Create, nil, row), &res)
	v := compile(n)(w)
	if got := showValue(w, v); got != want {
		t.Errorf("%s: with its constants folded %s, without %s", src, want, got)
	}
	if v.kind == isNull && !n.typ.null {
		t.Errorf("%s is NULL, but its type says that it never is", src)
	}
	if v.kind > failed && v.kind != n.typ.base {
		t.Errorf("%s is %s, but its type is %s", src, v.kind, n.typ)
	}
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

		"sentence_case": {{`sentence_case(null)`, "null"}, {`sentence_case("")`, "text "}, {`sentence_case("ÉCOLE 3 RUE")`, "text École 3 rue"}, {`sentence_case("hi!  YOU? 5 go. v1.2X")`, "text Hi!  You? 5 go. V1.2x"}},
		"truncate": {
			{`truncate(null, 3)`, "null"}, {`truncate("", 3)`, "text "}, {`truncate("abc", 3)`, "text abc"}, {`truncate("abcd", 3)`, "text ab…"}, {`truncate("ab cd", 4)`, "text ab…"}, {`truncate("äöüß", 2, "")`, "text äö"}, {`truncate("abc", 0)`, "text "},
			{`truncate("abc", -1)`, "fail bad_number"}, {`truncate("abc", 1)`, "text …"}, {`truncate("abcdef", 2, "...")`, "text ab"}, {"truncate(\"ae\u0301x\", 2, \"\")", "text a"}, {`truncate_or("abc", -1, "x")`, "text x"},
		},
		"pad":           {{`pad(null, 3)`, "null"}, {`pad("", 2, "ab")`, "text ab"}, {`pad("abc", 2)`, "text abc"}, {`pad("é", 3)`, "text   é"}, {`pad("1", 4, "xy")`, "text xyx1"}, {`pad("a", 3, "")`, "text a"}, {`pad("a", 100000)`, "fail bad_number"}},
		"strip_accents": {{`strip_accents(null)`, "null"}, {`strip_accents("")`, "text "}, {`strip_accents("Đặng Ærø Þór")`, "text Dang AEro THor"}, {`strip_accents("й が ά")`, "text й が α"}, {`strip_accents("ﬀ")`, "text ﬀ"}},
		"nfc":           {{`nfc(null)`, "null"}, {`nfc("")`, "text "}, {"nfc(\"e\u0301\") == \"\u00e9\"", "bool true"}},
		"html_strip": {
			{`html_strip(null)`, "null"}, {`html_strip("")`, "text "}, {`html_strip("a  b")`, "text a b"}, {`html_strip("a<br/>b<script>x < 1</script>&nbsp;&lt;c&gt;")`, "text a\nb <c>"}, {`html_strip("<")`, "text <"}, {`html_strip("1 < 2 <b")`, "text 1 < 2"}, {`html_strip("<td>a</td><td>b</td><!-- x -->")`, "text a b"},
		},
		"format": {
			{`format("%s", null)`, "null"}, {`format("")`, "text "}, {`format("%5s|%-5s|", "ab", "cd")`, "text    ab|cd   |"}, {`format("%+d %06d", 5, -42)`, "text +5 -00042"}, {`format("%.1f %f", 0.25, 1.50)`, "text 0.3 1.50"}, {`format("%f", row.score)`, "text 0.5"},
			{`format("%d", "a")`, "error E0315: format: %d writes an int, but this is text."}, {`format("%s")`, "error E0315: format: the format has more verbs than there are values."}, {`format("x", 1)`, "error E0315: format: the format has 0 verbs for 1 values."}, {`format("%q", 1)`, "error E0315: format: the format has something else than %s, %d, %f or %% after a %."},
		},
		"default":      {{`default(null, null)`, "null"}, {`default("", "x")`, "text x"}, {`default(0, 5)`, "int 0"}, {`default(row.first_name, "?")`, "text   ada "}},
		"is_phone":     {{`is_phone(null)`, "null"}, {`is_phone("")`, "bool false"}, {`is_phone("030 901820", "DE")`, "bool true"}, {`is_phone("030 901820")`, "bool false"}},
		"country_name": {{`country_name(null)`, "null"}, {`country_name("")`, "fail bad_country"}, {`country_name("GBR")`, "text United Kingdom"}, {`country_name_or("x", "?")`, "text ?"}},
		"postcode": {
			{`postcode(null, "DE")`, "null"}, {`postcode("1", null)`, "null"}, {`postcode("", "DE")`, "fail bad_postcode"}, {`postcode("10115", "Germany")`, "text 10115"}, {`postcode("k1a0b1", "CA")`, "text K1A 0B1"}, {`postcode("12345 6789", "US")`, "text 12345-6789"},
			{`postcode("1234", "US")`, "fail bad_postcode"}, {`postcode("1", "Atlantis")`, "fail bad_country"}, {`postcode("m1 1ae", "UK")`, "text M1 1AE"}, {`postcode("l-1234", "LU")`, "text 1234"}, {`postcode("1050", "LV")`, "text LV-1050"}, {`postcode("LV 1050", "LV")`, "text LV-1050"},
			{`postcode("D02 X285", "IE")`, "text D02 X285"}, {`postcode("12‐345", "PL")`, "text 12-345"}, {`postcode("12_", "DE")`, "fail bad_postcode"}, {`postcode("ab  12", "BT")`, "text AB 12"}, {`postcode("ad500", "AD")`, "text AD500"}, {`postcode("1012ab", "NL")`, "text 1012 AB"},
		},
		"person_name": {{`person_name(null)`, "null"}, {`person_name("")`, "text "}, {`person_name("MCDONALD, RONALD JR.")`, "text Ronald Jr. McDonald"}, {`person_name("o'brien, ")`, "text O'Brien"}, {`person_name("Ann deVille")`, "text Ann deVille"}, {`person_name("john smith, phd")`, "text John Smith, PhD"}, {`person_name("JUAN DE LA CRUZ")`, "text Juan de la Cruz"}, {`person_name("VAN DER BERG")`, "text Van der Berg"}},
		"url_normalize": {
			{`url_normalize(null)`, "null"}, {`url_normalize("")`, "fail bad_url"}, {`url_normalize(" WWW.Example.com ")`, "text https://www.example.com/"}, {`url_normalize("http://a.example/%7Eb/%c3%a9?q=%41#f")`, "text http://a.example/~b/%C3%A9?q=A"}, {`url_normalize("ftp://a.example")`, "fail bad_url"},
			{`url_normalize("http://u:p@a.example")`, "fail bad_url"}, {`url_normalize("localhost")`, "fail bad_url"}, {`url_normalize("a.example:8080/x")`, "text https://a.example:8080/x"}, {`url_normalize("a b.example")`, "fail bad_url"}, {`url_normalize("javascript:alert(1)")`, "fail bad_url"}, {`url_normalize("http://127.0.0.1/")`, "fail bad_url"}, {`url_normalize_or("x", null)`, "null"},
		},
		"vat_id": {
			{`vat_id(null)`, "null"}, {`vat_id("")`, "fail bad_vat"}, {`vat_id("ATU13585627")`, "text ATU13585627"}, {`vat_id("ATU13585626")`, "fail bad_vat"}, {`vat_id("BE 428.759.497")`, "text BE0428759497"}, {`vat_id("BE 431150351")`, "fail bad_vat"}, {`vat_id("BG 175 074 752")`, "text BG175074752"}, {`vat_id("175074751", "BG")`, "fail bad_vat"},
			{`vat_id("CY-10259033P")`, "text CY10259033P"}, {`vat_id("CY-10259033Z")`, "fail bad_vat"}, {`vat_id("CZ 25123891")`, "text CZ25123891"}, {`vat_id("CZ25123890")`, "fail bad_vat"}, {`vat_id("CZ7103192745")`, "text CZ7103192745"}, {`vat_id("DE 136,695 976")`, "fail bad_vat"}, {`vat_id("DE136695976")`, "text DE136695976"}, {`vat_id("DE136695978")`, "fail bad_vat"},
			{`vat_id("DK 13585628")`, "text DK13585628"}, {`vat_id("DK 13585627")`, "fail bad_vat"}, {`vat_id("EE 100 931 558")`, "text EE100931558"}, {`vat_id("EE 100 594 103")`, "fail bad_vat"}, {`vat_id("GR 094259216")`, "text EL094259216"}, {`vat_id("23456780", "GR")`, "text EL023456780"}, {`vat_id("EL123456781")`, "fail bad_vat"},
			{`vat_id("ESB58378431")`, "text ESB58378431"}, {`vat_id("ESB64717839")`, "fail bad_vat"}, {`vat_id("ES54362315K")`, "text ES54362315K"}, {`vat_id("ESX2482300W")`, "text ESX2482300W"}, {`vat_id("FI- 2077474-0")`, "text FI20774740"}, {`vat_id("FI 2077474-1")`, "fail bad_vat"}, {`vat_id("Fr 40 303 265 045")`, "text FR40303265045"}, {`vat_id("FR84 323 140 391")`, "fail bad_vat"}, {`vat_id("FRK7399859412")`, "text FRK7399859412"},
			{`vat_id("HR33392005961")`, "text HR33392005961"}, {`vat_id("HR33392005962")`, "fail bad_vat"}, {`vat_id("HU-12892312")`, "text HU12892312"}, {`vat_id("HU-12892313")`, "fail bad_vat"}, {`vat_id("IE 6433435F")`, "text IE6433435F"}, {`vat_id("IE 6433435OA")`, "text IE6433435OA"}, {`vat_id("IE 6433435E")`, "fail bad_vat"}, {`vat_id("8D79739I", "Ireland")`, "text IE8D79739I"},
			{`vat_id("IT 00743110157")`, "text IT00743110157"}, {`vat_id("IT 00743110158")`, "fail bad_vat"}, {`vat_id("LT119511515")`, "text LT119511515"}, {`vat_id("LT100001919017")`, "text LT100001919017"}, {`vat_id("LT100004801610")`, "text LT100004801610"}, {`vat_id("LT100001919018")`, "fail bad_vat"}, {`vat_id("LU150 274 42")`, "text LU15027442"}, {`vat_id("LU150 274 43")`, "fail bad_vat"},
			{`vat_id("LV 4000 3521 600")`, "text LV40003521600"}, {`vat_id("LV 40003521601")`, "fail bad_vat"}, {`vat_id("LV 161175-19997")`, "text LV16117519997"}, {`vat_id("MT 1167-9112")`, "text MT11679112"}, {`vat_id("MT 1167-9113")`, "fail bad_vat"}, {`vat_id("NL004495445B01")`, "text NL004495445B01"}, {`vat_id("NL002455799B11")`, "text NL002455799B11"}, {`vat_id("NL123456790B90")`, "fail bad_vat"},
			{`vat_id("PL 8567346215")`, "text PL8567346215"}, {`vat_id("PL 8567346216")`, "fail bad_vat"}, {`vat_id("PT 501 964 843")`, "text PT501964843"}, {`vat_id("PT 501 964 842")`, "fail bad_vat"}, {`vat_id("RO 185 472 90")`, "text RO18547290"}, {`vat_id("RO 185 472 91")`, "fail bad_vat"}, {`vat_id("RO1630615123457")`, "text RO1630615123457"}, {`vat_id("SE 123456789701")`, "text SE123456789701"}, {`vat_id("SE123456789101")`, "fail bad_vat"},
			{`vat_id("SI 5022 3054")`, "text SI50223054"}, {`vat_id("SI 50223055")`, "fail bad_vat"}, {`vat_id("SK 202 274 96 19")`, "text SK2022749619"}, {`vat_id("SK 202 274 96 18")`, "fail bad_vat"}, {`vat_id("GB 980 7806 84")`, "text GB980780684"}, {`vat_id("GB 802311781")`, "fail bad_vat"}, {`vat_id("US123")`, "fail bad_vat"}, {`vat_id("RO")`, "fail bad_vat"}, {`vat_id("GBGD001")`, "text GBGD001"},
		},
		"iban": {
			{`iban(null)`, "null"}, {`iban("")`, "fail bad_iban"}, {`iban("DE89 3704 0044 0532 0130 00")`, "text DE89370400440532013000"}, {`iban("DE89 3704 0044 0532 0130 01")`, "fail bad_iban"}, {`iban("DE8937040044053201300")`, "fail bad_iban"}, {`iban("fr14-2004-1010-0505-0001-3m02-606")`, "text FR1420041010050500013M02606"},
			{`iban("IBAN: NO93 8601 1117 947")`, "text NO9386011117947"}, {`iban("XX00")`, "fail bad_iban"}, {`iban("` + long + `")`, "fail bad_iban"}, {`iban_or("x", null)`, "null"},
		},
		"percent": {{`percent(null, 1)`, "null"}, {`percent(1, 0)`, "fail division_by_zero"}, {`percent(1, 8, 1)`, "decimal 12.5"}, {`percent(1, 4)`, "decimal 25.00"}, {`percent(row.score, 2)`, "decimal 25.00"}, {`percent(1, 3, 40)`, "fail bad_number"}, {`percent_or(1, 0.0, 0)`, "decimal 0"}, {`percent(-1, 3, 0)`, "decimal -33"}},
		"date_add": {
			{`date_add("day", null, row.born)`, "null"}, {`date_add("month", 12, row.born)`, "date 1991-02-28"}, {`date_add("year", 2, row.born)`, "date 1992-02-28"}, {`date_add("month", -1, todate("2026-03-31"))`, "date 2026-02-28"}, {`date_add("quarter", 1, row.created_at)`, "timestamptz 2026-06-04T13:14:15.123456Z"},
			{`date_add("hour", 30, row.updated_at)`, "timestamp 2026-03-05T19:14:15"}, {`date_add("hour", 1, row.born)`, "error E0315: date_add: a date has no hours."}, {`date_add("eon", 1, row.born)`, `error E0315: date_add: there is no unit "eon". There are: day, hour, minute, month, quarter, second, week, year.`}, {`date_add("year", 9999999999, row.born)`, "fail overflow"}, {`date_add("week", 9223372036854775807, row.born)`, "fail overflow"}, {`date_add("day", 1, todate("infinity"))`, "date infinity"}, {`date_add_or("second", 9999999999, row.created_at, null)`, "timestamptz 2343-01-23T07:00:54.123456Z"},
		},
		"age_days":    {{`age_days(null)`, "null"}, {`age_days(row.born)`, "int 13153"}, {`age_days(row.created_at)`, "int -1"}, {`age_days(todate("2026-03-04"))`, "int 0"}, {`age_days(todate("infinity"))`, "fail bad_date"}, {`age_days_or(todate("infinity"), 0)`, "int 0"}},
		"json_parse":  {{`json_parse(null)`, "null"}, {`json_parse("")`, "fail bad_json"}, {`json_parse("null")`, "null"}, {`json_parse(" {} ")`, "json {}"}, {`json_parse("{a}")`, "fail bad_json"}, {`json_get(json_parse("{\"a\":1}"), "a")`, "text 1"}},
		"json_string": {{`json_string(null)`, "null"}, {`json_string("")`, `text ""`}, {`json_string(row.data)`, `text {"city": "Wien", "n": [1, 2.50]}`}, {`json_string([1.50, null, 2.0])`, "text [1.50,null,2.0]"}, {`json_string(row.score)`, "text 0.5"}, {`json_string(row.tags)`, `text ["a","b"]`}, {`json_string({a = {b = [true]}})`, `text {"a":{"b":[true]}}`}, {`json_string(row.photo)`, `text "AP8="`}},
		"keys":        {{`keys(null)`, "null"}, {`keys({})`, "list []"}, {`keys(row.data)`, `list ["city","n"]`}, {`keys(json_parse("[1]"))`, "fail bad_json"}, {`keys_or(json_parse("1"), [])`, "list []"}},
		"values":      {{`values(null)`, "null"}, {`values({})`, "list []"}, {`values({a = 1, b = 2.5})`, `list ["1","2.5"]`}, {`values(row.data)`, `list ["\"Wien\"","[1, 2.50]"]`}, {`values({a = 1, b = "x"})`, "error E0315: values: the object's values have different types, a list's have one."}},
		"lookup_map":  {{`lookup_map(null, {a = 1}, 0)`, "int 0"}, {`lookup_map("", {a = 1}, 0)`, "int 0"}, {`lookup_map(row.country, {US = 1, DE = 2.5})`, "decimal 1"}, {`lookup_map("x", {}, "d")`, "text d"}, {`lookup_map("a", {a = row.id}, 0)`, "int 7"}, {`lookup_map("a", {a = 1}, "x")`, "error E0315: lookup_map: the map has values of type int, but the default is text."}},
		"one_of":      {{`one_of(null, ["a"])`, "null"}, {`one_of("", ["a"])`, "fail bad_option"}, {`one_of(row.plan, ["pro"])`, "text pro"}, {`one_of(3, row.numbers)`, "int 3"}, {`one_of_or("z", ["a"], null)`, "null"}, {`one_of("a", [])`, "fail bad_option"}},
		"sort":        {{`sort(null)`, "null"}, {`sort([])`, "list []"}, {`sort(row.numbers)`, `list [1,3,null]`}, {`sort(["b", "Z", "a"])`, `list ["Z","a","b"]`}, {`sort([[1]])`, "error E0315: sort: values of type list of int have no order."}},
		"distinct":    {{`distinct(null)`, "null"}, {`distinct([])`, "list []"}, {`distinct([1.0, 1.00, null, null])`, `list ["1.0",null]`}, {`distinct(row.tags)`, `list ["a","b"]`}},
		"sum":         {{`sum(null)`, "null"}, {`sum([])`, "int 0"}, {`sum(row.numbers)`, "int 4"}, {`sum([1.50, 2])`, "decimal 3.50"}, {`sum(["a"])`, "error E0315: sum: only numbers have a sum, but this is list of text."}, {`sum([9223372036854775807, 1])`, "fail overflow"}, {`sum_or([9223372036854775807, 1], 0)`, "int 0"}},
		"count":       {{`count(null)`, "null"}, {`count([])`, "int 0"}, {`count(row.numbers)`, "int 2"}},
		"hmac":        {{`hmac("k", null)`, "null"}, {`length(hmac("", ""))`, "int 64"}, {`hmac("key", "The quick brown fox jumps over the lazy dog")`, "text f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"}},
		"uuid_v5":     {{`uuid_v5(null, "a")`, "null"}, {`uuid_v5("", "a")`, "fail bad_uuid"}, {`uuid_v5("6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "www.example.com")`, "uuid 2ed6657d-e927-568b-95e1-2665a8aea6a2"}, {`uuid_v5(row.uid, "")`, "uuid 45c4d695-e413-52d7-a410-ba6caff88d9f"}, {`uuid_v5_or("x", "a", null)`, "null"}},
		"base64":      {{`base64(null)`, "null"}, {`base64("")`, "text "}, {`base64(row.photo)`, "text AP8="}},
		"totimestamp": {
			{`totimestamp(null)`, "null"}, {`totimestamp("")`, "fail bad_time"}, {`totimestamp("2026-03-14T09:05:00.5Z")`, "timestamptz 2026-03-14T09:05:00.5Z"}, {`totimestamp("2026-03-14T09:05:00")`, "fail bad_time"}, {`totimestamp("2026-03-14", "Europe/Berlin")`, "timestamptz 2026-03-13T23:00:00Z"}, {`totimestamp(1.5)`, "timestamptz 1970-01-01T00:00:01.5Z"},
			{`totimestamp(row.born, "UTC")`, "timestamptz 1990-02-28T00:00:00Z"}, {`totimestamp(row.updated_at)`, "fail bad_time"}, {`totimestamp(row.created_at)`, "timestamptz 2026-03-04T13:14:15.123456Z"}, {`totimestamp("2026-03-14 24:30:00Z")`, "fail bad_time"}, {`totimestamp("x", "Nowhere")`, `error E0315: totimestamp: "Nowhere" is not a zone of the IANA database, such as Europe/Berlin.`}, {`totimestamp("2026-03-14 09:05 +0200")`, "timestamptz 2026-03-14T07:05:00Z"}, {`totimestamp(99999999999999999999.0)`, "fail bad_time"}, {`totimestamp_or("x", null)`, "null"},
		},
		"skip": {{`skip()`, "fail skip"}, {`null == 1 ? "a" : skip()`, "fail skip"}, {`try(skip(), "a")`, "fail skip"}, {`row.id == 7 ? 1 : skip()`, "int 1"}},
		"try":  {{`try(null, 1)`, "null"}, {`try(toint(row.email), 5)`, "int 5"}, {`try(1 / 0, 2 / 0)`, "fail division_by_zero"}, {`try(json_get("{", "a"), "")`, "text "}, {`try(1, "a")`, "error E0311: The arguments of try must have one type, but these are int and text. There is no implicit conversion: use tostring() on the number, or toint() or todecimal() on the text."}},
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
