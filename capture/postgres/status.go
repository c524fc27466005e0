package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
)

func (s *Source) setState(state, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.State, s.status.Detail = state, detail
}

// setPosition says how far was read; a zero time leaves the last transaction's.
func (s *Source) setPosition(position, serverEnd uint64, commitTime time.Time) {
	s.received.Store(position)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.position = position
	s.state.serverEnd = max(s.state.serverEnd, serverEnd, position)
	if !commitTime.IsZero() {
		s.state.commitTime = commitTime
	}
}

// warn sets or, with no text, takes back what an operator should know about a subject.
func (s *Source) warn(about, text string) {
	s.mu.Lock()
	old := s.state.warnings[about]
	if text == "" {
		delete(s.state.warnings, about)
	} else {
		s.state.warnings[about] = text
	}
	s.mu.Unlock()
	if text != "" && old == "" {
		s.log.Warn(text)
	}
}

func (s *Source) describeProgress(srv *server, r *resume) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.epoch = r.Epoch
	clear(s.state.tables)
	clear(s.state.known)
	for _, info := range srv.relations {
		if r.has(info.oid) || r.loading(info.oid) {
			s.state.known[info.oid] = true
		}
	}
	for _, info := range srv.relations {
		m := info.message(srv.storedGenerated)
		t, _ := s.cfg.table(s.name, srv.database, &m, info, srv.types)
		status := &capture.TableStatus{Name: t.QualifiedName(), Topic: t.Topic, SchemaVersion: t.Version, SnapshotTotal: max(0, info.rows), Snapshot: "pending"}
		switch {
		case s.cfg.Snapshot == SnapshotNever:
			status.Snapshot = ""
		case r.Snapshot == snapshotDone && r.has(info.oid):
			status.Snapshot = "done"
		}
		for _, ld := range r.Loads {
			if ld.Table == info.oid {
				status.Snapshot, status.SnapshotRows, status.SnapshotBytes, status.SnapshotChunks = ld.state(), ld.Rows, ld.Bytes, ld.Chunks
			}
		}
		s.state.tables[t.QualifiedName()] = status
	}
}

// knows tells whether a table is captured.
func (s *Source) knows(oid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.known[oid]
}

// updateTable changes a table's status.
func (s *Source) updateTable(name string, f func(*capture.TableStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.state.tables[name]
	if t == nil {
		t = &capture.TableStatus{Name: name}
		s.state.tables[name] = t
	}
	f(t)
}

// Status tells how capture stands.
func (s *Source) Status() capture.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	p := &s.state
	st.Epoch = p.epoch
	if p.position > 0 {
		st.Position = lsnText(p.position)
		st.Behind = int64(p.serverEnd - p.position)
		if st.Behind > 0 && !p.commitTime.IsZero() {
			st.Lag = max(0, time.Since(p.commitTime))
		}
	}
	if c := s.confirmed.Load(); c > 0 {
		st.Confirmed = lsnText(c)
	}
	st.Tables = nil
	for _, t := range p.tables {
		st.Tables = append(st.Tables, *t)
	}
	slices.SortFunc(st.Tables, func(a, b capture.TableStatus) int { return cmp.Compare(a.Name, b.Name) })
	st.Warnings = nil
	for _, w := range p.warnings {
		st.Warnings = append(st.Warnings, w)
	}
	slices.Sort(st.Warnings)
	return st
}

// At is what a resume point says of a source that is not captured now.
func (s *Source) At(resumeText []byte) (capture.Status, error) {
	r, err := parseResume(resumeText)
	if err != nil || r == nil {
		return capture.Status{}, err
	}
	return capture.Status{Position: lsnText(r.LSN), Confirmed: lsnText(r.LSN), Epoch: r.Epoch}, nil
}

// watchInterval is how often the server is asked what it keeps for us.
const watchInterval = 5 * time.Second

const watchQuery = `
SELECT ` + walWritten + `, COALESCE(pg_catalog.pg_wal_lsn_diff(` + walWritten + `, s.restart_lsn), 0)::bigint, COALESCE(s.wal_status, ''), pg_catalog.pg_is_in_recovery()
FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1`

const tablesQuery = `
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'`

// watch keeps the figures of Status that only the server knows, until ctx ends. It
// holds one connection; that it cannot have one is no reason to stop.
// What it finds that should end the stream does so.
func (s *Source) watch(ctx context.Context, w *wire, was published, l *loader) {
	var conn *pgconn.PgConn
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		var err error
		if conn == nil {
			conn, err = s.connectFor(ctx, false, forWatch)
		}
		if err == nil {
			err = s.watchSpilled(ctx, conn)
		}
		if err == nil {
			err = s.watchOnce(ctx, conn, was, l.srv.standby)
		}
		if err == nil {
			err = l.refresh(ctx, conn)
		}
		var found *capture.Problem
		if errors.As(err, &found) || errors.Is(err, errPublication) || errors.Is(err, errPromoted) {
			s.ending.Store(&err)
			_ = w.conn.Close() // the reader finds out
			closeConn(conn)
			return
		}
		if err != nil && conn != nil {
			closeConn(conn)
			conn = nil
		}
		select {
		case <-ctx.Done():
			if conn != nil {
				closeConn(conn)
			}
			return
		case <-ticker.C:
		}
	}
}

// errPublication: the next session finds out what it means.
var errPublication = errors.New("the publication was changed")

func (s *Source) watchOnce(ctx context.Context, conn *pgconn.PgConn, was published, standby bool) error {
	rows, err := query(ctx, conn, watchQuery, s.cfg.Slot)
	if err != nil || len(rows) == 0 {
		return err
	}
	if rows[0][3] == "t" != standby {
		return errPromoted
	}
	end, err := pglogrepl.ParseLSN(rows[0][0])
	if err != nil {
		return err
	}
	retained, _ := strconv.ParseInt(rows[0][1], 10, 64)
	s.mu.Lock()
	s.status.RetainedBytes = retained
	s.state.serverEnd = max(s.state.serverEnd, uint64(end))
	s.mu.Unlock()
	text := ""
	if retained > s.retainedWarning {
		text = fmt.Sprintf("the server keeps %d MiB of WAL for slot %s: the log takes changes more slowly than the database makes them, or a long transaction is open", retained>>20, s.cfg.Slot)
	}
	s.warn("retained", text)
	text = ""
	if status := rows[0][2]; status == "unreserved" {
		text = fmt.Sprintf("slot %s is about to be lost: it holds more WAL than max_slot_wal_keep_size allows; raise it (ALTER SYSTEM SET max_slot_wal_keep_size) until capture has caught up", s.cfg.Slot)
	}
	s.warn("wal_status", text)

	if err := s.watchTransactions(ctx, conn, retained); err != nil {
		return err
	}
	if p := s.aboveCeiling(retained); p != nil {
		return p
	}
	if rows, err = query(ctx, conn, membersQuery, s.cfg.Publication); err != nil {
		return err
	}
	if was.differs(rows) {
		return errPublication
	}
	if rows, err = query(ctx, conn, tablesQuery); err != nil {
		return err
	}
	for _, row := range rows {
		if !s.knows(parseOID(row[0])) && s.cfg.captures(row[1], row[2]) {
			s.lookForTables()
			return nil
		}
	}
	return nil
}
