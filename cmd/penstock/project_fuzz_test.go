package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/docs"
	"github.com/penstock-cdc/penstock/schema"
)

// FuzzProject takes any file from the parser to the tests' results, as validate and test do: nothing panics, and every
// diagnostic has a code that is documented, a place within the file, and can be written in each style.
func FuzzProject(f *testing.F) {
	lock, err := os.ReadFile("../../examples/customers-to-crm/" + schema.FileName)
	if err != nil {
		f.Fatal(err)
	}
	whole := ""
	for _, name := range []string{"customers.hcl", "tests.hcl"} {
		text, err := os.ReadFile("../../examples/customers-to-crm/" + name)
		if err != nil {
			f.Fatal(err)
		}
		whole += string(text)
	}
	f.Add(whole)
	for i, page := range docs.Errors() {
		if found := pageExample.FindStringSubmatch(page.Text); found != nil && i%3 == 0 {
			text := found[3]
			if found[2] == "pipeline" {
				text = fixtureHead + text + "}\n"
			}
			f.Add(text + fixtureRoot)
		}
	}
	for _, text := range []string{"", "\ufeff", "a", "pipeline \"p\" {\n", "x = \"\xff\"\n", "locals { a = local.a }\r\n", "test \"p\" \"t\" { for_each = [1, null] }\n"} {
		f.Add(text)
	}
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, schema.FileName), lock, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "exec") || strings.Contains(text, "file") || len(text) > 20_000 {
			t.Skip("a command, another file, or more than is told apart by it")
		}
		if err := os.WriteFile(filepath.Join(dir, "fuzz.hcl"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := (&cli{}).loadAs(dir, false)
		if !p.diags.HasErrors() && p.useLock() {
			programs, err := p.checkLocked(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range p.cases(programs) {
				one.Run()
			}
		}
		lines := strings.Count(text, "\n") + 1
		for _, d := range p.shown() {
			if _, known := docs.Error(config.Code(d)); !known || d.Summary == "" {
				t.Errorf("code %q: %s: %s", config.Code(d), d.Summary, d.Detail)
			}
			if d.Subject != nil && (d.Subject.Filename != "fuzz.hcl" || d.Subject.Start.Line < 1 || d.Subject.Start.Line > lines) {
				t.Errorf("%s is at %s", config.Code(d), d.Subject)
			}
		}
		for _, style := range []config.Style{config.Plain, config.Colour, config.JSON, config.GitHub} {
			var out bytes.Buffer
			if err := p.Print(&out, style, p.shown()); err != nil {
				t.Error(err)
			}
		}
	})
}
