package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/mysql"
	"github.com/penstock-cdc/penstock/change"
)

// mysqlDatabase is a database of this run.
type mysqlDatabase struct {
	name, url string
	conn      *client.Conn
}

func newMySQL(ctx context.Context) (*mysqlDatabase, error) {
	server, err := serverURL("mysql")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(server)
	if err != nil {
		return nil, errors.New("the server's URL does not parse") // err would show the password
	}
	password, _ := u.User.Password()
	d := &mysqlDatabase{name: "bench_" + strings.ToLower(rand.Text()), url: server}
	if d.conn, err = client.ConnectWithContext(ctx, u.Host, u.User.Username(), password, "", 0); err != nil {
		return nil, err
	}
	return d, d.exec("CREATE DATABASE "+d.name, "USE "+d.name)
}

func (d *mysqlDatabase) exec(statements ...string) error {
	for _, sql := range statements {
		if _, err := d.conn.Execute(sql); err != nil {
			return fmt.Errorf("%s: %w", strings.Fields(sql)[0], err)
		}
	}
	return nil
}

func (d *mysqlDatabase) drop() error {
	return errors.Join(d.exec("DROP DATABASE "+d.name), d.conn.Close())
}

// The same rows as Postgres has. The procedures make the same transactions: `load_many`
// with three statements each, `load_single` with a statement for each row.
var mysqlTables = []string{
	`CREATE TABLE bench (id BIGINT PRIMARY KEY, email VARCHAR(100), first_name VARCHAR(50), last_name VARCHAR(50),
		mrr DECIMAL(12,2), active TINYINT(1), changed DATETIME(6), ref CHAR(36), note TEXT)`,
	`CREATE TABLE numbers (n INT PRIMARY KEY)`,
	`INSERT INTO numbers WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 50) SELECT n FROM s`,
	strings.ReplaceAll(mysqlInsert, "@base", "0") + " FROM numbers",
	`CREATE PROCEDURE load_many(IN times INT) BEGIN
		DECLARE i INT DEFAULT (SELECT max(id) DIV 50 FROM bench);
		DECLARE last INT DEFAULT i + times;
		WHILE i < last DO
			START TRANSACTION;
			` + strings.ReplaceAll(mysqlInsert, "@base", "i * 50") + ` FROM numbers;
			UPDATE bench SET mrr = mrr + 1, changed = now(6) WHERE id BETWEEN i * 50 - 34 AND i * 50;
			DELETE FROM bench WHERE id BETWEEN i * 50 - 49 AND i * 50 - 35;
			COMMIT;
			SET i = i + 1;
		END WHILE; END`,
	`CREATE PROCEDURE load_single(IN times INT) BEGIN
		DECLARE i INT DEFAULT (SELECT max(id) DIV 50 FROM bench);
		DECLARE last INT DEFAULT i + times;
		DECLARE k INT;
		WHILE i < last DO
			START TRANSACTION;
			SET k = 1;
			WHILE k <= 50 DO
				` + strings.ReplaceAll(mysqlInsert, "@base", "i * 50") + ` FROM numbers WHERE n = k;
				SET k = k + 1;
			END WHILE;
			SET k = 0;
			WHILE k < 35 DO
				UPDATE bench SET mrr = mrr + 1, changed = now(6) WHERE id = i * 50 - k;
				SET k = k + 1;
			END WHILE;
			WHILE k < 50 DO
				DELETE FROM bench WHERE id = i * 50 - k;
				SET k = k + 1;
			END WHILE;
			COMMIT;
			SET i = i + 1;
		END WHILE; END`,
}

const mysqlInsert = `INSERT INTO bench SELECT @base + n, concat('somebody', @base + n, '@example.com'), left(sha2(n, 256), 5), right(sha2(n, 256), 7),
	(@base + n) % 100000 + 0.25, n % 3 > 0, now(6), uuid(), concat(left(sha2(@base + n, 256), 32), ' ', left(sha2(@base - n, 256), 32), ' ', left(sha2((@base) * n, 256), 32), ' customer since 2019, net 30')`

// mysql measures capture into the embedded log, from one position for all runs.
func (s *suite) mysql(ctx context.Context) error {
	const goal = 80_000
	for _, load := range []struct {
		procedure, what, goal string
		rows                  int
	}{
		{"load_many", "MySQL to the embedded log, durable", fmt.Sprintf("≥ %s rows/s", number(goal)), s.rows},
		{"load_single", "The same, each row a statement of its own", "", max(transactionRows, s.rows/4/transactionRows*transactionRows)},
	} {
		s.note("mysql: %s rows by %s, %d runs", number(float64(load.rows)), load.procedure, s.runs)
		rates, err := s.mysqlLoad(ctx, load.procedure, load.rows)
		if err != nil {
			return err
		}
		f := figure{what: load.what, goal: load.goal, measured: number(median(rates)) + " rows/s", detail: list(rates, number)}
		if load.goal != "" {
			f.verdict = atLeast(median(rates), goal)
		}
		s.add(f)
	}
	return nil
}

func (s *suite) mysqlLoad(ctx context.Context, procedure string, rows int) (rates []float64, err error) {
	d, err := newMySQL(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.drop()) }()
	if err := d.exec(mysqlTables...); err != nil {
		return nil, err
	}
	src, err := d.source()
	if err != nil {
		return nil, err
	}
	resume, err := startOf(ctx, src, src.Identity("bench"))
	if err != nil {
		return nil, err
	}
	if err := d.exec(fmt.Sprintf("CALL load_%s(%d)", strings.TrimPrefix(procedure, "load_"), rows/transactionRows)); err != nil {
		return nil, err
	}
	results, err := alternate(s.runs, func() (float64, error) {
		src, err := d.source()
		if err != nil {
			return 0, err
		}
		rate, err := s.profiled("mysql-"+procedure, func() (float64, error) {
			return s.capturedInto(ctx, src, src.Identity("bench"), resume, rows)
		})
		s.note("  %s rows/s", number(rate))
		return rate, err
	})
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

func (d *mysqlDatabase) source() (*mysql.Source, error) {
	return mysql.Open(&mysql.Config{URL: d.url, Tables: []string{d.name + ".bench"}, Snapshot: mysql.SnapshotNever}, "shop", slog.Default())
}

// startOf returns the position at which a source that takes no snapshot begins now.
func startOf(ctx context.Context, src capture.Source, identity change.Source) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := src.Check(ctx, nil); err != nil {
		return nil, err
	}
	log := &resumed{full: cancel}
	if err := capture.Run(ctx, src, log, change.NewEncoder(identity), capture.Options{}); err != nil {
		return nil, err
	}
	return log.resume, nil
}

// resumed is a log that keeps the first position alone.
type resumed struct {
	nowhere
	resume []byte
	full   func()
}

func (r *resumed) Flush(_ context.Context, resume []byte) error {
	if r.resume == nil {
		r.resume = append([]byte(nil), resume...)
		r.full()
	}
	return nil
}
