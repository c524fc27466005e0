package transform

import (
	"sort"
	"strings"
)

// didYouMean returns a sentence with the nearest of the names, or else all of a few, empty where neither helps.
func didYouMean(name string, names []string) string {
	best, bestDistance := "", len(name)/3+2
	sorted := append([]string{}, names...)
	sort.Strings(sorted)
	for _, n := range sorted {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	switch {
	case best != "":
		return `Did you mean "` + best + `"?`
	case len(sorted) > 0 && len(sorted) <= 12:
		return "There are: " + strings.Join(sorted, ", ") + "."
	}
	return ""
}

// distance counts the insertions, deletions, replacements and swaps of neighbours between two words.
func distance(a, b string) int {
	prev2 := make([]int, len(b)+1)
	prev := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}

func sortedNames[V any](m map[string]V) []string {
	names := keysOf(m)
	sort.Strings(names)
	return names
}
