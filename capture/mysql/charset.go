package mysql

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// charset converts a column's text to UTF-8.
type charset struct {
	name string
	// utf8 text is taken as it is.
	utf8 bool
	// table has the runes of a charset of one byte a character.
	table *[256]rune
	// convert appends the text as UTF-8, for all others.
	convert func(dst, text []byte) ([]byte, error)
}

// charsetOf returns a charset by MySQL's name, and whether it is known.
func charsetOf(name string) (*charset, bool) {
	c := &charset{name: name}
	switch name {
	case "utf8mb4", "utf8mb3", "utf8", "ascii", "binary":
		c.utf8 = true
	case "ucs2", "utf16":
		c.convert = utf16From(binary.BigEndian)
	case "utf16le":
		c.convert = utf16From(binary.LittleEndian)
	case "utf32":
		c.convert = utf32
	default:
		if m := singleByte(name); m != nil {
			c.table = new([256]rune)
			for i := range c.table {
				c.table[i] = m.DecodeByte(byte(i))
			}
			return c, true
		}
		e := multiByte(name)
		if e == nil {
			return nil, false
		}
		decoder := e.NewDecoder()
		c.convert = func(dst, text []byte) ([]byte, error) {
			out, err := decoder.Bytes(text)
			if err != nil {
				return dst, fmt.Errorf("convert from %s: %w", name, err)
			}
			return append(dst, out...), nil
		}
	}
	return c, true
}

// singleByte: MySQL's latin1 is Windows' code page 1252 with its five holes as the
// control characters of ISO 8859-1.
func singleByte(name string) *charmap.Charmap {
	switch name {
	case "latin1":
		return charmap.Windows1252
	case "latin2":
		return charmap.ISO8859_2
	case "latin5":
		return charmap.ISO8859_9
	case "latin7":
		return charmap.ISO8859_13
	case "greek":
		return charmap.ISO8859_7
	case "hebrew":
		return charmap.ISO8859_8
	case "cp1250":
		return charmap.Windows1250
	case "cp1251":
		return charmap.Windows1251
	case "cp1256":
		return charmap.Windows1256
	case "cp1257":
		return charmap.Windows1257
	case "cp850":
		return charmap.CodePage850
	case "cp852":
		return charmap.CodePage852
	case "cp866":
		return charmap.CodePage866
	case "koi8r":
		return charmap.KOI8R
	case "koi8u":
		return charmap.KOI8U
	case "macroman":
		return charmap.Macintosh
	case "tis620":
		return charmap.Windows874
	}
	return nil
}

func multiByte(name string) encoding.Encoding {
	switch name {
	case "gbk", "gb2312":
		return simplifiedchinese.GBK
	case "gb18030":
		return simplifiedchinese.GB18030
	case "big5":
		return traditionalchinese.Big5
	case "sjis", "cp932":
		return japanese.ShiftJIS
	case "ujis", "eucjpms":
		return japanese.EUCJP
	case "euckr":
		return korean.EUCKR
	}
	return nil
}

func utf16From(order binary.ByteOrder) func(dst, text []byte) ([]byte, error) {
	return func(dst, text []byte) ([]byte, error) {
		for len(text) >= 2 {
			r := rune(order.Uint16(text))
			text = text[2:]
			if utf16.IsSurrogate(r) && len(text) >= 2 {
				r = utf16.DecodeRune(r, rune(order.Uint16(text)))
				text = text[2:]
			}
			dst = utf8.AppendRune(dst, r)
		}
		if len(text) > 0 {
			return dst, fmt.Errorf("utf16 text has an odd number of bytes")
		}
		return dst, nil
	}
}

func utf32(dst, text []byte) ([]byte, error) {
	if len(text)%4 != 0 {
		return dst, fmt.Errorf("utf32 text has a number of bytes that is no multiple of four")
	}
	for ; len(text) > 0; text = text[4:] {
		dst = utf8.AppendRune(dst, rune(binary.BigEndian.Uint32(text)))
	}
	return dst, nil
}

// append appends text as UTF-8.
func (c *charset) append(dst, text []byte) ([]byte, error) {
	switch {
	case c.utf8:
		return append(dst, text...), nil
	case c.table != nil:
		for _, b := range text {
			if r := c.table[b]; r < utf8.RuneSelf {
				dst = append(dst, byte(r))
			} else {
				dst = utf8.AppendRune(dst, r)
			}
		}
		return dst, nil
	}
	return c.convert(dst, text)
}

// isASCII tells whether all bytes are below 128, where the charsets of one byte a
// character, and utf8, agree.
func isASCII(text []byte) bool {
	for len(text) >= 8 {
		if binary.LittleEndian.Uint64(text)&0x8080808080808080 != 0 {
			return false
		}
		text = text[8:]
	}
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
