package postgres

import (
	"context"
	"fmt"
	"slices"
)

// Rejoin returns the resume point from which Run reads these tables again before it streams on, and what the server estimates
// of their rows. Tables that were never read are left alone: they are read in any case.
func (s *Source) Rejoin(ctx context.Context, resumeText []byte, tables []string) (resume []byte, rows map[string]int64, err error) {
	r, err := parseResume(resumeText)
	if err != nil || r == nil || r.Snapshot != snapshotDone || s.cfg.Snapshot == SnapshotNever {
		return resumeText, nil, err
	}
	srv, err := s.inspect(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read tables of source %s again: %w", s.name, err)
	}
	rows = map[string]int64{}
	for _, info := range srv.relations {
		m := info.message(srv.storedGenerated)
		t, _ := s.cfg.table(s.name, srv.database, &m, info, srv.types)
		if name := t.QualifiedName(); slices.Contains(tables, name) && r.has(info.oid) {
			rows[name] = max(0, info.rows)
			r.Tables = slices.DeleteFunc(r.Tables, func(oid uint32) bool { return oid == info.oid })
		}
	}
	return r.appendTo(nil), rows, nil
}
