package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// TestTransactionEntries: what was kept comes back in order, from the file first, without
// what aborted subtransactions did.
func TestTransactionEntries(t *testing.T) {
	ts := newTransactions(1<<20, newSpillFolder(t.TempDir(), "a/b"))
	const count = 4
	want := make([][]string, count)
	var open []*transaction
	for xid := range count {
		open = append(open, ts.begin(uint32(100+xid)))
	}
	for n := range 8000 {
		x := n % count
		tx := open[x]
		subxid := tx.xid + uint32(n/7%3)*1000
		value := fmt.Sprintf("%d ", n) + strings.Repeat("x", n%700)
		if n%3000 == 17 { // larger than a block
			value = fmt.Sprint(n) + strings.Repeat("y", 3*blockSize)
		}
		var err error
		if n%5 == 0 {
			err = ts.keepMessage(tx, subxid, uint64(n), []byte(value))
		} else {
			im := &change.Images{Key: []byte{}, Rows: []byte(value)}
			if n%2 == 0 {
				im = &change.Images{Key: []byte("k" + value), Moved: []byte("m"), Unchanged: []byte("u"), Rows: []byte(value)}
			}
			err = ts.keepImages(tx, subxid, uint64(n), change.Update, n%9, im)
		}
		if err != nil {
			t.Fatal(err)
		}
		if ts.memory > 1<<20+3*blockSize+1<<10 {
			t.Fatalf("%d bytes in memory", ts.memory)
		}
		if subxid != tx.xid+1000 {
			want[x] = append(want[x], fmt.Sprintf("%d %s", n, value))
		}
	}
	for x, tx := range open {
		tx.aborted = map[uint32]bool{tx.xid + 1000: true}
		if tx.file == 0 {
			t.Errorf("transaction %d has no file", tx.xid)
		}
		var got []string
		err := ts.entries(tx, func(kind byte, lsn uint64, body []byte) error {
			if kind == entryImages {
				var im change.Images
				op, table, err := readImages(body, &im)
				if err != nil || op != change.Update || table != int(lsn)%9 || im.Key == nil || (im.Moved == nil) == (lsn%2 == 0) || (im.Unchanged == nil) == (lsn%2 == 0) {
					t.Fatalf("entry %d: %v %c %d %+v", lsn, err, op, table, im)
				}
				if lsn%2 == 0 && string(im.Key) != "k"+string(im.Rows) {
					t.Fatalf("entry %d has another's key", lsn)
				}
				body = im.Rows
			}
			got = append(got, fmt.Sprintf("%d %s", lsn, body))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want[x]) {
			t.Fatalf("got %d entries, want %d", len(got), len(want[x]))
		}
		for i := range got {
			if got[i] != want[x][i] {
				t.Fatalf("entry %d is %.40s, want %.40s", i, got[i], want[x][i])
			}
		}
	}
	for _, tx := range open {
		if err := ts.drop(tx); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := os.ReadDir(ts.folder.dir); err != nil || len(files) > 0 || ts.memory != 0 {
		t.Errorf("left: %v %v, %d bytes of memory", files, err, ts.memory)
	}
}

// TestTransactionReserve: a transaction for which the disk has too little room is an
// error that says so and that nobody tries to mend by connecting again.
func TestTransactionReserve(t *testing.T) {
	ts := newTransactions(1<<20, newSpillFolder(t.TempDir(), "shop"))
	ts.folder.reserve = math.MaxInt64
	tx := ts.begin(7)
	var err error
	for n := 0; err == nil && n < 2000; n++ {
		err = ts.keepMessage(tx, 7, 1, make([]byte, 1000))
	}
	var full *capture.Problem
	if !errors.As(err, &full) || full.Code != "E0435" || lost(err) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"transaction 7 is too large for the disk of " + ts.folder.dir, "Make room", "streaming = false"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// TestTransactionFileLost: a file that was taken away or cut is an error of its own.
func TestTransactionFileLost(t *testing.T) {
	ts := newTransactions(1<<20, newSpillFolder(t.TempDir(), "shop"))
	tx := ts.begin(7)
	for range 3000 {
		if err := ts.keepMessage(tx, 7, 1, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	read := func() error {
		return ts.entries(tx, func(byte, uint64, []byte) error { return nil })
	}
	if err := os.Truncate(ts.folder.path(7), tx.file-1); err != nil {
		t.Fatal(err)
	}
	var file *fileError
	if err := read(); !errors.As(err, &file) || lost(err) {
		t.Errorf("cut: got %v", err)
	}
	if err := os.Remove(ts.folder.path(7)); err != nil {
		t.Fatal(err)
	}
	if err := read(); !errors.As(err, &file) || lost(err) {
		t.Errorf("removed: got %v", err)
	}
	if err := readEntries(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 1}), 5, func([]byte) error { return nil }); !errors.As(err, &file) {
		t.Errorf("a length that cannot be: got %v", err)
	}
}
