package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penstock-cdc/penstock/simulator"
)

// fault makes the simulator go wrong: JSON as POST /_sim/faults takes it, or "clear".
func fault(ts *testscript.TestScript, args []string) {
	s := stageOf(ts)
	if words(args) == "clear" {
		s.simulator.ClearFaults()
		return
	}
	var f simulator.Fault
	ts.Check(json.Unmarshal([]byte(words(args)), &f))
	ts.Check(s.simulator.AddFault(f))
}

// edit does what a person does in the app: JSON as POST /_sim/edit takes it.
func edit(ts *testscript.TestScript, args []string) {
	var e simulator.Edit
	ts.Check(json.Unmarshal([]byte(words(args)), &e))
	_, err := stageOf(ts).simulator.Edit(e)
	ts.Check(err)
}

// contacts compares the app's contacts with a file of JSON lines in any order. Compared
// are the properties that the file names in any line; archived contacts count only if a
// line has "archived". With -wait it waits until they are equal.
func contacts(ts *testscript.TestScript, args []string) {
	wait := len(args) > 0 && args[0] == "-wait"
	if wait {
		args = args[1:]
	}
	if len(args) != 1 {
		ts.Fatalf("usage: contacts [-wait] FILE")
	}
	names, want := map[string]bool{}, []string{}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var properties map[string]string
		if err := json.Unmarshal([]byte(line), &properties); err != nil {
			ts.Fatalf("%s: %s: %v", args[0], line, err)
		}
		for name := range properties {
			names[name] = true
		}
		want = append(want, render(properties))
	}
	sort.Strings(want)
	difference := func() string {
		records, err := stageOf(ts).simulator.Objects("contacts")
		ts.Check(err)
		got := []string{}
		for _, r := range records {
			if r.Archived && !names["archived"] {
				continue
			}
			properties := map[string]string{}
			for _, f := range r.Fields {
				if names[f.Name] {
					properties[f.Name] = f.Value
				}
			}
			if names["id"] {
				properties["id"] = r.ID
			}
			if r.Archived {
				properties["archived"] = "true"
			}
			got = append(got, render(properties))
		}
		sort.Strings(got)
		return cmp.Diff(want, got)
	}
	if wait {
		eventually(ts, difference)
	} else if diff := difference(); diff != "" {
		ts.Fatalf("contacts (-want +got):\n%s", diff)
	}
}

// render is a record with its properties by name; empty ones are those that it has not.
func render(properties map[string]string) string {
	for name, value := range properties {
		if value == "" {
			delete(properties, name)
		}
	}
	b, err := json.Marshal(properties)
	if err != nil {
		panic(err) // strings
	}
	return string(b)
}

// calls compares the number of calls that were made since the last `calls`, by the last
// word of their path: calls upsert=1 archive=1. upsert alone is at least one call: several
// commits may go out together or not, as they come. Reads of any kind are not counted, nor
// what was refused as a whole.
func calls(ts *testscript.TestScript, args []string) {
	s := stageOf(ts)
	all := s.simulator.Calls()
	count := map[string]int{}
	for _, c := range all[s.seen:] {
		if word := path.Base(c.Path); c.Method != "GET" && word != "read" && word != "search" && c.Status < 400 {
			count[word]++
		}
	}
	s.seen = len(all)
	got := []string{}
	for word, n := range count {
		if slices.Contains(args, word) {
			got = append(got, word)
			continue
		}
		got = append(got, fmt.Sprintf("%s=%d", word, n))
	}
	sort.Strings(got)
	sort.Strings(args)
	if diff := cmp.Diff(strings.Join(args, " "), strings.Join(got, " ")); diff != "" {
		ts.Fatalf("calls (-want +got):\n%s", diff)
	}
}

// request makes a request to the app as its administrator's tools do: request METHOD PATH [JSON].
func request(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: request METHOD PATH [JSON]")
	}
	q, err := http.NewRequestWithContext(context.Background(), args[0], ts.Getenv("HUBSPOT_URL")+args[1], strings.NewReader(words(args[2:])))
	ts.Check(err)
	q.Header.Set("Authorization", "Bearer "+ts.Getenv("HUBSPOT_TOKEN"))
	q.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(q)
	ts.Check(err)
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		text, _ := io.ReadAll(answer.Body)
		ts.Fatalf("%s %s: %s %s", args[0], args[1], answer.Status, text)
	}
}
