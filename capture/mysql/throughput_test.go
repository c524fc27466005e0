package mysql_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/mysql"
	"github.com/penstock-cdc/penstock/change"
)

// countingLog takes records and keeps none.
type countingLog struct {
	want, got int
	done      chan struct{}
}

func (l *countingLog) Resume() []byte                             { return nil }
func (l *countingLog) Table(context.Context, *change.Table) error { return nil }
func (l *countingLog) Add(r *change.Record) (int, error) {
	if r.Value != nil {
		l.got++
	}
	return len(r.Key) + len(r.Value), nil
}

func (l *countingLog) Flush(context.Context, []byte) error {
	if l.got >= l.want && l.want > 0 {
		l.want = 0
		close(l.done)
	}
	return nil
}

// BenchmarkStream reads a backlog of changes from a real server, decodes and encodes
// them: 240-byte rows of nine columns in transactions of 100.
func BenchmarkStream(b *testing.B) {
	for _, server := range servers {
		b.Run(server, func(b *testing.B) {
			d := newDatabase(b, server)
			d.exec("CREATE TABLE customers (id bigint PRIMARY KEY, email varchar(255), name varchar(100), city varchar(100), age int, balance decimal(12,2), active tinyint, updated_at datetime(6), note text)")
			cfg := mysql.Config{URL: d.url, Tables: []string{d.name + ".*"}}
			const rows = 200_000
			at := d.run(cfg, nil)
			at.waitSnapshots(b, 1)
			resume := at.stop()
			for i := 0; i < rows; i += 100 {
				values := make([]string, 100)
				for j := range values {
					id := i + j
					values[j] = fmt.Sprintf("(%d, 'customer%07d@example.com', 'Some Persons Name', 'Ouagadougou', %d, %d.25, 1, '2026-03-04 13:14:15.123456', '%s')", id, id, id%90, id, strings.Repeat("x", 120))
				}
				d.exec("INSERT INTO customers VALUES " + strings.Join(values, ","))
			}
			for b.Loop() {
				l := &countingLog{want: rows, done: make(chan struct{})}
				ctx, cancel := context.WithCancel(b.Context())
				src := open(b, &cfg)
				began := time.Now()
				ended := make(chan error, 1)
				go func() {
					ended <- capture.Run(ctx, src, resumeLog{l, resume}, change.NewEncoder(change.Source{Connector: change.MySQL, Name: "bench", Version: "test"}), capture.Options{})
				}()
				select {
				case <-l.done:
				case err := <-ended:
					b.Fatal(err)
				}
				b.ReportMetric(rows/time.Since(began).Seconds(), "rows/s")
				cancel()
				<-ended
			}
		})
	}
}

type resumeLog struct {
	*countingLog
	resume []byte
}

func (l resumeLog) Resume() []byte { return l.resume }
