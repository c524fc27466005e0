package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/penstock-cdc/penstock/change"
)

const (
	heartbeat   = time.Second      // the server says that it is there when it has nothing else
	readTimeout = 30 * time.Second // silence after which the connection is taken for dead
	pollStatus  = 5 * time.Second  // how often the server is asked how far behind we are
)

// stream follows the binlog from the resume point.
func (s *state) stream(ctx context.Context) error {
	host, port := s.address.host, s.address.port
	tlsConfig, err := s.streamTLS(ctx)
	if err != nil {
		return err
	}
	t := newTail(s)
	t.file, t.pos = s.resume.File, s.resume.Pos
	dialer := &idleDialer{}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: s.serverID, Flavor: flavor(s.facts.mariadb), Host: host, Port: port,
		User: s.address.user, Password: s.address.password, TLSConfig: tlsConfig, Localhost: "penstock",
		RawModeEnabled: true, VerifyChecksum: true, DisableRetrySync: true, DiscardGTIDSet: true,
		HeartbeatPeriod: heartbeat, ReadTimeout: readTimeout,
		FillZeroLogPos:          s.facts.mariadb, // asks for the events that would be missing from the sum of sizes
		EventCacheCount:         1,
		Logger:                  slog.New(slog.DiscardHandler), // its errors come back to us
		Dialer:                  dialer.dial,
		SynchronousEventHandler: t,
	})
	defer syncer.Close()
	var events *replication.BinlogStreamer
	dialer.idle = t.idle
	if s.byGTID {
		t.file, t.pos = "", 0
		events, err = syncer.StartSyncGTID(s.resume.gtids.Clone())
	} else {
		at := gomysql.Position{Name: s.resume.File, Pos: uint32(s.resume.Pos)}
		if s.resume.Pos > 1<<32-1 { // the command has four bytes for it: read the file from its start and skip
			at.Pos, t.skip = 4, s.resume.Pos
			t.pos = 4
		}
		events, err = syncer.StartSync(at)
	}
	if err != nil {
		return s.explain(plain(err))
	}
	s.setState("streaming", "")
	return s.wait(ctx, t, events)
}

// streamTLS finds out whether a preferred encryption is to be had.
func (s *state) streamTLS(ctx context.Context) (cfg *tlsSettings, err error) {
	conn, cfg, err := s.address.dial(ctx)
	if err != nil {
		return nil, err
	}
	_ = conn.Close()
	return cfg, nil
}

// wait returns when the stream has ended, and meanwhile keeps the status fresh.
func (s *state) wait(ctx context.Context, t *tail, events *replication.BinlogStreamer) error {
	for {
		poll, cancel := context.WithTimeout(ctx, pollStatus)
		_, err := events.GetEvent(poll)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if err := s.poll(t); err != nil {
				return err
			}
		case err != nil:
			return s.explain(plain(err))
		}
	}
}

// poll asks the server how far its binlog goes, which also keeps the lease.
func (s *state) poll(t *tail) error {
	files, err := readFiles(s.lease)
	if err != nil {
		return err
	}
	file, pos := t.position()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Behind = behind(files, file, pos)
	if s.status.Behind == 0 {
		s.status.Lag = 0
	}
	return nil
}

// explain makes the server's refusal to send the binlog one that says what to do.
func (s *state) explain(err error) error {
	if code(err) == 1236 {
		return stopf("read binlog from %s: the server refuses (%w): if the log there was purged or reset, read the tables again: penstock source reset", s.resume, err)
	}
	return err
}

// tail takes the events of one connection in their raw form. It implements
// replication.EventHandler; one goroutine calls it.
type tail struct {
	*state
	file     string
	fileTime uint32 // 0: not known yet
	pos      uint64 // end of the last event in the file
	skip     uint64 // events below it in the first file were taken before
	checksum int    // bytes at the end of each event
	started  bool   // the first event of the connection has come
	tables   map[uint64]*mapped
	decoder  decoder
	tx       transaction
	inner    innerDecoder
	dirty    bool // the resume point moved since the last commit
	idling   bool
	last     time.Time                // of the last commit
	seen     map[string]*change.Table // tables handed over, by name and version
}

func newTail(s *state) *tail {
	return &tail{state: s, tables: map[uint64]*mapped{}, seen: map[string]*change.Table{}, last: time.Now()}
}

// position is for the status, from another goroutine.
func (t *tail) position() (string, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.resume.File, t.resume.Pos
}

// HandleEvent takes one event. What it returns ends the stream.
func (t *tail) HandleEvent(e *replication.BinlogEvent) error {
	err := t.take(e.RawData)
	var stop *stopError
	if err == nil || errors.As(err, &stop) {
		return err
	}
	return &stopError{fmt.Errorf("binlog %s:%d: %w", t.file, t.pos, err)}
}

// Flags of an event's header.
const (
	flagArtificial = replication.LOG_EVENT_ARTIFICIAL_F // made for the connection, not in the file
	flagIgnorable  = replication.LOG_EVENT_IGNORABLE_F
)

func (t *tail) take(raw []byte) error {
	h, err := parseHeader(raw)
	if err != nil {
		return err
	}
	if h.kind == replication.FORMAT_DESCRIPTION_EVENT {
		return t.format(h, raw)
	}
	if len(raw) < headerSize+t.checksum {
		return errShort
	}
	body := raw[headerSize : len(raw)-t.checksum]
	switch h.kind {
	case replication.ROTATE_EVENT:
		return t.rotate(h, body)
	case replication.HEARTBEAT_EVENT, replication.HEARTBEAT_LOG_EVENT_V2:
		return t.beat()
	}
	if h.flags&flagArtificial != 0 {
		return nil // the list of GTIDs that MariaDB begins with
	}
	t.started = true
	start := t.pos
	if h.end != 0 {
		t.pos = widen(t.pos, h.end)
		start = t.pos - min(uint64(h.size), t.pos)
	} else {
		t.pos += uint64(h.size)
	}
	if t.pos <= t.skip {
		return nil
	}
	return t.event(h, start, body)
}

// widen returns the least position not below from whose low 32 bits are low: events
// have no more of theirs, and files can be larger.
func widen(from uint64, low uint32) uint64 {
	at := from&^(1<<32-1) | uint64(low)
	if at < from {
		at += 1 << 32
	}
	return at
}

// format is the event that each file begins with, and each connection.
func (t *tail) format(h header, raw []byte) error {
	t.checksum = 0
	// Its last five bytes are the algorithm and its own checksum, always.
	if len(raw) < headerSize+5 {
		return errShort
	}
	switch algorithm := raw[len(raw)-5]; algorithm {
	case byte(replication.BINLOG_CHECKSUM_ALG_OFF):
	case byte(replication.BINLOG_CHECKSUM_ALG_CRC32):
		t.checksum = replication.BinlogChecksumLength
	default:
		return stopf("checksum algorithm %d is not known", algorithm)
	}
	if t.file == t.resume.File && t.resume.FileTime != 0 && t.resume.FileTime != h.time && !t.started {
		return resetf("binlog %s is not the file that was read before", t.file)
	}
	t.mu.Lock()
	if t.file == t.resume.File {
		t.resume.FileTime = h.time
	}
	t.mu.Unlock()
	t.fileTime = h.time
	if h.end != 0 && h.flags&flagArtificial == 0 {
		t.pos = max(t.pos, uint64(h.end))
	}
	return nil
}

// rotate says which file comes next, or at the start of a connection which is sent.
func (t *tail) rotate(h header, body []byte) error {
	r := reader{b: body}
	pos := r.uint(8)
	if r.err != nil || len(r.b) == 0 {
		return errShort
	}
	file := string(r.b)
	if h.end == 0 || h.flags&flagArtificial != 0 { // the file that is sent
		if file != t.file {
			if err := t.begin(file); err != nil {
				return err
			}
			t.pos = pos
		}
		return nil
	}
	if err := t.begin(file); err != nil {
		return err
	}
	t.pos, t.skip = pos, 0
	if !t.tx.open { // a restart need not read the old file again
		t.advance()
	}
	return nil
}

// begin goes on with a file.
func (t *tail) begin(file string) error {
	if t.file != "" {
		was, err := fileNumber(t.file)
		if err != nil {
			return err
		}
		if is, err := fileNumber(file); err != nil {
			return err
		} else if is < was {
			return resetf("the binlog's number goes back from %s to %s", t.file, file)
		}
	}
	t.file = file
	t.fileTime = 0
	clear(t.tables)
	return nil
}

// advance moves the resume point to the end of the last event. No transaction is open.
func (t *tail) advance() {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.resume
	if r.File != t.file {
		r.File, r.FileTime = t.file, t.fileTime
	}
	r.Pos = t.pos
	t.dirty = true
}

// beat: the server has nothing to send.
func (t *tail) beat() error {
	t.mu.Lock()
	t.status.Lag = 0
	t.mu.Unlock()
	return t.commitStretch(true)
}

// commitStretch commits a stretch in which nothing was captured, now and then.
func (t *tail) commitStretch(idle bool) error {
	const every = time.Second
	if !t.dirty || t.tx.open || time.Since(t.last) < every {
		return nil
	}
	if err := t.commitNow(); err != nil {
		return err
	}
	if idle {
		t.out.Idle()
	}
	return nil
}

func (t *tail) commitNow() error {
	t.last, t.dirty, t.idling = time.Now(), false, false
	return t.commit()
}

// idle is called when the connection has nothing to read at the moment.
func (t *tail) idle() {
	if !t.idling && t.started {
		t.idling = true
		t.out.Idle()
	}
}

// published updates the status after a transaction.
func (t *tail) published() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Position = t.resume.File + ":" + strconv.FormatUint(t.resume.Pos, 10)
	t.status.Epoch = t.resume.Epoch
	t.status.Lag = max(time.Since(t.tx.time), 0)
}
