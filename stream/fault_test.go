package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/stream/streamtest"
)

// fileMarks keeps marks in a file each, durable as state's are.
type fileMarks struct{ dir string }

func (m fileMarks) Load(_ context.Context, source string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(m.dir, source+".mark"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (m fileMarks) Save(_ context.Context, source string, mark []byte) error {
	name := filepath.Join(m.dir, source+".mark")
	if err := os.WriteFile(name+".new", mark, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

const crashVariable = "PENSTOCK_STREAM_CRASH"

// crashWriter writes transactions of a few changes until it is killed, and tells on
// stdout which are durable. The resume point is the number of the next change.
func crashWriter(dir string, embedded bool, brokers string) error {
	ctx := context.Background()
	var log stream.Log
	var err error
	if embedded {
		log, err = stream.OpenEmbedded(ctx, stream.EmbeddedOptions{Path: filepath.Join(dir, "stream.db"), Partitions: 3})
	} else {
		log, err = stream.OpenKafka(ctx, stream.KafkaOptions{Brokers: []string{brokers}, Partitions: 3})
	}
	if err != nil {
		return err
	}
	source := filepath.Base(dir)
	w, err := log.Writer(ctx, source, fileMarks{dir})
	if err != nil {
		return err
	}
	table := streamtest.Table(source, "customers")
	if err := w.Table(ctx, table); err != nil {
		return err
	}
	next := 1
	if r := w.Resume(); r != nil {
		if next, err = strconv.Atoi(string(r)); err != nil {
			return err
		}
	}
	fmt.Println("start", next)
	rng := rand.New(rand.NewPCG(uint64(next), 1))
	filler := strings.Repeat("x", 300)
	for {
		for range 1 + rng.IntN(400) {
			r := streamtest.Record(table.Topic, next, fmt.Sprintf("%d %s", next, filler[:rng.IntN(300)]))
			r.Key = fmt.Appendf(nil, `{"id":%d}`, next%97)
			if _, err := w.Add(r); err != nil {
				return err
			}
			if next%10 == 0 {
				r.Value = nil
				if _, err := w.Add(r); err != nil {
					return err
				}
			}
			next++
		}
		if err := w.Flush(ctx, []byte(strconv.Itoa(next))); err != nil {
			return err
		}
		fmt.Println("durable", next)
	}
}

func TestMain(m *testing.M) {
	if text := os.Getenv(crashVariable); text != "" {
		var args struct {
			Dir, Brokers string
			Embedded     bool
		}
		err := json.Unmarshal([]byte(text), &args)
		if err == nil {
			err = crashWriter(args.Dir, args.Embedded, args.Brokers)
		}
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crash runs writers and kills each after a random time, some of them before they
// wrote anything; then every change told to be durable must be there, once and in
// order, whatever was killed.
func crash(t *testing.T, dir string, embedded bool, brokers string, rounds int, open func() stream.Log) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	args, err := json.Marshal(map[string]any{"Dir": dir, "Brokers": brokers, "Embedded": embedded})
	if err != nil {
		t.Fatal(err)
	}
	durable := 1
	for round := range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashVariable+"="+string(args))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for flushes := rng.IntN(40); lines.Scan(); {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			n, _ := strconv.Atoi(rest)
			switch word {
			case "error":
				t.Fatalf("round %d: %s", round, rest)
			case "start":
				if n < durable {
					t.Fatalf("round %d: resumes at %d, %d was durable", round, n, durable)
				}
			case "durable":
				durable = n
			}
			if flushes--; flushes <= 0 {
				// The kill meets the next flush at some point of it.
				time.AfterFunc(time.Duration(rng.IntN(4000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
				flushes = 1 << 30
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // it was killed
	}
	log := open()
	defer log.Close()
	source := filepath.Base(dir)
	w, err := log.Writer(t.Context(), source, fileMarks{dir})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	next, err := strconv.Atoi(string(w.Resume()))
	if err != nil || next < durable {
		t.Fatalf("resumes at %q, %d was durable", w.Resume(), durable)
	}
	seen := map[int]int{}
	topic := change.Topic(source, "public", "customers")
	partitions, err := log.Partitions(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		start, end, err := log.Bounds(t.Context(), topic, p)
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		for start < end {
			messages, err := log.Read(t.Context(), topic, p, start, 8<<20)
			if err != nil || len(messages) == 0 {
				t.Fatalf("partition %d offset %d: %d messages, %v", p, start, len(messages), err)
			}
			for i := range messages {
				m := &messages[i]
				start = m.Offset + 1
				if streamtest.IsFence(m) {
					continue
				}
				var id change.ID
				text, _ := m.Header(change.HeaderID)
				if err := id.UnmarshalText(text); err != nil {
					t.Fatal(err)
				}
				n := int(id.Commit())
				if m.Value == nil {
					if n != last {
						t.Fatalf("partition %d: the tombstone of %d is behind %d", p, n, last)
					}
					continue
				}
				if n <= last {
					t.Fatalf("partition %d: %d is behind %d", p, n, last)
				}
				last = n
				seen[n]++
			}
		}
	}
	for n := 1; n < next; n++ {
		if seen[n] != 1 {
			t.Fatalf("change %d is there %d times", n, seen[n])
		}
	}
	t.Logf("%d changes, %d rounds", next-1, rounds)
}

func TestEmbeddedCrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "crash")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	crash(t, dir, true, "", 30, func() stream.Log {
		return openEmbedded(t, stream.EmbeddedOptions{Path: filepath.Join(dir, "stream.db"), Partitions: 3})
	})
}

// damageCase is a log of three flushes with its marks, closed.
type damageCase struct {
	*testing.T
	path  string
	marks *streamtest.Marks
	topic string
}

func newDamage(t *testing.T) *damageCase {
	t.Helper()
	d := &damageCase{T: t, path: filepath.Join(t.TempDir(), "stream.db"), marks: &streamtest.Marks{}}
	d.write(1, 4)
	return d
}

// write opens the log, flushes some, and leaves a process that ends without closing.
func (d *damageCase) write(from, to int) {
	d.Helper()
	e := openEmbedded(d, stream.EmbeddedOptions{Path: d.path})
	w, err := e.Writer(d.Context(), "shop", d.marks)
	if err != nil {
		d.Fatal(err)
	}
	table := streamtest.Table("shop", "customers")
	d.topic = table.Topic
	if err := w.Table(d.Context(), table); err != nil {
		d.Fatal(err)
	}
	for i := from; i < to; i++ {
		if _, err := w.Add(streamtest.Record(table.Topic, i, noise(i))); err != nil {
			d.Fatal(err)
		}
		if err := w.Flush(d.Context(), []byte(strconv.Itoa(i))); err != nil {
			d.Fatal(err)
		}
	}
	w.Close()
	if err := e.Close(); err != nil {
		d.Fatal(err)
	}
}

// noise is text that does not compress well.
func noise(seed int) string {
	rng := rand.New(rand.NewPCG(uint64(seed), 7))
	var b strings.Builder
	for b.Len() < 20_000 {
		fmt.Fprintf(&b, "%x", rng.Uint64())
	}
	return b.String()
}

// use opens and reads it all and returns the first error.
func (d *damageCase) use(opts stream.EmbeddedOptions) error {
	opts.Path = d.path
	e, err := stream.OpenEmbedded(d.Context(), opts)
	if err != nil {
		return err
	}
	defer e.Close()
	w, err := e.Writer(d.Context(), "shop", d.marks)
	if err != nil {
		return err
	}
	w.Close()
	start, end, err := e.Bounds(d.Context(), d.topic, 0)
	if err != nil {
		return err
	}
	for start < end {
		messages, err := e.Read(d.Context(), d.topic, 0, start, 1<<20)
		if err != nil {
			return err
		}
		start = messages[len(messages)-1].Offset + 1
	}
	return nil
}

func (d *damageCase) named(err error) {
	d.Helper()
	var damage *stream.DamageError
	if !errors.As(err, &damage) {
		d.Fatalf("damage was not named: %v", err)
	}
	if damage.Fix == "" || damage.Missing == "" {
		d.Errorf("what to do is not said: %v", err)
	}
	d.Log(err)
}

func (d *damageCase) file(change func([]byte) []byte) {
	d.Helper()
	b, err := os.ReadFile(d.path)
	if err != nil {
		d.Fatal(err)
	}
	if err := os.WriteFile(d.path, change(b), 0o600); err != nil {
		d.Fatal(err)
	}
}

func TestEmbeddedDamage(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		if err := newDamage(t).use(stream.EmbeddedOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("flipped byte in a message", func(t *testing.T) {
		d := newDamage(t)
		d.file(func(b []byte) []byte {
			at := bytes.Index(b, []byte(noise(2)[10_000:10_030]))
			if at < 0 {
				t.Fatal("the message is not in the file as it is; is it compressed?")
			}
			b[at] ^= 1
			return b
		})
		d.named(d.use(stream.EmbeddedOptions{}))
	})
	t.Run("cut off", func(t *testing.T) {
		for _, keep := range []float64{0, 0.1, 0.5, 0.9} {
			d := newDamage(t)
			d.file(func(b []byte) []byte { return b[:int(float64(len(b))*keep)] })
			d.named(d.use(stream.EmbeddedOptions{}))
		}
	})
	t.Run("older file put back", func(t *testing.T) {
		d := newDamage(t)
		older, err := os.ReadFile(d.path)
		if err != nil {
			t.Fatal(err)
		}
		d.write(4, 6)
		d.file(func([]byte) []byte { return older })
		d.named(d.use(stream.EmbeddedOptions{}))
		if err := d.use(stream.EmbeddedOptions{Adopt: true}); err != nil {
			t.Errorf("adopted: %v", err)
		}
	})
	t.Run("WAL gone", func(t *testing.T) {
		d := newDamage(t)
		older, err := os.ReadFile(d.path)
		if err != nil {
			t.Fatal(err)
		}
		e := openEmbedded(t, stream.EmbeddedOptions{Path: d.path})
		w, err := e.Writer(t.Context(), "shop", d.marks)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		d.file(func([]byte) []byte { return older })
		d.named(d.use(stream.EmbeddedOptions{}))
	})
	t.Run("file gone", func(t *testing.T) {
		d := newDamage(t)
		if err := os.Remove(d.path); err != nil {
			t.Fatal(err)
		}
		d.named(d.use(stream.EmbeddedOptions{}))
	})
	t.Run("state gone", func(t *testing.T) {
		d := newDamage(t)
		d.marks = &streamtest.Marks{}
		d.named(d.use(stream.EmbeddedOptions{}))
	})
	t.Run("older state put back", func(t *testing.T) {
		d := newDamage(t)
		older, err := d.marks.Load(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		d.write(4, 8)
		if err := d.marks.Save(t.Context(), "shop", older); err != nil {
			t.Fatal(err)
		}
		d.named(d.use(stream.EmbeddedOptions{}))
	})
	t.Run("mark not saved", func(t *testing.T) { // as when the process ends between log and mark
		d := newDamage(t)
		older, err := d.marks.Load(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		d.write(4, 5)
		if err := d.marks.Save(t.Context(), "shop", older); err != nil {
			t.Fatal(err)
		}
		if err := d.use(stream.EmbeddedOptions{}); err != nil {
			t.Errorf("one flush more in the log than in the state is no damage: %v", err)
		}
	})
	t.Run("any flipped byte", func(t *testing.T) {
		d := newDamage(t)
		whole, err := os.ReadFile(d.path)
		if err != nil {
			t.Fatal(err)
		}
		noticed := 0
		for at := 0; at < len(whole); at += len(whole)/150 + 1 {
			d.file(func([]byte) []byte {
				b := bytes.Clone(whole)
				b[at] ^= 0x10
				return b
			})
			for _, name := range []string{"-wal", "-shm"} {
				_ = os.Remove(d.path + name)
			}
			if err := d.use(stream.EmbeddedOptions{}); err != nil { // never a panic, never other messages
				noticed++
			}
		}
		// The others are in unused space.
		if noticed < 50 {
			t.Errorf("%d of 150 noticed", noticed)
		}
	})
}

func TestEmbeddedDiskReserve(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stream.db")
	e := openEmbedded(t, stream.EmbeddedOptions{Path: path, Reserve: 1 << 60})
	defer e.Close()
	w, err := e.Writer(t.Context(), "shop", &streamtest.Marks{})
	if err != nil {
		t.Fatal(err)
	}
	table := streamtest.Table("shop", "customers")
	if err := w.Table(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(streamtest.Record(table.Topic, 1, "x")); err != nil {
		t.Fatal(err)
	}
	var full *stream.DiskFullError
	if err := w.Flush(t.Context(), nil); !errors.As(err, &full) || full.Path != path {
		t.Errorf("got %v", err)
	}
}
