package postgres

import (
	"fmt"
	"strings"

	"github.com/penstock-cdc/penstock/capture"
)

// unfitCode is that of a stream that does not fit together. A new session gets all of it again from the position, with every
// relation described anew: Run tries that once at each position.
const unfitCode = "E0432"

// unfit is the problem of a message that does not fit to those before it.
func (s *Source) unfit(format string, args ...any) error {
	return &capture.Problem{Code: "E0432", What: fmt.Sprintf("the stream of slot %s does not fit together: %s", s.cfg.Slot, fmt.Sprintf(format, args...)),
		Lost: "Nothing: the server sends it again from our position.",
		Fix:  "start again; if it stops at the same place, " + s.readAgain()}
}

// unkeyedProblem: Postgres refuses updates and deletes of such a table. ANALYZE and VACUUM change the catalog in place where a
// primary key is gone, and with it what the server says of the rows that were written before.
func (s *Source) unkeyedProblem(table string, lsn uint64) error {
	return &capture.Problem{Code: "E0433", What: fmt.Sprintf("table %s had a primary key when rows at %s were changed, and the server no longer says which", table, lsnText(lsn)),
		Lost: "The key was dropped, and the table analyzed or vacuumed, before this was captured: which rows were changed is not known.",
		Fix:  s.readAgain()}
}

// rekeyedProblem: nothing says which rows were written under which key.
func (s *Source) rekeyedProblem(info *relationInfo, identity byte, then []string, lsn uint64) error {
	return &capture.Problem{Code: "E0434", What: fmt.Sprintf("table %s has the primary key (%s) now and had (%s) at %s", info.qualified(), strings.Join(info.primary, ", "), strings.Join(then, ", "), lsnText(lsn)),
		Lost: fmt.Sprintf("With REPLICA IDENTITY %s the changes in between do not say under which of them they were written.", map[byte]string{'f': "FULL", 'i': "USING INDEX"}[identity]),
		Fix:  s.readAgain()}
}

// tooLargeProblem is a transaction that is larger than what the disk has room for.
func tooLargeProblem(dir string, xid uint32, held int64, free, reserve uint64) error {
	return &capture.Problem{Code: "E0435", What: fmt.Sprintf("transaction %d is too large for the disk of %s", xid, dir),
		Lost: fmt.Sprintf("%d MiB of it are kept until it commits, %d MiB are free and %d MiB are kept in reserve. Nothing is lost: the server sends it again.", held>>20, free>>20, reserve>>20),
		Fix:  "make room there and start again, or set streaming = false on the source, so that the server keeps transactions in progress on its own disk"}
}
