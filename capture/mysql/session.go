package mysql

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// session is one connection for statements. When its context ends, it is closed,
// which ends what runs on it.
type session struct {
	conn *client.Conn
	stop func() bool
}

// dialTimeout bounds how long making a connection may take.
const dialTimeout = 10 * time.Second

// connect opens a session that speaks UTF-8 and UTC and has a plain sql_mode, so that
// text is the same on every server.
func (a *address) connect(ctx context.Context) (*session, error) {
	conn, _, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	network := conn.Conn.Conn // closed alone, as another goroutine may be at work on the rest
	s := &session{conn: conn, stop: context.AfterFunc(ctx, func() { _ = network.Close() })}
	if _, err := s.exec("SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '', SESSION wait_timeout = 28800"); err != nil {
		s.close()
		return nil, fmt.Errorf("set up session: %w", err)
	}
	return s, nil
}

// dial connects, and returns the TLS settings that it did so with.
func (a *address) dial(ctx context.Context) (*client.Conn, *tls.Config, error) {
	cfg, err := a.tlsConfig()
	if err != nil {
		return nil, nil, err
	}
	conn, err := a.dialWith(ctx, cfg)
	if err != nil && a.tls == tlsPreferred && strings.Contains(err.Error(), "does not support TLS") {
		cfg = nil
		conn, err = a.dialWith(ctx, nil)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", a.hostPort(), plain(err))
	}
	return conn, cfg, nil
}

func (a *address) dialWith(ctx context.Context, cfg *tls.Config) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return client.ConnectWithDialer(ctx, "tcp", a.hostPort(), a.user, a.password, "", (&net.Dialer{}).DialContext,
		func(c *client.Conn) error {
			c.SetTLSConfig(cfg)
			return nil
		})
}

func (s *session) close() {
	s.stop()
	_ = s.conn.Close()
}

// exec runs a statement without a result.
func (s *session) exec(sql string) (*gomysql.Result, error) {
	r, err := s.conn.Execute(sql)
	return r, plain(err)
}

// query runs a statement and returns its rows as text; NULL is "".
func (s *session) query(sql string) ([][]string, error) {
	r, err := s.conn.Execute(sql)
	if err != nil {
		return nil, plain(err)
	}
	defer r.Close()
	if r.Resultset == nil {
		return nil, nil
	}
	out := make([][]string, r.RowNumber())
	for i := range out {
		out[i] = make([]string, r.ColumnNumber())
		for j := range out[i] {
			text, err := r.GetString(i, j)
			if err != nil {
				return nil, plain(err)
			}
			out[i][j] = strings.Clone(text) // the driver reuses its memory
		}
	}
	return out, nil
}

// row returns the first row of a query's result, nil for none.
func (s *session) row(sql string) ([]string, error) {
	rows, err := s.query(sql)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

// plain takes the driver's stack traces off an error.
func plain(err error) error {
	for err != nil {
		cause, ok := err.(interface{ Cause() error })
		if !ok || cause.Cause() == nil {
			break
		}
		err = cause.Cause()
	}
	return err
}

// code returns the server's error code, 0 when the error is not the server's.
func code(err error) uint16 {
	var mine *gomysql.MyError
	if errors.As(err, &mine) {
		return mine.Code
	}
	return 0
}

// waitMends tells whether an error is of the kind that ends by itself: the network,
// a server that restarts or is full.
func waitMends(err error) bool {
	var stop *stopError
	if errors.As(err, &stop) {
		return false
	}
	switch c := code(err); c {
	case 0:
		var network net.Error
		return errors.Is(err, gomysql.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
			errors.As(err, &network) || errors.Is(err, net.ErrClosed) || errors.Is(err, errBusy)
	case 1040, 1203, 1226, // too many connections
		1053, 1077, 1079, 1080, 3169, 1927, // shut down, killed
		1129,                   // host blocked after errors: mended by hand, without us
		1158, 1159, 1160, 1161, // network
		1205, 1213, 1317, 3024: // lock wait, deadlock, interrupted
		return true
	}
	return false
}

// stopError is an error that waiting does not mend: something that can't be captured.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

func stopf(format string, args ...any) error { return &stopError{fmt.Errorf(format, args...)} }

// quote writes an identifier for SQL.
func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// literal writes a text for SQL; sql_mode is plain, so backslashes escape.
func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(text) + "'"
}
