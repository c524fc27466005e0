// Package draft writes the first version of a project's files from what a database's
// table and an app's object look like: what can be told from names and types is written
// out, the rest is listed in comments for a person to decide.
package draft

import (
	"fmt"
	"strings"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/transform"
)

// What the drafts assume where the row does not say, with a comment.
const (
	DefaultCountry  = "US"
	DefaultCurrency = "USD"
)

// Settings are what penstock.hcl has, beside the tables. Addresses and credentials are
// read from the environment, so none of them is here.
type Settings struct {
	SourceKind, Source string // block labels
	SourceVariable     string // that has the database's URL
	AppKind, App       string
	TokenVariable      string
	BaseURL            string // of the app; "": the vendor's
	DataDir            string
	Tables             []Table
}

// Table is one table and the object that its rows become.
type Table struct {
	Alias  string // of its block
	Name   string // schema.table
	Table  *change.Table
	Object *transform.Object
}

// Pipeline is a drafted pipeline.
type Pipeline struct {
	Name, File string
	Text       []byte // laid out as penstock fmt does
	Key        string // the app's field that is the key
	// Missing: the app has no such field yet; it must be made, with unique values.
	Missing bool
	Matched []string // column -> field
	Columns []string // that went nowhere
	// Assumed are required fields that got a value of no meaning.
	Assumed []string
}

// Project is penstock.hcl.
func (s *Settings) Project() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Set %s and %s in the environment; they are in no file.\n\n", s.SourceVariable, s.TokenVariable)
	fmt.Fprintf(&b, "penstock { data_dir = %s }\n\n", Quote(s.DataDir))
	fmt.Fprintf(&b, "secret %s { value = env(%s) }\n\n", Quote(s.App+"_token"), Quote(s.TokenVariable))
	fmt.Fprintf(&b, "source %s %s {\n  url = env(%s)\n", Quote(s.SourceKind), Quote(s.Source), Quote(s.SourceVariable))
	for i := range s.Tables {
		fmt.Fprintf(&b, "  table %s { name = %s }\n", Quote(s.Tables[i].Alias), Quote(s.Tables[i].Name))
	}
	fmt.Fprintf(&b, "}\n\napp %s %s {\n  token = secret.%s_token\n", Quote(s.AppKind), Quote(s.App), s.App)
	if s.BaseURL != "" {
		fmt.Fprintf(&b, "  base_url = %s\n", Quote(s.BaseURL))
	}
	b.WriteString("}\n")
	return format("penstock.hcl", b.String())
}

// drafter drafts one pipeline.
type drafter struct {
	*Settings
	Pipeline
	alias     string
	table     *change.Table
	object    *transform.Object
	pairs     []pair
	cleans    []clean
	read      map[string]bool // columns that help others: currency, country
	addressed bool            // rows without an address are rejected, and records are matched by it
	none      []string        // required fields for which there is no value at all
}

// clean is an attribute of the clean block.
type clean struct{ name, value, comment string }

// Draft writes a table's pipeline with its tests. The error says what stands in the way.
func (s *Settings) Draft(t *Table) (*Pipeline, error) {
	if len(t.Table.Key) == 0 {
		return nil, fmt.Errorf("table %s has no primary key, by which the app's record would be found: give it one, or write the pipeline by hand with key columns in its table block", t.Name)
	}
	d := &drafter{Settings: s, read: map[string]bool{}, alias: t.Alias, table: t.Table, object: t.Object}
	d.Name, d.File = t.Alias+"_to_"+s.App, t.Alias+".hcl"
	if err := d.chooseKey(); err != nil {
		return nil, err
	}
	d.match()
	d.clean()
	text := d.pipeline()
	if len(d.none) > 0 {
		return nil, fmt.Errorf("object %s of the app requires %s, for which table %s has no column and no value can be assumed: write the pipeline by hand", t.Object.Name, strings.Join(d.none, ", "), t.Name)
	}
	if len(d.pairs)+len(d.Assumed) == 0 {
		return nil, fmt.Errorf("no column of table %s goes into object %s: none is named like one of its fields and of a type that fits; name another object, or write the pipeline by hand", t.Name, t.Object.Name)
	}
	d.Text = format(d.File, text+d.tests())
	return &d.Pipeline, nil
}

// format lays a draft out.
func format(name, text string) []byte {
	out, diags := config.Format(name, []byte(text))
	if diags.HasErrors() {
		panic("draft: " + diags.Error() + " in\n" + text) // every name in it is quoted
	}
	return out
}

// chooseKey finds the app's field for the key: text with unique values that is named
// after this source or table. One of another system's must not be taken.
func (d *drafter) chooseKey() error {
	stem, source := normal(singular(d.table.Name)), normal(d.Source)
	wanted := Identifier(d.Source + "_" + d.alias + "_id")
	best := ""
	for i := range d.object.Fields {
		f := &d.object.Fields[i]
		usable := f.Unique && !f.ReadOnly && f.Type == transform.FieldText
		if f.Name == wanted {
			if !usable {
				return fmt.Errorf("field %s of object %s would be the key, but the app does not keep it as text with unique values: make it anew, or write the pipeline by hand", wanted, d.object.Name)
			}
			best = wanted
			break
		}
		n := normal(f.Name)
		if !usable || !strings.HasSuffix(n, "id") {
			continue
		}
		if n == stem+"id" || n == source+stem+"id" || n == source+"id" || n == "externalid" {
			best = f.Name
		}
	}
	if best == "" {
		best, d.Missing = wanted, true
	}
	d.Key = best
	return nil
}

// keyValue is the key as text.
func (d *drafter) keyValue() string {
	if len(d.table.Key) == 1 {
		c := &d.table.Columns[d.table.Key[0]]
		if c.Kind == change.String || c.Kind == change.Enum {
			return row(c.Name)
		}
		return "tostring(" + row(c.Name) + ")"
	}
	var parts []string
	for _, k := range d.table.Key {
		parts = append(parts, "${tostring("+row(d.table.Columns[k].Name)+")}")
	}
	return `"` + strings.Join(parts, "/") + `"`
}

// KeyField is the field that an object must get for a key that is missing, with the
// length that the object's other texts have.
func KeyField(name string, object *transform.Object) transform.ObjectField {
	out := transform.ObjectField{Name: name, Type: transform.FieldText, Unique: true}
	for i := range object.Fields {
		if f := &object.Fields[i]; f.Type == transform.FieldText {
			out.Length = max(out.Length, f.Length)
		}
	}
	return out
}

// Identifier makes a name of lower-case letters, digits and underscores that begins with a letter.
func Identifier(name string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, strings.ToLower(name))
	if out == "" || out[0] < 'a' || out[0] > 'z' {
		out = "t" + out
	}
	return out
}
