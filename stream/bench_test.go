package stream_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/stream/streamtest"
)

// rows are messages of about 900 bytes, as rows of 240 bytes in 9 columns become.
func rows(n int) [][]byte {
	rng := mathrand.New(mathrand.NewPCG(1, 2))
	out := make([][]byte, n)
	for i := range out {
		row := fmt.Sprintf(`{"id":%d,"email":"user%d@example.com","first_name":"%x","last_name":"%x","country":"DE","mrr_cents":%d,"created_at":"2026-03-04T13:14:15.%06dZ","note":"%x %x","active":true}`,
			i, i*7919%1000003, rng.Uint64(), rng.Uint64(), rng.IntN(1e6), rng.IntN(1e6), rng.Uint64(), rng.Uint64())
		out[i] = fmt.Appendf(nil, `{"before":null,"after":%s,"source":{"version":"0.1.0","connector":"postgresql","name":"shop","ts_ms":%d,"snapshot":"false","db":"shop","sequence":"[\"%d\",\"%d\"]","ts_us":%d,"ts_ns":%d,"schema":"public","table":"customers","txId":%d,"lsn":%d,"xmin":null},"transaction":{"id":"%d:%d","total_order":%d,"data_collection_order":%d},"op":"c","ts_ms":%d,"ts_us":%d,"ts_ns":%d}`,
			row, 1772000000000+i, 24000000+i*100, 24000100+i*100, (1772000000000+i)*1000, (1772000000000+i)*1000000, 700+i/100, 24000100+i*100, 700+i/100, 24000100+i/100*10000, i%100+1, i%100+1, 1772000000100+i, (1772000000100+i)*1000+333, (1772000000100+i)*1000000+333444)
	}
	return out
}

// feed adds n rows to a writer, cutting every flushEach, with the flush beside it.
func feed(b *testing.B, w stream.Writer, topic string, values [][]byte, n, flushEach int) int {
	b.Helper()
	cutter := w.(interface {
		Cut([]byte) func(context.Context) error
	})
	ctx := b.Context()
	done := make(chan error, 1)
	done <- nil
	bytes := 0
	r := &change.Record{Topic: topic, Headers: []change.Header{{Key: change.HeaderID}, {Key: change.HeaderSchema, Value: []byte("0123456789abcdef")}}}
	var id, key []byte
	for i := range n {
		r.ID = change.NewID(1, uint64(feedID), uint64(i), 0)
		id, _ = r.ID.AppendText(id[:0])
		key = fmt.Appendf(key[:0], `{"id":%d}`, i)
		r.Headers[0].Value, r.Key, r.Value = id, key, values[i%len(values)]
		size, err := w.Add(r)
		if err != nil {
			b.Fatal(err)
		}
		bytes += size
		if (i+1)%flushEach == 0 || i == n-1 {
			flush := cutter.Cut([]byte("r"))
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			go func() { done <- flush(ctx) }()
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	feedID++
	return bytes
}

var feedID = 1

func benchWrite(b *testing.B, log stream.Log) {
	source := "s" + strings.ToLower(rand.Text()[:10])
	w, err := log.Writer(b.Context(), source, &streamtest.Marks{})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	table := streamtest.Table(source, "customers")
	if err := w.Table(b.Context(), table); err != nil {
		b.Fatal(err)
	}
	values := rows(10000)
	for _, each := range []int{1, 100, 10000} {
		b.Run(fmt.Sprintf("rows of a flush=%d", each), func(b *testing.B) {
			n := min(each*300, 200_000)
			total := 0
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			count := 0
			for b.Loop() {
				total += feed(b, w, table.Topic, values, n, each)
				count += n
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(total)/b.Elapsed().Seconds()/1e6, "MB/s")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(count), "allocs/row")
		})
	}
	b.Run("read", func(b *testing.B) {
		parts, err := log.Partitions(b.Context(), table.Topic)
		if err != nil {
			b.Fatal(err)
		}
		var left int64
		for p := range parts {
			_, end, err := log.Bounds(b.Context(), table.Topic, p)
			if err != nil {
				b.Fatal(err)
			}
			left += end
		}
		n := int64(0)
		for b.Loop() {
			ctx, cancel := context.WithCancel(b.Context())
			c := &counter{want: left, done: cancel}
			if err := log.Consume(ctx, source+fmt.Sprint(n), []string{table.Topic}, c); err != nil {
				b.Fatal(err)
			}
			n += left
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	})
}

func BenchmarkEmbedded(b *testing.B) {
	benchWrite(b, openEmbedded(b, stream.EmbeddedOptions{Path: filepath.Join(b.TempDir(), "stream.db")}))
}

func BenchmarkKafka(b *testing.B) { benchWrite(b, openKafka(b, stream.KafkaOptions{})) }

// BenchmarkFile is the limit: the bytes of the flushes appended to a file, with a sync.
func BenchmarkFile(b *testing.B) {
	values := bytes.Join(rows(10000), nil)
	for _, size := range []int{1 << 10, 100 << 10, 9 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "file"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			b.SetBytes(int64(size))
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := f.Write(values[:min(size, len(values))]); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
		})
	}
}

// BenchmarkLatency is the time from the start of a flush of one row to the reader's Take.
func BenchmarkLatency(b *testing.B) {
	for name, log := range map[string]stream.Log{
		"embedded": openEmbedded(b, stream.EmbeddedOptions{Path: filepath.Join(b.TempDir(), "stream.db")}), "kafka": openKafka(b, stream.KafkaOptions{}),
	} {
		b.Run(name, func(b *testing.B) {
			source := "s" + strings.ToLower(rand.Text()[:10])
			w, err := log.Writer(b.Context(), source, &streamtest.Marks{})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			table := streamtest.Table(source, "customers")
			if err := w.Table(b.Context(), table); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			c := &counter{want: 1 << 60, news: make(chan int64, 1000)}
			ended := make(chan error, 1)
			go func() { ended <- log.Consume(ctx, source, []string{table.Topic}, c) }()
			var times, flushes []time.Duration
			i := 0
			for b.Loop() {
				i++
				if _, err := w.Add(streamtest.Record(table.Topic, i, "x")); err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				if err := w.Flush(b.Context(), nil); err != nil {
					b.Fatal(err)
				}
				flushes = append(flushes, time.Since(start))
				<-c.news
				times = append(times, time.Since(start))
			}
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
			slices.Sort(times)
			slices.Sort(flushes)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "take-p50-us")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "take-p99-us")
			b.ReportMetric(float64(flushes[len(flushes)/2].Microseconds()), "flush-p50-us")
		})
	}
}

// counter counts what it takes in.
type counter struct {
	want, got int64
	done      func()
	news      chan int64
}

func (c *counter) Assign(context.Context, string, int, int64) (int64, error) { return -1, nil }

func (c *counter) Take(_ context.Context, _ string, _ int, messages []stream.Message) error {
	for i := range messages {
		if !streamtest.IsFence(&messages[i]) && c.news != nil {
			c.news <- messages[i].Offset
		}
	}
	if atomic.AddInt64(&c.got, int64(len(messages))) >= c.want {
		c.done()
	}
	return nil
}

func (c *counter) Idle(context.Context, string, int, int64) error { return nil }
