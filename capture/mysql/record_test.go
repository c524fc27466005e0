package mysql_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/penstock-cdc/penstock/capture/mysql"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/integration/service"
)

// servers are what the tests run on.
var servers = []string{"mysql", "mariadb"}

// database is a fresh database of a server and a connection to it.
type database struct {
	tb   testing.TB
	url  string // as a source's
	name string
	conn *client.Conn
}

func newDatabase(tb testing.TB, server string) *database {
	tb.Helper()
	return databaseOn(tb, service.Shared(tb, server))
}

func databaseOn(tb testing.TB, s *service.Server) *database {
	tb.Helper()
	u, err := url.Parse(service.Database(tb, s))
	if err != nil {
		tb.Fatal(err)
	}
	d := &database{tb: tb, name: strings.Trim(u.Path, "/")}
	u.Path, u.RawQuery = "/", ""
	d.url = u.String()
	d.conn = d.connect()
	return d
}

func (d *database) connect() *client.Conn {
	d.tb.Helper()
	u, _ := url.Parse(d.url)
	password, _ := u.User.Password()
	conn, err := client.Connect(u.Host, u.User.Username(), password, d.name)
	if err != nil {
		d.tb.Fatalf("connect to %s: %v", d.name, err)
	}
	d.tb.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Execute("SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = ''"); err != nil {
		d.tb.Fatal(err)
	}
	return conn
}

// exec runs statements, each on a line of its own or parted by semicolons at the line's end.
func (d *database) exec(statements ...string) {
	d.tb.Helper()
	for _, sql := range statements {
		if _, err := d.conn.Execute(sql); err != nil {
			d.tb.Fatalf("%s: %v", sql, err)
		}
	}
}

// text returns the first column of a query's first row.
func (d *database) text(sql string) string {
	d.tb.Helper()
	r, err := d.conn.Execute(sql)
	if err != nil {
		d.tb.Fatalf("%s: %v", sql, err)
	}
	defer r.Close()
	s, err := r.GetString(0, 0)
	if err != nil {
		d.tb.Fatalf("%s: %v", sql, err)
	}
	return strings.Clone(s)
}

// recorder is an Output that keeps what it gets, up to what was committed.
type recorder struct {
	mu      sync.Mutex
	changed chan struct{}
	events  []*change.Event
	pending []*change.Event
	markers []string
	resume  []byte
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{}, 1)} }

func (r *recorder) Event(e *change.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *e
	c.Before, c.After, c.OldKey, c.NewKey = e.Before.Clone(), e.After.Clone(), e.OldKey.Clone(), e.NewKey.Clone()
	r.pending = append(r.pending, &c)
	return nil
}

func (r *recorder) Marker(t *change.Table, _ change.ID, m change.Marker) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.markers = append(r.markers, string(m.Kind)+" "+t.Name)
	return nil
}

func (r *recorder) Commit(resume []byte) error {
	r.mu.Lock()
	r.events = append(r.events, r.pending...)
	r.pending = nil
	r.resume = append([]byte(nil), resume...)
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return nil
}

func (r *recorder) Idle()                       {}
func (r *recorder) Flush(context.Context) error { return nil }

// wait returns the committed events once done says so.
func (r *recorder) wait(tb testing.TB, done func([]*change.Event) bool) []*change.Event {
	tb.Helper()
	deadline := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		events := r.events[:len(r.events):len(r.events)]
		r.mu.Unlock()
		if done(events) {
			return events
		}
		select {
		case <-r.changed:
		case <-deadline:
			tb.Fatalf("no more than %d events came", len(events))
		}
	}
}

// waitSnapshots waits until n tables were read: what is written from then on is streamed.
func (r *recorder) waitSnapshots(tb testing.TB, n int) {
	tb.Helper()
	r.wait(tb, func([]*change.Event) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		ends := 0
		for _, m := range r.markers {
			if strings.HasPrefix(m, string(change.SnapshotEnd)) {
				ends++
			}
		}
		return ends >= n
	})
}

func atLeast(n int) func([]*change.Event) bool {
	return func(e []*change.Event) bool { return len(e) >= n }
}

// running is a source that runs into a recorder.
type running struct {
	*recorder
	tb     testing.TB
	source *mysql.Source
	cancel context.CancelFunc
	err    chan error
}

func open(tb testing.TB, cfg *mysql.Config) *mysql.Source {
	tb.Helper()
	name := strings.NewReplacer("/", "_", "#", "_").Replace(tb.Name()) + strconv.Itoa(int(time.Now().UnixNano()%1e6))
	s, err := mysql.Open(cfg, name, slog.New(slog.NewTextHandler(testWriter{tb}, nil)))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

type testWriter struct{ tb testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.tb.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// run checks and starts a source on the database's tables.
func (d *database) run(cfg mysql.Config, resume []byte) *running {
	d.tb.Helper()
	cfg.URL = d.url
	if len(cfg.Tables) == 0 {
		cfg.Tables = []string{d.name + ".*"}
	}
	s := open(d.tb, &cfg)
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.Check(ctx, resume); err != nil {
		d.tb.Fatalf("check: %v", err)
	}
	r := &running{recorder: newRecorder(), tb: d.tb, source: s, cancel: cancel, err: make(chan error, 1)}
	go func() { r.err <- s.Run(ctx, resume, r) }()
	d.tb.Cleanup(func() { r.stop() })
	return r
}

// stop ends the source and returns its last resume point.
func (r *running) stop() []byte {
	r.tb.Helper()
	r.cancel()
	if r.err != nil {
		if err := <-r.err; err != nil {
			r.tb.Errorf("run: %v", err)
		}
		r.err = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resume
}

// line is an event in one line, as tests write it down.
func line(e *change.Event) string {
	values := func(row change.Row) string {
		if row == nil {
			return "-"
		}
		parts := make([]string, len(row))
		for i, v := range row {
			if parts[i] = v.Text(); v.IsNull() {
				parts[i] = "NULL"
			}
		}
		return strings.Join(parts, ",")
	}
	name := "?"
	if e.Table != nil {
		name = e.Table.Name
	}
	s := fmt.Sprintf("%s %s %s > %s", e.Op, name, values(e.Before), values(e.After))
	if e.NewKey != nil {
		s += " newkey"
	}
	if e.OldKey != nil {
		s += " oldkey"
	}
	return s
}

func lines(events []*change.Event) (out []string) {
	for _, e := range events {
		out = append(out, line(e))
	}
	return out
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
