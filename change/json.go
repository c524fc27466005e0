package change

import (
	"encoding/base64"
	"math/bits"
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

// skipPlain returns where the next byte is, from i on, that does not stand for itself.
func skipPlain(s string, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		// Eight bytes at once: of those below 0x20, quotes and backslashes the first one
		// has the highest bit set; behind it others may have it too.
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, backslash := w^(ones*'"'), w^(ones*'\\')
		if found := ((w-ones*0x20)&^w | (quote-ones)&^quote | (backslash-ones)&^backslash) & high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(s) && plain[s[i]] {
		i++
	}
	return i
}

const hexDigits = "0123456789abcdef"

// AppendString appends a JSON string. The text is taken to be UTF-8, which is the
// source's to see to; only what JSON demands is escaped.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := skipPlain(s, 0); i < len(s); i = skipPlain(s, i+1) {
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
