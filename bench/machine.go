package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// machine is what figures depend on besides the program.
type machine struct {
	processor, system, load string
	fsync50, fsync99        float64 // milliseconds
}

// fsyncs is how many writes of one page lookAtMachine makes durable.
const fsyncs = 300

// lookAtMachine measures the disk that dir is on.
func lookAtMachine(dir string) (machine, error) {
	m := machine{
		processor: fmt.Sprintf("%d × %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name")),
		system:    runtime.GOOS + "/" + runtime.GOARCH + ", " + runtime.Version(),
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.system += ", kernel " + strings.TrimSpace(string(kernel))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.load = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	name := filepath.Join(dir, "fsync")
	defer os.Remove(name)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return m, fmt.Errorf("measure fsync: %w", err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	times := make([]float64, fsyncs)
	for i := range times {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			return m, fmt.Errorf("measure fsync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return m, fmt.Errorf("measure fsync: %w", err)
		}
		times[i] = milliseconds(time.Since(start))
	}
	m.fsync50, m.fsync99 = quantile(times, 0.5), quantile(times, 0.99)
	return m, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// disk is the part that changes with what others do.
func (m machine) disk() string {
	return fmt.Sprintf("fsync of a page p50 %.2f ms, p99 %.2f ms; load average %s", m.fsync50, m.fsync99, orDash(m.load))
}

func (m machine) String() string {
	return fmt.Sprintf("Machine: %s; %s; %s", m.processor, m.system, m.disk())
}

// field finds "name: value" or "name   value" in one of the kernel's files; "" if it is not there.
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), ":"))
		}
	}
	return ""
}
