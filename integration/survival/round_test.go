package survival

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/penstock-cdc/penstock/integration/binary"
	"github.com/penstock-cdc/penstock/integration/service"
	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

// Kinds of streams.
const (
	embedded = "embedded"
	kafka    = "kafka"
)

// round is one fresh database, stream and app, a workload, and what goes wrong meanwhile.
type round struct {
	*testing.T
	lane *lane
	seed uint64
	rand *rand.Rand
	dir  string // project; kept when the round fails
	name string // of the source

	stream    string
	split     bool // penstock capture and penstock sink, not penstock run
	full      bool // the database sends old rows whole
	work      time.Duration
	database  *url.URL // past the proxy
	broker    *service.Server
	simulator *simulator.Server
	env       []string
	writers   []*writer

	began time.Time
	mu    sync.Mutex
	diary bytes.Buffer
}

func newRound(t *testing.T, l *lane, s settings, seed uint64) *round {
	r := &round{T: t, lane: l, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), began: time.Now(), name: fmt.Sprintf("shop%d", seed)}
	r.stream = s.streams[r.rand.IntN(len(s.streams))]
	r.split = r.stream == kafka && r.rand.IntN(2) == 0
	r.full = l.database.Kind != service.KindPostgres || r.rand.IntN(2) == 0
	r.work = time.Duration(2000+r.rand.IntN(4000)) * time.Millisecond
	return r
}

// note writes down what happens and when, for the folder that a failed round leaves.
func (r *round) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.diary, "%7.3f  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *round) run() {
	r.prepare()
	if err := r.live(); err != nil {
		r.Fatal(err)
	}
	r.settle()
	r.check()
	changes, rolledBack, reconnects := 0, 0, 0
	for _, w := range r.writers {
		for _, t := range w.oracle.committed {
			changes += len(t.ops)
		}
		rolledBack, reconnects = rolledBack+w.rolledBack, reconnects+w.reconnects
	}
	if changes < 50 {
		r.Errorf("the workload made %d changes only", changes)
	}
	r.Logf("%s, split %t, whole old rows %t: %d changes, %d transactions rolled back, %d broken off", r.stream, r.split, r.full, changes, rolledBack, reconnects)
}

// prepare makes folder, database, app and workload.
func (r *round) prepare() {
	var err error
	if r.dir, err = os.MkdirTemp("", fmt.Sprintf("penstock-survival-%d-", r.seed)); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if !r.Failed() {
			_ = os.RemoveAll(r.dir)
			return
		}
		r.leaveEvidence()
		r.Logf("what happened, logs and data are in %s; PENSTOCK_CHAOS_SEED=%d PENSTOCK_CHAOS_ROUNDS=1 PENSTOCK_CHAOS_DATABASES=%s draws the same round", r.dir, r.seed, r.lane.name)
	})
	if r.database, err = url.Parse(service.Database(r.T, r.lane.database)); err != nil {
		r.Fatal(err)
	}
	r.lane.proxy.note = r.note
	r.simulator = simulator.New(hubspot.New(hubspot.SearchLag(0)), simulator.Options{NoLimits: true, Data: bytes.NewReader([]byte(properties))})
	app := httptest.NewServer(r.simulator)
	r.Cleanup(func() {
		app.CloseClientConnections()
		app.Close()
	})
	through := *r.database
	through.Host = r.lane.proxy.listen("database")
	r.env = []string{"SHOP_URL=" + through.String(), "HUBSPOT_URL=" + app.URL, "HUBSPOT_TOKEN=token"}
	stream := `stream "embedded" { retention = "24h" }`
	if r.stream == kafka {
		r.broker = r.lane.kafka(r.T)
		stream = fmt.Sprintf("stream \"kafka\" {\n  brokers    = [%q]\n  partitions = %d\n}", r.lane.proxy.listen("kafka"), partitions)
	}
	kind := r.database.Scheme
	slot := ""
	if kind == "postgres" {
		slot = fmt.Sprintf("slot = %q", "p_"+r.database.Path[1:])
	}
	text := fmt.Sprintf(project, stream, kind, r.name, slot, schema(r.database), kind, r.name)
	if err := os.WriteFile(filepath.Join(r.dir, "penstock.hcl"), []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	r.prepareRows()
}

// partitions of topics in Kafka.
const partitions = 3

// properties are what the app has beside the vendor's own.
const properties = `{"property":{"object":"contacts","name":"shop_id","type":"string","hasUniqueValue":true}}
{"property":{"object":"contacts","name":"version","type":"number"}}
{"property":{"object":"contacts","name":"note","type":"string"}}
{"property":{"object":"contacts","name":"plan","type":"enumeration","options":["free","paid"]}}
`

const project = `%s
secret "hubspot" { value = env("HUBSPOT_TOKEN") }
source %q %q {
  url = env("SHOP_URL")
  %s
  table "items" { name = "%s.items" }
}
app "hubspot" "crm" {
  token    = secret.hubspot
  base_url = env("HUBSPOT_URL")
}
pipeline "items" {
  from  = source.%s.%s.items
  to    = app.hubspot.crm.contacts
  where = row.active == 1
  clean { email = email_normalize_or(row.email, null) }
  reject "no_email" { when = clean.email == null }
  key { shop_id = tostring(row.id) }
  fields "source" {
    email     = clean.email
    firstname = row.name
    plan      = row.plan
    note      = row.note
    version   = row.version
  }
  guard { max_deletes = 1000000 }
}
`

// prepareRows makes the table and the rows that are there before penstock is.
func (r *round) prepareRows() {
	s, err := connect(r.Context(), r.database.String())
	if err != nil {
		r.Fatal(err)
	}
	defer s.close()
	for _, sql := range tables(r.database, r.full) {
		if err := s.exec(sql); err != nil {
			r.Fatalf("%s: %v", sql, err)
		}
	}
	versions := new(atomic.Int64)
	for n := range 2 {
		w := &writer{number: n, of: 2, url: r.database.String(), rand: rand.New(rand.NewPCG(r.seed, uint64(n)+1)), full: r.full, versions: versions, oracle: newOracle()}
		r.writers = append(r.writers, w)
		for range 1 + r.rand.IntN(30) {
			if err := w.transaction(r.Context(), 1+w.rand.IntN(20)); err != nil {
				r.Fatal(err)
			}
		}
	}
}

// live runs penstock, the workload, and what goes wrong; the workload's end ends it.
func (r *round) live() error {
	roles := []string{"run"}
	if r.split {
		roles = []string{"capture", "sink"}
	}
	m := &mischief{rand: rand.New(rand.NewPCG(r.seed, 100)), lane: r.lane, broker: r.broker, simulator: r.simulator, note: r.note}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	var work, rest errgroup.Group
	for i, role := range roles {
		s := &supervisor{role: role, dir: r.dir, env: r.env, rand: rand.New(rand.NewPCG(r.seed, 200+uint64(i))), note: r.note}
		m.penstock = append(m.penstock, s)
		hard := r.rand.IntN(2) == 0
		rest.Go(func() error { return s.run(ctx, hard) })
	}
	rest.Go(func() error { return m.run(ctx) })
	for _, w := range r.writers {
		work.Go(func() error { return w.run(ctx, r.work, 10*time.Millisecond) })
	}
	err := work.Wait()
	r.note("the workload has ended")
	stop()
	return errors.Join(err, rest.Wait())
}

// settle lets penstock deliver all that is there, undisturbed.
func (r *round) settle() {
	args := [][]string{{"run", "--until-caught-up", "--timeout", "90s", r.dir}}
	if r.split {
		r.settleParts()
		return
	}
	for _, a := range args {
		_, stderr, code, err := binary.Output(r.env, a...)
		if err != nil {
			r.Fatal(err)
		}
		if werr := os.WriteFile(filepath.Join(r.dir, "settle.log"), []byte(stderr), 0o600); werr != nil {
			r.Fatal(werr)
		}
		if code != 0 && code != 3 {
			r.Fatalf("penstock run --until-caught-up ended with %d:\n%s", code, tail(stderr))
		}
	}
}

// settleParts runs capture and sink until stream, app and quarantine are as they must be, or for 90 s.
func (r *round) settleParts() {
	ctx, stop := context.WithCancel(r.Context())
	var parts errgroup.Group
	for _, role := range []string{"capture", "sink"} {
		parts.Go(func() error {
			p, err := binary.Start(filepath.Join(r.dir, role+".log"), r.env, role, r.dir)
			if err != nil {
				return err
			}
			s := &supervisor{role: role, note: r.note}
			select {
			case <-p.Done():
				return fmt.Errorf("penstock %s ended by itself with %d: see %s.log", role, p.Wait(), role)
			case <-ctx.Done():
				return s.stop(p, false)
			}
		})
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end) && (len(r.streamProblems()) > 0 || len(r.appProblems()) > 0 || len(r.commandProblems()) > 0); <-tick.C {
	}
	stop()
	if err := parts.Wait(); err != nil {
		r.Fatal(err)
	}
}

func tail(text string) string {
	lines := regexp.MustCompile(`\n`).Split(text, -1)
	return fmt.Sprint(lines[max(0, len(lines)-15):])
}

// alarming is what may never stand in a log.
var alarming = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE).*`)

// check compares everything with what was committed.
func (r *round) check() {
	logs, err := filepath.Glob(filepath.Join(r.dir, "*.log"))
	if err != nil {
		r.Fatal(err)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			r.Fatal(err)
		}
		if found := alarming.Find(text); found != nil && !slices.Contains([]string{"fatal error: "}, string(found)) {
			r.Errorf("%s: %s", filepath.Base(name), found)
		}
	}
	r.report("database", r.databaseProblems())
	r.report("stream", r.streamProblems())
	r.report("app", r.appProblems())
	r.report("commands", r.commandProblems())
}

func (r *round) report(what string, problems []string) {
	for i, p := range problems {
		if i == 10 {
			r.Errorf("%s: and %d more", what, len(problems)-i)
			return
		}
		r.Errorf("%s: %s", what, p)
	}
}

// databaseProblems compares the oracle with the database, so that its word can be trusted.
func (r *round) databaseProblems() (problems []string) {
	s, err := connect(r.Context(), r.database.String())
	if err != nil {
		return []string{err.Error()}
	}
	defer s.close()
	rows, err := s.query("SELECT id, version FROM items")
	if err != nil {
		return []string{err.Error()}
	}
	want := map[string]string{}
	for _, w := range r.writers {
		for id, row := range w.oracle.rows {
			want[fmt.Sprint(id)] = fmt.Sprint(row.version)
		}
	}
	for _, row := range rows {
		if want[row[0]] != row[1] {
			problems = append(problems, fmt.Sprintf("row %s has version %s, the oracle says %q: a fault of this test, or of the database", row[0], row[1], want[row[0]]))
		}
		delete(want, row[0])
	}
	for id := range want {
		problems = append(problems, fmt.Sprintf("row %s is not there: a fault of this test, or of the database", id))
	}
	return problems
}
