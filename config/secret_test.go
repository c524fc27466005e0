package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-cdc/penstock/config"
)

// TestSecretsAreReadAgain: a file or command may give another value later, while what was read at the start stays.
func TestSecretsAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("p.hcl", `
secret "file"    { value = file("token") }
secret "command" { value = exec("cat", "token") }
`)
	write("token", "old\n")
	p, diags := config.Load(dir, config.Input{})
	if diags.HasErrors() || p.CheckSecrets().HasErrors() {
		t.Fatal(diags)
	}
	write("token", "new\n")
	fresh, err := p.FreshContext()
	if err != nil {
		t.Fatal(err)
	}
	now, then := fresh.Variables["secret"], p.EvalContext().Variables["secret"]
	for _, name := range []string{"file", "command"} {
		if got, was := now.GetAttr(name).AsString(), then.GetAttr(name).AsString(); got != "new" || was != "old" {
			t.Errorf("%s: %q now, %q at the start", name, got, was)
		}
	}
	if err := os.Remove(filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.FreshContext(); err == nil {
		t.Error("a secret whose file is gone")
	}
}
