package mysql

import (
	"fmt"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/penstock-cdc/penstock/change"
)

// collation is what text columns need to know of theirs.
type collation struct {
	charset string
	width   int // most bytes of a character
}

// column is one column as a TABLE_MAP event describes it.
type column struct {
	name      string
	typ       byte // MYSQL_TYPE_*; enum and set by their own, not as strings
	size      int  // strings: most bytes; enum, set: bytes of the number; blobs: bytes of the length; bit: bits
	precision int  // decimal: digits
	scale     int  // decimal: digits after the point; times: digits of the fraction
	unsigned  bool
	nullable  bool
	charset   string // of text, enum and set; "binary" for bytes
	width     int    // most bytes of a character
	labels    []string
	// declared says what the binlog does not: MariaDB's types that are stored as
	// others, from information_schema. Empty: nothing.
	declared string
}

// binary is the charset of bytes.
const binaryCharset = "binary"

// kind returns the kind of the column's values, or an error that says why it can't
// be captured.
func (c *column) kind() (change.Kind, error) {
	switch c.declared {
	case "json":
		return change.JSON, nil
	case "uuid":
		return change.UUID, nil
	case "inet4", "inet6":
		return change.String, nil
	case "vector":
		return change.Array, nil
	case "compressed":
		return 0, fmt.Errorf("column-level COMPRESSED storage is not supported yet: leave the column out with exclude, or ALTER TABLE ... MODIFY it without COMPRESSED")
	}
	switch c.typ {
	case gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_SHORT, gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_LONGLONG:
		if c.unsigned {
			return change.Uint, nil
		}
		return change.Int, nil
	case gomysql.MYSQL_TYPE_YEAR:
		return change.Int, nil
	case gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_DOUBLE:
		return change.Float, nil
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		return change.Decimal, nil
	case gomysql.MYSQL_TYPE_BIT:
		if c.size == 1 {
			return change.Bool, nil
		}
		return change.Bits, nil
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE:
		return change.Date, nil
	case gomysql.MYSQL_TYPE_TIME2:
		return change.Time, nil
	case gomysql.MYSQL_TYPE_DATETIME2:
		return change.Timestamp, nil
	case gomysql.MYSQL_TYPE_TIMESTAMP2:
		return change.TimestampTZ, nil
	case gomysql.MYSQL_TYPE_ENUM:
		return change.Enum, nil
	case gomysql.MYSQL_TYPE_SET:
		return change.String, nil
	case gomysql.MYSQL_TYPE_JSON:
		return change.JSON, nil
	case gomysql.MYSQL_TYPE_GEOMETRY:
		return change.Object, nil
	case gomysql.MYSQL_TYPE_VECTOR:
		return change.Array, nil
	case gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING, gomysql.MYSQL_TYPE_BLOB:
		if c.charset == binaryCharset {
			return change.Bytes, nil
		}
		if _, ok := charsetOf(c.charset); !ok {
			return 0, fmt.Errorf("character set %s is not supported: leave the column out with exclude, or ALTER TABLE ... MODIFY it with CHARACTER SET utf8mb4", c.charset)
		}
		return change.String, nil
	case gomysql.MYSQL_TYPE_TIMESTAMP, gomysql.MYSQL_TYPE_DATETIME, gomysql.MYSQL_TYPE_TIME:
		return 0, fmt.Errorf("the temporal format of MySQL 5.5 is not supported: ALTER TABLE ... FORCE rewrites the table with the present one")
	}
	return 0, fmt.Errorf("type code %d is not supported: leave the column out with exclude", c.typ)
}

// typeText returns the column's type in the server's words, as far as the binlog
// tells it.
func (c *column) typeText() string {
	sign := func(name string) string {
		if c.unsigned {
			return name + " unsigned"
		}
		return name
	}
	fsp := func(name string) string {
		if c.scale > 0 {
			return fmt.Sprintf("%s(%d)", name, c.scale)
		}
		return name
	}
	switch c.typ {
	case gomysql.MYSQL_TYPE_TINY:
		return sign("tinyint")
	case gomysql.MYSQL_TYPE_SHORT:
		return sign("smallint")
	case gomysql.MYSQL_TYPE_INT24:
		return sign("mediumint")
	case gomysql.MYSQL_TYPE_LONG:
		return sign("int")
	case gomysql.MYSQL_TYPE_LONGLONG:
		return sign("bigint")
	case gomysql.MYSQL_TYPE_YEAR:
		return "year"
	case gomysql.MYSQL_TYPE_FLOAT:
		return sign("float")
	case gomysql.MYSQL_TYPE_DOUBLE:
		return sign("double")
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		return sign(fmt.Sprintf("decimal(%d,%d)", c.precision, c.scale))
	case gomysql.MYSQL_TYPE_BIT:
		return fmt.Sprintf("bit(%d)", c.size)
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE:
		return "date"
	case gomysql.MYSQL_TYPE_TIME2:
		return fsp("time")
	case gomysql.MYSQL_TYPE_DATETIME2:
		return fsp("datetime")
	case gomysql.MYSQL_TYPE_TIMESTAMP2:
		return fsp("timestamp")
	case gomysql.MYSQL_TYPE_ENUM, gomysql.MYSQL_TYPE_SET:
		name := "enum("
		if c.typ == gomysql.MYSQL_TYPE_SET {
			name = "set("
		}
		quoted := make([]string, len(c.labels))
		for i, l := range c.labels {
			quoted[i] = "'" + strings.ReplaceAll(l, "'", "''") + "'"
		}
		return name + strings.Join(quoted, ",") + ")"
	case gomysql.MYSQL_TYPE_JSON:
		return "json"
	case gomysql.MYSQL_TYPE_GEOMETRY:
		return "geometry"
	case gomysql.MYSQL_TYPE_VECTOR:
		return "vector"
	case gomysql.MYSQL_TYPE_STRING:
		if c.charset == binaryCharset {
			return fmt.Sprintf("binary(%d)", c.size)
		}
		return fmt.Sprintf("char(%d)", c.characters())
	case gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING:
		if c.charset == binaryCharset {
			return fmt.Sprintf("varbinary(%d)", c.size)
		}
		return fmt.Sprintf("varchar(%d)", c.characters())
	case gomysql.MYSQL_TYPE_BLOB:
		size := [...]string{1: "tiny", 2: "", 3: "medium", 4: "long"}
		prefix := ""
		if c.size < len(size) {
			prefix = size[c.size]
		}
		if c.charset == binaryCharset {
			return prefix + "blob"
		}
		return prefix + "text"
	}
	return fmt.Sprintf("type %d", c.typ)
}

func (c *column) characters() int { return c.size / max(c.width, 1) }

// describe fills in what change.Column has of the type.
func (c *column) describe() (change.Column, error) {
	kind, err := c.kind()
	if err != nil {
		return change.Column{}, err
	}
	out := change.Column{Name: c.name, Kind: kind, Type: c.typeText(), Nullable: c.nullable, Labels: c.labels}
	switch c.typ {
	case gomysql.MYSQL_TYPE_TINY:
		out.Precision = 8
	case gomysql.MYSQL_TYPE_SHORT:
		out.Precision = 16
	case gomysql.MYSQL_TYPE_INT24:
		out.Precision = 24
	case gomysql.MYSQL_TYPE_LONG:
		out.Precision = 32
	case gomysql.MYSQL_TYPE_LONGLONG:
		out.Precision = 64
	case gomysql.MYSQL_TYPE_YEAR:
		out.Precision = 16
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		out.Precision, out.Scale = c.precision, c.scale
	case gomysql.MYSQL_TYPE_TIME2, gomysql.MYSQL_TYPE_DATETIME2, gomysql.MYSQL_TYPE_TIMESTAMP2:
		out.Precision = c.scale
	case gomysql.MYSQL_TYPE_BIT:
		out.Length = c.size
	case gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING:
		out.Length = c.characters()
		if c.charset == binaryCharset {
			out.Length = c.size
		}
		if c.declared != "" {
			out.Length = 0
		}
	}
	if kind == change.Array {
		out.Element = change.Float
	}
	return out, nil
}
