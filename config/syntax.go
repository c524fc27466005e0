package config

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// derailing are the parser's summaries after which it does not know any more where it is: what it says of the rest of
// the file is about text that it has read as something else.
var derailing = []string{
	"Invalid multi-line string", "Unterminated template string", "Unclosed", "Invalid character encoding", "Extra characters after interpolation expression",
	"Invalid block definition", "Missing argument separator", "Unbalanced", "Unterminated",
}

// foreign are words and signs of other languages at which the parser stops, and what is written here instead.
var foreign = map[string]string{
	"and": "Write && for and.", "or": "Write || for or.", "not": "Write ! for not.", "is": "Write == null, or != null.", "like": "Write starts_with(), ends_with(), contains() or regex_match().",
	"in": "Write contains(list, value).", "between": "Write value >= a && value <= b.", "if": "Write condition ? a : b.", "=": "Write == to compare.", "<>": "Write != for <>.",
	"\u00a0": "There is a no-break space, as word processors and web pages have it: write a space.", "+": "A number has no plus sign in front.",
}

var word = regexp.MustCompile(`^(?:[a-zA-Z_]+|=|\x{a0}|\+)`)

// syntaxErrors is what the parser says of a file, without what only follows from the first mistake, and with what is
// to be written instead where that is known.
func syntaxErrors(text []byte, diags hcl.Diagnostics) (out hcl.Diagnostics, derailed bool) {
	line := 0
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		if a.Subject == nil || b.Subject == nil {
			return 0
		}
		return a.Subject.Start.Byte - b.Subject.Start.Byte
	})
	for _, d := range diags {
		if d.Severity != hcl.DiagError || d.Subject == nil || d.Summary == "Attribute redefined" { // which has a code of its own
			out = append(out, d)
			continue
		}
		if d.Subject.Start.Line == line || line > 0 && d.Subject.Start.Line == line+1 && follows(d) {
			continue // the same mistake, seen by the scanner and the parser
		}
		line = d.Subject.Start.Line
		d.Extra = extra{code: "E0003", syntax: true}
		summary := d.Summary
		explain(text, d)
		out = append(out, d)
		if slices.ContainsFunc(derailing, func(s string) bool { return strings.HasPrefix(summary, s) }) {
			return out, true
		}
	}
	return out, false
}

// follows tells what the parser says at the end of a line in which something else is wrong.
func follows(d *hcl.Diagnostic) bool {
	return strings.HasPrefix(d.Summary, "Invalid single-argument block definition")
}

func explain(text []byte, d *hcl.Diagnostic) {
	at := min(d.Subject.Start.Byte, len(text))
	found := string(word.Find(text[at:]))
	if at > 0 && text[at-1] == '<' && bytes.HasPrefix(text[at:], []byte(">")) {
		found = "<>"
	}
	rest, _, _ := bytes.Cut(text[at:], []byte("\n"))
	if strings.HasPrefix(d.Summary, "Argument or block definition required") && bytes.Contains(rest, []byte("\u00a0")) {
		found = "\u00a0"
	}
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")):
		d.Summary, d.Detail = "The file is UTF-16", "Save it as UTF-8."
	case strings.HasPrefix(d.Summary, "Unclosed configuration block"):
		d.Detail = "No brace } closes this block."
		if block, next, ok := unclosed(text, d.Subject.Filename); ok {
			d.Subject = &block
			Relate(d, Place{next, "this stands no further in than the block, so the brace is probably missing above it"})
		}
	case strings.HasPrefix(d.Summary, "Unterminated template string"):
		if start, end, ok := openHeredoc(text, d.Subject.Filename, at); ok {
			d.Subject, d.Summary, d.Detail = &start, "The heredoc is not closed", "No line below has "+end+" alone on it."
		}
	case strings.HasPrefix(d.Summary, "Missing ") && bytes.HasPrefix(text[at:], []byte("(")):
		d.Detail = "A function stands in front of its arguments: trim(row.x), not row.x.trim()."
	case strings.HasPrefix(d.Summary, "Extra characters after interpolation"):
		d.Detail = "The expression ends with a }, as in ${row.id}. The characters ${ themselves are written $${."
	case strings.HasPrefix(d.Summary, "Invalid multi-line string"):
		d.Summary, d.Detail = "The quotes are not closed", `A text ends on its line, with a ". For more lines use a heredoc: <<-EOT ... EOT.`
	case bytes.HasPrefix(text[at:], []byte("<<<<<<<")) || bytes.HasPrefix(text[at:], []byte(">>>>>>>")) || bytes.HasPrefix(text[at:], []byte("=======")):
		d.Summary, d.Detail = "Marks of a merge", "Git has left its marks in the file: take one of the two versions."
	case bytes.HasPrefix(text[at:], []byte("}")) && strings.HasPrefix(d.Summary, "Argument or block definition required"):
		d.Summary, d.Detail = "A brace too many", "This } closes nothing: take it out, or look for a { that is missing above."
	case foreign[found] != "" && !strings.HasPrefix(d.Summary, "Missing item"):
		d.Detail += " " + foreign[found]
	}
}

// unclosed finds the block that is most likely the one whose brace is missing: the innermost that is still open where
// a line stands no further in than the block's own.
func unclosed(text []byte, file string) (block, next hcl.Range, ok bool) {
	tokens, _ := hclsyntax.LexConfig(text, file, hcl.InitialPos)
	type open struct {
		header hcl.Range // from the line's first token to the brace
		indent int
	}
	var stack []open
	first := true // of its line
	var line hcl.Range
	for i, tok := range tokens {
		switch tok.Type {
		case hclsyntax.TokenNewline, hclsyntax.TokenComment:
			first = first || bytes.HasSuffix(tok.Bytes, []byte("\n"))
			continue
		case hclsyntax.TokenEOF:
			continue
		}
		if first {
			if n := len(stack); n > 0 && tok.Type != hclsyntax.TokenCBrace && tok.Range.Start.Column <= stack[n-1].indent {
				return stack[n-1].header, tok.Range, true
			}
			line, first = tok.Range, false
		}
		switch tok.Type {
		case hclsyntax.TokenOBrace:
			header := line
			if i > 0 && tokens[i-1].Range.Start.Line == line.Start.Line {
				header = hcl.RangeBetween(line, tokens[i-1].Range)
			}
			o := open{header, line.Start.Column}
			if i+1 < len(tokens) && tokens[i+1].Type != hclsyntax.TokenNewline && tokens[i+1].Type != hclsyntax.TokenComment {
				o.indent = 0 // it goes on in this line
			}
			stack = append(stack, o)
		case hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			stack = append(stack, open{})
		case hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd:
			stack = stack[:max(0, len(stack)-1)]
		}
	}
	return block, next, false
}

var heredoc = regexp.MustCompile(`<<-?(\w+)\r?\n`)

// openHeredoc finds the last heredoc that begins before a place, and the word that ends it.
func openHeredoc(text []byte, file string, before int) (hcl.Range, string, bool) {
	all := heredoc.FindAllSubmatchIndex(text[:min(before, len(text))], -1)
	if len(all) == 0 {
		return hcl.Range{}, "", false
	}
	m := all[len(all)-1]
	end := string(text[m[2]:m[3]])
	for line := range strings.Lines(string(text[m[1]:])) {
		if strings.TrimSpace(line) == end {
			return hcl.Range{}, "", false
		}
	}
	begin := bytes.LastIndexByte(text[:m[0]], '\n') + 1
	pos := hcl.Pos{Line: 1 + bytes.Count(text[:m[0]], []byte("\n")), Column: 1 + utf8.RuneCount(text[begin:m[0]]), Byte: m[0]}
	return hcl.Range{Filename: file, Start: pos, End: hcl.Pos{Line: pos.Line, Column: pos.Column + m[3] - m[0], Byte: m[3]}}, end, true
}

// absent are the codes of what may only seem to be missing, since the parser has passed over it.
var absent = map[string]bool{"E0103": true, "E0108": true, "E0109": true, "E0303": true, "E0304": true, "E0308": true, "E0501": true, "E0502": true}

// Causes takes out what only follows from mistakes of syntax: names that seem not to be there, unused ones, what
// is said of the same line.
func (p *Project) Causes(diags hcl.Diagnostics) (out hcl.Diagnostics) {
	lines := map[fileLine]bool{}
	for _, d := range diags {
		if isSyntax(d) {
			lines[fileLine{d.Subject.Filename, d.Subject.Start.Line}] = true
		}
	}
	if len(lines) == 0 {
		return diags
	}
	for _, d := range diags {
		switch {
		case isSyntax(d):
		case p.derailed || d.Severity == hcl.DiagWarning || absent[Code(d)]:
			continue
		case d.Subject != nil && lines[fileLine{d.Subject.Filename, d.Subject.Start.Line}]:
			continue
		}
		out = append(out, d)
	}
	return out
}

func isSyntax(d *hcl.Diagnostic) bool {
	e, ok := d.Extra.(extra)
	return ok && e.syntax
}

var (
	labelSummary = regexp.MustCompile(`^Missing (\w+) for (\w+)$`)
	labelNames   = regexp.MustCompile(`labels \((.*)\)`)
	argument     = regexp.MustCompile(`^The argument "(\w+)" is required`)
)

// reword says in HCL's own diagnostics what is to be written.
func reword(d *hcl.Diagnostic) {
	if m := labelSummary.FindStringSubmatch(d.Summary); m != nil {
		block := m[2]
		if names := labelNames.FindStringSubmatch(d.Detail); names != nil {
			for name := range strings.SplitSeq(names[1], ", ") {
				block += fmt.Sprintf(" %q", strings.ToUpper(name))
			}
			d.Detail = "Write " + block + " { ... }."
		}
	}
	if m := argument.FindStringSubmatch(d.Detail); m != nil {
		d.Detail = fmt.Sprintf("%q is required: write %s = ... in this block.", m[1], m[1])
	}
}
