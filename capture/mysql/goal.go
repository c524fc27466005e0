package mysql

import (
	"context"
	"fmt"

	"github.com/penstock-cdc/penstock/change"
)

// Identity is what the encoder needs to know of the source, right after Describe;
// version is penstock's.
func (s *Source) Identity(version string) change.Source {
	connector := change.MySQL
	if s.mariadb.Load() {
		connector = change.MariaDB
	}
	return change.Source{Connector: connector, Name: s.name, Version: version}
}

// TableAliases maps the aliases of the table blocks to database.table.
func (s *Source) TableAliases() map[string]string {
	out := map[string]string{}
	for _, t := range s.cfg.TableBlocks {
		out[t.Alias] = t.Name
	}
	return out
}

// Goal returns a function that tells whether all that was committed when Goal was
// called is durable in the log, the rows of the snapshot included.
func (s *Source) Goal(ctx context.Context) (func() bool, error) {
	session, err := s.address.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask source %s for its end: %w", s.name, err)
	}
	defer session.close()
	f, err := s.readFacts(session)
	if err != nil {
		return nil, fmt.Errorf("ask source %s for its end: %w", s.name, err)
	}
	at, err := readEnd(session, f)
	if err != nil {
		return nil, fmt.Errorf("ask source %s for its end: %w", s.name, err)
	}
	end, err := commitPosition(at.file, at.pos)
	if err != nil {
		return nil, err
	}
	declared, err := declarations(session, f, s.selected)
	if err != nil {
		return nil, fmt.Errorf("ask source %s for its tables: %w", s.name, err)
	}
	names := make([]string, 0, len(declared))
	for _, d := range declared {
		names = append(names, d.database+"."+d.name)
	}
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.confirmed == nil || len(s.confirmed.missing(names)) > 0 {
			return false
		}
		position, err := commitPosition(s.confirmed.File, s.confirmed.Pos)
		return err == nil && position >= end
	}, nil
}
