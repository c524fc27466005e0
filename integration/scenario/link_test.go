package scenario

import (
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// links compares the associations of the app's deals with a file: lines of a deal and the record that it is associated with, each
// as its object and its shop_id: "deals 1 contacts 7". A deal with none is a line "deals 1". With -wait it waits until they are
// equal.
func links(ts *testscript.TestScript, args []string) {
	wait := len(args) > 0 && args[0] == "-wait"
	if wait {
		args = args[1:]
	}
	if len(args) != 1 {
		ts.Fatalf("usage: links [-wait] FILE")
	}
	want := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n")
	slices.Sort(want)
	difference := func() string {
		names, bare := map[string]string{}, map[string]bool{}
		for _, object := range []string{"contacts", "companies", "deals"} {
			records, err := stageOf(ts).simulator.Objects(object)
			ts.Check(err)
			for _, r := range records {
				for _, f := range r.Fields {
					if f.Name == "shop_id" && !r.Archived {
						names[object+"/"+r.ID] = object + " " + f.Value
						bare[object+" "+f.Value] = object == "deals"
					}
				}
			}
		}
		all, err := stageOf(ts).simulator.Objects("associations")
		ts.Check(err)
		got := []string{}
		for _, a := range all {
			from, to, _ := strings.Cut(a.ID, " ")
			if strings.HasPrefix(from, "deals/") && names[from] != "" && names[to] != "" {
				got = append(got, names[from]+" "+names[to])
				bare[names[from]] = false
			}
		}
		for name, alone := range bare {
			if alone {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		return cmp.Diff(want, got)
	}
	if wait {
		eventually(ts, difference)
	} else if diff := difference(); diff != "" {
		ts.Fatalf("associations (-want +got):\n%s", diff)
	}
}
