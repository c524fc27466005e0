package service

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// A watchdog is a shell that ends a server and removes its folder when this
// process ends without having done so: the shell's standard input is a pipe
// that closes with us, however we end. A nil watchdog does nothing.
type watchdog struct {
	pid int
	in  *os.File
}

// watchdogScript reads "run PID", "none" and "done" until its input closes.
// SIGQUIT ends a Postgres at once and lets it give back its shared memory;
// whatever else there is gets SIGKILL. Zombies answer kill -0, hence the limit.
const watchdogScript = `
trap '' INT TERM HUP
pid=
while read -r word arg; do
	case $word in
	run) pid=$arg ;;
	none) pid= ;;
	done) exit 0 ;;
	esac
done
if [ -n "$pid" ]; then
	kill -QUIT "$pid"
	n=0
	while [ $n -lt 10 ] && kill -0 "$pid"; do
		sleep 0.1
		n=$((n + 1))
	done
	kill -KILL "-$pid"
fi
if [ -n "$1" ]; then
	rm -rf "$1" || { sleep 1; rm -rf "$1"; }
fi
`

// startWatchdog starts the shell; removeDir is the folder it removes, or "".
func startWatchdog(removeDir string) (*watchdog, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe for watchdog: %w", err)
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer null.Close()
	p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", watchdogScript, "penstock-watchdog", removeDir}, &os.ProcAttr{
		Dir:   "/",
		Files: []*os.File{r, null, null},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("start watchdog: %w", err)
	}
	pid := p.Pid
	if err := p.Release(); err != nil {
		return nil, fmt.Errorf("release watchdog: %w", err)
	}
	return &watchdog{pid: pid, in: w}, nil
}

// watch names the process to end; 0 is none.
func (w *watchdog) watch(pid int) error {
	if w == nil {
		return nil
	}
	line := "none\n"
	if pid != 0 {
		line = fmt.Sprintf("run %d\n", pid)
	}
	if _, err := w.in.WriteString(line); err != nil {
		return fmt.Errorf("tell watchdog: %w", err)
	}
	return nil
}

// release ends the watchdog with nothing done.
func (w *watchdog) release() {
	if w == nil {
		return
	}
	_, _ = w.in.WriteString("done\n") // a watchdog that is gone is fine too
	w.in.Close()
	for {
		if _, err := syscall.Wait4(w.pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
