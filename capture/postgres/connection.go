package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// sessionSettings make the text of values the same whatever the server, the role or
// the url set: in the stream and in the snapshot.
var sessionSettings = map[string]string{
	"client_encoding": "UTF8", "datestyle": "ISO", "timezone": "UTC", "intervalstyle": "iso_8601", "extra_float_digits": "3",
	"bytea_output": "hex", "search_path": "pg_catalog", "quote_all_identifiers": "off",
	"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0",
	// A policy that hides rows from us is an error, not a snapshot that lacks them.
	"row_security": "off",
}

const connectTimeout = 10 * time.Second

// connect opens a session; replication makes it a walsender's.
func (s *Source) connect(ctx context.Context, replication bool) (*pgconn.PgConn, error) {
	return s.connectFor(ctx, replication, "")
}

// connectFor opens a session that has its purpose in its application_name.
func (s *Source) connectFor(ctx context.Context, replication bool, purpose string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(s.cfg.URL)
	if err != nil {
		return nil, errors.New("connect: the url is not a Postgres URL") // the driver's message may quote it
	}
	for name, value := range sessionSettings {
		config.RuntimeParams[name] = value
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = s.application(purpose)
	}
	if config.ValidateConnect == nil && manyHosts(config) { // which of them can be written to changes with a failover
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if replication {
		config.RuntimeParams["replication"] = "database"
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s:%d database %q as %q: %w", config.Host, config.Port, config.Database, config.User, withoutWrapping(err))
	}
	if major(conn) >= 17 { // not among sessionSettings, for older servers refuse what they do not know
		if err := exec(ctx, conn, "SET transaction_timeout = 0"); err != nil {
			closeConn(conn)
			return nil, fmt.Errorf("set transaction_timeout: %w", err)
		}
	}
	return conn, nil
}

// manyHosts tells whether the url names several servers, and not one with and without TLS.
func manyHosts(config *pgconn.Config) bool {
	return slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != config.Host || f.Port != config.Port })
}

// major is the server's major version, 0 where it does not say.
func major(conn *pgconn.PgConn) int {
	digits, _, _ := strings.Cut(conn.ParameterStatus("server_version"), ".")
	n, _ := strconv.Atoi(digits)
	return n
}

// Purposes of sessions that last.
const (
	forStream = "stream"
	forWatch  = "watch"
)

// application is the name that our sessions have in pg_stat_activity, unless the url sets one.
func (s *Source) application(purpose string) string {
	if config, err := pgconn.ParseConfig(s.cfg.URL); err == nil && config.RuntimeParams["application_name"] != "" {
		return config.RuntimeParams["application_name"]
	}
	name := "penstock " + s.name
	if purpose != "" {
		name += " " + purpose
	}
	return name[:min(len(name), 63)]
}

// ours tells whether a session has the name that our stream has.
func (s *Source) ours(application string) bool {
	return application == s.application(forStream) || application == s.application("")
}

// withoutWrapping takes off the driver's own account of where it connected to.
func withoutWrapping(err error) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) && connect.Unwrap() != nil {
		return connect.Unwrap()
	}
	return err
}

func closeConn(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // what is lost with it is read again
}

// query returns a statement's rows as text, NULL as "".
func query(ctx context.Context, conn *pgconn.PgConn, sql string, args ...string) ([][]string, error) {
	params := make([][]byte, len(args))
	for i, a := range args {
		params[i] = []byte(a)
	}
	result := conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	rows := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		rows[i] = make([]string, len(row))
		for j, v := range row {
			rows[i][j] = string(v)
		}
	}
	return rows, nil
}

// exec runs statements that take no arguments.
func exec(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := conn.Exec(ctx, sql).ReadAll()
	return err
}

func quoteIdentifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteLiteral(s string) string {
	if strings.Contains(s, `\`) {
		return ` E'` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `'`, `''`) + `'`
	}
	return `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
}

// errEnded: the server ended the stream in good order, as it does when it shuts down.
var errEnded = errors.New("the server ended the stream")

// errStandby: the server that we streamed from is a standby now, or another one answers
// that is not promoted yet.
var errStandby = errors.New("the server is a standby: waiting for its promotion, or for the url to lead to the primary")

// lost tells whether an error means that the connection or the server went away, so
// that connecting again may help.
func lost(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch {
		case strings.HasPrefix(pg.Code, "08"), // connection exception
			strings.HasPrefix(pg.Code, "57P"), // shut down, crashed, starting up
			pg.Code == "53300",                // too many connections
			pg.Code == "55006",                // the slot is held by a session of ours that is about to end
			pg.Code == "57014",                // canceled
			pg.Code == "40001",                // what a standby replays conflicts with what is read there
			// Decoding on a standby can fail so for a table that was made a moment ago.
			pg.Code == "XX000" && strings.Contains(pg.Message, "could not map filenumber"):
			return true
		}
		return errors.Is(err, pgconn.ErrReadOnlyConnection) // of one host, and refused by another
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, errStandby) || errors.Is(err, errReplay) || errors.Is(err, errPromoted) || errors.Is(err, errPublication) || errors.Is(err, pgconn.ErrReadOnlyConnection) || errors.Is(err, errEnded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) || pgconn.SafeToRetry(err)
}
