package mysql

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// benchColumns are those of the figures: nine columns, rows of about 240 bytes.
var benchColumns = []column{
	{name: "id", typ: gomysql.MYSQL_TYPE_LONGLONG},
	{name: "email", typ: gomysql.MYSQL_TYPE_VARCHAR, size: 1020, charset: "utf8mb4", width: 4},
	{name: "name", typ: gomysql.MYSQL_TYPE_VARCHAR, size: 400, charset: "utf8mb4", width: 4},
	{name: "city", typ: gomysql.MYSQL_TYPE_VARCHAR, size: 400, charset: "utf8mb4", width: 4},
	{name: "age", typ: gomysql.MYSQL_TYPE_LONG},
	{name: "balance", typ: gomysql.MYSQL_TYPE_NEWDECIMAL, precision: 12, scale: 2},
	{name: "active", typ: gomysql.MYSQL_TYPE_TINY},
	{name: "updated_at", typ: gomysql.MYSQL_TYPE_DATETIME2, scale: 6},
	{name: "note", typ: gomysql.MYSQL_TYPE_BLOB, size: 2, charset: "utf8mb4", width: 4},
}

// benchRow is a row image of benchColumns.
func benchRow(i int) []byte {
	le := binary.LittleEndian
	b := []byte{0, 0}
	b = le.AppendUint64(b, uint64(i))
	text := func(s string, prefix int) {
		b = append(b, byte(len(s)))
		if prefix == 2 {
			b = append(b, byte(len(s)>>8))
		}
		b = append(b, s...)
	}
	text(fmt.Sprintf("customer%07d@example.com", i), 2)
	text("Some Person's Name", 2)
	text("Ouagadougou", 2)
	b = le.AppendUint32(b, uint32(20+i%60))
	b = append(b, 0x80, 0, 0, 0, byte(i), 12) // decimal(12,2): 4+1 bytes, 1
	b[len(b)-6] = 0x80
	b = append(b, 1)
	b = append(b, 0x99, 0xb9, 0x48, 0xd3, 0x8f, 1, 2, 3)
	text(strings.Repeat("x", 120), 2)
	return b
}

type nowhere struct{ capture.Output }

func (nowhere) Event(*change.Event) error { return nil }
func (nowhere) Commit([]byte) error       { return nil }
func (nowhere) Idle()                     {}

// benchTail is a tail with the table mapped, and a WRITE_ROWS event of n rows.
func benchTail(tb testing.TB, n int) (*tail, []byte) {
	tb.Helper()
	src, err := Open(&Config{URL: "mysql://u:p@h/", Tables: []string{"shop.*"}}, "shop", slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	st := &state{Source: src, out: nowhere{}, facts: &facts{}, resume: &resume{Tables: map[string]tablePoint{}, File: "bin.000001"}, declared: map[string]*declaration{}}
	t := newTail(st)
	t.file = "bin.000001"
	table, place, err := src.makeTable("shop", "customers", append([]column(nil), benchColumns...), []int{0}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := newLayout(benchColumns, place, len(table.Columns))
	if err != nil {
		tb.Fatal(err)
	}
	t.tables[7] = &mapped{layout: l, table: table, name: "shop.customers", before: make(change.Row, 9), after: make(change.Row, 9)}
	body := []byte{7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 9, 0xff, 0xff}
	for i := range n {
		body = append(body, benchRow(i)...)
	}
	t.tx = transaction{open: true, begun: true, commit: 1 << fileBits, time: time.Now()}
	return t, body
}

// BenchmarkRows decodes rows events of 32 rows (8 KiB, the server's default size) and
// hands over their events.
func BenchmarkRows(b *testing.B) {
	const rows = 32
	t, body := benchTail(b, rows)
	h := header{kind: replication.WRITE_ROWS_EVENTv2}
	b.SetBytes(int64(len(body) / rows))
	b.ReportAllocs()
	for i := 0; i < b.N; i += rows {
		if err := t.event(h, 4, body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkJSON renders a document of some 200 bytes.
func BenchmarkJSON(b *testing.B) {
	// {"a": 1, "b": "x..."}: small object, two keys.
	long := strings.Repeat("x", 100)
	doc := []byte{jsonSmallObject, 2, 0, 0, 0, 18, 0, 1, 0, 19, 0, 1, 0, jsonInt16, 1, 0, jsonString, 20, 0, 'a', 'b', byte(len(long))}
	doc = append(doc, long...)
	binary.LittleEndian.PutUint16(doc[3:], uint16(len(doc)-1))
	var dst []byte
	var err error
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = appendJSON(dst[:0], doc); err != nil {
			b.Fatal(err)
		}
	}
	if want := `{"a": 1, "b": "` + long + `"}`; string(dst) != want {
		b.Fatalf("got %s", dst)
	}
}
