package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/penstock-cdc/penstock/disk"
)

// checkpointAt is the size of the write-ahead log, in bytes, at which it is copied into
// the file: large enough to be seldom, small enough that a commit never waits long for it.
const checkpointAt = 8 << 20

// SQLiteOptions has the settings of OpenSQLite.
type SQLiteOptions struct {
	// Reserve is the free disk space, in bytes, below which Space returns an error; 0: 256 MiB, negative: none.
	Reserve int64
}

// SQLite is a Store in one file, with its write-ahead log beside it. The caller keeps other processes away from it.
type SQLite struct {
	path    string
	reserve int64

	writes sync.Mutex // one transaction at a time
	write  *session
	reads  sync.Mutex
	read   *session
	db     *sql.DB
	tx     *sqliteTx
	// failed is the error after which the file is not written any more: what a failed
	// commit or fsync left in it is not known.
	failed error
	ids    map[string]int64 // the last ID given out, by table; one process writes
	// historyBytes is the size of the history, once it is weighed; writes' to lock.
	historyBytes   int64
	historyWeighed bool

	spaceAt time.Time
	spaceMu sync.Mutex
	space   error
}

// OpenSQLite opens the state in a file, made when there is none, readable by its owner alone. A file of a newer version is
// refused, one of an older version is brought up to this one.
func OpenSQLite(path string, o SQLiteOptions) (*SQLite, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	if o.Reserve == 0 {
		o.Reserve = 256 << 20
	}
	s := &SQLite{path: path, reserve: o.Reserve}
	// The hook that SQLite has for checkpoints drops their errors, so it is off and checkpoint does it.
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: abs}).String() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=wal_autocheckpoint(0)" +
		"&_pragma=fullfsync(1)&_pragma=checkpoint_fullfsync(1)&_pragma=cache_size(-4000)&_pragma=cell_size_check(1)"
	if s.db, err = sql.Open("sqlite", dsn); err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, err)
	}
	if err := s.open(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *SQLite) open() error {
	ctx := context.Background()
	var err error
	if s.write, err = newSession(ctx, s.db); err != nil {
		return s.fault("open", err)
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if s.read, err = newSession(ctx, s.db); err != nil {
		return s.fault("open", err)
	}
	if _, err := s.read.conn.ExecContext(ctx, "PRAGMA query_only=1; PRAGMA cache_size=-2000"); err != nil {
		return s.fault("open", err)
	}
	s.tx = &sqliteTx{s: s, q: s.write}
	s.ids = map[string]int64{}
	for _, table := range []string{"shadow", "intent", "quarantine", "deferred", "history"} {
		var n int64
		if err := s.write.conn.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM "+table).Scan(&n); err != nil {
			return s.fault("open", err)
		}
		s.ids[table] = n
	}
	return s.checkpoint(true)
}

// migrate brings the file to schemaVersion.
func (s *SQLite) migrate(ctx context.Context) error {
	var version, app int
	if err := s.write.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return s.fault("read version", err)
	}
	if err := s.write.conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return s.fault("read version", err)
	}
	if app != application && (app != 0 || version != 0) {
		return fmt.Errorf("open state %s: it is another program's SQLite file: name another data_dir", s.path)
	}
	if version > schemaVersion {
		return fmt.Errorf("open state %s: it has schema version %d, this penstock knows up to %d: use the newer penstock that wrote it, or put back a backup made before", s.path, version, schemaVersion)
	}
	for ; version < schemaVersion; version++ {
		err := s.write.within(ctx, "BEGIN IMMEDIATE", func() error {
			if _, err := s.write.conn.ExecContext(ctx, migrations[version]); err != nil {
				return err
			}
			_, err := s.write.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d; PRAGMA application_id=%d", version+1, application))
			return err
		})
		if err != nil {
			return s.fault(fmt.Sprintf("migrate to version %d", version+1), err)
		}
	}
	return nil
}

// fault names the file and what to do about an error of SQLite.
func (s *SQLite) fault(verb string, err error) error {
	return fmt.Errorf("%s state %s: %w: check the disk and its free space; a file that is damaged is replaced by a copy made by `penstock state backup`", verb, s.path, err)
}

// next gives out a row ID of a table.
func (s *SQLite) next(table string) int64 {
	s.ids[table]++
	return s.ids[table]
}

// Update runs f in one durable transaction.
func (s *SQLite) Update(ctx context.Context, f func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	if s.failed != nil {
		return s.failed
	}
	var own error
	err := s.write.within(context.Background(), "BEGIN IMMEDIATE", func() error {
		s.tx.err, s.tx.grown = nil, 0
		own = f(s.tx)
		if own == nil {
			own = s.tx.err
		}
		return own
	})
	if err != nil {
		var damage *DamageError
		switch {
		case own != nil && s.tx.err == nil, errors.As(err, &damage):
			return err
		}
		s.failed = s.fault("write", err)
		return s.failed
	}
	s.historyBytes += s.tx.grown
	if err := s.checkpoint(false); err != nil {
		s.failed = err
	}
	return nil
}

// View runs f on one consistent state.
func (s *SQLite) View(ctx context.Context, f func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.reads.Lock()
	defer s.reads.Unlock()
	return s.read.within(context.Background(), "BEGIN", func() error {
		tx := &sqliteTx{s: s, q: s.read, readOnly: true}
		if err := f(tx); err != nil {
			return err
		}
		return tx.err
	})
}

// checkpoint copies the write-ahead log into the file once it is long, and sees the errors of it.
func (s *SQLite) checkpoint(always bool) error {
	if !always {
		info, err := os.Stat(s.path + "-wal")
		if err != nil || info.Size() < checkpointAt {
			return nil //nolint:nilerr // no log yet: nothing to copy
		}
		if s.write.walPages > 0 && s.write.commits < s.write.nextCheck {
			return nil
		}
	}
	var busy, log, done int
	if err := s.write.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &log, &done); err != nil {
		return s.fault("checkpoint", err)
	}
	// The log is used again from its start once all of it is copied, so its size stays; look again after as many commits
	// as make it long again.
	s.write.walPages = log
	s.write.nextCheck = s.write.commits + 16
	return nil
}

// Backup writes a consistent copy of the state to a new file while others go on.
func (s *SQLite) Backup(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("back up state: %s is there already: name another file", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("back up state: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("back up state: %w", err)
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return s.fault("back up", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("back up state to %s: %w", path, err)
	}
	if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("back up state: %w", err)
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("back up state to %s: %w", path, err)
	}
	return nil
}

// Space looks at the disk at most once a second.
func (s *SQLite) Space() error {
	s.spaceMu.Lock()
	defer s.spaceMu.Unlock()
	if s.reserve < 0 || time.Since(s.spaceAt) < time.Second {
		return s.space
	}
	s.spaceAt, s.space = time.Now(), nil
	free, err := disk.Free(filepath.Dir(s.path))
	if err != nil {
		return nil //nolint:nilerr // a file system that does not say: writing itself will
	}
	if free < uint64(s.reserve) {
		s.space = fmt.Errorf("disk of %s has %d MiB free, less than the reserve of %d MiB: taking in has stopped, make room", s.path, free>>20, s.reserve>>20)
	}
	return s.space
}

// Close ends the use of the file.
func (s *SQLite) Close() error {
	s.writes.Lock()
	defer s.writes.Unlock()
	s.reads.Lock()
	defer s.reads.Unlock()
	var errs []error
	for _, q := range []*session{s.read, s.write} {
		if q != nil {
			errs = append(errs, q.close())
		}
	}
	if s.failed == nil {
		s.failed = errors.New("state is closed")
	}
	return errors.Join(append(errs, s.db.Close())...)
}

var _ Store = (*SQLite)(nil)
