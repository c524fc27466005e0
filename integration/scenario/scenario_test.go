package scenario

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penstock-cdc/penstock/integration/binary"
)

func TestMain(m *testing.M) { binary.Main(m) }

// TestScenario runs the scripts of testdata.
func TestScenario(t *testing.T) { play(t, "testdata", nil) }

// TestSources runs the scripts of testdata/each once for each kind of database: $SERVER.
func TestSources(t *testing.T) {
	for _, server := range []string{"postgres18", "mysql", "mariadb"} {
		t.Run(server, func(t *testing.T) { play(t, "testdata/each", []string{"SERVER=" + server}) })
	}
}

// play runs a folder's scripts. PENSTOCK_SCENARIO_KEEP=1 keeps the folders they ran in.
func play(t *testing.T, dir string, variables []string) {
	testscript.Run(t, testscript.Params{
		Dir:                dir,
		Cmds:               commands,
		RequireUniqueNames: true,
		TestWork:           os.Getenv("PENSTOCK_SCENARIO_KEEP") != "",
		Setup: func(env *testscript.Env) error {
			tb, ok := env.T().(testing.TB)
			if !ok {
				panic("scenario: testscript runs without a testing.T")
			}
			s := &stage{tb: tb, processes: map[string]*binary.Process{}}
			env.Values[stageKey{}] = s
			env.Defer(s.close)
			// What the binary needs of the machine: it was built to know nothing else.
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("HUBSPOT_TOKEN", "token")
			env.Vars = append(env.Vars, variables...)
			return nil
		},
	})
}

// commands are what a script has beside testscript's own; README.md describes them.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"database": plain(database),
	"sql":      plain(sql),
	"kafka":    plain(kafka),
	"expand":   plain(expand),

	"simulator": plain(startSimulator),
	"fault":     plain(fault),
	"edit":      plain(edit),
	"contacts":  plain(contacts),
	"links":     plain(links),
	"calls":     plain(calls),
	"request":   plain(request),
	"receiver":  plain(startReceiver),
	"requests":  plain(requests),
	"received":  plain(received),

	"penstock": plain(penstock),
	"exits":    plain(exits),
	"start":    plain(start),
	"signal":   plain(signal),
	"ended":    plain(ended),
	"said":     plain(said),
	"flip":     plain(flip),
	"poke":     plain(poke),
}

// plain is a command that has no opposite.
func plain(f func(ts *testscript.TestScript, args []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command can't be negated")
		}
		f(ts, args)
	}
}

// eventually calls f until it returns "" or a minute is over; f says what is still wrong.
func eventually(ts *testscript.TestScript, f func() string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		wrong := f()
		if wrong == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("not within a minute: %s", wrong)
		}
	}
}

// words joins what the script's parser has split, for JSON without quotes around it.
func words(args []string) string { return strings.Join(args, " ") }
