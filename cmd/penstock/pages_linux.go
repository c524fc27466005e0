package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// releaseProgram takes the pages of the program's file out of the process's memory. The start, with its tables of phone
// numbers, time zones and messages, touches nearly all of them, and what goes on after it needs a third: that one comes back
// from the system's cache as it is used.
func releaseProgram() {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, m := range cleanMappings(string(maps), self) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED) // if not, they stay
	}
}

type mapping struct{ start, end uintptr }

// cleanMappings are those of a file that nobody can have written to: a page that was, as by the dynamic linker, would be lost.
func cleanMappings(smaps, file string) (out []mapping) {
	var m mapping
	var mine bool
	for line := range strings.Lines(smaps) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && !strings.HasSuffix(f[0], ":"): // addresses, permissions, offset, device, inode, file
			n, _ := fmt.Sscanf(f[0], "%x-%x", &m.start, &m.end)
			mine = n == 2 && len(f[1]) == 4 && f[1][1] == '-' && strings.HasSuffix(line, " "+file+"\n")
		case mine && len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0":
			out = append(out, m)
		}
	}
	return out
}
