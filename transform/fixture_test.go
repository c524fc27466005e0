package transform

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var wantPattern = regexp.MustCompile(`([EW]\d{4}): ?`)

// TestFixtures checks that each pipeline under testdata gives the diagnostics that
// stand as comments on the offending lines (code, and a part of the text), and no others.
func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.hcl")
	if err != nil || len(files) < 6 {
		t.Fatalf("fixtures: %v %v", files, err)
	}
	object := contacts()
	object.Fields = append(object.Fields, ObjectField{Name: "needed", Type: FieldText})
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".hcl"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, env := parsePipeline(t, file, string(src))
			object := *object
			object.Fields = append([]ObjectField{}, object.Fields...)
			for _, f := range p.Fields {
				if f.Name == "needed" {
					object.field("needed").Required = true
				}
			}
			prog, diags := Compile(p, customers(false), &object, env)
			if (prog == nil) != diags.HasErrors() {
				t.Errorf("program %v with errors %v", prog != nil, diags.HasErrors())
			}
			type want struct{ code, part string }
			wants := map[int][]want{}
			for i, line := range strings.Split(string(src), "\n") {
				_, comment, ok := strings.Cut(line, " # ")
				if !ok {
					continue
				}
				at := wantPattern.FindAllStringSubmatchIndex(comment, -1)
				for k, m := range at {
					end := len(comment)
					if k+1 < len(at) {
						end = at[k+1][0]
					}
					wants[i+1] = append(wants[i+1], want{comment[m[2]:m[3]], strings.TrimSpace(comment[m[1]:end])})
				}
			}
			for _, d := range diags {
				line, found := d.Subject.Start.Line, false
				for i, w := range wants[line] {
					if w.code == codeOf(d) && strings.Contains(d.Summary+": "+d.Detail, w.part) {
						wants[line] = append(wants[line][:i:i], wants[line][i+1:]...)
						found = true
						break
					}
				}
				if !found {
					t.Errorf("line %d: not expected: %s %s: %s", line, codeOf(d), d.Summary, d.Detail)
				}
			}
			for line, rest := range wants {
				for _, w := range rest {
					t.Errorf("line %d: missing %s: %s", line, w.code, w.part)
				}
			}
		})
	}
}
