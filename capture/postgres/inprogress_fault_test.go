package postgres_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/integration/service"
)

// spilled returns the files of transactions in progress.
func spilled(tb testing.TB, dir string) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "transactions", "shop", "*"))
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// TestInProgressRestart: a transaction is in a file when capture stops, when its
// connection is lost, and when capture stops while it is being published. It comes out
// once, as it does without streaming, and leaves no file.
func TestInProgressRestart(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, createItems)
	dir := t.TempDir()
	off := d.capture(t, "off", false)
	on := d.capture(t, "on", true, postgres.WithDataDir(dir))
	other := &database{url: d.url, name: d.name}
	other.connect(t)
	insert := func(from int) {
		t.Helper()
		other.exec(t, "INSERT INTO items SELECT n + "+[]string{"0", "100000", "200000"}[from]+", "+filler+", n FROM generate_series(1, 20000) n")
	}
	inFile := func() {
		t.Helper()
		capturetest.Poll(t, "transaction in a file", func() bool { st := on.Source.Status().Transactions; return st != nil && st.FileBytes > 0 })
	}
	other.exec(t, "BEGIN")
	insert(0)
	inFile()
	files := spilled(t, dir)
	if len(files) != 1 {
		t.Fatalf("files: %v", files)
	}
	for path, mode := range map[string]fs.FileMode{files[0]: 0o600, filepath.Dir(files[0]): 0o700 | fs.ModeDir} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v; %v", path, info.Mode(), mode, err)
		}
	}
	if st := on.Source.Status().Transactions; st.Open != 1 || st.Oldest.IsZero() || st.MemoryBytes > 1<<20 {
		t.Errorf("status says %+v", st)
	}

	if err := on.Stop(); err != nil {
		t.Fatal(err)
	}
	if left := spilled(t, dir); len(left) > 0 {
		t.Errorf("left by a stop: %v", left)
	}
	leftover := filepath.Join(dir, "transactions", "shop", "4711") // of a crash
	if err := errors.Join(os.MkdirAll(filepath.Dir(leftover), 0o700), os.WriteFile(leftover, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	on = d.captureInto(t, on.log, "on", true, postgres.WithDataDir(dir))
	if _, err := os.Stat(leftover); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a crash left is still there: %v", err)
	}
	insert(1)
	inFile()
	d.exec(t, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'slot_"+d.name+"_on'")
	capturetest.Poll(t, "another session", func() bool { return on.Source.Status().Transactions.Open == 0 })
	insert(2)
	inFile()

	other.exec(t, "COMMIT")
	on.log.Wait(t, "a part of it", func(r []*capturetest.Record) bool { return len(r) > 3000 })
	if err := on.Stop(); err != nil {
		t.Fatal(err)
	}
	on.log.Crash()
	if n := len(on.log.Records()); n == 60000 {
		t.Log("the transaction was published before capture stopped")
	}
	d.captureInto(t, on.log, "on", true, postgres.WithDataDir(dir))
	d.exec(t, "INSERT INTO items VALUES (1000000)")
	for _, log := range []*capturetest.Log{on.log, off.log} {
		log.Wait(t, "last row", func(r []*capturetest.Record) bool { return string(r[len(r)-1].Key) == `{"id":1000000}` })
	}
	if n := same(t, "restarts", on.log, off.log); n != 60001 {
		t.Errorf("%d records were compared", n)
	}
	if left := spilled(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestPrepared: a prepared transaction outlives the server and capture, and is published
// when it commits; one that is rolled back leaves no trace.
func TestPrepared(t *testing.T) {
	server := service.StartPostgres(t, "18")
	d := &database{url: server.Database("postgres"), name: "postgres"}
	d.connect(t)
	d.exec(t, createItems)
	on, off := d.capture(t, "on", true, postgres.WithDataDir(t.TempDir())), d.capture(t, "off", false)
	for _, name := range []string{"one", "two", "three"} {
		d.exec(t, "BEGIN", "INSERT INTO items SELECT n, "+filler+", length('"+name+"') FROM generate_series(1 + "+map[string]string{"one": "0", "two": "10000", "three": "20000"}[name]+", 1000 + "+
			map[string]string{"one": "0", "two": "10000", "three": "20000"}[name]+") n", "PREPARE TRANSACTION '"+name+"'")
	}
	d.exec(t, "INSERT INTO items VALUES (50000, 'first', 1)")
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.connect(t)
	d.exec(t, "COMMIT PREPARED 'two'", "ROLLBACK PREPARED 'one'", "INSERT INTO items VALUES (50001, 'then', 1)", "COMMIT PREPARED 'three'", "INSERT INTO items VALUES (1000000)")
	for _, c := range []*capturing{on, off} {
		c.log.Wait(t, "last row", func(r []*capturetest.Record) bool { return len(r) > 0 && string(r[len(r)-1].Key) == `{"id":1000000}` })
	}
	if n := same(t, "prepared", on.log, off.log); n != 1+1000+1+1000+1 {
		t.Errorf("%d records were compared", n)
	}
}
