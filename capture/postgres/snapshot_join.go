package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
)

// take puts a table that is captured from now on into the resume point. foreign: it was
// put into the publication by someone else.
func (s *Source) take(r *resume, info *relationInfo, foreign bool) {
	r.noteKey(info.oid, info.identity, info.primary)
	if s.cfg.Snapshot == SnapshotNever {
		r.Tables = append(r.Tables, info.oid)
		return
	}
	r.Loads = append(r.Loads, &load{Table: info.oid, ID: snapshotID(r.LSN), Where: s.cfg.where(info), Foreign: foreign})
	r.changedLoads()
}

// dropLoads gives up loads of tables whose changes were not published all the time. They
// are taken up again as if they were new.
func (s *Source) dropLoads(srv *server, r *resume) {
	r.Loads = slices.DeleteFunc(r.Loads, func(ld *load) bool {
		info := srv.relation(ld.Table)
		if info == nil || r.has(ld.Table) {
			return false
		}
		member := r.Published.Members.of(ld.Table)
		return !info.published || member != 0 && member != info.member
	})
	r.changedLoads()
}

// enlist takes up the published tables that the resume point does not know, and reads those
// without key.
func (s *Source) enlist(ctx context.Context, srv *server, r *resume, out capture.Output) error {
	for _, info := range srv.notIn(r) {
		if info.published {
			s.take(r, info, true)
		}
	}
	var whole []*relationInfo
	for _, info := range srv.relations {
		if !r.loading(info.oid) {
			continue
		}
		m := info.message(srv.storedGenerated)
		t, _ := s.cfg.table(s.name, srv.database, &m, info, srv.types)
		if !uniqueKey(info, t) && !s.paused(r, info.oid) {
			whole = append(whole, info)
		}
	}
	if len(whole) > 0 {
		return s.readWhole(ctx, srv, r, whole, out)
	}
	return nil
}

func (s *Source) paused(r *resume, oid uint32) bool {
	return slices.ContainsFunc(r.Loads, func(ld *load) bool { return ld.Table == oid && ld.Paused })
}

// learn notes that a table is captured.
func (s *Source) learn(oid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.known[oid] = true
}

// lookForTables has the session look for tables that match and are not captured.
func (s *Source) lookForTables() {
	select {
	case s.look <- struct{}{}:
	default:
	}
}

// join takes tables into capture that come to match while the slot is read, those included
// that did when the session began. It also takes requests.
func (l *loader) join(ctx context.Context) {
	l.s.lookForTables()
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-l.s.request:
			q.answer <- l.serve(ctx, q)
		case <-l.s.look:
			err := l.joinTables(ctx)
			if err != nil && ctx.Err() == nil {
				l.s.log.Warn("look for tables that are to be captured", "error", err)
			}
			l.mu.Lock()
			first := l.joining
			l.joining = false
			l.mu.Unlock()
			if first {
				l.s.streaming.Store(true)
				l.setState()
			}
		}
	}
}

func (l *loader) joinTables(ctx context.Context) error {
	if _, missing := l.known(ctx); !missing && l.looking() {
		return nil // the session's own look at the server has found none
	}
	srv, err := l.s.inspect(ctx)
	if err != nil {
		return err
	}
	known, _ := l.known(ctx)
	for _, info := range srv.notIn(known) {
		problem := l.s.joinProblem(srv, info)
		foreign := info.published
		if problem == nil && !foreign {
			problem = l.addToPublication(ctx, srv, info)
		}
		l.s.warn("join "+info.qualified(), "")
		if problem != nil {
			l.s.warn("join "+info.qualified(), fmt.Sprintf("table %s is to be captured but does not join: %v", info.qualified(), problem))
			continue
		}
		if err := l.do(ctx, 0, func(x uint64) error {
			info.published = true
			l.srv.replace(info)
			l.s.learn(info.oid)
			if err := l.st.r.publish(l.srv); err != nil {
				return err
			}
			l.st.r.LSN = max(l.st.r.LSN, x)
			l.s.take(l.st.r, info, foreign)
			if n := len(l.st.r.Loads); n > 0 && l.st.r.Loads[n-1].Table == info.oid {
				l.add(l.st.r.Loads[n-1])
				l.progress(l.st.r.Loads[n-1], "done")
			}
			l.setState()
			return l.commit(x)
		}); err != nil {
			return err
		}
		l.s.log.Info("table joins", "table", info.qualified())
	}
	return nil
}

// looking tells whether the tables that were there at the start are still being looked at.
func (l *loader) looking() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.joining
}

// known returns which tables are captured or loaded now, and whether the session knows of
// others that are to be.
func (l *loader) known(ctx context.Context) (out *resume, missing bool) {
	out = &resume{}
	_ = l.do(ctx, 0, func(uint64) error { // at its end nothing asks any more
		out.Tables = slices.Clone(l.st.r.Tables)
		out.Loads = slices.Clone(l.st.r.Loads)
		missing = len(l.srv.notIn(l.st.r)) > 0
		return nil
	})
	return out, missing
}

// joinProblem tells why a table can't be captured as it is.
func (s *Source) joinProblem(srv *server, info *relationInfo) error {
	only := *srv
	only.relations = []*relationInfo{info}
	only.all = nil
	cfg := *s.cfg
	cfg.Tables, cfg.TableBlocks = nil, nil
	for _, b := range s.cfg.TableBlocks {
		if b.Name == info.qualified() {
			cfg.TableBlocks = append(cfg.TableBlocks, b)
			only.all = []*relationInfo{info}
		}
	}
	one := &Source{cfg: &cfg, name: s.name}
	problems := one.tableProblems(&only)
	return join(append(problems, one.publicationProblems(&only, nil)...))
}

// addToPublication adds a table to the publication while nobody writes to it: what a transaction
// that does has written before would not be in the stream, and on servers without the fix
// of 2025 (14.18, 15.13, 16.9, 17.5) what it and others write later would not either.
func (l *loader) addToPublication(ctx context.Context, srv *server, info *relationInfo) error {
	conn, err := l.s.connect(ctx, false)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	statement := fmt.Sprintf("BEGIN; SET LOCAL lock_timeout = '500ms'; LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE; ALTER PUBLICATION %s ADD TABLE %[1]s; COMMIT", info.sql(), quoteIdentifier(l.s.cfg.Publication))
	err = exec(ctx, conn, statement)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "55P03" { // lock_not_available
		return errors.New("it waits until no transaction that has written to it is open")
	}
	if err != nil {
		return err
	}
	return l.s.readMembers(ctx, conn, srv)
}

// awaitWriters waits until the transactions have ended that write to a table now.
func (l *loader) awaitWriters(ctx context.Context, rd *reader, oid uint32) error {
	if err := rd.open(ctx); err != nil {
		return err
	}
	if l.srv.standby {
		return l.awaitTransactions(ctx, rd)
	}
	const writers = `SELECT DISTINCT virtualtransaction FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND granted
 AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
 AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AND (relation = %[1]s OR relation IN (SELECT relid FROM pg_catalog.pg_partition_tree(%[1]s)))`
	sql := fmt.Sprintf(writers, strconv.FormatUint(uint64(oid), 10))
	first, err := l.query(rd, sql)
	if err != nil {
		return err
	}
	left := map[string]bool{}
	for _, row := range first {
		left[row[0]] = true
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for len(left) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		rows, err := l.query(rd, sql)
		if err != nil {
			return err
		}
		now := map[string]bool{}
		for _, row := range rows {
			now[row[0]] = left[row[0]]
		}
		for v := range left {
			if !now[v] {
				delete(left, v)
			}
		}
	}
	return nil
}
