package mysql

import (
	"errors"
	"fmt"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// tableMap is a TABLE_MAP event: what the rows events after it that have its id mean.
type tableMap struct {
	database string
	table    string
	columns  []column
	key      []int // indexes of the primary key's columns, in key order
	full     bool  // it has names, so binlog_row_metadata was FULL
}

// tableMapID reads the id alone; the rest of the event tells whether the same id
// still means the same.
func tableMapID(body []byte) (id uint64, rest []byte, err error) {
	if len(body) < 8 {
		return 0, nil, errShort
	}
	return littleEndian(body[:6]), body[8:], nil
}

// parseTableMapName reads the database and the table alone.
func parseTableMapName(rest []byte) (database, table []byte, r reader) {
	r = reader{b: rest}
	database = r.bytes(int(r.byte()))
	r.byte() // NUL
	table = r.bytes(int(r.byte()))
	r.byte()
	return database, table, r
}

// parseTableMap reads the event past its id. collations tells the character sets;
// mariadb, which columns the server counts as text.
func parseTableMap(rest []byte, collations map[uint64]collation, mariadb bool) (*tableMap, error) {
	database, table, r := parseTableMapName(rest)
	t := &tableMap{database: string(database), table: string(table)}
	types := r.bytes(r.count(1))
	if r.err != nil {
		return nil, r.err
	}
	t.columns = make([]column, len(types))
	meta := reader{b: r.text()}
	for i, typ := range types {
		if err := t.columns[i].readMeta(typ, &meta); err != nil {
			return nil, fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	nulls := r.bytes((len(types) + 7) / 8)
	if r.err != nil {
		return nil, r.err
	}
	for i := range t.columns {
		t.columns[i].nullable = nulls[i/8]>>(i%8)&1 == 1
	}
	o := optional{t: t, collations: collations, mariadb: mariadb, collation: make([]uint64, len(types))}
	for len(r.b) > 0 {
		kind := r.byte()
		field := reader{b: r.text()}
		if r.err != nil {
			return nil, r.err
		}
		if o.read(kind, &field); field.err != nil {
			return nil, fmt.Errorf("optional metadata %d: %w", kind, field.err)
		}
	}
	return t, o.finish()
}

// readMeta reads the bytes that the event keeps for a column's type.
func (c *column) readMeta(typ byte, r *reader) error {
	c.typ = typ
	switch typ {
	case gomysql.MYSQL_TYPE_STRING: // also enum and set
		b := r.bytes(2)
		if b == nil {
			return r.err
		}
		// Sizes above 255 have two bits of them, inverted, in the type's byte.
		real, size := b[0], int(b[1])
		if real&0x30 != 0x30 {
			size |= int(real&0x30^0x30) << 4
			real |= 0x30
		}
		c.typ, c.size = real, size
	case gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING:
		c.size = int(r.uint(2))
	case gomysql.MYSQL_TYPE_BIT:
		rest := int(r.byte())
		c.size = int(r.byte())*8 + rest
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		c.precision, c.scale = int(r.byte()), int(r.byte())
		if r.err == nil && (c.precision < 1 || c.precision > 65 || c.scale > c.precision) {
			return fmt.Errorf("decimal(%d,%d) cannot be", c.precision, c.scale)
		}
	case gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_DOUBLE:
		r.byte()
	case gomysql.MYSQL_TYPE_BLOB, gomysql.MYSQL_TYPE_JSON, gomysql.MYSQL_TYPE_GEOMETRY, gomysql.MYSQL_TYPE_VECTOR,
		gomysql.MYSQL_TYPE_TINY_BLOB, gomysql.MYSQL_TYPE_MEDIUM_BLOB, gomysql.MYSQL_TYPE_LONG_BLOB:
		c.size = int(r.byte())
		if r.err == nil && (c.size < 1 || c.size > 4) {
			return fmt.Errorf("blob length of %d bytes cannot be", c.size)
		}
	case gomysql.MYSQL_TYPE_TIME2, gomysql.MYSQL_TYPE_DATETIME2, gomysql.MYSQL_TYPE_TIMESTAMP2:
		c.scale = int(r.byte())
		if c.scale > 6 {
			return fmt.Errorf("fraction of %d digits cannot be", c.scale)
		}
	case typeBlobCompressed, typeVarcharCompressed: // MariaDB
		n := 1
		if typ == typeVarcharCompressed {
			n = 2
		}
		c.size, c.declared = int(r.uint(n)), "compressed"
	case gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_SHORT, gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_LONGLONG,
		gomysql.MYSQL_TYPE_YEAR, gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE, gomysql.MYSQL_TYPE_TIMESTAMP, gomysql.MYSQL_TYPE_DATETIME, gomysql.MYSQL_TYPE_TIME, gomysql.MYSQL_TYPE_NULL:
	default:
		return fmt.Errorf("type code %d is not known", typ)
	}
	return r.err
}

// MariaDB's types of columns with COMPRESSED.
const (
	typeBlobCompressed    = 140
	typeVarcharCompressed = 141
)

func (c *column) isNumeric() bool {
	switch c.typ {
	case gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_SHORT, gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_LONGLONG,
		gomysql.MYSQL_TYPE_NEWDECIMAL, gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_DOUBLE, gomysql.MYSQL_TYPE_YEAR:
		return true
	}
	return false
}

func (c *column) isText(mariadb bool) bool {
	switch c.typ {
	case gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VAR_STRING, gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_BLOB:
		return true
	case gomysql.MYSQL_TYPE_GEOMETRY, typeBlobCompressed, typeVarcharCompressed:
		return mariadb
	}
	return false
}

func (c *column) isEnumOrSet() bool {
	return c.typ == gomysql.MYSQL_TYPE_ENUM || c.typ == gomysql.MYSQL_TYPE_SET
}

// optional reads the optional metadata: fields of a type byte and a length. Columns
// are counted within those that a field is about.
type optional struct {
	t          *tableMap
	collations map[uint64]collation
	mariadb    bool
	collation  []uint64
	labels     [][][]byte // of each enum or set column, in its own character set
}

func (o *optional) read(kind byte, r *reader) {
	columns := o.t.columns
	switch kind {
	case replication.TABLE_MAP_OPT_META_SIGNEDNESS:
		n := 0
		for i := range columns {
			if !columns[i].isNumeric() {
				continue
			}
			if n/8 >= len(r.b) {
				r.err = errShort
				return
			}
			// A YEAR counts as unsigned in one product and not in the other.
			columns[i].unsigned = r.b[n/8]>>(7-n%8)&1 == 1 && columns[i].typ != gomysql.MYSQL_TYPE_YEAR
			n++
		}
	case replication.TABLE_MAP_OPT_META_DEFAULT_CHARSET, replication.TABLE_MAP_OPT_META_ENUM_AND_SET_DEFAULT_CHARSET:
		list := o.those(kind)
		common := r.packed()
		for _, i := range list {
			o.collation[i] = common
		}
		for len(r.b) > 0 && r.err == nil {
			at, id := r.packed(), r.packed()
			if at >= uint64(len(list)) {
				r.err = errShort
				return
			}
			o.collation[list[at]] = id
		}
	case replication.TABLE_MAP_OPT_META_COLUMN_CHARSET, replication.TABLE_MAP_OPT_META_ENUM_AND_SET_COLUMN_CHARSET:
		for _, i := range o.those(kind) {
			o.collation[i] = r.packed()
		}
	case replication.TABLE_MAP_OPT_META_COLUMN_NAME:
		o.t.full = true
		for i := range columns {
			columns[i].name = string(r.text())
		}
	case replication.TABLE_MAP_OPT_META_ENUM_STR_VALUE, replication.TABLE_MAP_OPT_META_SET_STR_VALUE:
		want := gomysql.MYSQL_TYPE_ENUM
		if kind == replication.TABLE_MAP_OPT_META_SET_STR_VALUE {
			want = gomysql.MYSQL_TYPE_SET
		}
		if o.labels == nil {
			o.labels = make([][][]byte, len(columns))
		}
		for i := range columns {
			if columns[i].typ != want {
				continue
			}
			labels := make([][]byte, r.count(1))
			for j := range labels {
				labels[j] = r.text()
			}
			o.labels[i] = labels
		}
	case replication.TABLE_MAP_OPT_META_SIMPLE_PRIMARY_KEY, replication.TABLE_MAP_OPT_META_PRIMARY_KEY_WITH_PREFIX:
		for len(r.b) > 0 && r.err == nil {
			i := r.packed()
			if i >= uint64(len(columns)) {
				r.err = errShort
				return
			}
			o.t.key = append(o.t.key, int(i))
			if kind == replication.TABLE_MAP_OPT_META_PRIMARY_KEY_WITH_PREFIX {
				r.packed() // the prefix's length
			}
		}
	}
}

// those returns the columns that a field about character sets counts.
func (o *optional) those(kind byte) (list []int) {
	enums := kind == replication.TABLE_MAP_OPT_META_ENUM_AND_SET_DEFAULT_CHARSET || kind == replication.TABLE_MAP_OPT_META_ENUM_AND_SET_COLUMN_CHARSET
	for i := range o.t.columns {
		if c := &o.t.columns[i]; enums && c.isEnumOrSet() || !enums && c.isText(o.mariadb) {
			list = append(list, i)
		}
	}
	return list
}

var errCollation = errors.New("its collation is not in information_schema.collations")

func (o *optional) finish() error {
	for i := range o.t.columns {
		c := &o.t.columns[i]
		if !c.isText(o.mariadb) && !c.isEnumOrSet() {
			continue
		}
		known, ok := o.collations[o.collation[i]]
		if !ok {
			if !o.t.full {
				continue
			}
			return fmt.Errorf("column %s, collation %d: %w", c.name, o.collation[i], errCollation)
		}
		c.charset, c.width = known.charset, known.width
		if o.labels == nil || o.labels[i] == nil {
			continue
		}
		cs, ok := charsetOf(c.charset)
		if !ok {
			return fmt.Errorf("column %s: character set %s is not supported", c.name, c.charset)
		}
		c.labels = make([]string, len(o.labels[i]))
		for j, l := range o.labels[i] {
			text, err := cs.append(nil, l)
			if err != nil {
				return fmt.Errorf("column %s: %w", c.name, err)
			}
			c.labels[j] = string(text)
		}
	}
	return nil
}
