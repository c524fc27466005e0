package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// problems returns all that stands in the way of capture, each with what mends it.
func (s *Source) problems(srv *server, r *resume) []error {
	var out []error
	add := func(format string, args ...any) { out = append(out, fmt.Errorf(format, args...)) }
	if srv.version < 140000 {
		add("the server is Postgres %d: capture needs 14 or newer", srv.version/10000)
		return out
	}
	if srv.standby {
		add("the server is a standby: capture from one is not there yet; point the url at the primary")
		return out
	}
	if srv.walLevel != "logical" {
		add("wal_level is %s, capture needs logical: ALTER SYSTEM SET wal_level = 'logical'; then restart the server", srv.walLevel)
	}
	if !srv.replication {
		add("role %s may not replicate: ALTER ROLE %s REPLICATION", srv.user, quoteIdentifier(srv.user))
	}
	if srv.senders >= srv.maxSenders {
		add("all %d WAL senders are in use: ALTER SYSTEM SET max_wal_senders = %d; then restart the server", srv.maxSenders, srv.maxSenders+10)
	}
	if srv.slot == nil && srv.slots >= srv.maxSlots {
		add("all %d replication slots are in use: drop one that is not needed (SELECT slot_name, active FROM pg_replication_slots), or ALTER SYSTEM SET max_replication_slots = %d; then restart the server", srv.maxSlots, srv.maxSlots+10)
	}
	out = append(out, s.positionProblems(srv, r)...)
	out = append(out, s.slotProblems(srv, r)...)
	out = append(out, s.tableProblems(srv, r)...)
	return append(out, s.publicationProblems(srv, r)...)
}

// positionProblems: is this the server that the position is of?
func (s *Source) positionProblems(srv *server, r *resume) (out []error) {
	if r == nil || srv.system == "" {
		return nil
	}
	if srv.system != r.System {
		return []error{fmt.Errorf("this is another server: the position was read from system %s, this is system %s: point the url back at the first, or take this one as a new source: penstock source reset %s (its tables are read again)", r.System, srv.system, s.name)}
	}
	if r.Timeline != srv.timeline && r.Snapshot == snapshotDone {
		if left, known := leftTimeline(srv.history, r.Timeline); !known || left < r.LSN {
			at := "an unknown point"
			if known {
				at = lsnText(left)
			}
			return []error{fmt.Errorf("the server is on timeline %d, which left timeline %d at %s, before our position %s: it was restored or promoted without what we have already captured; to go on with its data: penstock source reset %s", srv.timeline, r.Timeline, at, lsnText(r.LSN), s.name)}
		}
	}
	if r.Snapshot == snapshotDone && srv.timeline == r.Timeline && srv.end != 0 && srv.end < r.LSN {
		return []error{fmt.Errorf("the server's WAL ends at %s, before our position %s: it lost what it had already sent, or was restored from a copy; to go on with its data: penstock source reset %s", lsnText(srv.end), lsnText(r.LSN), s.name)}
	}
	return nil
}

// leftTimeline finds in a timeline history file where a timeline was left.
func leftTimeline(history string, timeline int32) (lsn uint64, known bool) {
	for line := range strings.Lines(history) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != strconv.FormatInt(int64(timeline), 10) {
			continue
		}
		high, low, _ := strings.Cut(f[1], "/")
		h, err1 := strconv.ParseUint(high, 16, 32)
		l, err2 := strconv.ParseUint(low, 16, 32)
		return h<<32 | l, errors.Join(err1, err2) == nil
	}
	return 0, false
}

func (s *Source) slotProblems(srv *server, r *resume) (out []error) {
	add := func(format string, args ...any) { out = append(out, fmt.Errorf(format, args...)) }
	slot, name := srv.slot, s.cfg.Slot
	drop := "SELECT pg_drop_replication_slot(" + quoteLiteral(name) + ")"
	if slot == nil {
		if r != nil && r.Snapshot == snapshotDone && (srv.system == "" || srv.system == r.System) {
			add("slot %s is gone: changes after %s that the server no longer has are lost; read the tables again, which finds deletions too: penstock source reset %s", name, lsnText(r.LSN), s.name)
		}
		return out
	}
	switch {
	case slot.kind != "logical":
		add("slot %s is a physical one: set slot to another name", name)
		return out
	case slot.plugin != "pgoutput":
		add("slot %s has plugin %s, capture needs pgoutput: set slot to another name, or %s", name, slot.plugin, drop)
		return out
	case slot.database != srv.database:
		add("slot %s is of database %s, the url names %s: set slot to another name", name, slot.database, srv.database)
		return out
	}
	taken := func(format string, args ...any) {
		out = append(out, &capture.TakenError{Err: fmt.Errorf(format, args...)})
	}
	if slot.pid != 0 {
		taken("slot %s is in use by pid %d (application_name %q): stop that process, set slot to another name, or SELECT pg_terminate_backend(%d)", name, slot.pid, slot.application, slot.pid)
	}
	switch {
	case slot.walStatus == "lost" || slot.invalidation != "":
		reason := slot.invalidation
		if reason == "" {
			reason = "wal_removed"
		}
		add("slot %s is lost (%s): the server removed changes before they were captured; %s, then read the tables again: penstock source reset %s; a larger max_slot_wal_keep_size keeps it from happening again", name, reason, drop, s.name)
	case r == nil && s.cfg.Snapshot == SnapshotInitial:
		taken("slot %s exists, but this project has no position for it: if no other penstock uses it, %s (or penstock source drop %s), else set slot to another name", name, drop, s.name)
	case r != nil && r.Snapshot == snapshotDone && slot.confirmed > r.LSN:
		add("slot %s is ahead of us: it was read up to %s, our log ends at %s; what is between was given to another reader, or our log is an old copy; read the tables again: penstock source reset %s", name, lsnText(slot.confirmed), lsnText(r.LSN), s.name)
	}
	return out
}

func (s *Source) tableProblems(srv *server, r *resume) (out []error) {
	add := func(format string, args ...any) { out = append(out, fmt.Errorf(format, args...)) }
	names := make([]string, len(srv.all))
	for i, info := range srv.all {
		names[i] = info.qualified()
	}
	for _, b := range s.cfg.TableBlocks {
		if !slices.Contains(names, b.Name) {
			add("table %q: there is no table %s%s", b.Alias, b.Name, didYouMean(b.Name, names))
		}
	}
	for _, p := range s.cfg.Tables {
		if !strings.HasPrefix(p, "!") && !slices.ContainsFunc(srv.all, func(i *relationInfo) bool { return capture.MatchTable(p, i.schema, i.name) }) {
			add("tables: %q matches no table of database %s%s", p, srv.database, didYouMean(p, names))
		}
	}
	topics := map[string]string{}
	for _, info := range srv.relations {
		name := info.qualified()
		if info.persistence == 'u' {
			add("table %s is unlogged: its changes are not in the WAL: ALTER TABLE %s SET LOGGED, or exclude it (tables = [..., \"!%s\"])", name, info.sql(), name)
			continue
		}
		if !info.mayRead {
			add("role %s may not read table %s: GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %[1]s", quoteIdentifier(srv.user), name, quoteIdentifier(info.schema), quoteIdentifier(srv.user), info.sql())
		}
		m := info.message(srv.storedGenerated)
		t, _ := s.cfg.table(s.name, srv.database, &m, info, srv.types)
		if other, taken := topics[t.Topic]; taken {
			add("tables %s and %s would share topic %s: give one of them another in its table block: topic = \"...\"", other, name, t.Topic)
		}
		topics[t.Topic] = name
		out = append(out, identityProblem(info, name)...)
		out = append(out, s.blockProblems(info, t)...)
	}
	return out
}

// identityProblem: without a replica identity Postgres refuses updates and deletes of
// a published table, so that publishing it would break the application.
func identityProblem(info *relationInfo, name string) []error {
	switch {
	case info.identity == 'n':
		return []error{fmt.Errorf("table %s has replica identity nothing: its updates and deletes would be refused once it is published: ALTER TABLE %s REPLICA IDENTITY DEFAULT (with a primary key) or FULL, or exclude it (tables = [..., \"!%s\"])", name, info.sql(), name)}
	case info.identity == 'd' && len(info.primary) == 0:
		return []error{fmt.Errorf("table %s has no primary key: its updates and deletes would be refused once it is published: ALTER TABLE %s ADD PRIMARY KEY (...), or ALTER TABLE %[2]s REPLICA IDENTITY FULL, or exclude it (tables = [..., \"!%[1]s\"])", name, info.sql())}
	case info.identity == 'i' && len(info.index) == 0:
		return []error{fmt.Errorf("the index that was the replica identity of table %s is gone: ALTER TABLE %s REPLICA IDENTITY DEFAULT", name, info.sql())}
	}
	return nil
}

func (s *Source) blockProblems(info *relationInfo, t *change.Table) (out []error) {
	b := s.cfg.block(info.schema, info.name)
	if b == nil {
		return nil
	}
	names := make([]string, len(info.columns))
	for i, c := range info.columns {
		names[i] = c.name
	}
	for _, list := range []struct {
		setting string
		columns []string
	}{{"columns", b.Columns}, {"exclude", b.Exclude}, {"key", b.Key}, {"pii", b.PII}} {
		for _, c := range list.columns {
			if !slices.Contains(names, c) {
				out = append(out, fmt.Errorf("table %q: %s names column %q, which %s does not have%s", b.Alias, list.setting, c, b.Name, didYouMean(c, names)))
			}
		}
	}
	for _, c := range info.primary {
		if t.Column(c) < 0 {
			out = append(out, fmt.Errorf("table %q: column %q is part of the primary key and cannot be left out", b.Alias, c))
		}
	}
	if len(out) == 0 && len(b.Key) > 0 && len(t.Key) == 0 {
		out = append(out, fmt.Errorf("table %q: key %s is not in the replica identity, so deletes would come without it: ALTER TABLE %s REPLICA IDENTITY FULL", b.Alias, strings.Join(b.Key, ", "), info.sql()))
	}
	return out
}

func (s *Source) publicationProblems(srv *server, r *resume) (out []error) {
	add := func(format string, args ...any) { out = append(out, fmt.Errorf(format, args...)) }
	p, name := srv.publication, quoteIdentifier(s.cfg.Publication)
	var missing []*relationInfo
	for _, info := range srv.relations {
		if !info.published && info.persistence == 'p' {
			missing = append(missing, info)
		}
	}
	if p == nil {
		sql := s.createPublication(srv)
		if r != nil && r.Snapshot == snapshotDone {
			add("publication %s is gone: the server cannot decode what was written while it was not there; %s, then read the tables again: penstock source reset %s", s.cfg.Publication, sql, s.name)
			return out
		}
		if !srv.mayCreate {
			add("publication %s is missing and role %s may not make it: GRANT CREATE ON DATABASE %s TO %s, or as a superuser: %s", s.cfg.Publication, srv.user, quoteIdentifier(srv.database), quoteIdentifier(srv.user), sql)
		}
		for _, info := range missing {
			if !info.owned {
				add("role %s does not own table %s and so cannot publish it: as its owner %s: %s", srv.user, info.qualified(), info.owner, sql)
			}
		}
		return out
	}
	if !p.insert || !p.update || !p.delete || !p.truncate {
		add("publication %s does not publish everything: ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate')", s.cfg.Publication, name)
	}
	for _, table := range p.narrowed {
		add("publication %s publishes %s with a row filter or a column list: ALTER PUBLICATION %s DROP TABLE %s; penstock adds it whole (columns are left out with exclude in its table block)", s.cfg.Publication, table, name, table)
	}
	if !p.viaRoot && slices.ContainsFunc(srv.relations, func(i *relationInfo) bool { return i.partitioned }) {
		add("publication %s publishes partitions one by one: ALTER PUBLICATION %s SET (publish_via_partition_root = true)", s.cfg.Publication, name)
	}
	for _, info := range missing {
		sql := fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s", name, info.sql())
		switch {
		case r != nil && r.has(info.oid):
			add("table %s was taken out of publication %s: its changes since then are lost; %s, then read it again: penstock source reset %s", info.qualified(), s.cfg.Publication, sql, s.name)
		case !p.owned || !info.owned:
			add("table %s is not in publication %s and role %s may not add it: as the owner of both: %s", info.qualified(), s.cfg.Publication, srv.user, sql)
		}
	}
	return out
}

// didYouMean suggests the nearest of some names, if one is near.
func didYouMean(name string, names []string) string {
	best, distance := "", max(2, len(name)/4)+1
	for _, n := range names {
		if d := editDistance(name, n); d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance counts the letters to insert, drop or replace.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
