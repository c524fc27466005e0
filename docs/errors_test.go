package docs_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/docs"
)

var update = flag.Bool("update", false, "write the generated parts of docs/errors.md")

// TestErrorTables checks that the tables of docs/errors.md are what the pages in
// docs/errors say, and writes them with -update.
func TestErrorTables(t *testing.T) {
	name := filepath.Join(root, "docs/errors.md")
	was := read(t, name)
	want, placed := was, 0
	for _, group := range []string{"E00", "E01", "E02", "E03", "E04", "E05"} {
		var b strings.Builder
		b.WriteString("\n| Code | Meaning | Fix |\n|---|---|---|\n")
		for _, p := range docs.Errors() {
			if strings.HasPrefix("E"+p.Code[1:], group) {
				placed++
				fmt.Fprintf(&b, "| [%s](errors/%s.md) | %s | %s |\n", p.Code, p.Code, p.Title, strings.ReplaceAll(p.Fix, "](../", "]("))
			}
		}
		begin, end := "<!-- generated: "+group+" -->\n", "\n<!-- end of "+group+" -->"
		i, j := strings.Index(want, begin), strings.Index(want, end)
		if i < 0 || j < i {
			t.Fatalf("%s has no markers for %s", name, group)
		}
		want = want[:i+len(begin)] + b.String() + want[j:]
	}
	if placed != len(docs.Errors()) {
		t.Errorf("docs/errors has %d pages, and %d are in the tables", len(docs.Errors()), placed)
	}
	if want == was {
		return
	}
	if !*update {
		t.Fatal("docs/errors.md is out of date: make docs")
	}
	if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
