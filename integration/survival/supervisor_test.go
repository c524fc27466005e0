package survival

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-cdc/penstock/integration/binary"
	"github.com/penstock-cdc/penstock/sink"
)

// failpoints are all points at which penstock can be told to kill itself.
var failpoints = slices.Concat([]string{"capture.commit", "capture.before_flush", "capture.after_flush", "capture.after_confirm"}, sink.Failpoints)

// supervisor keeps one penstock process running, whatever ends it, and kills it when told.
type supervisor struct {
	role string // run, capture or sink: the command
	dir  string // project
	env  []string
	rand *rand.Rand
	note func(format string, args ...any)

	mu      sync.Mutex
	process *binary.Process
	told    *binary.Process // to end, by SIGTERM; a second one would cut its orderly end short
	ends    map[int]int     // how often it ended, by code
	starts  int
}

// run starts the process again and again until ctx ends; then it stops it with SIGTERM,
// or with SIGKILL if hard, and returns what is wrong with how it ended.
func (s *supervisor) run(ctx context.Context, hard bool) error {
	s.ends = map[int]int{}
	for {
		env := s.env
		if s.rand.IntN(2) == 0 {
			// Small numbers often, so that points are met whose steps are rare.
			point := fmt.Sprintf("%s:%d", failpoints[s.rand.IntN(len(failpoints))], 1+s.rand.IntN(1<<s.rand.IntN(8)))
			env = append(slices.Clone(env), binary.FailpointVariable+"="+point)
			s.note("%s starts with failpoint %s", s.role, point)
		} else {
			s.note("%s starts", s.role)
		}
		p, err := binary.Start(filepath.Join(s.dir, s.role+".log"), env, s.role, s.dir)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.process = p
		s.starts++
		s.mu.Unlock()
		select {
		case <-p.Done():
			s.ends[p.Wait()]++
			s.note("%s ended with %d", s.role, p.Wait())
			select {
			case <-time.After(time.Duration(20+s.rand.IntN(200)) * time.Millisecond):
			case <-ctx.Done():
				return nil
			}
		case <-ctx.Done():
			return s.stop(p, hard)
		}
	}
}

// stopTimeout is how long penstock may take to stop in the orderly way.
const stopTimeout = 20 * time.Second

func (s *supervisor) stop(p *binary.Process, hard bool) error {
	if hard {
		p.Signal(syscall.SIGKILL)
		p.Wait()
		return nil
	}
	s.mu.Lock()
	told := s.told == p
	s.told = p
	s.mu.Unlock()
	if !told {
		p.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.Done():
	case <-time.After(stopTimeout):
		p.Signal(syscall.SIGQUIT) // its goroutines go to the log
		p.Wait()
		return fmt.Errorf("penstock %s did not end within %s of SIGTERM; where it stood is at the end of %s.log", s.role, stopTimeout, s.role)
	}
	// One that was so young that it took no signals yet ends by the signal itself.
	// One that had not started yet may have ended by itself in that moment: a start whose database does not answer fails.
	if code := p.Wait(); code != 0 && code != binary.Killed && code != -int(syscall.SIGTERM) && (code != 1 || s.hadStarted(p)) {
		return fmt.Errorf("penstock %s ended with %d at SIGTERM, want 0", s.role, code)
	}
	return nil
}

// hadStarted tells whether a process said that it had.
func (s *supervisor) hadStarted(p *binary.Process) bool {
	text, err := os.ReadFile(filepath.Join(s.dir, s.role+".log"))
	return err != nil || regexp.MustCompile(fmt.Sprintf(`(?m)msg=started .*\bpid=%d$`, p.Pid())).Match(text)
}

// signal sends a signal to the process of now.
func (s *supervisor) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil || sig == syscall.SIGTERM && s.told == s.process {
		return
	}
	if sig == syscall.SIGTERM {
		s.told = s.process
	}
	s.process.Signal(sig)
}
