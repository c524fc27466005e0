package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/schema"
)

// TestColumnsOfTableBlocks has names that the schema lock does not know, at their places, with no network and no environment.
func TestColumnsOfTableBlocks(t *testing.T) {
	dir := t.TempDir()
	lock, err := os.ReadFile(filepath.Join(exampleFolder, schema.FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HUBSPOT_TOKEN", "token")
	files := map[string]string{schema.FileName: string(lock), "a.hcl": `
locals { personal = ["phone", "emial"] }
secret "shop" { value = env("PENSTOCK_NOT_SET", "postgres://shop@127.0.0.1:1/shop") }
source "postgres" "shop" {
  url = secret.shop
  table "customers" {
    name    = "public.customers"
    exclude = ["in_no_lock"]
    pii     = local.personal
    key     = ["id", "nr"]
  }
}
`}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	code := execute([]string{"validate", dir}, &out, &out)
	for _, want := range []string{`a.hcl:10:22: error[E0462]: key names column "nr"`, `a.hcl:9:15: error[E0462]: pii names column "emial", which public.customers does not have`, `Did you mean "email"?`} {
		if !strings.Contains(out.String(), want) || code != exitFailed {
			t.Errorf("validate ends with %d and lacks %q:\n%s", code, want, out.String())
		}
	}
	if strings.Contains(out.String(), "exclude names") {
		t.Errorf("exclude is not compared with the lock:\n%s", out.String())
	}
}
