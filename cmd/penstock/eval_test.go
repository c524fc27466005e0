package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestEval(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"title_case(trim(row.name))", "--row", `{"name":" ada "}`}, 0, "\"Ada\"\ntext, never NULL\n"},
		{[]string{"row.a + 1.5", "--row", `{"a":2}`}, 0, "3.5\ndecimal, never NULL\n"},
		{[]string{"row.a", "--row", `{"a":null}`}, 0, "null\ntext, may be NULL\n"},
		{[]string{"row.tags[0]", "--row", `{"tags":["a","b"]}`, "--output", "json"}, 0, `"nullable":true,"of":"text","type":"value","value":"a"`},
		{[]string{"meta.op", "--op", "u"}, 0, "\"u\"\ntext, never NULL\n"},
		{[]string{"1 / 0"}, 1, "rejected: division_by_zero"},
		{[]string{"email_normalize(row.e)", "--row", `{"e":"x"}`}, 1, "rejected: bad_email"},
		{[]string{"lower(row.nmae)", "--row", `{"name":"x"}`}, 1, "expression:1:7: error[E0302]: Unknown column\n  1 | lower(row.nmae)\n    |       ^^^^^^^^\n"},
		{[]string{"row.a ++"}, 1, "error[E0003]"},
		{[]string{"1", "--row", "[1]"}, exitUsage, "--row is a JSON object"},
		{[]string{"1", "--op", "x"}, exitUsage, "--op is r, c or u"},
		{[]string{"1", exampleFolder}, exitUsage, "DIR goes with --pipeline"},
		{[]string{"clean.email", "--row", `{"id":1,"email":" A@B.com "}`, "--pipeline", "customers_to_crm", exampleFolder}, 0, "\"a@b.com\"\ntext, may be NULL\n"},
		{[]string{"row.is_test", "--pipeline", "customers_to_crm", exampleFolder}, 1, "the value of is_test is needed: give it in --row"},
		{[]string{"row.id", "--row", `{"id":"x"}`, "--pipeline", "customers_to_crm", exampleFolder}, exitUsage, "column id is bigint: write a number, not string"},
		{[]string{"row.id", "--row", `{"ix":1}`, "--pipeline", "customers_to_crm", exampleFolder}, exitUsage, `has no column "ix"`},
		{[]string{"row.id", "--pipeline", "custmers", exampleFolder}, exitUsage, "it is one of customers_to_crm"},
	} {
		var out bytes.Buffer
		code := execute(append([]string{"eval"}, test.args...), &out, &out)
		if code != test.code || !strings.Contains(out.String(), test.want) {
			t.Errorf("eval %q ends with %d, want %d with %q:\n%s", test.args, code, test.code, test.want, &out)
		}
	}
}
