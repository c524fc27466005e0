package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
)

// createPublication is the statement that makes the publication.
func (s *Source) createPublication(srv *server) string {
	tables := make([]string, len(srv.relations))
	for i, r := range srv.relations {
		tables[i] = r.sql()
	}
	options := "publish_via_partition_root = true"
	if srv.version >= 180000 {
		options += ", publish_generated_columns = stored"
	}
	return fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s WITH (%s)", quoteIdentifier(s.cfg.Publication), strings.Join(tables, ", "), options)
}

// ensurePublication makes the publication, or before the slot is there adds the tables
// that it lacks. Those that come later are added while the slot is read: see loader.join.
func (s *Source) ensurePublication(ctx context.Context, srv *server, r *resume) error {
	var statement string
	if srv.standby {
		return nil // it is the primary's: publicationProblems has seen what it lacks
	}
	if srv.publication == nil {
		statement = s.createPublication(srv)
	} else {
		var missing []string
		for _, r := range srv.relations {
			if !r.published {
				missing = append(missing, r.sql())
			}
		}
		if len(missing) == 0 || r != nil && r.Snapshot == snapshotDone {
			return nil
		}
		statement = fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s", quoteIdentifier(s.cfg.Publication), strings.Join(missing, ", "))
	}
	conn, err := s.connect(ctx, false)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	if err := exec(ctx, conn, statement); err != nil {
		return fmt.Errorf("make publication %s (%s): %w", s.cfg.Publication, statement, err)
	}
	return s.readMembers(ctx, conn, srv)
}

const membersQuery = `
SELECT p.oid, p.xmin, COALESCE(pr.prrelid, 0), COALESCE(pr.oid, 0)
FROM pg_catalog.pg_publication p LEFT JOIN pg_catalog.pg_publication_rel pr ON pr.prpubid = p.oid WHERE p.pubname = $1`

// readMembers looks at the publication again after it was changed.
func (s *Source) readMembers(ctx context.Context, conn *pgconn.PgConn, srv *server) error {
	rows, err := query(ctx, conn, membersQuery, s.cfg.Publication)
	if err != nil {
		return fmt.Errorf("read publication: %w", err)
	}
	if srv.publication == nil {
		srv.publication = &publicationInfo{}
	}
	for _, row := range rows {
		srv.publication.oid, srv.publication.xmin = parseOID(row[0]), parseOID(row[1])
		if info := srv.relation(parseOID(row[2])); info != nil {
			info.published, info.member = true, parseOID(row[3])
		}
	}
	return nil
}

// createSlot makes a slot; export names the snapshot that goes with it, which lasts
// until conn does something else.
func (s *Source) createSlot(ctx context.Context, srv *server, conn *pgconn.PgConn, name string, temporary, export bool) (point uint64, snapshot string, err error) {
	s.setState("waiting", "a slot is being made, which waits for the transactions that are open now")
	if srv.standby {
		s.setState("waiting", "a slot is being made at a standby, which waits for the primary to say which transactions are open: SELECT pg_log_standby_snapshot() there, else when something is written there")
	}
	action := "NOEXPORT_SNAPSHOT"
	if export {
		action = "EXPORT_SNAPSHOT"
	}
	kind := ""
	switch {
	case temporary:
		kind = "TEMPORARY "
	case major(conn) >= 17 && !srv.standby: // a standby that is set up for it has the slot when it is promoted
		action = "(SNAPSHOT " + map[bool]string{true: "'export'", false: "'nothing'"}[export] + ", FAILOVER true)"
	}
	result, err := pglogrepl.ParseCreateReplicationSlot(conn.Exec(ctx, fmt.Sprintf("CREATE_REPLICATION_SLOT %s %sLOGICAL pgoutput %s", quoteIdentifier(name), kind, action)))
	var refused *pgconn.PgError
	if srv.standby && errors.As(err, &refused) && refused.Code == "55000" { // object_not_in_prerequisite_state
		return 0, "", &capture.Problem{Code: "E0443", What: fmt.Sprintf("the standby makes no logical slot (%s)", refused.Message),
			Fix: "at the primary: ALTER SYSTEM SET wal_level = 'logical'; then restart it"}
	}
	if err != nil {
		return 0, "", fmt.Errorf("create slot %s: %w", name, err)
	}
	lsn, err := pglogrepl.ParseLSN(result.ConsistentPoint)
	if err != nil {
		return 0, "", fmt.Errorf("create slot %s: consistent point %q: %w", name, result.ConsistentPoint, err)
	}
	return uint64(lsn), result.SnapshotName, nil
}

// ensureFailover makes a slot that was there before one that standbys have too (17 on).
func (s *Source) ensureFailover(ctx context.Context, srv *server) error {
	if srv.version < 170000 || srv.standby || srv.slot == nil || srv.slot.failover || srv.slot.temporary {
		return nil
	}
	conn, err := s.connect(ctx, true)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	if err := exec(ctx, conn, "ALTER_REPLICATION_SLOT "+quoteIdentifier(s.cfg.Slot)+" (FAILOVER true)"); err != nil {
		return fmt.Errorf("make slot %s one that standbys have too: %w", s.cfg.Slot, err)
	}
	return nil
}

// raiseAttempt makes a higher attempt durable: chunks of earlier ones never share a number
// with those of this one.
func (s *Source) raiseAttempt(ctx context.Context, r *resume, out capture.Output) error {
	r.Attempt++
	if err := out.Commit(r.appendTo(nil)); err != nil {
		return output(err)
	}
	return output(out.Flush(ctx))
}

// beginSlot makes the slot, from which on changes are captured.
func (s *Source) beginSlot(ctx context.Context, srv *server, r *resume, out capture.Output) error {
	// The attempt is durable before the slot is made: a slot without a position would be
	// taken for somebody else's.
	r.Snapshot = snapshotReading
	if err := s.raiseAttempt(ctx, r, out); err != nil {
		return err
	}
	if srv.slot != nil && s.cfg.Snapshot == SnapshotNever {
		r.LSN = srv.slot.confirmed
	} else {
		conn, err := s.connect(ctx, true)
		if err != nil {
			return err
		}
		defer closeConn(conn)
		if srv.slot != nil { // of an attempt that did not come to an end
			other, err := s.connect(ctx, false)
			if err != nil {
				return err
			}
			err = s.dropSlot(ctx, other)
			closeConn(other)
			if err != nil {
				return err
			}
		}
		if r.LSN, _, err = s.createSlot(ctx, srv, conn, s.cfg.Slot, false, false); err != nil {
			return err
		}
	}
	r.Snapshot, r.Last = snapshotDone, 0
	for _, info := range srv.relations {
		s.take(r, info, false)
	}
	if err := out.Commit(r.appendTo(nil)); err != nil {
		return output(err)
	}
	return output(out.Flush(ctx))
}

func oids(relations []*relationInfo) []uint32 {
	out := make([]uint32, len(relations))
	for i, r := range relations {
		out[i] = r.oid
	}
	return out
}

// Drop removes the slot and, if it is ours, the publication.
func (s *Source) Drop(ctx context.Context) error {
	conn, err := s.connect(ctx, false)
	if err != nil {
		return fmt.Errorf("drop source %s: %w", s.name, err)
	}
	defer closeConn(conn)
	if err := s.dropSlot(ctx, conn); err != nil {
		return fmt.Errorf("drop source %s: %w", s.name, err)
	}
	if standby, err := query(ctx, conn, "SELECT pg_catalog.pg_is_in_recovery()"); err != nil || standby[0][0] == "t" {
		if err == nil {
			s.log.Warn("the publication is the primary's and stays: DROP PUBLICATION " + quoteIdentifier(s.cfg.Publication) + " there")
		}
		return err
	}
	if err := exec(ctx, conn, "DROP PUBLICATION IF EXISTS "+quoteIdentifier(s.cfg.Publication)); err != nil {
		return fmt.Errorf("drop source %s: drop publication %s (as its owner: DROP PUBLICATION %s): %w", s.name, s.cfg.Publication, quoteIdentifier(s.cfg.Publication), err)
	}
	return nil
}

// dropSlot drops the slot if it is there; a session of ours that is about to end may
// still hold it for a moment.
func (s *Source) dropSlot(ctx context.Context, conn *pgconn.PgConn) error {
	rows, err := query(ctx, conn, "SELECT pg_catalog.current_database()")
	if err != nil {
		return err
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(slotPatience); ; {
		slot, err := readSlot(ctx, conn, 140000, s.cfg.Slot)
		if err != nil || slot == nil {
			return err
		}
		if slot.database != rows[0][0] { // a server has one slot of a name: this is somebody else's
			return fmt.Errorf("drop slot %s: it is of database %q, and the url names %s: nothing was dropped; set slot to another name, or the url to that database", s.cfg.Slot, slot.database, rows[0][0])
		}
		if slot.pid == 0 {
			if err := exec(ctx, conn, "SELECT pg_catalog.pg_drop_replication_slot("+quoteLiteral(s.cfg.Slot)+")"); err != nil {
				return fmt.Errorf("drop slot %s: %w", s.cfg.Slot, err)
			}
			return nil
		}
		if !s.ours(slot.application) || time.Now().After(end) {
			return fmt.Errorf("drop slot %s: it is in use by %s: stop that process first", s.cfg.Slot, slot.holder())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// slotError is an error with which the server ended the stream, with what mends it
// where that is known.
func (s *Source) slotError(err error) error {
	err = fmt.Errorf("read slot %s: %w", s.cfg.Slot, err)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "22021" { // character_not_in_repertoire
		return &capture.Problem{Code: "E0436", What: fmt.Sprintf("%v (%s)", err, pg.Where),
			Lost: "A database with the encoding SQL_ASCII takes any bytes, the stream only UTF-8.",
			Fix:  "correct the row, then " + s.readAgain()}
	}
	return err
}
