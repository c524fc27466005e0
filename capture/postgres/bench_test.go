package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// benchTuple is a row of 9 columns and about 240 bytes, as pgoutput sends it.
func benchTuple(b []byte) []byte {
	values := []string{"1234567", "somebody@example.com", "Some", "Body", "12345.67", "t", "2026-03-04 13:14:15.123456+00", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
		"a note of some length that fills the row up to its two hundred and forty bytes, as the figures of the bench want it to be, more or less"}
	b = binary.BigEndian.AppendUint16(b, uint16(len(values)))
	for _, v := range values {
		b = append(b, 't')
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return b
}

var benchTypes = []uint32{20, 25, 25, 25, 1700, 16, 1184, 2950, 25}

// benchStream is a stream whose relation 1 is known.
func benchStream(out *nowhere) *stream {
	s := &Source{cfg: &Config{Tables: []string{"public.*"}}, name: "shop", versions: map[uint32]*change.Table{}}
	st := newStream(context.Background(), s, nil, &resume{Epoch: 1}, out)
	st.relations[1] = benchRelation(st)
	return st
}

// benchRelation is relation 1 of a stream.
func benchRelation(st *stream) *relation {
	ts := types{}
	m := relationMessage{schema: "public", name: "t", identity: 'd'}
	for i, oid := range benchTypes {
		ts[oid] = &dataType{oid: oid, name: "x", kind: change.String}
		if k, ok := builtin[oid]; ok {
			ts[oid].kind = k
		}
		m.columns = append(m.columns, relationColumn{name: fmt.Sprintf("column_%d", i), key: i == 0, typ: oid, typmod: -1})
	}
	t, places := st.s.cfg.table("shop", "db", &m, &relationInfo{oid: 1}, ts)
	r := newRelation(1, &m, st.s.intern(1, t), places, ts)
	if st.counts[1] == nil {
		st.counts[1] = r.count
	}
	r.count = st.counts[1]
	return r
}

// nowhere encodes and forgets.
type nowhere struct {
	discard
	enc   *change.Encoder
	bytes int
}

func (n *nowhere) Event(e *change.Event) error {
	return n.enc.Encode(e, time.Unix(1, 0), func(r *change.Record) error {
		n.bytes += len(r.Value)
		return nil
	})
}

func xlogData(lsn uint64, message []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'w'}, lsn)
	b = append(b, make([]byte, 16)...)
	return append(b, message...)
}

// BenchmarkDecode: pgoutput message to event.
func BenchmarkDecode(b *testing.B) { benchmarkRows(b, &nowhere{}, true) }

// BenchmarkDecodeAndEncode: pgoutput message to envelope.
func BenchmarkDecodeAndEncode(b *testing.B) {
	benchmarkRows(b, &nowhere{enc: change.NewEncoder(change.Source{Connector: change.Postgres, Name: "shop"})}, false)
}

func benchmarkRows(b *testing.B, out *nowhere, decodeOnly bool) {
	st := benchStream(out)
	if decodeOnly {
		st.out = &discard{}
	}
	begin := binary.BigEndian.AppendUint64([]byte{'B'}, 1000)
	begin = append(begin, make([]byte, 12)...)
	if err := st.data(xlogData(1, begin)); err != nil {
		b.Fatal(err)
	}
	row := xlogData(900, benchTuple([]byte{'I', 0, 0, 0, 1, 'N'}))
	b.SetBytes(int64(len(row)))
	b.ReportAllocs()
	for b.Loop() {
		if err := st.data(row); err != nil {
			b.Fatal(err)
		}
	}
}
