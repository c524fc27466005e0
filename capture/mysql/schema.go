package mysql

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/penstock-cdc/penstock/capture"
)

// declaration is a table as information_schema has it now.
type declaration struct {
	database, name string
	engine         string
	estimate       int64 // rows, by the server's estimate
	columns        []declaredColumn
	key            []int // indexes of the primary key's columns, in key order
}

// declaredColumn is a column in the terms of a TABLE_MAP event, and what that lacks.
type declaredColumn struct {
	column
	text      string // the type in the server's words
	generated bool
	err       error // why it can't be captured
}

func (d *declaration) qualifiedName() string { return d.database + "." + d.name }

// column returns a column by name, nil for none.
func (d *declaration) column(name string) *declaredColumn {
	for i := range d.columns {
		if d.columns[i].name == name {
			return &d.columns[i]
		}
	}
	return nil
}

// systemDatabases are never captured.
const systemDatabases = "'mysql', 'information_schema', 'performance_schema', 'sys'"

// declarations reads the captured tables, sorted by name.
func declarations(s *session, f *facts, selected capture.Selection) ([]*declaration, error) {
	rows, err := s.query("SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(ENGINE, ''), COALESCE(TABLE_ROWS, 0) FROM information_schema.TABLES " +
		"WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA NOT IN (" + systemDatabases + ")")
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	var out []*declaration
	byName := map[string]*declaration{}
	databases := map[string]bool{}
	for _, r := range rows {
		if !selected.Captures(r[0], r[1]) {
			continue
		}
		d := &declaration{database: r[0], name: r[1], engine: r[2]}
		d.estimate, _ = strconv.ParseInt(r[3], 10, 64)
		out = append(out, d)
		byName[d.qualifiedName()] = d
		databases[d.database] = true
	}
	if len(out) == 0 {
		return nil, nil
	}
	sort.Slice(out, func(i, j int) bool { return out[i].qualifiedName() < out[j].qualifiedName() })
	in := make([]string, 0, len(databases))
	for name := range databases {
		in = append(in, literal(name))
	}
	within := "TABLE_SCHEMA IN (" + strings.Join(in, ", ") + ")"
	if err := readColumns(s, f, byName, within); err != nil {
		return nil, fmt.Errorf("list columns: %w", err)
	}
	if err := readKeys(s, byName, within); err != nil {
		return nil, fmt.Errorf("list primary keys: %w", err)
	}
	if f.mariadb {
		if err := readJSONChecks(s, byName, "CONSTRAINT_"+strings.TrimPrefix(within, "TABLE_")); err != nil {
			return nil, fmt.Errorf("list check constraints: %w", err)
		}
	}
	return out, nil
}

func readColumns(s *session, f *facts, tables map[string]*declaration, within string) error {
	rows, err := s.query("SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, IS_NULLABLE, LOWER(DATA_TYPE), COLUMN_TYPE, COALESCE(CHARACTER_OCTET_LENGTH, 0), " +
		"COALESCE(NUMERIC_PRECISION, 0), COALESCE(NUMERIC_SCALE, 0), COALESCE(DATETIME_PRECISION, 0), COALESCE(CHARACTER_SET_NAME, ''), EXTRA, COALESCE(GENERATION_EXPRESSION, '') " +
		"FROM information_schema.COLUMNS WHERE " + within + " ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION")
	if err != nil {
		return err
	}
	for _, r := range rows {
		d := tables[r[0]+"."+r[1]]
		if d == nil {
			continue
		}
		c := declaredColumn{text: r[5], generated: r[12] != ""}
		c.name, c.nullable = r[2], r[3] == "YES"
		number := func(i int) int {
			n, _ := strconv.ParseUint(r[i], 10, 64)
			return int(min(n, 1<<31))
		}
		c.err = c.declare(r[4], number(6), number(7), number(8), number(9), r[10], f)
		d.columns = append(d.columns, c)
	}
	return nil
}

// declare fills in the column from the words of information_schema.
func (c *declaredColumn) declare(dataType string, octets, precision, scale, fsp int, charset string, f *facts) error {
	c.unsigned = strings.Contains(c.text, "unsigned") && dataType != "year"
	c.charset = charset
	text := func(typ byte, size int) {
		c.typ, c.size = typ, size
		if charset == "" {
			c.charset = binaryCharset
		}
		c.width = f.widths[c.charset]
	}
	switch dataType {
	case "tinyint":
		c.typ = gomysql.MYSQL_TYPE_TINY
	case "smallint":
		c.typ = gomysql.MYSQL_TYPE_SHORT
	case "mediumint":
		c.typ = gomysql.MYSQL_TYPE_INT24
	case "int":
		c.typ = gomysql.MYSQL_TYPE_LONG
	case "bigint":
		c.typ = gomysql.MYSQL_TYPE_LONGLONG
	case "year":
		c.typ = gomysql.MYSQL_TYPE_YEAR
	case "float":
		c.typ = gomysql.MYSQL_TYPE_FLOAT
	case "double":
		c.typ = gomysql.MYSQL_TYPE_DOUBLE
	case "decimal":
		c.typ, c.precision, c.scale = gomysql.MYSQL_TYPE_NEWDECIMAL, precision, scale
	case "bit":
		c.typ, c.size = gomysql.MYSQL_TYPE_BIT, precision
	case "date":
		c.typ = gomysql.MYSQL_TYPE_DATE
	case "time":
		c.typ, c.scale = gomysql.MYSQL_TYPE_TIME2, fsp
	case "datetime":
		c.typ, c.scale = gomysql.MYSQL_TYPE_DATETIME2, fsp
	case "timestamp":
		c.typ, c.scale = gomysql.MYSQL_TYPE_TIMESTAMP2, fsp
	case "char", "binary":
		text(gomysql.MYSQL_TYPE_STRING, octets)
	case "varchar", "varbinary":
		text(gomysql.MYSQL_TYPE_VARCHAR, octets)
	case "tinytext", "tinyblob":
		text(gomysql.MYSQL_TYPE_BLOB, 1)
	case "text", "blob":
		text(gomysql.MYSQL_TYPE_BLOB, 2)
	case "mediumtext", "mediumblob":
		text(gomysql.MYSQL_TYPE_BLOB, 3)
	case "longtext", "longblob":
		text(gomysql.MYSQL_TYPE_BLOB, 4)
	case "enum", "set":
		c.typ = gomysql.MYSQL_TYPE_ENUM
		if dataType == "set" {
			c.typ = gomysql.MYSQL_TYPE_SET
		}
		c.labels = members(c.text)
		c.width = f.widths[c.charset]
	case "json":
		c.typ, c.size = gomysql.MYSQL_TYPE_JSON, 4
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection", "geometrycollection":
		c.typ, c.size = gomysql.MYSQL_TYPE_GEOMETRY, 4
	case "vector":
		if f.mariadb {
			text(gomysql.MYSQL_TYPE_VARCHAR, octets)
			c.charset, c.declared = binaryCharset, "vector"
		} else {
			c.typ, c.size = gomysql.MYSQL_TYPE_VECTOR, 4
		}
	case "uuid", "inet6":
		text(gomysql.MYSQL_TYPE_STRING, 16)
		c.charset, c.declared = binaryCharset, dataType
	case "inet4":
		text(gomysql.MYSQL_TYPE_STRING, 4)
		c.charset, c.declared = binaryCharset, dataType
	default:
		return fmt.Errorf("type %s is not supported: leave the column out with exclude", c.text)
	}
	if f.mariadb && strings.Contains(c.text, "COMPRESSED") {
		c.declared = "compressed"
	}
	_, err := c.kind()
	return err
}

// members reads the members of enum('a','b') or set(...), in which a quote is doubled.
func members(text string) (out []string) {
	_, rest, _ := strings.Cut(text, "(")
	for {
		_, after, ok := strings.Cut(rest, "'")
		if !ok {
			return out
		}
		var b strings.Builder
		for {
			part, tail, ok := strings.Cut(after, "'")
			if !ok {
				return out
			}
			b.WriteString(part)
			if !strings.HasPrefix(tail, "'") {
				rest = tail
				break
			}
			b.WriteByte('\'')
			after = tail[1:]
		}
		out = append(out, b.String())
	}
}

func readKeys(s *session, tables map[string]*declaration, within string) error {
	rows, err := s.query("SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE INDEX_NAME = 'PRIMARY' AND " + within +
		" ORDER BY TABLE_SCHEMA, TABLE_NAME, SEQ_IN_INDEX")
	if err != nil {
		return err
	}
	for _, r := range rows {
		if d := tables[r[0]+"."+r[1]]; d != nil {
			for i := range d.columns {
				if d.columns[i].name == r[2] {
					d.key = append(d.key, i)
				}
			}
		}
	}
	return nil
}

// readJSONChecks finds MariaDB's JSON columns: a longtext that json_valid checks.
func readJSONChecks(s *session, tables map[string]*declaration, within string) error {
	rows, err := s.query("SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE " + within + " AND CHECK_CLAUSE LIKE 'json_valid(%'")
	if err != nil {
		return err
	}
	for _, r := range rows {
		d := tables[r[0]+"."+r[1]]
		if d == nil {
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(r[2], "json_valid("), ")")
		name = strings.ReplaceAll(strings.Trim(name, "`"), "``", "`")
		if c := d.column(name); c != nil && c.typ == gomysql.MYSQL_TYPE_BLOB && c.charset != binaryCharset {
			c.declared = "json"
		}
	}
	return nil
}

// same tells whether a column of a TABLE_MAP event is stored the way this one is now.
func (c *declaredColumn) same(m *column) bool {
	if c.name != m.name || c.typ != m.typ || c.precision != m.precision || c.scale != m.scale || c.nullable != m.nullable ||
		c.unsigned != m.unsigned || len(c.labels) != len(m.labels) {
		return false
	}
	switch c.typ {
	case gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_BLOB:
		if c.size != m.size || c.charset != m.charset {
			return false
		}
	case gomysql.MYSQL_TYPE_BIT:
		if c.size != m.size {
			return false
		}
	}
	for i := range c.labels {
		if c.labels[i] != m.labels[i] {
			return false
		}
	}
	return true
}
