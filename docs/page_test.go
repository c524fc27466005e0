package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository's, seen from this folder.
const root = ".."

// page is one Markdown file of the documentation.
type page struct {
	name string // from the repository's root: docs/stream.md
	text string
}

// pages are the README and all of docs/ but the decisions.
func pages(t *testing.T) []page {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) < 8 {
		t.Fatalf("found pages %v, %v", names, err)
	}
	codes, err := filepath.Glob("errors/*.md")
	if err != nil || len(codes) < 60 {
		t.Fatalf("found pages of codes %v, %v", codes, err)
	}
	names = append(names, codes...)
	out := []page{{"README.md", read(t, filepath.Join(root, "README.md"))}}
	for _, n := range names {
		out = append(out, page{"docs/" + n, read(t, n)})
	}
	return out
}

// one returns the page of that name.
func one(t *testing.T, name string) page {
	t.Helper()
	return page{name, read(t, filepath.Join(root, name))}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fence is a fenced block: its language, the rest of its info string, its text.
type fence struct {
	line           int
	language, info string
	text           string
}

func (p page) fences() (out []fence) {
	open := false
	for i, line := range strings.Split(p.text, "\n") {
		info, mark := strings.CutPrefix(line, "```")
		switch {
		case mark && open:
			open = false
		case mark:
			open = true
			language, rest, _ := strings.Cut(info, " ")
			out = append(out, fence{line: i + 1, language: language, info: rest})
		case open:
			out[len(out)-1].text += line + "\n"
		}
	}
	return out
}

// prose is the page without its fenced blocks.
func (p page) prose() string {
	var b strings.Builder
	open := false
	for line := range strings.Lines(p.text) {
		if strings.HasPrefix(line, "```") {
			open = !open
		} else if !open {
			b.WriteString(line)
		}
	}
	return b.String()
}

var span = regexp.MustCompile("`([^`\n]+)`")

// spans are the pieces of code in the prose.
func (p page) spans() (out []string) {
	for _, m := range span.FindAllStringSubmatch(p.prose(), -1) {
		out = append(out, m[1])
	}
	return out
}

var (
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the fragments by which the page's headings are linked.
func (p page) anchors() map[string]bool {
	out := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(p.prose(), -1) {
		out[strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return out
}
