package change

import (
	"encoding/base64"
	"unsafe"
)

// AppendValue appends a value in the exact encoding.
func AppendValue(dst []byte, v Value) []byte {
	switch v.kind {
	case Null:
		return append(dst, "null"...)
	case Unchanged:
		return append(dst, `"`+Unavailable+`"`...)
	case Bool, Int, Uint, Array, Object:
		return append(dst, v.text...)
	case Float:
		if c := v.text[len(v.text)-1]; c == 'N' || c == 'y' { // NaN, Infinity
			return append(append(append(dst, '"'), v.text...), '"')
		}
		return append(dst, v.text...)
	case Bytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, unsafe.Slice(unsafe.StringData(v.text), len(v.text)))
		return append(dst, '"')
	default:
		return AppendString(dst, v.text)
	}
}

// plain has true for the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for i := range t {
		t[i] = i >= 0x20 && i != '"' && i != '\\'
	}
	return t
}()

const hexDigits = "0123456789abcdef"

// AppendString appends a JSON string. The text is taken to be UTF-8, which is the
// source's to see to; only what JSON demands is escaped.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		if plain[s[i]] {
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
