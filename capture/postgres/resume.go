package postgres

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pglogrepl"
)

// resume is where a source goes on: what the log keeps as its resume point.
type resume struct {
	// System is the server's system identifier, Timeline the one it was on.
	System   string
	Timeline int32
	// Standby: the server was a standby, whose slot it is.
	Standby bool
	Epoch   uint32 // of event ids
	// Attempt counts the snapshots begun, so that a snapshot read again has new ids.
	Attempt uint32
	// Snapshot: reading (the slot is not made yet, or not by us) or done (it streams).
	Snapshot string
	// LSN is where the next transaction may begin: the end of the last commit, or a
	// later point up to which nothing was captured.
	LSN uint64
	// Last is the end of the last captured commit, 0 for none.
	Last uint64
	// Tables are the tables that are captured without a gap since their snapshot.
	Tables []uint32
	// Loads are the snapshots that are not done.
	Loads []*load
	// Published is what the publication was when this was read.
	Published published
	// Keys are the primary keys of tables whose replica identity is another, by table: the stream does not
	// say what they are.
	Keys map[uint32][]string
	keys []byte // their text, nil: to be written anew

	loads []byte // Loads as text; nil: to be made
}

// published tells a publication, and a table's membership in it, from later ones of the
// same name. What was written while it was another one was not sent.
type published struct {
	Server  int    `json:"server"` // major version
	OID     uint32 `json:"oid"`
	XMin    uint32 `json:"xmin"`    // of its row: another one after ALTER PUBLICATION ... SET (...)
	Members pairs  `json:"members"` // OID of a table, OID of its membership, and so on
	text    []byte // its JSON
}

// differs tells whether a publication, as membersQuery shows it, is another one or lacks
// a table. New tables in it are no difference.
func (p *published) differs(rows [][]string) bool {
	if p.OID == 0 {
		return false
	}
	if len(rows) == 0 || parseOID(rows[0][0]) != p.OID || parseOID(rows[0][1]) != p.XMin {
		return true
	}
	members := map[uint32]uint32{}
	for _, row := range rows {
		members[parseOID(row[2])] = parseOID(row[3])
	}
	for i := 0; i+1 < len(p.Members); i += 2 {
		if members[p.Members[i]] != p.Members[i+1] {
			return true
		}
	}
	return false
}

type pairs []uint32

// of returns a table's membership, 0 where none is known.
func (p pairs) of(table uint32) uint32 {
	for i := 0; i+1 < len(p); i += 2 {
		if p[i] == table {
			return p[i+1]
		}
	}
	return 0
}

// noteKey keeps a table's primary key where the stream does not have it.
func (r *resume) noteKey(oid uint32, identity byte, primary []string) {
	old, known := r.Keys[oid]
	switch {
	case identity != 'f' && identity != 'i':
		if known {
			delete(r.Keys, oid)
			r.keys = nil
		}
	case !known || !slices.Equal(old, primary):
		if r.Keys == nil {
			r.Keys = map[uint32][]string{}
		}
		r.Keys[oid], r.keys = primary, nil
	}
}

// Values of resume.Snapshot.
const (
	snapshotReading = "reading"
	snapshotDone    = "done"
)

type resumeText struct {
	Version  int      `json:"v"`
	System   string   `json:"system"`
	Timeline int32    `json:"timeline"`
	Standby  bool     `json:"standby,omitempty"`
	Epoch    uint32   `json:"epoch"`
	Attempt  uint32   `json:"attempt"`
	Snapshot string   `json:"snapshot"`
	Tables   []uint32 `json:"tables"`
	Last     string   `json:"last"`
	LSN      string   `json:"lsn"`
	Loads    []*load  `json:"loads,omitempty"`

	Published json.RawMessage     `json:"published"`
	Keys      map[uint32][]string `json:"keys"`
}

const resumeVersion = 1

// parseResume reads what appendTo wrote; nil for no text: the very first start.
func parseResume(text []byte) (*resume, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var t resumeText
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("read resume point: %w", err)
	}
	if t.Version != resumeVersion {
		return nil, fmt.Errorf("read resume point: it has format %d, this penstock knows %d: use the version that wrote it or a newer one", t.Version, resumeVersion)
	}
	lsn, err := pglogrepl.ParseLSN(t.LSN)
	if err != nil {
		return nil, fmt.Errorf("read resume point: lsn %q: %w", t.LSN, err)
	}
	last, err := pglogrepl.ParseLSN(t.Last)
	if err != nil {
		return nil, fmt.Errorf("read resume point: last %q: %w", t.Last, err)
	}
	r := &resume{
		System: t.System, Timeline: t.Timeline, Standby: t.Standby, Epoch: t.Epoch, Attempt: t.Attempt, Snapshot: t.Snapshot,
		Tables: t.Tables, Last: uint64(last), LSN: uint64(lsn), Loads: t.Loads, Keys: t.Keys,
	}
	if len(t.Published) > 0 {
		if err := json.Unmarshal(t.Published, &r.Published); err != nil {
			return nil, fmt.Errorf("read resume point: published: %w", err)
		}
		r.Published.text = t.Published
	}
	return r, nil
}

// publish notes what the publication is now.
func (r *resume) publish(srv *server) error {
	p := published{Server: srv.version / 10000, OID: srv.publication.oid, XMin: srv.publication.xmin}
	for _, info := range srv.relations {
		if info.member != 0 {
			p.Members = append(p.Members, info.oid, info.member)
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write resume point: %w", err)
	}
	p.text = text
	r.Published = p
	return nil
}

// appendTo appends the resume point's text.
func (r *resume) appendTo(dst []byte) []byte {
	dst = append(dst, `{"v":`...)
	dst = strconv.AppendInt(dst, resumeVersion, 10)
	dst = append(append(dst, `,"system":"`...), r.System...)
	dst = strconv.AppendInt(append(dst, `","timeline":`...), int64(r.Timeline), 10)
	if r.Standby {
		dst = append(dst, `,"standby":true`...)
	}
	dst = strconv.AppendUint(append(dst, `,"epoch":`...), uint64(r.Epoch), 10)
	dst = strconv.AppendUint(append(dst, `,"attempt":`...), uint64(r.Attempt), 10)
	dst = append(append(dst, `,"snapshot":"`...), r.Snapshot...)
	dst = append(dst, `","tables":[`...)
	for i, oid := range r.Tables {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(oid), 10)
	}
	dst = append(dst, ']')
	if len(r.Keys) > 0 {
		if r.keys == nil {
			r.keys, _ = json.Marshal(r.Keys) // numbers and strings: cannot fail
		}
		dst = append(append(dst, `,"keys":`...), r.keys...)
	}
	dst = appendLSN(append(dst, `,"last":"`...), r.Last)
	dst = appendLSN(append(dst, `","lsn":"`...), r.LSN)
	dst = append(dst, '"')
	if len(r.Loads) > 0 {
		if r.loads == nil {
			r.loads, _ = json.Marshal(r.Loads) // plain data: cannot fail
		}
		dst = append(append(dst, `,"loads":`...), r.loads...)
	}
	if len(r.Published.text) > 0 {
		dst = append(append(dst, `,"published":`...), r.Published.text...)
	}
	return append(dst, '}')
}

// changedLoads is called after each change of Loads or of one of them.
func (r *resume) changedLoads() { r.loads = nil }

// loading tells whether a table's snapshot is not done.
func (r *resume) loading(table uint32) bool {
	for _, ld := range r.Loads {
		if ld.Table == table {
			return true
		}
	}
	return false
}

// appendLSN appends the database's own form of an LSN: 16/B374D848.
func appendLSN(dst []byte, lsn uint64) []byte {
	dst = appendHex(dst, uint32(lsn>>32))
	return appendHex(append(dst, '/'), uint32(lsn))
}

func appendHex(dst []byte, n uint32) []byte {
	const digits = "0123456789ABCDEF"
	for shift := 28; shift >= 0; shift -= 4 {
		if n>>shift != 0 || shift == 0 {
			dst = append(dst, digits[n>>shift&15])
		}
	}
	return dst
}

func (r *resume) has(table uint32) bool {
	for _, oid := range r.Tables {
		if oid == table {
			return true
		}
	}
	return false
}

func lsnText(lsn uint64) string { return string(appendLSN(nil, lsn)) }
