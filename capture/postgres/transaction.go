package postgres

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// blockSize is the memory that transactions in progress grow by.
const blockSize = 256 << 10

// transactions are those in progress that the server has sent a part of. Together they
// have a budget of memory; beyond it the largest goes into a file.
type transactions struct {
	open   map[uint32]*transaction
	budget int64
	memory int64 // bytes of all blocks
	folder *spillFolder
	spare  [][]byte // blocks that were given back
}

// transaction is what was received of one, as entries in the order of arrival: first
// those in its file, then those in memory.
type transaction struct {
	xid     uint32
	began   time.Time // when its first part came
	origin  string
	blocks  [][]byte
	memory  int64 // bytes of its blocks
	file    int64 // bytes in its file; 0: there is none
	aborted map[uint32]bool
	schemas
	described map[uint32][]byte // Relation messages as they came, until one of their rows is kept as it came
	tables    []transactionTable
}

// transactionTable is a table that entries name by its place.
type transactionTable struct {
	oid   uint32
	table *change.Table
	count *tableCount
}

func newTransactions(budget int64, folder *spillFolder) *transactions {
	return &transactions{open: map[uint32]*transaction{}, budget: budget, folder: folder}
}

func (ts *transactions) begin(xid uint32) *transaction {
	tx := &transaction{xid: xid, began: time.Now(), schemas: newSchemas(), described: map[uint32][]byte{}}
	ts.open[xid] = tx
	return tx
}

// room returns n bytes of a transaction's memory to write an entry into.
func (ts *transactions) room(tx *transaction, n int) ([]byte, error) {
	n += 4
	if last := len(tx.blocks) - 1; last < 0 || cap(tx.blocks[last])-len(tx.blocks[last]) < n {
		size := int64(max(n, blockSize))
		for ts.memory > 0 && ts.memory+size > ts.budget {
			if err := ts.spill(); err != nil {
				return nil, err
			}
		}
		tx.blocks = append(tx.blocks, ts.block(int(size)))
		tx.memory += size
		ts.memory += size
	}
	b := &tx.blocks[len(tx.blocks)-1]
	at := len(*b)
	*b = (*b)[:at+n]
	binary.BigEndian.PutUint32((*b)[at:], uint32(n-4))
	return (*b)[at+4:], nil
}

func (ts *transactions) block(size int) []byte {
	if n := len(ts.spare); n > 0 && size == blockSize {
		b := ts.spare[n-1]
		ts.spare = ts.spare[:n-1]
		return b
	}
	return make([]byte, 0, size)
}

// spill writes the memory of the largest transaction to its file.
func (ts *transactions) spill() error {
	var largest *transaction
	for _, tx := range ts.open {
		if largest == nil || tx.memory > largest.memory {
			largest = tx
		}
	}
	n, err := ts.folder.append(largest.xid, largest.file, largest.blocks)
	if err != nil {
		return err
	}
	largest.file += n
	ts.release(largest)
	return nil
}

// release takes back the memory of a transaction.
func (ts *transactions) release(tx *transaction) {
	for _, b := range tx.blocks {
		if cap(b) == blockSize {
			ts.spare = append(ts.spare, b[:0])
		}
	}
	ts.memory -= tx.memory
	tx.blocks, tx.memory = tx.blocks[:0], 0
}

// drop forgets a transaction.
func (ts *transactions) drop(tx *transaction) error {
	delete(ts.open, tx.xid)
	ts.release(tx)
	if len(ts.open) == 0 {
		ts.spare = nil
	}
	if tx.file == 0 {
		return nil
	}
	return ts.folder.remove(tx.xid)
}

// status sums up for Status.
func (ts *transactions) status() capture.Transactions {
	st := capture.Transactions{Open: len(ts.open), MemoryBytes: ts.memory}
	for _, tx := range ts.open {
		st.FileBytes += tx.file
		if st.Oldest.IsZero() || tx.began.Before(st.Oldest) {
			st.Oldest = tx.began
		}
	}
	return st
}

// Kinds of entries.
const (
	entryImages  = 'i' // an event without what is known at its commit only
	entryMessage = 'm' // a message as it came, of a table that the catalog does not show yet as the transaction sees it
)

// An entry begins with its subtransaction (4 bytes), its kind (1) and its LSN (8).
const entryHead = 13

func putEntryHead(b []byte, subxid uint32, kind byte, lsn uint64) []byte {
	binary.BigEndian.PutUint32(b, subxid)
	b[4] = kind
	binary.BigEndian.PutUint64(b[5:], lsn)
	return b[entryHead:]
}

// keepMessage keeps a message as it came.
func (ts *transactions) keepMessage(tx *transaction, subxid uint32, lsn uint64, message []byte) error {
	b, err := ts.room(tx, entryHead+len(message))
	if err != nil {
		return err
	}
	copy(putEntryHead(b, subxid, entryMessage, lsn), message)
	return nil
}

// keepImages keeps an event of the table at that place of the transaction's.
func (ts *transactions) keepImages(tx *transaction, subxid uint32, lsn uint64, op change.Op, table int, im *change.Images) error {
	b, err := ts.room(tx, entryHead+1+4+12+len(im.Key)+len(im.Moved)+len(im.Unchanged)+len(im.Rows))
	if err != nil {
		return err
	}
	b = putEntryHead(b, subxid, entryImages, lsn)
	b[0] = byte(op)
	binary.BigEndian.PutUint32(b[1:], uint32(table))
	b = b[5:]
	for _, part := range [][]byte{im.Key, im.Moved, im.Unchanged} {
		n := uint32(len(part)) + 1
		if part == nil {
			n = 0
		}
		binary.BigEndian.PutUint32(b, n)
		b = b[4+copy(b[4:], part):]
	}
	copy(b, im.Rows)
	return nil
}

// readImages reads what keepImages wrote behind the head, into im.
func readImages(b []byte, im *change.Images) (op change.Op, table int, err error) {
	if len(b) < 5 {
		return 0, 0, &fileError{"read a transaction in progress", errEntry}
	}
	op, table = change.Op(b[0]), int(binary.BigEndian.Uint32(b[1:]))
	b = b[5:]
	for _, part := range []*[]byte{&im.Key, &im.Moved, &im.Unchanged} {
		if len(b) < 4 {
			return 0, 0, &fileError{"read a transaction in progress", errEntry}
		}
		n := int(binary.BigEndian.Uint32(b))
		b = b[4:]
		*part = nil
		if n > 0 {
			if n--; n > len(b) {
				return 0, 0, &fileError{"read a transaction in progress", errEntry}
			}
			*part, b = b[:n:n], b[n:]
		}
	}
	im.Rows = b
	return op, table, nil
}

var errEntry = errors.New("an entry is cut off")

// entries calls f with each entry that no aborted subtransaction made, valid during the call.
func (ts *transactions) entries(tx *transaction, f func(kind byte, lsn uint64, body []byte) error) error {
	entry := func(b []byte) error {
		if len(b) < entryHead {
			return &fileError{"read a transaction in progress", errEntry}
		}
		if len(tx.aborted) > 0 && tx.aborted[binary.BigEndian.Uint32(b)] {
			return nil
		}
		return f(b[4], binary.BigEndian.Uint64(b[5:]), b[entryHead:])
	}
	if tx.file > 0 {
		if err := ts.folder.read(tx.xid, tx.file, entry); err != nil {
			return err
		}
	}
	for _, b := range tx.blocks {
		for len(b) > 0 {
			n := 4 + int(binary.BigEndian.Uint32(b))
			if err := entry(b[4:n]); err != nil {
				return err
			}
			b = b[n:]
		}
	}
	return nil
}
