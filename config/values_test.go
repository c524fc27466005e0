package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/config"
)

// loadWith loads a project of one file with values for its variables, and returns its diagnostics as they are shown.
func loadWith(t *testing.T, in config.Input, text string) (*config.Project, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, diags := config.Load(dir, in)
	var out bytes.Buffer
	if err := p.Print(&out, config.Plain, p.Silence(diags, func(string) bool { return true })); err != nil {
		t.Fatal(err)
	}
	return p, out.String()
}

// use makes a value used, so that there is no warning.
const use = "\nlocals {\n  # penstock:ignore W0101 only here\n  used = [%s]\n}\n"

func uses(names string) string { return strings.Replace(use, "%s", names, 1) }

func TestVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prod.vars")
	if err := os.WriteFile(file, []byte("a = \"file\"\nlist = [\"x\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PENSTOCK_VAR_n", "12.50")
	t.Setenv("PENSTOCK_VAR_s", "12.50")
	t.Setenv("PENSTOCK_VAR_a", "env")
	const text = `
variable "a" { default = "default" }
variable "n" { type = number }
variable "s" { type = string }
variable "list" { type = list(string) }
variable "object" {
  type    = object({ a = string, b = optional(number, 5) })
  default = { a = 1 }
}
variable "nothing" { default = null }
`
	p, out := loadWith(t, config.Input{Files: []string{file}}, text+uses("var.a, var.n, var.s, var.list, var.object, var.nothing"))
	if out != "" {
		t.Fatal(out)
	}
	want := map[string]cty.Value{
		"a": cty.StringVal("file"), "n": cty.MustParseNumberVal("12.5"), "s": cty.StringVal("12.50"), "list": cty.ListVal([]cty.Value{cty.StringVal("x")}),
		"object": cty.ObjectVal(map[string]cty.Value{"a": cty.StringVal("1"), "b": cty.NumberIntVal(5)}), "nothing": cty.NullVal(cty.DynamicPseudoType),
	}
	for name, w := range want {
		if !p.Vars[name].RawEquals(w) {
			t.Errorf("var.%s is %#v, want %#v", name, p.Vars[name], w)
		}
	}
	p, _ = loadWith(t, config.Input{Files: []string{file}, Vars: []string{"a=one=1", `list=["y", "z"]`}}, text)
	if got := p.Vars["a"]; got.AsString() != "one=1" || p.Vars["list"].LengthInt() != 2 {
		t.Errorf("-var gives %#v and %#v", got, p.Vars["list"])
	}
}

func TestWrongValues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wrong.vars")
	if err := os.WriteFile(file, []byte("n = \"many\"\nmm = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := func(all ...string) config.Input { return config.Input{Vars: all} }
	number := "variable \"n\" { type = number }\n" + uses("var.n")
	for _, c := range []struct {
		name string
		in   config.Input
		text string
		want []string
	}{
		{"none", config.Input{}, number, []string{`a.hcl:1:1: error[E0113]: Variable "n" has no value`, "PENSTOCK_VAR_n"}},
		{"not a number", vars("n=many"), number, []string{`a.hcl:1:1: error[E0114]`, "no expression of type number"}},
		{"its text is not told", vars(`n="hunter2"`), number, []string{"a number is required"}},
		{"misspelt", vars("m=1"), number, []string{`error[E0116]: There is no variable "m"`, `Did you mean "n"?`}},
		{"no value", vars("n"), number, []string{`error[E0107]: -var n has no value`}},
		{"file", config.Input{Files: []string{file}}, number, []string{`wrong.vars:1:5: error[E0114]`, "a.hcl:1:1: declared here", `wrong.vars:2:1: error[E0116]`}},
		{"no file", config.Input{Files: []string{"nowhere"}}, number, []string{"error[E0002]"}},
		{"default", config.Input{}, "variable \"n\" {\n  type = list(number)\n  default = [\"a\"]\n}\n" + uses("var.n"), []string{"a.hcl:3:13: error[E0114]"}},
		{"type", config.Input{}, "variable \"n\" {\n  type = text\n default = 1\n}\n" + uses("var.n"), []string{"a.hcl:2:10: error[E0107]", "Did you mean string?"}},
		{"type of what", config.Input{}, "variable \"n\" {\n  type = list\n default = 1\n}\n" + uses("var.n"), []string{"list(string)"}},
		{"attribute", config.Input{}, "variable \"n\" {\n  defualt = 1\n}\n" + uses("var.n"), []string{"E0102", "default"}},
		{"validation", vars("n=0"), "variable \"n\" {\n  type = number\n  validation {\n    condition = var.n > 0\n    error_message = \"more than ${var.n}\"\n  }\n}\n" + uses("var.n"), []string{"E0115", "more than 0 The value is from -var.", "a.hcl:3:3: checked here"}},
		{"sensitive", vars("n=hunter2"), "variable \"n\" {\n  sensitive = true\n  validation {\n    condition = var.n == \"\"\n    error_message = \"not ${var.n}\"\n  }\n}\n" + uses("var.n"), []string{"E0115", "is not shown"}},
		{"unknown", config.Input{}, "locals { a = vra.x }\nops { listen = local.b }\n", []string{"E0203", "E0308", `There is no local.b. Did you mean "a"?`}},
		{"circle", config.Input{}, "locals {\n  a = local.b\n  b = local.a\n}\n", []string{"E0117", "is computed from itself"}},
		{"row", config.Input{}, "locals { a = lower(row.email) }\nops { listen = local.a }\n", []string{"a.hcl:1:20: error[E0203]", "clean block"}},
		{"secret in a local", config.Input{}, "secret \"s\" { value = env(\"HOME\") }\nlocals { a = secret.s }\nops { listen = local.a }\n", []string{"E0203", "Secrets do not go into locals"}},
		{"twice", config.Input{}, "locals { a = 1 }\nlocals { a = 2 }\nops { listen = local.a }", []string{"a.hcl:2:10: error[E0105]", "a.hcl:1:10: the first is here"}},
		{"unused", config.Input{}, "locals { a = 1 }\nvariable \"v\" { default = 1 }\nsecret \"s\" { value = env(\"HOME\") }\nfunction \"f\" { result = 1 }\n", []string{"W0101", "W0102", "W0103", "W0104"}},
		{"own validation is no use", config.Input{}, "variable \"v\" {\n  default = 1\n  validation {\n    condition = var.v == 1\n    error_message = \"\"\n  }\n}\n", []string{"W0102"}},
		{"parameters", config.Input{}, "function \"f\" {\n  params = [\"a\"]\n  result = 1\n}\n", []string{"a.hcl:2:13: error[E0107]", "without quotes"}},
		{"parameter twice", config.Input{}, "function \"f\" {\n  params = [a, a]\n  result = a\n}\n", []string{"a.hcl:2:16: error[E0105]"}},
		{"errors are not silenced", config.Input{}, "# penstock:ignore E0101 please\nfoo { }\n", []string{"E0101", "W0105", "Errors can't be silenced"}},
		{"nothing to silence", config.Input{}, "# penstock:ignore W0101 please\nops { listen = \"127.0.0.1:0\" }\n", []string{"a.hcl:1:1: warning[W0105]: Silences nothing"}},
		{"no reason", config.Input{}, "# penstock:ignore W0104\nfunction \"f\" { result = 1 }\n", []string{"W0105]: No reason given"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, out := loadWith(t, c.in, c.text)
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("want %s in:\n%s", w, out)
				}
			}
			if strings.Contains(out, "hunter2") {
				t.Errorf("a value is told:\n%s", out)
			}
		})
	}
}

func TestIgnoredWarnings(t *testing.T) {
	_, out := loadWith(t, config.Input{}, "# penstock:ignore W0104 called by nobody yet\nfunction \"f\" { result = 1 }\nlocals {\n  # penstock:ignore W0303 none\n  // penstock:ignore W0101 kept for later\n  a = 1\n}\n")
	if strings.Count(out, "warning") != 1 || !strings.Contains(out, "There is no W0303") {
		t.Errorf("got:\n%s", out)
	}
}

func TestForEach(t *testing.T) {
	const head = `
source "postgres" "shop" {
  url = "postgres://localhost/shop"
  table "customers_eu" { name = "eu.customers" }
}
app "discard" "a" { }
`
	block := func(each string) string {
		return head + "pipeline \"p\" {\n  for_each = " + each + `
  from     = source.postgres.shop["customers_${lower(each.key)}"]
  to       = app.discard.a[each.key]
  key { id = tostring(row.id) }
  fields "source" { email = row.email }
  deliver { linger = each.key == "EU" ? "20ms" : "0s" }
}
`
	}
	for _, c := range []struct {
		each, names string
		value       cty.Value
	}{
		{`["EU", "US"]`, "p.EU p.US", cty.StringVal("EU")},
		{`toset(["b", "a", "b"])`, "p.a p.b", cty.StringVal("a")},
		{`{ x = 1, EU = [2] }`, "p.EU p.x", cty.TupleVal([]cty.Value{cty.NumberIntVal(2)})},
		{`[1, 2]`, "p.1 p.2", cty.NumberIntVal(1)},
		{`{ for r in [{ n = "a" }, { n = "b" }] : r.n => r }`, "p.a p.b", cty.ObjectVal(map[string]cty.Value{"n": cty.StringVal("a")})},
		{`{}`, "", cty.NilVal},
	} {
		p, out := loadWith(t, config.Input{}, block(c.each))
		var names []string
		for _, pipe := range p.Pipelines {
			names = append(names, pipe.Name)
		}
		if out != "" || strings.Join(names, " ") != c.names {
			t.Errorf("%s makes %v:\n%s", c.each, names, out)
			continue
		}
		if len(names) > 0 && !p.Pipelines[0].Each["value"].RawEquals(c.value) {
			t.Errorf("%s: each.value is %#v", c.each, p.Pipelines[0].Each["value"])
		}
	}
	p, _ := loadWith(t, config.Input{}, block(`["EU", "US"]`))
	if one := p.Pipelines[0]; one.From.Table != "customers_eu" || one.To.Object != "EU" || one.Deliver.Linger == 0 || p.Pipelines[1].Deliver.Linger != 0 {
		t.Errorf("each is not put in: %+v", one)
	}
	for _, c := range [][2]string{
		{`["a b"]`, `Key "a b" can't be used`}, {`["a", "a"]`, `Key "a" comes twice`}, {`[null]`, "Element has no key"}, {`[{ a = 1 }]`, "{ for x in list : x.name => x }"},
		{`"EU"`, "for_each needs a map"}, {`null`, "for_each needs a map"}, {`local.regoins`, "There is no local.regoins"}, {`row.tags`, `row is not known in for_each`},
	} {
		if _, out := loadWith(t, config.Input{}, block(c[0])); !strings.Contains(out, c[1]) || strings.Count(out, "error[") != 1 {
			t.Errorf("%s gives:\n%s", c[0], out)
		}
	}
	sensitive := "variable \"s\" {\n  default = [\"EU\"]\n  sensitive = true\n}\n"
	if _, out := loadWith(t, config.Input{}, sensitive+block(`var.s`)); !strings.Contains(out, "sensitive") || strings.Contains(out, "EU") && !strings.Contains(out, "E0118") {
		t.Errorf("got:\n%s", out)
	}
}

func TestSettingsUseVariables(t *testing.T) {
	p, out := loadWith(t, config.Input{Vars: []string{"days=3"}}, `
variable "days" { type = number }
locals { keep = "${var.days * 2}d" }
stream "embedded" { retention = local.keep }
`)
	if out != "" || p.Stream.Retention.Hours() != 144 {
		t.Errorf("retention is %s:\n%s", p.Stream.Retention, out)
	}
}
