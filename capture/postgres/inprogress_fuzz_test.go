package postgres

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// lines collects records as text.
type lines struct {
	discard
	enc   *change.Encoder
	lines []string
}

func (l *lines) Event(e *change.Event) error {
	return l.enc.Encode(e, time.Unix(1, 0), func(r *change.Record) error {
		l.lines = append(l.lines, fmt.Sprintf("%s %v %s %s %v", r.ID, r.Everywhere, r.Key, r.Value, r.Headers))
		return nil
	})
}

// newLines is a stream that collects, and what it collects into.
func newLines() (*stream, *lines) {
	out := &lines{enc: change.NewEncoder(change.Source{Connector: change.Postgres, Name: "shop"})}
	st := benchStream(nil)
	st.out = out
	return st, out
}

// Messages of transaction xid; within a block each has its subtransaction behind its kind.
func rowMessage(kind byte, id, other int) []byte {
	tuple := func(b []byte, id int) []byte {
		b = binary.BigEndian.AppendUint16(b, uint16(len(benchTypes)))
		value := fmt.Sprint(id)
		b = append(binary.BigEndian.AppendUint32(append(b, 't'), uint32(len(value))), value...)
		for range benchTypes[1:] {
			b = append(b, 'n')
		}
		return b
	}
	b := []byte{kind, 0, 0, 0, 1}
	switch kind {
	case 'I':
		return tuple(append(b, 'N'), id)
	case 'D':
		return tuple(append(b, 'K'), id)
	}
	return tuple(append(tuple(append(b, 'K'), other), 'N'), id)
}

func within(subxid uint32, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{message[0]}, subxid), message[1:]...)
}

func commitMessage(kind byte, xid uint32, lsn uint64) []byte {
	b := []byte{kind}
	if kind == 'c' {
		b = binary.BigEndian.AppendUint32(b, xid)
	}
	b = binary.BigEndian.AppendUint64(append(b, 0), lsn)
	b = binary.BigEndian.AppendUint64(b, lsn+1)
	return binary.BigEndian.AppendUint64(b, lsn)
}

func beginMessage(xid uint32, lsn uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'B'}, lsn)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, lsn), xid)
}

// FuzzInProgress: whatever interleaving of transactions, rows, savepoints, commits and
// aborts, what is received in progress comes out as what is received after the commit.
func FuzzInProgress(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x10\x11\x12\x13\x20\x21\x22\x23\x40\x50\x60\x70"))
	f.Add([]byte("\x00\x00\x00\x70\x04\x04\x44\x01\x71\x08\x88\x72\x0c\x0c\xf3"))
	f.Fuzz(func(t *testing.T, program []byte) {
		got, gotLines := newLines()
		want, wantLines := newLines()
		// Each block of memory pushes another transaction out into its file.
		got.open.transactions = newTransactions(1, newSpillFolder(t.TempDir(), "shop"))
		type row struct {
			subxid uint32
			lsn    uint64
			b      []byte
		}
		open := map[uint32][]row{}
		lsn, aborted := uint64(100), uint32(1)
		send := func(st *stream, lsn uint64, b []byte) {
			t.Helper()
			if err := st.data(xlogData(lsn, b)); err != nil {
				t.Fatalf("message %q: %v", b[0], err)
			}
		}
		for n, op := range program {
			xid := uint32(op&3)*100 + 1
			subxid := xid
			if part := uint32(op >> 2 & 3); part > 0 {
				subxid += 1000*aborted + part
			}
			rows, begun := open[xid]
			if !begun {
				send(got, 0, append(binary.BigEndian.AppendUint32([]byte{'S'}, xid), 1))
				got.open.current.relations[1] = benchRelation(got)
				send(got, 0, []byte{'E'})
				open[xid] = nil
			}
			lsn += uint64(op >> 7) // rows share one now and then
			switch action := op >> 4 & 7; action {
			case 7:
				send(got, 0, commitMessage('c', xid, lsn+1))
				send(want, 0, beginMessage(xid, lsn+1))
				for _, r := range rows {
					send(want, r.lsn, r.b)
				}
				send(want, 0, commitMessage('C', xid, lsn+1))
				delete(open, xid)
				lsn += 2
			case 6:
				send(got, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{'A'}, xid), subxid))
				if subxid == xid {
					delete(open, xid)
					break
				}
				kept := []row{}
				for _, r := range rows {
					if r.subxid != subxid {
						kept = append(kept, r)
					}
				}
				open[xid] = kept
				aborted++ // the id of an aborted subtransaction is never used again
			default:
				message := rowMessage("IIUUD"[min(action, 4)], n, n-int(action&1))
				send(got, 0, append(binary.BigEndian.AppendUint32([]byte{'S'}, xid), 0))
				send(got, lsn, within(subxid, message))
				send(got, 0, []byte{'E'})
				open[xid] = append(rows, row{subxid, lsn, message})
			}
		}
		if len(gotLines.lines) != len(wantLines.lines) {
			t.Fatalf("got %d records, want %d", len(gotLines.lines), len(wantLines.lines))
		}
		for i := range gotLines.lines {
			if gotLines.lines[i] != wantLines.lines[i] {
				t.Fatalf("record %d:\n got %s\nwant %s", i, gotLines.lines[i], wantLines.lines[i])
			}
		}
		got.endProgress()
	})
}
