package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// chooseTables asks which tables; off a terminal it says how to name them.
func (c *cli) chooseTables(all map[string]int64, in io.Reader, terminal bool) ([]string, error) {
	names := sortedKeys(all)
	rows := make([][]string, 0, len(names))
	for i, name := range names {
		estimate := "not known"
		if all[name] >= 0 {
			estimate = "about " + strconv.FormatInt(all[name], 10)
		}
		if c.json {
			if err := c.line(map[string]any{"type": "table", "table": name, "rows": all[name]}); err != nil {
				return nil, err
			}
		}
		rows = append(rows, []string{strconv.Itoa(i + 1), name, estimate})
	}
	if !c.json {
		if err := c.table([]string{"", "TABLE", "ROWS"}, rows); err != nil {
			return nil, err
		}
	}
	if !terminal || c.json {
		return nil, usage("which tables? Name one with --table %s; the flag may be repeated", names[0])
	}
	answers := bufio.NewScanner(in)
	for {
		fmt.Fprint(c.out, "Which tables (numbers or names, with commas)? ")
		if !answers.Scan() {
			return nil, usage("no table was named: --table %s", names[0])
		}
		chosen, wrong := pick(names, answers.Text())
		if wrong == "" && len(chosen) > 0 {
			return chosen, nil
		}
		if wrong != "" {
			fmt.Fprintf(c.out, "There is no table %q.\n", wrong)
		}
	}
}

// pick finds the names that an answer means, or says which word means none.
func pick(names []string, answer string) (chosen []string, wrong string) {
	for _, word := range strings.FieldsFunc(answer, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if n, err := strconv.Atoi(word); err == nil && n > 0 && n <= len(names) {
			word = names[n-1]
		}
		if !slices.Contains(names, word) {
			return nil, word
		}
		if !slices.Contains(chosen, word) {
			chosen = append(chosen, word)
		}
	}
	return chosen, ""
}
