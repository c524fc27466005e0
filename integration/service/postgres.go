package service

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgres is a major version of Postgres: "18".
type postgres struct{ major string }

// artifact is the newest release of the major version that is known for this machine.
func (p postgres) artifact() (artifact, error) {
	arch := runtime.GOARCH
	if arch == "arm64" {
		arch = "arm64v8"
	}
	suffix := "-" + runtime.GOOS + "-" + arch
	for _, a := range artifacts(postgresJars) {
		if strings.HasSuffix(a.name, suffix) && strings.HasPrefix(a.version, p.major+".") {
			return a, nil
		}
	}
	return artifact{}, notHere(KindPostgres)
}

func (p postgres) install(ctx context.Context, c *cache) (installed, error) {
	a, err := p.artifact()
	if err != nil {
		return installed{}, err
	}
	version := strings.TrimSuffix(a.version, ".0")
	name := "postgres-" + version
	home, err := c.entry(ctx, name, func(dir string) error {
		if err := c.fetchJars(ctx, dir, []artifact{a}); err != nil {
			return err
		}
		jar := filepath.Join(dir, a.file())
		if err := unpackPostgres(jar, dir); err != nil {
			return err
		}
		return os.Remove(jar)
	})
	if err != nil {
		return installed{}, err
	}
	template, err := c.template(ctx, name, func(dir string) error {
		secret := filepath.Join(dir, "secret") // initdb wants the password in a file
		if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
			return fmt.Errorf("write password file: %w", err)
		}
		if err := giveAway(secret); err != nil {
			return err
		}
		return run(ctx, dir, nil, command{dropRoot: true, args: []string{
			filepath.Join(home, "bin", "initdb"), "-D", filepath.Join(dir, "data"),
			"-U", postgresUser, "--pwfile", secret, "--auth", "scram-sha-256",
			"-E", "UTF8", "--locale", locale(), "--no-sync",
		}})
	})
	return installed{version: version, home: home, template: template}, err
}

// locale is one that is on every machine: a bare Debian has no en_US, and
// macOS got C.UTF-8 late.
func locale() string {
	if runtime.GOOS == "darwin" {
		return "C"
	}
	return "C.UTF-8"
}

func (p postgres) create(s *Server) error {
	if err := copyTree(filepath.Join(s.installed.template, "data"), s.data()); err != nil {
		return err
	}
	settings := []string{
		"wal_level=logical",
		"max_replication_slots=50",
		"max_wal_senders=50",
		"max_connections=200",
		"max_prepared_transactions=20",
		"shared_buffers=64MB",
		"timezone=UTC",
		"log_timezone=UTC",
		"log_line_prefix=%m [%p] ",
	}
	if !s.options.fsync {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	var conf strings.Builder
	for _, setting := range append(settings, s.options.settings...) {
		name, value, _ := strings.Cut(setting, "=")
		fmt.Fprintf(&conf, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	}
	if err := appendFile(filepath.Join(s.data(), "postgresql.conf"), conf.String()); err != nil {
		return err
	}
	auth := "scram-sha-256"
	if s.options.trust {
		auth = "trust"
	}
	hba := fmt.Sprintf("host all all 127.0.0.1/32 %[1]s\nhost replication all 127.0.0.1/32 %[1]s\n", auth)
	if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		return fmt.Errorf("write pg_hba.conf: %w", err)
	}
	return nil
}

func (p postgres) command(s *Server) command {
	return command{
		// What is not among these arguments can be changed by ALTER SYSTEM.
		args: []string{
			filepath.Join(s.installed.home, "bin", "postgres"), "-D", s.data(),
			"-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(s.Port), "-c", "unix_socket_directories=",
		},
		env:      []string{"LC_ALL=" + locale(), "TZ=UTC"},
		dropRoot: true,
		stop:     syscall.SIGINT,
		abort:    syscall.SIGQUIT,
		stale:    []string{filepath.Join(s.data(), "postmaster.pid")},
	}
}

func (p postgres) ping(ctx context.Context, s *Server) error {
	conn, err := pgconn.Connect(ctx, s.URL)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// appendFile adds text to a file that is there.
func appendFile(name, text string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("change settings: %w", err)
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return fmt.Errorf("change settings: %w", err)
	}
	return f.Close()
}

// Access replaces who may connect to a Postgres server: lines of pg_hba.conf.
func (s *Server) Access(ctx context.Context, lines ...string) error {
	if s.external() {
		return s.notOurs("change access of")
	}
	if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write pg_hba.conf: %w", err)
	}
	if err := s.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
		return fmt.Errorf("reload settings: %w", err)
	}
	return nil
}
