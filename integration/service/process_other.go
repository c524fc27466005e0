//go:build unix && !linux

package service

import (
	"os/exec"
	"strconv"
	"strings"
)

// birth is the start time of a living process, "" if there is none.
func birth(pid int) string {
	out, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // ps ends at once
	state, started, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || strings.HasPrefix(state, "Z") {
		return ""
	}
	return strings.TrimSpace(started)
}

func descendants(root int) []member {
	out, err := exec.Command("ps", "-axo", "pid=,ppid=").Output() //nolint:noctx // ps ends at once
	if err != nil {
		return nil
	}
	children := make(map[int][]int)
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 {
			pid, err1 := strconv.Atoi(f[0])
			parent, err2 := strconv.Atoi(f[1])
			if err1 == nil && err2 == nil {
				children[parent] = append(children[parent], pid)
			}
		}
	}
	return collect(root, children, birth)
}
