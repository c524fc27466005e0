package change

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

var errCut = errors.New("JSON ends early")

// scanner walks over a JSON text without recursion. Strings without escapes are views
// of the text; the others are unescaped into arena, which must not be moved while
// views of it are in use (it grows by new blocks).
type scanner struct {
	text  []byte
	pos   int
	arena *arena
}

func (s *scanner) fail(want string) error {
	if s.pos >= len(s.text) {
		return errCut
	}
	return fmt.Errorf("JSON at byte %d: want %s", s.pos, want)
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return
		}
	}
}

// next returns the next byte that is not white space without taking it, 0 at the end.
func (s *scanner) next() byte {
	s.space()
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) take(c byte) error {
	if s.next() != c {
		return s.fail(strconv.Quote(string(rune(c))))
	}
	s.pos++
	return nil
}

// members calls each for every member of an object, with the position at its value, which each must take.
func (s *scanner) members(each func(name string) error) error {
	if err := s.take('{'); err != nil {
		return err
	}
	if s.next() == '}' {
		s.pos++
		return nil
	}
	for {
		if s.next() != '"' {
			return s.fail("a member's name")
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		s.space()
		if err := each(name); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return s.fail("',' or '}'")
		}
	}
}

// str takes a string and returns what it stands for.
func (s *scanner) str() (string, error) {
	if err := s.take('"'); err != nil {
		return "", err
	}
	start := s.pos
	for s.pos < len(s.text) && plain[s.text[s.pos]] {
		s.pos++
	}
	if s.pos < len(s.text) && s.text[s.pos] == '"' {
		s.pos++
		return view(s.text[start : s.pos-1]), nil
	}
	end := s.pos // of the string: find it, to know how much room is enough
	for end < len(s.text) && s.text[end] != '"' {
		if s.text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s.text) {
		s.pos = len(s.text)
		return "", errCut
	}
	buf := s.arena.room(end - start)
	buf = append(buf, s.text[start:s.pos]...)
	for s.pos < end {
		c := s.text[s.pos]
		if c < 0x20 {
			return "", s.fail("no control character in a string")
		}
		s.pos++
		if c != '\\' {
			buf = append(buf, c)
			continue
		}
		c = s.text[s.pos]
		s.pos++
		switch c {
		case '"', '\\', '/':
			buf = append(buf, c)
		case 'b':
			buf = append(buf, '\b')
		case 'f':
			buf = append(buf, '\f')
		case 'n':
			buf = append(buf, '\n')
		case 'r':
			buf = append(buf, '\r')
		case 't':
			buf = append(buf, '\t')
		case 'u':
			r, err := s.hex4()
			if err != nil {
				return "", err
			}
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if s.pos+1 < end && s.text[s.pos] == '\\' && s.text[s.pos+1] == 'u' {
					mark := s.pos
					s.pos += 2
					if low, err = s.hex4(); err != nil {
						return "", err
					}
					if utf16.DecodeRune(r, low) == utf8.RuneError {
						s.pos = mark
					}
				}
				r = utf16.DecodeRune(r, low)
			}
			buf = utf8.AppendRune(buf, r)
		default:
			s.pos--
			return "", s.fail("an escape")
		}
	}
	s.pos = end + 1
	return view(s.arena.keep(buf)), nil
}

func (s *scanner) hex4() (rune, error) {
	if s.pos+4 > len(s.text) {
		return 0, errCut
	}
	n, err := strconv.ParseUint(view(s.text[s.pos:s.pos+4]), 16, 32)
	if err != nil {
		return 0, s.fail("four hex digits")
	}
	s.pos += 4
	return rune(n), nil
}

// raw takes any value and returns its text.
func (s *scanner) raw() ([]byte, error) {
	s.space()
	start, depth := s.pos, 0
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case '"':
			if err := s.skipString(); err != nil {
				return nil, err
			}
		case '{', '[':
			depth++
			s.pos++
		case '}', ']':
			if depth == 0 {
				return nil, s.fail("a value")
			}
			depth--
			s.pos++
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return nil, s.fail("a value")
			}
			s.pos++
			continue
		default:
			if !s.literal() {
				return nil, s.fail("a value")
			}
		}
		if depth == 0 {
			return s.text[start:s.pos], nil
		}
	}
	return nil, errCut
}

// literal takes what may be a number, true, false or null; false when nothing is there.
func (s *scanner) literal() bool {
	start := s.pos
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c == '-', c == '+', c == '.', c == 'E':
			s.pos++
		default:
			return s.pos > start
		}
	}
	return s.pos > start
}

func (s *scanner) skipString() error {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '\\':
			s.pos++
		case '"':
			s.pos++
			return nil
		}
	}
	return errCut
}

func (s *scanner) integer() (int64, error) {
	text, err := s.raw()
	if err != nil {
		return 0, err
	}
	if string(text) == "null" {
		return 0, nil
	}
	n, err := strconv.ParseInt(view(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("JSON at byte %d: want an integer", s.pos-len(text))
	}
	return n, nil
}

// nullable takes a string or null, which is "".
func (s *scanner) nullable() (string, error) {
	if s.next() == 'n' {
		_, err := s.raw()
		return "", err
	}
	return s.str()
}
