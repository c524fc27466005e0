package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/docs"
)

// fixtureCase is one project with mistakes, or without. Each diagnostic that it has
// stands as a comment on the line that it is about: code, colon, a part of its text.
type fixtureCase struct {
	name, kind, text string
	line             int // of the first line of text, in the file
}

var (
	fixtureComment = regexp.MustCompile(`#(?: block| above:)? (?:[EW]0\d{3}: .*)$`)
	fixtureWant    = regexp.MustCompile(`([EW]0\d{3}): `)
	pipelinePart   = regexp.MustCompile(`^(wher|where|run|backfill) =|^(key|match|clean|reject|on|parent|deliver|guard|verify|fields|feilds)\b.*{`)
)

// fixtures reads the cases: each line of *_lines.hcl is one, and each section of the others.
func fixtures(t *testing.T) (out []fixtureCase) {
	t.Helper()
	files, err := filepath.Glob("testdata/fixtures/*.hcl")
	if err != nil || len(files) < 3 {
		t.Fatalf("fixtures: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(file)
		for i, line := range strings.Split(string(text), "\n") {
			header, section := strings.CutPrefix(line, "### ")
			switch {
			case section:
				kind, name, _ := strings.Cut(header, ": ")
				out = append(out, fixtureCase{name: base + "/" + name, kind: kind, line: i + 2})
			case !strings.HasSuffix(base, "_lines.hcl"):
				out[len(out)-1].text += line + "\n"
			case line == "" || line[0] == '#':
			default:
				c := fixtureCase{name: base + "/" + line, kind: "pipeline", line: i + 1, text: line + "\n"}
				code, comment, _ := strings.Cut(line, " # ")
				if !pipelinePart.MatchString(line) {
					c.text = "fields \"source\" { " + code + " } # " + comment + "\n"
				}
				switch {
				case strings.Contains(code, "clean.secret_name"):
					c.text += "clean { secret_name = row.ssn }\n"
				case strings.Contains(code, "clean."):
					c.text += "clean { email = lower(row.email) }\nreject \"uses_it\" { when = clean.email == null }\n"
				}
				out = append(out, c)
			}
		}
	}
	return out
}

// TestFixtures loads, checks and compiles every fixture, and compares all diagnostics with those that it names.
func TestFixtures(t *testing.T) {
	all := fixtures(t)
	if len(all) < 250 {
		t.Errorf("there are %d fixtures", len(all))
	}
	seen := map[string]bool{}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			offset := 0
			if c.kind == "pipeline" {
				offset = strings.Count(fixtureHead, "\n")
			}
			type want struct{ code, part string }
			wants := map[int][]want{}
			for i, line := range strings.Split(c.text, "\n") {
				comment := fixtureComment.FindString(line)
				at := i + 1 + offset
				switch {
				case strings.HasPrefix(comment, "# block"):
					at = 1
				case strings.HasPrefix(comment, "# above:"):
					at -= 2
				}
				found := fixtureWant.FindAllStringSubmatchIndex(comment, -1)
				for k, m := range found {
					end := len(comment)
					if k+1 < len(found) {
						end = found[k+1][0]
					}
					wants[at] = append(wants[at], want{comment[m[2]:m[3]], strings.TrimSpace(comment[m[1]:end])})
				}
			}
			for _, d := range fixtureProject(t, c.kind, c.text).shown() {
				code, line, found := config.Code(d), 0, false
				if d.Subject != nil {
					line = d.Subject.Start.Line
				}
				for i, w := range wants[line] {
					if w.code == code && strings.Contains(d.Summary+": "+d.Detail, w.part) {
						wants[line] = append(wants[line][:i:i], wants[line][i+1:]...)
						found, seen[code] = true, true
						break
					}
				}
				if !found {
					t.Errorf("line %d: not expected: %s: %s: %s", c.line+line-1-offset, code, d.Summary, d.Detail)
				}
			}
			for line, rest := range wants {
				for _, w := range rest {
					t.Errorf("line %d: missing %s: %s", c.line+line-1-offset, w.code, w.part)
				}
			}
		})
	}
	for _, page := range docs.Errors() {
		if !seen[page.Code] && !unshown.MatchString(page.Code) && !found(page.Text) {
			t.Errorf("%s has no fixture", page.Code)
		}
	}
}

// found tells whether a page has an example of its own, which is a fixture too.
func found(text string) bool { return strings.Contains(text, "```hcl wrong") }
