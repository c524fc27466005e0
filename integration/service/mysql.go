package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mysql is MySQL 9, which Debian has in its unstable suite only: the minor
// version is the one of the day of the installation.
type mysql struct{}

func (m mysql) install(ctx context.Context, c *cache) (installed, error) {
	home, err := c.debianEntry(ctx, "mysql-9", KindMySQL, "sid", "mysql-server-core")
	if err != nil {
		return installed{}, err
	}
	version, err := os.ReadFile(filepath.Join(home, "version"))
	if err != nil {
		return installed{}, fmt.Errorf("read version: %w", err)
	}
	template, err := c.template(ctx, "mysql-"+string(version), func(dir string) error {
		sql := filepath.Join(dir, "init.sql")                               // one statement a line
		if err := os.WriteFile(sql, []byte(superuser), 0o644); err != nil { //nolint:gosec // read by nobody
			return fmt.Errorf("write init file: %w", err)
		}
		data := filepath.Join(dir, "data")
		args := debianCommand(home, "usr/sbin/mysqld", append([]string{
			"--no-defaults", "--initialize-insecure",
			"--init-file=" + sql, "--datadir=" + data, "--innodb-redo-log-capacity=64M", "--innodb-use-native-aio=0",
		}, m.folders(home)...)...)
		if err := run(ctx, dir, nil, command{args: args, dropRoot: true}); err != nil {
			return err
		}
		// The server's UUID is in it; each copy gets one of its own.
		return os.Remove(filepath.Join(data, "auto.cnf"))
	})
	return installed{version: string(version), home: home, template: template}, err
}

// superuser lets root in over TCP: without name resolution 127.0.0.1 is not localhost.
const superuser = "CREATE USER '" + mysqlUser + "'@'%' IDENTIFIED BY '" + password + "';\n" +
	"GRANT ALL PRIVILEGES ON *.* TO '" + mysqlUser + "'@'%' WITH GRANT OPTION;\n"

func (m mysql) folders(home string) []string {
	return []string{
		"--basedir=" + filepath.Join(home, "usr"),
		"--plugin-dir=" + filepath.Join(home, "usr/lib/mysql/plugin"),
		"--lc-messages-dir=" + filepath.Join(home, "usr/share/mysql"),
		"--character-sets-dir=" + filepath.Join(home, "usr/share/mysql/charsets"),
		"--secure-file-priv=NULL",
	}
}

func (m mysql) create(s *Server) error {
	return createMySQL(s, []string{
		"server-id=" + strconv.Itoa(s.Port),
		"log-bin=bin",
		"gtid-mode=ON",
		"enforce-gtid-consistency=ON",
		"binlog-row-image=FULL",
		"binlog-row-metadata=FULL",
		"mysqlx=OFF",
		"performance-schema=OFF", // 250 MB
		"innodb-redo-log-capacity=64M",
	})
}

// createMySQL copies the template and writes my.cnf, for MySQL and MariaDB.
func createMySQL(s *Server, settings []string) error {
	if err := copyTree(filepath.Join(s.installed.template, "data"), s.data()); err != nil {
		return err
	}
	settings = append(settings,
		"bind-address=127.0.0.1",
		"skip-name-resolve",
		"default-time-zone=+00:00",
		"max-connections=200",
		"max-allowed-packet=64M",
		"innodb-buffer-pool-size=64M",
		"innodb-use-native-aio=0", // many servers at once run into the system's limit
	)
	if !s.options.fsync {
		// Written at each commit, so that kill -9 loses none; 0 would.
		settings = append(settings, "innodb-flush-log-at-trx-commit=2", "sync-binlog=0")
	} else {
		settings = append(settings, "innodb-flush-log-at-trx-commit=1", "sync-binlog=1")
	}
	conf := "[mysqld]\n" + strings.Join(append(settings, s.options.settings...), "\n") + "\n"
	name := filepath.Join(s.Dir, "my.cnf")
	if err := os.WriteFile(name, []byte(conf), 0o600); err != nil {
		return fmt.Errorf("write my.cnf: %w", err)
	}
	return giveAway(name)
}

func (m mysql) command(s *Server) command {
	return mysqlCommand(s, "usr/sbin/mysqld", m.folders(s.installed.home))
}

func mysqlCommand(s *Server, program string, folders []string) command {
	args := append([]string{"--defaults-file=" + filepath.Join(s.Dir, "my.cnf")}, folders...)
	args = append(args, "--datadir="+s.data(), "--port="+strconv.Itoa(s.Port),
		"--socket="+filepath.Join(s.Dir, "sock"), "--pid-file="+filepath.Join(s.Dir, "pid"))
	return command{
		args:     debianCommand(s.installed.home, program, args...),
		dropRoot: true,
		stop:     syscall.SIGTERM,
		abort:    syscall.SIGKILL,
		stale:    []string{filepath.Join(s.Dir, "sock"), filepath.Join(s.Dir, "sock.lock"), filepath.Join(s.Dir, "pid")},
	}
}

func (mysql) ping(ctx context.Context, s *Server) error { return pingMySQL(ctx, s) }

func pingMySQL(ctx context.Context, s *Server) error {
	conn, err := s.connectMySQL(ctx, time.Second)
	if err != nil {
		return err
	}
	_, err = conn.Execute("SELECT 1")
	return errors.Join(err, conn.Close())
}

// debianEntry is a cache entry with a Debian package in it.
func (c *cache) debianEntry(ctx context.Context, name, kind, suite, pkg string) (string, error) {
	home, err := c.entry(ctx, name, func(dir string) error { return c.debianFolder(ctx, dir, suite, pkg) })
	if errors.Is(err, errors.ErrUnsupported) {
		return "", notHere(kind)
	}
	return home, err
}
