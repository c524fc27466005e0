package transform

import (
	"fmt"
	"strings"
)

// FunctionDoc is what people are told of a function.
type FunctionDoc struct {
	Name, Family, Signature string
	Params                  []ParamDoc
	Text                    string
	Fails                   []string // reasons for which it refuses a row
	Examples                []ExampleDoc
}

// ParamDoc is a parameter; Type is in words.
type ParamDoc struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Constant bool   `json:"constant"`
	Optional bool   `json:"optional"`
}

// ExampleDoc is an expression with the expression of its result.
type ExampleDoc struct {
	Expression string `json:"expression"`
	Result     string `json:"result"`
}

// Functions describes every function, by family, in the order of the reference.
func Functions() []FunctionDoc {
	var out []FunctionDoc
	for _, family := range families {
		for _, f := range family.functions {
			out = append(out, f.describe())
		}
	}
	return out
}

// IsFunction tells whether a name can be called.
func IsFunction(name string) bool {
	f, _ := lookup(name)
	return f != nil
}

// DocOf describes a function, or the one that an _or belongs to.
func DocOf(name string) (FunctionDoc, bool) {
	f, _ := lookup(name)
	if f == nil {
		return FunctionDoc{}, false
	}
	return f.describe(), true
}

func (f *function) describe() FunctionDoc {
	d := FunctionDoc{Name: f.name, Family: f.family, Signature: f.signature(), Text: f.doc, Fails: f.fails}
	for i, p := range f.params {
		t := strings.ReplaceAll(p.types.String(), "|", ", ")
		switch p.types {
		case scalars:
			t = "any but bytes, list, object"
		case anyType &^ setOf(bytes):
			t = "any but bytes"
		}
		d.Params = append(d.Params, ParamDoc{Name: p.name, Type: t, Constant: p.constant, Optional: i >= len(f.params)-f.optional})
	}
	for _, ex := range f.examples {
		d.Examples = append(d.Examples, ExampleDoc{ex[0], ex[1]})
	}
	return d
}

// Summary is the first sentence of the description.
func (d FunctionDoc) Summary() string {
	if i := strings.Index(d.Text, ". "); i >= 0 {
		return d.Text[:i+1]
	}
	return d.Text
}

// Page is the whole of it for a terminal.
func (d FunctionDoc) Page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n", d.Signature, d.Text)
	if len(d.Params) > 0 {
		b.WriteString("\nParameters:\n")
	}
	for _, p := range d.Params {
		fmt.Fprintf(&b, "  %s: %s", p.Name, p.Type)
		if p.Constant {
			b.WriteString("; must be constant: a literal, local or variable")
		}
		if p.Optional {
			b.WriteString("; may be left out")
		}
		b.WriteString("\n")
	}
	if len(d.Fails) > 0 {
		fmt.Fprintf(&b, "\nBad input rejects the row with the reason %s.\n%s_or(..., fallback) gives the fallback instead.\n", strings.Join(d.Fails, " or "), d.Name)
		for _, r := range d.Fails {
			fmt.Fprintf(&b, "  %s: %s\n", r, reasons[r])
		}
	}
	b.WriteString("\nExamples:\n")
	for _, ex := range d.Examples {
		fmt.Fprintf(&b, "  %s is %s\n", ex.Expression, ex.Result)
	}
	return b.String()
}
