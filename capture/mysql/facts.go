package mysql

import (
	"fmt"
	"strconv"
	"strings"
)

// facts is what a server is, read at each connection.
type facts struct {
	mariadb bool
	version string
	// server tells servers apart: server_uuid, or where there is none the server id
	// and the GTID domain.
	server string
	// gtid: every transaction has a GTID (always so in MariaDB).
	gtid       bool
	collations map[uint64]collation
	widths     map[string]int // most bytes of a character, by character set
	variables  map[string]string
}

func (src *Source) readFacts(s *session) (*facts, error) {
	f := &facts{version: s.conn.GetServerVersion(), collations: map[uint64]collation{}, widths: map[string]int{}, variables: map[string]string{}}
	f.mariadb = strings.Contains(f.version, "MariaDB")
	src.mariadb.Store(f.mariadb)
	names := []string{
		"server_uuid", "server_id", "gtid_domain_id", "gtid_mode", "log_bin", "binlog_format", "binlog_row_image", "binlog_row_metadata",
		"binlog_row_value_options", "binlog_expire_logs_seconds", "expire_logs_days", "lower_case_table_names", "log_bin_compress",
	}
	for i := range names {
		names[i] = literal(names[i])
	}
	rows, err := s.query("SHOW GLOBAL VARIABLES WHERE Variable_name IN (" + strings.Join(names, ", ") + ")")
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	for _, r := range rows {
		f.variables[r[0]] = r[1]
	}
	f.server, f.gtid = f.variables["server_uuid"], f.variables["gtid_mode"] == "ON"
	if f.mariadb {
		f.server, f.gtid = f.variables["server_id"]+"-"+f.variables["gtid_domain_id"], true
	}
	rows, err = s.query("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
	if err != nil {
		return nil, fmt.Errorf("read character sets: %w", err)
	}
	for _, r := range rows {
		f.widths[r[0]], _ = strconv.Atoi(r[1])
	}
	sql := "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL"
	if f.mariadb { // the collations of UCA 14.0.0 have an id for each character set
		sql = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL"
	}
	if rows, err = s.query(sql); err != nil {
		return nil, fmt.Errorf("read collations: %w", err)
	}
	for _, r := range rows {
		id, _ := strconv.ParseUint(r[0], 10, 64)
		f.collations[id] = collation{charset: r[1], width: f.widths[r[1]]}
	}
	return f, nil
}

// end is where a server's binlog ends.
type end struct {
	file  string
	pos   uint64
	gtids string
}

// readEnd reads where the binlog ends now.
func readEnd(s *session, f *facts) (end, error) {
	sql := "SHOW BINARY LOG STATUS" // MySQL 8.2 and later
	r, err := s.row(sql)
	if err != nil && code(err) == 1064 { // a syntax error
		r, err = s.row("SHOW MASTER STATUS")
	}
	if err != nil {
		return end{}, fmt.Errorf("read binlog position: %w", err)
	}
	if len(r) < 2 {
		return end{}, stopf("read binlog position: the server writes no binary log: set log_bin in its configuration and restart it")
	}
	e := end{file: r[0]}
	if e.pos, err = strconv.ParseUint(r[1], 10, 64); err != nil {
		return end{}, fmt.Errorf("read binlog position: %w", err)
	}
	if !f.gtid {
		return e, nil
	}
	sql = "SELECT @@GLOBAL.gtid_executed"
	if f.mariadb {
		sql = fmt.Sprintf("SELECT BINLOG_GTID_POS(%s, %d)", literal(e.file), e.pos)
	}
	if r, err = s.row(sql); err != nil {
		return end{}, fmt.Errorf("read GTIDs: %w", err)
	}
	e.gtids = strings.ReplaceAll(r[0], "\n", "")
	return e, nil
}

// logFile is one file of the server's binlog.
type logFile struct {
	name string
	size uint64
}

func readFiles(s *session) ([]logFile, error) {
	rows, err := s.query("SHOW BINARY LOGS")
	if err != nil {
		return nil, fmt.Errorf("list binlog files: %w", err)
	}
	out := make([]logFile, len(rows))
	for i, r := range rows {
		out[i].name = r[0]
		out[i].size, _ = strconv.ParseUint(r[1], 10, 64)
	}
	return out, nil
}

// behind returns the bytes of the binlog after a position.
func behind(files []logFile, file string, pos uint64) int64 {
	var n int64
	after := false
	for _, f := range files {
		switch {
		case f.name == file:
			after = true
			n += int64(f.size) - int64(pos)
		case after:
			n += int64(f.size)
		}
	}
	return max(n, 0)
}
