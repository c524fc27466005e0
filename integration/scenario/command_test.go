package scenario

import (
	"bytes"
	databasesql "database/sql"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // to change a file of the state as no version of penstock would

	"github.com/penstock-cdc/penstock/integration/binary"
)

// penstock runs the command, which must end with 0. stdout and stderr look at what it wrote.
func penstock(ts *testscript.TestScript, args []string) { run(ts, 0, args) }

// exits runs the command, which must end with a certain code: exits 3 run --until-caught-up.
func exits(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	run(ts, number(ts, args[0]), args[1:])
}

func run(ts *testscript.TestScript, want int, args []string) {
	err := ts.Exec(binary.Path(), args...)
	code := 0
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		code = ended.ExitCode()
	case err != nil:
		ts.Fatalf("run penstock: %v", err)
	}
	if code != want {
		ts.Fatalf("penstock ended with %d, want %d", code, want)
	}
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

// start starts the command beside the script: start NAME ARGS... What it writes goes to
// NAME.log, and the variable NAME_PID is its process id.
func start(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME ARGS...")
	}
	s := stageOf(ts)
	var env []string
	for _, name := range []string{"HOME", "SHOP_URL", "SHOP_SCHEMA", "SHOP_SLOT", "HUBSPOT_URL", "HUBSPOT_TOKEN", "HOOK_URL", "HOOK_KEY", "KAFKA", binary.FailpointVariable} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	p, err := binary.Start(ts.MkAbs(args[0]+".log"), env, absolute(ts, args[1:])...)
	ts.Check(err)
	s.processes[args[0]] = p
	ts.Setenv(args[0]+"_PID", strconv.Itoa(p.Pid()))
}

// absolute gives the project folder, the last argument, as seen from the script's folder.
func absolute(ts *testscript.TestScript, args []string) []string {
	args = append([]string(nil), args...)
	if last := len(args) - 1; last > 0 {
		args[last] = ts.MkAbs(args[last])
	}
	return args
}

// signal sends a signal to a started command: signal NAME INT|TERM|KILL.
func signal(ts *testscript.TestScript, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	if len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME INT|TERM|KILL")
	}
	process(ts, args[0]).Signal(signals[args[1]])
}

// ended waits for a started command's end: ended NAME CODE. A signal that ended it counts as minus its number.
func ended(ts *testscript.TestScript, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: ended NAME CODE")
	}
	p, want := process(ts, args[0]), number(ts, args[1])
	eventually(ts, func() string {
		select {
		case <-p.Done():
			return ""
		default:
			return "the end of " + args[0]
		}
	})
	delete(stageOf(ts).processes, args[0])
	if got := p.Wait(); got != want {
		ts.Fatalf("%s ended with %d, want %d", args[0], got, want)
	}
}

func process(ts *testscript.TestScript, name string) *binary.Process {
	p := stageOf(ts).processes[name]
	if p == nil {
		ts.Fatalf("there is no process %s", name)
	}
	return p
}

// said waits until a started command has written something: said NAME REGEXP.
func said(ts *testscript.TestScript, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: said NAME REGEXP")
	}
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	eventually(ts, func() string {
		text, err := os.ReadFile(ts.MkAbs(args[0] + ".log"))
		ts.Check(err)
		if want.Match(text) {
			return ""
		}
		return args[0] + " says " + args[1]
	})
}

// flip changes a bit of a file wherever a text stands: flip FILE TEXT.
func flip(ts *testscript.TestScript, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: flip FILE TEXT")
	}
	name := ts.MkAbs(args[0])
	content, err := os.ReadFile(name)
	ts.Check(err)
	if !bytes.Contains(content, []byte(args[1])) {
		ts.Fatalf("%s has no %q in it", args[0], args[1])
	}
	flipped := []byte(args[1])
	flipped[0] ^= 1
	content = bytes.ReplaceAll(content, []byte(args[1]), flipped)
	ts.Check(os.WriteFile(name, content, 0o600))
}

// poke runs a statement on a SQLite file: poke FILE SQL.
func poke(ts *testscript.TestScript, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: poke FILE SQL")
	}
	db, err := databasesql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	result, err := db.Exec(args[1])
	ts.Check(err)
	if n, err := result.RowsAffected(); err == nil && n == 0 && args[1][0] == 'U' {
		ts.Fatalf("%s changed nothing", args[1])
	}
}
