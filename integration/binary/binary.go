// Package binary builds the penstock command for tests that use it from outside, as a
// user does, and runs it.
package binary

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// FailpointVariable names, in penstock's environment, the point at which it kills itself
// and how many times it passes that point before: dispatch.after_call:3.
const FailpointVariable = "PENSTOCK_FAILPOINT"

// path is the built command. It is a global because a test binary has no other place
// that all its tests share.
var path string

// Main is for TestMain: it builds the command, with failpoints, and runs the tests.
// With PENSTOCK_TEST_RACE set the command has the race detector in it.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "penstock-binary-")
	if err == nil {
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "penstock")
		err = build(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	m.Run() // its code is the process's exit code
}

func build(to string) error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	args := []string{"build", "-tags", "failpoint", "-o", to}
	if os.Getenv("PENSTOCK_TEST_RACE") != "" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/penstock")...)
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build penstock: %w\n%s", err, out)
	}
	return nil
}

// Path is the built command. Main has made it.
func Path() string { return path }

// Process is a running penstock.
type Process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when it has ended

	mu   sync.Mutex
	code int
}

// Killed is the Code of a process that SIGKILL ended.
const Killed = -9

// Start starts penstock with what it writes appended to a log file. Env is added to the
// environment of the test.
func Start(logFile string, env []string, args ...string) (*Process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of penstock: %w", err)
	}
	p := &Process{cmd: exec.Command(path, args...), log: log, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("start penstock: %w", err)
	}
	go func() {
		defer close(p.done)
		defer log.Close()
		_ = p.cmd.Wait() // what it says is in ProcessState
		p.mu.Lock()
		defer p.mu.Unlock()
		p.code = code(p.cmd.ProcessState)
	}()
	return p, nil
}

// code is the exit code, or minus the signal that ended the process.
func code(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return -int(status.Signal())
	}
	return s.ExitCode()
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal; to a process that has ended it does nothing.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Wait waits for the end and returns the exit code, or minus the signal that ended it.
func (p *Process) Wait() int {
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code
}

// Output runs penstock to its end.
func Output(env []string, args ...string) (stdout, stderr string, code int, err error) {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		err = nil
	}
	if err != nil {
		return "", "", 0, fmt.Errorf("run penstock %s: %w", strings.Join(args, " "), err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode(), nil
}
