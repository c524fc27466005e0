package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The wishes of an operator about the snapshot of a table.
const (
	SnapshotStart  = "start"  // read the table again
	SnapshotPause  = "pause"  // read no more of it for now
	SnapshotResume = "resume" // go on
	SnapshotCancel = "cancel" // give up: the table is streamed without what was not read
)

// request is a wish on its way to the session.
type request struct {
	action string
	table  string // schema.table or the label of a table block
	answer chan error
}

// requestPatience is how long a wish waits for a session that streams.
const requestPatience = 15 * time.Second

// Snapshot has the running source act on a wish about a table's snapshot, and returns when
// the resume point has it.
func (s *Source) Snapshot(ctx context.Context, action, table string) error {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	q := &request{action: action, table: table, answer: make(chan error, 1)}
	select {
	case s.request <- q:
	case <-ctx.Done():
		return fmt.Errorf("source %s does not stream at the moment (%s): try again later", s.name, s.Status().State)
	}
	select {
	case err := <-q.answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("source %s has not acted within %s: penstock status shows whether it has", s.name, requestPatience)
	}
}

// Request acts on a wish while the source does not run: it returns the resume point that has it.
func (s *Source) Request(ctx context.Context, resumeText []byte, action, table string) ([]byte, error) {
	r, err := parseResume(resumeText)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("source %s has captured nothing yet: its tables are read when penstock runs", s.name)
	}
	srv, err := s.inspect(ctx)
	if err != nil {
		return nil, err
	}
	if action == SnapshotCancel { // the markers need the stream
		return nil, errors.New("a snapshot is canceled while penstock runs: start it first")
	}
	if _, err := s.wish(srv, r, action, table); err != nil {
		return nil, err
	}
	return r.appendTo(nil), nil
}

// wish changes a resume point as a wish has it, and returns the load that it is about.
func (s *Source) wish(srv *server, r *resume, action, table string) (*load, error) {
	i := slices.IndexFunc(srv.relations, func(info *relationInfo) bool {
		b := s.cfg.block(info.schema, info.name)
		return info.qualified() == table || b != nil && b.Alias == table
	})
	if i < 0 {
		return nil, fmt.Errorf("source %s captures no table %q", s.name, table)
	}
	info := srv.relations[i]
	i = slices.IndexFunc(r.Loads, func(ld *load) bool { return ld.Table == info.oid })
	defer r.changedLoads()
	switch {
	case action == SnapshotStart && i >= 0:
		return nil, fmt.Errorf("table %s is being read already: penstock status shows how far it is; to begin anew: penstock snapshot --cancel %[1]s first", info.qualified())
	case action == SnapshotStart:
		ld := &load{Table: info.oid, ID: snapshotID(r.LSN), Where: s.cfg.where(info)}
		r.Loads = append(r.Loads, ld)
		return ld, nil
	case i < 0:
		return nil, fmt.Errorf("no snapshot of table %s runs", info.qualified())
	case action == SnapshotPause:
		r.Loads[i].Paused = true
	case action == SnapshotResume:
		r.Loads[i].Paused = false
	}
	return r.Loads[i], nil
}

// serve acts on a wish in the session.
func (l *loader) serve(ctx context.Context, q *request) error {
	var refused error
	err := l.do(ctx, 0, func(x uint64) error {
		l.mu.Lock()
		ld, err := l.s.wish(l.srv, l.st.r, q.action, q.table)
		l.mu.Unlock()
		if refused = err; err != nil {
			return nil
		}
		switch q.action {
		case SnapshotStart:
			l.add(ld)
		case SnapshotCancel:
			if err := l.abandon(ld, x); err != nil {
				return err
			}
		default:
			l.mu.Lock()
			ld.since, ld.sinceRows = time.Now(), ld.Rows
			l.announce()
			l.mu.Unlock()
		}
		if q.action != SnapshotCancel {
			l.progress(ld, "done")
		}
		l.setState()
		if err := l.commit(x); err != nil {
			return err
		}
		return output(l.st.out.Flush(l.st.ctx))
	})
	return errors.Join(err, refused)
}
