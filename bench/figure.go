package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// figure is one line of the table.
type figure struct {
	what, goal, measured string
	verdict              string // met, missed, or empty where there is no goal
	detail               string // the single runs
}

// atLeast and atMost are the goal of a figure.
func atLeast(measured, goal float64) string { return verdict(measured >= goal) }
func atMost(measured, goal float64) string  { return verdict(measured <= goal) }

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

// add keeps a figure and prints it.
func (s *suite) add(f figure) {
	s.figures = append(s.figures, f)
	s.note("  %s: %s (goal: %s) %s", f.what, f.measured, orDash(f.goal), f.verdict)
}

// median is the middle one, of an even number the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// quantile is the smallest value that a share q of all does not exceed.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := int(q*float64(len(sorted)) + 0.999999)
	return sorted[min(max(n, 1), len(sorted))-1]
}

// alternate runs the variants in turns, each round beginning with the next one, and
// returns the results of each.
func alternate(runs int, variants ...func() (float64, error)) ([][]float64, error) {
	results := make([][]float64, len(variants))
	for round := range runs {
		for i := range variants {
			v := (round + i) % len(variants)
			r, err := variants[v]()
			if err != nil {
				return nil, err
			}
			results[v] = append(results[v], r)
		}
	}
	return results, nil
}

// number writes 1234567.8 as 1,234,568.
func number(f float64) string {
	digits := fmt.Sprintf("%.0f", f)
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && digits[i-1] != '-' && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// list writes each value, by a form that number and others have.
func list(values []float64, form func(float64) string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = form(v)
	}
	return strings.Join(out, " ")
}

func mebibytes(bytes float64) string { return fmt.Sprintf("%.0f MiB", bytes/(1<<20)) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (f figure) columns() []string {
	return []string{f.what, orDash(f.goal), f.measured, orDash(f.verdict), orDash(f.detail)}
}

var heading = []string{"What", "Goal", "Measured", "", "Single runs"}

func textTable(figures []figure) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(heading, "\t"))
	for _, f := range figures {
		fmt.Fprintln(w, strings.Join(f.columns(), "\t"))
	}
	_ = w.Flush() // into memory
	return b.String()
}

func markdownTable(figures []figure) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(heading, " | "), strings.Repeat("---|", len(heading)))
	for _, f := range figures {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(f.columns(), " | "))
	}
	return b.String()
}
