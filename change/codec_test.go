package change_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/change"
)

func customers() *change.Table {
	return (&change.Table{
		Database: "shop", Schema: "public", Name: "customers", Topic: "shop.public.customers",
		Columns: []change.Column{
			{Name: "id", Kind: change.Int, Type: "bigint"},
			{Name: "na\"me", Kind: change.String, Type: "text", Nullable: true},
			{Name: "price", Kind: change.Decimal, Type: "numeric(10,2)"},
			{Name: "ratio", Kind: change.Float, Type: "double precision"},
			{Name: "photo", Kind: change.Bytes, Type: "bytea"},
			{Name: "tags", Kind: change.Array, Type: "text[]", Element: change.String},
			{Name: "ok", Kind: change.Bool, Type: "boolean"},
			{Name: "big", Kind: change.String, Type: "text"},
			{Name: "at", Kind: change.TimestampTZ, Type: "timestamp with time zone"},
		},
		Key: []int{0},
	}).Seal()
}

func row(id string) change.Row {
	return change.Row{
		change.Of(change.Int, id), change.OfString("line\nbreak \"q\" \\ é \x01 \U0001F600"), change.Of(change.Decimal, "12.50"),
		change.Of(change.Float, "-0"), change.Of(change.Bytes, "\x00\xff\x10"), change.Of(change.Array, `["a",null,"b\n"]`),
		change.OfBool(true), change.Of(change.Unchanged, ""), change.Of(change.TimestampTZ, "2026-03-04T11:14:15.123456Z"),
	}
}

// copied is what a test keeps of a record.
type copied struct {
	Key, Value string
	Null       bool
	Headers    []change.Header
}

func encode(t testing.TB, src change.Source, events ...*change.Event) (out []copied) {
	t.Helper()
	enc := change.NewEncoder(src)
	for _, e := range events {
		err := enc.Encode(e, time.Unix(1795460717, 965980073), func(r *change.Record) error {
			c := copied{Key: string(r.Key), Value: string(r.Value), Null: r.Value == nil}
			for _, h := range r.Headers {
				c.Headers = append(c.Headers, change.Header{Key: h.Key, Value: []byte(string(h.Value))})
			}
			out = append(out, c)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

var (
	values = cmp.Comparer(func(a, b change.Value) bool { return a == b })
	pg     = change.Source{Connector: change.Postgres, Name: "shop", Version: "0.1"}
)

func TestEventsSurviveTheEnvelope(t *testing.T) {
	table := customers()
	when := time.Unix(1795460717, 784769000).UTC()
	moved := row("20")
	for name, want := range map[string]*change.Event{
		"read":   {Op: change.Read, After: row("1"), Snapshot: "first", ID: change.NewPointID(1, 77, 3, 9), Log: change.LogPosition{LSN: 77}},
		"create": {Op: change.Create, After: row("1"), ID: change.NewID(0, 1, 2, 3), TxID: "9:2", TxOrder: 4, TableOrder: 2, Log: change.LogPosition{LSN: 2, LastLSN: 1, XID: 9}},
		"update": {Op: change.Update, Before: row("1"), After: row("1"), ID: change.NewID(0, 1, 2, 3), Log: change.LogPosition{LSN: 2, Origin: "other", OriginLSN: 5}},
		"delete": {Op: change.Delete, Before: row("1"), ID: change.NewID(0, 1, 2, 3), NewKey: moved},
		"moved":  {Op: change.Create, After: moved, OldKey: row("1"), ID: change.NewID(0, 1, 2, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			want.Table, want.CommitTime = table, when
			records := encode(t, pg, want)
			wantRecords := 1
			if want.Op == change.Delete {
				wantRecords = 2
				if last := records[1]; !last.Null || last.Key != records[0].Key {
					t.Errorf("tombstone is %+v", last)
				}
			}
			if len(records) != wantRecords {
				t.Fatalf("got %d records, want %d", len(records), wantRecords)
			}
			if !json.Valid([]byte(records[0].Value)) {
				t.Fatalf("not JSON: %s", records[0].Value)
			}
			var got change.Event
			if err := change.NewDecoder().Decode(table, []byte(records[0].Key), []byte(records[0].Value), records[0].Headers, &got); err != nil {
				t.Fatal(err)
			}
			onlyKey := func(r change.Row) change.Row {
				if r == nil {
					return nil
				}
				out := make(change.Row, len(r))
				out[0] = r[0]
				return out
			}
			want := *want
			want.OldKey, want.NewKey = onlyKey(want.OldKey), onlyKey(want.NewKey)
			if want.Before != nil { // an unchanged value can stand in After alone
				want.Before = want.Before.Clone()
				want.Before[7] = change.OfString(change.Unavailable)
			}
			if diff := cmp.Diff(&want, &got, values); diff != "" {
				t.Errorf("event differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnchangedIsToldFromTextOfThatSpelling(t *testing.T) {
	table := customers()
	r := row("1")
	r[1] = change.OfString(change.Unavailable)
	rec := encode(t, pg, &change.Event{Table: table, Op: change.Update, After: r, ID: change.NewID(0, 1, 1, 0), CommitTime: time.Unix(1, 0)})[0]
	var got change.Event
	if err := change.NewDecoder().Decode(table, []byte(rec.Key), []byte(rec.Value), rec.Headers, &got); err != nil {
		t.Fatal(err)
	}
	if got.After[1].Kind() != change.String || got.After[7].Kind() != change.Unchanged {
		t.Errorf("got kinds %v and %v, want text and unchanged", got.After[1].Kind(), got.After[7].Kind())
	}
}

func TestIDsCompareInCommitOrder(t *testing.T) {
	ids := []change.ID{
		{},
		change.NewID(0, 5, 1, 0), change.NewID(0, 5, 1, 1), change.NewID(0, 5, 2, 0), change.NewPointID(0, 5, 1, 0),
		change.NewPointID(0, 5, 2, 0), change.NewID(0, 6, 0, 0), change.NewID(1, 0, 0, 0),
	}
	for i := 1; i < len(ids); i++ {
		if ids[i-1].Compare(ids[i]) >= 0 || ids[i-1].String() >= ids[i].String() {
			t.Errorf("id %d (%s) is not below id %d (%s)", i-1, ids[i-1], i, ids[i])
		}
		var back change.ID
		if err := back.UnmarshalText([]byte(ids[i].String())); err != nil || back != ids[i] {
			t.Errorf("%s read back as %s, %v", ids[i], back, err)
		}
	}
}

func TestTopicEscapesWhatKafkaRefuses(t *testing.T) {
	for _, c := range []struct {
		parts []string
		want  string
	}{
		{[]string{"shop", "public", "customers"}, "shop.public.customers"},
		{[]string{"shop", "öffentlich", "my table$"}, "shop._u00F6ffentlich.my_u0020table_u0024"},
		{[]string{"s", "a", "\U0001F600"}, "s.a._u1F600"},
	} {
		if got := change.Topic(c.parts...); got != c.want {
			t.Errorf("Topic(%q) = %s, want %s", c.parts, got, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	table := customers()
	for _, e := range []*change.Event{
		{Op: change.Update, Before: row("1"), After: row("1"), TxID: "1:2"},
		{Op: change.Delete, Before: row("1"), NewKey: row("2")},
	} {
		e.Table = table
		rec := encode(f, pg, e)[0]
		moved := ""
		for _, h := range rec.Headers {
			if strings.HasPrefix(h.Key, "__debezium") {
				moved = string(h.Value)
			}
		}
		f.Add(rec.Value, moved)
	}
	f.Add(`{"op":"c","after":{"id":@}}`, `{`)
	f.Fuzz(func(t *testing.T, value, moved string) {
		var e change.Event
		headers := []change.Header{{Key: change.HeaderNewKey, Value: []byte(moved)}}
		if err := change.NewDecoder().Decode(table, nil, []byte(value), headers, &e); err != nil {
			return
		}
		if e.After != nil && len(e.After) != len(table.Columns) {
			t.Errorf("row has %d values, table %d columns", len(e.After), len(table.Columns))
		}
	})
}

// FuzzEnvelope: whatever the values, an event is JSON, and comes back as it was.
func FuzzEnvelope(f *testing.F) {
	f.Add("a", "b", int64(1), uint8(0))
	f.Add("\u0001\"\\\n", "__debezium_unavailable_value", int64(-1), uint8(1))
	f.Add("\u2028 ", "", int64(1<<62), uint8(2))
	columns := []change.Column{{Name: "id", Kind: change.Int}, {Name: "text \"x\"", Kind: change.String}, {Name: "b", Kind: change.Bytes}, {Name: "n", Kind: change.String, Nullable: true}}
	table := (&change.Table{Database: "d", Schema: "s", Name: "t", Topic: "x.s.t", Columns: columns, Key: []int{0}, FullBefore: true}).Seal()
	f.Fuzz(func(t *testing.T, text, raw string, id int64, kind uint8) {
		text = strings.ToValidUTF8(text, "?") // a source's texts are UTF-8
		row := change.Row{change.OfInt(id), change.OfString(text), change.Of(change.Bytes, raw), {}}
		want := &change.Event{Table: table, CommitTime: time.Unix(0, id).UTC(), ID: change.NewID(1, 2, 3, uint32(kind)), TxID: text, TxOrder: 1, Log: change.LogPosition{LSN: 3, LastLSN: 1, XID: 4, Origin: text, OriginLSN: 5}}
		switch kind % 3 {
		case 0:
			want.Op, want.After = change.Create, row
		case 1:
			want.Op, want.Before, want.After = change.Update, row, row.Clone()
			want.After[2] = change.Of(change.Unchanged, "")
		default:
			want.Op, want.Before = change.Delete, row
		}
		if text == "" {
			want.Log.OriginLSN = 0
		}
		// What is encoded early is what is encoded late.
		early := change.NewEncoder(change.Source{})
		late := *want
		late.Images, late.Before, late.After = early.Images(want), nil, nil
		records := encode(t, pg, want)
		if diff := cmp.Diff(records, encode(t, pg, &late)); diff != "" {
			t.Fatalf("encoded early it differs:\n%s", diff)
		}
		if !json.Valid([]byte(records[0].Value)) {
			t.Fatalf("not JSON: %s", records[0].Value)
		}
		var got change.Event
		if err := change.NewDecoder().Decode(table, []byte(records[0].Key), []byte(records[0].Value), records[0].Headers, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, &got, values); diff != "" {
			t.Errorf("event differs (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	e := &change.Event{Table: customers(), Op: change.Update, After: row("1"), TxID: "9:2", TxOrder: 1, TableOrder: 1, CommitTime: time.Now()}
	enc := change.NewEncoder(pg)
	now, n := time.Now(), 0
	b.ReportAllocs()
	for b.Loop() {
		if err := enc.Encode(e, now, func(r *change.Record) error { n = len(r.Value); return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(n))
}

func BenchmarkDecode(b *testing.B) {
	table := customers()
	rec := encode(b, pg, &change.Event{Table: table, Op: change.Create, After: row("1"), TxID: "9:2", CommitTime: time.Now()})[0]
	dec := change.NewDecoder()
	key, value := []byte(rec.Key), []byte(rec.Value)
	var e change.Event
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if err := dec.Decode(table, key, value, rec.Headers, &e); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAppendString puts each byte at each place among others and reads it back.
func TestAppendString(t *testing.T) {
	for _, filler := range []byte{'a', ' ', 0xff, '"', '\\', 0x1f} {
		for n := range 20 {
			for place := range n {
				for c := range 256 {
					text := bytes.Repeat([]byte{filler}, n)
					text[place] = byte(c)
					got := change.AppendString(nil, string(text))
					var want []byte
					for _, b := range text {
						switch {
						case b == '"' || b == '\\':
							want = append(want, '\\', b)
						case b == '\n' || b == '\r' || b == '\t':
							want = append(want, '\\', map[byte]byte{'\n': 'n', '\r': 'r', '\t': 't'}[b])
						case b < 0x20:
							want = fmt.Appendf(want, "\\u%04x", b)
						default:
							want = append(want, b)
						}
					}
					if string(got) != `"`+string(want)+`"` {
						t.Fatalf("AppendString(%q) = %s, want %q", text, got, want)
					}
				}
			}
		}
	}
}

// TestTimes has commit times around where digits run out.
func TestTimes(t *testing.T) {
	table := (&change.Table{Name: "t", Topic: "t"}).Seal()
	enc := change.NewEncoder(change.Source{Connector: change.Postgres})
	for _, ns := range []int64{0, 1, 999, 1_000, 999_999, 1_000_000, 1_800_000_000_123_456_789, -1, -999_999, -1_000_000, -12_345_678} {
		err := enc.Encode(&change.Event{Table: table, Op: change.Create, CommitTime: time.Unix(0, ns)}, time.Unix(0, ns), func(r *change.Record) error {
			type times struct {
				MS int64 `json:"ts_ms"`
				US int64 `json:"ts_us"`
				NS int64 `json:"ts_ns"`
			}
			var got struct {
				times
				Source times
			}
			if err := json.Unmarshal(r.Value, &got); err != nil {
				return err
			}
			if want := (times{ns / 1e6, ns / 1e3, ns}); got.times != want || got.Source != want {
				t.Errorf("times of %d ns are %+v and %+v", ns, got.times, got.Source)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
