package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/change"
)

// discard is an output that takes everything.
type discard struct{}

func (discard) Event(*change.Event) error                            { return nil }
func (discard) Marker(*change.Table, change.ID, change.Marker) error { return nil }
func (discard) Commit([]byte) error                                  { return nil }
func (discard) Idle()                                                {}
func (discard) Flush(context.Context) error                          { return nil }

func seeds() [][]byte {
	begin := append(binary.BigEndian.AppendUint64([]byte{'B'}, 1000), make([]byte, 12)...)
	commit := append([]byte{'C'}, make([]byte, 25)...)
	relation := append([]byte{'R', 0, 0, 0, 1}, "public\x00t\x00d\x00\x02\x01id\x00\x00\x00\x00\x17\xff\xff\xff\xff\x00v\x00\x00\x00\x00\x19\xff\xff\xff\xff"...)
	insert := append([]byte{'I', 0, 0, 0, 1, 'N', 0, 2}, "t\x00\x00\x00\x011n"...)
	update := append([]byte{'U', 0, 0, 0, 1, 'K', 0, 2}, "t\x00\x00\x00\x012nN\x00\x02t\x00\x00\x00\x011u"...)
	remove := append([]byte{'D', 0, 0, 0, 1, 'O', 0, 2}, "t\x00\x00\x00\x012n"...)
	return [][]byte{
		begin, commit, relation, insert, update, remove, benchTuple([]byte{'I', 0, 0, 0, 1, 'N'}),
		{'T', 0, 0, 0, 1, 1, 0, 0, 0, 1}, append([]byte{'M', 1, 0, 0, 0, 0, 0, 0, 0, 9}, "p\x00\x00\x00\x00\x01x"...),
		append([]byte{'O', 0, 0, 0, 0, 0, 0, 0, 9}, "o\x00"...), {'S', 0, 0, 0, 5, 1}, {'E'}, {'A', 0, 0, 0, 5, 0, 0, 0, 6},
		append([]byte{'Y', 0, 0, 0, 1}, "a\x00b\x00"...), append([]byte{'c', 0, 0, 0, 5}, make([]byte, 25)...),
	}
}

// TestDecodeCutOff: a message cut off anywhere is an error that says so, and so is one
// with something behind it.
func TestDecodeCutOff(t *testing.T) {
	for _, whole := range seeds() {
		if whole[0] == 'I' && len(whole) > 100 { // once is enough for inserts
			continue
		}
		var d decoder
		if err := d.decode(whole); err != nil {
			t.Errorf("message %q: %v", whole[0], err)
		}
		for n := range len(whole) {
			var d decoder
			var wrong *decodeError
			if err := d.decode(whole[:n]); !errors.As(err, &wrong) {
				t.Errorf("message %q cut off at %d: got %v", whole[0], n, err)
			}
		}
		d = decoder{}
		if err := d.decode(append(whole[:len(whole):len(whole)], 0)); err == nil {
			t.Errorf("message %q with a byte behind it was taken", whole[0])
		}
	}
}

// FuzzDecode: any bytes are decoded or refused, and rows of any shape become events or
// errors.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, streaming bool) {
		d := decoder{streaming: streaming}
		if err := d.decode(b); err != nil {
			return
		}
		st := benchStream(&nowhere{})
		st.out = discard{}
		st.srv = &server{messages: &change.Table{}}
		_ = st.data(xlogData(1, b)) // errors are fine, panics are not
	})
}

// FuzzSequence: any sequence of messages, those of transactions in progress among them,
// becomes events or errors. Each message is behind its length.
func FuzzSequence(f *testing.F) {
	sequence := func(messages ...[]byte) (b []byte) {
		for _, m := range messages {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(m))), m...)
		}
		return b
	}
	f.Add(sequence(seeds()...))
	row := rowMessage('I', 1, 0)
	f.Add(sequence([]byte{'S', 0, 0, 0, 5, 1}, within(5, row), within(6, row), []byte{'E'}, []byte{'A', 0, 0, 0, 5, 0, 0, 0, 6},
		[]byte{'S', 0, 0, 0, 5, 0}, within(5, rowMessage('U', 1, 2)), within(5, []byte{'T', 0, 0, 0, 1, 0, 0, 0, 0, 1}), []byte{'E'}, commitMessage('c', 5, 9)))
	f.Add(sequence(beginMessage(5, 9), row, commitMessage('C', 5, 9), []byte{'S', 0, 0, 0, 7, 1}, within(7, row), []byte{'E'}, []byte{'A', 0, 0, 0, 7, 0, 0, 0, 7}))
	f.Fuzz(func(t *testing.T, b []byte) {
		st, out := newLines()
		st.s.cfg.URL = "postgres://%" // nobody is asked
		st.srv = &server{messages: &change.Table{}, types: types{}}
		st.open.transactions = newTransactions(1, newSpillFolder(t.TempDir(), "shop"))
		defer st.endProgress()
		for lsn := uint64(1); len(b) > 2; lsn++ {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			err := st.data(xlogData(lsn, b[2:2+n]))
			if b = b[2+n:]; err != nil {
				break
			}
			if tx := st.open.current; tx != nil && tx.relations[1] == nil {
				tx.relations[1] = benchRelation(st)
			}
		}
		for _, line := range out.lines {
			if !strings.HasPrefix(line, "00000001") { // the epoch
				t.Errorf("an event without an id: %s", line)
			}
		}
	})
}

// FuzzValues: any text of any type is converted or refused.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"2026-03-04 13:14:15+00", "0044-03-15 BC", `{"a",NULL,{1,2}}`, `(1,"x""y",)`, `"a"=>"b", "c"=>NULL`, `\x00ff`, "[0:1]={1,2}", "13:14:15+02"} {
		f.Add([]byte(s))
	}
	text := &dataType{oid: 25, kind: change.String}
	all := []*dataType{
		text, {kind: change.Bytes}, {kind: change.Date}, {kind: change.TimeTZ}, {kind: change.Timestamp}, {kind: change.TimestampTZ}, {kind: change.Bool}, {kind: change.Float},
		{kind: change.Array, element: text, delim: ','}, {kind: change.Array, element: &dataType{kind: change.Float}, delim: ';'}, {kind: change.Object},
		{kind: change.Object, fields: []typeField{{"a", text, -1}, {"b", &dataType{kind: change.Date}, -1}}},
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, typ := range all {
			c := typ.codec(-1)
			_, _, _ = c.value(b, nil)
		}
		_ = splitCopy(nil, append([]byte(nil), b...), 3)
	})
}

// TestStreamOrdinals: rows that share a change's LSN are told apart, and only they.
func TestStreamOrdinals(t *testing.T) {
	st := benchStream(&nowhere{})
	var got []change.ID
	st.out = &collect{ids: &got}
	begin := append(binary.BigEndian.AppendUint64([]byte{'B'}, 1000), make([]byte, 12)...)
	row := benchTuple([]byte{'I', 0, 0, 0, 1, 'N'})
	for _, m := range []struct {
		lsn uint64
		b   []byte
	}{{10, begin}, {20, row}, {20, row}, {30, row}, {30, row}} {
		if err := st.data(xlogData(m.lsn, m.b)); err != nil {
			t.Fatal(err)
		}
	}
	want := []change.ID{change.NewID(1, 1000, 20, 0), change.NewID(1, 1000, 20, 1), change.NewID(1, 1000, 30, 0), change.NewID(1, 1000, 30, 1)}
	if len(got) != len(want) {
		t.Fatalf("got %d events", len(got))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("event %d has id %v, want %v", i, got[i], want[i])
		}
	}
}

type collect struct {
	discard
	ids *[]change.ID
}

func (c *collect) Event(e *change.Event) error {
	*c.ids = append(*c.ids, e.ID)
	return nil
}
