package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestTestBlocks runs `penstock test` on each project of testdata/test, with no variable
// set and no server there. The file "want" has its exit code and all that it prints.
func TestTestBlocks(t *testing.T) {
	names, err := filepath.Glob("testdata/test/*.txtar")
	if err != nil || len(names) < 3 {
		t.Fatalf("found %v, %v", names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			want, args := "", []string{"test"}
			for _, f := range a.Files {
				switch f.Name {
				case "want":
					want = string(f.Data)
					continue
				case "args":
					args = append(args, strings.Fields(string(f.Data))...)
					continue
				}
				if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			code := execute(args, &out, &out)
			got := strings.TrimSpace(out.String())
			if want = strings.TrimSpace(want); !strings.HasPrefix(want, "exit "+string(rune('0'+code))) || strings.TrimSpace(strings.SplitN(want+"\n", "\n", 2)[1]) != got {
				t.Errorf("(-want +got):\n%s", cmp.Diff(want, "exit "+string(rune('0'+code))+"\n"+got))
			}
		})
	}
}

const exampleFolder = "../../examples/customers-to-crm"

// TestExampleTests runs the tests of the example, fast, and looks at the forms of results.
func TestExampleTests(t *testing.T) {
	junit := filepath.Join(t.TempDir(), "junit.xml")
	var out, problems bytes.Buffer
	if code := execute([]string{"test", "--output", "json", "--junit", junit, exampleFolder}, &out, &problems); code != 0 {
		t.Fatalf("exit %d\n%s%s", code, &out, &problems)
	}
	cases := 0
	for line := range strings.Lines(out.String()) {
		var r struct {
			Type    string
			Passed  bool
			Seconds float64
			Cases   int
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		switch r.Type {
		case "test":
			cases++
			if !r.Passed || r.Seconds > 0.05 {
				t.Errorf("%s", line)
			}
		case "summary":
			if r.Cases != cases {
				t.Errorf("%d cases are summed up, %d were printed", r.Cases, cases)
			}
		}
	}
	if cases < 10 {
		t.Errorf("%d cases", cases)
	}
	text, err := os.ReadFile(junit)
	if err != nil {
		t.Fatal(err)
	}
	var suites junitSuites
	if err := xml.Unmarshal(text, &suites); err != nil || len(suites.Suites) != 1 || suites.Suites[0].Tests != cases || len(suites.Suites[0].Cases) != cases {
		t.Errorf("%v: %s", err, text)
	}
	out.Reset()
	if code := execute([]string{"test", "--run", "nothing has this name", exampleFolder}, &out, &problems); code != exitFailed {
		t.Errorf("--run that matches nothing ends with %d", code)
	}
	if code := execute([]string{"test", "--run", "(", exampleFolder}, &out, &problems); code != exitUsage {
		t.Errorf("a broken --run ends with %d", code)
	}
	out.Reset()
	if code := execute([]string{"test", "--run", "rejected", exampleFolder}, &out, &problems); code != 0 || !strings.Contains(out.String(), "4 cases, 0 failed") {
		t.Errorf("--run rejected ends with %d: %s", code, &out)
	}
}
