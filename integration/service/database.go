package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/jackc/pgx/v5/pgconn"
)

// Database makes a database with a name that no other has, and returns its
// URL. It is dropped when the test ends: on Postgres with its replication slots
// and whoever is connected to it.
func Database(tb testing.TB, s *Server) string {
	tb.Helper()
	name := "t_" + strings.ToLower(rand.Text())
	if err := s.Exec(tb.Context(), "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.drop(ctx, name); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	return s.Database(name)
}

// Exec runs SQL, one statement or on Postgres several, as the superuser in the
// server's first database.
func (s *Server) Exec(ctx context.Context, sql string) error {
	switch s.Kind {
	case KindPostgres:
		conn, err := pgconn.Connect(ctx, s.URL)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, sql).ReadAll()
		return errors.Join(err, conn.Close(ctx))
	case KindMySQL, KindMariaDB:
		conn, err := s.connectMySQL(ctx, 10*time.Second)
		if err != nil {
			return err
		}
		_, err = conn.Execute(sql)
		return errors.Join(err, conn.Close())
	}
	return fmt.Errorf("run SQL on %s: it is no database", s.Kind)
}

func (s *Server) connectMySQL(ctx context.Context, limit time.Duration) (*client.Conn, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("read URL of %s: it does not parse", s.Kind)
	}
	secret, _ := u.User.Password()
	return client.ConnectWithContext(ctx, s.Addr, u.User.Username(), secret, "", limit)
}

func (s *Server) drop(ctx context.Context, name string) error {
	if s.Kind != KindPostgres {
		return s.Exec(ctx, "DROP DATABASE IF EXISTS "+name)
	}
	// A slot whose reader was just told to go stays active for a moment.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.Exec(ctx, fmt.Sprintf(`
			SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '%[1]s' AND active;
			SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '%[1]s';`, name))
		if err == nil {
			// Not among others: it cannot run inside a transaction.
			err = s.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		}
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "55006" { // object_in_use
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
