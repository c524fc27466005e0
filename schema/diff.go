package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/change"
)

// Difference is one thing in which two locks differ.
type Difference struct {
	Source string `json:"source,omitempty"`
	Table  string `json:"table,omitempty"`
	App    string `json:"app,omitempty"`
	Object string `json:"object,omitempty"`
	// Part is what of the table or object: "column email", "field email", "key",
	// "before"; empty: the whole.
	Part string `json:"part,omitempty"`
	// From and To are in words; empty where it is not there.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Place is where it is: table public.customers of source shop.
func (d *Difference) Place() string {
	switch {
	case d.Table != "":
		return fmt.Sprintf("table %s of source %s", d.Table, d.Source)
	case d.Source != "":
		return "source " + d.Source
	case d.Object != "":
		return fmt.Sprintf("object %s of app %s", d.Object, d.App)
	}
	return "app " + d.App
}

// String is the difference without its place, after a sign: + there now, - gone, ~ changed.
func (d *Difference) String() string {
	part := d.Part
	if part == "" {
		part = "all of it"
	}
	switch {
	case d.From == "":
		return strings.TrimSpace("+ " + part + " " + d.To)
	case d.To == "":
		return strings.TrimSpace("- " + part + " " + d.From)
	}
	return fmt.Sprintf("~ %s: %s -> %s", part, d.From, d.To)
}

// Diff says what of a differs in b, in the order of the file.
func Diff(a, b *Lock) (out []Difference) {
	for _, name := range names(a.Sources, b.Sources) {
		x, y := a.Sources[name], b.Sources[name]
		at := Difference{Source: name}
		if x == nil || y == nil {
			at.From, at.To = there(x != nil), there(y != nil)
			out = append(out, at)
			continue
		}
		if x.Kind != y.Kind {
			out = append(out, Difference{Source: name, Part: "kind", From: x.Kind, To: y.Kind})
		}
		old, now := byName(x.Tables), byName(y.Tables)
		for _, table := range names(old, now) {
			out = append(out, DiffTables(name, table, old[table], now[table])...)
		}
	}
	for _, name := range names(a.Apps, b.Apps) {
		x, y := a.Apps[name], b.Apps[name]
		if x == nil || y == nil {
			out = append(out, Difference{App: name, From: there(x != nil), To: there(y != nil)})
			continue
		}
		if x.Kind != y.Kind {
			out = append(out, Difference{App: name, Part: "kind", From: x.Kind, To: y.Kind})
		}
		for _, object := range names(x.Objects, y.Objects) {
			out = append(out, DiffObjects(name, object, x.Objects[object], y.Objects[object])...)
		}
	}
	return out
}

// DiffTables compares two versions of a table; nil: it is not there.
func DiffTables(source, name string, a, b *Table) (out []Difference) {
	add := func(part, from, to string) {
		if from != to {
			out = append(out, Difference{Source: source, Table: name, Part: part, From: from, To: to})
		}
	}
	if a == nil || b == nil {
		add("", there(a != nil), there(b != nil))
		return out
	}
	add("key", list(a.Key), list(b.Key))
	add("before", a.Before, b.Before)
	old, now := map[string]*change.Column{}, map[string]*change.Column{}
	var order []string
	for i := range a.Columns {
		old[a.Columns[i].Name] = &a.Columns[i]
		order = append(order, a.Columns[i].Name)
	}
	for i := range b.Columns {
		now[b.Columns[i].Name] = &b.Columns[i]
		if old[b.Columns[i].Name] == nil {
			order = append(order, b.Columns[i].Name)
		}
	}
	for _, c := range order {
		add("column "+c, columnWords(old[c]), columnWords(now[c]))
	}
	return out
}

// DiffObjects compares two versions of an object; nil: it is not there.
func DiffObjects(app, name string, a, b *Object) (out []Difference) {
	add := func(part, from, to string) {
		if from != to {
			out = append(out, Difference{App: app, Object: name, Part: part, From: from, To: to})
		}
	}
	if a == nil || b == nil {
		add("", there(a != nil), there(b != nil))
		return out
	}
	old, now := map[string]*Field{}, map[string]*Field{}
	for i := range a.Fields {
		old[a.Fields[i].Name] = &a.Fields[i]
	}
	for i := range b.Fields {
		now[b.Fields[i].Name] = &b.Fields[i]
	}
	for _, f := range names(old, now) {
		x, y := old[f], now[f]
		if x != nil && y != nil && !slices.Equal(x.Options, y.Options) {
			add("field "+f+" options", optionsWords(x.Options, y.Options), optionsWords(y.Options, x.Options))
		}
		add("field "+f, fieldWords(x), fieldWords(y))
	}
	return out
}

func there(is bool) string {
	if is {
		return "(there)"
	}
	return ""
}

func names[T any](a, b map[string]T) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func byName(tables []*Table) map[string]*Table {
	out := map[string]*Table{}
	for _, t := range tables {
		out[t.QualifiedName()] = t
	}
	return out
}

func list(names []string) string {
	if len(names) == 0 {
		return "(none)"
	}
	return strings.Join(names, ", ")
}

// columnWords is a column in the database's words; the kind is told where the words are
// the same for several.
func columnWords(c *change.Column) string {
	if c == nil {
		return ""
	}
	words := c.Type
	if c.Kind == change.Array {
		words += " (array of " + c.Element.String() + ")"
	} else if words == "" {
		words = c.Kind.String()
	}
	if c.Nullable {
		words += ", nullable"
	} else {
		words += ", not null"
	}
	if c.Generated {
		words += ", generated"
	}
	if len(c.Labels) > 0 {
		words += ", one of " + strings.Join(c.Labels, " | ")
	}
	return words
}

func fieldWords(f *Field) string {
	if f == nil {
		return ""
	}
	words := f.Type
	if f.Length > 0 {
		words += fmt.Sprintf(", at most %d characters", f.Length)
	}
	for _, flag := range []struct {
		is   bool
		word string
	}{{f.Required, "required"}, {f.Unique, "unique"}, {f.ReadOnly, "read-only"}} {
		if flag.is {
			words += ", " + flag.word
		}
	}
	return words
}

// optionsWords is a list of options without those that are the same in the other one,
// so that one of 300 that came or went can be seen.
func optionsWords(options, other []string) string {
	var own []string
	for _, o := range options {
		if !slices.Contains(other, o) {
			own = append(own, o)
		}
	}
	if len(own) == len(options) || len(own) == 0 && len(options) == len(other) {
		return list(options)
	}
	if len(own) == 0 {
		return fmt.Sprintf("%d others", len(options))
	}
	return fmt.Sprintf("%s and %d others", strings.Join(own, ", "), len(options)-len(own))
}
