package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// Source is a Postgres database that is captured. It implements capture.Source.
type Source struct {
	cfg  *Config
	name string
	log  *slog.Logger

	// retainedWarning is how much WAL may be kept for us before Status warns, in bytes.
	retainedWarning   int64
	dataDir           string // "": none
	transactionMemory int64  // for transactions in progress, in bytes

	confirmed atomic.Uint64 // the database may forget what is before it
	received  atomic.Uint64 // what was read

	// ceiling is max_retained_wal in bytes, 0 for none.
	ceiling int64
	// ending is why the stream was ended from beside it.
	ending atomic.Pointer[error]

	hold      atomic.Pointer[func(topic string) string] // tells why chunks have to wait
	loadsLeft atomic.Int32                              // loads of the last durable resume point
	streaming atomic.Bool                               // the slot is being read, by a session that has looked for new tables
	chunkRows int                                       // of a chunk, for tests; 0: as suits
	rangeRows int                                       // from how many a table is parted, for tests
	failpoint func(name string)
	request   chan *request // to the session
	look      chan struct{} // tables may have come that match

	walsender int                      // pid of the last session that read the slot, of Run's goroutine
	versions  map[uint32]*change.Table // the latest of each table, of Run's goroutine

	mu     sync.Mutex
	advice []*capture.Problem // of the last Check
	status capture.Status
	state  progress
}

// progress is what Status computes from.
type progress struct {
	position   uint64
	serverEnd  uint64
	commitTime time.Time // of the last transaction read
	epoch      uint32
	tables     map[string]*capture.TableStatus
	known      map[uint32]bool   // OIDs of captured tables
	warnings   map[string]string // by what they are about
}

// Option changes a Source.
type Option func(*Source)

// WithLogger makes the source log there; slog.Default() without it.
func WithLogger(log *slog.Logger) Option { return func(s *Source) { s.log = log } }

// WithRetainedWarning sets from how many bytes of WAL kept for this source Status
// warns: 1 GiB without it.
func WithRetainedWarning(bytes int64) Option { return func(s *Source) { s.retainedWarning = bytes } }

// WithDataDir keeps transactions in progress that are too large for memory below that
// folder. Without it they go into the system's folder for temporary files.
func WithDataDir(dir string) Option { return func(s *Source) { s.dataDir = dir } }

// WithChunkRows fixes how many rows a chunk of a snapshot has, and from how many on a
// table is parted for several workers.
func WithChunkRows(rows, ranges int) Option {
	return func(s *Source) { s.chunkRows, s.rangeRows = rows, ranges }
}

// Pace has the chunks of a table's load wait while hold, asked with its topic before each of them and every 50 ms of the
// wait by several goroutines, gives a reason, such as that those who take the events in are behind. The stream goes on.
func (s *Source) Pace(hold func(topic string) string) { s.hold.Store(&hold) }

// WithFailpoint has f called at each step of a snapshot: snapshot.read,
// snapshot.before_publish, snapshot.after_publish.
func WithFailpoint(f func(name string)) Option { return func(s *Source) { s.failpoint = f } }

// Open makes the source of a configuration. It does not connect.
func Open(cfg *Config, name string, opts ...Option) (*Source, error) {
	c := *cfg
	if c.Slot == "" {
		c.Slot = defaultName(name)
	}
	if c.Publication == "" {
		c.Publication = defaultName(name)
	}
	if c.Snapshot == "" {
		c.Snapshot = SnapshotInitial
	}
	if p := c.problems(); len(p) > 0 {
		return nil, fmt.Errorf("open source %s: %s. %s", name, p[0].summary, p[0].detail)
	}
	s := &Source{
		cfg: &c, name: name, log: slog.Default(), retainedWarning: 1 << 30, transactionMemory: defaultTransactionMemory, versions: map[uint32]*change.Table{},
		failpoint: func(string) {}, request: make(chan *request), look: make(chan struct{}, 1),
	}
	s.state.tables = map[string]*capture.TableStatus{}
	s.state.known = map[uint32]bool{}
	s.state.warnings = map[string]string{}
	if c.TransactionMemory != "" {
		s.transactionMemory, _ = parseBytes(c.TransactionMemory) // problems has seen it
	}
	s.status.State = "connecting"
	s.ceiling, _ = parseSize(c.MaxRetainedWAL)
	if s.ceiling > 0 && s.ceiling < s.retainedWarning {
		s.retainedWarning = s.ceiling
	}
	for _, o := range opts {
		o(s)
	}
	s.log = s.log.With("source", name)
	return s, nil
}

// Identity is what the encoder needs to know of the source; version is penstock's.
func (s *Source) Identity(version string) change.Source {
	return change.Source{Connector: change.Postgres, Name: s.name, Version: version}
}

// TableAliases maps the aliases of the table blocks to schema.table.
func (s *Source) TableAliases() map[string]string {
	out := map[string]string{}
	for _, t := range s.cfg.TableBlocks {
		out[t.Alias] = t.Name
	}
	return out
}

// Describe returns the schemas that the captured tables have now.
func (s *Source) Describe(ctx context.Context) ([]*change.Table, error) {
	srv, err := s.inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("describe source %s: %w", s.name, err)
	}
	var out []*change.Table
	for _, info := range srv.relations {
		m := info.message(srv.storedGenerated)
		t, _ := s.cfg.table(s.name, srv.database, &m, info, srv.types)
		out = append(out, t)
	}
	return out, nil
}

// Estimates says of the captured tables about how many rows they have, as the server's
// statistics do; -1: it has none.
func (s *Source) Estimates(ctx context.Context) (map[string]int64, error) {
	srv, err := s.inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tables of source %s: %w", s.name, err)
	}
	out := map[string]int64{}
	for _, info := range srv.relations {
		out[info.qualified()] = info.rows
	}
	return out, nil
}

// Check finds all that stands in the way of capture. It changes nothing.
func (s *Source) Check(ctx context.Context, resumeText []byte) error {
	r, err := parseResume(resumeText)
	if err != nil {
		return err
	}
	srv, err := s.inspect(ctx)
	if problem := (*capture.Problem)(nil); errors.As(err, &problem) {
		return problem
	}
	if err != nil {
		return fmt.Errorf("check source %s: %w", s.name, err)
	}
	if err := s.waitForSlot(ctx, srv); err != nil {
		return fmt.Errorf("check source %s: %w", s.name, err)
	}
	found := s.problems(srv, r)
	s.mu.Lock()
	s.advice = nil
	for _, p := range found {
		if p.Warning() {
			s.advice = append(s.advice, p)
		}
	}
	s.mu.Unlock()
	return join(found)
}

// Advice is what the last Check found that does not keep capture from working.
func (s *Source) Advice() []*capture.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.advice
}

// join makes one error of those that are no warnings.
func join(found []*capture.Problem) error {
	var out []error
	for _, p := range found {
		if !p.Warning() {
			out = append(out, p)
		}
	}
	return errors.Join(out...)
}

// Back-off between attempts to connect.
const (
	firstWait = 100 * time.Millisecond
	longWait  = 5 * time.Second
)

// Run captures until ctx ends.
func (s *Source) Run(ctx context.Context, resumeText []byte, out capture.Output) error {
	r, err := parseResume(resumeText)
	if err != nil {
		return err
	}
	// What a session has handed over may not be durable when the next one begins: only the log's own word counts.
	s.Confirm(resumeText)
	wait := firstWait
	unfit := uint64(0) // where the stream did not fit together when it was last read
	for {
		began := time.Now()
		r, err = s.session(ctx, r, out)
		if ctx.Err() != nil {
			return nil
		}
		var down *outputError
		var found *capture.Problem
		switch {
		case err == nil:
			return nil
		case errors.As(err, &down):
			return down.err
		case errors.As(err, &found) && found.Code == ceilingCode && s.cfg.OnMaxRetainedWAL == CeilingDrop:
			continue // the next session drops the slot
		case errors.Is(err, errAnew):
			continue
		case errors.As(err, &found) && found.Code == unfitCode && r != nil && r.LSN > unfit:
			unfit = r.LSN
		case !lost(err):
			s.setState("stopped", err.Error())
			return fmt.Errorf("source %s: %w", s.name, err)
		}
		if time.Since(began) > longWait {
			wait = firstWait
		}
		s.setState("waiting", err.Error())
		s.log.Warn("the session ended, trying again", "error", err, "wait", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = min(2*wait, longWait)
	}
}

// intern returns the same table for the same version of it.
func (s *Source) intern(oid uint32, t *change.Table) *change.Table {
	if old := s.versions[oid]; old != nil && old.Version == t.Version {
		return old
	}
	s.versions[oid] = t
	return t
}

// outputError is an error of the output, which no reconnecting mends.
type outputError struct{ err error }

func (e *outputError) Error() string { return e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

func output(err error) error {
	if err == nil {
		return nil
	}
	return &outputError{err}
}

// session captures over one set of connections. It returns how far it came.
func (s *Source) session(ctx context.Context, r *resume, out capture.Output) (*resume, error) {
	s.setState("connecting", "")
	srv, err := s.inspect(ctx)
	if err != nil {
		return r, err
	}
	switch {
	case srv.standby && r.placed() && !r.Standby:
		return r, errStandby
	case srv.standby && r.placed() && srv.end != 0 && srv.end < r.LSN:
		return r, errReplay
	}
	if err := s.waitForSlot(ctx, srv); err != nil {
		return r, err
	}
	if err := join(s.problems(srv, r)); err != nil {
		return r, err
	}
	if p := s.ceilingProblem(srv); p != nil && r.placed() {
		s.log.Warn(p.What + ": the slot is dropped and the tables are read again")
		r = r.again(srv)
	}
	if err := s.ensureFailover(ctx, srv); err != nil {
		return r, err
	}
	if err := s.ensurePublication(ctx, srv, r); err != nil {
		return r, err
	}
	first := r == nil
	if first {
		r = &resume{System: srv.system, Timeline: srv.timeline, Epoch: 1}
	}
	r.Timeline, r.Standby = srv.timeline, srv.standby
	s.dropLoads(srv, r)
	if err := r.publish(srv); err != nil {
		return r, err
	}
	s.describeProgress(srv, r)
	if r.Snapshot != snapshotDone {
		if err := s.beginSlot(ctx, srv, r, out); err != nil {
			return r, err
		}
	}
	if err := s.enlist(ctx, srv, r, out); err != nil {
		return r, err
	}
	s.describeProgress(srv, r)
	err = s.stream(ctx, srv, r, out)
	if ending := s.ending.Swap(nil); ending != nil {
		err = *ending
	}
	return r, err
}

// errAnew: the session has to begin anew, now.
var errAnew = errors.New("the session begins anew")

// Confirm lets the database forget what is durable in the log.
func (s *Source) Confirm(resumeText []byte) {
	r, err := parseResume(resumeText)
	if err != nil || r == nil || r.Snapshot != snapshotDone {
		return
	}
	s.loadsLeft.Store(int32(len(r.Loads)))
	s.confirmTo(r.LSN)
}

// confirmTo moves the confirmed position, never back.
func (s *Source) confirmTo(lsn uint64) {
	for {
		old := s.confirmed.Load()
		if lsn <= old || s.confirmed.CompareAndSwap(old, lsn) {
			return
		}
	}
}

var _ capture.Source = (*Source)(nil)
