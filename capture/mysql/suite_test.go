package mysql_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/mysql"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/integration/service"
)

// TestSuite: what every source promises.
func TestSuite(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			capturetest.Run(t, func(t *testing.T) *capturetest.Harness { return harness(t, server) })
		})
	}
}

func harness(t *testing.T, server string) *capturetest.Harness {
	t.Helper()
	u, err := url.Parse(service.Database(t, service.Shared(t, server)))
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Trim(u.Path, "/")
	u.Path, u.RawQuery = "/", ""
	identity := change.Source{Connector: change.MySQL, Name: "s" + name[:12], Version: "test"}
	if server == "mariadb" {
		identity.Connector = change.MariaDB
	}
	// Statements may come from any goroutine: each call has a connection of its own.
	use := func(tb testing.TB, do func(c *client.Conn) error) {
		tb.Helper()
		password, _ := u.User.Password()
		conn, err := client.Connect(u.Host, u.User.Username(), password, name)
		if err != nil {
			tb.Errorf("connect: %v", err)
			return
		}
		defer func() { _ = conn.Close() }()
		if err := do(conn); err != nil {
			tb.Error(err)
		}
	}
	all := func(c *client.Conn, statements []string) error {
		for _, sql := range statements {
			if _, err := c.Execute(sql); err != nil {
				return fmt.Errorf("%.200s: %w", sql, err)
			}
		}
		return nil
	}
	return &capturetest.Harness{
		Identity: identity, Schema: name, FullBefore: true,
		Open: func(tb testing.TB) capture.Source {
			s, err := mysql.Open(&mysql.Config{URL: u.String(), Tables: []string{name + ".*", "!" + name + ".skip_*"}}, identity.Name, discard())
			if err != nil {
				tb.Fatal(err)
			}
			return s
		},
		Exec: func(tb testing.TB, statements ...string) {
			tb.Helper()
			use(tb, func(c *client.Conn) error { return all(c, statements) })
		},
		Tx: func(tb testing.TB, commit bool, statements ...string) {
			tb.Helper()
			end := "ROLLBACK"
			if commit {
				end = "COMMIT"
			}
			use(tb, func(c *client.Conn) error {
				return all(c, append(append([]string{"BEGIN"}, statements...), end))
			})
		},
		Query: func(tb testing.TB, sql string) (out [][]string) {
			tb.Helper()
			use(tb, func(c *client.Conn) error {
				r, err := c.Execute(sql)
				if err != nil {
					return err
				}
				defer r.Close()
				for i := range r.RowNumber() {
					row := make([]string, r.ColumnNumber())
					for j := range row {
						text, err := r.GetString(i, j)
						if err != nil {
							return err
						}
						row[j] = strings.Clone(text)
					}
					out = append(out, row)
				}
				return nil
			})
			return out
		},
		NoKey: func(string) []string { return nil },
	}
}
