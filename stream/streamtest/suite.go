package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/stream"
)

// Run runs the suite. Start makes a log that has at least two partitions a topic, and
// returns what opens it.
func Run(t *testing.T, start func(testing.TB) Open) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"append and read", appendAndRead},
		{"order by key", orderByKey},
		{"repeated ids", repeatedIDs},
		{"tombstone", tombstone},
		{"everywhere", everywhere},
		{"big messages", bigMessages},
		{"too large", tooLarge},
		{"null key", nullKey},
		{"restart at every flush", restartEverywhere},
		{"lost before flush", lostBeforeFlush},
		{"two writers", twoWriters},
		{"many tables", manyTables},
		{"schemas", schemas},
		{"resume", resume},
		{"damage: log shorter than mark", shorterLog},
		{"consume", consume},
		{"consume from positions", consumePositions},
		{"consume a later topic", consumeLater},
		{"consumer's error", consumerError},
		{"cut", cut},
		{"unknown topic", unknownTopic},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(newBench(t, start)) })
	}
}

func appendAndRead(b *bench) {
	before := time.Now().Truncate(time.Millisecond)
	b.add(Record(b.table.Topic, 1, "one"))
	b.flush("r1")
	var got []stream.Message
	for _, m := range b.readAll(b.table.Topic) {
		got = append(got, m...)
	}
	if len(got) != 1 {
		b.Fatalf("%d messages, want 1", len(got))
	}
	m, want := got[0], Record(b.table.Topic, 1, "one")
	if m.Time.Before(before) || m.Time.After(time.Now()) {
		b.Errorf("time %v is not that of publishing", m.Time)
	}
	if m.Topic != want.Topic || !bytes.Equal(m.Key, want.Key) || !bytes.Equal(m.Value, want.Value) {
		b.Errorf("got %q %q %q", m.Topic, m.Key, m.Value)
	}
	if diff := cmp.Diff(want.Headers, m.Headers); diff != "" {
		b.Error(diff)
	}
	if topics, err := b.log.Topics(b.ctx, b.source+"."); err != nil || len(topics) < 2 {
		b.Errorf("topics %q, %v", topics, err)
	}
}

func orderByKey(b *bench) {
	const n, keys = 3000, 40
	for i := range n {
		r := Record(b.table.Topic, i+1, fmt.Sprintf("%d %d", i%keys, i))
		r.Key = fmt.Appendf(nil, `{"id":%d}`, i%keys)
		b.add(r)
		if i%700 == 0 {
			b.flush(fmt.Sprint(i))
		}
	}
	b.flush("end")
	total, used := 0, 0
	home, last := map[int]int{}, map[int]int{}
	for p, messages := range b.readAll(b.table.Topic) {
		if len(messages) > 0 {
			used++
		}
		total += len(messages)
		before := change.ID{}
		for i := range messages {
			var key, seq int
			if _, err := fmt.Sscanf(string(messages[i].Value), "%d %d", &key, &seq); err != nil {
				b.Fatal(err)
			}
			if at, ok := home[key]; ok && at != p {
				b.Fatalf("key %d is in partitions %d and %d", key, at, p)
			}
			home[key] = p
			if seq < last[key] {
				b.Fatalf("key %d: %d after %d", key, seq, last[key])
			}
			last[key] = seq
			var id change.ID
			text, _ := messages[i].Header(change.HeaderID)
			if err := id.UnmarshalText(text); err != nil || id.Compare(before) <= 0 {
				b.Fatalf("partition %d: id %v after %v, %v", p, id, before, err)
			}
			before = id
		}
	}
	if total != n || used < 2 {
		b.Errorf("%d messages in %d partitions, want %d in several", total, used, n)
	}
}

func repeatedIDs(b *bench) {
	records := []*change.Record{Record(b.table.Topic, 1, "a"), Record(b.table.Topic, 2, "b"), Record(b.table.Topic, 3, "c")}
	for _, r := range records {
		r.Key = []byte(`{"id":7}`)
	}
	if n := b.add(records...); n != 3 {
		b.Errorf("%d of 3 taken", n)
	}
	if n := b.add(records...); n != 0 {
		b.Errorf("%d of 3 repeats before the flush taken", n)
	}
	b.flush("r")
	if n := b.add(records...); n != 0 {
		b.Errorf("%d of 3 repeats after the flush taken", n)
	}
	b.restart()
	late := Record(b.table.Topic, 4, "d")
	late.Key = records[0].Key
	if n := b.add(append(records, late)...); n != 1 {
		b.Errorf("%d taken after the restart, want the new one alone", n)
	}
	b.flush("r")
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, values(b.read(b.table.Topic, b.partition(records[0])))); diff != "" {
		b.Error(diff)
	}
}

// partition finds the partition that has a record's key.
func (b *bench) partition(r *change.Record) int {
	b.Helper()
	for p, messages := range b.readAll(r.Topic) {
		for i := range messages {
			if bytes.Equal(messages[i].Key, r.Key) {
				return p
			}
		}
	}
	b.Fatalf("no message with the key of change %v", r.ID)
	return 0
}

func tombstone(b *bench) {
	rng := rand.New(rand.NewPCG(3, 4))
	var deletes int
	for i := range 1500 {
		value := make([]byte, 600) // random: several batches
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		deleted := Record(b.table.Topic, i+1, "x")
		deleted.Key, deleted.Value = []byte(`{"id":7}`), value
		stone := *deleted
		stone.Value = nil
		if n := b.add(deleted, &stone); n != 2 {
			b.Fatalf("%d of delete and tombstone taken", n)
		}
		deletes++
		if n := b.add(&stone, deleted); n != 0 {
			b.Fatalf("%d of their repeats taken", n)
		}
		if i == 700 {
			b.flush("r")
			if n := b.add(deleted, &stone); n != 0 {
				b.Fatalf("%d of their repeats taken after the flush", n)
			}
		}
	}
	b.flush("r")
	total := 0
	for _, messages := range b.readAll(b.table.Topic) {
		for i := 0; i < len(messages); i += 2 {
			first, _ := messages[i].Header(change.HeaderID)
			second, _ := messages[i+1].Header(change.HeaderID)
			if messages[i].Value == nil || messages[i+1].Value != nil || !bytes.Equal(first, second) {
				b.Fatalf("messages %d and %d are no delete and its tombstone", i, i+1)
			}
			total++
		}
	}
	if total != deletes {
		b.Errorf("%d deletes, want %d", total, deletes)
	}
}

func everywhere(b *bench) {
	b.add(Record(b.table.Topic, 1, "one"))
	marker := change.MarkerRecord(b.table, ID(2), change.Marker{Kind: change.SnapshotBegin, Snapshot: "s"})
	b.add(marker)
	b.flush("r")
	if n := b.add(marker); n != 0 {
		b.Error("repeated marker taken")
	}
	for p, messages := range b.readAll(b.table.Topic) {
		count := 0
		for i := range messages {
			if text, ok := messages[i].Header(change.HeaderMarker); ok {
				count++
				if messages[i].Key != nil || messages[i].Value != nil || !bytes.Contains(text, []byte("snapshot_begin")) {
					b.Errorf("marker on partition %d has key %q, value %q, %s", p, messages[i].Key, messages[i].Value, text)
				}
			}
		}
		if count != 1 {
			b.Errorf("partition %d has %d markers", p, count)
		}
	}
}

func bigMessages(b *bench) {
	rng := rand.New(rand.NewPCG(5, 6))
	var want [][]byte
	for i, size := range []int{10, 3 << 20, 200, 9 << 20, 1} {
		value := make([]byte, size)
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		r := Record(b.table.Topic, i+1, "x")
		r.Key, r.Value = []byte(`{"id":7}`), value
		b.add(r)
		want = append(want, value)
	}
	b.flush("r")
	b.restart()
	for _, messages := range b.readAll(b.table.Topic) {
		for i := range messages {
			if !bytes.Equal(messages[i].Value, want[i]) {
				b.Errorf("message %d of %d bytes came back as another of %d", i, len(want[i]), len(messages[i].Value))
			}
		}
	}
}

func tooLarge(b *bench) {
	r := Record(b.table.Topic, 1, "x")
	r.Value = make([]byte, 64<<20+1)
	_, err := b.writer.Add(r)
	var large *stream.TooLargeError
	if !errors.As(err, &large) || large.Topic != b.table.Topic || large.Key != len(r.Key) {
		b.Errorf("got %v", err)
	}
	// What does fit is taken all the same.
	b.add(Record(b.table.Topic, 2, "two"))
	b.flush("r")
}

func nullKey(b *bench) {
	for i := range 20 {
		r := Record(b.table.Topic, i+1, "v")
		r.Key = nil
		b.add(r)
	}
	b.flush("r")
	if messages := b.read(b.table.Topic, 0); len(messages) != 20 || messages[0].Key != nil {
		b.Errorf("partition 0 has %d messages without a key, want 20", len(messages))
	}
}

func restartEverywhere(b *bench) {
	const rounds = 8
	next := 1
	for round := range rounds {
		if got := string(b.writer.Resume()); round > 0 && got != fmt.Sprint(round-1) {
			b.Fatalf("round %d: resumes from %q", round, got)
		}
		// As a source does after a crash: some of the last ones come again.
		for i := max(1, next-5); i < next+10; i++ {
			b.add(Record(b.table.Topic, i, fmt.Sprint(i)))
		}
		next += 10
		b.flush(fmt.Sprint(round))
		b.restart()
	}
	seen := map[string]int{}
	for _, messages := range b.readAll(b.table.Topic) {
		for _, v := range values(messages) {
			seen[v]++
		}
	}
	for i := 1; i < next; i++ {
		if seen[fmt.Sprint(i)] != 1 {
			b.Errorf("change %d is there %d times", i, seen[fmt.Sprint(i)])
		}
	}
}

func lostBeforeFlush(b *bench) {
	b.add(Record(b.table.Topic, 1, "one"))
	b.flush("r1")
	b.add(Record(b.table.Topic, 2, "two"))
	b.restart()
	if got := string(b.writer.Resume()); got != "r1" {
		b.Errorf("resumes from %q, want r1", got)
	}
	if n := b.add(Record(b.table.Topic, 1, "one"), Record(b.table.Topic, 2, "two")); n != 1 {
		b.Errorf("%d taken, want the lost one", n)
	}
	b.flush("r2")
}

func twoWriters(b *bench) {
	first := b.writer
	b.add(Record(b.table.Topic, 1, "one"))
	b.flush("r1")
	b.add(Record(b.table.Topic, 2, "two"))
	b.write() // takes over
	if err := first.Flush(b.ctx, []byte("r2")); err == nil {
		b.Error("the writer that was fenced could flush")
	} else if fenced := new(stream.FencedError); !errors.As(err, &fenced) {
		b.Errorf("the writer that was fenced got %v", err)
	}
	if got := string(b.writer.Resume()); got != "r1" {
		b.Errorf("resumes from %q, want r1", got)
	}
	if n := b.add(Record(b.table.Topic, 1, "one"), Record(b.table.Topic, 2, "two")); n != 1 {
		b.Errorf("%d taken, want one", n)
	}
	b.flush("r2")
	total := 0
	for _, messages := range b.readAll(b.table.Topic) {
		total += len(messages)
	}
	if total != 2 {
		b.Errorf("%d messages, want 2", total)
	}
}

func manyTables(b *bench) {
	const tables = 12
	for i := range tables {
		b.announce(Table(b.source, fmt.Sprintf("t%02d", i)))
	}
	for n := range 600 {
		b.add(Record(change.Topic(b.source, "public", fmt.Sprintf("t%02d", n%tables)), n+1, fmt.Sprint(n)))
	}
	b.flush("r")
	for i := range tables {
		total := 0
		for _, messages := range b.readAll(change.Topic(b.source, "public", fmt.Sprintf("t%02d", i))) {
			total += len(messages)
		}
		if total != 600/tables {
			b.Errorf("table %d has %d messages, want %d", i, total, 600/tables)
		}
	}
}

func schemas(b *bench) {
	b.flush("r")
	next := Table(b.source, "customers")
	next.Columns = append(next.Columns, change.Column{Name: "phone", Kind: change.String, Type: "text"})
	next.Seal()
	b.announce(next)
	b.flush("r")
	b.restart()
	b.announce(next)
	b.announce(b.table)
	b.flush("r")
	for _, want := range []*change.Table{b.table, next} {
		got, err := b.log.Schema(b.ctx, b.source, want.Topic, want.Version)
		if err != nil {
			b.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			b.Error(diff)
		}
	}
	if n := len(b.read(stream.SchemasTopic(b.source), 0)); n != 2 {
		b.Errorf("schemas topic has %d messages, want one a version", n)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := b.log.Schema(ctx, b.source, b.table.Topic, "none"); err == nil {
		b.Error("a version that nobody wrote was found")
	}
}

func resume(b *bench) {
	if got := b.writer.Resume(); got != nil {
		b.Errorf("a new source resumes from %q", got)
	}
	b.flush("no rows")
	if got := string(b.writer.Resume()); got != "no rows" {
		b.Errorf("resumes from %q", got)
	}
	b.restart()
	if got := string(b.writer.Resume()); got != "no rows" {
		b.Errorf("resumes from %q after the restart", got)
	}
}

// shorterLog gives a writer marks of another log of the same source.
func shorterLog(b *bench) {
	b.add(Record(b.table.Topic, 1, "one"), Record(b.table.Topic, 2, "two"))
	b.flush("r")
	mark, err := b.marks.Load(b.ctx, b.source)
	if err != nil {
		b.Fatal(err)
	}
	other := &Marks{}
	if err := other.Save(b.ctx, b.source+"x", mark); err != nil {
		b.Fatal(err)
	}
	mark[len(mark)/2] ^= 1
	if err := other.Save(b.ctx, b.source, mark); err != nil {
		b.Fatal(err)
	}
	var damage *stream.DamageError
	if _, err := b.log.Writer(b.ctx, b.source, other); !errors.As(err, &damage) || damage.Fix == "" {
		b.Errorf("a damaged mark gave %v", err)
	}
}

func cut(b *bench) {
	c, ok := b.writer.(interface {
		Cut(resume []byte) func(context.Context) error
	})
	if !ok {
		b.Fatal("the writer has no Cut")
	}
	next := 1
	done := make(chan error, 1)
	done <- nil
	for round := range 20 {
		for range 50 {
			b.add(Record(b.table.Topic, next, fmt.Sprint(next)))
			next++
		}
		flush := c.Cut(fmt.Append(nil, round))
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		go func() { done <- flush(b.ctx) }()
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	if got := string(b.writer.Resume()); got != "19" {
		b.Errorf("resumes from %q, want 19", got)
	}
	total := 0
	for _, messages := range b.readAll(b.table.Topic) {
		total += len(messages)
	}
	if total != next-1 {
		b.Errorf("%d messages, want %d", total, next-1)
	}
}

func unknownTopic(b *bench) {
	if _, err := b.writer.Add(Record(b.source+".public.none", 1, "x")); err == nil {
		b.Error("a message to a topic that was not announced was taken")
	}
	if n, err := b.log.Partitions(b.ctx, b.source+".public.none"); n != 0 || err != nil {
		b.Errorf("it has %d partitions, %v", n, err)
	}
}
