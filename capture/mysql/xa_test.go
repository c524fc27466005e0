package mysql_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/capture/mysql"
)

// TestXA: a transaction committed in one phase is captured; one that is prepared for
// later stops capture by name, before any of its rows is seen.
func TestXA(t *testing.T) {
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			d := newDatabase(t, server)
			d.exec("CREATE TABLE t (id int PRIMARY KEY)")
			r := d.run(mysql.Config{}, nil)
			r.waitSnapshots(t, 1)
			d.exec("XA START 'a'", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)", "XA END 'a'", "XA COMMIT 'a' ONE PHASE", "INSERT INTO t VALUES (3)")
			want := []string{"c t - > 1", "c t - > 2", "c t - > 3"}
			if diff := cmp.Diff(want, lines(r.wait(t, atLeast(3)))); diff != "" {
				t.Error(diff)
			}
			d.exec("XA START 'b'", "INSERT INTO t VALUES (4)", "XA END 'b'", "XA PREPARE 'b'", "XA ROLLBACK 'b'")
			var err error
			select {
			case err = <-r.err:
			case <-time.After(20 * time.Second):
				t.Fatalf("capture goes on with %v", lines(r.events))
			}
			r.err = nil
			if err == nil || !strings.Contains(err.Error(), "XA transaction prepared changes of captured table") {
				t.Errorf("got %v", err)
			}
			if got := len(r.pending); got != 0 {
				t.Errorf("%d rows of it were seen", got)
			}
		})
	}
}
