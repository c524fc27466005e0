package mysql

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// decimalDigits is how many decimal digits one group of the binary form holds,
// groupBytes how many bytes a group of so many digits takes.
const decimalDigits = 9

var groupBytes = [decimalDigits + 1]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

// decimalSize returns the bytes of a DECIMAL(precision, scale).
func decimalSize(precision, scale int) int {
	whole := precision - scale
	return whole/decimalDigits*4 + groupBytes[whole%decimalDigits] +
		scale/decimalDigits*4 + groupBytes[scale%decimalDigits]
}

// appendDecimal appends a DECIMAL's text, with all digits of its scale. The binary
// form: the digits before and after the point in groups of nine, big endian, those
// furthest from the point short; the first bit inverted, and all bits of a negative.
func appendDecimal(dst, b []byte, precision, scale int) ([]byte, error) {
	if precision < 1 || scale < 0 || scale > precision || precision > 65 || len(b) < decimalSize(precision, scale) {
		return dst, fmt.Errorf("decimal(%d,%d) has %d bytes", precision, scale, len(b))
	}
	var mask byte
	if b[0]&0x80 == 0 {
		mask = 0xff
	}
	first := byte(0x80)
	group := func(bytes int) uint32 {
		var n uint32
		for _, c := range b[:bytes] {
			n = n<<8 | uint32(c^mask^first)
			first = 0
		}
		b = b[bytes:]
		return n
	}
	start := len(dst)
	if mask != 0 {
		dst = append(dst, '-')
	}
	digits := len(dst)
	put := func(n uint32, width int) {
		if len(dst) == digits && n == 0 {
			return // no leading zeros
		}
		if len(dst) == digits {
			dst = strconv.AppendUint(dst, uint64(n), 10)
			return
		}
		dst = appendPadded(dst, n, width)
	}
	whole := precision - scale
	if rest := whole % decimalDigits; rest > 0 {
		put(group(groupBytes[rest]), rest)
	}
	for range whole / decimalDigits {
		put(group(4), decimalDigits)
	}
	if len(dst) == digits {
		dst = append(dst, '0')
	}
	if scale > 0 {
		dst = append(dst, '.')
		for range scale / decimalDigits {
			dst = appendPadded(dst, group(4), decimalDigits)
		}
		if rest := scale % decimalDigits; rest > 0 {
			dst = appendPadded(dst, group(groupBytes[rest]), rest)
		}
	}
	if mask != 0 && allZero(dst[digits:]) { // a negative zero is not printed as one
		dst = append(dst[:start], dst[digits:]...)
	}
	return dst, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != '0' && c != '.' {
			return false
		}
	}
	return true
}

// appendPadded appends n in at least width digits.
func appendPadded(dst []byte, n uint32, width int) []byte {
	at := len(dst)
	for range width {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= at && n > 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// appendFloat appends the shortest text that reads back as the same FLOAT (bits 32)
// or DOUBLE (64), laid out as MySQL does: digits, with an exponent from 1e15 on and
// below 1e-15. The server's own text of a FLOAT has six digits only, which would
// not read back.
func appendFloat(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) { // no column can hold one
		return append(dst, strconv.FormatFloat(f, 'g', -1, bits)...)
	}
	var scratch [32]byte
	e := strconv.AppendFloat(scratch[:0], f, 'e', -1, bits)
	if e[0] == '-' {
		dst = append(dst, '-')
		e = e[1:]
	}
	mark := len(e) - 1
	for e[mark] != 'e' {
		mark--
	}
	exponent, _ := strconv.Atoi(string(e[mark+1:]))
	var digits [24]byte
	d := append(digits[:0], e[0])
	if mark > 2 {
		d = append(d, e[2:mark]...)
	}
	point := exponent + 1 // place of the point, counted from the first digit
	switch {
	case f == 0:
		return append(dst, '0')
	case point <= 0 && point > -15:
		dst = append(dst, "0."...)
		for range -point {
			dst = append(dst, '0')
		}
		return append(dst, d...)
	case point > 0 && (point <= 15 || point < len(d)):
		for i, c := range d {
			if i == point {
				dst = append(dst, '.')
			}
			dst = append(dst, c)
		}
		for range point - len(d) {
			dst = append(dst, '0')
		}
		return dst
	}
	dst = append(dst, d[0])
	if len(d) > 1 {
		dst = append(append(dst, '.'), d[1:]...)
	}
	return strconv.AppendInt(append(dst, 'e'), int64(exponent), 10)
}

func float32At(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }

func float64At(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }

// appendBits appends a BIT(n)'s digits; b is big endian.
func appendBits(dst, b []byte, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		at := len(b) - 1 - i/8
		if at >= 0 && b[at]>>(i%8)&1 == 1 {
			dst = append(dst, '1')
		} else {
			dst = append(dst, '0')
		}
	}
	return dst
}

// appendVector appends a VECTOR's numbers as a JSON array; b has little-endian floats.
func appendVector(dst, b []byte) ([]byte, error) {
	if len(b)%4 != 0 {
		return dst, fmt.Errorf("vector has %d bytes, not a multiple of 4", len(b))
	}
	dst = append(dst, '[')
	for i := 0; i < len(b); i += 4 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFloat(dst, float32At(b[i:]), 32)
	}
	return append(dst, ']'), nil
}
