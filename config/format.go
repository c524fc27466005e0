package config

import (
	"bytes"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format returns a configuration file's text in the canonical layout: two spaces a
// level, equal signs, comments and the braces of one-line blocks aligned in adjacent
// lines, at most one empty line in a row, lines ended by a line feed. Tokens and comments
// are kept as they are, so its meaning is the same; a file of which that can't be had stays
// as it is. A file that does not parse has no layout: the diagnostics say why.
func Format(name string, text []byte) ([]byte, hcl.Diagnostics) {
	if _, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos); diags.HasErrors() {
		return nil, diags
	}
	laid := hclwrite.Format(append(text[:len(text):len(text)], '\n'))
	tokens, _ := hclsyntax.LexConfig(laid, name, hcl.InitialPos)
	e := &edits{text: laid}
	e.align(tokens)
	e.newlines(tokens)
	out := bytes.TrimLeft(e.apply(), "\n")
	if !slices.Equal(words(text), words(out)) {
		return text, nil // hclwrite makes the number 0.0 of 0 .0
	}
	return out, nil
}

// words are the tokens that a text's meaning is in.
func words(text []byte) (out []string) {
	tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenEOF:
		default:
			out = append(out, string(t.Bytes))
		}
	}
	return out
}

// edits are replacements in a text, by the offset at which they begin.
type edits struct {
	text []byte
	at   map[int]edit
}

type edit struct {
	length int // of what is replaced
	with   []byte
}

func (e *edits) replace(start, end int, with []byte) {
	if e.at == nil {
		e.at = map[int]edit{}
	}
	e.at[start] = edit{end - start, with}
}

func (e *edits) apply() []byte {
	out := make([]byte, 0, len(e.text)+64)
	for i := 0; i < len(e.text); {
		if ed, ok := e.at[i]; ok {
			out = append(out, ed.with...)
			if ed.length > 0 {
				i += ed.length
				continue
			}
		}
		out = append(out, e.text[i])
		i++
	}
	return out
}

// newlines makes every end of a line a line feed, and takes out empty lines after an
// empty line or at the end. What stands in heredocs is text and stays.
func (e *edits) newlines(tokens hclsyntax.Tokens) {
	run := 0 // line ends since the last token that was none
	first := -1
	for _, t := range tokens {
		start, end := t.Range.Start.Byte, t.Range.End.Byte
		switch t.Type {
		case hclsyntax.TokenNewline:
			if run++; run > 2 {
				e.replace(start, end, nil)
				continue
			}
			if run == 2 {
				first = start
			}
			if end-start > 1 {
				e.replace(start, end, []byte("\n"))
			}
		case hclsyntax.TokenComment:
			run = 0
			kept := bytes.ReplaceAll(t.Bytes, []byte("\r\n"), []byte("\n"))
			if bytes.HasSuffix(kept, []byte("\n")) {
				run = 1 // a comment to the end of the line has that end in it
				kept = append(bytes.TrimRight(kept, " \t\r\n"), '\n')
			}
			if !bytes.Equal(kept, t.Bytes) {
				e.replace(start, end, kept)
			}
		case hclsyntax.TokenEOF:
			if run > 1 {
				e.replace(first, first+1, nil)
			}
		default:
			run = 0
		}
	}
}

// oneLine is a block in a line of its own: where its brace stands and the comment after it.
type oneLine struct {
	line             int
	start, brace     int // offsets
	end              int // of the closing brace
	comment          int // offset, -1 for none
	padding, atWidth int // spaces that go before the brace; the width up to the closing brace with them
}

// align puts the opening braces of one-line blocks in adjacent lines under each other,
// and then the comments after them.
func (e *edits) align(tokens hclsyntax.Tokens) {
	var group []oneLine
	for _, b := range oneLines(tokens) {
		if n := len(group); n > 0 && group[n-1].line+1 != b.line {
			e.alignGroup(group)
			group = group[:0]
		}
		group = append(group, b)
	}
	e.alignGroup(group)
}

func (e *edits) alignGroup(group []oneLine) {
	if len(group) < 2 {
		return
	}
	widest := 0
	for _, b := range group {
		widest = max(widest, width(e.text[b.start:b.brace]))
	}
	for i := range group {
		b := &group[i]
		b.padding = widest - width(e.text[b.start:b.brace])
		b.atWidth = width(e.text[b.start:b.end]) + b.padding
		e.pad(b.brace, b.brace, b.padding)
	}
	for first := 0; first < len(group); {
		last, widest := first, 0
		for last < len(group) && group[last].comment >= 0 {
			widest = max(widest, group[last].atWidth)
			last++
		}
		for _, b := range group[first:last] {
			e.pad(b.end, b.comment, widest-b.atWidth+1)
		}
		first = last + 1
	}
}

// pad puts n spaces in the place of what stands between two offsets.
func (e *edits) pad(start, end, n int) {
	if n != end-start {
		e.replace(start, end, bytes.Repeat([]byte(" "), n))
	}
}

// width is how many columns a piece of a line takes.
func width(b []byte) int { return bytes.Count(b, nil) - 1 }

// oneLines finds the blocks that begin and end in one line, with nothing else in it.
func oneLines(tokens hclsyntax.Tokens) (out []oneLine) {
	for i := 0; i < len(tokens); i++ {
		if i > 0 && !bytes.HasSuffix(tokens[i-1].Bytes, []byte("\n")) {
			continue // not the first of its line
		}
		if b, ok := oneLineAt(tokens[i:]); ok {
			out = append(out, b)
		}
	}
	return out
}

func oneLineAt(tokens hclsyntax.Tokens) (b oneLine, ok bool) {
	if tokens[0].Type != hclsyntax.TokenIdent {
		return b, false
	}
	b = oneLine{line: tokens[0].Range.Start.Line, start: tokens[0].Range.Start.Byte, comment: -1}
	i := 1
	for ; i < len(tokens) && tokens[i].Type != hclsyntax.TokenOBrace; i++ {
		switch tokens[i].Type {
		case hclsyntax.TokenIdent, hclsyntax.TokenOQuote, hclsyntax.TokenQuotedLit, hclsyntax.TokenCQuote: // labels
		default:
			return b, false
		}
	}
	if i == len(tokens) {
		return b, false
	}
	b.brace = tokens[i].Range.Start.Byte
	depth := 0
	for ; i < len(tokens) && tokens[i].Range.End.Line == b.line; i++ {
		switch tokens[i].Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd:
			depth--
		}
		if depth == 0 {
			break
		}
	}
	if depth != 0 || i+1 >= len(tokens) {
		return b, false
	}
	b.end = tokens[i].Range.End.Byte
	switch next := tokens[i+1]; next.Type {
	case hclsyntax.TokenNewline, hclsyntax.TokenEOF:
	case hclsyntax.TokenComment:
		b.comment = next.Range.Start.Byte
	default:
		return b, false
	}
	return b, true
}
