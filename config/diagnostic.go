package config

import "github.com/hashicorp/hcl/v2"

// extra is what a diagnostic of ours carries besides what HCL's have.
type extra struct {
	code   string // stable: E0312, W0301
	also   []Place
	syntax bool // the parser says it
}

// Place is another place that matters for a diagnostic, with what is there: "defined
// nullable here".
type Place struct {
	Range hcl.Range
	Note  string
}

// Errorf makes an error with a stable code. The summary says what is wrong in one
// line, the detail why and how to mend it.
func Errorf(c string, rng *hcl.Range, summary, detail string, also ...Place) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: rng, Extra: extra{code: c, also: also}}
}

// Warnf makes a warning with a stable code.
func Warnf(c string, rng *hcl.Range, summary, detail string, also ...Place) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: summary, Detail: detail, Subject: rng, Extra: extra{code: c, also: also}}
}

// Relate adds another place that matters to a diagnostic of ours.
func Relate(d *hcl.Diagnostic, p Place) {
	if e, ok := d.Extra.(extra); ok {
		e.also = append(e.also, p)
		d.Extra = e
	}
}

// Code returns a diagnostic's code, empty for one of HCL's own.
func Code(d *hcl.Diagnostic) string {
	e, _ := d.Extra.(extra)
	return e.code
}

// Also returns the other places that matter for a diagnostic.
func Also(d *hcl.Diagnostic) []Place {
	e, _ := d.Extra.(extra)
	return e.also
}
