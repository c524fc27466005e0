package mysql_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/capture/mysql"
)

// TestSnapshotThenStream: what was there first, then every kind of change, once, with
// ids that rise.
func TestSnapshotThenStream(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec("CREATE TABLE customers (id int PRIMARY KEY, name varchar(20))", "CREATE TABLE skipped (id int)",
				"INSERT INTO customers VALUES (1, 'Ann'), (2, NULL)")
			r := d.run(mysql.Config{Tables: []string{d.name + ".*", "!*.skipped"}}, nil)
			r.wait(t, atLeast(2))
			d.exec(
				"INSERT INTO customers VALUES (3, 'Cid')",
				"INSERT INTO skipped VALUES (1)",
				"UPDATE customers SET name = 'Bo' WHERE id = 2",
				"UPDATE customers SET id = 30 WHERE id = 3",
				"DELETE FROM customers WHERE id = 1",
				"BEGIN", "INSERT INTO customers VALUES (4, 'Dot')", "ROLLBACK",
				"BEGIN", "INSERT INTO customers VALUES (5, 'Eve')", "SAVEPOINT s", "INSERT INTO customers VALUES (6, 'Fay')", "ROLLBACK TO s", "INSERT INTO customers VALUES (7, 'Gil')", "COMMIT",
				"ALTER TABLE customers ADD COLUMN age int unsigned AFTER id",
				"INSERT INTO customers VALUES (8, 4000000000, 'Hal')",
				"TRUNCATE /* all */ customers",
				"INSERT INTO customers VALUES (9, NULL, 'Ida')",
			)
			events := r.wait(t, atLeast(12))
			want := []string{
				"r customers - > 1,Ann", "r customers - > 2,NULL",
				"c customers - > 3,Cid",
				"u customers 2,NULL > 2,Bo",
				"d customers 3,Cid > - newkey", "c customers - > 30,Cid oldkey",
				"d customers 1,Ann > -",
				"c customers - > 5,Eve", "c customers - > 7,Gil",
				"c customers - > 8,4000000000,Hal",
				"t customers - > -",
				"c customers - > 9,NULL,Ida",
			}
			if diff := cmp.Diff(want, lines(events)); diff != "" {
				t.Error(diff)
			}
			for i := 1; i < len(events); i++ {
				if events[i-1].ID.Compare(events[i].ID) >= 0 {
					t.Errorf("ids do not rise: %s, then %s", events[i-1].ID, events[i].ID)
				}
			}
			if diff := cmp.Diff([]string{"snapshot_begin customers", "snapshot_end customers"}, r.markers); diff != "" {
				t.Error(diff)
			}
			resume := r.stop()

			// A restart goes on behind what was committed.
			d.exec("INSERT INTO customers VALUES (10, 1, 'Jim')")
			again := d.run(mysql.Config{Tables: []string{d.name + ".*", "!*.skipped"}}, resume)
			events = again.wait(t, atLeast(1))
			if diff := cmp.Diff([]string{"c customers - > 10,1,Jim"}, lines(events)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
