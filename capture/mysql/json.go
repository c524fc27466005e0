package mysql

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// MySQL's binary JSON (sql-common/json_binary.h): a type byte, then the value.
// Objects and arrays: count, size, then entries; offsets count from the count field.
const (
	jsonSmallObject = 0x0
	jsonLargeObject = 0x1
	jsonSmallArray  = 0x2
	jsonLargeArray  = 0x3
	jsonLiteral     = 0x4
	jsonInt16       = 0x5
	jsonUint16      = 0x6
	jsonInt32       = 0x7
	jsonUint32      = 0x8
	jsonInt64       = 0x9
	jsonUint64      = 0xa
	jsonDouble      = 0xb
	jsonString      = 0xc
	jsonOpaque      = 0xf
)

// jsonDepth is how deep the server lets documents nest, and one more.
const jsonDepth = 101

var errJSON = errors.New("binary JSON is malformed")

// appendJSON appends the text of a binary JSON document, the way the server prints it.
// An empty one is what a column added as NOT NULL has: null.
func appendJSON(dst, b []byte) ([]byte, error) {
	if len(b) == 0 {
		return append(dst, "null"...), nil
	}
	return appendJSONValue(dst, b[0], b[1:], 0)
}

func appendJSONValue(dst []byte, kind byte, b []byte, depth int) ([]byte, error) {
	need := 0
	switch kind {
	case jsonInt16, jsonUint16:
		need = 2
	case jsonInt32, jsonUint32:
		need = 4
	case jsonInt64, jsonUint64, jsonDouble:
		need = 8
	case jsonLiteral:
		need = 1
	}
	if len(b) < need || depth > jsonDepth {
		return dst, errJSON
	}
	switch kind {
	case jsonSmallObject, jsonLargeObject, jsonSmallArray, jsonLargeArray:
		return appendJSONContainer(dst, kind, b, depth)
	case jsonLiteral:
		return appendJSONLiteral(dst, uint64(b[0]))
	case jsonInt16, jsonUint16, jsonInt32, jsonUint32:
		return appendJSONNumber(dst, kind, littleEndian(b[:need])), nil
	case jsonInt64:
		return strconv.AppendInt(dst, int64(littleEndian(b[:8])), 10), nil
	case jsonUint64:
		return strconv.AppendUint(dst, littleEndian(b[:8]), 10), nil
	case jsonDouble:
		return appendJSONDouble(dst, float64At(b)), nil
	case jsonString:
		text, err := jsonBytes(b)
		if err != nil {
			return dst, err
		}
		return appendJSONString(dst, text), nil
	case jsonOpaque:
		if len(b) < 1 {
			return dst, errJSON
		}
		data, err := jsonBytes(b[1:])
		if err != nil {
			return dst, err
		}
		return appendJSONOpaque(dst, b[0], data)
	}
	return dst, fmt.Errorf("binary JSON has the unknown type %d", kind)
}

func appendJSONNumber(dst []byte, kind byte, n uint64) []byte {
	switch kind {
	case jsonInt16:
		return strconv.AppendInt(dst, int64(int16(n)), 10)
	case jsonInt32:
		return strconv.AppendInt(dst, int64(int32(n)), 10)
	}
	return strconv.AppendUint(dst, n, 10)
}

func appendJSONLiteral(dst []byte, n uint64) ([]byte, error) {
	switch n {
	case 0:
		return append(dst, "null"...), nil
	case 1:
		return append(dst, "true"...), nil
	case 2:
		return append(dst, "false"...), nil
	}
	return dst, errJSON
}

// appendJSONDouble keeps a point or an exponent, so that it stays a double.
func appendJSONDouble(dst []byte, f float64) []byte {
	at := len(dst)
	if f == 0 && 1/f < 0 {
		return append(dst, "-0.0"...)
	}
	dst = appendFloat(dst, f, 64)
	for _, c := range dst[at:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

// jsonBytes returns data that is preceded by its length, 7 bits a byte.
func jsonBytes(b []byte) ([]byte, error) {
	n := 0
	for i := 0; i < 5 && i < len(b); i++ {
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			if n > len(b)-i-1 {
				return nil, errJSON
			}
			return b[i+1 : i+1+n], nil
		}
	}
	return nil, errJSON
}

func appendJSONContainer(dst []byte, kind byte, b []byte, depth int) ([]byte, error) {
	width := 2 // of counts and offsets
	if kind == jsonLargeObject || kind == jsonLargeArray {
		width = 4
	}
	object := kind == jsonSmallObject || kind == jsonLargeObject
	if len(b) < 2*width {
		return dst, errJSON
	}
	count, size := littleEndian(b[:width]), littleEndian(b[width:2*width])
	keyEntry, valueEntry := uint64(0), uint64(1+width)
	if object {
		keyEntry = uint64(width + 2)
	}
	start := uint64(2 * width)
	if size > uint64(len(b)) || start+count*(keyEntry+valueEntry) > size {
		return dst, errJSON
	}
	b = b[:size]
	open, closing := byte('['), byte(']')
	if object {
		open, closing = '{', '}'
	}
	dst = append(dst, open)
	for i := range count {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if object {
			entry := b[start+i*keyEntry:]
			offset, length := littleEndian(entry[:width]), littleEndian(entry[width:width+2])
			if offset+length > size {
				return dst, errJSON
			}
			dst = append(appendJSONString(dst, b[offset:offset+length]), ": "...)
		}
		entry := b[start+count*keyEntry+i*valueEntry:]
		var err error
		if dst, err = appendJSONEntry(dst, b, entry, width, depth); err != nil {
			return dst, err
		}
	}
	return append(dst, closing), nil
}

// appendJSONEntry appends a container's value: small ones lie in the entry itself.
func appendJSONEntry(dst, container, entry []byte, width, depth int) ([]byte, error) {
	kind, n := entry[0], littleEndian(entry[1:1+width])
	switch {
	case kind == jsonLiteral:
		return appendJSONLiteral(dst, n)
	case kind == jsonInt16, kind == jsonUint16, width == 4 && (kind == jsonInt32 || kind == jsonUint32):
		return appendJSONNumber(dst, kind, n), nil
	case n > uint64(len(container)):
		return dst, errJSON
	}
	return appendJSONValue(dst, kind, container[n:], depth+1)
}

const hexDigits = "0123456789abcdef"

func appendJSONString(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\t':
			dst = append(dst, `\t`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			if c < 0x20 {
				dst = append(dst, `\u00`...)
				dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
				continue
			}
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendJSONOpaque appends a value that JSON has no type for: decimals as numbers,
// dates and times as strings with six digits of fraction, others in base64.
func appendJSONOpaque(dst []byte, kind byte, b []byte) ([]byte, error) {
	switch kind {
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		if len(b) < 2 {
			return dst, errJSON
		}
		return appendDecimal(dst, b[2:], int(b[0]), int(b[1]))
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_TIME, gomysql.MYSQL_TYPE_DATETIME, gomysql.MYSQL_TYPE_TIMESTAMP:
		if len(b) < 8 {
			return dst, errJSON
		}
		packed := int64(littleEndian(b[:8]))
		dst = append(dst, '"')
		switch at := len(dst); kind {
		case gomysql.MYSQL_TYPE_TIME:
			dst = appendPackedTime(dst, packed, 6)
		case gomysql.MYSQL_TYPE_DATE:
			dst = appendPackedDatetime(dst, packed, 0, ' ')[:at+len("2026-03-04")]
		default:
			dst = appendPackedDatetime(dst, packed, 6, ' ')
		}
		return append(dst, '"'), nil
	}
	dst = append(dst, `"base64:type`...)
	dst = append(strconv.AppendUint(dst, uint64(kind), 10), ':')
	return append(base64.StdEncoding.AppendEncode(dst, b), '"'), nil
}
