package transform

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of RFC 5321, section 4.5.3.1, and of the path in RFC 3696 erratum 1690.
const (
	maxLocalPart = 64
	maxDomain    = 253
	maxLabel     = 63
	maxAddress   = 254
)

// normalEmail returns an address as apps want it: trimmed, in lower case, its domain in
// ASCII (IDNA); the place of its @ too. What mail servers of today do not deliver to is
// refused though RFC 5322 has it: quoted local parts, comments, address literals,
// domains without a dot, local parts outside ASCII.
func (w *Worker) normalEmail(s string) (string, int, bool) {
	s = strings.TrimFunc(s, isBlank)
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at > maxLocalPart || at == len(s)-1 || !dotAtom(s[:at]) {
		return "", 0, false
	}
	domain := s[at+1:]
	if !isASCII(domain) || hasACE(domain) {
		ascii, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return "", 0, false
		}
		start := len(w.buf)
		w.buf = append(append(w.buf, s[:at+1]...), ascii...)
		s, domain = w.string(start), ascii
	}
	if len(s) > maxAddress || !hostName(domain) {
		return "", 0, false
	}
	return w.mapRunes(s, asciiLower), at, true
}

func asciiLower(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// dotAtom is RFC 5322's: words of certain characters with single dots between them.
func dotAtom(s string) bool {
	dot := true // also at the start: it must not begin with one
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			if dot {
				return false
			}
			dot = true
			continue
		case isAlphanumeric(c), strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0:
		default:
			return false
		}
		dot = false
	}
	return !dot
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c)
}

// hasACE tells whether a label is an encoded international one, which IDNA must check.
func hasACE(domain string) bool {
	for i := 0; i+4 <= len(domain); i++ {
		if strings.EqualFold(domain[i:i+4], "xn--") {
			return true
		}
	}
	return false
}

// hostName: at least two labels of letters, digits and inner hyphens; the last not a number.
func hostName(s string) bool {
	if len(s) > maxDomain {
		return false
	}
	labels := 0
	for rest := s; ; labels++ {
		label, more, dotted := strings.Cut(rest, ".")
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		digits := true
		for i := 0; i < len(label); i++ {
			if !isAlphanumeric(label[i]) && label[i] != '-' {
				return false
			}
			digits = digits && isDigit(label[i])
		}
		if !dotted {
			return labels > 0 && !digits && utf8.RuneCountInString(label) > 1
		}
		rest = more
	}
}
