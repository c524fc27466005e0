package mysql

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"unsafe"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/penstock-cdc/penstock/change"
)

// form is how a column's value lies in a rows event.
type form uint8

const (
	formInt form = iota
	formUint
	formYear
	formFloat
	formDouble
	formDecimal
	formBit
	formDate
	formTime
	formDatetime
	formTimestamp
	formText   // UTF-8 already
	formOther  // text in another character set
	formBinary // padded with zeros to its size
	formBytes
	formEnum
	formSet
	formJSON
	formGeometry
	formVector
	formUUID // MariaDB
	formINET
)

// field is one column of a layout.
type field struct {
	form   form
	kind   change.Kind
	prefix int // bytes of the length in front of the content; 0: size is fixed
	size   int // bytes of the content; with a prefix the declared size
	digits int // decimal: precision; times: digits of the fraction; bit: bits
	scale  int
	out    int // place in the row, -1: not captured
	cs     *charset
	labels []string
}

// layout reads the rows of one version of a table.
type layout struct {
	fields []field
	width  int // values in a row
}

// newLayout makes a layout; out has each column's place in the row, or -1.
func newLayout(columns []column, out []int, width int) (*layout, error) {
	l := &layout{fields: make([]field, len(columns)), width: width}
	for i := range columns {
		f, err := newField(&columns[i], out[i] >= 0)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", columns[i].name, err)
		}
		f.out = out[i]
		l.fields[i] = f
	}
	return l, nil
}

// newField makes a column's field. One that is not captured need only be passed over.
func newField(c *column, captured bool) (field, error) {
	f := field{labels: c.labels}
	fixed := func(form form, size int) { f.form, f.size = form, size }
	integer := formInt
	if c.unsigned {
		integer = formUint
	}
	switch c.typ {
	case gomysql.MYSQL_TYPE_TINY:
		fixed(integer, 1)
	case gomysql.MYSQL_TYPE_SHORT:
		fixed(integer, 2)
	case gomysql.MYSQL_TYPE_INT24:
		fixed(integer, 3)
	case gomysql.MYSQL_TYPE_LONG:
		fixed(integer, 4)
	case gomysql.MYSQL_TYPE_LONGLONG:
		fixed(integer, 8)
	case gomysql.MYSQL_TYPE_YEAR:
		fixed(formYear, 1)
	case gomysql.MYSQL_TYPE_FLOAT:
		fixed(formFloat, 4)
	case gomysql.MYSQL_TYPE_DOUBLE:
		fixed(formDouble, 8)
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		fixed(formDecimal, decimalSize(c.precision, c.scale))
		f.digits, f.scale = c.precision, c.scale
	case gomysql.MYSQL_TYPE_BIT:
		fixed(formBit, (c.size+7)/8)
		f.digits = c.size
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE:
		fixed(formDate, 3)
	case gomysql.MYSQL_TYPE_TIME2:
		fixed(formTime, 3+fractionSize(c.scale))
		f.digits = c.scale
	case gomysql.MYSQL_TYPE_DATETIME2:
		fixed(formDatetime, 5+fractionSize(c.scale))
		f.digits = c.scale
	case gomysql.MYSQL_TYPE_TIMESTAMP2:
		fixed(formTimestamp, 4+fractionSize(c.scale))
		f.digits = c.scale
	case gomysql.MYSQL_TYPE_TIMESTAMP:
		fixed(formBytes, 4)
	case gomysql.MYSQL_TYPE_DATETIME:
		fixed(formBytes, 8)
	case gomysql.MYSQL_TYPE_TIME:
		fixed(formBytes, 3)
	case gomysql.MYSQL_TYPE_ENUM:
		fixed(formEnum, c.size)
	case gomysql.MYSQL_TYPE_SET:
		fixed(formSet, c.size)
	case gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING, typeVarcharCompressed:
		f.form, f.prefix, f.size = formText, 1, c.size
		if c.size > 255 {
			f.prefix = 2
		}
		if c.charset == binaryCharset {
			f.form = formBytes
			if c.typ == gomysql.MYSQL_TYPE_STRING {
				f.form = formBinary
			}
		}
	case gomysql.MYSQL_TYPE_BLOB, typeBlobCompressed:
		f.form, f.prefix = formText, c.size
		if c.charset == binaryCharset {
			f.form = formBytes
		}
	case gomysql.MYSQL_TYPE_JSON:
		f.form, f.prefix = formJSON, c.size
	case gomysql.MYSQL_TYPE_GEOMETRY:
		f.form, f.prefix = formGeometry, c.size
	case gomysql.MYSQL_TYPE_VECTOR:
		f.form, f.prefix = formVector, c.size
	default:
		return f, fmt.Errorf("type code %d is not supported", c.typ)
	}
	if !captured {
		return f, nil
	}
	switch c.declared {
	case "uuid":
		f.form = formUUID
	case "inet4", "inet6":
		f.form = formINET
	case "vector":
		f.form = formVector
	}
	kind, err := c.kind()
	if err != nil {
		return f, err
	}
	f.kind = kind
	if f.form == formText {
		cs, _ := charsetOf(c.charset) // kind has looked
		if !cs.utf8 {
			f.form, f.cs = formOther, cs
		}
	}
	return f, nil
}

// decoder reads rows into reused memory.
type decoder struct {
	arena []byte
}

// row reads one row image into row and returns what follows it. Of the columns, those
// set in present are in the image; the others become Unchanged. Values point into
// data and into the decoder's memory, which the next reset reuses.
func (d *decoder) row(l *layout, data, present []byte, all bool, row change.Row) ([]byte, error) {
	columns := len(l.fields)
	if !all {
		columns = 0
		for i := range l.fields {
			columns += int(present[i/8] >> (i % 8) & 1)
		}
	}
	if len(data) < (columns+7)/8 {
		return nil, errShort
	}
	nulls := data[:(columns+7)/8]
	data = data[len(nulls):]
	at := 0
	for i := range l.fields {
		f := &l.fields[i]
		if !all && present[i/8]>>(i%8)&1 == 0 {
			if f.out >= 0 {
				row[f.out] = change.Of(change.Unchanged, "")
			}
			continue
		}
		null := nulls[at/8]>>(at%8)&1 == 1
		at++
		if null {
			if f.out >= 0 {
				row[f.out] = change.Value{}
			}
			continue
		}
		size := f.size
		if f.prefix > 0 {
			if len(data) < f.prefix {
				return nil, errShort
			}
			size = int(littleEndian(data[:f.prefix]))
			data = data[f.prefix:]
		}
		if len(data) < size {
			return nil, errShort
		}
		if f.out >= 0 {
			v, err := d.value(f, data[:size])
			if err != nil {
				return nil, fmt.Errorf("column %d: %w", i+1, err)
			}
			row[f.out] = v
		}
		data = data[size:]
	}
	return data, nil
}

func (d *decoder) reset() { d.arena = d.arena[:0] }

// textOf makes a string of bytes without copying them.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// value reads one value that is not NULL.
func (d *decoder) value(f *field, b []byte) (change.Value, error) {
	at := len(d.arena)
	var err error
	switch f.form {
	case formText, formBytes:
		return change.Of(f.kind, textOf(b)), nil
	case formInt:
		n := littleEndian(b)
		shift := 64 - 8*len(b)
		d.arena = strconv.AppendInt(d.arena, int64(n<<shift)>>shift, 10)
	case formUint:
		d.arena = strconv.AppendUint(d.arena, littleEndian(b), 10)
	case formYear:
		year := uint64(b[0])
		if year > 0 {
			year += 1900
		}
		d.arena = strconv.AppendUint(d.arena, year, 10)
	case formFloat:
		d.arena = appendFloat(d.arena, float32At(b), 32)
	case formDouble:
		d.arena = appendFloat(d.arena, float64At(b), 64)
	case formDecimal:
		d.arena, err = appendDecimal(d.arena, b, f.digits, f.scale)
	case formBit:
		if f.digits == 1 {
			return change.OfBool(b[len(b)-1]&1 == 1), nil
		}
		d.arena = appendBits(d.arena, b, f.digits)
	case formDate:
		d.arena = appendDate(d.arena, b)
	case formTime:
		d.arena = appendTime(d.arena, b, f.digits)
	case formDatetime:
		d.arena = appendDatetime(d.arena, b, f.digits, 'T')
	case formTimestamp:
		d.arena = appendTimestamp(d.arena, b, f.digits)
	case formOther:
		if isASCII(b) && f.cs.table != nil {
			return change.Of(f.kind, textOf(b)), nil
		}
		d.arena, err = f.cs.append(d.arena, b)
	case formBinary:
		if len(b) == f.size {
			return change.Of(f.kind, textOf(b)), nil
		}
		d.arena = append(d.arena, b...)
		for range f.size - len(b) {
			d.arena = append(d.arena, 0)
		}
	case formEnum:
		n := littleEndian(b)
		if n == 0 { // what a value that is no member was stored as
			return change.Of(f.kind, ""), nil
		}
		if n > uint64(len(f.labels)) {
			return change.Value{}, fmt.Errorf("enum has no member %d", n)
		}
		return change.Of(f.kind, f.labels[n-1]), nil
	case formSet:
		d.arena, err = appendSet(d.arena, littleEndian(b), f.labels)
	case formJSON:
		d.arena, err = appendJSON(d.arena, b)
	case formGeometry:
		d.arena, err = appendGeometry(d.arena, b)
	case formVector:
		d.arena, err = appendVector(d.arena, b)
	case formUUID:
		d.arena, err = appendUUID(d.arena, b, f.size)
	case formINET:
		d.arena, err = appendINET(d.arena, b, f.size)
	}
	if err != nil {
		return change.Value{}, err
	}
	return change.Of(f.kind, textOf(d.arena[at:])), nil
}

func appendSet(dst []byte, members uint64, labels []string) ([]byte, error) {
	if len(labels) < 64 && members>>len(labels) != 0 {
		return dst, fmt.Errorf("set has members beyond the %d declared", len(labels))
	}
	first := true
	for i, l := range labels {
		if i > 63 || members>>i&1 == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, l...)
	}
	return dst, nil
}

// appendGeometry appends a geometry as stored: four bytes of SRID, then WKB.
func appendGeometry(dst, b []byte) ([]byte, error) {
	if len(b) < 4 {
		return dst, fmt.Errorf("geometry has %d bytes", len(b))
	}
	dst = append(dst, `{"wkb":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, b[4:])
	dst = strconv.AppendUint(append(dst, `","srid":`...), littleEndian(b[:4]), 10)
	return append(dst, '}'), nil
}

// padded returns b with the zeros that the binlog leaves off its end.
func padded(b []byte, size int) [16]byte {
	var out [16]byte
	copy(out[:size], b)
	return out
}

// appendUUID appends a MariaDB UUID.
func appendUUID(dst, b []byte, size int) ([]byte, error) {
	if size != 16 || len(b) > 16 {
		return dst, fmt.Errorf("uuid has %d bytes", size)
	}
	u := padded(b, 16)
	for i, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst, nil
}

// appendINET appends a MariaDB INET4 or INET6.
func appendINET(dst, b []byte, size int) ([]byte, error) {
	if size != 4 && size != 16 || len(b) > size {
		return dst, fmt.Errorf("inet has %d bytes", size)
	}
	full := padded(b, size)
	if size == 4 {
		return netip.AddrFrom4([4]byte(full[:4])).AppendTo(dst), nil
	}
	return appendINET6(dst, full), nil
}

// appendINET6 appends an address the way MariaDB does: the longest run of zero groups,
// even a single one, as ::, and an IPv4 address at its end with dots.
func appendINET6(dst []byte, b [16]byte) []byte {
	first, length := -1, 0
	for i := 0; i < 8; i++ {
		n := 0
		for i+n < 8 && b[2*(i+n)] == 0 && b[2*(i+n)+1] == 0 {
			n++
		}
		if n > length {
			first, length = i, n
		}
		i += n
	}
	if first == 0 && (length == 6 || length == 5 && b[10] == 0xff && b[11] == 0xff) {
		dst = append(dst, "::"...)
		if length == 5 {
			dst = append(dst, "ffff:"...)
		}
		return netip.AddrFrom4([4]byte(b[12:])).AppendTo(dst)
	}
	for i := 0; i < 8; i++ {
		if i == first {
			dst = append(dst, "::"...)
			i += length - 1
			continue
		}
		if i > 0 && (first < 0 || i != first+length) {
			dst = append(dst, ':')
		}
		dst = strconv.AppendUint(dst, bigEndian(b[2*i:2*i+2]), 16)
	}
	return dst
}
