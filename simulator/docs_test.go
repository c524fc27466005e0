package simulator_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/simulator"
)

// words splits a command as a shell does, for the quoting that the page uses.
func words(line string) []string {
	var list []string
	var word strings.Builder
	quoted, any := false, false
	for _, r := range line {
		switch {
		case r == '\'':
			quoted, any = !quoted, true
		case r == ' ' && !quoted:
			if any {
				list = append(list, word.String())
				word.Reset()
				any = false
			}
		default:
			word.WriteRune(r)
			any = true
		}
	}
	if any {
		list = append(list, word.String())
	}
	return list
}

// TestDocumentedCommands runs the curl commands of docs/simulator.md in order; each
// must succeed. Faults of the page are cleared by its own command.
func TestDocumentedCommands(t *testing.T) {
	page, err := os.ReadFile("../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, simulator.Options{Data: strings.NewReader("")})
	ran := 0
	for line := range strings.Lines(string(page)) {
		args, ok := strings.CutPrefix(strings.TrimSpace(line), "curl ")
		if !ok {
			continue
		}
		method, url, body := "GET", "", ""
		header := http.Header{}
		list := words(args)
		for i := 0; i < len(list); i++ {
			switch list[i] {
			case "-X":
				i++
				method = list[i]
			case "-d":
				i++
				body = list[i]
			case "-H":
				i++
				name, value, _ := strings.Cut(list[i], ": ")
				header.Set(name, value)
			default:
				url = list[i]
			}
		}
		path, ok := strings.CutPrefix(url, "http://127.0.0.1:8900")
		if !ok {
			t.Errorf("%s: not the address of the page's first command", line)
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err := c.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		resp.Body.Close()
		if resp.StatusCode >= 300 || resp.StatusCode == 207 {
			t.Errorf("%s: got %d", line, resp.StatusCode)
		}
		ran++
	}
	if ran < 20 {
		t.Errorf("ran %d commands of the page, want 20 or more", ran)
	}
}

// TestDocumentedData loads the page's example of initial data.
func TestDocumentedData(t *testing.T) {
	page, err := os.ReadFile("../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```json\n")
	data, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("docs/simulator.md has no example of data")
	}
	c := start(t, simulator.Options{Data: strings.NewReader(data)})
	if n := c.records(); n != 2 {
		t.Errorf("got %d records, want the 2 of the example", n)
	}
}
