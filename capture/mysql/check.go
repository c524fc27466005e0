package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// Check finds all that would keep capture from running: settings, privileges, tables.
func (s *Source) Check(ctx context.Context, text []byte) error {
	r, err := parseResume(text)
	if err != nil {
		return err
	}
	session, err := s.address.connect(ctx)
	if err != nil {
		return err
	}
	defer session.close()
	f, err := s.readFacts(session)
	if err != nil {
		return err
	}
	problems := s.checkSettings(f)
	privileges, err := s.checkPrivileges(session, f)
	if err != nil {
		return err
	}
	problems = append(problems, privileges...)
	tables, err := s.checkTables(session, f)
	if err != nil {
		return err
	}
	problems = append(problems, tables...)
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	if r == nil {
		return nil
	}
	return (&state{Source: s, resume: r, facts: f, lease: session}).locate()
}

// checkSettings compares the server's settings with what decoding needs.
func (s *Source) checkSettings(f *facts) (problems []error) {
	v := f.variables
	need := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	set := func(name, value string) string {
		if f.mariadb {
			return fmt.Sprintf("SET GLOBAL %s = %s, and in the configuration file too", name, value)
		}
		return fmt.Sprintf("SET PERSIST %s = %s", name, value)
	}
	if v["log_bin"] != "ON" {
		return append(problems, errors.New("log_bin is OFF: add log_bin and a server_id to the [mysqld] section of the server's configuration and restart it"))
	}
	need(v["server_id"] != "0", "server_id is 0: %s", set("server_id", "1"))
	need(v["binlog_format"] == "ROW" || v["binlog_format"] == "", "binlog_format is %s: %s; sessions that are open keep theirs until they end", v["binlog_format"], set("binlog_format", "'ROW'"))
	need(v["binlog_row_image"] == "FULL", "binlog_row_image is %s: %s; sessions that are open keep theirs until they end", v["binlog_row_image"], set("binlog_row_image", "'FULL'"))
	need(v["binlog_row_metadata"] == "FULL", "binlog_row_metadata is %s: %s", v["binlog_row_metadata"], set("binlog_row_metadata", "'FULL'"))
	need(v["binlog_row_value_options"] == "", "binlog_row_value_options is %s: %s", v["binlog_row_value_options"], set("binlog_row_value_options", "''"))
	if keep, err := strconv.ParseInt(v["binlog_expire_logs_seconds"], 10, 64); err == nil && keep > 0 && keep < 86400 {
		s.warn(fmt.Sprintf("binlog_expire_logs_seconds is %d (%s): a longer outage of ours than that loses changes; SET GLOBAL binlog_expire_logs_seconds = 604800", keep, time.Duration(keep)*time.Second))
	}
	return problems
}

// checkPrivileges reads the grants of our user. Roles are seen through as far as SHOW
// GRANTS does.
func (s *Source) checkPrivileges(session *session, f *facts) (problems []error, err error) {
	rows, err := session.query("SHOW GRANTS")
	if err != nil {
		return nil, fmt.Errorf("read privileges: %w", err)
	}
	var global, anywhere []string
	for _, r := range rows {
		grant := strings.ToUpper(r[0])
		list, on, ok := strings.Cut(strings.TrimPrefix(grant, "GRANT "), " ON ")
		if !ok {
			continue
		}
		for _, p := range strings.Split(list, ",") {
			p = strings.TrimSpace(p)
			anywhere = append(anywhere, p)
			if strings.HasPrefix(on, "*.* ") {
				global = append(global, p)
			}
		}
	}
	has := func(in []string, names ...string) bool {
		for _, p := range in {
			for _, name := range append(names, "ALL PRIVILEGES", "ALL") {
				if p == name {
					return true
				}
			}
		}
		return false
	}
	user, err := session.row("SELECT CURRENT_USER()")
	if err != nil {
		return nil, fmt.Errorf("read user: %w", err)
	}
	name, host, _ := cutLast(user[0], '@')
	who := literal(name) + "@" + literal(host)
	missing := func(privilege, on, why string) {
		problems = append(problems, fmt.Errorf("user %s lacks %s, %s: GRANT %s ON %s TO %s", who, privilege, why, privilege, on, who))
	}
	if !has(global, "REPLICATION SLAVE", "REPLICATION REPLICA") {
		missing("REPLICATION SLAVE", "*.*", "to read the binary log")
	}
	if !has(global, "REPLICATION CLIENT", "BINLOG MONITOR") {
		privilege := "REPLICATION CLIENT"
		if f.mariadb {
			privilege = "BINLOG MONITOR"
		}
		missing(privilege, "*.*", "to read its position")
	}
	if s.cfg.Snapshot == SnapshotNever {
		return problems, nil
	}
	for _, on := range s.databases() {
		if !has(anywhere, "SELECT") {
			missing("SELECT", on, "to read the rows that are there")
		}
		if !f.mariadb && !has(anywhere, "LOCK TABLES") {
			missing("LOCK TABLES", on, "to hold the tables for the moment a snapshot begins")
		}
	}
	return problems, nil
}

// databases are what grants are to be given on.
func (s *Source) databases() (out []string) {
	seen := map[string]bool{}
	add := func(table string) {
		if strings.HasPrefix(table, "!") {
			return
		}
		database, _, _ := strings.Cut(table, ".")
		on := quote(database) + ".*"
		if strings.ContainsAny(database, "*?") {
			on = "*.*"
		}
		if !seen[on] {
			seen[on] = true
			out = append(out, on)
		}
	}
	for _, t := range s.cfg.Tables {
		add(t)
	}
	for i := range s.cfg.TableBlocks {
		add(s.cfg.TableBlocks[i].Name)
	}
	return out
}

// checkTables makes sure that every captured table and column can be read.
func (s *Source) checkTables(session *session, f *facts) (problems []error, err error) {
	list, err := declarations(session, f, s.selected)
	if err != nil {
		return nil, err
	}
	there, topics := map[string]bool{}, map[string]string{}
	for _, d := range list {
		name := d.qualifiedName()
		there[name] = true
		table, _, err := s.tableOf(d)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for i := range d.columns {
			if c := &d.columns[i]; c.generated && f.mariadb && s.cfg.block(d.database, d.name).takes(c.name) {
				s.warn(fmt.Sprintf("table %s: generated column %s is not captured: MariaDB's updates do not carry it", name, c.name))
			} else if c.err != nil && s.cfg.block(d.database, d.name).takes(c.name) {
				problems = append(problems, fmt.Errorf("table %s: column %s: %w", name, c.name, c.err))
			}
		}
		if other, ok := topics[table.Topic]; ok {
			problems = append(problems, fmt.Errorf("tables %s and %s would share the topic %s: give one of them another with topic in its table block", other, name, table.Topic))
		}
		topics[table.Topic] = name
		if d.engine != "InnoDB" && d.engine != "RocksDB" {
			s.warn(fmt.Sprintf("table %s: engine %s has no transactions: its snapshot may miss what was written while it was read", name, d.engine))
		}
		problems = append(problems, blockProblems(s.cfg.block(d.database, d.name), d, table)...)
	}
	for i := range s.cfg.TableBlocks {
		if b := &s.cfg.TableBlocks[i]; !there[b.Name] {
			problems = append(problems, fmt.Errorf("table %s (%q) is not there, or the user may not see it: CREATE it or GRANT SELECT on it", b.Name, b.Alias))
		}
	}
	return problems, nil
}

// blockProblems finds columns that a table block names and the table has not.
func blockProblems(b *TableConfig, d *declaration, _ *change.Table) (problems []error) {
	if b == nil {
		return nil
	}
	for setting, names := range map[string][]string{"columns": b.Columns, "exclude": b.Exclude, "pii": b.PII} {
		for _, name := range names {
			known := false
			for i := range d.columns {
				known = known || strings.EqualFold(d.columns[i].name, name)
			}
			if !known {
				problems = append(problems, fmt.Errorf("table %s: %s names the column %s, which is not there", d.qualifiedName(), setting, name))
			}
		}
	}
	return problems
}
