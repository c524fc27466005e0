package postgres

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
)

// problems returns all that stands in the way of capture, each with what mends it, and
// what may do so later.
func (s *Source) problems(srv *server, r *resume) []*capture.Problem {
	if srv.version < 140000 {
		return []*capture.Problem{{Code: "E0441", What: fmt.Sprintf("the server is Postgres %d", srv.version/10000), Fix: "capture needs 14 or newer: upgrade the server"}}
	}
	const primary = "point the url at the primary, or name all servers and let the primary be chosen: postgres://...@host1,host2/database?target_session_attrs=read-write"
	switch {
	case srv.standby && srv.version < standbyVersion:
		return []*capture.Problem{{Code: "E0442", What: fmt.Sprintf("the server is a standby of Postgres %d, which decodes nothing (16 and later do)", srv.version/10000), Fix: primary}}
	case srv.standby && r.placed() && !r.Standby:
		return []*capture.Problem{{Code: "E0442", What: "the server is a standby, and we have captured from a primary",
			Fix: primary + "; or, to capture from this standby, read the tables again: " + s.reset()}}
	}
	out := append(s.serverProblems(srv), s.tableProblems(srv)...)
	if p := s.positionProblems(srv, r); len(p) > 0 {
		return append(out, p...) // its slot and publication do not compare with ours
	}
	out = append(out, s.slotProblems(srv, r)...)
	out = append(out, s.publicationProblems(srv, r)...)
	if r.placed() && s.cfg.OnMaxRetainedWAL == CeilingStop {
		if p := s.ceilingProblem(srv); p != nil {
			out = append(out, p)
		}
	}
	return append(out, s.settingProblems(srv)...)
}

// serverProblems: can a replication session be had at all?
func (s *Source) serverProblems(srv *server) (out []*capture.Problem) {
	add := func(p capture.Problem) { out = append(out, &p) }
	role := quoteIdentifier(srv.user)
	if srv.walLevel != "logical" {
		add(capture.Problem{Code: "E0443", What: fmt.Sprintf("wal_level is %s, capture needs logical", srv.walLevel), Fix: "ALTER SYSTEM SET wal_level = 'logical'; then restart the server"})
	}
	if !srv.replication {
		add(capture.Problem{Code: "E0446", What: fmt.Sprintf("role %s may not replicate", srv.user), Fix: fmt.Sprintf("ALTER ROLE %s REPLICATION", role)})
	}
	if srv.senders >= srv.maxSenders {
		add(capture.Problem{Code: "E0444", What: fmt.Sprintf("all %d WAL senders are in use", srv.maxSenders), Fix: fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d; then restart the server", srv.maxSenders+10)})
	}
	if srv.slot == nil && srv.slots >= srv.maxSlots {
		add(capture.Problem{Code: "E0445", What: fmt.Sprintf("all %d replication slots are in use", srv.maxSlots),
			Fix: fmt.Sprintf("drop one that is not needed (SELECT slot_name, active FROM pg_replication_slots), or ALTER SYSTEM SET max_replication_slots = %d; then restart the server", srv.maxSlots+10)})
	}
	if srv.connections >= 0 && srv.connections < sessions {
		add(capture.Problem{Code: "E0476", What: fmt.Sprintf("role %s may have %d sessions, capture needs %d", srv.user, srv.connections, sessions), Fix: fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT -1", role)})
	}
	out = append(out, s.standbyProblems(srv)...)
	standbys := srv.settings["synchronous_standby_names"]
	if m := standbyNames.FindStringSubmatch(standbys); m != nil {
		standbys = m[1]
	}
	for name := range strings.SplitSeq(standbys, ",") {
		if name = strings.TrimSpace(name); name == "*" || name != "" && strings.EqualFold(strings.Trim(name, `"`), s.application(forStream)) {
			add(capture.Problem{Code: "E0477", What: fmt.Sprintf("synchronous_standby_names has %s, which is us too: commits would wait for penstock", name),
				Fix: "name the standbys alone, for example ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (standby1)'; SELECT pg_reload_conf()"})
		}
	}
	return out
}

// sessions is how many sessions of ours there may be at once: the stream, the one that
// watches the slot, one that looks things up, and a snapshot's.
const sessions = 4

// standbyNames finds the names in synchronous_standby_names with a method or a number.
var standbyNames = regexp.MustCompile(`(?i)^\s*(?:(?:first|any)\s+)?\d+\s*\((.*)\)\s*$`)

// settingProblems: settings with which capture works, and may not for long.
func (s *Source) settingProblems(srv *server) (out []*capture.Problem) {
	warn := func(code, what, fix string) {
		out = append(out, &capture.Problem{Code: code, What: what, Fix: fix})
	}
	reload := "; SELECT pg_reload_conf()"
	switch keep := srv.setting("max_slot_wal_keep_size"); {
	case keep < 0:
		warn("W0401", "max_slot_wal_keep_size is not set: a slot that nobody reads fills the disk", "bound it by what the disk can spare, for example ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'"+reload)
	case keep < 1024:
		warn("W0402", fmt.Sprintf("max_slot_wal_keep_size is %d MB: a short pause of capture loses the slot", keep), "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'"+reload)
	}
	if memory := srv.setting("logical_decoding_work_mem"); memory < 16<<10 {
		warn("W0403", fmt.Sprintf("logical_decoding_work_mem is %d kB: transactions of that size are written to the server's disk before they are sent", memory), "ALTER SYSTEM SET logical_decoding_work_mem = '64MB'"+reload)
	}
	if idle := srv.setting("idle_replication_slot_timeout"); idle > 0 && idle < 24*60*60 {
		warn("W0404", fmt.Sprintf("idle_replication_slot_timeout is %d s: a pause of capture that is longer loses the slot", idle), "ALTER SYSTEM SET idle_replication_slot_timeout = 0"+reload)
	}
	switch timeout := srv.setting("wal_sender_timeout"); {
	case timeout == 0:
		warn("W0405", "wal_sender_timeout is 0: the server never notices that a reader is gone, and its slot stays in use", "ALTER SYSTEM SET wal_sender_timeout = '60s'"+reload)
	case timeout < 10_000:
		warn("W0406", fmt.Sprintf("wal_sender_timeout is %d ms: a short hold-up of the network or of this machine ends the stream", timeout), "ALTER SYSTEM SET wal_sender_timeout = '60s'"+reload)
	}
	if srv.standby && srv.settings["primary_slot_name"] == "" {
		warn("W0410", "the standby uses no slot of its primary: while it is away the primary removes rows that our slot needs, which loses it",
			"at the primary SELECT pg_create_physical_replication_slot('standby1'); here ALTER SYSTEM SET primary_slot_name = 'standby1'"+reload)
	}
	for name := range strings.SplitSeq(srv.settings["synchronized_standby_slots"], ",") {
		if name = strings.Trim(strings.TrimSpace(name), `"`); name != "" && !slices.Contains(srv.standbys, name) {
			warn("W0409", fmt.Sprintf("synchronized_standby_slots has %s, which no standby uses: nothing is sent until one does", name), "bring the standby back, or ALTER SYSTEM SET synchronized_standby_slots to those that are there"+reload)
		}
	}
	if srv.encoding == "SQL_ASCII" {
		warn("W0407", "the database's encoding is SQL_ASCII: it takes any bytes, the stream only UTF-8, and a row that is not stops capture", "move the data to a database WITH ENCODING 'UTF8'")
	}
	if srv.pooled {
		warn("W0408", "a pooler is in between: the session that answers is not the one that was opened", "point the url at the server itself")
	}
	return out
}

// refused makes a Problem of an error with which no session could be had, where it is
// one that waiting does not mend; replication says of which kind.
func (s *Source) refused(err error, replication bool) error {
	config, parseErr := pgconn.ParseConfig(s.cfg.URL)
	if parseErr != nil {
		return err
	}
	role := quoteIdentifier(config.User)
	var pg *pgconn.PgError
	switch {
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return &capture.Problem{Code: "E0449", What: "the server does not offer TLS, which the url asks for", Fix: "ALTER SYSTEM SET ssl = on, with a certificate; or, on a network that you trust, sslmode=disable in the url"}
	case !errors.As(err, &pg):
		return err
	case pg.Code == "08P01" && strings.Contains(pg.Message, "startup parameter"), replication && pg.Code == "42601":
		return &capture.Problem{Code: "E0448", What: fmt.Sprintf("a pooler is in between and does not replicate (%s)", pg.Message), Fix: "point the url at the server itself"}
	case pg.Code == "28000" && config.TLSConfig == nil && strings.Contains(pg.Message, "no encryption"):
		return &capture.Problem{Code: "E0449", What: fmt.Sprintf("the server may want TLS, which the url does not use (%s)", pg.Message), Fix: "sslmode=require or verify-full in the url; or a line host in pg_hba.conf"}
	case pg.Code == "28000" && replication:
		return &capture.Problem{Code: "E0447", What: fmt.Sprintf("replication sessions are refused (%s)", pg.Message),
			Fix: "an ordinary session was let in: allow replication to the role in the proxy or service in between, or point the url at the server itself"}
	case pg.Code == "42501" && replication:
		return &capture.Problem{Code: "E0446", What: fmt.Sprintf("role %s may not replicate (%s)", config.User, pg.Message), Fix: fmt.Sprintf("ALTER ROLE %s REPLICATION", role)}
	case pg.Code == "42501":
		return &capture.Problem{Code: "E0450", What: fmt.Sprintf("role %s may not connect (%s)", config.User, pg.Message), Fix: fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", quoteIdentifier(config.Database), role)}
	case pg.Code == "3D000":
		return &capture.Problem{Code: "E0450", What: fmt.Sprintf("there is no database %s", config.Database), Fix: "correct its name in the url, or CREATE DATABASE " + quoteIdentifier(config.Database)}
	case strings.HasPrefix(pg.Code, "28"):
		return &capture.Problem{Code: "E0450", What: fmt.Sprintf("%s:%d refuses role %s (%s)", config.Host, config.Port, config.User, pg.Message),
			Fix: fmt.Sprintf("the password in the url; ALTER ROLE %s LOGIN PASSWORD '...'; a line for it in pg_hba.conf", role)}
	}
	return err
}
