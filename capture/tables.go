package capture

import "strings"

// Selection says which tables are captured: those that patterns name and those with
// a block of their own.
type Selection struct {
	// Patterns are schema.table (MySQL: database.table) with * (any characters) and ?
	// (one) in either part; ! in front excludes.
	Patterns []string
	// Named are tables in full, captured whatever the patterns say.
	Named []string
}

// Captures tells whether a table is selected.
func (s *Selection) Captures(schema, table string) bool {
	for _, name := range s.Named {
		if rest, ok := strings.CutPrefix(name, schema+"."); ok && rest == table {
			return true
		}
	}
	in := false
	for _, p := range s.Patterns {
		if rest, not := strings.CutPrefix(p, "!"); not {
			if MatchTable(rest, schema, table) {
				return false
			}
		} else if MatchTable(p, schema, table) {
			in = true
		}
	}
	return in
}

// MatchTable matches a table against a pattern, part by part. The first dot of the
// pattern parts them.
func MatchTable(pattern, schema, table string) bool {
	s, t, ok := strings.Cut(pattern, ".")
	return ok && match(s, schema) && match(t, table)
}

// match matches a name against a pattern with * and ?.
func match(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i++
			j++
		case star >= 0: // let the last * take one more
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
