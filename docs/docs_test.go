// Package docs_test holds the documentation to what penstock is: its examples are valid,
// and the commands, files, links, codes, metrics and settings that it names exist.
package docs_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/docs"
	"github.com/penstock-cdc/penstock/integration/binary"
)

func TestMain(m *testing.M) { binary.Main(m) }

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// written by the benchmarks' first full run; a link to it may be there before.
const performance = "docs/performance.md"

func TestLinks(t *testing.T) {
	for _, p := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(p.prose(), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := p.name
			if target != "" {
				file = path.Join(path.Dir(p.name), target)
			}
			if file == performance {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s links to %s: %v", p.name, m[1], err)
			} else if anchor != "" && !one(t, file).anchors()[anchor] {
				t.Errorf("%s links to %s, which has no such heading", p.name, m[1])
			}
		}
	}
}

// TestPaths looks at the files of the repository that pages name in code spans.
func TestPaths(t *testing.T) {
	top, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, e := range top {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			folders = append(folders, e.Name())
		}
	}
	seen := 0
	for _, p := range pages(t) {
		for _, s := range p.spans() {
			first, rest, _ := strings.Cut(s, "/")
			base := root
			switch {
			case strings.ContainsAny(s, " {}()<>=:"):
				continue
			case first == "penstock-data" || strings.HasPrefix(rest, "penstock-data"):
				continue
			case path.Ext(s) == ".txtar": // a scenario
				base = filepath.Join(root, "integration/scenario/testdata")
			case rest == "" || !slices.Contains(folders, first) || first == "bin":
				continue
			}
			if p.name == "docs/guarantees.md" {
				seen++
			}
			if found, err := filepath.Glob(filepath.Join(base, s)); err != nil || len(found) == 0 {
				if rest := strings.TrimSuffix(s, "/penstock-data"); rest != s {
					continue
				}
				t.Errorf("%s names %s, which is not there", p.name, s)
			}
		}
	}
	if seen < 20 {
		t.Errorf("docs/guarantees.md names %d tests", seen)
	}
}

// sources walks the code that is not tests.
func sources(t *testing.T, f func(name, text string), folders ...string) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
				f(name, read(t, name))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

var (
	code    = regexp.MustCompile(`"([EW]0\d{3})"`)
	anyCode = regexp.MustCompile(`\b[EW]0\d{3}\b`)
)

func TestCodes(t *testing.T) {
	used := map[string]bool{}
	sources(t, func(_, text string) {
		for _, m := range code.FindAllStringSubmatch(text, -1) {
			used[m[1]] = true
		}
	}, "capture", "cmd", "config", "sink", "state", "stream", "transform", "trial")
	listed := map[string]bool{}
	for _, p := range docs.Errors() {
		listed[p.Code] = true
		if !used[p.Code] {
			t.Errorf("docs/errors has %s, which penstock does not use", p.Code)
		}
	}
	for c := range used {
		if !listed[c] {
			t.Errorf("docs/errors lacks %s.md", c)
		}
	}
	for _, p := range pages(t) {
		for _, c := range anyCode.FindAllString(p.text, -1) {
			if !used[c] {
				t.Errorf("%s names %s, which penstock does not use", p.name, c)
			}
		}
	}
}

var (
	metric       = regexp.MustCompile(`(?:Name: |desc\()"((?:penstock_)?[a-z_]+)"`)
	listedMetric = regexp.MustCompile("(?m)^\\| `(penstock_[a-z_]+)")
)

func TestMetrics(t *testing.T) {
	there := map[string]bool{}
	sources(t, func(_, text string) {
		for _, m := range metric.FindAllStringSubmatch(text, -1) {
			there["penstock_"+strings.TrimPrefix(m[1], "penstock_")] = true
		}
	}, "ops")
	listed := map[string]bool{}
	for _, m := range listedMetric.FindAllStringSubmatch(one(t, "docs/operating.md").text, -1) {
		listed[m[1]] = true
		if !there[m[1]] {
			t.Errorf("docs/operating.md has %s, which ops does not serve", m[1])
		}
	}
	for name := range there {
		if !listed[name] {
			t.Errorf("docs/operating.md lacks %s", name)
		}
	}
}

var setting = regexp.MustCompile("hcl:\"([a-z_]+)[,\"]")

// TestSettings finds every attribute and block of the settings in docs/configuration.md.
func TestSettings(t *testing.T) {
	text := one(t, "docs/configuration.md").text
	n := 0
	sources(t, func(name, source string) {
		for _, m := range setting.FindAllStringSubmatch(source, -1) {
			n++
			if m[1] != "alias" && !regexp.MustCompile("`"+m[1]+"\\b").MatchString(text) {
				t.Errorf("docs/configuration.md lacks %s (%s)", m[1], name)
			}
		}
	}, "capture", "config", "sink")
	if n < 40 {
		t.Errorf("found %d settings in the code", n)
	}
}
