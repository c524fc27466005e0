package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func TestFormat(t *testing.T) {
	for name, c := range map[string][2]string{
		"indentation and signs":         {"a{\nx=1\n   longer =  2 # two\n}", "a {\n  x      = 1\n  longer = 2 # two\n}\n"},
		"one-line blocks":               {"p \"x\" {\nkey { a = 1 } # one\nmatch   { bb = 2 }     # two\non \"delete\" { c = \"${d}\" }\n}\n", "p \"x\" {\n  key         { a = 1 }  # one\n  match       { bb = 2 } # two\n  on \"delete\" { c = \"${d}\" }\n}\n"},
		"not across an empty line":      {"a { x = 1 }\n\nlonger { y = 2 }\n", "a { x = 1 }\n\nlonger { y = 2 }\n"},
		"not with a block of more":      {"a { x = 1 }\nlonger {\n}\n", "a { x = 1 }\nlonger {\n}\n"},
		"empty lines":                   {"\n\n\na = 1\n\n\n\n# b\n\n\n\nc = 2\n\n\n", "a = 1\n\n# b\n\nc = 2\n"},
		"carriage returns":              {"a = 1 # x\r\n\r\n\r\n\r\nb = 2\r\n", "a = 1 # x\n\nb = 2\n"},
		"heredocs stay":                 {"a = <<EOT\n x   y \n\n\n\nz\nEOT\n\n\n\nb=1\n", "a = <<EOT\n x   y \n\n\n\nz\nEOT\n\nb = 1\n"},
		"braces in text":                {"a { x = \"}\" }\nlonger { y = \"{\" }\n", "a      { x = \"}\" }\nlonger { y = \"{\" }\n"},
		"wide letters count as one":     {"ä { x = 1 }\nbb { y = 2 }\n", "ä  { x = 1 }\nbb { y = 2 }\n"},
		"nothing":                       {"", ""},
		"only empty lines":              {"\n\n \n", ""},
		"comment without a line's end":  {"a { x = 1 }# c", "a { x = 1 } # c\n"},
		"comment in the middle of line": {"a /* c */ = 1", "a /* c */ = 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, diags := Format("t.hcl", []byte(c[0]))
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if diff := cmp.Diff(c[1], string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, diags := Format("t.hcl", []byte("a = = 1\n")); !diags.HasErrors() {
		t.Error("a file that does not parse was formatted")
	}
}

// FuzzFormat: what was formatted has the same tokens and is laid out already.
func FuzzFormat(f *testing.F) {
	names, _ := filepath.Glob("../examples/*/*.hcl")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("a { x = \"${b}\" } # c\nlonger \"l\" { y = [1,\n2] }\r\n\n\n\nz = <<-E\n a\n\n\n E\n")
	f.Fuzz(func(t *testing.T, text string) {
		out, diags := Format("t.hcl", []byte(text))
		if diags.HasErrors() {
			return
		}
		if got, want := meaning(t, out), meaning(t, []byte(text)); got != want {
			t.Errorf("the meaning changed:\n%s", cmp.Diff(want, got))
		}
		again, diags := Format("t.hcl", out)
		if diags.HasErrors() || string(again) != string(out) {
			t.Errorf("formatted again it differs: %v\n%s", diags, cmp.Diff(string(out), string(again)))
		}
	})
}

// meaning is a file's tokens without its layout.
func meaning(t *testing.T, text []byte) string {
	tokens, diags := hclsyntax.LexConfig(text, "t.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var b strings.Builder
	for _, tok := range tokens {
		switch tok.Type {
		case hclsyntax.TokenNewline, hclsyntax.TokenEOF:
		case hclsyntax.TokenComment:
			b.WriteString(strings.TrimSpace(strings.ReplaceAll(string(tok.Bytes), "\r\n", "\n")) + "\x00")
		default:
			b.WriteString(string(tok.Bytes) + "\x00")
		}
	}
	return b.String()
}
