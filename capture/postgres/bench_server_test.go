package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/integration/service"
)

const benchTransactions, benchBatch = 4000, 100

// benchDatabase has a slot with a mix of inserts, updates and deletes of 240-byte
// rows with 9 columns in transactions of 100.
func benchDatabase(b *testing.B) (*Source, *server, *resume) {
	b.Helper()
	address := service.Database(b, service.Shared(b, "postgres18"))
	u, err := url.Parse(address)
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(&Config{URL: address, Tables: []string{"public.*"}, Slot: "slot_" + strings.TrimPrefix(u.Path, "/")}, "shop")
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	conn, err := s.connect(ctx, false)
	if err != nil {
		b.Fatal(err)
	}
	defer closeConn(conn)
	run := func(sql string) {
		b.Helper()
		if err := exec(ctx, conn, sql); err != nil {
			b.Fatal(err)
		}
	}
	run(`CREATE TABLE public.t (id bigint PRIMARY KEY, email text, first_name text, last_name text, mrr numeric(12,2), active bool, changed timestamptz, ref uuid, note text)`)
	srv, err := s.inspect(ctx)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.ensurePublication(ctx, srv, nil); err != nil {
		b.Fatal(err)
	}
	walsender, err := s.connect(ctx, true)
	if err != nil {
		b.Fatal(err)
	}
	r := &resume{System: srv.system, Timeline: srv.timeline, Epoch: 1, Snapshot: snapshotDone, Tables: oids(srv.relations)}
	if r.LSN, _, err = s.createSlot(ctx, &server{}, walsender, s.cfg.Slot, false, false); err != nil {
		b.Fatal(err)
	}
	closeConn(walsender)
	run(fmt.Sprintf(`DO $$ BEGIN
		FOR i IN 0..%d LOOP
			INSERT INTO public.t SELECT i * 100 + n, 'somebody' || n || '@example.com', 'Some', 'Body', n + 0.25, true, now(), gen_random_uuid(), repeat('x', 130) FROM generate_series(1, 50) n;
			UPDATE public.t SET mrr = mrr + 1, changed = now() WHERE id BETWEEN i * 100 + 1 AND i * 100 + 35;
			DELETE FROM public.t WHERE id BETWEEN i * 100 + 1 AND i * 100 + 15;
			COMMIT;
		END LOOP; END $$`, benchTransactions-1))
	if srv, err = s.inspect(ctx); err != nil {
		b.Fatal(err)
	}
	return s, srv, r
}

var errEnough = errors.New("enough")

// countdown stops after so many events.
type countdown struct {
	capture.Output
	left int
}

func (c *countdown) Event(e *change.Event) error {
	if err := c.Output.Event(e); err != nil {
		return err
	}
	if c.left--; c.left == 0 {
		return errEnough
	}
	return nil
}

func (c *countdown) Commit([]byte) error { return nil }

// BenchmarkServer reads the same content of a slot with a client that discards it and
// with a source whose envelopes go nowhere.
func BenchmarkServer(b *testing.B) {
	s, srv, r := benchDatabase(b)
	rows := benchTransactions * benchBatch
	report := func(b *testing.B) {
		b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	}
	b.Run("discard", func(b *testing.B) {
		for b.Loop() {
			conn, err := s.connect(b.Context(), true)
			if err != nil {
				b.Fatal(err)
			}
			w, err := takeOver(conn)
			if err != nil {
				b.Fatal(err)
			}
			w.mark = newWakeMark(w.conn)
			if err := w.query(fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL %s (proto_version '2', publication_names '%s')", s.cfg.Slot, lsnText(r.LSN), s.cfg.Publication)); err != nil {
				b.Fatal(err)
			}
			for n := 0; n < rows; {
				typ, body, err := w.next()
				if err != nil {
					b.Fatal(err)
				}
				if typ == 'd' && body[0] == 'w' && (body[25] == 'I' || body[25] == 'U' || body[25] == 'D') {
					n++
				}
			}
			w.close()
			free(b, s)
		}
		report(b)
	})
	read := func(b *testing.B, run func(ctx context.Context, out func(capture.Output) capture.Output) error) {
		for b.Loop() {
			err := run(b.Context(), func(o capture.Output) capture.Output { return &countdown{o, rows} })
			if !errors.Is(err, errEnough) {
				b.Fatal(err)
			}
			free(b, s)
		}
		report(b)
	}
	b.Run("nowhere", func(b *testing.B) {
		read(b, func(ctx context.Context, out func(capture.Output) capture.Output) error {
			again := *r
			return s.stream(ctx, srv, &again, out(&nowhere{enc: change.NewEncoder(s.Identity("1"))}))
		})
	})
	b.Run("run", func(b *testing.B) {
		read(b, func(ctx context.Context, out func(capture.Output) capture.Output) error {
			return capture.Run(ctx, &once{s, srv, r, out}, sink{}, change.NewEncoder(s.Identity("1")), capture.Options{})
		})
	})
}

// free waits until the slot is.
func free(b *testing.B, s *Source) {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	srv, err := s.inspect(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := s.waitForSlot(b.Context(), srv); err != nil || srv.slot.pid != 0 {
		b.Fatalf("slot is held by %d: %v", srv.slot.pid, err)
	}
}

// once is the source without its preparations.
type once struct {
	*Source
	srv *server
	r   *resume
	out func(capture.Output) capture.Output
}

func (o *once) Run(ctx context.Context, _ []byte, out capture.Output) error {
	again := *o.r
	return o.stream(ctx, o.srv, &again, o.out(out))
}

func (o *once) Confirm([]byte) {}

// sink is a log that forgets.
type sink struct{}

func (sink) Resume() []byte                             { return nil }
func (sink) Table(context.Context, *change.Table) error { return nil }
func (sink) Add(r *change.Record) (int, error)          { return len(r.Value), nil }
func (sink) Flush(context.Context, []byte) error        { return nil }
