// Package service installs and runs real Postgres, MySQL, MariaDB, Kafka and
// Toxiproxy on the loopback interface, without Docker and without root.
//
// Binaries are fetched once into a cache folder and every server gets a port
// and a data folder of its own, so any number of test packages can run servers
// at the same time. A server dies with the process that started it, even when
// that process is killed, unless it was started with Detached.
package service

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Kinds of servers, as in Server.Kind and in the names that Start takes.
const (
	KindPostgres  = "postgres"
	KindMySQL     = "mysql"
	KindMariaDB   = "mariadb"
	KindKafka     = "kafka"
	KindToxiproxy = "toxiproxy"
)

// Names of the superuser and its password on every database server.
const (
	postgresUser = "postgres"
	mysqlUser    = "root"
	password     = "penstock"
)

// A Server is a running server, or one that was stopped and can be restarted.
// Its methods are for one goroutine at a time.
type Server struct {
	Kind    string
	Version string // what is installed, "18.6"
	Dir     string // "data", "log" and the settings; empty for a server of another process
	Port    int
	Addr    string // host:port, what a Kafka client or a proxy is given
	// URL connects as the superuser: postgres://, mysql:// (MariaDB too),
	// http:// for Toxiproxy. Kafka has no URL of its own and gets kafka://.
	URL string

	controller int // the second port of a Kafka node
	software   software
	installed  installed
	options    options
	ports      *lease
	guard      *watchdog
	process    *process
	lent       bool // to all tests of this binary: none of them may end it
}

// software is what one kind of server needs.
type software interface {
	// install fills the cache, template data included.
	install(ctx context.Context, c *cache) (installed, error)
	// create fills s.Dir with data and settings of a new server.
	create(s *Server) error
	command(s *Server) command
	// ping returns nil once the server answers as it should.
	ping(ctx context.Context, s *Server) error
}

// installed is where a server's binaries and template data are, and for Kafka how Java is run.
type installed struct {
	version  string
	home     string
	template string // the data of a new server
	java     []string
}

// Postgres starts a Postgres server of a major version: "14" to "18".
// wal_level is logical, with 50 slots and WAL senders.
func Postgres(ctx context.Context, version string, opts ...Option) (*Server, error) {
	return Start(ctx, KindPostgres+version, opts...)
}

// MySQL starts a MySQL 9 server with GTIDs and full binary log images and metadata.
func MySQL(ctx context.Context, opts ...Option) (*Server, error) {
	return Start(ctx, KindMySQL, opts...)
}

// MariaDB starts a MariaDB 11.8 server with a row binary log and full metadata.
func MariaDB(ctx context.Context, opts ...Option) (*Server, error) {
	return Start(ctx, KindMariaDB, opts...)
}

// Kafka starts a single Kafka 4.4 broker that is its own controller.
// Topics are not made by themselves.
func Kafka(ctx context.Context, opts ...Option) (*Server, error) {
	return Start(ctx, KindKafka, opts...)
}

// Toxiproxy starts a Toxiproxy with no proxies; URL is its HTTP API.
func Toxiproxy(ctx context.Context, opts ...Option) (*Server, error) {
	return Start(ctx, KindToxiproxy, opts...)
}

// Start starts a server by name: a kind, followed by a version where there is
// a choice ("postgres17"; "postgres" alone is the newest). It returns when the
// server answers, and leaves nothing behind when it does not.
func Start(ctx context.Context, name string, opts ...Option) (*Server, error) {
	kind, software, err := lookup(name)
	if err != nil {
		return nil, err
	}
	return start(ctx, name, kind, software, opts)
}

func start(ctx context.Context, name, kind string, software software, opts []Option) (_ *Server, err error) {
	s := &Server{Kind: kind, software: software, options: newOptions(opts)}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start %s: %w", name, err)
			s.abandon()
		}
	}()
	c, err := openCache(s.options.progress)
	if err != nil {
		return nil, err
	}
	if s.installed, err = software.install(ctx, c); err != nil {
		return nil, err
	}
	s.Version = s.installed.version
	if s.ports, err = leasePorts(s.options.port, 2); err != nil {
		return nil, err
	}
	s.setPort(s.ports.ports[0])
	s.controller = s.ports.ports[1]
	if err := s.makeDir(); err != nil {
		return nil, err
	}
	if !s.options.detached {
		if s.guard, err = startWatchdog(s.options.removeDir(s.Dir)); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(s.data()); errors.Is(err, os.ErrNotExist) {
		if err := software.create(s); err != nil {
			return nil, err
		}
	}
	if err := s.launch(ctx); err != nil {
		return nil, err
	}
	if s.options.detached {
		s.ports.release() // it listens on them, which is all that a lease could say from now on
		s.ports = nil
	}
	return s, nil
}

// Install puts a server's binaries into the cache, so that Start needs no network.
// It returns the version that is there.
func Install(ctx context.Context, name string, opts ...Option) (string, error) {
	_, software, err := lookup(name)
	if err != nil {
		return "", err
	}
	o := newOptions(opts)
	c, err := openCache(o.progress)
	if err != nil {
		return "", err
	}
	there, err := software.install(ctx, c)
	if err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	return there.version, nil
}

// Stop ends the server and gives back all that it had: processes, ports, and
// the data, unless the folder was given with InDir. A second Stop does nothing.
func (s *Server) Stop(ctx context.Context) error {
	if s.external() {
		return s.notOurs("stop")
	}
	var err error
	if s.options.dir != "" {
		err = s.Halt(ctx)
	} else if s.process != nil {
		// The data goes away, so nothing is written back first; a Postgres
		// told to stop at once still gives back its shared memory.
		s.process.signal(s.software.command(s).abort)
		if waitErr := s.process.wait(ctx, 10*time.Second); waitErr != nil {
			err = s.process.kill()
		}
		s.process = nil
	}
	s.abandon()
	return err
}

// Halt stops the server in the orderly way and keeps its data and its port.
func (s *Server) Halt(ctx context.Context) error {
	if s.external() {
		return s.notOurs("halt")
	}
	if s.process == nil {
		return nil
	}
	s.process.signal(s.software.command(s).stop)
	if err := s.process.wait(ctx, time.Minute); err != nil {
		return fmt.Errorf("stop %s: %w; end what is connected to it, or kill it", s.Kind, err)
	}
	return s.ended()
}

// Kill ends all processes of the server with SIGKILL and keeps its data and its port.
func (s *Server) Kill() error {
	if s.external() {
		return s.notOurs("kill")
	}
	if s.process == nil {
		return nil
	}
	if err := s.process.kill(); err != nil {
		return fmt.Errorf("kill %s: %w", s.Kind, err)
	}
	return s.ended()
}

// Restart starts the server on its data and its port again, after an orderly
// stop if it runs. It returns when the server answers.
func (s *Server) Restart(ctx context.Context) error {
	if s.external() {
		return s.notOurs("restart")
	}
	if err := s.Halt(ctx); err != nil {
		return err
	}
	if err := s.launch(ctx); err != nil {
		return fmt.Errorf("restart %s: %w", s.Kind, err)
	}
	return nil
}

// Running tells whether the server's main process lives.
func (s *Server) Running() bool { return s.process != nil && s.process.running() }

// Database returns the URL of a database of this server. The database need not exist.
func (s *Server) Database(name string) string {
	u, err := url.Parse(s.URL)
	if err != nil {
		panic(fmt.Sprintf("service: URL of %s does not parse", s.Kind))
	}
	u.Path = "/" + name
	return u.String()
}

func (s *Server) data() string    { return filepath.Join(s.Dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.Dir, "log") }

// external tells whether the server belongs to others too: it came from Shared.
func (s *Server) external() bool { return s.software == nil || s.lent }

func (s *Server) notOurs(verb string) error {
	return fmt.Errorf("%s %s: others use it too; start one with ForTest instead of a shared one", verb, s.Kind)
}

func (s *Server) setPort(port int) {
	s.Port = port
	s.Addr = "127.0.0.1:" + strconv.Itoa(port)
	u := url.URL{Host: s.Addr}
	switch s.Kind {
	case KindPostgres:
		u.Scheme, u.User, u.Path, u.RawQuery = "postgres", url.UserPassword(postgresUser, password), "/postgres", "sslmode=disable"
	case KindMySQL, KindMariaDB:
		u.Scheme, u.User, u.Path = "mysql", url.UserPassword(mysqlUser, password), "/"
	case KindToxiproxy:
		u.Scheme = "http"
	default:
		u.Scheme = s.Kind
	}
	s.URL = u.String()
}

// makeDir makes the server's folder and gives it to the user that runs it.
func (s *Server) makeDir() error {
	if s.options.dir != "" {
		dir, err := filepath.Abs(s.options.dir)
		if err != nil {
			return fmt.Errorf("find folder: %w", err)
		}
		s.Dir = dir
		// The folders above it are open: nobody has to get through them.
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make folder: %w", err)
		}
	} else {
		dir, err := os.MkdirTemp("", "penstock-"+s.Kind+"-")
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		s.Dir = dir
	}
	return giveAway(s.Dir)
}

// launch starts the main process and waits until it answers.
func (s *Server) launch(ctx context.Context) error {
	if s.installed.home == "" { // it comes from Open
		c, err := openCache(s.options.progress)
		if err != nil {
			return err
		}
		if s.installed, err = s.software.install(ctx, c); err != nil {
			return err
		}
	}
	cmd := s.software.command(s)
	for _, name := range cmd.stale {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove what the last run left: %w", err)
		}
	}
	p, err := startProcess(cmd, s.Dir, s.logFile())
	if err != nil {
		return err
	}
	s.process = p
	if err := s.guard.watch(p.pid); err != nil {
		return errors.Join(err, s.Kill())
	}
	if err := s.await(ctx); err != nil {
		return errors.Join(err, s.Kill())
	}
	return s.remember()
}

// await polls until the server answers, ends, or two minutes are over.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if !s.process.running() {
			return fmt.Errorf("it ended by itself; the last lines of its log:\n%s", s.logTail())
		}
		attempt, done := context.WithTimeout(ctx, 3*time.Second)
		err := s.software.ping(attempt, s)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer (%w); the last lines of its log:\n%s", err, s.logTail())
		case <-tick.C:
		}
	}
}

func (s *Server) logTail() string {
	b, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// ended notes that no process of the server is left.
func (s *Server) ended() error {
	s.process = nil
	return errors.Join(s.guard.watch(0), s.remember())
}

// abandon gives back what a server holds, whatever state it is in.
func (s *Server) abandon() {
	if s.process != nil {
		_ = s.process.kill() // nothing more can be done about it
		s.process = nil
	}
	if dir := s.options.removeDir(s.Dir); dir != "" {
		_ = os.RemoveAll(dir) // a temporary folder
	}
	s.guard.release()
	s.guard = nil
	s.ports.release()
	s.ports = nil
}
