package config

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

var nilText = cty.NullVal(cty.String)

// hasText tells whether an optional expression was written at all: gohcl gives a null one in its place.
func hasText(expr hcl.Expression) bool {
	rng := expr.Range()
	return rng.End.Byte > rng.Start.Byte
}

// codes gives HCL's own diagnostics, known by their summaries, the codes of ours.
var codes = map[string]string{
	"Unsupported block type":     "E0101",
	"Unsupported argument":       "E0102",
	"Missing required argument":  "E0103",
	"Extraneous label for":       "E0104",
	"Missing name for":           "E0104",
	"Unexpected \"":              "E0102",
	"Attribute redefined":        "E0105",
	"Duplicate":                  "E0105",
	"Incorrect attribute value":  "E0107",
	"Unsuitable value type":      "E0107",
	"Error in function call":     "E0201",
	"Call to unknown function":   "E0202",
	"Unknown variable":           "E0203",
	"Unsupported attribute":      "E0203",
	"Missing map element":        "E0203",
	"Invalid index":              "E0203",
	"Attempt to get attribute":   "E0203",
	"Variables not allowed":      "E0203",
	"Function calls not allowed": "E0202",
}

// Normalize gives each diagnostic a code and drops repeated ones.
func Normalize(diags hcl.Diagnostics) hcl.Diagnostics {
	seen := map[string]bool{}
	out := diags[:0]
	for _, d := range diags {
		if strings.HasSuffix(d.Detail, "value must be known") {
			continue // what it was to come from has its own diagnostic
		}
		if Code(d) == "" {
			c := "E0003" // what the parser says
			for start, known := range codes {
				if strings.HasPrefix(d.Summary, start) {
					c = known
				}
			}
			d.Extra = extra{code: c}
			if m := labelSummary.MatchString(d.Summary); m {
				d.Extra = extra{code: "E0104"}
			}
			reword(d)
			if _, reason, ok := strings.Cut(d.Detail, " failed: "); ok && c == "E0201" {
				d.Summary, d.Detail = strings.TrimSuffix(reason, "."), ""
			}
		}
		if id := fmt.Sprint(d.Subject, d.Summary, d.Detail); !seen[id] {
			seen[id] = true
			out = append(out, d)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return before(out[i].Subject, out[j].Subject) })
	return out
}

func before(a, b *hcl.Range) bool {
	if a == nil || b == nil {
		return a == nil && b != nil
	}
	if a.Filename != b.Filename {
		return a.Filename < b.Filename
	}
	return a.Start.Byte < b.Start.Byte
}

// Suggest returns the candidate that a misspelt name most likely meant, "" if none is near.
func Suggest(name string, candidates []string) string {
	best, distance := "", max(2, utf8.RuneCountInString(name)/3)+1
	for _, c := range candidates {
		if d := levenshtein.Distance(strings.ToLower(name), strings.ToLower(c), nil); d < distance {
			best, distance = c, d
		}
	}
	return best
}

func unknown(rng *hcl.Range, what, name string, candidates []string) *hcl.Diagnostic {
	detail := "There is " + strings.Join(candidates, ", ") + "."
	if len(candidates) == 0 {
		detail = "None is defined."
	}
	if s := Suggest(name, candidates); s != "" {
		detail = fmt.Sprintf("Did you mean %q? %s", s, detail)
	}
	return Errorf("E0108", rng, fmt.Sprintf("Unknown %s %q", what, name), detail)
}
