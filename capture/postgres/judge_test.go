package postgres_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/integration/service"
)

// scenario is something that a publisher does. Its tables, rebuilt from the messages alone, have to be
// what the publisher has.
type scenario struct {
	name  string
	since int // the first major version that can do it; 0: all
	// set are the server's settings: it gets one of its own.
	set    []string
	setup  []string // before capture begins
	config func(*postgres.Config)
	// steps are statements of a first session; those behind "2: " of a second. "sync" waits until all is
	// captured, "restart" stops capture and starts it again, "begin" starts it.
	steps []string
	// tables are compared at the end; "topic=table" where the topic is another table's.
	tables []string
	// refused has parts of the error with which capture does not begin.
	refused []string
}

const judgesPage = "../../docs/judges.md"

// TestJudges runs the scenarios, for which the tests of Postgres' own logical replication
// (src/test/subscription) are the model.
func TestJudges(t *testing.T) {
	page, err := os.ReadFile(judgesPage)
	if err != nil {
		t.Fatal(err)
	}
	servers := []string{"postgres18"}
	if os.Getenv("PENSTOCK_TEST_ALL") != "" {
		servers = []string{"postgres14", "postgres15", "postgres16", "postgres17", "postgres18"}
	}
	for _, sc := range scenarios {
		if !strings.Contains(string(page), "`"+sc.name+"`") {
			t.Errorf("%s does not have `%s`", judgesPage, sc.name)
		}
		for _, server := range servers {
			if version := strings.TrimPrefix(server, "postgres"); fmt.Sprint(sc.since) > version && sc.since > 0 {
				continue
			}
			t.Run(sc.name+"/"+server, func(t *testing.T) { sc.run(t, server) })
		}
	}
}

func (sc *scenario) run(t *testing.T, server string) {
	d := &database{}
	if len(sc.set) > 0 {
		var options []service.Option
		for _, s := range sc.set {
			name, value, _ := strings.Cut(s, "=")
			options = append(options, service.Setting(name, value))
		}
		own := service.StartPostgres(t, strings.TrimPrefix(server, "postgres"), options...)
		d = databaseOn(t, own)
	} else {
		d = newDatabase(t, server)
	}
	second := &database{url: d.url, name: d.name}
	second.connect(t)
	d.exec(t, sc.setup...)
	cfg := d.config()
	if sc.config != nil {
		sc.config(cfg)
	}
	h := d.harness(t)
	log := capturetest.NewLog(nil)
	if len(sc.refused) > 0 {
		checkError(t, d.open(t, cfg).Check(t.Context(), nil), sc.refused)
		return
	}
	d.exec(t, "CREATE TABLE synced (n int PRIMARY KEY)")
	synced := 0
	start := func() *capturetest.Capture {
		c := h.StartSource(t, log, d.open(t, cfg), capture.Options{})
		c.Streaming(t)
		return c
	}
	sync := func() {
		synced++
		d.exec(t, fmt.Sprintf("INSERT INTO synced VALUES (%d)", synced))
		log.Wait(t, "synced row", func([]*capturetest.Record) bool { return len(log.Events("shop.public.synced")) == synced })
	}
	var c *capturetest.Capture
	if !slices.Contains(sc.steps, "begin") {
		c = start()
	}
	for _, step := range sc.steps {
		switch rest, other := strings.CutPrefix(step, "2: "); {
		case step == "sync":
			sync()
		case step == "begin":
			c = start()
		case step == "restart":
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
			d.freeSlot(t)
			c = start()
		case other:
			second.exec(t, rest)
		default:
			d.exec(t, step)
		}
	}
	sync()
	stored := replica{}
	for _, r := range log.Records() {
		if r.Marker == nil {
			stored.take(t, r)
		}
	}
	for _, name := range sc.tables {
		topic, table, other := strings.Cut(name, "=")
		if !other {
			table = topic
		}
		stored.compare(t, d, change.Topic("shop", "public", topic), table)
	}
}

// databaseOn makes a database on a server of the test's own.
func databaseOn(t *testing.T, server *service.Server) *database {
	t.Helper()
	d := &database{url: service.Database(t, server)}
	d.name = d.url[strings.LastIndexByte(d.url, '/')+1:]
	d.name, _, _ = strings.Cut(d.name, "?")
	d.connect(t)
	return d
}

// replica is what someone has who knows nothing but the messages: by topic, the rows by their key, or
// where there is none by all that is in them.
type replica map[string]*stored

type stored struct {
	rows  map[string]map[string]json.RawMessage
	moved map[string]map[string]json.RawMessage // rows whose key is about to be another one
	loose []map[string]json.RawMessage
}

// take applies one message.
func (p replica) take(t *testing.T, r *capturetest.Record) {
	t.Helper()
	s := p[r.Topic]
	if s == nil {
		s = &stored{rows: map[string]map[string]json.RawMessage{}, moved: map[string]map[string]json.RawMessage{}}
		p[r.Topic] = s
	}
	if r.Value == nil {
		if s.rows[string(r.Key)] != nil {
			t.Errorf("%s: a tombstone of %s, which has a row", r.Topic, r.Key)
		}
		return
	}
	var envelope struct {
		Op            string
		Before, After map[string]json.RawMessage
	}
	if err := json.Unmarshal(r.Value, &envelope); err != nil {
		t.Fatalf("%s: %v", r.Topic, err)
	}
	var unchanged []string
	if text := r.Header(change.HeaderUnchanged); text != "" {
		if err := json.Unmarshal([]byte(text), &unchanged); err != nil {
			t.Fatalf("%s: header: %v", r.Topic, err)
		}
	}
	if envelope.Op == "t" {
		clear(s.rows)
		s.loose = nil
		return
	}
	key := string(r.Key)
	if r.Key == nil {
		s.takeLoose(t, r.Topic, envelope.Op, envelope.Before, envelope.After)
		return
	}
	before := s.rows[key]
	switch envelope.Op {
	case "d":
		if before == nil {
			t.Errorf("%s: a delete of %s, which is not there", r.Topic, key)
		}
		delete(s.rows, key)
		if text := r.Header(change.HeaderNewKey); text != "" {
			s.moved[payload(t, text)] = before
		}
		return
	case "c":
		if before != nil {
			t.Errorf("%s: %s is created again", r.Topic, key)
		}
		if r.Header(change.HeaderOldKey) != "" {
			before = s.moved[canonicalText(r.Key)]
			delete(s.moved, canonicalText(r.Key))
		}
	case "u":
		if before == nil {
			t.Errorf("%s: an update of %s, which is not there", r.Topic, key)
		}
	}
	for _, name := range unchanged {
		if before == nil {
			t.Errorf("%s: %s is unchanged in %s, whose row is not there", r.Topic, name, key)
		}
		envelope.After[name] = before[name]
	}
	s.rows[key] = envelope.After
}

// payload is the key in one of Debezium's headers.
func payload(t *testing.T, header string) string {
	t.Helper()
	var key struct{ Payload json.RawMessage }
	if err := json.Unmarshal([]byte(header), &key); err != nil {
		t.Fatal(err)
	}
	return canonicalText(key.Payload)
}

// takeLoose applies a message of a table without key: its old row is the whole one.
func (s *stored) takeLoose(t *testing.T, topic, op string, before, after map[string]json.RawMessage) {
	t.Helper()
	if op == "u" || op == "d" {
		old := wholeRow(before)
		i := slices.IndexFunc(s.loose, func(r map[string]json.RawMessage) bool { return wholeRow(r) == old })
		if i < 0 {
			t.Errorf("%s: %s of a row that is not there: %s", topic, op, old)
			return
		}
		s.loose = slices.Delete(s.loose, i, i+1)
	}
	if op != "d" {
		s.loose = append(s.loose, after)
	}
}

func wholeRow(r map[string]json.RawMessage) string {
	text, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return canonicalText(text)
}

// compare rebuilds a table in the database, from a replica's rows, and lets the database say whether it is
// the one that the publisher has.
func (p replica) compare(t *testing.T, d *database, topic, table string) {
	t.Helper()
	var rows []map[string]json.RawMessage
	if s := p[topic]; s != nil {
		rows = s.loose
		for _, r := range s.rows {
			rows = append(rows, r)
		}
	}
	source := "public." + quoteName(table)
	columns := d.query(t, "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '"+strings.ReplaceAll(source, "'", "''")+"'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum")
	var names, defs []string
	for _, c := range columns {
		names = append(names, quoteName(c[0]))
		defs = append(defs, quoteName(c[0])+" "+c[1])
	}
	d.exec(t, "SET client_min_messages = warning", "DROP SCHEMA IF EXISTS rebuilt CASCADE", "CREATE SCHEMA rebuilt", "CREATE TABLE rebuilt.it ("+strings.Join(defs, ", ")+")")
	for _, r := range rows {
		var values []string
		for _, c := range columns {
			raw, there := r[c[0]]
			if !there {
				values = append(values, "NULL") // added since, with no row written since
				continue
			}
			typ := judgeTypes.Replace(c[1])
			dec := json.NewDecoder(bytes.NewReader(raw))
			dec.UseNumber()
			v, err := ordered(dec)
			if err != nil {
				t.Fatalf("%s: %v", topic, err)
			}
			text, null := formOf(typ).database(t, v)
			if null {
				values = append(values, "NULL")
			} else {
				values = append(values, "'"+strings.ReplaceAll(text, "'", "''")+"'")
			}
		}
		if len(names) == 0 {
			d.exec(t, "INSERT INTO rebuilt.it DEFAULT VALUES")
		} else {
			d.exec(t, "INSERT INTO rebuilt.it ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(values, ", ")+")")
		}
	}
	row := "ROW(" + strings.Join(names, ", ") + ")::text"
	for _, side := range [][2]string{{source, "rebuilt.it"}, {"rebuilt.it", source}} {
		missing := d.query(t, fmt.Sprintf("SELECT left(r, 200) FROM (SELECT %s AS r FROM %s EXCEPT ALL SELECT %[1]s FROM %[3]s) x", row, side[0], side[1]))
		if len(missing) > 0 {
			t.Errorf("%s: %d rows of %s are not in %s, such as %s", topic, len(missing), side[0], side[1], missing[0][0])
		}
	}
	if n := d.query(t, "SELECT count(*) FROM "+source)[0][0]; n != fmt.Sprint(len(rows)) {
		t.Errorf("%s: %d rows were rebuilt, want %s", topic, len(rows), n)
	}
}

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// judgeTypes turns the database's words for types into the names that forms has.
var judgeTypes = strings.NewReplacer("timestamp with time zone", "timestamptz", "timestamp without time zone", "timestamp")
