package mysql

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/penstock-cdc/penstock/change"
)

// FuzzTableMap: no bytes make reading a table map, and rows by what it says, panic.
func FuzzTableMap(f *testing.F) {
	collations := map[uint64]collation{0: {"utf8mb4", 4}, 8: {"latin1", 1}, 63: {binaryCharset, 1}, 255: {"utf8mb4", 4}}
	f.Add([]byte("\x04shop\x00\x01t\x00\x03\x08\x0f\xfe\x04\x90\x01\xf7\x01\x06\x01\x01\x00\x04\x06\x02id\x01v\x01e"), []byte("\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00x\x01"))
	f.Add([]byte("\x04shop\x00\x01t\x00\x06\xf5\x10\x11\x12\x13\xf6\x06\x04\x02\x01\x06\x06\x06\x0a\x02\x00"), []byte("\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, event, rows []byte) {
		m, err := parseTableMap(event, collations, true)
		if err != nil {
			return
		}
		place := make([]int, len(m.columns))
		for i := range place {
			place[i] = i
			if _, err := m.columns[i].describe(); err != nil {
				place[i] = -1
			}
		}
		l, err := newLayout(m.columns, place, len(place))
		if err != nil {
			return
		}
		var d decoder
		row := make(change.Row, len(place))
		bitmap := slices.Repeat([]byte{0x55}, (len(place)+7)/8)
		for range 3 {
			d.reset()
			if rows, err = d.row(l, rows, bitmap, len(rows)%2 == 0, row); err != nil {
				return
			}
		}
	})
}

// FuzzEvent: no event makes the stream panic, and what is malformed is an error.
func FuzzEvent(f *testing.F) {
	t, body := benchTail(f, 2)
	f.Add(byte(replication.WRITE_ROWS_EVENTv2), body)
	f.Add(byte(replication.UPDATE_ROWS_EVENTv1), body)
	f.Add(byte(replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1), body)
	f.Add(byte(replication.GTID_EVENT), make([]byte, 60))
	f.Add(byte(replication.GTID_TAGGED_LOG_EVENT), make([]byte, 60))
	f.Add(byte(replication.TRANSACTION_PAYLOAD_EVENT), []byte("\x02\x01\xff\x00"))
	f.Add(byte(replication.XA_PREPARE_LOG_EVENT), []byte{1})
	m := t.tables[7]
	f.Fuzz(func(_ *testing.T, kind byte, body []byte) {
		switch k := replication.EventType(kind); k {
		case replication.QUERY_EVENT, replication.MARIADB_QUERY_COMPRESSED_EVENT, replication.TABLE_MAP_EVENT:
			return // they may ask the server for a table
		case replication.TRANSACTION_PAYLOAD_EVENT:
			_, _ = t.inner.unfold(body)
			return
		}
		t.tables = map[uint64]*mapped{7: m}
		t.tx = transaction{open: true, begun: true, commit: 1 << fileBits}
		_ = t.event(header{kind: replication.EventType(kind)}, 4, body)
		t.tx = transaction{}
		_ = t.event(header{kind: replication.EventType(kind)}, 4, body)
	})
}

// FuzzJSON: no bytes make rendering binary JSON panic or run on for ever.
func FuzzJSON(f *testing.F) {
	f.Add([]byte{jsonSmallObject, 1, 0, 12, 0, 11, 0, 1, 0, jsonInt16, 1, 0, 'a'})
	f.Add([]byte{jsonOpaque, 246, 4, 4, 2, 0x80, 1})
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) < 1<<10 { // containers may share their content, so the text can be much longer
			_, _ = appendJSON(nil, b)
		}
	})
}

// FuzzWords: no statement makes reading it panic or stand still.
func FuzzWords(f *testing.F) {
	f.Add("TRUNCATE TABLE `a``b`.c -- x")
	f.Add("/*!40000 DROP */ TABLE IF EXISTS \"x\"")
	f.Fuzz(func(t *testing.T, sql string) {
		w := newWords(sql)
		for i := 0; w.next() != (word{}); i++ {
			if i > len(sql) {
				t.Fatal("it stands still")
			}
		}
	})
}

// TestWords: tables are found however a statement is written.
func TestWords(t *testing.T) {
	for sql, want := range map[string]string{
		"TRUNCATE t":              "db.t",
		"truncate table `t`":      "db.t",
		"TRUNCATE\tTABLE other.t": "other.t",
		"TRUNCATE /* c */ TABLE -- no\n `o``1` . `t.t`": "o`1.t.t",
		"/*!50000 TRUNCATE */ # x\n TABLE \"t\"":        "db.t",
		"TRUNCATE `table`":                              "db.table",
		"TRUNCATE TABLE wörd;":                          "db.wörd",
	} {
		w := newWords(sql)
		if got := w.next().upper(); got != "TRUNCATE" {
			t.Errorf("%s: got verb %q", sql, got)
			continue
		}
		if w.peek().upper() == "TABLE" {
			w.next()
		}
		db, name, ok := w.table("db")
		if got := db + "." + name; !ok || got != want {
			t.Errorf("%s: got %s, want %s", sql, got, want)
		}
	}
}

// TestPositions: ids follow the log past the 4 GiB at which an event's own position wraps.
func TestPositions(t *testing.T) {
	if got := widen(1<<32-10, 5); got != 1<<32+5 {
		t.Errorf("got %d", got)
	}
	if got := widen(7<<32+1, 2); got != 7<<32+2 {
		t.Errorf("got %d", got)
	}
	a, _ := commitPosition("bin.000009", 5<<32)
	b, _ := commitPosition("bin.000010", 4)
	if a >= b {
		t.Errorf("positions do not rise from file to file: %d, %d", a, b)
	}
	if _, err := commitPosition("bin", 4); err == nil || !strings.Contains(err.Error(), "number") {
		t.Errorf("got %v", err)
	}
}
