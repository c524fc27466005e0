package change

import (
	"encoding/base64"
	"strconv"
	"time"
)

// Encoder writes one source's events as the stream has them: Debezium's envelope
// without its schema part, values in the exact encoding. It keeps its buffers between
// calls and is for one goroutine.
type Encoder struct {
	src     Source
	head    []byte // `"source":{"version":...,"name":...,"ts_ms":`
	layouts map[*Table]*layout
	table   *Table // of the last event, with its layout
	layout  *layout

	committed int64  // a commit time in ns
	commit    []byte // its digits

	key, value, id []byte
	memory, images Images // buffers, and what is in them of the last event
	headers        [4]Header
	record         Record
}

// layout is what can be written once for all events of a table version.
type layout struct {
	columns [][]byte // `{"id":`, then `,"name":`
	origin  []byte   // database's part of the source block
	names   []byte   // schema's and table's part
	version []byte
}

// NewEncoder makes the encoder of a source's events.
func NewEncoder(src Source) *Encoder {
	head := append([]byte(nil), `"source":{"version":`...)
	head = AppendString(head, src.Version)
	head = append(head, `,"connector":`...)
	head = AppendString(head, string(src.Connector))
	head = append(head, `,"name":`...)
	head = AppendString(head, src.Name)
	head = append(head, `,"ts_ms":`...)
	return &Encoder{src: src, head: head, layouts: map[*Table]*layout{}}
}

// Encode hands add the records that the event is in the stream: one, or for a delete
// of a row with a key two, the delete and its tombstone. now is the time of
// publishing. A record and its memory are valid during the call of add.
func (e *Encoder) Encode(ev *Event, now time.Time, add func(*Record) error) error {
	e.headers[0].Value = nil
	e.id, _ = ev.ID.AppendText(e.id[:0])
	rec := &e.record
	*rec = Record{ID: ev.ID, Headers: append(e.headers[:0], Header{HeaderID, e.id})}
	if ev.Op == Message {
		rec.Topic = Topic(e.src.Name, "message")
		e.key = append(AppendString(append(e.key[:0], `{"prefix":`...), ev.Prefix), '}')
		e.value = e.appendMessage(e.value[:0], ev, now)
		rec.Key, rec.Value = e.key, e.value
		return add(rec)
	}
	e.use(ev.Table)
	rec.Topic = ev.Table.Topic
	rec.Headers = append(rec.Headers, Header{HeaderSchema, e.layout.version})
	rec.Everywhere = ev.Op == Truncate
	im := ev.Images
	if im == nil {
		im = e.appendImages(&e.images, ev)
	}
	rec.Key = im.Key
	e.value = append(append(e.value[:0], '{'), im.Rows...)
	e.value = e.appendRest(e.value, ev, now)
	rec.Value = e.value
	switch {
	case im.Moved == nil:
	case ev.Op == Delete:
		rec.Headers = append(rec.Headers, Header{HeaderNewKey, im.Moved})
	default:
		rec.Headers = append(rec.Headers, Header{HeaderOldKey, im.Moved})
	}
	if im.Unchanged != nil {
		rec.Headers = append(rec.Headers, Header{HeaderUnchanged, im.Unchanged})
	}
	if err := add(rec); err != nil {
		return err
	}
	if ev.Op == Delete && rec.Key != nil {
		rec.Value = nil
		return add(rec)
	}
	return nil
}

// Images writes what an envelope says of the event's rows. What it returns is valid
// until the encoder's next call.
func (e *Encoder) Images(ev *Event) *Images {
	e.use(ev.Table)
	return e.appendImages(&e.images, ev)
}

// appendImages writes the images of an event, with the memory that im has.
func (e *Encoder) appendImages(im *Images, ev *Event) *Images {
	memory := &e.memory
	*im = Images{}
	if ev.Op != Truncate && len(ev.Table.Key) > 0 {
		memory.Key = AppendKey(memory.Key[:0], ev.Table, ev.KeyRow())
		im.Key = memory.Key
	}
	rows := append(memory.Rows[:0], `"before":`...)
	rows = e.appendImage(rows, ev.Before)
	rows = append(rows, `,"after":`...)
	rows = e.appendImage(rows, ev.After)
	memory.Rows, im.Rows = rows, rows
	if moved := ev.movedKey(); moved != nil {
		memory.Moved = appendConnectKey(memory.Moved[:0], ev.Table, moved)
		im.Moved = memory.Moved
	}
	if memory.Unchanged = appendUnchanged(memory.Unchanged[:0], ev.Table, ev.After); len(memory.Unchanged) > 0 {
		im.Unchanged = memory.Unchanged
	}
	return im
}

// use makes t's layout the current one.
func (e *Encoder) use(t *Table) {
	if e.table == t {
		return
	}
	l := e.layouts[t]
	if l == nil {
		l = &layout{version: []byte(t.Version)}
		for i := range t.Columns {
			lead := byte(',')
			if i == 0 {
				lead = '{'
			}
			l.columns = append(l.columns, append(AppendString([]byte{lead}, t.Columns[i].Name), ':'))
		}
		l.origin = append(AppendString([]byte(`,"db":`), t.Database), `,"sequence":`...)
		if e.src.Connector == Postgres {
			l.names = append(AppendString([]byte(`,"schema":`), t.Schema), `,"table":`...)
		} else {
			l.names = []byte(`,"table":`)
		}
		l.names = AppendString(l.names, t.Name)
		e.layouts[t] = l
	}
	e.table, e.layout = t, l
}

// appendRest writes what follows the rows in an envelope.
func (e *Encoder) appendRest(dst []byte, ev *Event, now time.Time) []byte {
	dst = append(dst, ',')
	dst = e.appendSource(dst, ev, e.layout.origin, e.layout.names)
	dst = appendTransaction(dst, ev)
	dst = append(dst, `,"op":"`...)
	dst = append(dst, byte(ev.Op), '"')
	var room [20]byte
	ns := strconv.AppendInt(room[:0], now.UnixNano(), 10)
	dst = append(append(dst, `,"ts_ms":`...), coarser(ns, 6)...)
	return append(appendTimes(dst, ns), '}')
}

// appendMessage writes a logical message's envelope, which has no images and of the times ts_ms alone.
func (e *Encoder) appendMessage(dst []byte, ev *Event, now time.Time) []byte {
	dst = strconv.AppendInt(append(dst, `{"op":"m","ts_ms":`...), now.UnixMilli(), 10)
	dst = append(dst, ',')
	database := ""
	if ev.Table != nil {
		database = ev.Table.Database
	}
	origin := append(AppendString([]byte(`,"db":`), database), `,"sequence":`...)
	dst = e.appendSource(dst, ev, origin, []byte(`,"schema":"","table":""`))
	dst = appendTransaction(dst, ev)
	dst = AppendString(append(dst, `,"message":{"prefix":`...), ev.Prefix)
	dst = append(dst, `,"content":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, ev.Content)
	return append(dst, `"}}`...)
}

func (e *Encoder) appendSource(dst []byte, ev *Event, origin, names []byte) []byte {
	if n := ev.CommitTime.UnixNano(); n != e.committed || e.commit == nil {
		e.committed, e.commit = n, strconv.AppendInt(e.commit[:0], n, 10)
	}
	ns := e.commit
	dst = append(dst, e.head...)
	dst = append(dst, coarser(ns, 6)...)
	dst = append(dst, `,"snapshot":"`...)
	if ev.Snapshot == "" {
		dst = append(dst, "false"...)
	} else {
		dst = append(dst, ev.Snapshot...)
	}
	dst = append(dst, '"')
	dst = append(dst, origin...)
	log := &ev.Log
	if e.src.Connector != Postgres {
		dst = append(dst, "null"...)
		dst = appendTimes(dst, ns)
		dst = append(dst, names...)
		return appendBinlog(dst, ev)
	}
	dst = append(dst, `"[`...)
	if log.LastLSN == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = append(strconv.AppendUint(append(dst, `\"`...), log.LastLSN, 10), `\"`...)
	}
	dst = append(strconv.AppendUint(append(dst, `,\"`...), log.LSN, 10), `\"]"`...)
	dst = appendTimes(dst, ns)
	dst = append(dst, names...)
	dst = append(dst, `,"txId":`...)
	if log.XID == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendUint(dst, uint64(log.XID), 10)
	}
	dst = strconv.AppendUint(append(dst, `,"lsn":`...), log.LSN, 10)
	if log.Origin == "" {
		return append(dst, `,"xmin":null,"origin":null,"origin_lsn":null}`...)
	}
	dst = AppendString(append(dst, `,"xmin":null,"origin":`...), log.Origin)
	if log.OriginLSN == 0 {
		return append(dst, `,"origin_lsn":null}`...)
	}
	return append(strconv.AppendUint(append(dst, `,"origin_lsn":`...), log.OriginLSN, 10), '}')
}

// appendTimes appends the microseconds and nanoseconds of a time that is given as the
// digits of its nanoseconds.
func appendTimes(dst, ns []byte) []byte {
	dst = append(append(dst, `,"ts_us":`...), coarser(ns, 3)...)
	return append(append(dst, `,"ts_ns":`...), ns...)
}

// coarser leaves the last digits of a number away: what it is in a larger unit,
// rounded towards zero.
func coarser(number []byte, digits int) []byte {
	n := len(number) - digits
	if n <= 0 || number[n-1] == '-' {
		return []byte("0")
	}
	return number[:n]
}

// appendBinlog writes the part of the source block that is MySQL's and MariaDB's own.
func appendBinlog(dst []byte, ev *Event) []byte {
	log := &ev.Log
	dst = strconv.AppendUint(append(dst, `,"server_id":`...), uint64(log.ServerID), 10)
	dst = append(dst, `,"gtid":`...)
	if log.GTID == "" {
		dst = append(dst, "null"...)
	} else {
		dst = AppendString(dst, log.GTID)
	}
	dst = AppendString(append(dst, `,"file":`...), log.File)
	dst = strconv.AppendUint(append(dst, `,"pos":`...), log.Pos, 10)
	dst = strconv.AppendInt(append(dst, `,"row":`...), int64(log.Row), 10)
	dst = append(dst, `,"thread":`...)
	if log.Thread == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendUint(dst, uint64(log.Thread), 10)
	}
	return append(dst, `,"query":null}`...)
}

func appendTransaction(dst []byte, ev *Event) []byte {
	dst = append(dst, `,"transaction":`...)
	if ev.TxID == "" {
		return append(dst, "null"...)
	}
	dst = AppendString(append(dst, `{"id":`...), ev.TxID)
	dst = strconv.AppendInt(append(dst, `,"total_order":`...), ev.TxOrder, 10)
	dst = strconv.AppendInt(append(dst, `,"data_collection_order":`...), ev.TableOrder, 10)
	return append(dst, '}')
}

func (e *Encoder) appendImage(dst []byte, r Row) []byte {
	if r == nil {
		return append(dst, "null"...)
	}
	if len(r) == 0 {
		return append(dst, "{}"...)
	}
	for i := range r {
		dst = append(dst, e.layout.columns[i]...)
		dst = AppendValue(dst, r[i])
	}
	return append(dst, '}')
}

// AppendRow appends a row as a JSON object of its columns in the exact encoding.
func AppendRow(dst []byte, t *Table, r Row) []byte {
	if r == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '{')
	for i := range r {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, t.Columns[i].Name), ':')
		dst = AppendValue(dst, r[i])
	}
	return append(dst, '}')
}

// AppendKey appends the key of a row, a JSON object of the key's columns in key order,
// as the stream's messages have it; nothing when the table has no key.
func AppendKey(dst []byte, t *Table, r Row) []byte {
	for n, i := range t.Key {
		lead := byte(',')
		if n == 0 {
			lead = '{'
		}
		dst = append(AppendString(append(dst, lead), t.Columns[i].Name), ':')
		dst = AppendValue(dst, r[i])
	}
	if len(t.Key) > 0 {
		dst = append(dst, '}')
	}
	return dst
}

func appendUnchanged(dst []byte, t *Table, r Row) []byte {
	for i := range r {
		if r[i].kind != Unchanged {
			continue
		}
		lead := byte(',')
		if len(dst) == 0 {
			lead = '['
		}
		dst = AppendString(append(dst, lead), t.Columns[i].Name)
	}
	if len(dst) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// appendConnectKey writes a key the way Debezium writes it into headers: with a Kafka Connect schema.
func appendConnectKey(dst []byte, t *Table, r Row) []byte {
	dst = append(dst, `{"schema":{"type":"struct","fields":[`...)
	for n, i := range t.Key {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `{"type":"`...), connectType(&t.Columns[i])...), `","optional":false,"field":`...)
		dst = append(AppendString(dst, t.Columns[i].Name), '}')
	}
	dst = AppendString(append(dst, `],"optional":false,"name":`...), t.Topic+".Key")
	dst = AppendKey(append(dst, `},"payload":`...), t, r)
	return append(dst, '}')
}

func connectType(c *Column) string {
	switch c.Kind {
	case Bool:
		return "boolean"
	case Float:
		return "double"
	case Int, Uint:
		switch {
		case c.Precision > 0 && c.Precision <= 16 && c.Kind == Int:
			return "int16"
		case c.Precision > 0 && c.Precision <= 32 && c.Kind == Int:
			return "int32"
		}
		return "int64"
	}
	return "string"
}

// MarkerRecord makes the record of a marker on a table's topic.
func MarkerRecord(t *Table, id ID, m Marker) *Record {
	text := append(AppendString([]byte(`{"kind":`), string(m.Kind)), `,"snapshot":`...)
	text = AppendString(text, m.Snapshot)
	if m.Partial {
		text = append(text, `,"partial":true`...)
	}
	text = append(text, '}')
	return &Record{Topic: t.Topic, ID: id, Everywhere: true, Headers: []Header{{HeaderID, []byte(id.String())}, {HeaderMarker, text}}}
}
