package config

import (
	"bytes"
	"fmt"
	"regexp"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// ignore is a comment `# penstock:ignore W0301 reason`: it silences that warning in the line below.
type ignore struct {
	code string
	rng  hcl.Range
	used bool
}

var ignorePattern = regexp.MustCompile(`^(?:#|//)\s*penstock:ignore\b\s*(\S*)[ \t]*(.*)`)

const ignoreForm = "Write # penstock:ignore W0301 and the reason, on the line above."

// Silence takes the warnings out that a comment on the line above silences. Checked
// tells whether a code was looked for everywhere: then a comment that silences nothing
// gets a warning of its own.
func (p *Project) Silence(diags hcl.Diagnostics, checked func(code string) bool) hcl.Diagnostics {
	ignores, found := p.ignores()
	if len(ignores) == 0 && len(found) == 0 {
		return diags
	}
	var out hcl.Diagnostics
	for _, d := range diags {
		if d.Severity != hcl.DiagWarning || d.Subject == nil || !silenced(ignores, d) {
			out = append(out, d)
		}
	}
	for _, lines := range ignores {
		for _, ig := range lines {
			if !ig.used && checked(ig.code) && !diags.HasErrors() {
				found = append(found, Warnf("W0105", &ig.rng, "Silences nothing", fmt.Sprintf("There is no %s in the line below: take the comment out.", ig.code)))
			}
		}
	}
	return Normalize(append(out, found...))
}

// place is a line of a file.
type fileLine struct {
	file string
	line int
}

// silenced looks at the comments right above a warning, several on lines of their own.
func silenced(ignores map[fileLine][]*ignore, d *hcl.Diagnostic) bool {
	for at := (fileLine{d.Subject.Filename, d.Subject.Start.Line - 1}); ; at.line-- {
		lines := ignores[at]
		if len(lines) == 0 {
			return false
		}
		for _, ig := range lines {
			if ig.code == Code(d) {
				ig.used = true
				return true
			}
		}
	}
}

// ignores finds the comments, and what is wrong with them.
func (p *Project) ignores() (map[fileLine][]*ignore, hcl.Diagnostics) {
	out := map[fileLine][]*ignore{}
	var diags hcl.Diagnostics
	for name, file := range p.files {
		if !bytes.Contains(file.Bytes, []byte("penstock:ignore")) {
			continue
		}
		tokens, _ := hclsyntax.LexConfig(file.Bytes, name, hcl.InitialPos)
		for _, t := range tokens {
			m := ignorePattern.FindSubmatch(bytes.TrimSpace(t.Bytes))
			if t.Type != hclsyntax.TokenComment || m == nil {
				continue
			}
			code, rng := string(m[1]), t.Range
			rng.End = rng.Start
			rng.End.Column += len(bytes.TrimSpace(t.Bytes))
			switch {
			case len(code) == 5 && code[0] == 'E':
				diags = append(diags, Warnf("W0105", &rng, "Errors can't be silenced", "Mend what "+code+" says."))
			case len(code) != 5 || code[0] != 'W':
				diags = append(diags, Warnf("W0105", &rng, "Not the code of a warning", ignoreForm))
			case len(m[2]) == 0:
				diags = append(diags, Warnf("W0105", &rng, "No reason given", "Say why it is fine: "+ignoreForm))
				fallthrough
			default:
				at := fileLine{name, rng.Start.Line}
				out[at] = append(out[at], &ignore{code: code, rng: rng})
			}
		}
	}
	return out, diags
}
