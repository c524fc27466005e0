package service

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mariadb is MariaDB 11.8, as Debian 13 has it.
type mariadb struct{}

func (m mariadb) install(ctx context.Context, c *cache) (installed, error) {
	home, err := c.debianEntry(ctx, "mariadb-11.8", KindMariaDB, "trixie", "mariadb-server-core")
	if err != nil {
		return installed{}, err
	}
	version, err := os.ReadFile(filepath.Join(home, "version"))
	if err != nil {
		return installed{}, fmt.Errorf("read version: %w", err)
	}
	template, err := c.template(ctx, "mariadb-"+string(version), func(dir string) error {
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
		if err := giveAway(data); err != nil {
			return err
		}
		sql, err := m.systemTables(home)
		if err != nil {
			return err
		}
		args := debianCommand(home, "usr/sbin/mariadbd", append([]string{
			"--no-defaults", "--bootstrap",
			"--datadir=" + data, "--innodb-use-native-aio=0", "--innodb-log-file-size=64M", "--log-warnings=0",
		}, m.folders(home)...)...)
		return run(ctx, dir, sql, command{args: args, dropRoot: true})
	})
	return installed{version: string(version), home: home, template: template}, err
}

// systemTables is what mariadb-install-db feeds to a bootstrapping server.
func (m mariadb) systemTables(home string) ([]byte, error) {
	var sql strings.Builder
	sql.WriteString("create database mysql;\nuse mysql;\nset @auth_root_socket=NULL;\n")
	for _, name := range []string{
		"mariadb_system_tables.sql", "mariadb_performance_tables.sql", "mariadb_system_tables_data.sql",
		"fill_help_tables.sql", "maria_add_gis_sp_bootstrap.sql", "mariadb_sys_schema.sql",
	} {
		b, err := os.ReadFile(filepath.Join(home, "usr/share/mariadb", name))
		if err != nil {
			return nil, fmt.Errorf("read system tables: %w", err)
		}
		sql.Write(b)
		sql.WriteString("\n")
	}
	// The roots of 127.0.0.1 and of this machine's name have no password and
	// would be taken before the one of any host.
	sql.WriteString("use mysql;\ndelete from global_priv where User='root' and Host<>'localhost';\n" +
		"delete from proxies_priv where Host<>'localhost';\nflush privileges;\n" + superuser)
	return []byte(sql.String()), nil
}

func (m mariadb) folders(home string) []string {
	return []string{
		"--basedir=" + filepath.Join(home, "usr"),
		"--plugin-dir=" + filepath.Join(home, "usr/lib/mysql/plugin"),
		"--lc-messages-dir=" + filepath.Join(home, "usr/share/mariadb"),
		"--character-sets-dir=" + filepath.Join(home, "usr/share/mariadb/charsets"),
	}
}

func (m mariadb) create(s *Server) error {
	return createMySQL(s, []string{
		"server-id=" + strconv.Itoa(s.Port),
		"log-bin=bin",
		"binlog-format=ROW",
		"binlog-row-image=FULL",
		"binlog-row-metadata=FULL",
		"gtid-strict-mode=ON",
		"innodb-log-file-size=64M",
	})
}

func (m mariadb) command(s *Server) command {
	return mysqlCommand(s, "usr/sbin/mariadbd", m.folders(s.installed.home))
}

func (mariadb) ping(ctx context.Context, s *Server) error { return pingMySQL(ctx, s) }
