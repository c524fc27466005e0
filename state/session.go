package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// session is one connection with its prepared statements.
type session struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt

	commits, nextCheck int
	walPages           int
}

func newSession(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &session{conn: conn, statements: map[string]*sql.Stmt{}}, nil
}

func (q *session) close() error {
	var errs []error
	for _, s := range q.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, q.conn.Close())...)
}

// within runs f between begin and COMMIT, or ROLLBACK when it returns an error or panics.
func (q *session) within(ctx context.Context, begin string, f func() error) (err error) {
	if err := q.exec(begin); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_, _ = q.conn.ExecContext(ctx, "ROLLBACK")
		}
	}()
	if err := f(); err != nil {
		return err
	}
	if err := q.exec("COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	q.commits++
	done = true
	return nil
}

// Statements get no context that ends: the driver would start a goroutine for each to watch it.

func (q *session) prepare(text string) (*sql.Stmt, error) {
	if s := q.statements[text]; s != nil {
		return s, nil
	}
	s, err := q.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	q.statements[text] = s
	return s, nil
}

func (q *session) exec(text string, args ...any) error {
	s, err := q.prepare(text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background(), args...)
	return err
}

func (q *session) result(text string, args ...any) (sql.Result, error) {
	s, err := q.prepare(text)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(context.Background(), args...)
}

// rows runs a query and hands each row's scanner to f. Raw bytes that f scans are valid until it returns.
func (q *session) rows(text string, args []any, f func(scan func(...any) error) error) error {
	s, err := q.prepare(text)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
