package transform

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// titleCase writes words as names are written. A word ends at anything but a letter,
// mark, digit or apostrophe. A word in mixed case is somebody's choice (McDonald) and
// keeps it, but for its first letter; one typed with the caps lock on (sMITH) does not.
func (w *Worker) titleCase(s string) string {
	start := len(w.buf)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if !inWord(r) {
			w.buf = append(w.buf, s[i:i+size]...)
			i += size
			continue
		}
		end := i
		for end < len(s) {
			r, size := utf8.DecodeRuneInString(s[end:])
			if !inWord(r) && !(isApostrophe(r) && letterFollows(s[end+size:])) {
				break
			}
			end += size
		}
		w.titleWord(s[i:end])
		i = end
	}
	return w.string(start)
}

func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

func isApostrophe(r rune) bool { return r == '\'' || r == '’' || r == 'ʼ' }

func letterFollows(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(r)
}

func (w *Worker) titleWord(word string) {
	mixed := isMixed(word)
	capital, part := true, 0 // part: where the part of the word before an apostrophe begins
	for i, r := range word {
		switch {
		case r == utf8.RuneError && word[i] >= utf8.RuneSelf && !strings.HasPrefix(word[i:], "\ufffd"):
			w.buf = append(w.buf, word[i])
			continue
		case isApostrophe(r):
			capital = elides(word[part:i])
			part = i + utf8.RuneLen(r)
		case capital && unicode.IsLetter(r):
			r, capital = unicode.ToTitle(r), false
		case !mixed:
			r = unicode.ToLower(r)
		}
		w.buf = utf8.AppendRune(w.buf, r)
	}
}

// isMixed tells whether capitals follow small letters in a word that begins with a capital, as in McDonald.
func isMixed(word string) bool {
	small := false
	first, _ := utf8.DecodeRuneInString(word)
	if !unicode.IsUpper(first) && !unicode.IsTitle(first) {
		return false
	}
	after := false // an apostrophe begins a new part
	for _, r := range word {
		switch {
		case isApostrophe(r):
			after = true
		case unicode.IsUpper(r) && small && !after:
			return true
		default:
			small, after = small || unicode.IsLower(r), false
		}
	}
	return false
}

// elides tells whether what stands before an apostrophe is a name's particle: O'Brien,
// D'Angelo, Dell'Acqua; not the word of a contraction or genitive.
func elides(part string) bool {
	if utf8.RuneCountInString(part) == 1 {
		return true
	}
	switch strings.ToLower(part) {
	case "dell", "dall", "nell", "sull", "sant":
		return true
	}
	return false
}
