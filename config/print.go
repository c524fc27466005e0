package config

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// Style is the form in which diagnostics are written.
type Style uint8

// The styles.
const (
	Plain  Style = iota // for people: place, code, the line, a caret, the fix
	Colour              // the same on a terminal
	JSON                // one object a line
	GitHub              // workflow commands, which GitHub shows at the lines of a pull request
)

// Printer writes diagnostics.
type Printer struct {
	Out   io.Writer
	Style Style
	Dir   string               // of the files: their paths are shown as seen from the working folder
	Files map[string]*hcl.File // by the name that ranges have; lines of others are not shown

	lines map[string][]string // of the files that were shown
}

// Print writes diagnostics of the project's files.
func (p *Project) Print(w io.Writer, style Style, diags hcl.Diagnostics) error {
	return (&Printer{Out: w, Style: style, Dir: p.Dir, Files: p.files}).Print(diags)
}

// PlaceOf is where a range of the project begins, as seen from the working folder.
func (p *Project) PlaceOf(rng hcl.Range) string { return (&Printer{Dir: p.Dir}).place(&rng) }

// Print writes diagnostics, each once, in the order of their places.
func (p *Printer) Print(diags hcl.Diagnostics) error {
	out := bufio.NewWriter(p.Out)
	for _, d := range Normalize(diags) {
		switch p.Style {
		case JSON:
			if err := p.json(out, d); err != nil {
				return err
			}
		case GitHub:
			p.github(out, d)
		default:
			p.text(out, d)
		}
	}
	return out.Flush()
}

func severity(d *hcl.Diagnostic) string {
	if d.Severity == hcl.DiagWarning {
		return "warning"
	}
	return "error"
}

// path is a file's as seen from the working folder, so that a terminal or editor can open it.
func (p *Printer) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Dir, name)
}

func (p *Printer) place(rng *hcl.Range) string {
	return fmt.Sprintf("%s:%d:%d", p.path(rng.Filename), rng.Start.Line, rng.Start.Column)
}

// The attributes of a terminal's text.
const (
	bold   = "1"
	red    = "1;31"
	yellow = "1;33"
	blue   = "34"
)

func (p *Printer) paint(attribute, s string) string {
	if p.Style != Colour || s == "" {
		return s
	}
	return "\x1b[" + attribute + "m" + s + "\x1b[0m"
}

func (p *Printer) text(out io.Writer, d *hcl.Diagnostic) {
	colour := red
	if d.Severity == hcl.DiagWarning {
		colour = yellow
	}
	if d.Subject != nil {
		fmt.Fprintf(out, "%s: ", p.paint(bold, p.place(d.Subject)))
	}
	fmt.Fprintf(out, "%s: %s\n", p.paint(colour, severity(d)+"["+Code(d)+"]"), p.paint(bold, d.Summary))
	p.excerpt(out, d.Subject, colour, "^")
	for _, also := range Also(d) {
		fmt.Fprintf(out, "  %s: %s\n", p.place(&also.Range), also.Note)
		p.excerpt(out, &also.Range, blue, "-")
	}
	if d.Detail != "" {
		fmt.Fprintf(out, "  %s\n", strings.ReplaceAll(d.Detail, "\n", "\n  "))
	}
}

// excerpt writes the line that a range begins in, with marks under the range.
func (p *Printer) excerpt(out io.Writer, rng *hcl.Range, colour, mark string) {
	line, ok := p.line(rng)
	if !ok {
		return
	}
	number := fmt.Sprint(rng.Start.Line)
	length := utf8.RuneCountInString(line)
	column := min(rng.Start.Column, length+1)
	width := min(rng.End.Column, length+1) - column
	if rng.End.Line != rng.Start.Line {
		width = length - column + 1
	}
	line, column, width = window(line, column, width)
	fmt.Fprintf(out, "  %s %s\n", p.paint(blue, number+" |"), line)
	fmt.Fprintf(out, "  %*s %s %s%s\n", len(number), "", p.paint(blue, "|"), indent(line, column-1), p.paint(colour, strings.Repeat(mark, max(1, width))))
}

// The longest line that is shown whole, and how much is shown before the place in a longer one.
const (
	longestLine = 200
	beforePlace = 60
)

// window is the part of a long line around a place, with the place's column in it.
func window(line string, column, width int) (string, int, int) {
	runes := []rune(line)
	if len(runes) <= longestLine {
		return line, column, width
	}
	from := max(0, column-1-beforePlace)
	to := min(len(runes), from+longestLine)
	part, shift := string(runes[from:to]), from
	if from > 0 {
		part, shift = "…"+part, from-1
	}
	if to < len(runes) {
		part += "…"
	}
	column -= shift
	return part, column, min(width, utf8.RuneCountInString(part)-column+1)
}

// printable stands in for what a terminal would take as a command, or can't show.
func printable(r rune) rune {
	if r != '\t' && unicode.IsControl(r) {
		return utf8.RuneError
	}
	return r
}

// indent is white space as wide as the first n columns of a line.
func indent(line string, n int) string {
	var b strings.Builder
	for _, r := range line {
		if n--; n < 0 {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func (p *Printer) line(rng *hcl.Range) (string, bool) {
	if rng == nil || p.Files[rng.Filename] == nil {
		return "", false
	}
	lines, known := p.lines[rng.Filename]
	if !known {
		lines = strings.Split(string(p.Files[rng.Filename].Bytes), "\n")
		if p.lines == nil {
			p.lines = map[string][]string{}
		}
		p.lines[rng.Filename] = lines
	}
	if rng.Start.Line < 1 || rng.Start.Line > len(lines) {
		return "", false
	}
	return strings.Map(printable, strings.ToValidUTF8(strings.TrimRight(lines[rng.Start.Line-1], "\r"), string(utf8.RuneError))), true
}

// position is a place in the form of --output json.
type position struct {
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	EndLine   int    `json:"end_line,omitempty"`
	EndColumn int    `json:"end_column,omitempty"`
}

func positionOf(r *hcl.Range) position {
	if r == nil {
		return position{}
	}
	return position{r.Filename, r.Start.Line, r.Start.Column, r.End.Line, r.End.Column}
}

// diagnostic is the form of --output json.
type diagnostic struct {
	Type     string `json:"type"`
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	position
	Fix     string    `json:"fix,omitempty"`
	Related []related `json:"related,omitempty"`
}

type related struct {
	position
	Message string `json:"message"`
}

func (p *Printer) json(w io.Writer, d *hcl.Diagnostic) error {
	out := diagnostic{Type: "diagnostic", Severity: severity(d), Code: Code(d), Message: d.Summary, position: positionOf(d.Subject), Fix: d.Detail}
	for _, also := range Also(d) {
		out.Related = append(out.Related, related{positionOf(&also.Range), also.Note})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

var (
	githubText     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func (p *Printer) github(out io.Writer, d *hcl.Diagnostic) {
	fmt.Fprintf(out, "::%s ", severity(d))
	if r := d.Subject; r != nil {
		fmt.Fprintf(out, "file=%s,line=%d,endLine=%d,col=%d,endColumn=%d,", githubProperty.Replace(p.path(r.Filename)), r.Start.Line, r.End.Line, r.Start.Column, r.End.Column)
	}
	text := d.Summary
	if d.Detail != "" {
		text += "\n" + d.Detail
	}
	for _, also := range Also(d) {
		text += "\n" + p.place(&also.Range) + ": " + also.Note
	}
	fmt.Fprintf(out, "title=%s::%s\n", githubProperty.Replace("penstock "+Code(d)), githubText.Replace(text))
}
