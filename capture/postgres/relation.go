package postgres

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// relation turns the tuples of one table into rows.
type relation struct {
	oid     uint32
	table   *change.Table // nil: not captured
	columns []relationCodec
	key     []int // the table's key
	full    bool  // old rows are complete
	strict  bool  // a value that does not fit its type as it was looked up is errStale
	nulls   bool  // a column that is NOT NULL now was NULL
	unkeyed bool  // the default identity, and no primary key
	asText  bool  // which attributes composite values have is not known: they stay text
	looked  time.Time
	// keyPlaces are the places of the key's columns in tuples.
	keyPlaces []int

	composites []uint32 // relations of the composite types in its columns
	types      uint64   // attributes.generation that it was made with

	before, after change.Row // of the current event
	scratch       []byte     // behind their converted values

	count    *tableCount
	place    int  // among the tables of the transaction in progress that has the relation; -1: none yet
	deferred bool // the catalog does not show the table as that transaction sees it: rows are kept as they came
}

// tableCount counts a table's events in the current transaction.
type tableCount struct {
	transaction uint64
	n           int64
}

// next counts an event of a transaction and returns its place among the table's.
func (c *tableCount) next(transaction uint64) int64 {
	if c.transaction != transaction {
		c.transaction, c.n = transaction, 0
	}
	c.n++
	return c.n
}

// relationCodec is one column of a relation's tuples.
type relationCodec struct {
	codec
	place   int  // in the table's columns; -1: left out
	key     bool // part of the replica identity
	notNull bool // by what the catalog says now: a NULL may be older
	labels  map[string]bool

	composite bool // values have composite ones in them
}

// errStale: a value does not fit its type as the catalog had it when the relation was
// made. Enums get labels and composite types get attributes without a word of it in
// the stream.
var errStale = errors.New("a type was altered")

// errWidth: a row has not as many values as its relation was described with.
var errWidth = errors.New("decode row of")

// newRelation makes the relation of a Relation message.
func newRelation(oid uint32, m *relationMessage, t *change.Table, places []int, ts types) *relation {
	r := &relation{oid: oid, table: t, key: t.Key, full: m.identity == 'f', columns: make([]relationCodec, len(m.columns)), count: &tableCount{}, place: -1}
	r.unkeyed = m.identity == 'd' && !slices.ContainsFunc(m.columns, func(c relationColumn) bool { return c.key })
	for i, c := range m.columns {
		typ := ts[c.typ]
		if typ == nil {
			typ = unknownType(c.typ)
		}
		r.columns[i] = relationCodec{codec: typ.codec(c.typmod), place: places[i], key: c.key}
		if places[i] >= 0 {
			r.composites = typ.composites(r.composites)
			r.columns[i].composite = len(typ.composites(nil)) > 0
		}
		r.columns[i].notNull = places[i] >= 0 && !t.Columns[places[i]].Nullable
		if base, _ := typ.resolved(-1); base.kind == change.Enum {
			r.columns[i].labels = map[string]bool{}
			for _, l := range base.labels {
				r.columns[i].labels[l] = true
			}
		}
	}
	for _, k := range t.Key {
		r.keyPlaces = append(r.keyPlaces, slices.Index(places, k))
	}
	r.before = make(change.Row, len(t.Columns))
	r.after = make(change.Row, len(t.Columns))
	return r
}

// row fills row with a tuple's values. The values are valid as long as the tuple's
// memory and until reset.
func (r *relation) row(row change.Row, tuple []field) error {
	if len(tuple) != len(r.columns) {
		return fmt.Errorf("%w %s: it has %d values, its relation has %d columns", errWidth, r.table.QualifiedName(), len(tuple), len(r.columns))
	}
	for i := range tuple {
		c := &r.columns[i]
		if c.place < 0 {
			continue
		}
		f := &tuple[i]
		switch {
		case f.kind == 'n':
			row[c.place] = change.Value{}
			r.nulls = r.nulls || c.notNull
		case f.kind == 'u':
			row[c.place] = change.Of(change.Unchanged, "")
		case c.convert == nil:
			row[c.place] = change.Of(c.kind, view(f.data))
			if r.strict && c.labels != nil && !c.labels[string(f.data)] {
				return errStale
			}
		case r.asText && c.composite:
			row[c.place] = change.Of(change.String, view(f.data))
		default:
			var err error
			before := len(r.scratch)
			if row[c.place], r.scratch, err = c.value(f.data, r.scratch); errors.Is(err, errNested) {
				if r.strict {
					return errStale
				}
				r.scratch = r.scratch[:before]
				row[c.place], err = change.Of(change.String, view(f.data)), nil
			}
			if err != nil {
				return fmt.Errorf("decode column %s of %s: %w", r.table.Columns[c.place].Name, r.table.QualifiedName(), err)
			}
		}
	}
	return nil
}

// nullable returns the table with those columns nullable that are NULL in a row. The stream does not
// say what was NOT NULL when the row was written.
func (r *relation) nullable(row change.Row) *change.Table {
	t := *r.table
	t.Columns = slices.Clone(t.Columns)
	for i := range r.columns {
		if c := &r.columns[i]; c.notNull && row[c.place].IsNull() {
			c.notNull, t.Columns[c.place].Nullable = false, true
		}
	}
	return t.Seal()
}

// maxScratch is how much memory for converted values is kept from row to row.
const maxScratch = 1 << 20

// reset gives the memory of the current rows free for the next.
func (r *relation) reset() {
	if cap(r.scratch) > maxScratch {
		r.scratch = nil
	}
	r.scratch = r.scratch[:0]
}

// fillUnchanged takes the values that the new row lacks from the old one, where that
// has them: with full rows each column, else those of the replica identity.
func (r *relation) fillUnchanged(before, after change.Row) {
	for i := range r.columns {
		c := &r.columns[i]
		if c.place >= 0 && after[c.place].IsUnchanged() && (r.full || c.key) {
			after[c.place] = before[c.place]
		}
	}
}

// partial tells whether an update's new row lacks values that its old one does not have.
func (r *relation) partial(tuple []field) bool {
	for i := range tuple {
		if tuple[i].kind == 'u' && i < len(r.columns) && r.columns[i].place >= 0 && !r.full && !r.columns[i].key {
			return true
		}
	}
	return false
}

// keyChanged tells whether two rows have different keys.
func (r *relation) keyChanged(before, after change.Row) bool {
	return slices.ContainsFunc(r.key, func(i int) bool { return before[i] != after[i] })
}
