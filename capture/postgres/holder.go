package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// The server moves the slot's restart point only past transactions that have ended. Those
// of others that are open for longer than 5 s are named once the slot holds heldBytes.
const heldBytes = 48 << 20

const holdersQuery = `
(SELECT a.pid, COALESCE(a.usename, ''), COALESCE(a.application_name, ''), COALESCE(extract(epoch FROM clock_timestamp() - a.xact_start)::bigint::text, ''), ''
FROM pg_catalog.pg_stat_activity a
WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() AND (a.xact_start IS NULL OR a.xact_start < clock_timestamp() - interval '5 s')
ORDER BY pg_catalog.age(a.backend_xid) DESC LIMIT 3)
UNION ALL
(SELECT 0, p.owner, '', extract(epoch FROM clock_timestamp() - p.prepared)::bigint::text, p.gid
FROM pg_catalog.pg_prepared_xacts p WHERE p.prepared < clock_timestamp() - interval '5 s' ORDER BY p.prepared LIMIT 3)`

// watchTransactions names who keeps the server from moving the slot's restart point.
func (s *Source) watchTransactions(ctx context.Context, conn *pgconn.PgConn, retained int64) error {
	if retained < min(heldBytes, s.retainedWarning) {
		s.warn("transactions", "")
		return nil
	}
	rows, err := query(ctx, conn, holdersQuery)
	if err != nil {
		return err
	}
	var who []string
	for _, row := range rows {
		age := "for " + row[3] + " s"
		if row[3] == "" {
			age = "for a time that needs GRANT pg_read_all_stats to be seen"
		}
		if row[4] != "" {
			who = append(who, fmt.Sprintf("prepared transaction %q of user %s, %s (COMMIT PREPARED or ROLLBACK PREPARED)", row[4], row[1], age))
		} else {
			who = append(who, fmt.Sprintf("pid %s, user %s, application_name %q, %s", row[0], row[1], row[2], age))
		}
	}
	text := ""
	if len(who) > 0 {
		text = fmt.Sprintf("transactions that are open hold the WAL of slot %s: %s", s.cfg.Slot, strings.Join(who, "; "))
	}
	s.warn("transactions", text)
	return nil
}
