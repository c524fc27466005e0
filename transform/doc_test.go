package transform

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated parts of docs/language.md")

const languagePage = "../docs/language.md"

// TestLanguagePage checks that the reference of functions and reasons in docs/language.md
// is what the tables in the code say, and writes it with -update.
func TestLanguagePage(t *testing.T) {
	page, err := os.ReadFile(languagePage)
	if err != nil {
		t.Fatal(err)
	}
	want := string(page)
	for name, text := range map[string]string{"functions": functionReference(), "reasons": reasonReference()} {
		begin, end := "<!-- generated: "+name+" -->\n", "<!-- end of "+name+" -->"
		i, j := strings.Index(want, begin), strings.Index(want, end)
		if i < 0 || j < i {
			t.Fatalf("%s has no markers for %s", languagePage, name)
		}
		want = want[:i+len(begin)] + text + want[j:]
	}
	if want == string(page) {
		return
	}
	if !*update {
		t.Fatalf("%s is out of date: go test ./transform -run TestLanguagePage -update", languagePage)
	}
	if err := os.WriteFile(languagePage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func functionReference() string {
	var b strings.Builder
	for _, family := range families {
		fmt.Fprintf(&b, "\n### %s\n\n| Function | What it gives | Examples |\n|---|---|---|\n", family.name)
		for _, f := range family.functions {
			name := "`" + f.signature() + "`"
			if f.fails != nil {
				name += " ⚠ `" + strings.Join(f.fails, "` `") + "`"
			}
			var types, examples []string
			for _, p := range f.params {
				t := strings.ReplaceAll(p.types.String(), "|", ", ")
				switch p.types {
				case scalars:
					t = "any but bytes, list, object"
				case anyType &^ setOf(bytes):
					t = "any but bytes"
				}
				if p.constant {
					t += ", constant"
				}
				types = append(types, p.name+": "+t)
			}
			for _, ex := range f.examples {
				examples = append(examples, "`"+strings.ReplaceAll(ex[0], "|", "\\|")+"` is `"+strings.ReplaceAll(ex[1], "|", "\\|")+"`")
			}
			fmt.Fprintf(&b, "| %s | %s (%s) | %s |\n", name, strings.ReplaceAll(f.doc, "|", "\\|"), strings.Join(types, "; "), strings.Join(examples, "; "))
		}
	}
	return b.String() + "\n"
}

func reasonReference() string {
	var b strings.Builder
	b.WriteString("\n| Reason | Meaning |\n|---|---|\n")
	for _, r := range Reasons() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r, reasons[r])
	}
	return b.String() + "\n"
}

var hclBlock = regexp.MustCompile("(?s)```hcl\n(.*?)```")

// TestExamplesOfThePage compiles every HCL example of docs/language.md. An example that
// is not a pipeline's content is the content of a clean block.
func TestExamplesOfThePage(t *testing.T) {
	page, err := os.ReadFile(languagePage)
	if err != nil {
		t.Fatal(err)
	}
	blocks := hclBlock.FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 5 {
		t.Fatalf("%d examples", len(blocks))
	}
	for i, b := range blocks {
		src := b[1]
		if !strings.Contains(src, "key ") {
			src = "clean {\n" + src + "}\nkey { shop_customer_id = tostring(row.id) }\n"
		}
		p, env := parsePipeline(t, fmt.Sprintf("example-%d.hcl", i), src)
		if _, diags := Compile(p, customers(true), nil, env); diags.HasErrors() {
			t.Errorf("example %d: %s\n%s", i, diags, src)
		}
	}
}

// TestCodesOfThePage checks that every code of a diagnostic is explained on the page.
func TestCodesOfThePage(t *testing.T) {
	page, err := os.ReadFile(languagePage)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`"([EW]03\d\d)"`)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		src, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range codes.FindAllStringSubmatch(string(src), -1) {
			if !strings.Contains(string(page), "| "+m[1]+" |") {
				t.Errorf("%s is not on the page", m[1])
			}
		}
	}
}
