package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// build builds the command as `make build` does.
func (s *suite) build(ctx context.Context) error {
	if s.command != "" {
		return nil
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	command := filepath.Join(s.dir, "penstock")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", command, "./cmd/penstock")
	cmd.Dir, cmd.Env = strings.TrimSpace(string(root)), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build penstock: %w\n%s", err, out)
	}
	s.command = command
	return nil
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // it is a note beside the figures
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// process is a running penstock. Its log is in the project's folder.
type process struct {
	cmd  *exec.Cmd
	dir  string
	log  *os.File
	done chan error // what Wait says, once
	peak float64    // of its resident memory in bytes, as far as it was looked at
}

func (s *suite) start(ctx context.Context, dir string, args ...string) (*process, error) {
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	return launch(exec.CommandContext(ctx, s.command, args...), dir)
}

// launch starts a command in a project's folder.
func launch(cmd *exec.Cmd, dir string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "penstock.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, dir: dir, log: log, done: make(chan error, 1)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 20 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		err := p.cmd.Wait()
		_ = log.Close() // the process wrote it, not we
		p.done <- err
	}()
	return p, nil
}

// memory is the highest that the process's resident memory was so far, in bytes.
func (p *process) memory() float64 {
	text := field("/proc/"+strconv.Itoa(p.cmd.Process.Pid)+"/status", "VmHWM")
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64); err == nil {
		p.peak = max(p.peak, 1024*kib)
	}
	return p.peak
}

// until waits for a condition, looking at the memory meanwhile. That the process ends
// is an error.
func (p *process) until(ctx context.Context, limit time.Duration, condition func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		p.memory()
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("penstock ended (%w): %s", err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("not reached within %s: %s", limit, p.tail())
		case <-tick.C:
		}
	}
	p.memory()
	return nil
}

// wait waits until the process ends by itself with code 0.
func (p *process) wait(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		p.memory()
		select {
		case err := <-p.done:
			p.done <- err
			if err != nil {
				return fmt.Errorf("penstock: %w: %s", err, p.tail())
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// stop sends a signal and waits for the end.
func (p *process) stop(signal syscall.Signal) {
	p.memory()
	_ = p.cmd.Process.Signal(signal) // one that has ended is what is wanted
	p.done <- <-p.done
}

// tail is the end of the process's log.
func (p *process) tail() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "penstock.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// freeAddress is an address of this host that nobody listens on now.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
