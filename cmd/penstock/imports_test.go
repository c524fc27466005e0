package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/penstock-cdc/penstock/"

// allowed says which packages of ours, and which of the guarded libraries, a folder may import. A folder
// that ends in /* is each connector below it.
var allowed = map[string][]string{
	"change":              {},
	"disk":                {},
	"config":              {},
	"capture":             {"change"},
	"capture/capturetest": {"capture", "change"},
	"capture/*":           {"capture", "change", "disk"},
	"stream":              {"change", "disk", "kafka-go", "sqlite"},
	"stream/streamtest":   {"stream", "change"},
	"transform":           {"change", "config"},
	"schema":              {"change", "transform"},
	"draft":               {"change", "config", "transform"},
	"trial":               {"change", "config", "sink", "state"},
	"state":               {"change", "disk", "sqlite"},
	"state/statetest":     {"state", "change"},
	"sink":                {"change", "transform", "state", "config"},
	"sink/sinktest":       {"sink", "change"},
	"sink/rest":           {"sink"},
	"sink/http":           {"sink", "sink/rest", "change", "config", "transform"}, // its templates are row expressions
	"sink/*":              {"sink", "sink/rest", "change"},
	"simulator":           {},
	"simulator/*":         {"simulator"},
	"alert":               {},
	"ops":                 {},
	"ops/*":               {"ops"},
	"examples":            {},
	"docs":                {},
}

var guarded = map[string]string{"github.com/segmentio/kafka-go": "kafka-go", "modernc.org/sqlite": "sqlite"}

func TestImportRules(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		folder := strings.TrimPrefix(fields[0], module)
		may, known := allowed[folder]
		if !known {
			parent, _, _ := strings.Cut(folder, "/")
			may, known = allowed[parent+"/*"]
		}
		if top, _, _ := strings.Cut(folder, "/"); top == "cmd" || top == "integration" || top == "bench" {
			continue // they wire all
		}
		if !known {
			t.Errorf("folder %s is not in the list of this test: say what it may import", folder)
		}
		for _, path := range fields[1:] {
			name, ours := strings.CutPrefix(path, module)
			if !ours {
				for lib, short := range guarded {
					if path == lib || strings.HasPrefix(path, lib+"/") {
						name, ours = short, true
					}
				}
			}
			if ours && !slices.Contains(may, name) {
				t.Errorf("%s imports %s; it may import only %v", folder, name, may)
			}
		}
	}
}
