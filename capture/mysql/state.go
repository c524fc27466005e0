package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-cdc/penstock/capture"
)

// state is one attempt of Run: from a connection to its loss.
type state struct {
	*Source
	out    capture.Output
	resume *resume // nil before the first start has found its position
	facts  *facts
	lease  *session // holds the lease, and asks the server what the status needs
	byGTID bool     // the stream begins at the GTID set, not at file and position
	text   []byte   // of the resume point, reused

	declared map[string]*declaration
}

// run connects, takes what is missing of the snapshot, and streams until something
// ends it.
func (s *state) run(ctx context.Context) error {
	s.setState("connecting", "")
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.lease.close()
	if err := s.locate(); err != nil {
		return err
	}
	if err := s.declare(); err != nil {
		return err
	}
	names := make([]string, 0, len(s.declared))
	for name := range s.declared {
		names = append(names, name)
	}
	s.resume.keepTables(func(name string) bool { return s.declared[name] != nil })
	if missing := s.resume.missing(names); len(missing) > 0 {
		if err := s.snapshot(ctx, missing); err != nil {
			return err
		}
	}
	for _, name := range names {
		s.setTable(name, func(t *capture.TableStatus) { t.Snapshot = "done" })
	}
	return s.stream(ctx)
}

// errBusy: another process has the lease.
var errBusy = errors.New("another process captures this source: it holds the lock named")

// connect opens the session that holds the lease.
func (s *state) connect(ctx context.Context) (err error) {
	if s.lease, err = s.address.connect(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.lease.close()
		}
	}()
	name := "penstock_" + s.name
	if len(name) > 64 { // the longest name of a lock
		name = name[:64]
	}
	r, err := s.lease.row("SELECT GET_LOCK(" + literal(name) + ", 0)")
	if err != nil {
		return fmt.Errorf("take lease: %w", err)
	}
	if r[0] != "1" {
		return fmt.Errorf("%w %s", errBusy, name)
	}
	s.facts, err = s.readFacts(s.lease)
	return err
}

// locate makes sure that the server still has what follows the resume point, and
// decides how to ask for it. At the very first start it takes the present end.
func (s *state) locate() error {
	r := s.resume
	if r != nil && r.File == "" && r.gtids != nil { // moved, and the connection was lost before the first transaction
		s.byGTID = true
		return nil
	}
	if r == nil || r.File == "" {
		e, err := readEnd(s.lease, s.facts)
		if err != nil {
			return err
		}
		chunk, epoch := uint64(0), uint32(0)
		if r != nil {
			chunk, epoch = r.Chunk, r.Epoch
		}
		r = &resume{Version: resumeVersion, Epoch: epoch, Server: s.facts.server, MariaDB: s.facts.mariadb, File: e.file, Pos: e.pos, GTIDs: e.gtids, Chunk: chunk, Tables: map[string]tablePoint{}}
		s.resume = r
		return r.parseGTIDs()
	}
	if r.MariaDB != s.facts.mariadb {
		return stopf("resume: the source was %s and now is %s: read the tables again: penstock source reset", product(r.MariaDB), product(s.facts.mariadb))
	}
	if r.gtids == nil && s.facts.gtid && r.Server == s.facts.server {
		s.log.Info("the server has GTIDs now; they are used from the next position on")
	}
	if r.Server != s.facts.server {
		return s.moveTo("another server answers (" + s.facts.server + ", before " + r.Server + ")")
	}
	files, err := readFiles(s.lease)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return stopf("resume: the server has no binary log")
	}
	first, err := fileNumber(files[0].name)
	if err != nil {
		return stopf("resume: %w", err)
	}
	mine, err := fileNumber(r.File)
	if err != nil {
		return stopf("resume: %w", err)
	}
	for _, f := range files {
		if f.name != r.File {
			continue
		}
		if f.size < r.Pos {
			return resetf("binlog %s ends at %d, before our position %d (a crash takes the end of a log where sync_binlog is not 1)", f.name, f.size, r.Pos)
		}
		return nil
	}
	if mine < first {
		return s.purged(files[0].name)
	}
	return resetf("binlog %s is gone and the newest is %s", r.File, files[len(files)-1].name)
}

// resetf names a binlog that is no longer the one we have read. GTIDs are no way on
// from there: after a reset the same ones stand for other transactions.
func resetf(format string, args ...any) error {
	return stopf("resume: %s: the server's binary log was reset; what was committed in between is lost to the stream: read the tables again: penstock source reset", fmt.Sprintf(format, args...))
}

func product(mariadb bool) string {
	if mariadb {
		return "MariaDB"
	}
	return "MySQL"
}

// moveTo goes on by GTID on another server, whose binlog files are its own: a
// new epoch of event ids. Without GTIDs there is no way on.
func (s *state) moveTo(why string) error {
	r := s.resume
	if r.gtids == nil || !s.facts.gtid {
		return stopf("resume: %s; without GTIDs its position can't be found there: read the tables again: penstock source reset", why)
	}
	if err := s.checkGTIDs(); err != nil {
		return fmt.Errorf("resume: %s: %w", why, err)
	}
	s.log.Warn("going on by GTID in a new epoch", "reason", why, "epoch", r.Epoch+1)
	r.Epoch++
	r.Server, r.File, r.Pos, r.FileTime = s.facts.server, "", 0, 0
	for name := range r.Tables {
		r.setTable(name, 0)
	}
	s.byGTID = true
	return nil
}

// purged goes on by GTID if none of what we lack was in the purged files.
func (s *state) purged(first string) error {
	r := s.resume
	lost := stopf("resume: the server has purged its binary log up to %s, and we stand at %s: what was committed in between is lost to the stream. "+
		"read the tables again: penstock source reset, and keep the log longer: SET GLOBAL binlog_expire_logs_seconds = 604800", first, r)
	if s.facts.mariadb || r.gtids == nil || !s.facts.gtid {
		return lost
	}
	row, err := s.lease.row("SELECT GTID_SUBSET(@@GLOBAL.gtid_purged, " + literal(r.gtids.String()) + ")")
	if err != nil {
		return fmt.Errorf("compare GTIDs: %w", err)
	}
	if row[0] != "1" {
		return lost
	}
	s.byGTID = true
	return nil
}

// checkGTIDs makes sure that the server has all transactions that we have, and has
// kept those that we have not.
func (s *state) checkGTIDs() error {
	if s.facts.mariadb {
		return nil // the server answers with an error of its own
	}
	mine := literal(s.resume.gtids.String())
	row, err := s.lease.row("SELECT GTID_SUBSET(" + mine + ", @@GLOBAL.gtid_executed), GTID_SUBSET(@@GLOBAL.gtid_purged, " + mine + "), GTID_SUBTRACT(" + mine + ", @@GLOBAL.gtid_executed)")
	if err != nil {
		return fmt.Errorf("compare GTIDs: %w", err)
	}
	switch {
	case row[0] != "1":
		return stopf("the server lacks transactions that we have captured (%s): read the tables again: penstock source reset", row[2])
	case row[1] != "1":
		return stopf("the server has purged transactions that we have not captured: read the tables again: penstock source reset")
	}
	return nil
}

// declare reads the captured tables.
func (s *state) declare() error {
	list, err := declarations(s.lease, s.facts, s.selected)
	if err != nil {
		return err
	}
	s.declared = map[string]*declaration{}
	for _, d := range list {
		s.declared[d.qualifiedName()] = d
	}
	return nil
}

// commit hands the resume point to the output.
func (s *state) commit() error {
	s.text = s.resume.appendTo(s.text[:0])
	if err := s.out.Commit(s.text); err != nil {
		return &stopError{err}
	}
	return nil
}

// nextChunk returns a number that no chunk had, not even one before a crash.
func (s *state) nextChunk(ctx context.Context, next *uint64) (uint64, error) {
	const reserved = 1000 // numbers made durable at once
	if *next == s.resume.Chunk {
		s.resume.Chunk += reserved
		if err := s.durable(ctx); err != nil {
			return 0, err
		}
	}
	n := *next
	*next++
	return n, nil
}
