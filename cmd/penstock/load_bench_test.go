package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
)

// BenchmarkFiftyPipelines reads, checks and compiles a project of 50 pipelines, each with 12 fields.
func BenchmarkFiftyPipelines(b *testing.B) {
	var text strings.Builder
	text.WriteString(fixtureRoot)
	for i := range 50 {
		fmt.Fprintf(&text, `
app "discard" "app%d" { }
pipeline "p%d" {
  from  = source.postgres.shop.customers
  to    = app.discard.app%d.people
  where = row.is_test != true && row.email != null
  clean {
    email = email_normalize_or(row.email, null)
    phone = phone_e164_or(row.phone, coalesce(row.country, "US"), null)
  }
  reject "no_email" {
    when    = clean.email == null
    message = "customer ${row.id} has no usable e-mail"
  }
  key { id = tostring(row.id) }
  fields "source" {
    email   = clean.email
    phone   = clean.phone
    first   = title_case(trim(row.first_name))
    last    = title_case(trim(row.last_name))
    name    = concat_ws(" ", row.first_name, row.last_name)
    mrr     = major(row.mrr_cents, "EUR")
    country = country_name_or(row.country, null)
    tags    = [for t in row.tags : lower(t)]
    city    = json_get(row.data, "address.city")
    stage   = lookup_map(row.plan, { free = "lead", pro = "customer" }, "other")
    since   = format_time(row.created_at, "%%d.%%m.%%Y")
    plain   = regex_replace(row.notes, "[^a-z]", "")
  }
}
`, i, i, i)
	}
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p := (&cli{}).load(dir)
		p.tables["shop"] = []*change.Table{fixtureTable()}
		for name := range p.apps {
			p.apps[name] = struct{ sink.App }{}
		}
		programs, err := p.compile(b.Context(), p.live, nil)
		if err != nil || len(programs) != 50 || p.diags.HasErrors() {
			b.Fatalf("%d programs, %v, %v", len(programs), err, p.diags)
		}
	}
}
