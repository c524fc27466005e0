package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Standby starts a streaming standby of a Postgres server, with a physical slot of the
// name at it. The primary is stopped in the orderly way while its files are copied. From
// 17 on failover slots are copied.
func (s *Server) Standby(ctx context.Context, slot string, opts ...Option) (*Server, error) {
	conf := []string{
		"hot_standby_feedback=on",
		fmt.Sprintf("primary_conninfo=host=127.0.0.1 port=%d user=%s password=%s dbname=postgres application_name=%s", s.Port, postgresUser, password, slot),
		"primary_slot_name=" + slot,
	}
	if p, ok := s.software.(interface{ version() postgres }); ok && p.version().major >= "17" {
		conf = append(conf, "sync_replication_slots=on")
	}
	if err := s.Exec(ctx, "SELECT pg_create_physical_replication_slot('"+slot+"', true)"); err != nil {
		return nil, fmt.Errorf("start standby: %w", err)
	}
	return s.copied(ctx, copied{signal: "standby.signal", settings: conf}, opts)
}

// Clone starts a server on a copy of this one's files, slots included: as one that was
// put back from a cold copy. This one is stopped in the orderly way meanwhile.
func (s *Server) Clone(ctx context.Context, opts ...Option) (*Server, error) {
	return s.copied(ctx, copied{slots: true}, opts)
}

// Promote makes a standby a primary and returns when it can be written to.
func (s *Server) Promote(ctx context.Context) error {
	if err := s.Exec(ctx, "DO $$ BEGIN IF NOT pg_promote(true, 60) THEN RAISE 'not promoted within a minute'; END IF; END $$"); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	return nil
}

func (s *Server) copied(ctx context.Context, c copied, opts []Option) (*Server, error) {
	p, ok := s.software.(interface{ version() postgres })
	if !ok || s.external() {
		return nil, s.notOurs("copy")
	}
	c.postgres, c.from = p.version(), s
	if err := s.Halt(ctx); err != nil {
		return nil, err
	}
	out, err := start(ctx, s.name(), KindPostgres, c, opts)
	if again := s.Restart(ctx); again != nil && err == nil {
		return nil, errors.Join(again, out.Stop(ctx))
	}
	return out, err
}

// copied is a Postgres server on a copy of another one's files.
type copied struct {
	postgres
	from     *Server
	signal   string   // file that makes it a standby
	settings []string // name=value, over those of the other
	slots    bool     // kept
}

func (p postgres) version() postgres { return p }

func (c copied) create(s *Server) error {
	if err := copyTree(c.from.data(), s.data()); err != nil {
		return err
	}
	if !c.slots {
		entries, err := os.ReadDir(filepath.Join(s.data(), "pg_replslot"))
		if err != nil {
			return fmt.Errorf("find slots: %w", err)
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(s.data(), "pg_replslot", e.Name())); err != nil {
				return fmt.Errorf("remove slot: %w", err)
			}
		}
	}
	if c.signal != "" {
		name := filepath.Join(s.data(), c.signal)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return fmt.Errorf("write signal: %w", err)
		}
		if err := giveAway(name); err != nil {
			return err
		}
	}
	var conf strings.Builder
	for _, setting := range append(c.settings, s.options.settings...) {
		name, value, _ := strings.Cut(setting, "=")
		fmt.Fprintf(&conf, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	}
	// Where ALTER SYSTEM writes, so that it holds against what the other was given by it.
	return appendFile(filepath.Join(s.data(), "postgresql.auto.conf"), conf.String())
}
