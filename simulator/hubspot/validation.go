package hubspot

import (
	"fmt"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// rule is a validation rule that an administrator has set on a property. Until 2026-09 they held for people only; from
// that version on they hold for all writes (changelog of August 2026). The names are those of the property validations
// API; the code in the refusal is (assumed).
type rule struct {
	Object    string   `json:"object"`
	Property  string   `json:"property"`
	Type      string   `json:"ruleType"` // MIN_LENGTH, MAX_LENGTH, MIN_NUMBER, MAX_NUMBER, REGEX
	Arguments []string `json:"ruleArguments"`

	pattern *regexp.Regexp
	bound   float64
}

func (r *rule) compile() (err error) {
	if len(r.Arguments) != 1 {
		return fmt.Errorf("rule %s needs one argument", r.Type)
	}
	switch r.Type {
	case "MIN_LENGTH", "MAX_LENGTH", "MIN_NUMBER", "MAX_NUMBER":
		r.bound, err = strconv.ParseFloat(r.Arguments[0], 64)
	case "REGEX":
		r.pattern, err = regexp.Compile("^(?:" + r.Arguments[0] + ")$")
	default:
		return fmt.Errorf("rule type %q is not one of MIN_LENGTH, MAX_LENGTH, MIN_NUMBER, MAX_NUMBER, REGEX", r.Type)
	}
	return err
}

func (r *rule) allows(value string) bool {
	number, _ := strconv.ParseFloat(value, 64)
	switch r.Type {
	case "MIN_LENGTH":
		return float64(utf8.RuneCountInString(value)) >= r.bound
	case "MAX_LENGTH":
		return float64(utf8.RuneCountInString(value)) <= r.bound
	case "MIN_NUMBER":
		return number >= r.bound
	case "MAX_NUMBER":
		return number <= r.bound
	}
	return r.pattern.MatchString(value)
}

// broken returns the problem of the first rule that a value breaks; clearing breaks none.
func (d *property) broken(value string) *problem {
	if value == "" {
		return nil
	}
	for _, r := range d.rules {
		if !r.allows(value) {
			return &problem{d.Name, "VALIDATION_RULE_FAILED", fmt.Sprintf("%s does not satisfy the property's %s rule", d.Name, r.Type)}
		}
	}
	return nil
}
