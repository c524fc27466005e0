package postgres_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
)

// TestAlterations: tables and types are altered at random, in transactions with rows
// before and after, committed and not, by several sessions, while capture stops and goes
// on from positions that are older than where it was. Each event has the key, the columns
// and the values that the database itself said at that time, also when all of it is read
// again with the catalog as it is at the end.
//
// PENSTOCK_TEST_SEEDS is how many seeds are run, PENSTOCK_TEST_SEED the first.
func TestAlterations(t *testing.T) {
	seeds, first := 5, 1
	if text := os.Getenv("PENSTOCK_TEST_SEEDS"); text != "" {
		seeds, _ = strconv.Atoi(text)
	}
	if text := os.Getenv("PENSTOCK_TEST_SEED"); text != "" {
		first, _ = strconv.Atoi(text)
	}
	servers := []string{"postgres14", "postgres18"}
	databases := map[string]*database{}
	var total alterCounts
	for n := range seeds {
		seed := first + n
		server := servers[seed%len(servers)]
		if databases[server] == nil {
			databases[server] = newDatabase(t, server)
		}
		ok := t.Run(fmt.Sprintf("%s/seed=%d", server, seed), func(t *testing.T) {
			a := &alterations{d: databases[server], rnd: rand.New(rand.NewPCG(uint64(seed), 1)), schema: fmt.Sprintf("s%d", seed), new: server == "postgres18"}
			switch seed % 8 {
			case 3:
				a.streaming = "debug_logical_replication_streaming = immediate"
			case 2, 6, 7:
				a.streaming = "logical_decoding_work_mem = '64kB'"
			}
			defer func() {
				if t.Failed() {
					t.Logf("what was done:\n%s", strings.Join(a.trace, "\n"))
				}
			}()
			a.run(t)
			total.add(a.counts)
		})
		if !ok && os.Getenv("PENSTOCK_TEST_SEEDS") == "" {
			break
		}
	}
	t.Logf("%d seeds: %+v", seeds, total)
	if seeds > 3 && (total.Rows == 0 || total.Alterations == 0 || total.Restarts == 0 || total.RolledBack == 0) {
		t.Error("nothing was tested")
	}
}

// alterCounts says what a run had in it.
type alterCounts struct{ Rows, Alterations, Refused, RolledBack, Restarts, AsText, Foreign, Rekeyed, Unkeyed, Stopped int }

func (c *alterCounts) add(o alterCounts) {
	c.Rows += o.Rows
	c.Alterations += o.Alterations
	c.Refused += o.Refused
	c.RolledBack += o.RolledBack
	c.Restarts += o.Restarts
	c.AsText += o.AsText
	c.Foreign += o.Foreign
	c.Unkeyed += o.Unkeyed
	c.Rekeyed += o.Rekeyed
	c.Stopped += o.Stopped
}

// alterations is one seed's run.
type alterations struct {
	d      *database
	rnd    *rand.Rand
	schema string
	new    bool // Postgres 18
	// streaming has the server send transactions before their end: each change, or when they are larger than this; "": not.
	streaming string
	sessions  []*alterSession
	fresh     int // numbers names and labels
	counts    alterCounts

	trace []string               // what was done
	want  map[string][]*expected // by topic
	// A primary key was changed, which the stream does not say beside another identity; a table was analyzed.
	rekey, analyzed bool
	relabelled      bool // a label of an enum got another name
}

// expected is an event as the database described its row when it was written.
type expected struct {
	op        string
	key       string // JSON in the form of canonical, "" for none
	names     []string
	values    []string // in the form of canonical
	texts     []string // the database's own
	identity  string
	statement string
}

// alterSession is a session with its open transaction, if it has one.
type alterSession struct {
	conn    *pgconn.PgConn
	open    bool
	pending []*pendingEvent
}

type pendingEvent struct {
	topic string
	*expected
}

func (a *alterations) pick(from ...string) string { return from[a.rnd.IntN(len(from))] }
func (a *alterations) name(prefix string) string {
	a.fresh++
	return fmt.Sprintf("%s%d", prefix, a.fresh)
}

func (a *alterations) run(t *testing.T) {
	d := a.d
	a.want = map[string][]*expected{}
	slots := []string{"live_" + a.schema + "_" + d.name, "replay_" + a.schema + "_" + d.name}
	for i := range slots {
		slots[i] = slots[i][:min(len(slots[i]), 63)]
	}
	d.exec(t, "DROP PUBLICATION IF EXISTS shop", "CREATE SCHEMA "+a.schema, "CREATE PUBLICATION shop FOR ALL TABLES WITH (publish_via_partition_root = true)")
	if a.new {
		d.exec(t, "ALTER PUBLICATION shop SET (publish_generated_columns = stored)")
	}
	d.exec(t, "ALTER DATABASE "+d.name+" RESET ALL")
	if a.streaming != "" {
		d.exec(t, "ALTER DATABASE "+d.name+" SET "+a.streaming)
	}
	for range 3 {
		config, err := pgconn.ParseConfig(d.url)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{"timezone": "UTC", "datestyle": "ISO", "intervalstyle": "iso_8601", "extra_float_digits": "3", "lock_timeout": "30ms", "search_path": a.schema} {
			config.RuntimeParams[k] = v
		}
		conn, err := pgconn.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		a.sessions = append(a.sessions, &alterSession{conn: conn})
	}
	setup := a.sessions[0]
	for _, sql := range []string{
		"CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE TYPE pair AS (a int, b text)", "CREATE DOMAIN amount AS numeric(12,2)",
		"CREATE TABLE t1 (id int PRIMARY KEY, v text, n numeric(10,2), m mood)", "CREATE TABLE t2 (a int, b int, v varchar(40), p pair, ms mood[], PRIMARY KEY (b, a))",
		"CREATE TABLE t3 (id bigint PRIMARY KEY, code int NOT NULL, at timestamptz, l int[], d amount)", "ALTER TABLE t3 REPLICA IDENTITY FULL",
		"CREATE TABLE p (id int, region int, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)", "CREATE TABLE p_0 PARTITION OF p FOR VALUES IN (0)", "CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1)",
		"CREATE TABLE sentinel (id int PRIMARY KEY)",
	} {
		a.must(t, setup, sql)
	}
	for _, slot := range slots {
		a.must(t, setup, "SELECT pg_create_logical_replication_slot('"+slot+"', 'pgoutput')")
	}
	defer func() {
		for _, s := range a.sessions {
			a.try(s, "ROLLBACK")
		}
		for _, slot := range slots {
			capturetest.Poll(t, "free slot", func() bool {
				return d.query(t, "SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name = '"+slot+"'")[0][0] == "0"
			})
			d.exec(t, "SELECT pg_drop_replication_slot('"+slot+"')")
		}
		d.exec(t, "DROP SCHEMA "+a.schema+" CASCADE")
	}()

	// The live half: capture runs while things change, and begins again from somewhere before.
	skip := map[string]int{}
	had := map[string]change.ID{} // what a log that goes on has, it does not take again
	log := capturetest.NewLog(nil)
	const parts = 2
	for part := range parts {
		a.mend(t)
		run := a.capture(t, slots[0], log)
		a.trace = append(a.trace, "capture begins")
		for range 25 + a.rnd.IntN(50) {
			a.step(t)
		}
		if part == parts-1 {
			a.finish(t)
			a.check(t, log, run, skip, had, "live")
			break
		}
		if stopped := run.stop(); stopped != nil && !a.named(stopped) {
			t.Fatalf("capture: %v", stopped)
		}
		for range a.rnd.IntN(25) { // while nobody reads
			a.step(t)
		}
		a.counts.Restarts++
		if flushes := log.Flushes(); len(flushes) > 0 {
			from := flushes[a.rnd.IntN(len(flushes))]
			for _, r := range log.Records()[:from.Records] {
				if r.Event != nil && r.Event.OldKey == nil && r.ID.Compare(had[r.Topic]) > 0 {
					skip[r.Topic]++
				}
			}
			for _, r := range log.Records()[:from.Records] {
				if r.Event != nil && r.ID.Compare(had[r.Topic]) > 0 {
					had[r.Topic] = r.ID
				}
			}
			log = capturetest.NewLog(from.Resume)
		}
	}
	// And all of it again, with the catalog of now.
	a.mend(t)
	log = capturetest.NewLog(nil)
	a.check(t, log, a.capture(t, slots[1], log), nil, nil, "replay")
}

// unconfirmed keeps what was captured at the server.
type unconfirmed struct{ *postgres.Source }

func (unconfirmed) Confirm([]byte) {}

// running is a capture that runs.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

func (r *running) stop() error {
	r.cancel()
	return r.wait()
}

func (r *running) wait() error {
	err := <-r.done
	r.done <- err
	return err
}

// ended tells whether it stopped by itself.
func (r *running) ended() bool { return len(r.done) > 0 }

// capture runs a source into a log.
func (a *alterations) capture(t *testing.T, slot string, log *capturetest.Log) *running {
	t.Helper()
	src, err := postgres.Open(&postgres.Config{URL: a.d.url, Tables: []string{a.schema + ".*", "!" + a.schema + ".skip_*"}, Slot: slot, Publication: "shop", Snapshot: postgres.SnapshotNever}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel, make(chan error, 1)}
	go func() {
		r.done <- capture.Run(ctx, unconfirmed{src}, log, change.NewEncoder(src.Identity("1.0")), capture.Options{})
	}()
	t.Cleanup(func() { _ = r.stop() })
	capturetest.Poll(t, "streaming", func() bool { return r.ended() || src.Status().State == "streaming" })
	return r
}

// named tells whether capture stopped because the stream does not say what a row's key was.
func (a *alterations) named(err error) bool {
	return a.rekey && strings.Contains(err.Error(), "penstock source reset")
}

// mend gives a replica identity to the tables that have none, without which capture does not begin.
func (a *alterations) mend(t *testing.T) {
	t.Helper()
	for _, s := range a.sessions {
		a.end(t, s, true)
	}
	s := a.sessions[0]
	_, rows, _ := a.rows(s, `SELECT c.relname FROM pg_class c WHERE c.relnamespace = '`+a.schema+`'::regnamespace AND c.relkind IN ('r', 'p') AND (c.relreplident = 'n'
		OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
		OR c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident))`)
	for _, r := range rows {
		a.must(t, s, "ALTER TABLE "+*r[0]+" REPLICA IDENTITY FULL")
	}
	// And partitions of a table that has it.
	_, rows, _ = a.rows(s, `SELECT c.relname FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class r ON r.oid = i.inhparent
		WHERE c.relnamespace = '`+a.schema+`'::regnamespace AND c.relispartition AND c.relreplident <> 'f' AND r.relreplident = 'f'`)
	for _, r := range rows {
		a.must(t, s, "ALTER TABLE "+*r[0]+" REPLICA IDENTITY FULL")
	}
}

// finish ends the transactions that are open and writes the row that ends the run.
func (a *alterations) finish(t *testing.T) {
	for _, s := range a.sessions {
		a.end(t, s, a.rnd.IntN(2) == 0)
	}
	a.must(t, a.sessions[0], "INSERT INTO sentinel VALUES (1)")
}

// check waits for the last row and compares what came with what was to be expected.
func (a *alterations) check(t *testing.T, log *capturetest.Log, run *running, skip map[string]int, had map[string]change.ID, what string) {
	t.Helper()
	end := change.Topic("shop", a.schema, "sentinel")
	capturetest.Poll(t, "end of "+what, func() bool { return run.ended() || len(log.Events(end)) > 0 })
	err := run.stop()
	if err != nil {
		if !a.named(err) {
			t.Fatalf("%s: %v", what, err)
		}
		a.counts.Stopped++
	}
	got := map[string][]*capturetest.Record{}
	for _, r := range log.Records() {
		if r.Event == nil || r.Topic == end || r.ID.Compare(had[r.Topic]) <= 0 {
			continue
		}
		list := got[r.Topic]
		if n := len(list); n > 0 && r.Event.OldKey != nil && list[n-1].Event.NewKey != nil { // the two halves of a changed key
			list[n-1] = r
		} else {
			list = append(list, r)
		}
		got[r.Topic] = list
	}
	for topic, want := range a.want {
		want = want[min(len(want), skip[topic]):]
		for i, w := range want {
			if i >= len(got[topic]) {
				if err == nil {
					t.Errorf("%s: %s has %d events, want %d, the next %s %v", what, topic, len(got[topic]), len(want), w.op, w.statement)
				}
				break
			}
			if problem := a.compare(got[topic][i], w); problem != "" {
				t.Errorf("%s: %s event %d of %d: %s\n%s", what, topic, i+skip[topic], len(want)+skip[topic], problem, w.statement)
				break
			}
		}
		if len(got[topic]) > len(want) {
			t.Errorf("%s: %s has %d events, want %d", what, topic, len(got[topic]), len(want))
		}
	}
	for topic, events := range got {
		if a.want[topic] == nil {
			t.Errorf("%s: %d events of %s, which has none", what, len(events), topic)
		}
	}
}

// compare says how an event differs from what the database said.
func (a *alterations) compare(r *capturetest.Record, w *expected) string {
	e := r.Event
	rekeyed := a.rekey && w.identity != "d"
	op := e.Op.String()
	if e.OldKey != nil {
		op = "moved"
	}
	if op != w.op && (!rekeyed && !(a.analyzed && r.Key == nil) || op != "u" && op != "moved" || w.op != "u" && w.op != "moved") {
		return fmt.Sprintf("it is %s, want %s", op, w.op)
	}
	if w.op == "t" {
		return ""
	}
	var names []string
	for _, c := range e.Table.Columns {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, w.names) {
		return fmt.Sprintf("schema %s has columns %q, want %q", e.Table.Version, names, w.names)
	}
	if key := canonicalText(r.Key); key != w.key {
		if rekeyed {
			a.counts.Rekeyed++
			return ""
		}
		// ANALYZE and VACUUM of a table whose primary key is gone take the key out of what the server says of older
		// rows too: they change the catalog in place.
		if key == "" && a.analyzed {
			a.counts.Unkeyed++
			return ""
		}
		return fmt.Sprintf("the key is %s, want %s", key, w.key)
	}
	row := e.After
	if w.op == "d" {
		row = e.Before
	}
	for i, v := range row {
		c := &e.Table.Columns[i]
		switch {
		case w.op == "d" && w.identity != "f" && !e.Table.InKey(i): // not sent
			continue
		case v.IsUnchanged() && w.op != "d" && len(w.texts[i]) > 1000:
			continue
		case v.IsNull() && !c.Nullable:
			return fmt.Sprintf("column %s is NULL, which its schema has not", c.Name)
		case v.IsNull():
		case v.Kind() == change.String && strings.ContainsAny(w.values[i][:1], "{["): // the type is not there any more, or may be another one
			a.counts.AsText++
			if v.Text() != w.texts[i] {
				// A transaction that was open when another one altered a composite type is given by the server itself
				// with the attributes of after that.
				if strings.HasPrefix(w.texts[i], "(") && strings.HasPrefix(v.Text(), "(") {
					a.counts.Foreign++
					continue
				}
				return fmt.Sprintf("column %s is %.200q, want the text %.200q", c.Name, v.Text(), w.texts[i])
			}
			continue
		case v.Kind() != c.Kind:
			return fmt.Sprintf("column %s is %v, its schema has %v", c.Name, v.Kind(), c.Kind)
		}
		if got := canonicalText(change.AppendValue(nil, v)); got != w.values[i] {
			if a.relabelled && (c.Kind == change.Enum || c.Element == change.Enum || strings.HasPrefix(c.Type, "type ")) { // the same, by the server, for labels
				a.counts.Foreign++
				continue
			}
			return fmt.Sprintf("column %s (%s) is %.200s, want %.200s", c.Name, c.Type, got, w.values[i])
		}
	}
	return ""
}

// canonicalText is JSON with all scalars as strings and the members of objects in order, so
// that it can be compared with what Postgres makes of a row.
func canonicalText(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "not JSON: " + string(text)
	}
	return canonical(v)
}

func canonical(v any) string {
	var plain func(v any) any
	plain = func(v any) any {
		switch v := v.(type) {
		case json.Number:
			return v.String()
		case bool:
			return strconv.FormatBool(v)
		case string:
			if zone, ok := strings.CutSuffix(v, "+00:00"); ok {
				return zone + "Z"
			}
			return v
		case []any:
			for i := range v {
				v[i] = plain(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = plain(v[k])
			}
		}
		return v
	}
	text, err := json.Marshal(plain(v))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
