package postgres

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/change"
)

// server is what a look at the server found.
type server struct {
	version     int // 180006
	system      string
	timeline    int32
	end         uint64 // of its WAL
	history     string // of its timeline, where that is not the first
	database    string
	user        string
	walLevel    string
	standby     bool
	replication bool // we may replicate
	mayCreate   bool // CREATE on the database
	maxSlots    int
	slots       int
	maxSenders  int
	senders     int
	connections int // that the role may have at once, -1 for any number
	encoding    string
	standbys    []string          // physical slots that are in use
	pooled      bool              // the session that answers is not the one that was opened
	settings    map[string]string // numbers in the server's base unit

	publication     *publicationInfo // nil: there is none
	storedGenerated bool             // the publication has stored generated columns
	slot            *slotInfo        // nil: there is none
	all             []*relationInfo  // every table, captured or not, without columns
	relations       []*relationInfo  // captured
	leaves          []leaf           // of them, that are not as their roots
	types           types
	messages        *change.Table // stands for the table of logical messages
}

// setting is a setting's number, 0 where the server has none of that name.
func (srv *server) setting(name string) int64 {
	n, _ := strconv.ParseInt(srv.settings[name], 10, 64)
	return n
}

type publicationInfo struct {
	oid, xmin                                                   uint32 // xmin: of its last ALTER PUBLICATION ... SET
	allTables, insert, update, delete, truncate, viaRoot, owned bool
	narrowed                                                    []string // tables with a row filter or a column list
}

type slotInfo struct {
	plugin, kind, database, walStatus, invalidation string
	pid                                             int // of the session that reads it, 0 for none
	application, client, since                      string
	confirmed                                       uint64
	temporary                                       bool
	failover                                        bool  // copied to standbys (17 on)
	retained                                        int64 // bytes of WAL that it holds
	untouched                                       bool  // nobody has read a transaction from it
}

// holder says who reads the slot.
func (slot *slotInfo) holder() string {
	return fmt.Sprintf("pid %d (application_name %q, from %s, since %s)", slot.pid, slot.application, cmp.Or(slot.client, "the server itself"), cmp.Or(slot.since, "a time that the role may not see"))
}

func (srv *server) relation(oid uint32) *relationInfo {
	for _, r := range srv.relations {
		if r.oid == oid {
			return r
		}
	}
	return nil
}

func (srv *server) replace(info *relationInfo) {
	for i, r := range srv.relations {
		if r.oid == info.oid {
			srv.relations[i] = info
			return
		}
	}
	srv.relations = append(srv.relations, info)
}

// notIn returns the captured tables that a resume point does not know.
func (srv *server) notIn(r *resume) []*relationInfo {
	var out []*relationInfo
	for _, info := range srv.relations {
		if !r.has(info.oid) && !r.loading(info.oid) {
			out = append(out, info)
		}
	}
	return out
}

const serverQuery = `
SELECT current_setting('server_version_num'), current_database(), current_user, current_setting('wal_level'), pg_catalog.pg_is_in_recovery(),
       (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
         OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname IN ('rds_replication', 'rds_superuser') AND pg_catalog.pg_has_role(r.oid, 'MEMBER')),
       pg_catalog.has_database_privilege(current_database(), 'CREATE'),
       current_setting('max_replication_slots'), (SELECT count(*) FROM pg_catalog.pg_replication_slots),
       current_setting('max_wal_senders'), (SELECT count(*) FROM pg_catalog.pg_stat_get_wal_senders()),
       (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user), pg_catalog.pg_backend_pid(),
       (SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database WHERE datname = current_database()),
       (SELECT string_agg(name || '=' || COALESCE(setting, ''), E'\n') FROM pg_catalog.pg_settings WHERE name IN ('max_slot_wal_keep_size', 'logical_decoding_work_mem',
          'wal_sender_timeout', 'idle_replication_slot_timeout', 'synchronous_standby_names', 'synchronized_standby_slots', 'hot_standby_feedback', 'primary_slot_name')),
       (SELECT string_agg(slot_name, ',') FROM pg_catalog.pg_replication_slots WHERE slot_type = 'physical' AND active)`

const publicationQuery = `
SELECT puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, pg_catalog.pg_has_role(pubowner, 'USAGE'), %s, oid, xmin
FROM pg_catalog.pg_publication WHERE pubname = $1`

const narrowedQuery = `
SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_publication_rel pr JOIN pg_catalog.pg_publication p ON p.oid = pr.prpubid
JOIN pg_catalog.pg_class c ON c.oid = pr.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $1 AND (pr.prqual IS NOT NULL OR pr.prattrs IS NOT NULL) ORDER BY 1`

const slotQuery = `
SELECT COALESCE(s.plugin, ''), s.slot_type, COALESCE(s.database, ''), COALESCE(s.wal_status, ''), %s, COALESCE(s.active_pid, 0), COALESCE(s.confirmed_flush_lsn, '0/0'), s.temporary,
       COALESCE(a.application_name, ''), COALESCE(pg_catalog.host(a.client_addr), ''), COALESCE(to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'), ''), COALESCE(st.total_txns = 0 AND st.stats_reset IS NULL, false),
       COALESCE(pg_catalog.pg_wal_lsn_diff(` + walWritten + `, s.restart_lsn), 0)::bigint
FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid LEFT JOIN pg_catalog.pg_stat_replication_slots st ON st.slot_name = s.slot_name
WHERE s.slot_name = $1`

// inspect looks at the server over a connection of its own.
func (s *Source) inspect(ctx context.Context) (*server, error) {
	conn, err := s.connect(ctx, false)
	if err != nil {
		return nil, s.refused(err, false)
	}
	defer closeConn(conn)
	srv := &server{types: types{}}
	rows, err := query(ctx, conn, serverQuery)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	row := rows[0]
	srv.version, _ = strconv.Atoi(row[0])
	srv.database, srv.user, srv.walLevel = row[1], row[2], row[3]
	srv.standby, srv.replication, srv.mayCreate = row[4] == "t", row[5] == "t", row[6] == "t"
	srv.maxSlots, _ = strconv.Atoi(row[7])
	srv.slots, _ = strconv.Atoi(row[8])
	srv.maxSenders, _ = strconv.Atoi(row[9])
	srv.senders, _ = strconv.Atoi(row[10])
	srv.connections, _ = strconv.Atoi(row[11])
	srv.pooled, srv.encoding, srv.settings = row[12] != strconv.FormatUint(uint64(conn.PID()), 10), row[13], map[string]string{}
	for line := range strings.Lines(row[14]) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		srv.settings[name] = value
	}
	srv.standbys = strings.Split(row[15], ",")
	srv.messages = &change.Table{Database: srv.database}
	if srv.version < 140000 || srv.standby && srv.version < standbyVersion {
		return srv, nil // problems says so; the rest may not work there
	}
	if err := s.inspectPublication(ctx, conn, srv); err != nil {
		return nil, err
	}
	if srv.slot, err = readSlot(ctx, conn, srv.version, s.cfg.Slot); err != nil {
		return nil, err
	}
	srv.relations, err = readRelations(ctx, conn, s.cfg.Publication, srv.types, func(r *relationInfo) bool {
		srv.all = append(srv.all, r)
		return r.stored() && s.cfg.captures(r.schema, r.name)
	})
	if err != nil {
		return nil, err
	}
	if err := srv.inspectLeaves(ctx, conn); err != nil {
		return nil, err
	}
	if srv.replication && srv.walLevel == "logical" && srv.senders < srv.maxSenders {
		return srv, s.inspectSystem(ctx, srv)
	}
	return srv, nil
}

// inspectSystem asks a walsender who the server is; what else stands between us and
// replication (pg_hba.conf, a pooler) shows here.
func (s *Source) inspectSystem(ctx context.Context, srv *server) error {
	conn, err := s.connect(ctx, true)
	if err != nil {
		return s.refused(err, true)
	}
	defer closeConn(conn)
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return s.refused(fmt.Errorf("identify system: %w", err), true)
	}
	srv.system, srv.timeline, srv.end = system.SystemID, system.Timeline, uint64(system.XLogPos)
	if system.Timeline > 1 {
		history, err := pglogrepl.TimelineHistory(ctx, conn, system.Timeline)
		if err == nil {
			srv.history = string(history.Content)
		}
	}
	return nil
}

func (s *Source) inspectPublication(ctx context.Context, conn *pgconn.PgConn, srv *server) error {
	generated := "'n'"
	if srv.version >= 180000 {
		generated = "pubgencols"
	}
	rows, err := query(ctx, conn, fmt.Sprintf(publicationQuery, generated), s.cfg.Publication)
	if err != nil {
		return fmt.Errorf("read publication: %w", err)
	}
	if len(rows) == 0 {
		srv.storedGenerated = srv.version >= 180000 // as it will be made
		return nil
	}
	b := func(i int) bool { return rows[0][i] == "t" }
	srv.publication = &publicationInfo{allTables: b(0), insert: b(1), update: b(2), delete: b(3), truncate: b(4), viaRoot: b(5), owned: b(6), oid: parseOID(rows[0][8]), xmin: parseOID(rows[0][9])}
	srv.storedGenerated = rows[0][7] == "s"
	if srv.version >= 150000 {
		if rows, err = query(ctx, conn, narrowedQuery, s.cfg.Publication); err != nil {
			return fmt.Errorf("read publication: %w", err)
		}
		for _, row := range rows {
			srv.publication.narrowed = append(srv.publication.narrowed, row[0])
		}
	}
	return nil
}

// readSlot returns nil when there is no slot of that name.
func readSlot(ctx context.Context, conn *pgconn.PgConn, version int, name string) (*slotInfo, error) {
	invalidation := "'', false"
	if version >= 160000 {
		invalidation = "CASE WHEN s.conflicting THEN 'conflicting' ELSE '' END, false"
	}
	if version >= 170000 {
		invalidation = "COALESCE(s.invalidation_reason, ''), s.failover"
	}
	rows, err := query(ctx, conn, fmt.Sprintf(slotQuery, invalidation), name)
	if err != nil {
		return nil, fmt.Errorf("read slot: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	row := rows[0]
	slot := &slotInfo{plugin: row[0], kind: row[1], database: row[2], walStatus: row[3], invalidation: row[4], failover: row[5] == "t", temporary: row[8] == "t",
		application: row[9], client: row[10], since: row[11], untouched: row[12] == "t"}
	slot.pid, _ = strconv.Atoi(row[6])
	slot.retained, _ = strconv.ParseInt(row[13], 10, 64)
	lsn, err := pglogrepl.ParseLSN(row[7])
	if err != nil {
		return nil, fmt.Errorf("read slot: %w", err)
	}
	slot.confirmed = uint64(lsn)
	return slot, nil
}

// slotPatience is how long a slot may be held by a session of ours that has not
// noticed its end yet.
const slotPatience = 10 * time.Second

// waitForSlot waits while the slot is held by a session that has this source's name.
func (s *Source) waitForSlot(ctx context.Context, srv *server) error {
	if srv.slot == nil || srv.slot.pid == 0 || !s.ours(srv.slot.application) {
		return nil
	}
	s.setState("waiting", fmt.Sprintf("slot %s is held by pid %d", s.cfg.Slot, srv.slot.pid))
	conn, err := s.connect(ctx, false)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	if srv.slot.pid == s.walsender { // its end of a connection that we lost
		if err := exec(ctx, conn, fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d)", s.walsender)); err != nil {
			return fmt.Errorf("end our former session: %w", err)
		}
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(slotPatience); time.Now().Before(end); {
		if srv.slot, err = readSlot(ctx, conn, srv.version, s.cfg.Slot); err != nil || srv.slot == nil || srv.slot.pid == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}
