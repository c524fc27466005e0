package change_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-cdc/penstock/change"
)

// FuzzRoundTrip makes a table, an event of it and values at random, in which the texts of
// the corpus stand. Encoded, it is JSON by encoding/json's word, and decoded again it is the
// same event.
func FuzzRoundTrip(f *testing.F) {
	for i, text := range []string{"", "a", `"`, `\`, "\x00\x1f\x7f", "é☃\U0001F600\u2028", "NULL", "null", "-0", "1e5", change.Unavailable, "{}", "[", "<&>", "\ufeff", "\xff\xfe", strings.Repeat("0123456789", 30), `{"a":1}`, "\\u0000"} {
		f.Add(uint64(i), text, "x")
		f.Add(uint64(i+100), "col", text)
	}
	f.Fuzz(func(t *testing.T, seed uint64, a, b string) {
		g := &generator{rnd: rand.New(rand.NewPCG(seed, 7)), texts: []string{strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")}}
		for range 4 {
			checkRoundTrip(t, g)
		}
	})
}

func checkRoundTrip(t *testing.T, g *generator) {
	t.Helper()
	src := change.Source{Connector: g.connector(), Name: "s" + g.text(), Version: g.text()}
	want := g.event(src.Connector)
	records := encode(t, src, want)
	r := records[0]
	if !json.Valid([]byte(r.Value)) {
		t.Fatalf("the value is not JSON: %q", r.Value)
	}
	for _, h := range r.Headers {
		if h.Key != change.HeaderID && h.Key != change.HeaderSchema && !json.Valid(h.Value) {
			t.Fatalf("header %s is not JSON: %q", h.Key, h.Value)
		}
	}
	keyed := want.Op == change.Message || want.Op != change.Truncate && len(want.Table.Key) > 0
	if keyed != (r.Key != "") || keyed && !json.Valid([]byte(r.Key)) {
		t.Fatalf("the key is %q", r.Key)
	}
	if tombstone := len(records) == 2; tombstone != (keyed && want.Op == change.Delete) {
		t.Fatalf("%d records of op %v", len(records), want.Op)
	}
	var got change.Event
	if err := change.NewDecoder().Decode(want.Table, []byte(r.Key), []byte(r.Value), r.Headers, &got); err != nil {
		t.Fatalf("%v\n%q", err, r.Value)
	}
	if diff := cmp.Diff(want, &got, values); diff != "" {
		t.Errorf("the event differs (-want +got):\n%s\n%q", diff, r.Value)
	}
	if want.After != nil {
		checkColumns(t, want, r.Value)
	}
}

// checkColumns reads the new row with encoding/json alone.
func checkColumns(t *testing.T, want *change.Event, value string) {
	t.Helper()
	var envelope struct{ After map[string]any }
	d := json.NewDecoder(strings.NewReader(value))
	d.UseNumber()
	if err := d.Decode(&envelope); err != nil {
		t.Fatal(err)
	}
	if len(envelope.After) != len(want.Table.Columns) {
		t.Errorf("the row has %d members, want %d", len(envelope.After), len(want.Table.Columns))
	}
	for i, c := range want.Table.Columns {
		v := want.After[i]
		text := ""
		switch found := envelope.After[c.Name].(type) {
		case nil:
			if !v.IsNull() {
				t.Errorf("%v is null", v)
			}
			continue
		case string:
			text = found
		case json.Number:
			text = found.String()
		case bool:
			text = strconv.FormatBool(found)
		default:
			continue // arrays and objects are compared as they are written
		}
		switch v.Kind() {
		case change.Unchanged:
			if text != change.Unavailable {
				t.Errorf("an unchanged value is %q", text)
			}
		case change.Bytes:
		default:
			if text != v.Text() {
				t.Errorf("%v reads %q, want %q", v, text, v.Text())
			}
		}
	}
}

// generator makes events.
type generator struct {
	rnd   *rand.Rand
	texts []string
}

func (g *generator) text() string {
	s := g.texts[g.rnd.IntN(len(g.texts))]
	switch g.rnd.IntN(4) {
	case 0:
		s += g.texts[0]
	case 1:
		s = fmt.Sprint(g.rnd.Uint32()) + s
	}
	return s
}

func (g *generator) connector() change.Connector {
	return []change.Connector{change.Postgres, change.MySQL, change.MariaDB}[g.rnd.IntN(3)]
}

var kinds = []change.Kind{
	change.Bool, change.Int, change.Uint, change.Float, change.Decimal, change.String, change.Bytes, change.Bits, change.Date, change.Time, change.TimeTZ,
	change.Timestamp, change.TimestampTZ, change.Interval, change.UUID, change.Enum, change.JSON, change.Array, change.Object,
}

func (g *generator) table() *change.Table {
	t := &change.Table{Database: g.text(), Schema: g.text(), Name: "t" + g.text(), Topic: "topic", FullBefore: g.rnd.IntN(2) == 0}
	seen := map[string]bool{}
	for i := range g.rnd.IntN(12) {
		name := g.text()
		if seen[name] {
			name += fmt.Sprint(" ", i)
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		kind := kinds[g.rnd.IntN(len(kinds))]
		t.Columns = append(t.Columns, change.Column{Name: name, Kind: kind, Type: g.text(), Nullable: true})
		if g.rnd.IntN(4) == 0 {
			t.Key = append(t.Key, len(t.Columns)-1)
		}
	}
	g.rnd.Shuffle(len(t.Key), func(i, j int) { t.Key[i], t.Key[j] = t.Key[j], t.Key[i] })
	return t.Seal()
}

// value makes a value in the form that its kind has.
func (g *generator) value(kind change.Kind) change.Value {
	if g.rnd.IntN(6) == 0 {
		return change.Value{}
	}
	quoted := func() string { return string(change.AppendString(nil, g.text())) }
	switch kind {
	case change.Bool:
		return change.OfBool(g.rnd.IntN(2) == 0)
	case change.Int:
		return change.OfInt(int64(g.rnd.Uint64() >> g.rnd.IntN(64)))
	case change.Uint:
		return change.Of(kind, strconv.FormatUint(g.rnd.Uint64(), 10))
	case change.Float:
		return change.Of(kind, []string{"NaN", "Infinity", "-Infinity", "-0", "0", "1e+300", "5e-324", "1.5", strconv.FormatFloat(g.rnd.NormFloat64(), 'g', -1, 64)}[g.rnd.IntN(9)])
	case change.Array:
		if g.rnd.IntN(4) == 0 {
			return change.OfString("[0:1]={1,2}" + g.text()) // with lower bounds of its own
		}
		return change.Of(kind, []string{"[]", "[null,[1,2]]", "[" + quoted() + "]", "[" + quoted() + ",[{}," + quoted() + "]]"}[g.rnd.IntN(4)])
	case change.Object:
		if g.rnd.IntN(4) == 0 {
			return change.OfString("(" + g.text())
		}
		return change.Of(kind, []string{"{}", "{" + quoted() + ":" + quoted() + "}", `{"a":{"b":[` + quoted() + `]},"c":null}`}[g.rnd.IntN(3)])
	case change.Bytes:
		b := make([]byte, g.rnd.IntN(20))
		for i := range b {
			b[i] = byte(g.rnd.Uint32())
		}
		return change.Of(kind, string(b))
	}
	return change.Of(kind, g.text())
}

func (g *generator) row(t *change.Table, unchanged bool) change.Row {
	r := make(change.Row, 0, len(t.Columns))
	for i := range t.Columns {
		if unchanged && g.rnd.IntN(5) == 0 && !t.InKey(i) {
			r = append(r, change.Of(change.Unchanged, ""))
		} else {
			r = append(r, g.value(t.Columns[i].Kind))
		}
	}
	return r
}

func (g *generator) event(connector change.Connector) *change.Event {
	e := &change.Event{
		Op:         change.Op("rcudtm"[g.rnd.IntN(6)]),
		ID:         change.NewID(g.rnd.Uint32(), g.rnd.Uint64(), g.rnd.Uint64()>>1, g.rnd.Uint32()),
		CommitTime: time.Unix(0, int64(g.rnd.Uint64())>>g.rnd.IntN(10)).UTC(),
	}
	if g.rnd.IntN(3) > 0 {
		e.TxID, e.TxOrder, e.TableOrder = "x"+g.text(), int64(g.rnd.Uint32()), int64(g.rnd.Uint32())
	}
	if connector == change.Postgres {
		e.Log = change.LogPosition{LSN: g.rnd.Uint64() >> 1, LastLSN: g.rnd.Uint64() >> g.rnd.IntN(64), XID: g.rnd.Uint32()}
		if g.rnd.IntN(3) == 0 {
			e.Log.Origin, e.Log.OriginLSN = "o"+g.text(), g.rnd.Uint64()>>1
		}
	} else {
		e.Log = change.LogPosition{ServerID: g.rnd.Uint32(), GTID: g.text(), File: g.text(), Pos: g.rnd.Uint64() >> 1, Row: int(g.rnd.Uint32()), Thread: g.rnd.Uint32()}
	}
	if e.Op == change.Message {
		e.Prefix = g.text()
		e.Content = []byte(g.text())
		return e
	}
	e.Table = g.table()
	moved := func() change.Row { // only the key is in the headers
		r := make(change.Row, len(e.Table.Columns))
		for _, k := range e.Table.Key {
			r[k] = g.value(e.Table.Columns[k].Kind)
		}
		return r
	}
	switch e.Op {
	case change.Read:
		e.After, e.Snapshot = g.row(e.Table, false), []string{"true", "first", "last"}[g.rnd.IntN(3)]
	case change.Create:
		e.After = g.row(e.Table, len(e.Table.Key) > 0)
		if len(e.Table.Key) > 0 && g.rnd.IntN(3) == 0 {
			e.OldKey = moved()
		}
	case change.Update:
		e.After = g.row(e.Table, true)
		if g.rnd.IntN(2) == 0 {
			e.Before = g.row(e.Table, false)
		}
	case change.Delete:
		e.Before = g.row(e.Table, false)
		if len(e.Table.Key) > 0 && g.rnd.IntN(3) == 0 {
			e.NewKey = moved()
		}
	}
	return e
}
