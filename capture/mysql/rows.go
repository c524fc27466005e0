package mysql

import (
	"fmt"

	"github.com/go-mysql-org/go-mysql/replication"
)

// rows is a rows event up to its rows.
type rows struct {
	table   uint64
	op      rowsOp
	columns int
	before  []byte // bitmap of the columns in the first image (the only one but of updates)
	after   []byte // of the second, updates only
	data    []byte // the images one after the other
}

type rowsOp uint8

const (
	rowsWrite rowsOp = iota
	rowsUpdate
	rowsDelete
)

// rowsVersion tells what kind of rows event a type is; ok is false for other types.
func rowsVersion(kind replication.EventType) (op rowsOp, version int, compressed, ok bool) {
	switch kind {
	case replication.WRITE_ROWS_EVENTv1:
		return rowsWrite, 1, false, true
	case replication.UPDATE_ROWS_EVENTv1:
		return rowsUpdate, 1, false, true
	case replication.DELETE_ROWS_EVENTv1:
		return rowsDelete, 1, false, true
	case replication.WRITE_ROWS_EVENTv2:
		return rowsWrite, 2, false, true
	case replication.UPDATE_ROWS_EVENTv2:
		return rowsUpdate, 2, false, true
	case replication.DELETE_ROWS_EVENTv2:
		return rowsDelete, 2, false, true
	case replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1:
		return rowsWrite, 1, true, true
	case replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1:
		return rowsUpdate, 1, true, true
	case replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		return rowsDelete, 1, true, true
	}
	return 0, 0, false, false
}

// rowsTable reads the id of a rows event's table.
func rowsTable(body []byte) (uint64, error) {
	if len(body) < 6 {
		return 0, errShort
	}
	return littleEndian(body[:6]), nil
}

func parseRows(kind replication.EventType, body []byte) (rows, error) {
	op, version, compressed, ok := rowsVersion(kind)
	if !ok {
		return rows{}, fmt.Errorf("%s is no rows event", kind)
	}
	r := reader{b: body}
	out := rows{table: r.uint(6), op: op}
	r.uint(2) // flags
	if version == 2 {
		r.bytes(int(r.uint(2)) - 2) // extra data, with its own length
	}
	columns := r.packed()
	if r.err != nil || columns > 4096 {
		return rows{}, errShort
	}
	out.columns = int(columns)
	out.before = r.bytes((out.columns + 7) / 8)
	if op == rowsUpdate {
		out.after = r.bytes((out.columns + 7) / 8)
	}
	if r.err != nil {
		return rows{}, r.err
	}
	out.data = r.b
	if compressed {
		data, err := inflate(r.b)
		if err != nil {
			return rows{}, fmt.Errorf("decompress rows: %w", err)
		}
		out.data = data
	}
	return out, nil
}

// full tells whether a bitmap has all columns.
func full(bitmap []byte, columns int) bool {
	for i := range columns / 8 {
		if bitmap[i] != 0xff {
			return false
		}
	}
	rest := columns % 8
	return rest == 0 || bitmap[columns/8]|^byte(1<<rest-1) == 0xff
}
