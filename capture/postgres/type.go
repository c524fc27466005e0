package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/change"
)

// dataType is a row of pg_type with what decoding needs.
type dataType struct {
	oid     uint32
	name    string
	kind    change.Kind
	base    *dataType   // of a domain
	typmod  int32       // of a domain: its base type's
	element *dataType   // of an array
	delim   byte        // between an array's elements
	fields  []typeField // of a composite; there may be none
	relid   uint32      // of a composite: its relation
	hstore  bool
	labels  []string
}

// typeField is an attribute of a composite type.
type typeField struct {
	name   string
	typ    *dataType
	typmod int32
}

// builtin has the kinds of the types whose OIDs never change. All others are text
// unless pg_type says that they are an enum, a domain, an array or a composite.
// Source: src/include/catalog/pg_type.dat.
var builtin = map[uint32]change.Kind{
	16: change.Bool, 17: change.Bytes,
	20: change.Int, 21: change.Int, 23: change.Int,
	26: change.Uint, 28: change.Uint, 29: change.Uint, 5069: change.Uint, // oid, xid, cid, xid8
	114: change.JSON, 3802: change.JSON,
	700: change.Float, 701: change.Float, 1700: change.Decimal,
	1082: change.Date, 1083: change.Time, 1266: change.TimeTZ, 1114: change.Timestamp, 1184: change.TimestampTZ, 1186: change.Interval,
	1560: change.Bits, 1562: change.Bits, 2950: change.UUID,
}

// Types that need more than their kind.
const (
	oidInt8, oidInt2, oidInt4         = 20, 21, 23
	oidBit, oidVarbit                 = 1560, 1562
	oidBpchar, oidVarchar, oidNumeric = 1042, 1043, 1700
	oidName                           = 19
)

// unknownType stands for a type that pg_type no longer has: its values stay text.
func unknownType(oid uint32) *dataType {
	return &dataType{oid: oid, name: "type " + strconv.FormatUint(uint64(oid), 10), kind: change.String}
}

// resolved follows domains to what their values really are, with its typmod.
func (t *dataType) resolved(typmod int32) (*dataType, int32) {
	for t.base != nil {
		typmod, t = t.typmod, t.base
	}
	return t, typmod
}

// types are the types that were needed so far.
type types map[uint32]*dataType

const typesQuery = `
SELECT t.oid, t.typname, t.typtype, t.typbasetype, t.typtypmod,
       CASE WHEN t.typoutput = 'pg_catalog.array_out'::regproc THEN t.typelem ELSE 0 END,
       t.typdelim, CASE WHEN t.typtype = 'c' THEN t.typrelid ELSE 0 END,
       (SELECT p.proname = 'hstore_out' FROM pg_catalog.pg_proc p WHERE p.oid = t.typoutput)
FROM pg_catalog.pg_type t WHERE t.oid = ANY ($1::oid[])`

// load looks up the types that are not there yet, and those that they are made of.
func (ts types) load(ctx context.Context, conn *pgconn.PgConn, oids []uint32) error {
	var missing []uint32
	for _, oid := range oids {
		if ts[oid] == nil {
			ts[oid] = unknownType(oid)
			if kind, ok := builtin[oid]; ok {
				ts[oid].kind = kind
			}
			missing = append(missing, oid)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	rows, err := query(ctx, conn, typesQuery, oidArray(missing))
	if err != nil {
		return fmt.Errorf("read types: %w", err)
	}
	var enums, composites, parts []uint32
	relations := map[uint32]*dataType{} // composite types by their relation
	type link struct {
		t    *dataType
		part uint32
	}
	var bases, elements []link
	for _, row := range rows {
		t := ts[parseOID(row[0])]
		t.name = row[1]
		if row[8] == "t" {
			t.kind, t.hstore = change.Object, true
		}
		switch row[2] {
		case "e":
			t.kind = change.Enum
			enums = append(enums, t.oid)
		case "d":
			n, _ := strconv.ParseInt(row[4], 10, 32)
			t.typmod = int32(n)
			bases = append(bases, link{t, parseOID(row[3])})
			parts = append(parts, parseOID(row[3]))
		case "c":
			t.kind, t.relid = change.Object, parseOID(row[7])
			relations[t.relid] = t
			composites = append(composites, parseOID(row[7]))
		}
		if element := parseOID(row[5]); element != 0 {
			t.kind, t.delim = change.Array, row[6][0]
			elements = append(elements, link{t, element})
			parts = append(parts, element)
		}
	}
	if len(enums) > 0 {
		rows, err := query(ctx, conn, `SELECT enumtypid, enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = ANY ($1::oid[]) ORDER BY enumtypid, enumsortorder`, oidArray(enums))
		if err != nil {
			return fmt.Errorf("read enum labels: %w", err)
		}
		for _, row := range rows {
			t := ts[parseOID(row[0])]
			t.labels = append(t.labels, row[1])
		}
	}
	var fields [][]string
	if len(composites) > 0 {
		fields, err = query(ctx, conn, `SELECT attrelid, attname, atttypid, atttypmod FROM pg_catalog.pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum`, oidArray(composites))
		if err != nil {
			return fmt.Errorf("read composite types: %w", err)
		}
		for _, row := range fields {
			parts = append(parts, parseOID(row[2]))
		}
	}
	if err := ts.load(ctx, conn, parts); err != nil {
		return err
	}
	for _, l := range bases {
		l.t.base = ts[l.part]
		l.t.kind = l.t.base.kind
		l.t.labels = l.t.base.labels
	}
	for _, l := range elements {
		l.t.element = ts[l.part]
	}
	for _, row := range fields {
		t := relations[parseOID(row[0])]
		n, _ := strconv.ParseInt(row[3], 10, 32)
		t.fields = append(t.fields, typeField{row[1], ts[parseOID(row[2])], int32(n)})
	}
	return nil
}

// have tells whether the types of a relation are there.
func (ts types) have(m *relationMessage) bool {
	return !slices.ContainsFunc(m.columns, func(c relationColumn) bool { return ts[c.typ] == nil })
}

// forget makes load look up a type again, and those that it is made of.
func (ts types) forget(oid uint32) {
	t := ts[oid]
	if t == nil {
		return
	}
	delete(ts, oid)
	if t.base != nil {
		ts.forget(t.base.oid)
	}
	if t.element != nil {
		ts.forget(t.element.oid)
	}
	for _, f := range t.fields {
		ts.forget(f.typ.oid)
	}
}

// composites appends the relations of the composite types that values of the type may have in them.
func (t *dataType) composites(to []uint32) []uint32 {
	if t.base != nil {
		return t.base.composites(to)
	}
	if t.element != nil {
		return t.element.composites(to)
	}
	if t.relid != 0 && !slices.Contains(to, t.relid) {
		to = append(to, t.relid)
		for _, f := range t.fields {
			to = f.typ.composites(to)
		}
	}
	return to
}

// column describes a column of a type; words are the database's own for it.
func (t *dataType) column(name, words string, typmod int32) change.Column {
	r, typmod := t.resolved(typmod)
	c := change.Column{Name: name, Kind: r.kind, Type: words, Labels: r.labels}
	switch r.oid {
	case oidInt2:
		c.Precision = 16
	case oidInt4:
		c.Precision = 32
	case oidInt8:
		c.Precision = 64
	case oidName:
		c.Length = 63
	case oidBpchar, oidVarchar:
		c.Length = max(0, int(typmod)-4)
	case oidBit, oidVarbit:
		c.Length = max(0, int(typmod))
		if oneBit(r, typmod) {
			c.Kind, c.Length = change.Bool, 0
		}
	case oidNumeric:
		if typmod >= 4 {
			c.Precision = int(typmod-4) >> 16 & 0xffff
			c.Scale = (int(typmod-4)&0x7ff ^ 1024) - 1024
		}
	}
	switch r.kind {
	case change.Uint:
		c.Precision = 32
		if r.oid == 5069 {
			c.Precision = 64
		}
	case change.Time, change.TimeTZ, change.Timestamp, change.TimestampTZ:
		c.Precision = 6
		if typmod >= 0 {
			c.Precision = int(typmod)
		}
	case change.Array:
		e, _ := r.element.resolved(-1)
		c.Element, c.Labels = e.kind, e.labels
		if e.oid == oidBit && oneBit(e, typmod) {
			c.Element = change.Bool
		}
	}
	return c
}

// oneBit tells whether a type is bit(1), which is a boolean in the stream.
func oneBit(t *dataType, typmod int32) bool { return t.oid == oidBit && typmod == 1 }

func parseOID(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// oidArray is the text of an oid[].
func oidArray(oids []uint32) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, oid := range oids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(oid), 10))
	}
	b.WriteByte('}')
	return b.String()
}
