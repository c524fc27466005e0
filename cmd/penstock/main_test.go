package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"rum"}, "unknown command"},
		{[]string{"run", "--until-caught-pu"}, "unknown flag"},
		{[]string{"status", "--output", "yaml"}, "text, json or github"},
		{[]string{"snapshot", "shop.customers", "--pause", "--cancel"}, "none of the others can be"},
		{[]string{"guard"}, "needs a subcommand"},
	} {
		var out, problems bytes.Buffer
		if code := execute(c.args, &out, &problems); code != exitUsage || !strings.Contains(problems.String(), c.want) || out.Len() > 0 {
			t.Errorf("%v: exit %d, stdout %q, stderr %s, want %d and %q", c.args, code, &out, &problems, exitUsage, c.want)
		}
	}
}
