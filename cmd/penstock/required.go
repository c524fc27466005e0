package main

import (
	"fmt"
	"strings"

	"golang.org/x/mod/semver"
)

// meets tells whether a version meets a constraint such as ">= 0.1, < 2": each part has
// an operator (=, !=, >, >=, <, <=) and a version of one to three numbers.
func meets(version, constraint string) (bool, error) {
	for part := range strings.SplitSeq(constraint, ",") {
		part = strings.TrimSpace(part)
		number := strings.TrimLeft(part, "<>=! ")
		operator := strings.TrimSpace(strings.TrimSuffix(part, number))
		if !semver.IsValid("v" + number) {
			return false, fmt.Errorf("%q is not a version constraint: write required_version = \">= 0.1\"", constraint)
		}
		order := semver.Compare("v"+version, "v"+number)
		var ok bool
		switch operator {
		case "", "=":
			ok = order == 0
		case "!=":
			ok = order != 0
		case ">":
			ok = order > 0
		case ">=":
			ok = order >= 0
		case "<":
			ok = order < 0
		case "<=":
			ok = order <= 0
		default:
			return false, fmt.Errorf("%q has an unknown operator %q: there are =, !=, >, >=, <, <=", constraint, operator)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}
