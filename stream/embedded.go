package stream

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/disk"
)

// EmbeddedOptions are the settings of the embedded log; the zero value of each but
// Path is its default.
type EmbeddedOptions struct {
	Path       string        // of the SQLite file, stream.db in the data folder; the caller holds the folder's lock
	Partitions int           // of topics that are made; default 1
	Retention  time.Duration // kept at least this long, and until every group has it
	Unread     time.Duration // how long a topic that no group reads is kept; default 7 days
	UnreadSize int64         // and how many bytes of it at most; default 10 GiB
	Reserve    uint64        // bytes of the disk that stay free; default 256 MiB
	MaxMessage int           // bytes; default 64 MiB
	// Adopt goes on with log and state as they are, where Writer would return a
	// *DamageError: an operator has seen it and decided so.
	Adopt  bool
	Logger *slog.Logger // default: slog.Default
}

// Limits of the embedded log.
const (
	defaultUnread     = 7 * 24 * time.Hour
	defaultUnreadSize = 10 << 30
	defaultReserve    = 256 << 20
	maxEmbedded       = 64 << 20
	formatVersion     = 1
)

// Embedded is the log in one SQLite file. One process has it open at a time, which
// the caller sees to; within it any number of goroutines use it.
type Embedded struct {
	opts EmbeddedOptions
	id   string // of this file, for ever

	write  sync.Mutex // held through every writing transaction; taken before mu
	writer *sql.Conn
	insert *sql.Stmt
	lane   *sql.Stmt
	source *sql.Stmt
	fill   *sql.Conn // for checkpoints that run beside the writer
	db     *sql.DB

	mu      sync.RWMutex
	topics  map[string]*embeddedTopic
	lanes   []*embeddedLane // by number
	sources map[string]*embeddedSource
	readers map[reader]*lowWater
	fresh   chan struct{} // closed when a topic appears
	moved   chan struct{} // closed when any partition has more
	tail    tailCache
	groups  *groups

	schemas schemaCache
	opened  time.Time
	run     int64 // the generation that this process's first owner gets
	owners  atomic.Int64
	wal     atomic.Int64          // bytes written into the WAL since it was written back, roughly
	broken  atomic.Pointer[error] // the first I/O error: nothing is written after it

	stop context.CancelFunc
	done chan struct{}
}

type embeddedTopic struct {
	name   string
	source string
	lanes  []*embeddedLane
}

// embeddedLane is a partition. Its numbers are guarded by Embedded.mu.
type embeddedLane struct {
	number      int // of the partition in the whole file
	topic       string
	partition   int
	start, next int64
	last        change.ID
	bytes       int64
	changed     chan struct{} // closed, and replaced, when next moves
	tail        []tailBatch
}

type embeddedSource struct {
	resume   []byte
	sequence uint64 // of the last flush
	saved    uint64 // of the last flush whose mark is known to be in state
	owner    *embeddedWriter
}

// A batch's row number is its partition's number and its base offset, so that one
// partition's batches lie side by side and are found without an index: up to 65,535
// partitions of 140 million million messages.
const offsetBits = 47

func rowOf(number int, offset int64) int64 { return int64(number)<<offsetBits | offset }

// OpenEmbedded opens the log, making it when the file is not there. It reads the list
// of topics and the end of each partition, never the whole.
func OpenEmbedded(ctx context.Context, opts EmbeddedOptions) (*Embedded, error) {
	opts = opts.withDefaults()
	// A commit waits for its data and not for the file's timestamps; where the system
	// has no such call, the commit is an fsync as before.
	_, _ = sqlite.Fdatasync(true)
	if err := makeFile(ctx, opts.Path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(opts.Path))
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", opts.Path, err)
	}
	e := &Embedded{
		opts: opts, db: db, topics: map[string]*embeddedTopic{}, sources: map[string]*embeddedSource{}, readers: map[reader]*lowWater{},
		fresh: make(chan struct{}), moved: make(chan struct{}), done: make(chan struct{}), opened: time.Now(),
	}
	e.tail.limit = 2 << 20
	db.SetMaxOpenConns(6) // two of them are pinned
	db.SetMaxIdleConns(6)
	if info, err := os.Stat(opts.Path + "-wal"); err == nil {
		e.wal.Store(info.Size())
	}
	if err := e.load(ctx); err != nil {
		return nil, errors.Join(e.damage(err), db.Close())
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	go e.housekeep(run)
	return e, nil
}

func (o EmbeddedOptions) withDefaults() EmbeddedOptions {
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	if o.Unread == 0 {
		o.Unread = defaultUnread
	}
	if o.UnreadSize == 0 {
		o.UnreadSize = defaultUnreadSize
	}
	if o.Reserve == 0 {
		o.Reserve = defaultReserve
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = maxEmbedded
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func dsn(path string) string {
	q := url.Values{"_pragma": {
		"busy_timeout(30000)", "synchronous(FULL)", "wal_autocheckpoint(0)", "cache_size(-250)",
		"fullfsync(1)", "checkpoint_fullfsync(1)", "temp_store(MEMORY)", "journal_size_limit(268435456)",
	}}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String()
}

const layout = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE lane (number INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL, source TEXT NOT NULL,
	start INTEGER NOT NULL, next INTEGER NOT NULL, last BLOB NOT NULL, bytes INTEGER NOT NULL, sum INTEGER NOT NULL, UNIQUE (topic, partition));
CREATE TABLE batch (row INTEGER PRIMARY KEY, next INTEGER NOT NULL, time INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE source (name TEXT PRIMARY KEY, resume BLOB, sequence INTEGER NOT NULL, saved INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE committed (grp TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL, metadata TEXT NOT NULL, time INTEGER NOT NULL,
	PRIMARY KEY (grp, topic, partition)) WITHOUT ROWID;
`

// makeFile makes an empty log where none is. The file gets its name only when it is
// complete, so that one that is there and empty is known to be damaged.
func makeFile(ctx context.Context, path string) (err error) {
	info, err := os.Stat(path)
	if err == nil {
		if info.Size() == 0 {
			return &DamageError{Missing: path + " is empty", Fix: "put back a backup, or remove it and what lies beside it (" + filepath.Base(path) + "-wal) and read the tables again"}
		}
		if wal, err := os.Stat(path + "-wal"); info.Size()%pageSize != 0 && (err != nil || wal.Size() == 0) {
			return &DamageError{Missing: path + " is cut off in the middle of a page", Fix: fixBackup}
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("open stream: %w", err)
	}
	if wal, err := os.Stat(path + "-wal"); err == nil && wal.Size() > 0 {
		return &DamageError{Missing: path + " is gone, and the file " + path + "-wal that belongs to it is there", Fix: "put the file back, or move that file away too and read the tables again"}
	}
	fresh := path + ".new"
	for _, name := range []string{fresh, fresh + "-wal", fresh + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("make stream: %w", err)
		}
	}
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make stream: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make stream: %w", err)
	}
	if err := fillFile(ctx, fresh); err != nil {
		return fmt.Errorf("make stream %s: %w", path, err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("make stream: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("make stream: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func fillFile(ctx context.Context, path string) (err error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	id := make([]byte, 16)
	rand.Read(id)
	for _, text := range []string{
		"PRAGMA page_size = " + strconv.Itoa(pageSize), "PRAGMA auto_vacuum = INCREMENTAL", "PRAGMA synchronous = FULL", "PRAGMA journal_mode = WAL",
		"BEGIN IMMEDIATE", layout,
		fmt.Sprintf("INSERT INTO meta VALUES ('format', '%d'), ('id', '%s'), ('runs', '0')", formatVersion, hex.EncodeToString(id)),
		"COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)",
	} {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// pageSize of the file in bytes: a small flush writes about six pages, a large
// one mostly pages that are full.
const pageSize = 8192

// load reads what OpenEmbedded must know.
func (e *Embedded) load(ctx context.Context) error {
	var err error
	if e.writer, err = e.db.Conn(ctx); err != nil {
		return err
	}
	// The process's SQLite files share one page cache, as large as the sum of what all
	// connections ask for: the log, which is written and read in order, asks for little.
	if _, err = e.writer.ExecContext(ctx, "PRAGMA cache_size=-1000"); err != nil {
		return err
	}
	if e.fill, err = e.db.Conn(ctx); err != nil {
		return err
	}
	meta := map[string]string{}
	if err := query(ctx, e.writer, "SELECT key, value FROM meta", func(rows *sql.Rows) error {
		var key, value string
		err := rows.Scan(&key, &value)
		meta[key] = value
		return err
	}); err != nil {
		return err
	}
	if format, err := strconv.Atoi(meta["format"]); err != nil || meta["id"] == "" {
		return &DamageError{Missing: e.opts.Path + " lacks its identity", Fix: "put back a backup"}
	} else if format > formatVersion {
		return fmt.Errorf("file has format %d, this penstock knows %d: it was written by a newer one, use that", format, formatVersion)
	}
	e.id = meta["id"]
	runs, err := strconv.ParseInt(meta["runs"], 10, 64)
	if err != nil {
		return &DamageError{Missing: e.opts.Path + " lacks its count of runs", Fix: "put back a backup"}
	}
	e.run = runs + 1
	if err := e.loadLanes(ctx); err != nil {
		return err
	}
	if err := e.loadSources(ctx); err != nil {
		return err
	}
	if e.groups, err = loadGroups(ctx, e); err != nil {
		return err
	}
	if e.insert, err = e.writer.PrepareContext(ctx, "INSERT INTO batch (row, next, time, data) VALUES (?, ?, ?, ?)"); err != nil {
		return err
	}
	if e.lane, err = e.writer.PrepareContext(ctx, "UPDATE lane SET start = ?, next = ?, last = ?, bytes = ?, sum = ? WHERE number = ?"); err != nil {
		return err
	}
	e.source, err = e.writer.PrepareContext(ctx, `INSERT INTO source (name, resume, sequence, saved, sum) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET resume = excluded.resume, sequence = excluded.sequence, saved = excluded.saved, sum = excluded.sum`)
	return err
}

func (e *Embedded) loadLanes(ctx context.Context) error {
	err := query(ctx, e.writer, "SELECT number, topic, partition, source, start, next, last, bytes, sum FROM lane ORDER BY number", func(rows *sql.Rows) error {
		l := &embeddedLane{changed: make(chan struct{})}
		var source string
		var last []byte
		var sum int64
		if err := rows.Scan(&l.number, &l.topic, &l.partition, &source, &l.start, &l.next, &last, &l.bytes, &sum); err != nil {
			return err
		}
		copy(l.last[:], last)
		if len(last) != change.IDSize || sum != l.sum() || l.number != len(e.lanes) {
			return &DamageError{Topic: l.topic, Partition: l.partition, Offset: l.next, Missing: "the entry with its bounds fails its checksum", Fix: fixBackup}
		}
		e.addLane(l, source)
		return nil
	})
	if err != nil {
		return err
	}
	for _, l := range e.lanes { // the newest batch is where the entry says
		var row, next int64
		err := e.writer.QueryRowContext(ctx, "SELECT row, next FROM batch WHERE row >= ? AND row < ? ORDER BY row DESC LIMIT 1",
			rowOf(l.number, 0), rowOf(l.number+1, 0)).Scan(&row, &next)
		if errors.Is(err, sql.ErrNoRows) && l.start == l.next {
			continue
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err != nil || next != l.next {
			return &DamageError{
				Topic: l.topic, Partition: l.partition, Offset: max(next, l.start),
				Missing: fmt.Sprintf("%d messages at its end are gone", l.next-max(next, l.start)), Fix: fixBackup,
			}
		}
	}
	return nil
}

const fixBackup = "put back a backup of the whole data folder, or move stream.db away and read the tables again: penstock source reset NAME"

func (e *Embedded) addLane(l *embeddedLane, source string) {
	t := e.topics[l.topic]
	if t == nil {
		t = &embeddedTopic{name: l.topic, source: source}
		e.topics[l.topic] = t
	}
	t.lanes = append(t.lanes, l)
	e.lanes = append(e.lanes, l)
}

func (e *Embedded) loadSources(ctx context.Context) error {
	return query(ctx, e.writer, "SELECT name, resume, sequence, saved, sum FROM source", func(rows *sql.Rows) error {
		var name string
		var sum int64
		s := new(embeddedSource)
		if err := rows.Scan(&name, &s.resume, &s.sequence, &s.saved, &sum); err != nil {
			return err
		}
		if sum != s.sum(name) {
			return &DamageError{Source: name, Missing: "the entry with its resume point fails its checksum", Fix: fixBackup}
		}
		e.sources[name] = s
		return nil
	})
}

// Close writes what is in the WAL into the file and closes it.
func (e *Embedded) Close() error {
	e.stop()
	<-e.done
	e.write.Lock()
	defer e.write.Unlock()
	var err error
	if e.err() == nil {
		err = e.checkpoint(context.Background(), e.writer, "TRUNCATE")
	}
	closed := errors.New("stream is closed")
	e.broken.CompareAndSwap(nil, &closed)
	return errors.Join(err, e.insert.Close(), e.lane.Close(), e.source.Close(), e.writer.Close(), e.fill.Close(), e.db.Close())
}

// err returns the error that ended all writing, nil while there was none.
func (e *Embedded) err() error {
	if p := e.broken.Load(); p != nil {
		return *p
	}
	return nil
}

// fail notes an error of the file: nothing is written after it, since what the
// system did with the pages it could not write is unknown.
func (e *Embedded) fail(err error) error {
	err = e.damage(err)
	e.broken.CompareAndSwap(nil, &err)
	return err
}

// damage names what SQLite says about a file that is not what it should be.
func (e *Embedded) damage(err error) error {
	var known *DamageError
	if err == nil || errors.As(err, &known) {
		return err
	}
	var s *sqlite.Error
	if errors.As(err, &s) {
		switch s.Code() & 0xff {
		case 11, 26: // SQLITE_CORRUPT, SQLITE_NOTADB
			return &DamageError{Missing: e.opts.Path + " does not have the form of a database any more", Fix: fixBackup, Err: err}
		case 13: // SQLITE_FULL
			free, _ := disk.Free(filepath.Dir(e.opts.Path))
			return errors.Join(&DiskFullError{Path: e.opts.Path, Free: free, Reserve: e.opts.Reserve}, err)
		}
	}
	return fmt.Errorf("stream %s: %w", e.opts.Path, err)
}

// query calls f for each row.
func query(ctx context.Context, c *sql.Conn, text string, f func(*sql.Rows) error, args ...any) (err error) {
	rows, err := c.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// topic returns a topic, nil when there is none, and what is closed when one appears.
func (e *Embedded) topic(name string) (*embeddedTopic, <-chan struct{}) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.topics[name], e.fresh
}

// Topics lists the topics whose name starts with prefix, sorted.
func (e *Embedded) Topics(_ context.Context, prefix string) ([]string, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return sortedNames(e.topics, func(name string) bool { return strings.HasPrefix(name, prefix) }), nil
}

// Partitions returns how many partitions a topic has, 0 when there is no such topic.
func (e *Embedded) Partitions(_ context.Context, topic string) (int, error) {
	if t, _ := e.topic(topic); t != nil {
		return len(t.lanes), nil
	}
	return 0, nil
}

// Bounds returns the first kept and the next offset of a partition.
func (e *Embedded) Bounds(_ context.Context, topic string, partition int) (start, end int64, err error) {
	l, err := e.find(topic, partition)
	if err != nil {
		return 0, 0, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return l.start, l.next, nil
}

func (e *Embedded) find(topic string, partition int) (*embeddedLane, error) {
	t, _ := e.topic(topic)
	if t == nil {
		return nil, fmt.Errorf("find topic %s: there is no such topic", topic)
	}
	if partition < 0 || partition >= len(t.lanes) {
		return nil, fmt.Errorf("find topic %s: it has %d partitions and no partition %d", topic, len(t.lanes), partition)
	}
	return t.lanes[partition], nil
}
