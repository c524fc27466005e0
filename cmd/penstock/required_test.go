package main

import "testing"

func TestMeets(t *testing.T) {
	for _, c := range []struct {
		version, constraint string
		want, bad           bool
	}{
		{"0.1.0", ">= 0.1", true, false},
		{"0.1.0", ">= 0.2", false, false},
		{"0.10.0", "> 0.9", true, false},
		{"1.4.2", ">= 1.2, < 2", true, false},
		{"2.0.0", ">= 1.2, < 2", false, false},
		{"1.2.3", "1.2.3", true, false},
		{"1.2.3", "!= 1.2.3", false, false},
		{"1.2.3", "<= 1.2.2", false, false},
		{"1.2.3", "about 1", false, true},
		{"1.2.3", "=> 1", false, true},
		{"1.2.3", "", false, true},
	} {
		got, err := meets(c.version, c.constraint)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("meets(%s, %q) = %v, %v", c.version, c.constraint, got, err)
		}
	}
}
