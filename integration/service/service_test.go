package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	kafkago "github.com/segmentio/kafka-go"
)

// helperKind makes this test binary start a server of that kind, tell about it
// and wait, so that a test can kill it.
const helperKind = "PENSTOCK_SERVICE_TEST_HELPER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(helperKind); kind != "" {
		s, err := Start(context.Background(), kind, Progress(os.Stderr))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.process.pid, s.Dir)
		select {}
	}
	os.Exit(m.Run())
}

// probe writes into a server and reads back what it wrote.
type probe struct {
	name  string
	write func(t *testing.T, s *Server)
	read  func(t *testing.T, s *Server)
}

func probes() []probe {
	var all []probe
	for major := 14; major <= 18; major++ {
		name := KindPostgres + strconv.Itoa(major)
		all = append(all, probe{name, writePostgres, func(t *testing.T, s *Server) {
			got := queryPostgres(t, s.URL, "SELECT current_setting('server_version_num')::int/10000, current_setting('wal_level'), "+
				"current_setting('max_replication_slots'), (SELECT note FROM kept)")
			if want := strconv.Itoa(major) + " logical 50 here"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}})
	}
	all = append(all,
		probe{KindMySQL, writeMySQL, func(t *testing.T, s *Server) {
			got := queryMySQL(t, s, "SELECT CONCAT_WS(' ', @@log_bin, @@gtid_mode, @@enforce_gtid_consistency, @@binlog_row_metadata, @@binlog_row_image, note) FROM kept.kept")
			if want := "1 ON ON FULL FULL here"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := queryMySQL(t, s, "SELECT VERSION()"); !strings.HasPrefix(got, "9.") || !strings.HasPrefix(got, s.Version) {
				t.Errorf("got version %s, want %s, of MySQL 9", got, s.Version)
			}
		}},
		probe{KindMariaDB, writeMySQL, func(t *testing.T, s *Server) {
			got := queryMySQL(t, s, "SELECT CONCAT_WS(' ', @@log_bin, @@binlog_format, @@gtid_strict_mode, @@binlog_row_metadata, note) FROM kept.kept")
			if want := "ON ROW ON FULL here"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := queryMySQL(t, s, "SELECT VERSION()"); !strings.HasPrefix(got, "11.8.") || !strings.Contains(got, "MariaDB") {
				t.Errorf("got version %s, want MariaDB 11.8", got)
			}
		}},
		probe{KindKafka, writeKafka, readKafka},
		probe{KindToxiproxy, func(*testing.T, *Server) {}, readToxiproxy},
	)
	return all
}

// Every kind answers, keeps what was committed over kill -9 and over an orderly
// restart, and leaves neither process nor file.
func TestLife(t *testing.T) {
	for _, p := range probes() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := ForTest(t, p.name)
			p.write(t, s)
			p.read(t, s)

			url, family := s.URL, members(s)
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			noneLives(t, family)
			if s.Running() {
				t.Fatal("it runs after Kill")
			}
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.read(t, s)
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.read(t, s)
			if s.URL != url {
				t.Errorf("URL became %s, was %s", s.URL, url)
			}

			family = members(s)
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			noneLives(t, family)
			if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is left: %v", err)
			}
			if ln, err := net.Listen("tcp", s.Addr); err != nil {
				t.Errorf("the port is in use: %v", err)
			} else {
				ln.Close()
			}
		})
	}
}

// A server ends with the process that started it, though that is killed.
func TestKilledOwner(t *testing.T) {
	for _, kind := range []string{"postgres18", KindMySQL} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ForTest(t, kind) // so that the owner below has nothing to install
			owner := exec.CommandContext(t.Context(), os.Args[0])
			owner.Env = append(os.Environ(), helperKind+"="+kind)
			owner.Stderr = os.Stderr
			out, err := owner.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatalf("the owner did not start a server: %v", err)
			}
			var pid int
			var dir string
			if _, err := fmt.Sscan(line, &pid, &dir); err != nil {
				t.Fatal(err)
			}
			family := append(descendants(pid), member{pid, birth(pid)})
			if birth(pid) == "" {
				t.Fatal("the server does not run")
			}
			if err := owner.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = owner.Wait() // it was killed
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := poll(ctx, 10*time.Millisecond, func() bool {
				_, err := os.Stat(dir)
				return errors.Is(err, os.ErrNotExist)
			}); err != nil {
				t.Errorf("the folder is left: %v", err)
			}
			noneLives(t, family)
		})
	}
}

// A folder that was given outlives the server, and is taken up where it was.
func TestStartIn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	open(t, filepath.Dir(filepath.Dir(dir)), filepath.Dir(dir))
	first, err := StartIn(t.Context(), dir, "postgres18", Setting("work_mem", "5MB"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s, err := Open(dir); err == nil {
			if err := s.Kill(); err != nil {
				t.Error(err)
			}
		}
	})
	writePostgres(t, first)

	again, err := StartIn(t.Context(), dir, "postgres18")
	if err != nil {
		t.Fatal(err)
	}
	if again.process.pid != first.process.pid || again.URL != first.URL {
		t.Errorf("a second start gave process %d at %s, want %d at %s", again.process.pid, again.URL, first.process.pid, first.URL)
	}
	if _, err := StartIn(t.Context(), dir, "postgres17"); err == nil || !strings.Contains(err.Error(), "has a postgres18") {
		t.Errorf("another version in the same folder: %v", err)
	}
	for _, end := range []func(*Server) error{func(s *Server) error { return s.Halt(t.Context()) }, (*Server).Kill} {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		if err := end(s); err != nil {
			t.Errorf("ending it twice: %v", err)
		}
		if s, err = StartIn(t.Context(), dir, "postgres18"); err != nil {
			t.Fatal(err)
		}
		if got, want := queryPostgres(t, s.URL, "SELECT note, current_setting('work_mem') FROM kept"), "here 5MB"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if s.Port != first.Port {
			t.Errorf("port became %d, was %d", s.Port, first.Port)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	pg := StartPostgres(t, "18", Setting("wal_level", "replica"), Fsync(true), Trust())
	got := queryPostgres(t, strings.Replace(pg.URL, ":"+password+"@", "@", 1), "SELECT current_setting('wal_level'), current_setting('fsync')")
	if want := "replica on"; got != want {
		t.Errorf("postgres: got %q, want %q", got, want)
	}
	my := StartMySQL(t, Setting("binlog-row-image", "MINIMAL"), Fsync(true))
	got = queryMySQL(t, my, "SELECT CONCAT_WS(' ', @@binlog_row_image, @@sync_binlog, @@innodb_flush_log_at_trx_commit)")
	if want := "MINIMAL 1 1"; got != want {
		t.Errorf("mysql: got %q, want %q", got, want)
	}
}

// A server that cannot start says why, and leaves nothing.
func TestStartFails(t *testing.T) {
	t.Parallel()
	before, err := filepath.Glob(filepath.Join(os.TempDir(), "penstock-postgres-*"))
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, name := range before {
		known[name] = true
	}
	_, err = Postgres(t.Context(), "18", Setting("no_such_setting", "1"))
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Errorf("got %v, want the server's own words", err)
	}
	for name, want := range map[string]string{
		"postgres13": "postgres14 to postgres18",
		"mysql8":     "mysql9 only",
		"oracle":     "the names are postgres14",
	} {
		if _, err := Start(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

func TestDatabase(t *testing.T) {
	for _, name := range []string{"postgres18", KindMySQL, KindMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Shared(t, name)
			if s != Shared(t, name) {
				t.Fatal("there are two shared servers")
			}
			if err := s.Kill(); err == nil {
				t.Fatal("a test could kill the server of all tests")
			}
			var url string
			t.Run("use", func(t *testing.T) {
				url = Database(t, s)
				if url == Database(t, s) {
					t.Fatal("two databases have one name")
				}
				if s.Kind == KindPostgres {
					// A slot and a connection are no obstacle.
					conn, err := pgconn.Connect(t.Context(), url)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = conn.Close(context.Background()) })
					if _, err := conn.Exec(t.Context(), "SELECT pg_create_logical_replication_slot('s_'||current_database(), 'pgoutput')").ReadAll(); err != nil {
						t.Fatal(err)
					}
				}
			})
			if s.Kind == KindPostgres {
				if _, err := pgconn.Connect(t.Context(), url); err == nil || !strings.Contains(err.Error(), "does not exist") {
					t.Errorf("the database is left: %v", err)
				}
			} else if got := queryMySQL(t, s, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name='"+url[strings.LastIndex(url, "/")+1:]+"'"); got != "0" {
				t.Error("the database is left")
			}
		})
	}
}

func TestSharedFromEnvironment(t *testing.T) {
	s := StartPostgres(t, "17")
	t.Setenv("PENSTOCK_TEST_POSTGRES17_URL", s.URL)
	t.Setenv("PENSTOCK_TEST_KAFKA", "127.0.0.1:9092")
	got := Shared(t, "postgres17")
	if got.Addr != s.Addr || got.Port != s.Port {
		t.Errorf("got %s, want the one of the environment, %s", got.Addr, s.Addr)
	}
	if queryPostgres(t, Database(t, got), "SELECT 1") != "1" {
		t.Error("no answer")
	}
	if err := got.Stop(t.Context()); err == nil {
		t.Error("a test could stop the server of another process")
	}
	if k, err := named(KindKafka); err != nil || k.Addr != "127.0.0.1:9092" || k.Port != 9092 {
		t.Errorf("kafka of the environment: %+v, %v", k, err)
	}
}

// members are all processes of a server.
func members(s *Server) []member {
	return append(descendants(s.process.pid), member{s.process.pid, s.process.born})
}

func noneLives(t *testing.T, family []member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, m := range family {
		if err := poll(ctx, 5*time.Millisecond, func() bool { return birth(m.pid) != m.born }); err != nil {
			t.Errorf("process %d is left", m.pid)
		}
	}
}

// open lets nobody into the folders that a test has from t.TempDir.
func open(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func writePostgres(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Exec(t.Context(), "CREATE TABLE kept (note text); INSERT INTO kept VALUES ('here')"); err != nil {
		t.Fatal(err)
	}
}

// queryPostgres returns the first row, its columns joined by blanks.
func queryPostgres(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, c := range results[0].Rows[0] {
		columns = append(columns, string(c))
	}
	return strings.Join(columns, " ")
}

func writeMySQL(t *testing.T, s *Server) {
	t.Helper()
	for _, sql := range []string{"CREATE DATABASE kept", "CREATE TABLE kept.kept (note varchar(10))", "INSERT INTO kept.kept VALUES ('here')"} {
		if err := s.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

func queryMySQL(t *testing.T, s *Server, sql string) string {
	t.Helper()
	conn, err := s.connectMySQL(t.Context(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := conn.Execute(sql)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.GetString(0, 0)
	if err != nil {
		if n, err := r.GetInt(0, 0); err == nil {
			return strconv.FormatInt(n, 10)
		}
		t.Fatal(err)
	}
	return got
}

func writeKafka(t *testing.T, s *Server) {
	t.Helper()
	c := &kafkago.Client{Addr: kafkago.TCP(s.Addr)}
	made, err := c.CreateTopics(t.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{Topic: "kept", NumPartitions: 1, ReplicationFactor: 1}}})
	if err == nil {
		err = made.Errors["kept"]
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &kafkago.Writer{Addr: c.Addr, Topic: "kept", RequiredAcks: kafkago.RequireAll}
	defer w.Close()
	if err := w.WriteMessages(t.Context(), kafkago.Message{Value: []byte("here")}); err != nil {
		t.Fatal(err)
	}
}

func readKafka(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: []string{s.Addr}, Topic: "kept", MaxWait: 100 * time.Millisecond})
	defer r.Close()
	m, err := r.ReadMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(m.Value), "here"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func readToxiproxy(t *testing.T, s *Server) {
	t.Helper()
	resp, err := http.Get(s.URL + "/proxies")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || strings.TrimSpace(string(b)) != "{}" {
		t.Errorf("got %s, %v, want no proxies", b, err)
	}
}
