package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// A composite value's text has no names, and the stream has no word of ALTER TYPE: which
// attributes a value has is what the catalog says, if that was the same when the row was
// written. It was, if it is the same before and after that point of the WAL. Where it
// cannot be known the value stays the database's text.

// attributes is what is known of the composite types of a stream.
type attributes struct {
	types   map[uint32]*attributeSpan // by the type's relation
	checked uint64                    // up to here nothing but what is known was altered
	asked   time.Time                 // when the catalog was
	// generation is that of the types: another one of them makes relations be made anew.
	generation uint64
	retry      time.Time // not asked again before, since someone is altering a type
}

// attributeSpan is a composite type as it is from one point on.
type attributeSpan struct {
	seen    bool
	version string // names, types and the transactions that made them
	from    uint64
}

// attributePatience is how long an alteration that is under way is waited for, and attributePause
// how long is then done without.
const (
	attributePatience = "50ms"
	attributePause    = time.Second
)

// watchAttributes looks for alterations while no row has composite values, so that those which come
// later are known to be.
func (st *stream) watchAttributes() error {
	if len(st.attrs.types) == 0 || time.Since(st.attrs.asked) < attributePause {
		return nil
	}
	_, err := st.checkAttributes(nil)
	return err
}

// attributesQuery has the version of composite types, and whether it is older than all that the slot
// can have: as it was made, or altered before what the slot still needs the catalog for.
const attributesQuery = `
SELECT o.relid, COALESCE(pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum, a.attisdropped, a.atttypid, a.atttypmod, a.xmin, a.attname), ',' ORDER BY a.attnum), ''),
       COALESCE(pg_catalog.bool_and(a.xmin = t.xmin), true) OR COALESCE(pg_catalog.bool_and(pg_catalog.age(a.xmin) > pg_catalog.age(s.catalog_xmin)), false)
FROM pg_catalog.unnest($1::oid[]) AS o (relid) LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = o.relid AND a.attnum > 0
     LEFT JOIN pg_catalog.pg_type t ON t.typrelid = o.relid LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $2
GROUP BY o.relid`

// attributes makes sure that composite values of a row at lsn are read with the attributes they had,
// or as text. It returns the relation, or the one of sc that took its place.
func (st *stream) attributes(r *relation, lsn uint64, sc *schemas, find func(uint32) (*relation, error)) (*relation, error) {
	a := &st.attrs
	known, ok := true, true
	for _, relid := range r.composites {
		known = known && a.types[relid] != nil
	}
	if !known || lsn >= a.checked {
		var err error
		if ok, err = st.checkAttributes(r.composites); err != nil {
			return nil, err
		}
	}
	if r.types != a.generation {
		delete(sc.relations, r.oid)
		var err error
		if r, err = find(r.oid); err != nil {
			return nil, err
		}
	}
	r.asText = !ok || lsn >= a.checked
	for _, relid := range r.composites {
		if t := a.types[relid]; t == nil || lsn < t.from {
			r.asText = true
		}
	}
	return r, nil
}

// checkAttributes looks at the composite types that are known and at those of relids; false: some are
// being altered.
func (st *stream) checkAttributes(relids []uint32) (bool, error) {
	a := &st.attrs
	if a.asked = time.Now(); a.asked.Before(a.retry) {
		return false, nil
	}
	if a.types == nil {
		a.types = map[uint32]*attributeSpan{}
	}
	for _, relid := range relids {
		if a.types[relid] == nil {
			a.types[relid] = &attributeSpan{}
		}
	}
	all := make([]uint32, 0, len(a.types))
	for relid := range a.types {
		all = append(all, relid)
	}
	settled := false
	err := st.catalog.ask(st.ctx, st.s, attributePatience, func(conn *pgconn.PgConn) (err error) {
		settled, err = st.readSettled(conn, all)
		return err
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "55P03" { // lock_not_available
		a.retry = time.Now().Add(attributePause)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read attributes of composite types: %w", err)
	}
	return settled, nil
}

// readSettled reads composite types, and all types anew if one of them was altered; false: they are being altered.
func (st *stream) readSettled(conn *pgconn.PgConn, all []uint32) (bool, error) {
	for range 5 {
		was, err := readAttributes(st.ctx, conn, st.s.cfg.Slot, all)
		if err != nil {
			return false, err
		}
		if st.forgetAltered(was) {
			// The types are looked up anew, and have to be still the same after that.
			if err := st.loadTypes(conn); err != nil {
				return false, err
			}
			is, err := readAttributes(st.ctx, conn, st.s.cfg.Slot, all)
			if err != nil {
				return false, err
			}
			if !is.same(was) {
				continue
			}
			st.attrs.take(is)
			was = is
		}
		st.attrs.checked = was.before
		return true, nil
	}
	return false, nil
}

// attributeReading is one look at composite types: before is a point of the WAL up to which it holds,
// after one from which on it does.
type attributeReading struct {
	before, after uint64
	versions      map[uint32]string
	settled       map[uint32]bool
}

func (r *attributeReading) same(o *attributeReading) bool {
	for relid, v := range r.versions {
		if o.versions[relid] != v {
			return false
		}
	}
	return len(r.versions) == len(o.versions)
}

// readAttributes looks at composite types. A transaction that altered one may be in the WAL as committed
// and not yet be seen: it holds its lock until it is, and asking for a relation's size waits for that.
func readAttributes(ctx context.Context, conn *pgconn.PgConn, slot string, relids []uint32) (*attributeReading, error) {
	r := &attributeReading{versions: map[uint32]string{}, settled: map[uint32]bool{}}
	point := func() (uint64, error) {
		rows, err := query(ctx, conn, "SELECT "+walInserted)
		if err != nil {
			return 0, err
		}
		lsn, err := pglogrepl.ParseLSN(rows[0][0])
		return uint64(lsn), err
	}
	var err error
	if r.before, err = point(); err != nil {
		return nil, err
	}
	if _, err = query(ctx, conn, "SELECT pg_catalog.pg_relation_size(oid) FROM pg_catalog.unnest($1::oid[]) AS oid", oidArray(relids)); err != nil {
		return nil, err
	}
	rows, err := query(ctx, conn, attributesQuery, oidArray(relids), slot)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		relid := parseOID(row[0])
		r.versions[relid], r.settled[relid] = row[1], row[2] == "t"
	}
	r.after, err = point()
	return r, err
}

// forgetAltered forgets the types if a composite one is not as it is known, and tells whether it did.
func (st *stream) forgetAltered(r *attributeReading) bool {
	altered := false
	for relid, t := range st.attrs.types {
		altered = altered || !t.seen || t.version != r.versions[relid]
	}
	if altered {
		clear(st.srv.types)
		st.attrs.generation++
	}
	return altered
}

// loadTypes looks up the types of all relations that are known.
func (st *stream) loadTypes(conn *pgconn.PgConn) error {
	var oids []uint32
	add := func(sc *schemas) {
		for _, m := range sc.messages {
			for i := range m.columns {
				oids = append(oids, m.columns[i].typ)
			}
		}
	}
	add(&st.schemas)
	add(&st.saved)
	for _, tx := range st.open.transactions.open {
		add(&tx.schemas)
	}
	for _, info := range st.srv.relations {
		for i := range info.columns {
			oids = append(oids, info.columns[i].typ)
		}
	}
	return st.srv.types.load(st.ctx, conn, oids)
}

// take keeps what was read. What a type was before that is known of one that was not altered since.
func (a *attributes) take(r *attributeReading) {
	for relid, t := range a.types {
		if t.seen && t.version == r.versions[relid] {
			continue
		}
		from := r.after
		if !t.seen && r.settled[relid] {
			from = 0
		}
		*t = attributeSpan{seen: true, version: r.versions[relid], from: from}
	}
}
