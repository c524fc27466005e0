package mysql_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/capture/mysql"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/integration/service"
)

// TestCompression: transactions compressed by MySQL, events compressed by MariaDB.
func TestCompression(t *testing.T) {
	for server, setting := range map[string]string{"mysql": "SET SESSION binlog_transaction_compression = ON", "mariadb": "SET GLOBAL log_bin_compress = ON"} {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec("CREATE TABLE t (id int PRIMARY KEY, v text)")
			r := d.run(mysql.Config{}, nil)
			r.waitSnapshots(t, 1)
			d.exec(setting)
			if server == "mariadb" {
				t.Cleanup(func() { d.exec("SET GLOBAL log_bin_compress = OFF") })
			}
			d.exec("BEGIN", "INSERT INTO t VALUES (1, REPEAT('a', 5000)), (2, REPEAT('b', 5000))", "UPDATE t SET v = REPEAT('c', 5000) WHERE id = 1", "DELETE FROM t WHERE id = 2", "COMMIT",
				"TRUNCATE TABLE t")
			events := r.wait(t, atLeast(5))
			a, b, c := strings.Repeat("a", 5000), strings.Repeat("b", 5000), strings.Repeat("c", 5000)
			want := []string{"c t - > 1," + a, "c t - > 2," + b, "u t 1," + a + " > 1," + c, "d t 2," + b + " > -", "t t - > -"}
			if diff := cmp.Diff(want, lines(events)); diff != "" {
				t.Error(diff)
			}
			for i := 1; i < len(events); i++ {
				if events[i-1].ID.Compare(events[i].ID) >= 0 {
					t.Errorf("ids do not rise: %s, then %s", events[i-1].ID, events[i].ID)
				}
			}
		})
	}
}

// TestGenerated: generated columns are in the rows, as the snapshot has them, but with
// MariaDB, whose updates lack them.
func TestGenerated(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec("CREATE TABLE t (id int PRIMARY KEY, a int GENERATED ALWAYS AS (id * 2) STORED, b int GENERATED ALWAYS AS (id * 3) VIRTUAL, c int)",
				"INSERT INTO t (id, c) VALUES (1, 7)")
			r := d.run(mysql.Config{}, nil)
			r.wait(t, atLeast(1))
			d.exec("INSERT INTO t (id, c) VALUES (2, 8)", "UPDATE t SET c = 9 WHERE id = 2", "UPDATE t SET id = 5 WHERE id = 2")
			want := []string{"r t - > 1,2,3,7", "c t - > 2,4,6,8", "u t 2,4,6,8 > 2,4,6,9", "d t 2,4,6,9 > - newkey", "c t - > 5,10,15,9 oldkey"}
			if server == "mariadb" {
				want = []string{"r t - > 1,7", "c t - > 2,8", "u t 2,8 > 2,9", "d t 2,9 > - newkey", "c t - > 5,9 oldkey"}
			}
			if diff := cmp.Diff(want, lines(r.wait(t, atLeast(5)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNames: names with quotes and dots, columns left out, a key of one's own.
func TestNames(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec("CREATE TABLE `odd ``na.me` (`i``d` int, `secret` text, `wörd` int)", "INSERT INTO `odd ``na.me` VALUES (1, 'x', 2)")
			cfg := mysql.Config{TableBlocks: []mysql.TableConfig{{Alias: "odd", Name: d.name + ".odd `na.me", Exclude: []string{"SECRET"}, Key: []string{"i`d"}, PII: []string{"wörd"}}}}
			r := d.run(cfg, nil)
			r.wait(t, atLeast(1))
			d.exec("UPDATE `odd ``na.me` SET `i``d` = 3", "TRUNCATE `odd ``na.me`")
			events := r.wait(t, atLeast(4))
			want := []string{"r odd `na.me - > 1,2", "d odd `na.me 1,2 > - newkey", "c odd `na.me - > 3,2 oldkey", "t odd `na.me - > -"}
			if diff := cmp.Diff(want, lines(events)); diff != "" {
				t.Error(diff)
			}
			table := events[0].Table
			if want := change.Topic(strings.SplitN(table.Topic, ".", 2)[0], d.name, "odd `na.me"); table.Topic != want {
				t.Errorf("topic: got %s, want %s", table.Topic, want)
			}
			if !cmp.Equal(table.Key, []int{0}) || !table.Columns[1].PII {
				t.Errorf("got key %v and columns %+v", table.Key, table.Columns)
			}
		})
	}
}

// TestCheck: all that is wrong is named at once, with the SQL that mends it.
func TestCheck(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			s := service.ForTest(t, server, service.Setting("binlog-format", "STATEMENT"), service.Setting("binlog-row-image", "MINIMAL"), service.Setting("binlog-row-metadata", "MINIMAL"))
			d := databaseOn(t, s)
			d.exec("CREATE TABLE t (id int PRIMARY KEY, v int)", "CREATE USER weak@'%' IDENTIFIED BY 'weak'", "GRANT SELECT ON "+d.name+".* TO weak@'%'")
			u := strings.Replace(d.url, d.url[strings.Index(d.url, "//")+2:strings.LastIndex(d.url, "@")], "weak:weak", 1)
			src := open(t, &mysql.Config{URL: u, Tables: []string{d.name + ".*"}, TableBlocks: []mysql.TableConfig{{Alias: "gone", Name: d.name + ".gone"}}})
			err := src.Check(context.Background(), nil)
			if err == nil {
				t.Fatal("nothing is wrong")
			}
			for _, want := range []string{
				"binlog_format is STATEMENT: SET", "binlog_row_image is MINIMAL: SET", "binlog_row_metadata is MINIMAL: SET",
				"GRANT REPLICATION SLAVE ON *.* TO 'weak'@'%'", d.name + ".gone",
			} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in:\n%v", want, err)
				}
			}
		})
	}
}

// TestServerKilled: a server that is killed and comes back is followed again, with
// nothing lost and nothing twice.
func TestServerKilled(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			s := service.ForTest(t, server)
			d := databaseOn(t, s)
			d.exec("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (0)")
			r := d.run(mysql.Config{}, nil)
			r.wait(t, atLeast(1))
			d.exec("INSERT INTO t VALUES (1)")
			r.wait(t, atLeast(2))
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			d.conn = d.connect()
			d.exec("INSERT INTO t VALUES (2)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (3)")
			want := []string{"r t - > 0", "c t - > 1", "c t - > 2", "c t - > 3"}
			if diff := cmp.Diff(want, lines(r.wait(t, atLeast(4)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLogLost: a binlog that was purged or reset is named, never read wrong.
func TestLogLost(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			s := service.ForTest(t, server)
			d := databaseOn(t, s)
			d.exec("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (0)")
			r := d.run(mysql.Config{}, nil)
			r.wait(t, atLeast(1))
			d.exec("INSERT INTO t VALUES (1)")
			r.wait(t, atLeast(2))
			resume := r.stop()
			d.exec("INSERT INTO t VALUES (2)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (3)", "FLUSH BINARY LOGS")
			if server == "mariadb" { // it keeps what a replica may need
				d.exec("SET GLOBAL slave_connections_needed_for_purge = 0")
			}
			// MariaDB keeps a file until the engine has checkpointed what is in it.
			for deadline := time.Now().Add(20 * time.Second); d.text("SHOW BINARY LOGS") == "bin.000001"; {
				if time.Now().After(deadline) {
					t.Fatal("the binlog is not purged")
				}
				d.exec("FLUSH BINARY LOGS", "PURGE BINARY LOGS TO '"+d.lastLog()+"'", "DO SLEEP(0.1)")
			}
			src := open(t, &mysql.Config{URL: d.url, Tables: []string{d.name + ".*"}})
			if err := src.Check(context.Background(), resume); err == nil || !strings.Contains(err.Error(), "purged") {
				t.Errorf("purged: got %v", err)
			}
			if err := src.Run(context.Background(), resume, newRecorder()); err == nil || !strings.Contains(err.Error(), "purged") {
				t.Errorf("purged: run: got %v", err)
			}
			if server == "mysql" {
				d.exec("RESET BINARY LOGS AND GTIDS")
			} else {
				d.exec("RESET MASTER")
			}
			for i := range 40 { // so that the old position is there again
				d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d)", 100+i))
			}
			if err := src.Run(context.Background(), resume, newRecorder()); err == nil || !strings.Contains(err.Error(), "reset") {
				t.Errorf("reset: run: got %v", err)
			}
		})
	}
}

func (d *database) lastLog() string {
	d.tb.Helper()
	r, err := d.conn.Execute("SHOW BINARY LOGS")
	if err != nil {
		d.tb.Fatal(err)
	}
	defer r.Close()
	s, err := r.GetString(r.RowNumber()-1, 0)
	if err != nil {
		d.tb.Fatal(err)
	}
	return strings.Clone(s)
}
