// Package docs has the pages that the program itself can show: one for each diagnostic code.
package docs

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed errors/*.md
var errorPages embed.FS

// ErrorPage is docs/errors/CODE.md: "# CODE: Title", the fix, and more below.
type ErrorPage struct {
	Code, Title, Fix string
	Text             string // the whole page
}

// Errors returns the pages in the order of their codes, errors before warnings.
func Errors() []ErrorPage {
	entries, err := errorPages.ReadDir("errors")
	if err != nil {
		panic(err) // they are part of the program
	}
	out := make([]ErrorPage, 0, len(entries))
	for _, e := range entries {
		p, err := readPage(e.Name())
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

// Error returns the page of a code.
func Error(code string) (ErrorPage, bool) {
	for _, p := range Errors() {
		if strings.EqualFold(p.Code, code) {
			return p, true
		}
	}
	return ErrorPage{}, false
}

func readPage(name string) (ErrorPage, error) {
	text, err := errorPages.ReadFile(path.Join("errors", name))
	if err != nil {
		return ErrorPage{}, err
	}
	p := ErrorPage{Code: strings.TrimSuffix(name, ".md"), Text: string(text)}
	for line := range strings.Lines(p.Text) {
		line = strings.TrimSuffix(line, "\n")
		if title, ok := strings.CutPrefix(line, "# "+p.Code+": "); ok && p.Title == "" {
			p.Title = title
		}
		if fix, ok := strings.CutPrefix(line, "**Fix:** "); ok && p.Fix == "" {
			p.Fix = fix
		}
	}
	if p.Title == "" || p.Fix == "" {
		return p, fmt.Errorf("docs/errors/%s: a page begins with \"# %s: what it means\" and has a line \"**Fix:** what to do\"", name, p.Code)
	}
	return p, nil
}
