package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/penstock-cdc/penstock/config"
)

// line writes one JSON object of --output json.
func (c *cli) line(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// style is the form of diagnostics that go to w.
func (c *cli) style(w io.Writer) config.Style {
	switch {
	case c.json:
		return config.JSON
	case c.format == "github":
		return config.GitHub
	case colours(w):
		return config.Colour
	}
	return config.Plain
}

// colours tells whether w is a terminal that may show colours (https://no-color.org).
func colours(w io.Writer) bool {
	return terminal(w) != nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// terminal returns the terminal that w is, nil where it is none.
func terminal(w io.Writer) *os.File {
	if s, ok := w.(*loadScreen); ok {
		return s.file
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// table writes rows in aligned columns.
func (c *cli) table(header []string, rows [][]string) error {
	w := tabwriter.NewWriter(c.out, 0, 8, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			end := "\t"
			if i == len(row)-1 {
				end = "\n"
			}
			fmt.Fprint(w, cell+end)
		}
	}
	return w.Flush()
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, name := float64(n)/unit, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, name = value/unit, next
	}
	return fmt.Sprintf("%.1f %s", value, name)
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
