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
		t.Fatalf("%s is out of date: make docs", languagePage)
	}
	if err := os.WriteFile(languagePage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func functionReference() string {
	var b strings.Builder
	family := ""
	for _, f := range Functions() {
		if f.Family != family {
			family = f.Family
			fmt.Fprintf(&b, "\n### %s\n\n| Function | What it gives | Examples |\n|---|---|---|\n", family)
		}
		name := "`" + f.Signature + "`"
		if f.Fails != nil {
			name += " ⚠ `" + strings.Join(f.Fails, "` `") + "`"
		}
		var types, examples []string
		for _, p := range f.Params {
			t := p.Name + ": " + p.Type
			if p.Constant {
				t += ", constant"
			}
			types = append(types, t)
		}
		for _, ex := range f.Examples {
			examples = append(examples, "`"+strings.ReplaceAll(ex.Expression, "|", "\\|")+"` is `"+strings.ReplaceAll(ex.Result, "|", "\\|")+"`")
		}
		fmt.Fprintf(&b, "| %s | %s (%s) | %s |\n", name, strings.ReplaceAll(f.Text, "|", "\\|"), strings.Join(types, "; "), strings.Join(examples, "; "))
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
