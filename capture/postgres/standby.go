package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/penstock-cdc/penstock/capture"
)

// A standby decodes what it has replayed, from a slot of its own, with a publication of its primary. Its snapshots do not say
// which transactions run: what a chunk shows is told by how far the standby had replayed before it. Nothing is written to
// either server, but the slot to the standby.
//
// Source: https://www.postgresql.org/docs/16/logicaldecoding-explanation.html

// standbyVersion is the first whose standbys decode.
const standbyVersion = 160000

// Ends of the WAL, as SQL; on a standby the end of what is replayed.
const (
	walWritten  = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END"
	walFlushed  = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_flush_lsn() END"
	walInserted = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END"
)

// errReplay: the standby was restarted, and is not where it was.
var errReplay = errors.New("the standby has not replayed yet what it had sent")

// errPromoted: how chunks are read is another thing on a primary.
var errPromoted = errors.New("the server was promoted, or has become a standby")

func (s *Source) standbyProblems(srv *server) (out []*capture.Problem) {
	if srv.standby && srv.settings["hot_standby_feedback"] != "on" {
		out = append(out, &capture.Problem{Code: "E0478", What: "hot_standby_feedback is off at this standby: its primary would remove rows that the slot needs, and with them the slot",
			Fix: "here: ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf()"})
	}
	return out
}

// awaitTransactions waits until the transactions have ended that run now at the primary, whose locks a standby does not show.
func (l *loader) awaitTransactions(ctx context.Context, rd *reader) error {
	bound := func(which string) (uint64, error) {
		rows, err := l.query(rd, fmt.Sprintf("SELECT pg_catalog.pg_snapshot_%s(pg_catalog.pg_current_snapshot())", which))
		if err != nil {
			return 0, err
		}
		return strconv.ParseUint(rows[0][0], 10, 64)
	}
	last, err := bound("xmax")
	if err != nil {
		return err
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		oldest, err := bound("xmin")
		if err != nil || oldest >= last {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
