package stream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/change"
)

// envelope writes one message of about 900 bytes like the codec's.
func envelope(dst []byte, rng *rand.Rand, i int) []byte {
	row := func(dst []byte) []byte {
		return fmt.Appendf(dst, `{"id":%d,"email":"user%d@example.com","first_name":"%x","last_name":"%x","country":"DE","mrr_cents":%d,"created_at":"2026-03-04T13:14:15.%06dZ","note":"%x %x","active":true}`,
			i, i*7919%1000003, rng.Uint64(), rng.Uint64(), rng.IntN(1e6), rng.IntN(1e6), rng.Uint64(), rng.Uint64())
	}
	dst = append(dst, `{"before":null,"after":`...)
	dst = row(dst)
	return fmt.Appendf(dst, `,"source":{"version":"0.1.0","connector":"postgresql","name":"shop","ts_ms":%d,"snapshot":"false","db":"shop","sequence":"[\"%d\",\"%d\"]","ts_us":%d,"ts_ns":%d,"schema":"public","table":"customers","txId":%d,"lsn":%d,"xmin":null},"transaction":{"id":"%d:%d","total_order":%d,"data_collection_order":%d},"op":"c","ts_ms":%d,"ts_us":%d,"ts_ns":%d}`,
		1772000000000+i, 24000000+i*100, 24000100+i*100, (1772000000000+i)*1000, (1772000000000+i)*1000000, 700+i/100, 24000100+i*100, 700+i/100, 24000100+i/100*10000, i%100+1, i%100+1, 1772000000100+i, (1772000000100+i)*1000+333, (1772000000100+i)*1000000+333444)
}

func testRecords(n int) []change.Record {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]change.Record, n)
	for i := range out {
		id := change.NewID(1, uint64(1000+i/100), uint64(i*100), 0)
		text, _ := id.AppendText(nil)
		out[i] = change.Record{
			Topic: "shop.public.customers", Key: fmt.Appendf(nil, `{"id":%d}`, i), Value: envelope(nil, rng, i), ID: id,
			Headers: []change.Header{{Key: change.HeaderID, Value: text}, {Key: change.HeaderSchema, Value: []byte("0123456789abcdef")}},
		}
	}
	return out
}

func TestBatchRoundTrip(t *testing.T) {
	records := testRecords(500)
	records[3].Value = nil
	records[4].Key = nil
	records[5].Headers = nil
	records[6].Value = []byte{}
	for c := codecPlain; c <= codecZstd; c++ {
		if c == codecGzip {
			continue // never written by us
		}
		b := &batch{}
		for i := range records {
			b.append(&records[i], 1772000000000+int64(i))
		}
		b.seal(&compressor{codec: c})
		setBaseOffset(b.out, 1000)
		var d decoder
		info, err := d.decode(b.out, "a", 2, 1002)
		if err != nil {
			t.Fatalf("codec %d: %v", c, err)
		}
		if info.base != 1000 || info.last != 1499 || info.size != len(b.out) || info.maxTime != 1772000000499 {
			t.Errorf("codec %d: header %+v", c, info)
		}
		if len(d.messages) != 498 {
			t.Fatalf("codec %d: %d messages from offset 1002 on, want 498", c, len(d.messages))
		}
		for i, m := range d.messages {
			r := &records[i+2]
			want := Message{Topic: "a", Partition: 2, Offset: int64(1002 + i), Time: time.UnixMilli(1772000000002 + int64(i)), Key: r.Key, Value: r.Value, Headers: r.Headers}
			if len(m.Headers) == 0 {
				m.Headers = nil
			}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Fatalf("codec %d, message %d: %s", c, i, diff)
			}
			if (m.Value == nil) != (r.Value == nil) || (m.Key == nil) != (r.Key == nil) {
				t.Fatalf("codec %d, message %d: nil and empty are mixed up", c, i)
			}
		}
	}
}

// Every single flipped bit behind the base offset and the leader epoch is noticed.
func TestBatchFlippedBits(t *testing.T) {
	records := testRecords(3)
	b := &batch{}
	for i := range records {
		b.append(&records[i], 1772000000000)
	}
	b.seal(&compressor{codec: codecLZ4})
	for i := atLength; i < len(b.out); i++ {
		if i >= atLeaderEpoch && i < atMagic {
			continue
		}
		for bit := range 8 {
			bad := bytes.Clone(b.out)
			bad[i] ^= 1 << bit
			var d decoder
			if info, err := d.decode(bad, "a", 0, 0); err == nil && info.size == len(bad) {
				t.Fatalf("byte %d bit %d: not noticed", i, bit)
			}
		}
	}
}

func TestMurmur2(t *testing.T) {
	// Computed with org.apache.kafka.common.utils.Utils.murmur2.
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
	if got := partitionOf(nil, 6); got != 0 {
		t.Errorf("null key goes to %d", got)
	}
	if got, want := partitionOf([]byte("foobar"), 6), int(uint32(0xd0e47d3e)&0x7fffffff)%6; got < 0 || got > 5 {
		t.Errorf("foobar goes to %d, want %d", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	records := testRecords(3)
	for c := codecPlain; c <= codecZstd; c++ {
		b := &batch{}
		for i := range records {
			b.append(&records[i], 1)
		}
		b.seal(&compressor{codec: c})
		f.Add(b.out)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		if b, err := parseBatch(data); err == nil {
			data = bytes.Clone(data)
			setProducer(data[:b.size], b.producer, b.producerEpoch, 0) // a right checksum, so that the rest is reached
			var d decoder
			_, _ = d.decode(data, "a", 0, 0)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	records := testRecords(1000)
	total := 0
	for i := range records {
		total += len(records[i].Value)
	}
	batch := &batch{}
	b.SetBytes(int64(total / len(records)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if len(batch.raw) > 256<<10 {
			batch.reset()
		}
		batch.append(&records[i%len(records)], 1772000000000)
	}
}

func BenchmarkSeal(b *testing.B) {
	records := testRecords(1000)
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
		for name, c := range map[string]codec{"plain": codecPlain, "snappy": codecSnappy, "lz4": codecLZ4, "zstd": codecZstd} {
			batch := &batch{}
			for i := 0; len(batch.raw) < size; i++ {
				batch.append(&records[i%1000], 1772000000000)
			}
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				comp := &compressor{codec: c}
				b.SetBytes(int64(len(batch.raw)))
				b.ReportAllocs()
				for b.Loop() {
					batch.seal(comp)
				}
				b.ReportMetric(float64(len(batch.raw))/float64(len(batch.out)), "ratio")
			})
			b.Run(fmt.Sprintf("read-%s/%dKiB", name, size>>10), func(b *testing.B) {
				var d decoder
				b.SetBytes(int64(len(batch.raw)))
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					d.reset()
					if _, err := d.decode(batch.out, "a", 0, 0); err != nil {
						b.Fatal(err)
					}
					n += len(d.messages)
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}
