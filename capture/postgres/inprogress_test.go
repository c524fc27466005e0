package postgres_test

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
)

// withSettings gives our sessions settings of the server's. With the least
// logical_decoding_work_mem transactions are sent while they are in progress as soon as
// they have 64 KiB.
func withSettings(tb testing.TB, address string, settings ...string) string {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	var options []string
	for _, s := range settings {
		options = append(options, "-c "+s)
	}
	q := u.Query()
	q.Set("options", strings.Join(options, " "))
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
}

const early = "logical_decoding_work_mem=64kB"

// inTurn runs statements of several sessions in the given order: "2: SQL" is the second's.
func (d *database) inTurn(tb testing.TB, statements ...string) {
	tb.Helper()
	sessions := map[string]*database{}
	for _, s := range statements {
		name, sql, _ := strings.Cut(s, ": ")
		if sessions[name] == nil {
			sessions[name] = &database{url: d.url, name: d.name}
			sessions[name].connect(tb)
		}
		sessions[name].exec(tb, sql)
	}
}

// capturing is a running capture of a slot of its own.
type capturing struct {
	*capturetest.Capture
	log *capturetest.Log
}

// capture captures over a slot and a publication of that name, with streaming or without.
func (d *database) capture(tb testing.TB, name string, streaming bool, opts ...postgres.Option) *capturing {
	tb.Helper()
	log := capturetest.NewLog(nil)
	return d.captureInto(tb, log, name, streaming, opts...)
}

func (d *database) captureInto(tb testing.TB, log *capturetest.Log, name string, streaming bool, opts ...postgres.Option) *capturing {
	tb.Helper()
	cfg := d.config()
	cfg.URL = withSettings(tb, d.url, early)
	cfg.Slot, cfg.Publication, cfg.Streaming = cfg.Slot+"_"+name, "shop_"+name, &streaming
	cfg.TransactionMemory = "1MiB"
	src, err := postgres.Open(cfg, "shop", opts...)
	if err != nil {
		tb.Fatal(err)
	}
	c := d.harness(tb).StartSource(tb, log, src, capture.Options{})
	c.Streaming(tb)
	return &capturing{c, log}
}

// published are the times of publishing, which differ from run to run.
var published = regexp.MustCompile(`,"ts_ms":\d+,"ts_us":\d+,"ts_ns":\d+}$`)

// topics is everything that was captured, topic by topic, byte by byte.
func topics(log *capturetest.Log) map[string]string {
	var out = map[string]*bytes.Buffer{}
	for _, r := range log.Records() {
		if r.Marker != nil {
			continue
		}
		b := out[r.Topic]
		if b == nil {
			b = &bytes.Buffer{}
			out[r.Topic] = b
		}
		fmt.Fprintf(b, "%s %s", r.ID, r.Key)
		for _, h := range r.Headers {
			fmt.Fprintf(b, " %s=%s", h.Key, h.Value)
		}
		fmt.Fprintf(b, " %s\n", published.ReplaceAll(r.Value, nil))
	}
	texts := map[string]string{}
	for topic, b := range out {
		texts[topic] = b.String()
	}
	return texts
}

// same compares what two captures have, and returns how many records that is.
func same(tb testing.TB, what string, got, want *capturetest.Log) int {
	tb.Helper()
	g, w := topics(got), topics(want)
	n := 0
	for topic := range w {
		gl, wl := strings.Split(g[topic], "\n"), strings.Split(w[topic], "\n")
		n += len(wl) - 1
		for i := range min(len(gl), len(wl)) {
			if gl[i] != wl[i] {
				tb.Errorf("%s: record %d of %s differs:\n got %.900s\nwant %.900s", what, i, topic, gl[i], wl[i])
				break
			}
		}
		if len(gl) != len(wl) {
			tb.Errorf("%s: topic %s has %d records, want %d", what, topic, len(gl)-1, len(wl)-1)
		}
	}
	if len(g) != len(w) {
		tb.Errorf("%s: %d topics, want %d", what, len(g), len(w))
	}
	return n
}

// rows is 200 bytes of text for the rows that reach 64 KiB, and 64 KiB of it for one that does.
const filler = "repeat(md5(n::text), 6)"

// progressCases are transactions that are sent in part before they end. Each case's
// statements are run in turn by the sessions that they name.
var progressCases = []struct {
	name       string
	statements []string
}{
	{"commit and rollback", []string{
		"1: BEGIN", "1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(1, 3000) n",
		"2: BEGIN", "2: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(10001, 13000) n",
		"3: INSERT INTO items VALUES (50000, 'by itself', 1)",
		"1: UPDATE items SET qty = qty + 1 WHERE id <= 1500", "2: DELETE FROM items WHERE id > 12000",
		"1: UPDATE items SET id = -id WHERE id BETWEEN 1 AND 50", "2: ROLLBACK", "1: DELETE FROM items WHERE id BETWEEN 100 AND 900",
		"3: INSERT INTO items VALUES (50001, 'by itself', 1)", "1: COMMIT",
	}},
	{"interleaved", []string{
		"1: BEGIN", "2: BEGIN", "3: BEGIN",
		"1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(1, 2000) n",
		"2: INSERT INTO other SELECT n, " + filler + " FROM generate_series(1, 2000) n",
		"3: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(20001, 22000) n",
		"2: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(5001, 7000) n",
		"1: INSERT INTO other SELECT n, " + filler + " FROM generate_series(5001, 7000) n",
		"3: COMMIT", "1: UPDATE items SET qty = 0 WHERE id < 1000", "2: COMMIT", "1: COMMIT",
	}},
	{"savepoints", []string{
		"1: BEGIN", "1: SAVEPOINT a", "1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(1, 1000) n", "1: ROLLBACK TO a",
		"1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(1, 1000) n", "1: SAVEPOINT b",
		"1: UPDATE items SET qty = -1", "1: SAVEPOINT c", "1: DELETE FROM items WHERE id < 500", "1: RELEASE c",
		"1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(3001, 4000) n", "1: ROLLBACK TO b",
		"1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(3001, 4000) n",
		"1: SAVEPOINT d", "1: INSERT INTO other SELECT n, " + filler + " FROM generate_series(1, 1000) n", "1: RELEASE d", "1: COMMIT",
		"1: BEGIN", "1: SAVEPOINT a", "1: UPDATE items SET qty = qty + 7", "1: RELEASE a", "1: ROLLBACK",
	}},
	{"truncate", []string{
		"1: BEGIN", "1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(1, 1000) n", "1: TRUNCATE items, other",
		"1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(1, 1000) n",
		"1: SAVEPOINT a", "1: TRUNCATE items", "1: ROLLBACK TO a", "1: INSERT INTO other SELECT n, " + filler + " FROM generate_series(1, 1000) n", "1: COMMIT",
	}},
	{"schema change", []string{
		"1: INSERT INTO other VALUES (-1, 'x')",
		"1: BEGIN", "1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(1, 1000) n",
		"1: CREATE TYPE mood AS ENUM ('sad', 'happy')", "1: ALTER TABLE items ADD feels mood DEFAULT 'sad', ADD price numeric(10,2)",
		"1: INSERT INTO items SELECT n, " + filler + ", n, 'happy', n / 4.0 FROM generate_series(1001, 2000) n",
		"1: SAVEPOINT a", "1: ALTER TABLE items DROP qty", "1: UPDATE items SET price = 1 WHERE id <= 1000", "1: ROLLBACK TO a",
		"1: UPDATE items SET price = 2, qty = 5 WHERE id <= 1000",
		"1: CREATE TABLE skip_fresh (id int PRIMARY KEY, v text)",
		"1: ALTER TABLE items RENAME name TO title", "1: UPDATE items SET id = -id", "1: TRUNCATE other", "1: COMMIT",
		"1: INSERT INTO items VALUES (90000, 'after', 1, 'happy', 2.5)", "1: INSERT INTO other VALUES (1, 'after')",
		"1: BEGIN", "1: ALTER TABLE items DROP price", "1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(100001, 101000) n", "1: ROLLBACK",
		"1: INSERT INTO items VALUES (90001, 'after', 1, 'happy', 2.5)",
	}},
	{"key beside a full identity", []string{
		"1: INSERT INTO loose VALUES (-1, 'x')",
		"1: BEGIN", "1: INSERT INTO loose SELECT n, " + filler + " FROM generate_series(1, 1000) n", "1: ALTER TABLE loose ADD PRIMARY KEY (a)",
		"1: INSERT INTO loose SELECT n, " + filler + " FROM generate_series(2001, 3000) n", "1: ALTER TABLE loose ALTER v SET NOT NULL", "1: UPDATE loose SET v = 'y'", "1: COMMIT",
		"1: INSERT INTO loose VALUES (-2, 'x')",
	}},
	{"large values", []string{
		"1: BEGIN", "1: INSERT INTO other SELECT n, (SELECT string_agg(md5((n * m)::text), '') FROM generate_series(1, 20000) m) FROM generate_series(1, 6) n",
		"1: UPDATE other SET id = id + 100", "1: UPDATE other SET v = v || 'x' WHERE id > 103", "1: COMMIT",
	}},
	{"no key and whole rows", []string{
		"1: BEGIN", "1: INSERT INTO loose SELECT n % 7, " + filler + " FROM generate_series(1, 1000) n", "1: DELETE FROM loose WHERE a = 3",
		"1: INSERT INTO skip_this SELECT " + filler + " FROM generate_series(1, 1000) n", "1: UPDATE loose SET a = NULL WHERE a = 4", "1: COMMIT",
	}},
	{"two-phase", []string{
		"1: BEGIN", "1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(1, 1000) n", "1: PREPARE TRANSACTION 'one'",
		"1: BEGIN", "1: INSERT INTO items SELECT n, " + filler + ", n FROM generate_series(5001, 6000) n", "1: PREPARE TRANSACTION 'two'",
		"1: INSERT INTO items VALUES (90000, 'between', 1)", "1: COMMIT PREPARED 'two'", "1: ROLLBACK PREPARED 'one'",
	}},
}

// TestInProgress: transactions that are received while they are in progress come out
// exactly as those that are received after their commit, from memory and from a file.
func TestInProgress(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres18"} {
		t.Run(server, func(t *testing.T) {
			for _, test := range progressCases {
				t.Run(test.name, func(t *testing.T) {
					d := newDatabase(t, server)
					d.exec(t, createItems, "CREATE TABLE other (id int PRIMARY KEY, v text)", "ALTER TABLE other ALTER v SET STORAGE EXTERNAL",
						"CREATE TABLE loose (a int, v text)", "ALTER TABLE loose REPLICA IDENTITY FULL", "CREATE TABLE skip_this (v text)")
					dir := t.TempDir()
					on, off := d.capture(t, "on", true, postgres.WithDataDir(dir)), d.capture(t, "off", false)
					d.inTurn(t, test.statements...)
					d.exec(t, "INSERT INTO items (id) VALUES (1000000)")
					for _, c := range []*capturing{on, off} {
						c.log.Wait(t, "last row", func(r []*capturetest.Record) bool {
							return len(r) > 0 && string(r[len(r)-1].Key) == `{"id":1000000}`
						})
					}
					if n := same(t, test.name, on.log, off.log); n < 10 {
						t.Errorf("only %d records were compared", n)
					}
					// Statistics come late on 14.
					capturetest.Poll(t, "the server's count of transactions in progress", func() bool {
						streamed := d.query(t, "SELECT stream_txns > 0 FROM pg_stat_replication_slots WHERE slot_name = 'slot_"+d.name+"_on'")
						return len(streamed) == 1 && streamed[0][0] == "t"
					})
					if st := on.Source.Status().Transactions; st == nil || st.Open != 0 || st.MemoryBytes != 0 || st.FileBytes != 0 {
						t.Errorf("something is left of transactions: %+v", st)
					}
				})
			}
		})
	}
}
