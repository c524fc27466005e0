package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/integration/service"
	"github.com/penstock-cdc/penstock/stream"
)

// blockedLog is a log whose readers get nothing until it is opened.
type blockedLog struct {
	stream.Log
	open chan struct{}
}

func (l *blockedLog) Consume(ctx context.Context, group string, topics []string, c stream.Consumer) error {
	return l.Log.Consume(ctx, group, topics, blockedConsumer{c, l.open})
}

type blockedConsumer struct {
	stream.Consumer
	open chan struct{}
}

func (c blockedConsumer) Take(ctx context.Context, topic string, partition int, messages []stream.Message) error {
	select {
	case <-c.open:
		return c.Consumer.Take(ctx, topic, partition, messages)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestLoadWaitsForPipelines: a pipeline that takes nothing in holds up the load of its table, not the stream nor the load of
// a table that no pipeline reads; when it takes in again, the load ends.
func TestLoadWaitsForPipelines(t *testing.T) {
	const rows, other = 40_000, 30_000
	address := service.Database(t, service.Shared(t, "postgres18"))
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	run := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE TABLE big (id int PRIMARY KEY, v text)")
	run("CREATE TABLE unread (id int PRIMARY KEY)")
	run(fmt.Sprintf("INSERT INTO big SELECT n, repeat('x', 1000) FROM generate_series(1, %d) n", rows))
	run(fmt.Sprintf("INSERT INTO unread SELECT generate_series(1, %d)", other))
	dir := t.TempDir()
	text := fmt.Sprintf(`
source "postgres" "shop" {
  url    = %q
  slot   = %q
  tables = ["public.*"]
  table "big" { name = "public.big" }
}
app "discard" "null" { }
pipeline "big" {
  from = source.postgres.shop.big
  to   = app.discard.null.rows
  key  { id = tostring(row.id) }
  fields "source" { v = row.v }
}
`, address, "slot_"+conn.Config().Database)
	if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cli{out: io.Discard, err: io.Discard}
	p := c.load(dir)
	if p.diags.HasErrors() {
		t.Fatal(p.diags)
	}
	rt, err := openStore(p, partAll)
	if err != nil {
		t.Fatal(err)
	}
	defer rt.close()
	rt.running = true
	if err := rt.openStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocked := &blockedLog{rt.log, make(chan struct{})}
	rt.log = blocked
	if err := rt.openSources(t.Context()); err != nil {
		t.Fatal(err)
	}
	rt.watch = newSchemaWatch(p)
	if err := rt.openEngine(t.Context(), true); err != nil || p.diags.HasErrors() {
		t.Fatal(err, p.diags)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- rt.run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.sources["shop"].Drop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	tables := func() (big, unread capture.TableStatus) {
		for _, table := range p.sources["shop"].Status().Tables {
			switch table.Name {
			case "public.big":
				big = table
			case "public.unread":
				unread = table
			}
		}
		return big, unread
	}
	wait := func(what string, reached func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(2 * time.Minute); !reached(); <-tick.C {
			if time.Now().After(end) {
				t.Fatalf("%s: %+v", what, p.sources["shop"].Status())
			}
		}
	}
	wait("the load waits", func() bool {
		big, _ := tables()
		return big.SnapshotWaits == "pipeline big takes in what was read"
	})
	run("INSERT INTO unread VALUES (0)")
	wait("what no pipeline reads is loaded and streamed", func() bool {
		_, unread := tables()
		_, end, err := rt.log.Bounds(t.Context(), unread.Topic, 0)
		return err == nil && unread.Snapshot == "done" && end >= other+1
	})
	if big, _ := tables(); big.Snapshot != "reading" || big.SnapshotRows < paceEvents || big.SnapshotRows >= rows {
		t.Errorf("while the pipeline takes nothing in: %+v", big)
	}
	close(blocked.open)
	wait("the load ends", func() bool {
		big, _ := tables()
		progress, err := rt.engine.Progress("big", map[int]int64{0: rows})
		return big.Snapshot == "done" && err == nil && progress.CaughtUp()
	})
}
