package capturetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/change"
)

// Run runs the suite; open makes a fresh database for each test.
func Run(t *testing.T, open func(t *testing.T) *Harness) {
	tests := []struct {
		name string
		test func(*testing.T, *Harness)
	}{
		{"Changes", testChanges},
		{"KeyChange", testKeyChange},
		{"CompositeKey", testCompositeKey},
		{"NoKey", testNoKey},
		{"Truncate", testTruncate},
		{"Rollback", testRollback},
		{"MultiRow", testMultiRow},
		{"LargeRows", testLargeRows},
		{"ExcludedTable", testExcludedTable},
		{"Snapshot", testSnapshot},
		{"SnapshotUnderLoad", testSnapshotUnderLoad},
		{"SnapshotCrash", testSnapshotCrash},
		{"RestartEverywhere", testRestartEverywhere},
		{"CrashUnderLoad", testCrashUnderLoad},
		{"LogFails", testLogFails},
		{"Confirm", testConfirm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

const itemColumns = "(id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(200), qty INT, price DECIMAL(12,2), note TEXT)"

func (h *Harness) create(t *testing.T, tables ...string) {
	t.Helper()
	for _, name := range tables {
		h.Exec(t, "CREATE TABLE "+h.name(name)+" "+itemColumns)
	}
}

// show is one event as a line: op, key or row, and what moved.
func show(e *change.Event) string {
	line := e.Op.String()
	row := func(label string, r change.Row) {
		if r == nil {
			return
		}
		line += " " + label
		for _, v := range r {
			switch {
			case v.IsNull():
				line += " NULL"
			case v.IsUnchanged():
				line += " UNCHANGED"
			default:
				line += " " + v.Text()
			}
		}
	}
	row("before", e.Before)
	row("after", e.After)
	return line
}

// waitEvents waits until a topic has n events and returns them as lines.
func waitEvents(t *testing.T, log *Log, topic string, n int) []string {
	t.Helper()
	log.Wait(t, fmt.Sprintf("%d events of %s", n, topic), func([]*Record) bool { return len(log.Events(topic)) >= n })
	var lines []string
	for _, e := range log.Events(topic) {
		lines = append(lines, show(e))
	}
	return lines
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// checkOrder fails unless ids ascend in each topic, and no record has another's id
// but a tombstone its delete's.
func checkOrder(t *testing.T, records []*Record) {
	t.Helper()
	last := map[string]*Record{}
	for _, r := range records {
		if p := last[r.Topic]; p != nil {
			order := r.ID.Compare(p.ID)
			if order < 0 || order == 0 && !r.Tombstone() {
				t.Errorf("topic %s: id %v comes after %v", r.Topic, r.ID, p.ID)
			}
		}
		last[r.Topic] = r
	}
}

func testChanges(t *testing.T, h *Harness) {
	h.create(t, "items")
	log := NewLog(nil)
	c := h.Start(t, log)
	c.Streaming(t)
	h.Exec(t,
		"INSERT INTO "+h.name("items")+" VALUES (1, 'one', 10, 1.50, 'n')",
		"INSERT INTO "+h.name("items")+" VALUES (2, NULL, NULL, NULL, NULL)",
		"UPDATE "+h.name("items")+" SET name = 'uno', qty = 11 WHERE id = 1",
		"DELETE FROM "+h.name("items")+" WHERE id = 2",
	)
	want := []string{
		"c after 1 one 10 1.50 n",
		"c after 2 NULL NULL NULL NULL",
		"u after 1 uno 11 1.50 n",
		"d before 2 NULL NULL NULL NULL",
	}
	if h.FullBefore {
		want[2] = "u before 1 one 10 1.50 n after 1 uno 11 1.50 n"
	}
	compare(t, "events", waitEvents(t, log, h.topic("items"), 4), want)

	h.Tx(t, true,
		"INSERT INTO "+h.name("items")+" VALUES (3, 'three', 3, 3, NULL)",
		"UPDATE "+h.name("items")+" SET qty = 4 WHERE id = 3")
	waitEvents(t, log, h.topic("items"), 6)
	events := log.Events(h.topic("items"))
	first, second := events[4], events[5]
	if first.TxID == "" || strings.Split(first.TxID, ":")[0] != strings.Split(second.TxID, ":")[0] || first.TxOrder != 1 || second.TxOrder != 2 || second.TableOrder != 2 {
		t.Errorf("one transaction's events have transactions %q %d %d and %q %d %d", first.TxID, first.TxOrder, first.TableOrder, second.TxID, second.TxOrder, second.TableOrder)
	}
	if first.CommitTime.IsZero() || first.ID.Commit() != second.ID.Commit() {
		t.Errorf("one transaction's events have commits %v and %v at %v", first.ID, second.ID, first.CommitTime)
	}
	deletes := 0
	for _, r := range log.Records() {
		if r.Tombstone() {
			deletes++
		}
	}
	if deletes != 1 {
		t.Errorf("got %d tombstones, want 1", deletes)
	}
	checkOrder(t, log.Records())
	if err := c.Stop(); err != nil {
		t.Errorf("stopping returned %v", err)
	}
}

func testKeyChange(t *testing.T, h *Harness) {
	h.create(t, "items")
	h.Exec(t, "INSERT INTO "+h.name("items")+" VALUES (1, 'one', 1, 1, NULL)")
	log := NewLog(nil)
	c := h.Start(t, log)
	c.Streaming(t)
	h.Exec(t, "UPDATE "+h.name("items")+" SET id = 100, qty = 2 WHERE id = 1")
	lines := waitEvents(t, log, h.topic("items"), 3)
	before := "d before 1 NULL NULL NULL NULL"
	if h.FullBefore {
		before = "d before 1 one 1 1.00 NULL"
	}
	compare(t, "events", lines[1:], []string{before, "c after 100 one 2 1.00 NULL"})
	var moved []string
	for _, r := range log.Records() {
		for _, key := range []string{change.HeaderNewKey, change.HeaderOldKey} {
			if r.Header(key) != "" && r.Value != nil {
				moved = append(moved, string(r.Key)+" "+key)
			}
		}
	}
	compare(t, "moves", moved, []string{`{"id":1} ` + change.HeaderNewKey, `{"id":100} ` + change.HeaderOldKey})
	checkOrder(t, log.Records())
}

func testCompositeKey(t *testing.T, h *Harness) {
	h.Exec(t, "CREATE TABLE "+h.name("pairs")+" (v VARCHAR(20), b VARCHAR(20) NOT NULL, a INT NOT NULL, PRIMARY KEY (a, b))")
	log := NewLog(nil)
	h.Start(t, log).Streaming(t)
	h.Exec(t, "INSERT INTO "+h.name("pairs")+" VALUES ('x', 'k', 1)", "DELETE FROM "+h.name("pairs"))
	waitEvents(t, log, h.topic("pairs"), 2)
	for _, r := range log.Records() {
		if r.Event != nil && string(r.Key) != `{"a":1,"b":"k"}` {
			t.Errorf("key is %s, want its columns in the key's order", r.Key)
		}
	}
}

func testNoKey(t *testing.T, h *Harness) {
	h.Exec(t, "CREATE TABLE "+h.name("loose")+" (name VARCHAR(20), qty INT)")
	h.Exec(t, h.NoKey(h.name("loose"))...)
	h.Exec(t, "INSERT INTO "+h.name("loose")+" VALUES ('a', 1)")
	log := NewLog(nil)
	h.Start(t, log).Streaming(t)
	h.Exec(t, "UPDATE "+h.name("loose")+" SET qty = 2", "DELETE FROM "+h.name("loose"))
	compare(t, "events", waitEvents(t, log, h.topic("loose"), 3), []string{"r after a 1", "u before a 1 after a 2", "d before a 2"})
	for _, r := range log.Records() {
		if r.Key != nil || r.Tombstone() {
			t.Errorf("a record of a table without key has key %q, tombstone %v", r.Key, r.Tombstone())
		}
	}
}

func testTruncate(t *testing.T, h *Harness) {
	h.create(t, "items")
	log := NewLog(nil)
	h.Start(t, log).Streaming(t)
	h.Exec(t, "INSERT INTO "+h.name("items")+" VALUES (1, 'a', 1, 1, NULL)", "TRUNCATE TABLE "+h.name("items"), "INSERT INTO "+h.name("items")+" VALUES (2, 'b', 1, 1, NULL)")
	compare(t, "events", waitEvents(t, log, h.topic("items"), 3), []string{"c after 1 a 1 1.00 NULL", "t", "c after 2 b 1 1.00 NULL"})
	for _, r := range log.Records() {
		if r.Event != nil && r.Event.Op == change.Truncate && (!r.Everywhere || r.Key != nil) {
			t.Error("a truncate does not go to every partition with a null key")
		}
	}
	checkOrder(t, log.Records())
}

func testRollback(t *testing.T, h *Harness) {
	h.create(t, "items")
	log := NewLog(nil)
	h.Start(t, log).Streaming(t)
	insert := func(id int) string {
		return fmt.Sprintf("INSERT INTO %s VALUES (%d, 'x', 1, 1, NULL)", h.name("items"), id)
	}
	h.Tx(t, false, insert(1), insert(2))
	h.Tx(t, true, insert(3), "SAVEPOINT a", insert(4), "ROLLBACK TO SAVEPOINT a", insert(5), "SAVEPOINT b", insert(6), "RELEASE SAVEPOINT b")
	h.Exec(t, insert(7))
	compare(t, "events", waitEvents(t, log, h.topic("items"), 4), []string{"c after 3 x 1 1.00 NULL", "c after 5 x 1 1.00 NULL", "c after 6 x 1 1.00 NULL", "c after 7 x 1 1.00 NULL"})
}

func testMultiRow(t *testing.T, h *Harness) {
	h.create(t, "items", "others")
	log := NewLog(nil)
	h.Start(t, log).Streaming(t)
	var rows []string
	for i := range 500 {
		rows = append(rows, fmt.Sprintf("(%d, 'row %d', %d, %d.25, NULL)", i, i, i, i))
	}
	h.Tx(t, true,
		"INSERT INTO "+h.name("items")+" VALUES "+strings.Join(rows, ", "),
		"INSERT INTO "+h.name("others")+" VALUES "+strings.Join(rows, ", "),
		"UPDATE "+h.name("items")+" SET qty = qty + 1",
		"UPDATE "+h.name("items")+" SET id = id + 1000 WHERE id < 100",
		"DELETE FROM "+h.name("others"),
	)
	waitEvents(t, log, h.topic("items"), 500+500+200)
	waitEvents(t, log, h.topic("others"), 1000)
	h.checkTable(t, log, "items")
	h.checkTable(t, log, "others")
	checkOrder(t, log.Records())
}

func testLargeRows(t *testing.T, h *Harness) {
	h.Exec(t, "CREATE TABLE "+h.name("items")+" (id BIGINT NOT NULL PRIMARY KEY, note "+map[bool]string{true: "LONGTEXT", false: "TEXT"}[h.FullBefore]+")")
	log := NewLog(nil)
	h.Start(t, log).Streaming(t)
	sizes := []int{1, 1000, 100_000, 1_000_000, 10, 7_000_000, 5}
	for i, n := range sizes {
		h.Exec(t, fmt.Sprintf("INSERT INTO %s VALUES (%d, REPEAT('x', %d))", h.name("items"), i, n))
	}
	waitEvents(t, log, h.topic("items"), len(sizes))
	for i, e := range log.Events(h.topic("items")) {
		if got := e.After[1].Text(); len(got) != sizes[i] || strings.Trim(got, "x") != "" {
			t.Errorf("row %d has a text of %d bytes, want %d", i, len(got), sizes[i])
		}
	}
}

func testExcludedTable(t *testing.T, h *Harness) {
	h.create(t, "items", "skip_this")
	h.Exec(t, "INSERT INTO "+h.name("skip_this")+" VALUES (1, 'a', 1, 1, NULL)")
	log := NewLog(nil)
	h.Start(t, log).Streaming(t)
	h.Exec(t, "INSERT INTO "+h.name("skip_this")+" VALUES (2, 'a', 1, 1, NULL)", "INSERT INTO "+h.name("items")+" VALUES (1, 'a', 1, 1, NULL)")
	waitEvents(t, log, h.topic("items"), 1)
	if n := len(log.Events("")); n != 1 {
		t.Errorf("got %d events, want that of items alone", n)
	}
}

// checkTable fails unless a topic's events, applied in order, give the table. Each
// event has to fit what is there: no create of a key that is there, no update or
// delete of one that is not, but for what a running snapshot has not read yet.
func (h *Harness) checkTable(t *testing.T, log *Log, table string) {
	t.Helper()
	rows := map[string]change.Row{}
	running := h.Resumes
	for i, r := range log.Records() {
		if r.Topic != h.topic(table) {
			continue
		}
		if m := r.Marker; m != nil && m.Kind == change.SnapshotBegin {
			clear(rows) // what it does not bring again is gone
			running = h.Resumes
		} else if m != nil && m.Kind == change.SnapshotEnd {
			running = false
		}
		e := r.Event
		if e == nil {
			continue
		}
		id := ""
		if row := e.KeyRow(); row != nil {
			id = row[0].Text()
		}
		_, there := rows[id]
		switch e.Op {
		case change.Read, change.Create:
			if there && !running {
				t.Errorf("record %d: %v of key %s, which is there", i, e.Op, id)
			}
			row := e.After.Clone()
			if e.OldKey != nil {
				fill(row, rows["moved "+e.OldKey[0].Text()])
			}
			rows[id] = row
		case change.Update:
			if !there && !running {
				t.Errorf("record %d: update of key %s, which is not there", i, id)
			}
			row := e.After.Clone()
			fill(row, rows[id])
			rows[id] = row
		case change.Delete:
			if !there && !running {
				t.Errorf("record %d: delete of key %s, which is not there", i, id)
			}
			if e.NewKey != nil {
				rows["moved "+id] = rows[id]
			}
			delete(rows, id)
		case change.Truncate:
			clear(rows)
		}
	}
	var got []string
	for key, row := range rows {
		if strings.HasPrefix(key, "moved ") {
			continue
		}
		line := ""
		for _, v := range row {
			line += v.Text() + "|"
		}
		got = append(got, line)
	}
	var want []string
	for _, row := range h.Query(t, "SELECT * FROM "+h.name(table)) {
		want = append(want, strings.Join(row, "|")+"|")
	}
	slices.Sort(got)
	slices.Sort(want)
	compare(t, "table "+table+" as its events say", got, want)
}

// fill takes the values that an image lacks from the one before.
func fill(row, before change.Row) {
	for i := range row {
		if row[i].IsUnchanged() && before != nil {
			row[i] = before[i]
		}
	}
}
