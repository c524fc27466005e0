package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// ReadSQLite opens the state in a file for View alone, also while another process writes it. Its error is fs.ErrNotExist
// where there is none. It is not brought up to this version: one that another version wrote is refused.
func ReadSQLite(path string) (*SQLite, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	s := &SQLite{path: path, failed: errors.New("the state was opened for reading")}
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: abs}).String() + "?mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)&_pragma=cache_size(-2000)"
	if s.db, err = sql.Open("sqlite", dsn); err != nil {
		return nil, fmt.Errorf("read state %s: %w", path, err)
	}
	if err := s.openRead(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *SQLite) openRead() error {
	ctx := context.Background()
	var err error
	if s.read, err = newSession(ctx, s.db); err != nil {
		return s.fault("read", err)
	}
	var version, app int
	for name, into := range map[string]*int{"user_version": &version, "application_id": &app} {
		if err := s.read.conn.QueryRowContext(ctx, "PRAGMA "+name).Scan(into); err != nil {
			return s.fault("read", err)
		}
	}
	switch {
	case app == 0 && version == 0: // made, and not yet written
		return fmt.Errorf("read state %s: it is empty: %w", s.path, fs.ErrNotExist)
	case app != application:
		return fmt.Errorf("read state %s: it is another program's SQLite file: name another data_dir", s.path)
	case version != schemaVersion:
		return fmt.Errorf("read state %s: it has schema version %d, and this penstock reads version %d: the penstock that runs on it is of another version; start this one once, or use that one", s.path, version, schemaVersion)
	}
	return nil
}

// LastRecord returns the highest ID of a record, 0 for none.
func (s *SQLite) LastRecord(ctx context.Context) (int64, error) {
	s.reads.Lock()
	defer s.reads.Unlock()
	var n int64
	if err := s.read.conn.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM shadow").Scan(&n); err != nil {
		return 0, s.fault("read", err)
	}
	return n, nil
}
