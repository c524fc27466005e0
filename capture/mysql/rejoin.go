package mysql

import (
	"context"
	"fmt"
	"slices"
)

// Rejoin returns the resume point from which Run reads these tables again before it streams on, and what the server estimates
// of their rows. Tables that were never read are left alone: they are read in any case.
func (s *Source) Rejoin(ctx context.Context, resumeText []byte, tables []string) (resume []byte, rows map[string]int64, err error) {
	r, err := parseResume(resumeText)
	if err != nil || r == nil || s.cfg.Snapshot == SnapshotNever {
		return resumeText, nil, err
	}
	session, err := s.address.connect(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read tables of source %s again: %w", s.name, err)
	}
	defer session.close()
	f, err := s.readFacts(session)
	if err != nil {
		return nil, nil, fmt.Errorf("read tables of source %s again: %w", s.name, err)
	}
	declared, err := declarations(session, f, s.selected)
	if err != nil {
		return nil, nil, fmt.Errorf("read tables of source %s again: %w", s.name, err)
	}
	rows = map[string]int64{}
	for _, d := range declared {
		if _, read := r.Tables[d.qualifiedName()]; read && slices.Contains(tables, d.qualifiedName()) {
			rows[d.qualifiedName()] = d.estimate
		}
	}
	r.keepTables(func(name string) bool { _, again := rows[name]; return !again })
	return r.appendTo(nil), rows, nil
}
