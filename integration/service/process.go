package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// A command is how a server's main process is run.
type command struct {
	args     []string
	env      []string // besides the environment of this process
	dropRoot bool     // the server refuses root: run it as nobody where we are root
	stop     syscall.Signal
	abort    syscall.Signal // ends it at once
	stale    []string       // files of a killed run that keep a new one from starting
}

// A process is a server's main process. One that we started is our child and
// is waited for without a goroutine, so that a shared server leaves none.
type process struct {
	pid   int
	born  string // tells it from a later process with the same pid
	child bool
	gone  bool
}

func startProcess(cmd command, dir, logFile string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open server log: %w", err)
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer null.Close()
	attr := &os.ProcAttr{
		Dir:   dir,
		Env:   append(os.Environ(), cmd.env...),
		Files: []*os.File{null, log, log},
		// A group of its own: Ctrl-C at the terminal is for us to act on.
		Sys: &syscall.SysProcAttr{Setpgid: true, Credential: credential(cmd.dropRoot)},
	}
	p, err := os.StartProcess(cmd.args[0], cmd.args, attr)
	if err != nil {
		return nil, fmt.Errorf("run server: %w", closed(err, attr.Sys.Credential, dir, cmd.args[0]))
	}
	// The child stays in the process table until we wait for it, so its pid
	// is not given to another one.
	pid := p.Pid
	if err := p.Release(); err != nil {
		return nil, fmt.Errorf("release process: %w", err)
	}
	return &process{pid: pid, born: birth(pid), child: true}, nil
}

// running tells whether the process lives; a zombie does not.
func (p *process) running() bool {
	if p.gone {
		return false
	}
	if p.child {
		pid, err := syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
		p.gone = pid == p.pid || errors.Is(err, syscall.ECHILD)
	} else {
		p.gone = birth(p.pid) != p.born
	}
	return !p.gone
}

func (p *process) signal(sig syscall.Signal) {
	if p.running() {
		_ = syscall.Kill(p.pid, sig) // fails only when it has just ended
	}
}

// wait polls until the process has ended.
func (p *process) wait(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return poll(ctx, 5*time.Millisecond, func() bool { return !p.running() })
}

// kill ends the process and all that descend from it, and returns when none
// of them lives.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	// A stopped parent makes no more children while they are looked up.
	_ = syscall.Kill(p.pid, syscall.SIGSTOP)
	family := descendants(p.pid)
	for _, member := range family {
		_ = syscall.Kill(member.pid, syscall.SIGKILL)
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return poll(ctx, 2*time.Millisecond, func() bool {
		if p.running() {
			return false
		}
		for _, member := range family {
			if birth(member.pid) == member.born {
				return false
			}
		}
		return true
	})
}

// poll calls done until it returns true; its error is that time is over.
func poll(ctx context.Context, every time.Duration, done func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for process: %w", ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// member is a process below another one.
type member struct {
	pid  int
	born string
}

// run runs a program that ends by itself, such as initdb. Its output is in the error.
func run(ctx context.Context, dir string, stdin []byte, cmd command) error {
	c := exec.CommandContext(ctx, cmd.args[0], cmd.args[1:]...)
	c.Dir = dir
	c.Env = append(os.Environ(), cmd.env...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: credential(cmd.dropRoot)}
	if stdin != nil {
		c.Stdin = bytes.NewReader(stdin)
	}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", cmd.args[0], closed(err, c.SysProcAttr.Credential, dir, cmd.args[0]), bytes.TrimSpace(out))
	}
	return nil
}

// credential is nobody's where we are root and should not be, else nil.
// initdb wants a user that has a name, and nobody is on every machine.
func credential(dropRoot bool) *syscall.Credential {
	if !dropRoot || os.Geteuid() != 0 {
		return nil
	}
	uid, gid := uint64(65534), uint64(65534)
	if u, err := user.Lookup("nobody"); err == nil {
		if n, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
			uid = n
		}
		if n, err := strconv.ParseUint(u.Gid, 10, 32); err == nil {
			gid = n
		}
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// closed names the folder that keeps nobody from what root made for it. The system's own
// error names the program, whichever folder it is.
func closed(err error, who *syscall.Credential, names ...string) error {
	if who == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for _, name := range names {
		for dir := filepath.Dir(name); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			info, statErr := os.Stat(dir)
			if statErr != nil {
				continue
			}
			mode := os.FileMode(0o001)
			if of, ok := info.Sys().(*syscall.Stat_t); ok && of.Uid == who.Uid {
				mode = 0o100
			} else if ok && of.Gid == who.Gid {
				mode = 0o010
			}
			if info.Mode()&mode == 0 {
				return fmt.Errorf("the user nobody, as whom root's databases run, cannot enter %s (%s): run chmod o+x %s, or take a folder elsewhere", dir, info.Mode().Perm(), dir)
			}
		}
	}
	return err
}

// giveAway makes nobody the owner of a file where we are root.
func giveAway(name string) error {
	c := credential(true)
	if c == nil {
		return nil
	}
	if err := os.Lchown(name, int(c.Uid), int(c.Gid)); err != nil {
		return fmt.Errorf("give file to nobody: %w", err)
	}
	return nil
}

// collect walks down from root, which is not part of the answer.
func collect(root int, children map[int][]int, birth func(int) string) []member {
	var family []member
	for _, pid := range children[root] {
		if born := birth(pid); born != "" {
			family = append(family, member{pid: pid, born: born})
		}
		family = append(family, collect(pid, children, birth)...)
	}
	return family
}
