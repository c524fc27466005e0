package config_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/config"
)

func TestPrint(t *testing.T) {
	p, diags := load(t, "ops { listen = \"a:1\" }\n\nops { listen = \"50%\" }\n")
	path := filepath.Join(p.Dir, "a.hcl")
	for style, want := range map[config.Style]string{
		config.Plain: path + `:3:1: error[E0105]: Second ops block
  3 | ops { listen = "50%" }
    | ^^^
  ` + path + `:1:1: the first is here
  1 | ops { listen = "a:1" }
    | ---
  There is one ops block in a project.
`,
		config.Colour: "\x1b[1m" + path + ":3:1\x1b[0m: \x1b[1;31merror[E0105]\x1b[0m: \x1b[1mSecond ops block\x1b[0m\n" +
			"  \x1b[34m3 |\x1b[0m ops { listen = \"50%\" }\n    \x1b[34m|\x1b[0m \x1b[1;31m^^^\x1b[0m\n" +
			"  " + path + ":1:1: the first is here\n  \x1b[34m1 |\x1b[0m ops { listen = \"a:1\" }\n    \x1b[34m|\x1b[0m \x1b[34m---\x1b[0m\n" +
			"  There is one ops block in a project.\n",
		config.JSON: `{"type":"diagnostic","severity":"error","code":"E0105","message":"Second ops block","file":"a.hcl","line":3,"column":1,"end_line":3,"end_column":4,` +
			`"fix":"There is one ops block in a project.","related":[{"file":"a.hcl","line":1,"column":1,"end_line":1,"end_column":4,"message":"the first is here"}]}` + "\n",
		config.GitHub: "::error file=" + path + ",line=3,endLine=3,col=1,endColumn=4,title=penstock E0105::Second ops block%0AThere is one ops block in a project.%0A" + path + ":1:1: the first is here\n",
	} {
		var out bytes.Buffer
		if err := p.Print(&out, style, diags); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("style %d (-want +got):\n%s", style, diff)
		}
	}
}
