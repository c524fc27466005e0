package mysql

import (
	"strings"
	"unicode/utf8"
)

// words reads a statement's words, for the few statements whose tables must be known.
// Comments are passed over; the content of /*! */ counts, as it does for the server.
type words struct {
	rest   string
	inside bool // of a /*! comment
}

// word is one: a name or keyword, a quoted name, a string, or a single other character.
type word struct {
	text   string // without quotes
	quoted bool   // in backticks or double quotes
	str    bool   // in single quotes
}

func (w word) upper() string {
	if w.quoted || w.str {
		return ""
	}
	return strings.ToUpper(w.text)
}

func newWords(sql string) *words { return &words{rest: sql} }

func (w *words) peek() word {
	copied := *w
	return copied.next()
}

// skip passes over these keywords where they come next.
func (w *words) skip(keywords ...string) {
	for _, k := range keywords {
		if w.peek().upper() == k {
			w.next()
		}
	}
}

// table reads a table's name, which may have its database in front.
func (w *words) table(database string) (db, name string, ok bool) {
	first := w.next()
	if first.text == "" || first.str || !first.quoted && !isWordByte(first.text[0]) {
		return "", "", false
	}
	if w.peek().text != "." || w.peek().quoted {
		return database, first.text, true
	}
	w.next()
	second := w.next()
	if second.text == "" || second.str {
		return "", "", false
	}
	return first.text, second.text, true
}

// next returns the next word, an empty one at the end.
func (w *words) next() word {
	w.space()
	if w.rest == "" {
		return word{}
	}
	switch c := w.rest[0]; {
	case c == '`' || c == '"':
		return word{text: w.quotedText(c, false), quoted: true}
	case c == '\'':
		return word{text: w.quotedText(c, true), str: true}
	case isWordByte(c):
		n := 1
		for n < len(w.rest) && isWordByte(w.rest[n]) {
			n++
		}
		text := w.rest[:n]
		w.rest = w.rest[n:]
		return word{text: text}
	}
	_, n := utf8.DecodeRuneInString(w.rest)
	text := w.rest[:n]
	w.rest = w.rest[n:]
	return word{text: text}
}

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

// quotedText reads up to the closing quote, in which a doubled quote stands for one.
func (w *words) quotedText(quote byte, escapes bool) string {
	var b strings.Builder
	for i := 1; i < len(w.rest); i++ {
		c := w.rest[i]
		switch {
		case c == '\\' && escapes && i+1 < len(w.rest):
			i++
			b.WriteByte(w.rest[i])
		case c != quote:
			b.WriteByte(c)
		case i+1 < len(w.rest) && w.rest[i+1] == quote:
			b.WriteByte(quote)
			i++
		default:
			w.rest = w.rest[i+1:]
			return b.String()
		}
	}
	w.rest = ""
	return b.String()
}

// space passes over blanks and comments.
func (w *words) space() {
	for {
		w.rest = strings.TrimLeft(w.rest, " \t\r\n\f\v\x00;")
		switch {
		case strings.HasPrefix(w.rest, "/*!"), strings.HasPrefix(w.rest, "/*M!"):
			w.rest = strings.TrimLeft(w.rest[strings.IndexByte(w.rest, '!')+1:], "0123456789")
			w.inside = true
		case strings.HasPrefix(w.rest, "/*"):
			_, after, _ := strings.Cut(w.rest[2:], "*/")
			w.rest = after
		case w.inside && strings.HasPrefix(w.rest, "*/"):
			w.rest, w.inside = w.rest[2:], false
		case strings.HasPrefix(w.rest, "#"), strings.HasPrefix(w.rest, "-- "), strings.HasPrefix(w.rest, "--\n"), strings.HasPrefix(w.rest, "--\t"):
			_, after, _ := strings.Cut(w.rest, "\n")
			w.rest = after
		default:
			return
		}
	}
}
