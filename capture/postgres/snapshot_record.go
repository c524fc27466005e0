package postgres

import "encoding/binary"

const (
	// recentXIDs is how many of the transactions that were received last are remembered,
	// for loads that begin later: one that other sessions do not see yet is among them.
	recentXIDs = 4096
	// maxKeys is how many keys of one transaction and table are remembered; of a
	// transaction with more it is only known that it may have changed any row.
	maxKeys = 50_000
)

// record has the keys that transactions of the stream have changed in the tables that
// are being loaded, until every chunk shows those transactions. It is the stream's.
type record struct {
	open   map[uint32]*touched // not committed yet, by top-level xid
	closed []*touched          // committed, in that order
	recent [recentXIDs]uint32
	count  int // of transactions received
	key    []byte
}

// touched is one transaction.
type touched struct {
	xid    uint32
	end    uint64 // of its commit; 0: it is open
	seen   bool   // every chunk shows it: nothing needs to be noted
	tables map[uint32]*touchedTable
}

type touchedTable struct {
	keys      map[string]bool // whether the row's values came without some that did not change
	truncated bool
	all       bool // any row may be changed
}

func (rec *record) of(xid uint32) *touched {
	t := rec.open[xid]
	if t == nil {
		t = &touched{xid: xid}
		if rec.open == nil {
			rec.open = map[uint32]*touched{}
		}
		rec.open[xid] = t
	}
	return t
}

func (t *touched) table(oid uint32) *touchedTable {
	tt := t.tables[oid]
	if tt == nil {
		tt = &touchedTable{keys: map[string]bool{}}
		if t.tables == nil {
			t.tables = map[uint32]*touchedTable{}
		}
		t.tables[oid] = tt
	}
	return tt
}

func (tt *touchedTable) add(key []byte, partial bool) {
	if tt.all {
		return
	}
	if len(tt.keys) >= maxKeys {
		tt.all, tt.keys = true, nil
		return
	}
	if partial || !tt.keys[string(key)] {
		tt.keys[string(key)] = partial || tt.keys[string(key)]
	}
}

// committed closes a transaction whose commit ends there.
func (rec *record) committed(xid uint32, end uint64) {
	rec.recent[rec.count%recentXIDs] = xid
	rec.count++
	t := rec.open[xid]
	if t == nil {
		return
	}
	delete(rec.open, xid)
	t.end = end
	if len(t.tables) > 0 {
		rec.closed = append(rec.closed, t)
	}
}

// received returns the transactions that were received last.
func (rec *record) received() []uint32 {
	return append([]uint32(nil), rec.recent[:min(rec.count, recentXIDs)]...)
}

// forget drops what every one of some snapshots shows.
func (rec *record) forget(all []*visibility) {
	kept := rec.closed[:0]
	for _, t := range rec.closed {
		for _, v := range all {
			if v == nil || !v.includes(t) {
				kept = append(kept, t)
				break
			}
		}
	}
	clear(rec.closed[len(kept):])
	rec.closed = kept
}

// hidden returns what the transactions that were received, and that a snapshot does not
// show, have done to a table.
func (rec *record) hidden(v *visibility, oid uint32) (out touchedTable) {
	for _, t := range rec.closed {
		tt := t.tables[oid]
		if tt == nil || v.includes(t) {
			continue
		}
		out.all = out.all || tt.all
		out.truncated = out.truncated || tt.truncated
		if out.keys == nil {
			out.keys = map[string]bool{}
		}
		for key, partial := range tt.keys {
			out.keys[key] = out.keys[key] || partial
		}
	}
	return out
}

// appendKey appends the key that a tuple has, as the database's text; a value that
// tuple lacks is taken from other. It tells whether the key is complete.
func appendKey(dst []byte, places []int, tuple, other []field) ([]byte, bool) {
	for _, i := range places {
		var f field
		if i < len(tuple) {
			f = tuple[i]
		}
		if f.kind != 't' && i < len(other) {
			f = other[i]
		}
		if f.kind != 't' {
			return dst, false
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(f.data)))
		dst = append(dst, f.data...)
	}
	return dst, true
}

// joined makes a key of its values.
func joined(values []string) string {
	var key []byte
	for _, v := range values {
		key = append(binary.BigEndian.AppendUint32(key, uint32(len(v))), v...)
	}
	return string(key)
}

// keyTexts parts a key of appendKey into its values.
func keyTexts(key string) []string {
	var out []string
	for len(key) >= 4 {
		n := int(binary.BigEndian.Uint32([]byte(key[:4])))
		out = append(out, key[4:4+n])
		key = key[4+n:]
	}
	return out
}
