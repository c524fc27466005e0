package survival

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/jackc/pgx/v5/pgconn"
)

// session is a connection of the workload to the database, past the proxy.
type session interface {
	exec(sql string) error
	// query returns rows as text; NULL is "\x00".
	query(sql string) ([][]string, error)
	close()
}

const null = "\x00"

// connect connects to a database by its URL.
func connect(ctx context.Context, to string) (session, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "mysql" {
		password, _ := u.User.Password()
		conn, err := client.ConnectWithContext(ctx, u.Host, u.User.Username(), password, strings.Trim(u.Path, "/"), 10*time.Second)
		if err != nil {
			return nil, err
		}
		return mysqlSession{conn}, nil
	}
	conn, err := pgconn.Connect(ctx, to)
	if err != nil {
		return nil, err
	}
	return postgresSession{conn}, nil
}

// patience is how long one statement may take.
const patience = 20 * time.Second

type postgresSession struct{ conn *pgconn.PgConn }

func (s postgresSession) exec(sql string) error {
	_, err := s.query(sql)
	return err
}

func (s postgresSession) query(sql string) ([][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	results, err := s.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var out [][]string
	for _, r := range results {
		for _, row := range r.Rows {
			values := make([]string, len(row))
			for i, v := range row {
				values[i] = string(v)
				if v == nil {
					values[i] = null
				}
			}
			out = append(out, values)
		}
	}
	return out, nil
}

func (s postgresSession) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
}

type mysqlSession struct{ conn *client.Conn }

func (s mysqlSession) exec(sql string) error {
	_, err := s.query(sql)
	return err
}

func (s mysqlSession) query(sql string) ([][]string, error) {
	if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	r, err := s.conn.Execute(sql)
	if err != nil || r.Resultset == nil {
		return nil, err
	}
	var out [][]string
	for i := range r.RowNumber() {
		values := make([]string, r.ColumnNumber())
		for j := range values {
			if values[j], err = r.GetString(i, j); err != nil {
				return nil, err
			}
			if isNull, err := r.IsNull(i, j); err != nil {
				return nil, err
			} else if isNull {
				values[j] = null
			}
		}
		out = append(out, values)
	}
	return out, nil
}

func (s mysqlSession) close() { _ = s.conn.Close() }

// tables are the statements that make the round's table.
func tables(u *url.URL, full bool) []string {
	text := "text"
	if u.Scheme == "mysql" {
		text = "mediumtext"
	}
	out := []string{fmt.Sprintf(`CREATE TABLE items (id bigint PRIMARY KEY, version bigint NOT NULL, email varchar(100), name varchar(100) NOT NULL,
		plan varchar(20), active smallint NOT NULL, note %s NOT NULL, extra %s NOT NULL)`, text, text)}
	if full && u.Scheme != "mysql" {
		out = append(out, `ALTER TABLE items REPLICA IDENTITY FULL`)
	}
	return out
}

// schema is the schema of the round's table, as it stands in topics.
func schema(u *url.URL) string {
	if u.Scheme == "mysql" {
		return strings.Trim(u.Path, "/")
	}
	return "public"
}
