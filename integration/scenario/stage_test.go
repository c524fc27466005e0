package scenario

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penstock-cdc/penstock/integration/binary"
	"github.com/penstock-cdc/penstock/integration/service"
	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

// stage is what one script plays on.
type stage struct {
	tb        testing.TB
	database  *url.URL
	simulator *simulator.Server
	seen      int // calls to the simulator that `calls` has counted
	processes map[string]*binary.Process
	receiver  *receiver
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

// close ends what the script left running.
func (s *stage) close() {
	for _, p := range s.processes {
		p.Signal(syscall.SIGKILL)
		p.Wait()
	}
}

// database makes a database of the script's own on a shared server and sets SHOP_URL,
// SHOP_KIND (postgres or mysql), SHOP_SCHEMA and SHOP_SLOT.
func database(ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: database SERVER")
	}
	s := stageOf(ts)
	u, err := url.Parse(service.Database(s.tb, service.Shared(s.tb, args[0])))
	ts.Check(err)
	s.database = u
	schema := "public"
	if u.Scheme == "mysql" {
		schema = strings.Trim(u.Path, "/")
	}
	ts.Setenv("SHOP_KIND", u.Scheme)
	ts.Setenv("SHOP_URL", u.String())
	ts.Setenv("SHOP_SCHEMA", schema)
	// Slots are of the whole server. Of MySQL there is none, and SHOP_SLOT_LINE is a comment.
	slot := "s_" + strings.Trim(u.Path, "/")
	ts.Setenv("SHOP_SLOT", slot)
	ts.Setenv("SHOP_SLOT_LINE", "# no slot")
	if u.Scheme == "postgres" {
		ts.Setenv("SHOP_SLOT_LINE", fmt.Sprintf("slot = %q", slot))
	}
}

// kafka sets KAFKA to a shared broker and SHOP to a name for a source whose topics no other test has.
func kafka(ts *testscript.TestScript, _ []string) {
	ts.Setenv("KAFKA", service.Shared(stageOf(ts).tb, "kafka").Addr)
	ts.Setenv("SHOP", "shop_"+strings.ToLower(rand.Text()[:8]))
}

// expand puts the values of variables into files, where they stand as @NAME@.
func expand(ts *testscript.TestScript, args []string) {
	for _, name := range args {
		text := variable.ReplaceAllStringFunc(ts.ReadFile(name), func(v string) string {
			value := ts.Getenv(strings.Trim(v, "@"))
			if value == "" {
				ts.Fatalf("%s: %s has no value", name, v)
			}
			return value
		})
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

var variable = regexp.MustCompile(`@[A-Z_]+@`)

// sql runs the statements of a file, one after the other, on one connection. Each ends
// with a semicolon at the end of a line.
func sql(ts *testscript.TestScript, args []string) {
	s := stageOf(ts)
	if len(args) != 1 || s.database == nil {
		ts.Fatalf("usage: sql FILE, after database")
	}
	execute := connect(ts, s)
	for _, statement := range strings.Split(ts.ReadFile(args[0]), ";\n") {
		if statement = strings.TrimSpace(statement); statement == "" {
			continue
		}
		if err := execute(statement); err != nil {
			ts.Fatalf("%s: %v", statement, err)
		}
	}
}

// connect returns what runs statements on the script's database until the script ends.
func connect(ts *testscript.TestScript, s *stage) func(sql string) error {
	ctx := s.tb.Context()
	if s.database.Scheme == "mysql" {
		password, _ := s.database.User.Password()
		conn, err := client.Connect(s.database.Host, s.database.User.Username(), password, strings.Trim(s.database.Path, "/"))
		ts.Check(err)
		ts.Defer(func() { _ = conn.Close() })
		return func(sql string) error {
			_, err := conn.Execute(sql)
			return err
		}
	}
	conn, err := pgconn.Connect(ctx, s.database.String())
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close(ctx) })
	return func(sql string) error {
		_, err := conn.Exec(ctx, sql).ReadAll()
		return err
	}
}

// startSimulator starts a HubSpot simulator with initial data and sets HUBSPOT_URL.
// Its limits are the vendor's only with -limits, for scripts need not wait for them.
func startSimulator(ts *testscript.TestScript, args []string) {
	s := stageOf(ts)
	opts := simulator.Options{NoLimits: true}
	if len(args) > 0 && args[0] == "-limits" {
		opts.NoLimits, opts.Limits = false, map[string]int{hubspot.TenSecondly: 5}
		args = args[1:]
	}
	if len(args) == 3 && args[0] == "-token" {
		opts.Token, args = args[1], args[2:]
	}
	if len(args) != 1 {
		ts.Fatalf("usage: simulator [-limits | -token TOKEN] FILE")
	}
	s.simulator = simulator.New(hubspot.New(hubspot.SearchLag(0)), opts)
	ts.Check(s.simulator.Load(bytes.NewReader([]byte(ts.ReadFile(args[0])))))
	server := httptest.NewServer(s.simulator)
	ts.Defer(func() {
		server.CloseClientConnections()
		server.Close()
	})
	ts.Setenv("HUBSPOT_URL", server.URL)
}
