// Package schema has what databases and apps look like as a file, schema.lock.json: with
// it a project is checked with no network. The file has one line a column or field, in a
// stable order, so that a change of it reads well in a diff.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/transform"
)

// FileName is the lock's name in a project folder.
const FileName = "schema.lock.json"

// Format is the version of the file's form that this package writes. It reads no other.
const Format = 1

// Lock is what the sources and apps of a project look like.
type Lock struct {
	Sources map[string]*Source // by name
	Apps    map[string]*App    // by name
}

// Source is what a database has: the captured tables, sorted by name.
type Source struct {
	Kind   string
	Tables []*Table
}

// Table is a table's schema. Columns that are left out by the configuration are not in it.
type Table struct {
	Database string   `json:"database,omitempty"` // of MySQL; Postgres' is left out, as it differs between environments
	Schema   string   `json:"schema,omitempty"`
	Name     string   `json:"name"`
	Key      []string `json:"key,omitempty"` // columns of the message key, in key order
	// Before is what updates and deletes carry of the former row: "key", or "full"
	// (Postgres: replica identity full).
	Before  string          `json:"before"`
	Columns []change.Column `json:"-"`
}

// QualifiedName is the name that configurations use.
func (t *Table) QualifiedName() string {
	if t.Schema != "" {
		return t.Schema + "." + t.Name
	}
	return t.Database + "." + t.Name
}

// App is what an app has: the objects that pipelines write, by name.
type App struct {
	Kind    string
	Objects map[string]*Object
}

// Object is an app's object; its fields are sorted by name.
type Object struct {
	Fields []Field
}

// Field is one field of an object.
type Field struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Length   int      `json:"length,omitempty"`
	Options  []string `json:"options,omitempty"`
	Required bool     `json:"required,omitempty"`
	Unique   bool     `json:"unique,omitempty"`
	ReadOnly bool     `json:"read_only,omitempty"`
}

// TableOf makes a lock's table of one that a source described.
func TableOf(t *change.Table) *Table {
	out := &Table{Schema: t.Schema, Name: t.Name, Before: "key", Columns: slices.Clone(t.Columns)}
	if t.Schema == "" {
		out.Database = t.Database
	}
	if t.FullBefore {
		out.Before = "full"
	}
	for i := range out.Columns {
		out.Columns[i].PII = false // the configuration's word, not the database's
	}
	for _, k := range t.Key {
		out.Key = append(out.Key, t.Columns[k].Name)
	}
	return out
}

// Table makes a table to check expressions against. Its topic is empty and its version
// none that a stream has.
func (t *Table) Table() *change.Table {
	out := &change.Table{Database: t.Database, Schema: t.Schema, Name: t.Name, FullBefore: t.Before == "full", Columns: slices.Clone(t.Columns)}
	for _, name := range t.Key {
		if i := out.Column(name); i >= 0 {
			out.Key = append(out.Key, i)
		}
	}
	return out.Seal()
}

// ObjectOf makes a lock's object of one that an app described.
func ObjectOf(o *transform.Object) *Object {
	out := &Object{}
	for i := range o.Fields {
		f := &o.Fields[i]
		out.Fields = append(out.Fields, Field{
			Name: f.Name, Type: string(f.Type), Length: f.Length, Options: f.Options, Required: f.Required, Unique: f.Unique, ReadOnly: f.ReadOnly,
		})
	}
	slices.SortFunc(out.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Object makes an object to check expressions against.
func (o *Object) Object(name string) *transform.Object {
	out := &transform.Object{Name: name}
	for i := range o.Fields {
		f := &o.Fields[i]
		out.Fields = append(out.Fields, transform.ObjectField{
			Name: f.Name, Type: transform.FieldType(f.Type), Length: f.Length, Options: f.Options, Required: f.Required, Unique: f.Unique, ReadOnly: f.ReadOnly,
		})
	}
	return out
}

// ErrNone says that there is no lock file.
var ErrNone = errors.New("there is no " + FileName)

// file is the lock as it is read.
type file struct {
	Format  int `json:"format"`
	Sources map[string]struct {
		Kind   string `json:"kind"`
		Tables []struct {
			Table
			Columns []change.Column `json:"columns"`
		} `json:"tables"`
	} `json:"sources"`
	Apps map[string]struct {
		Kind    string `json:"kind"`
		Objects map[string]struct {
			Fields []Field `json:"fields"`
		} `json:"objects"`
	} `json:"apps"`
}

// Read reads a lock file. A file that is not there is ErrNone.
func Read(path string) (*Lock, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	return Parse(text)
}

// Parse reads a lock's text.
func Parse(text []byte) (*Lock, error) {
	var f file
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, fmt.Errorf("it is not JSON as penstock writes it: %w; a merge may have left marks in it: write it anew with penstock schema pull", err)
	}
	if version.Format != Format {
		return nil, fmt.Errorf("its format is %d, and this penstock reads %d: write it anew with penstock schema pull", version.Format, Format)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: write it anew with penstock schema pull", err)
	}
	l := &Lock{Sources: map[string]*Source{}, Apps: map[string]*App{}}
	for name, s := range f.Sources {
		src := &Source{Kind: s.Kind}
		for i := range s.Tables {
			t := s.Tables[i].Table
			t.Columns = s.Tables[i].Columns
			src.Tables = append(src.Tables, &t)
		}
		l.Sources[name] = src
	}
	for name, a := range f.Apps {
		app := &App{Kind: a.Kind, Objects: map[string]*Object{}}
		for object, o := range a.Objects {
			app.Objects[object] = &Object{Fields: o.Fields}
		}
		l.Apps[name] = app
	}
	return l, nil
}

// Text is the lock's file.
func (l *Lock) Text() []byte {
	w := &writer{}
	w.open("{")
	w.item("format", Format)
	w.open(`"sources": {`)
	for _, name := range slices.Sorted(maps.Keys(l.Sources)) {
		s := l.Sources[name]
		w.open(quote(name) + ": {")
		w.item("kind", s.Kind)
		w.open(`"tables": [`)
		tables := slices.SortedFunc(slices.Values(s.Tables), func(a, b *Table) int { return strings.Compare(a.QualifiedName(), b.QualifiedName()) })
		for _, t := range tables {
			head := quote(t)
			w.open(strings.TrimSuffix(head, "}") + `, "columns": [`)
			for i := range t.Columns {
				w.line(quote(t.Columns[i]))
			}
			w.close("]}")
		}
		w.close("]")
		w.close("}")
	}
	w.close("}")
	w.open(`"apps": {`)
	for _, name := range slices.Sorted(maps.Keys(l.Apps)) {
		a := l.Apps[name]
		w.open(quote(name) + ": {")
		w.item("kind", a.Kind)
		w.open(`"objects": {`)
		for _, object := range slices.Sorted(maps.Keys(a.Objects)) {
			w.open(quote(object) + `: {"fields": [`)
			for _, f := range a.Objects[object].Fields {
				w.line(quote(f))
			}
			w.close("]}")
		}
		w.close("}")
		w.close("}")
	}
	w.close("}")
	w.close("}")
	return append(w.buf, '\n')
}

// writer lays JSON out with a line for each thing that changes by itself.
type writer struct {
	buf   []byte
	depth int
	fresh bool // nothing stands yet in the innermost bracket
}

func (w *writer) next() {
	if len(w.buf) > 0 {
		if !w.fresh {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(w.buf, '\n')
	}
	w.buf = append(w.buf, strings.Repeat("  ", w.depth)...)
	w.fresh = false
}

func (w *writer) line(s string)           { w.next(); w.buf = append(w.buf, s...) }
func (w *writer) item(name string, v any) { w.line(quote(name) + ": " + quote(v)) }
func (w *writer) open(s string)           { w.line(s); w.depth++; w.fresh = true }
func (w *writer) close(s string) {
	w.depth--
	if !w.fresh {
		w.buf = append(w.buf, '\n')
		w.buf = append(w.buf, strings.Repeat("  ", w.depth)...)
	}
	w.buf = append(w.buf, s...)
	w.fresh = false
}

// quote is a value as JSON on one line.
func quote(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("encode lock: " + err.Error()) // plain data: cannot fail
	}
	return strings.TrimSuffix(b.String(), "\n")
}
