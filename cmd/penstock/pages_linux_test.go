package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-012bb000 r-xp 00000000 fe:00 100 /opt/penstock
Size:              15084 kB
Private_Dirty:       684 kB
Anonymous:             0 kB
012bb000-02377000 r--p 00ebb000 fe:00 100 /opt/penstock
Anonymous:             0 kB
02377000-02387000 r--p 01f77000 fe:00 100 /opt/penstock
Anonymous:            64 kB
02387000-02587000 rw-p 01f87000 fe:00 100 /opt/penstock
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 fe:00 200 /lib/x/opt/penstock
Anonymous:             0 kB
7f0000002000-7f0000003000 rw-p 00000000 00:00 0
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x12bb000}, {0x12bb000, 0x2377000}} // neither what can be written nor what the linker has
	if got := cleanMappings(smaps, "/opt/penstock"); !slices.Equal(got, want) {
		t.Errorf("mappings %x, want %x", got, want)
	}
}

func TestReleaseProgram(t *testing.T) {
	before := residentFile(t)
	releaseProgram()
	if after := residentFile(t); after >= before {
		t.Errorf("of files %d kB are resident, before it were %d", after, before)
	}
}

// residentFile is how many kB of files the process has in memory.
func residentFile(t *testing.T) (kb int) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssFile:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}
