package postgres

import (
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
)

// schemas are the relations that messages have described so far.
type schemas struct {
	messages  map[uint32]relationMessage
	relations map[uint32]*relation // made of them when a row comes
}

func newSchemas() schemas {
	return schemas{map[uint32]relationMessage{}, map[uint32]*relation{}}
}

func (sc *schemas) describe(m *message) {
	sc.messages[m.relation] = m.rel
	delete(sc.relations, m.relation)
}

// find returns the relation of a row, made from the Relation message that came
// before it and what the catalog has now.
func (st *stream) find(oid uint32) (*relation, error) {
	if r := st.relations[oid]; r != nil {
		return r, nil
	}
	m, ok := st.messages[oid]
	if !ok {
		return nil, st.s.unfit("a row came of relation %d, which was not described", oid)
	}
	if !st.s.cfg.captures(m.schema, m.name) {
		r := &relation{oid: oid}
		st.relations[oid] = r
		return r, nil
	}
	info, err := st.srv.relation(oid), error(nil)
	if info == nil || st.again[oid] || !sameColumns(&m, info, st.srv.storedGenerated) || !st.srv.types.have(&m) {
		if info, err = st.look(oid, &m); err != nil {
			return nil, err
		}
		delete(st.again, oid)
	}
	if info, err = st.keyThen(oid, &m, info, st.first[oid]); err != nil {
		return nil, err
	}
	r := st.makeRelation(oid, &m, info)
	st.relations[oid] = r
	st.loader.describedAs(oid, r.table)
	return r, nil
}

// makeRelation makes a relation of its description and what the catalog says of it.
func (st *stream) makeRelation(oid uint32, m *relationMessage, info *relationInfo) *relation {
	t, places := st.s.cfg.table(st.s.name, st.srv.database, m, info, st.srv.types)
	r := newRelation(oid, m, st.s.intern(oid, t), places, st.srv.types)
	r.strict = true
	if st.counts[oid] == nil {
		st.counts[oid] = r.count
	}
	r.count, r.types = st.counts[oid], st.attrs.generation
	st.s.updateTable(t.QualifiedName(), func(status *capture.TableStatus) { status.Topic, status.SchemaVersion = t.Topic, t.Version })
	return r
}

// keyThen sees to the primary key of a table whose replica identity is another one, of which the stream
// says nothing. At a start the key of the resume point counts for rows that were written before: if the
// table has another one now, nothing says which of these rows were written under which.
func (st *stream) keyThen(oid uint32, m *relationMessage, info *relationInfo, first bool) (*relationInfo, error) {
	then, known := st.r.Keys[oid]
	if m.identity == 'd' || m.identity == 'n' || !known || slices.Equal(then, info.primary) || !first || st.lsn > st.srv.end {
		st.r.noteKey(oid, m.identity, info.primary)
		return info, nil
	}
	if info.gone {
		old := *info
		old.primary = then
		return &old, nil
	}
	return nil, st.s.rekeyedProblem(info, m.identity, then, st.r.LSN)
}

// look asks the catalog about a relation that is not as it was when capture began. A
// relation that is gone is described by its message alone.
func (st *stream) look(oid uint32, m *relationMessage) (*relationInfo, error) {
	var oids []uint32
	for _, c := range m.columns {
		oids = append(oids, c.typ)
	}
	var found *relationInfo
	if err := st.catalog.ask(st.ctx, st.s, "0", func(conn *pgconn.PgConn) (err error) {
		if found, err = readRelation(st.ctx, conn, st.s.cfg.Publication, oid, st.srv.types); err != nil {
			return err
		}
		return st.srv.types.load(st.ctx, conn, oids)
	}); err != nil {
		return nil, err
	}
	if found == nil {
		return &relationInfo{oid: oid, schema: m.schema, name: m.name, gone: true}, nil
	}
	st.srv.replace(found)
	return found, nil
}

// sameColumns tells whether the catalog describes the columns of a Relation message.
func sameColumns(m *relationMessage, info *relationInfo, storedGenerated bool) bool {
	now := info.message(storedGenerated)
	return m.identity == now.identity && m.name == now.name && m.schema == now.schema &&
		slices.EqualFunc(m.columns, now.columns, func(a, b relationColumn) bool {
			return a.name == b.name && a.typ == b.typ && a.typmod == b.typmod && a.key == b.key
		})
}

// refreshInterval is how often the types of a table are looked up again because of
// values that do not fit them.
const refreshInterval = time.Second

// refresh makes a relation anew with its types as the catalog has them now. The one that
// is returned takes the next row as it is.
func (st *stream) refresh(r *relation) (*relation, error) {
	if time.Since(r.looked) > refreshInterval {
		m := st.messages[r.oid]
		for _, c := range m.columns {
			st.srv.types.forget(c.typ)
		}
		if _, err := st.look(r.oid, &m); err != nil {
			return nil, err
		}
		delete(st.relations, r.oid)
		fresh, err := st.find(r.oid)
		if err != nil {
			return nil, err
		}
		fresh.looked = time.Now()
		r, st.relation = fresh, fresh
	}
	r.strict = false
	return r, nil
}
