package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/config"
)

const good = `
penstock { data_dir = "data" }
secret "hubspot" { value = env("PENSTOCK_TEST_TOKEN", "t") }
source "postgres" "shop" {
  url = "postgres://localhost/shop"
  table "customers" { name = "public.customers" }
}
app "hubspot" "crm" { token = secret.hubspot }
ops { listen = "127.0.0.1:0" }
stream "embedded" { retention = "7d" }
`

const pipeline = `
pipeline "p" {
  from  = source.postgres.shop.customers
  to    = app.hubspot.crm.contacts
  run   = live()
  where = row.deleted_at == null
  clean { email = lower(row.email) }
  reject "no_email" {
    when    = clean.email == null
    message = "no ${row.id}"
  }
  key   { shop_customer_id = tostring(row.id) }
  match { email = clean.email }
  fields "source" {
    email     = clean.email
    firstname = row.first_name
  }
  fields "app" { lifecyclestage = "lead" }
  on "delete" { action = "delete" }
  deliver { linger = "20ms" }
  guard { max_deletes = "2%" }
}
`

func load(t *testing.T, text string) (*config.Project, hcl.Diagnostics) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(dir, config.Input{})
}

func TestLoad(t *testing.T) {
	p, diags := load(t, good+pipeline)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	if ds := append(p.CheckSecrets(), p.CheckSensitive()...); len(ds) > 0 {
		t.Fatal(ds)
	}
	if got, want := p.DataDir, filepath.Join(p.Dir, "data"); got != want {
		t.Errorf("data_dir is %s, want %s", got, want)
	}
	if p.Stream.Retention != 7*24*time.Hour || p.Ops.Listen != "127.0.0.1:0" {
		t.Errorf("settings are %+v, %+v", p.Stream, p.Ops)
	}
	pipe := p.Pipelines[0]
	if pipe.From.Source != "shop" || pipe.From.Table != "customers" || pipe.To.App != "crm" || pipe.To.Object != "contacts" {
		t.Errorf("pipeline goes from %+v to %+v", pipe.From, pipe.To)
	}
	if len(pipe.Fields) != 3 || pipe.Fields[1].Name != "firstname" || pipe.Fields[2].Group != config.OwnedByApp {
		t.Errorf("fields are %+v", pipe.Fields)
	}
	if !reflect.DeepEqual(pipe.On, config.On{Delete: "delete", Leave: "archive", AppDelete: "hold"}) || pipe.Deliver.Linger != 20*time.Millisecond || pipe.Guard.MaxDeletes.Share != 0.02 {
		t.Errorf("got %+v, %+v, %+v", pipe.On, pipe.Deliver, pipe.Guard)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	os.Unsetenv("PENSTOCK_UNSET")
	for _, c := range []struct{ name, text, want string }{
		{"syntax", `source "x" {`, "E0003"},
		{"block", `sorce "postgres" "x" { }`, `a.hcl:1:1: error[E0101]: Unsupported block type`},
		{"block in pipeline", "pipeline \"p\" {\n  feilds \"source\" {\n  }\n}", "Did you mean \"fields\"?"},
		{"argument", `ops { lisen = "x" }`, `Did you mean "listen"?`},
		{"missing", `ops { }`, `error[E0103]: Missing required argument`},
		{"unset", "secret \"s\" { value = env(\"PENSTOCK_UNSET\") }", "environment variable PENSTOCK_UNSET is not set"},
		{"plain secret", `secret "s" { value = "abc" }`, "E0204"},
		{"token in the open", `app "hubspot" "crm" { token = "abc" }`, "E0205"},
		{"unknown secret", `secret "hubspot" { value = env("HOME") }` + "\n" + `app "hubspot" "crm" { token = secret.hubspt }`, `Did you mean "hubspot"?`},
		{"twice", `app "hubspot" "crm" { }` + "\n" + `app "discard" "crm" { }`, `a.hcl:2:1: error[E0105]: Second app named "crm"`},
		{"stream kind", `stream "kafak" { }`, `Did you mean "kafka"?`},
		{"duration", `stream "embedded" { retention = "7 days" }`, `a.hcl:1:33: error[E0107]`},
		{"later block", `lookup "a" { }`, `Not yet: lookup blocks`},
		{"later group", strings.Replace(pipeline, `fields "app"`, `fields "latest"`, 1), `Not yet: fields "latest"`},
		{"group", strings.Replace(pipeline, `fields "app"`, `fields "ap"`, 1), `Unknown group of fields "ap"`},
		{"schedule", strings.Replace(pipeline, `live()`, `cron("30 2 * * *", "Berlin")`, 1), `"Berlin" is not a time zone`},
		{"from", strings.Replace(pipeline, `source.postgres.shop.customers`, `shop.customers`, 1), `Write source.postgres.shop.customers`},
		{"action", strings.Replace(pipeline, `action = "delete"`, `action = "drop"`, 1), `Unknown action "drop"`},
		{"limit", strings.Replace(pipeline, `"2%"`, `"two"`, 1), `"two" is not a limit`},
		{"no key", strings.Replace(pipeline, `key   { shop_customer_id = tostring(row.id) }`, ``, 1), `No key block`},
		{"alert kind", `alert "mail" "ops" { }`, `There is webhook`},
		{"alert url", `alert "webhook" "ops" { url = "ops.example.com" }`, `a.hcl:1:31: error[E0107]: Invalid url`},
		{"alert about", `alert "webhook" "ops" {` + "\n  url = \"http://ops.example.com\"\n  on  = [\"gaurd\"]\n}", `Did you mean "guard"?`},
		{"alert rate", `alert "webhook" "ops" {` + "\n  url        = \"http://ops.example.com\"\n  quarantine = \"100 per hour\"\n}", `"100 per hour" is not a rate`},
		{"alert time", `alert "webhook" "ops" {` + "\n  url = \"http://ops.example.com\"\n  lag = \"5s\"\n}", `lag is at least "1m"`},
		{"alert key", `alert "webhook" "ops" {` + "\n  url         = \"http://ops.example.com\"\n  signing_key = \"abc\"\n}", `E0205`},
		{"name", `pipeline "a b" { }`, "E0106"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, diags := load(t, c.text)
			diags = append(append(diags, p.CheckSecrets()...), p.CheckSensitive()...)
			var out bytes.Buffer
			if err := p.Print(&out, config.Plain, diags); err != nil {
				t.Fatal(err)
			}
			if !diags.HasErrors() || !strings.Contains(out.String(), c.want) {
				t.Errorf("want a diagnostic with %s, got:\n%s", c.want, &out)
			}
		})
	}
}

func TestDiagnosticShowsTheLineWithACaret(t *testing.T) {
	p, diags := load(t, "stream \"embedded\" {\n  retention = \"soon\"\n}\n")
	var out bytes.Buffer
	if err := p.Print(&out, config.Plain, diags); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(p.Dir, "a.hcl") + `:2:15: error[E0107]: Value can't be used
  2 |   retention = "soon"
    |               ^^^^^^
  "soon" is not a duration: write "50ms", "15m" or "7d"
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", &out, want)
	}
}

func TestAlert(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_HOOK", "https://ops.example.com/hooks/t0p")
	p, diags := load(t, `
secret "hook" { value = env("PENSTOCK_TEST_HOOK") }
secret "key" { value = env("PENSTOCK_TEST_KEY", "k") }
alert "webhook" "usual" { url = secret.hook }
alert "webhook" "other" {
  url           = "http://127.0.0.1/"
  signing_key   = secret.key
  on            = ["lag", "guard"]
  repeat        = "1d"
  quarantine    = "5 in 15m"
  lag           = "1h"
  stalled       = "2h"
  wal_retention = "1GiB"
}
`)
	if diags = append(diags, p.CheckSensitive()...); len(diags) > 0 {
		t.Fatal(diags)
	}
	a := p.Alerts[0]
	if a.URL != "https://ops.example.com/hooks/t0p" || len(a.On) != 6 || a.Repeat != 4*time.Hour || a.Quarantine != (config.Rate{Count: 100, Within: time.Hour}) ||
		a.Lag != 10*time.Minute || a.Stalled != 15*time.Minute || a.WALRetention != 10<<30 || a.SigningKey != "" {
		t.Errorf("got %+v", a)
	}
	a = p.Alerts[1]
	if a.SigningKey != "k" || len(a.On) != 2 || a.Repeat != 24*time.Hour || a.Quarantine != (config.Rate{Count: 5, Within: 15 * time.Minute}) ||
		a.Lag != time.Hour || a.Stalled != 2*time.Hour || a.WALRetention != 1<<30 {
		t.Errorf("got %+v", a)
	}
}
