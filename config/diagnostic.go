package config

import "github.com/hashicorp/hcl/v2"

// code is the stable code of a diagnostic (E0312, W0301), carried in its Extra.
type code string

// Errorf makes an error with a stable code. The summary says what is wrong in one
// line, the detail why and how to mend it.
func Errorf(c string, rng *hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: rng, Extra: code(c)}
}

// Warnf makes a warning with a stable code.
func Warnf(c string, rng *hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: summary, Detail: detail, Subject: rng, Extra: code(c)}
}

// Code returns a diagnostic's code, empty for one of HCL's own.
func Code(d *hcl.Diagnostic) string {
	c, _ := d.Extra.(code)
	return string(c)
}
