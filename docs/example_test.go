package docs_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penstock-cdc/penstock/integration/binary"
	"github.com/penstock-cdc/penstock/integration/service"
	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

// The blocks that a fragment is laid between, so that it is a project.
const (
	around = `
secret "hubspot" { value = env("HUBSPOT_TOKEN") }
`
	database = `
source "postgres" "shop" {
  url = env("SHOP_URL")
  table "customers" { name = "public.customers" }
}
`
	crm = `
app "hubspot" "crm" {
  token    = secret.hubspot
  base_url = env("HUBSPOT_URL")
}
`
	pipelineHead = `
pipeline "fragment" {
  from = source.postgres.shop.customers
  to   = app.hubspot.crm.contacts
`
)

// project is what a fence's text is tried as, and whether against the live servers.
//
// A fence with no info string is a whole project. fragment=root has blocks of one,
// fragment=pipeline the content of a pipeline block; fragment=test has test blocks of the first example; fragment=mysql is like root, but is
// only read, since the servers of this test are Postgres.
func project(p page, f fence) (text string, live bool, err error) {
	has := func(block string) string {
		if strings.Contains(f.text, block) {
			return ""
		}
		return block
	}
	need := func(block, with string) string {
		if has(block) == "" {
			return ""
		}
		return with
	}
	switch f.info {
	case "":
		if p.name == "docs/simulator.md" {
			return around + database + f.text, true, nil
		}
		return f.text, true, nil
	case "fragment=root":
		// The Kafka that an example names is not there to be asked, and neither is asked by validate.
		return need(`secret "hubspot"`, around) + f.text, true, nil
	case "fragment=mysql":
		return around + f.text, false, nil
	case "fragment=pipeline":
		return around + database + crm + pipelineHead + f.text + "}\n", true, nil
	}
	return "", false, fmt.Errorf("unknown info string %q", f.info)
}

const table = `CREATE TABLE customers (id bigint PRIMARY KEY, email text, first_name text, last_name text, phone text, country char(2), title text,
	mrr_cents bigint NOT NULL DEFAULT 0, is_test boolean NOT NULL DEFAULT false, notes text, deleted_at timestamptz)`

// TestExamples validates every HCL example, against a real Postgres and the simulator.
// Those of docs/language.md are compiled by the tests of transform, those of docs/errors
// by the tests of cmd/penstock.
func TestExamples(t *testing.T) {
	url := service.Database(t, service.Shared(t, "postgres18"))
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	properties, err := os.Open(filepath.Join(root, "examples/customers-to-crm/hubspot.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer properties.Close()
	app := httptest.NewServer(simulator.New(hubspot.New(), simulator.Options{NoLimits: true, Data: properties}))
	t.Cleanup(app.Close)
	env := []string{"SHOP_URL=" + url, "ERP_URL=mysql://erp:erp@127.0.0.1:3306/", "HUBSPOT_URL=" + app.URL, "HUBSPOT_TOKEN=token", "HOOKS_KEY=key"}
	n := 0
	for _, p := range pages(t) {
		for _, f := range p.fences() {
			if f.language != "hcl" || p.name == "docs/language.md" || strings.HasPrefix(p.name, "docs/errors/") {
				continue
			}
			n++
			t.Run(fmt.Sprintf("%s:%d", p.name, f.line), func(t *testing.T) {
				if f.info == "fragment=test" {
					runTests(t, f.text)
					return
				}
				text, live, err := project(p, f)
				if err != nil {
					t.Fatal(err)
				}
				// An app that an example leaves at the vendor's own address is asked at the simulator.
				text = strings.ReplaceAll(text, "app \"hubspot\" \"crm\" { token = secret.hubspot }", crm)
				text = strings.ReplaceAll(text, `"http://127.0.0.1:8900"`, `env("HUBSPOT_URL")`)
				if !strings.Contains(text, "slot ") { // others use this server, and the default name
					text = strings.ReplaceAll(text, "source \"postgres\" \"shop\" {", "source \"postgres\" \"shop\" {\n  slot = \"docs_example\"")
				}
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "example.hcl"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				validate(t, env, f.info, dir)
				if live {
					validate(t, env, f.info, "--live", dir)
				}
			})
		}
	}
	if n < 10 {
		t.Errorf("found %d examples", n)
	}
}

// runTests runs test blocks on the pipeline of the first example; all must pass.
func runTests(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"tests.hcl": text}
	for _, name := range []string{"customers.hcl", "schema.lock.json"} {
		files[name] = read(t, filepath.Join(root, "examples/customers-to-crm", name))
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, problems, code, err := binary.Output(nil, "test", dir)
	if err != nil || code != 0 || !strings.Contains(out, "ok  ") {
		t.Errorf("test ends with %d, %v:\n%s%s", code, err, out, problems)
	}
}

// TestMistakenExample makes sure that an example with a mistake would be found.
func TestMistakenExample(t *testing.T) {
	text, _, err := project(page{}, fence{info: "fragment=pipeline", text: "key { id = tostring(row.id) }\nfields \"sorce\" { email = row.email }\n"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "example.hcl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, code, err := binary.Output([]string{"SHOP_URL=postgres://a@b/c", "HUBSPOT_URL=http://127.0.0.1:1", "HUBSPOT_TOKEN=token"}, "validate", dir)
	if err != nil || code != 1 || !strings.Contains(out, `Did you mean "source"?`) {
		t.Errorf("code %d, %v:\n%s", code, err, out)
	}
}

// unusedWarning is what a fragment may get for what only the rest of its project would use.
var unusedWarning = regexp.MustCompile(`warning\[W010[1-4]\]`)

// serverWarning is about the test's server, which does not bound the WAL of its slots, and not about the example.
var serverWarning = regexp.MustCompile(`warning\[W0401\]`)

func validate(t *testing.T, env []string, kind string, args ...string) {
	t.Helper()
	out, problems, code, err := binary.Output(env, append([]string{"validate"}, args...)...)
	warned := serverWarning.ReplaceAllString(out, "")
	if kind != "" {
		warned = unusedWarning.ReplaceAllString(warned, "")
	}
	if err != nil || code != 0 || strings.Contains(warned, "warning[") {
		t.Errorf("validate %v ends with %d, %v:\n%s%s", args, code, err, out, problems)
	}
}

// TestProjects validates the projects of examples/ as they are, and runs their tests with nothing set in the environment.
func TestProjects(t *testing.T) {
	locks, err := filepath.Glob(filepath.Join(root, "examples/*/schema.lock.json"))
	if err != nil || len(locks) < 5 {
		t.Fatalf("examples: %v, %v", locks, err)
	}
	for _, lock := range locks {
		dir := filepath.Dir(lock)
		validate(t, []string{"SHOP_URL=postgres://shop@127.0.0.1/shop", "ERP_URL=mysql://erp@127.0.0.1/", "HUBSPOT_TOKEN=token", "LIST_KEY=key"}, "", dir)
		if out, _, code, err := binary.Output(nil, "fmt", "--check", dir); err != nil || code != 0 {
			t.Errorf("penstock fmt has something to do in %s: %v", out, err)
		}
		if out, problems, code, err := binary.Output(nil, "test", dir); err != nil || code != 0 || !strings.Contains(out, "ok  ") {
			t.Errorf("test ends with %d, %v:\n%s%s", code, err, out, problems)
		}
	}
}

// TestTour finds every example in the tour.
func TestTour(t *testing.T) {
	tour := one(t, "docs/tour.md").text
	entries, err := os.ReadDir(filepath.Join(root, "examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.Contains(tour, ": `examples/"+e.Name()+"`\n") {
			t.Errorf("docs/tour.md does not go through examples/%s", e.Name())
		}
	}
}
