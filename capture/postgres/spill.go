package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/penstock-cdc/penstock/disk"
)

// spillReserve is how much of the disk stays free of transactions in progress: the log
// and the state on the same disk stop at half of it.
const spillReserve = 512 << 20

// spillFolder is where transactions in progress go that are too large for memory: a
// file each, readable by its owner alone, of no use to anyone but the session that
// wrote it.
type spillFolder struct {
	dir     string // "": a temporary one, made when it is needed
	made    bool
	reserve uint64
	free    func(dir string) (uint64, error) // of the disk, in bytes
}

// newSpillFolder names the folder of a source in the data folder, "" for none.
func newSpillFolder(dataDir, source string) *spillFolder {
	f := &spillFolder{reserve: spillReserve, free: disk.Free}
	if dataDir != "" {
		f.dir = filepath.Join(dataDir, "transactions", url.PathEscape(source))
	}
	return f
}

// clean removes what an earlier process or session left.
func (f *spillFolder) clean() error {
	f.made = false
	if f.dir == "" {
		return nil
	}
	if err := os.RemoveAll(f.dir); err != nil {
		return &fileError{"remove transactions of an earlier run", err}
	}
	return nil
}

func (f *spillFolder) make() (err error) {
	if f.made {
		return nil
	}
	if f.dir == "" {
		f.dir, err = os.MkdirTemp("", "penstock-transactions-")
	} else {
		err = os.MkdirAll(f.dir, 0o700)
	}
	if err != nil {
		return &fileError{"make folder for transactions in progress", err}
	}
	f.made = true
	return nil
}

// fileError is an error of our own disk. It does not unwrap: the system's error numbers
// look like those of a lost connection, and connecting again mends nothing.
type fileError struct {
	what string
	err  error
}

func (e *fileError) Error() string { return e.what + ": " + e.err.Error() }

// append adds blocks to the file of a transaction that has that many bytes in it.
func (f *spillFolder) append(xid uint32, size int64, blocks [][]byte) (n int64, err error) {
	for _, b := range blocks {
		n += int64(len(b))
	}
	if err := f.make(); err != nil {
		return 0, err
	}
	free, err := f.free(f.dir)
	if err != nil {
		return 0, &fileError{"look for room in " + f.dir, err}
	}
	if free < f.reserve+uint64(n) {
		return 0, tooLargeProblem(f.dir, xid, size+n, free, f.reserve)
	}
	flags := os.O_WRONLY | os.O_APPEND
	if size == 0 {
		flags |= os.O_CREATE | os.O_EXCL
	}
	file, err := os.OpenFile(f.path(xid), flags, 0o600)
	if err != nil {
		return 0, &fileError{fmt.Sprintf("keep transaction %d", xid), err}
	}
	for _, b := range blocks {
		if _, err = file.Write(b); err != nil {
			break
		}
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return 0, &fileError{fmt.Sprintf("keep transaction %d", xid), err}
	}
	return n, nil
}

func (f *spillFolder) path(xid uint32) string {
	return filepath.Join(f.dir, strconv.FormatUint(uint64(xid), 10))
}

// remove removes the file of a transaction.
func (f *spillFolder) remove(xid uint32) error {
	if err := os.Remove(f.path(xid)); err != nil {
		return &fileError{fmt.Sprintf("remove transaction %d", xid), err}
	}
	return nil
}

// read calls entry with each entry of a transaction's file, size bytes in all, valid
// during the call.
func (f *spillFolder) read(xid uint32, size int64, entry func([]byte) error) error {
	file, err := os.Open(f.path(xid))
	if err != nil {
		return &fileError{fmt.Sprintf("read transaction %d", xid), err}
	}
	defer file.Close()
	return readEntries(file, size, entry)
}

// readEntries reads entries, each behind its length, from front to back.
func readEntries(in io.Reader, size int64, entry func([]byte) error) error {
	buf := make([]byte, blockSize)
	r, w := 0, 0
	fill := func(n int) error { // until n bytes are there
		if w-r >= n {
			return nil
		}
		if n > len(buf) {
			grown := make([]byte, n)
			w = copy(grown, buf[r:w])
			buf = grown
		} else {
			w = copy(buf, buf[r:w])
		}
		r = 0
		m, err := io.ReadAtLeast(in, buf[w:], n-w)
		w += m
		if err != nil {
			return &fileError{"read a transaction in progress", err}
		}
		return nil
	}
	for size > 0 {
		if err := fill(4); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint32(buf[r:])) + 4
		if n > size {
			return &fileError{"read a transaction in progress", errEntry}
		}
		if err := fill(int(n)); err != nil {
			return err
		}
		if err := entry(buf[r+4 : r+int(n)]); err != nil {
			return err
		}
		r += int(n)
		size -= n
	}
	return nil
}
