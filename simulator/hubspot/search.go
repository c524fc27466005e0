package hubspot

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-cdc/penstock/simulator"
)

// Limits of a search ([search]). For filters these are the smaller numbers in use: the
// changelog of August 2024 says 10 in a group and 25 in all.
const (
	maxGroups     = 5
	maxFilters    = 6 // in a group
	maxAllFilters = 18
	maxPage       = 200
	maxResults    = 10_000 // beyond which paging is refused
)

type searchBody struct {
	Groups []struct {
		Filters []filter `json:"filters"`
	} `json:"filterGroups"`
	Sorts      []json.RawMessage `json:"sorts"`
	Query      string            `json:"query"`
	Properties []string          `json:"properties"`
	Limit      *int              `json:"limit"`
	After      json.RawMessage   `json:"after"`
}

type filter struct {
	Property string   `json:"propertyName"`
	Operator string   `json:"operator"`
	Value    *string  `json:"value"`
	Values   []string `json:"values"`
	High     *string  `json:"highValue"`
}

// search finds live records as they were searchLag ago: in any group, all filters.
func (a *app) search(t *objectType, c *simulator.Call) simulator.Reply {
	var body searchBody
	if err := json.Unmarshal(c.Body, &body); err != nil {
		return badRequest("Invalid input JSON on line 1, column 1: %v", err).reply()
	}
	defs := t.defs.Load()
	limit, after, e := body.check(defs)
	if e != nil {
		return e.reply()
	}
	order, e := body.order(defs)
	if e != nil {
		return e.reply()
	}
	query := strings.ToLower(body.Query)
	shown := c.At.Add(-a.searchLag).UnixNano()

	var hits []snapshot
	a.mu.Lock()
	for _, r := range t.ordered {
		s, ok := r.visible(shown)
		if ok && (query == "" || s.mentions(query)) && body.matches(t, defs, s) {
			hits = append(hits, s)
		}
	}
	a.mu.Unlock()
	if order != nil {
		slices.SortStableFunc(hits, func(x, y snapshot) int { return order(t, x, y) })
	}

	total := len(hits)
	hits = hits[min(after, total):min(after+limit, total)]
	names := t.names(body.Properties)
	out := append([]byte(`{"total":`), strconv.Itoa(total)...)
	out = append(out, `,"results":[`...)
	for i, s := range hits {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(s.appendJSON(out, t, names), '}')
	}
	out = append(out, ']')
	if after+limit < total {
		out = append(out, `,"paging":{"next":{"after":"`...)
		out = strconv.AppendInt(out, int64(after+limit), 10)
		out = append(out, `"}}`...)
	}
	return simulator.Reply{Status: http.StatusOK, Body: append(out, '}'), Records: len(hits)}
}

func (b *searchBody) check(defs *properties) (limit, after int, e *apiError) {
	limit = 10
	if b.Limit != nil {
		limit = *b.Limit
	}
	if limit < 1 || limit > maxPage {
		return 0, 0, badRequest("limit %d is not from 1 to %d", limit, maxPage)
	}
	if text := strings.Trim(string(b.After), `"`); text != "" && text != "null" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, 0, badRequest("after %q is not a paging cursor", text)
		}
		after = n
	}
	if after+limit > maxResults {
		return 0, 0, badRequest("The search would go beyond %d results: narrow it", maxResults)
	}
	if len(b.Groups) > maxGroups {
		return 0, 0, badRequest("The search has %d filterGroups, the maximum is %d", len(b.Groups), maxGroups)
	}
	filters := 0
	for _, g := range b.Groups {
		filters += len(g.Filters)
		if len(g.Filters) > maxFilters || filters > maxAllFilters {
			return 0, 0, badRequest("The search has too many filters: at most %d in a group and %d in all", maxFilters, maxAllFilters)
		}
		for i := range g.Filters {
			if e := g.Filters[i].check(defs); e != nil {
				return 0, 0, e
			}
		}
	}
	return limit, after, nil
}

// check also puts the values in lower case: search does not tell case apart.
func (f *filter) check(defs *properties) *apiError {
	if defs.byName[f.Property] == nil {
		return badRequest("There was a problem with the request: property %q does not exist", f.Property)
	}
	lower := func(s *string) {
		if s != nil {
			*s = strings.ToLower(*s)
		}
	}
	lower(f.Value)
	lower(f.High)
	for i := range f.Values {
		lower(&f.Values[i])
	}
	switch f.Operator {
	case "EQ", "NEQ", "LT", "LTE", "GT", "GTE", "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN":
		if f.Value == nil {
			return badRequest("Operator %s on %s needs a value", f.Operator, f.Property)
		}
	case "BETWEEN":
		if f.Value == nil || f.High == nil {
			return badRequest("Operator BETWEEN on %s needs value and highValue", f.Property)
		}
	case "IN", "NOT_IN":
		if len(f.Values) == 0 {
			return badRequest("Operator %s on %s needs values", f.Operator, f.Property)
		}
	case "HAS_PROPERTY", "NOT_HAS_PROPERTY":
		if f.Value != nil {
			return badRequest("Operator %s on %s takes no value", f.Operator, f.Property)
		}
	default:
		return badRequest("Operator %q is not known", f.Operator)
	}
	return nil
}

func (b *searchBody) matches(t *objectType, defs *properties, s snapshot) bool {
	if len(b.Groups) == 0 {
		return true
	}
	for _, g := range b.Groups {
		all := true
		for i := range g.Filters {
			f := &g.Filters[i]
			if !f.matches(defs.byName[f.Property], strings.ToLower(s.property(t, f.Property))) {
				all = false
				break
			}
		}
		if all {
			return true
		}
	}
	return false
}

// matches compares a record's value, in lower case. A record without the property
// matches NOT_HAS_PROPERTY only, and what is negated.
func (f *filter) matches(d *property, have string) bool {
	switch f.Operator {
	case "HAS_PROPERTY":
		return have != ""
	case "NOT_HAS_PROPERTY":
		return have == ""
	case "NEQ":
		return have == "" || compare(d, have, *f.Value) != 0
	case "NOT_IN":
		return have == "" || !slices.ContainsFunc(f.Values, func(v string) bool { return compare(d, have, v) == 0 })
	case "NOT_CONTAINS_TOKEN":
		return !hasToken(have, *f.Value)
	}
	if have == "" {
		return false
	}
	switch f.Operator {
	case "EQ":
		return compare(d, have, *f.Value) == 0
	case "LT":
		return compare(d, have, *f.Value) < 0
	case "LTE":
		return compare(d, have, *f.Value) <= 0
	case "GT":
		return compare(d, have, *f.Value) > 0
	case "GTE":
		return compare(d, have, *f.Value) >= 0
	case "BETWEEN":
		return compare(d, have, *f.Value) >= 0 && compare(d, have, *f.High) <= 0
	case "IN":
		return slices.ContainsFunc(f.Values, func(v string) bool { return compare(d, have, v) == 0 })
	}
	return hasToken(have, *f.Value) // CONTAINS_TOKEN
}

// compare orders two values by the type of their property.
func compare(d *property, a, b string) int {
	switch d.Type {
	case "number":
		x, errX := strconv.ParseFloat(a, 64)
		y, errY := strconv.ParseFloat(b, 64)
		if errX == nil && errY == nil {
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		}
	case "date", "datetime":
		x, okX := instant(strings.ToUpper(a))
		y, okY := instant(strings.ToUpper(b))
		if okX && okY {
			return x.Compare(y)
		}
	}
	return cmpString(a, b)
}

// hasToken looks for a word; an asterisk before or after it stands for anything.
func hasToken(text, pattern string) bool {
	word := strings.Trim(pattern, "*")
	if word == "" {
		return false
	}
	front, back := strings.HasPrefix(pattern, "*"), strings.HasSuffix(pattern, "*")
	fits := func(token string) bool {
		switch {
		case front && back:
			return strings.Contains(token, word)
		case front:
			return strings.HasSuffix(token, word)
		case back:
			return strings.HasPrefix(token, word)
		}
		return token == word
	}
	if fits(text) {
		return true
	}
	for token := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" @.,;:-_/", r) }) {
		if fits(token) {
			return true
		}
	}
	return false
}

// mentions is the free-text query, over all text of the record.
func (s snapshot) mentions(query string) bool {
	for _, f := range s.fields {
		if strings.Contains(strings.ToLower(f.Value), query) {
			return true
		}
	}
	return false
}

// order is the first of the sorts; without one the oldest record comes first ([search]).
func (b *searchBody) order(defs *properties) (func(t *objectType, x, y snapshot) int, *apiError) {
	if len(b.Sorts) == 0 {
		return nil, nil
	}
	if len(b.Sorts) > 1 {
		return nil, badRequest("The search has %d sorts, the maximum is 1", len(b.Sorts))
	}
	var by struct {
		Property  string `json:"propertyName"`
		Direction string `json:"direction"`
	}
	if json.Unmarshal(b.Sorts[0], &by.Property) == nil {
		if name, down := strings.CutPrefix(by.Property, "-"); down {
			by.Property, by.Direction = name, "DESCENDING"
		}
	} else if err := json.Unmarshal(b.Sorts[0], &by); err != nil {
		return nil, badRequest("Invalid input JSON: sorts: %v", err)
	}
	d := defs.byName[by.Property]
	if d == nil {
		return nil, badRequest("There was a problem with the request: property %q does not exist", by.Property)
	}
	return func(t *objectType, x, y snapshot) int {
		n := compare(d, x.property(t, d.Name), y.property(t, d.Name))
		if by.Direction == "DESCENDING" {
			return -n
		}
		return n
	}, nil
}
