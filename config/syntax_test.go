package config_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/config"
)

// TestLongLine shows the place in a line that is too long, and no byte that a terminal would obey.
func TestLongLine(t *testing.T) {
	p, diags := load(t, "stream \"embedded\" {\n  /* "+strings.Repeat("x", 50_000)+"\x1b[31m */ nope = 1\n}\n")
	var out bytes.Buffer
	if err := p.Print(&out, config.Plain, diags); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	lines := strings.Split(text, "\n")
	if len(text) > 2000 || strings.Contains(text, "\x1b") || len(lines) < 3 {
		t.Fatalf("%d bytes:\n%.500q", len(text), text)
	}
	shown, caret := []rune(lines[1]), strings.IndexByte(lines[2], '^')
	if caret < 0 || string(shown[caret:caret+4]) != "nope" {
		t.Errorf("the caret is not below its place:\n%s\n%s", lines[1], lines[2])
	}
}

func TestNoFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.hcl")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for name, want := range map[string]string{
		file:                       "This is a file. A project is a folder: give " + dir,
		filepath.Join(dir, "none"): "There is no such folder",
		empty:                      "at least one .hcl file",
	} {
		_, diags := config.Load(name, config.Input{})
		if len(diags) != 1 || config.Code(diags[0]) != "E0001" || !strings.Contains(diags[0].Detail, want) {
			t.Errorf("%s: %v", name, diags)
		}
	}
}

// TestLargeFile refuses what is no configuration before it is read.
func TestLargeFile(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "a.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(9<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	p, diags := config.Load(dir, config.Input{})
	var out bytes.Buffer
	if err := p.Print(&out, config.Plain, diags); err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "a.hcl") + ":1:1: error[E0002]: File can't be read\n  it has 9 MiB"; !strings.Contains(out.String(), want) {
		t.Errorf("want %s, got:\n%s", want, out.String())
	}
}

// TestFileOfVariables has what people write into one.
func TestFileOfVariables(t *testing.T) {
	for text, want := range map[string]string{
		"stage = \"lead\n": "The quotes are not closed", "stage = lead\n": "texts in quotes", "ops { }\n": "has lines name = value", "stge = \"x\"\n": `Did you mean "stage"?`,
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "some.vars")
		for name, content := range map[string]string{file: text, filepath.Join(dir, "a.hcl"): "variable \"stage\" { default = \"1d\" }\nstream \"embedded\" { retention = var.stage }\n"} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, diags := config.Load(dir, config.Input{Files: []string{file}})
		var out bytes.Buffer
		if err := p.Print(&out, config.Plain, diags); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), file+":1:") || !strings.Contains(out.String(), want) {
			t.Errorf("%q gives:\n%s", text, out.String())
		}
	}
}
