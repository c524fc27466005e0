package transform

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/text/unicode/norm"
)

// plainFunctions bring text into simpler forms.
var plainFunctions = []*function{
	{
		name: "sentence_case", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(w *Worker, a []value) value { return ofText(w.sentenceCase(a[0].s)) },
		doc:  "In lower case, with a capital at the beginning and after `.`, `!` or `?` and white space.", examples: [][2]string{{`sentence_case("HELLO WORLD. how ARE you?")`, `"Hello world. How are you?"`}},
	},
	{
		name: "truncate", params: []param{{name: "text", types: textType}, {name: "length", types: intType}, {name: "ending", types: textType}}, optional: 1, result: truncatedType, fails: []string{"bad_number"},
		call: truncateText,
		doc:  "At most `length` characters. A longer text is cut and ends with `ending` (`…` if left out), which counts; no accent is cut off its letter.", examples: [][2]string{{`truncate("penstock", 5)`, `"pens…"`}, {`truncate("penstock", 5, "")`, `"penst"`}},
	},
	{
		name: "pad", params: []param{{name: "text", types: textType}, {name: "width", types: intType}, {name: "fill", types: textType}}, optional: 1, result: returns(text), fails: []string{"bad_number"},
		call: padText,
		doc:  "Filled up on the left to `width` characters (on the right where it is negative) with `fill` (a space if left out). Widths beyond 10,000 are refused.", examples: [][2]string{{`pad("7", 3, "0")`, `"007"`}, {`pad("ab", -4, ".")`, `"ab.."`}},
	},
	{
		name: "strip_accents", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(w *Worker, a []value) value { return ofText(stripAccents(a[0].s)) },
		doc:  "Latin and Greek letters without their accents; `ß` becomes `ss`, `æ` `ae`, `ø` `o`, `ł` `l` and so on. Other scripts stay, as their marks make other letters.", examples: [][2]string{{`strip_accents("Łódź, Müßig, Ångström")`, `"Lodz, Mussig, Angstrom"`}},
	},
	{
		name: "nfc", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(_ *Worker, a []value) value { return ofText(norm.NFC.String(a[0].s)) },
		doc:  "In Unicode's form NFC, in which an accented letter is one character where there is one (UAX #15).", examples: [][2]string{{`length(nfc("e\u0301"))`, `1`}},
	},
	{
		name: "html_strip", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(w *Worker, a []value) value { return ofText(htmlText(a[0].s)) },
		doc:  "The text of HTML: no tags, comments, scripts and styles, entities as characters, white space as one space, a line break for `<br>` and between blocks.", examples: [][2]string{{`html_strip("<p>A &amp; <b>B</b></p><p>C</p>")`, `"A & B\nC"`}},
	},
}

func truncatedType(args []*node) typ {
	t := typ{base: text}
	if args[1].isConst() {
		if n, ok := args[1].val.int(); ok && n > 0 && n < 1<<31 {
			t.length = int(n)
		}
	}
	return t
}

func (w *Worker) sentenceCase(s string) string {
	start, capital, ended := len(w.buf), true, false
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			w.buf = append(w.buf, s[i])
			i++
			continue
		case r == '.' || r == '!' || r == '?':
			ended = true
		case unicode.IsLetter(r):
			if capital {
				r = unicode.ToTitle(r)
			} else {
				r = unicode.ToLower(r)
			}
			capital, ended = false, false
		case unicode.IsSpace(r):
			capital = capital || ended
		case unicode.IsDigit(r):
			capital, ended = false, false
		}
		w.buf = utf8.AppendRune(w.buf, r)
		i += size
	}
	return w.string(start)
}

func truncateText(w *Worker, a []value) value {
	s, ending := a[0].s, "…"
	n, ok := a[1].int()
	if len(a) > 2 {
		ending = a[2].s
	}
	if !ok || n < 0 {
		return fail("bad_number")
	}
	if int64(len(s)) <= n || int64(utf8.RuneCountInString(s)) <= n {
		return a[0]
	}
	keep := n - int64(utf8.RuneCountInString(ending))
	if keep < 0 {
		keep, ending = n, ""
	}
	cut, at := 0, int64(0)
	for i, r := range s {
		if at > keep {
			break
		}
		if !unicode.IsMark(r) {
			cut = i // the text before this character is whole
		}
		at++
	}
	if keep == 0 {
		cut = 0
	}
	start := len(w.buf)
	w.buf = append(w.buf, s[:cut]...)
	if ending != "" {
		kept := strings.TrimRightFunc(s[:cut], isBlank)
		w.buf = append(append(w.buf[:start], kept...), ending...)
	}
	return ofText(w.string(start))
}

// maxWidth bounds what one call can make of a small text.
const maxWidth = 10_000

func padText(w *Worker, a []value) value {
	fill := " "
	if len(a) > 2 {
		fill = a[2].s
	}
	width, ok := a[1].int()
	if !ok || width > maxWidth || width < -maxWidth {
		return fail("bad_number")
	}
	right := width < 0
	missing := max(width, -width) - int64(utf8.RuneCountInString(a[0].s))
	if missing <= 0 || fill == "" {
		return a[0]
	}
	start := len(w.buf)
	if right {
		w.buf = append(w.buf, a[0].s...)
	}
	for missing > 0 {
		for _, r := range fill {
			if missing == 0 {
				break
			}
			w.buf = utf8.AppendRune(w.buf, r)
			missing--
		}
	}
	if !right {
		w.buf = append(w.buf, a[0].s...)
	}
	return ofText(w.string(start))
}

// foldedLetters are Latin letters that Unicode does not take apart.
var foldedLetters = map[rune]string{
	'ß': "ss", 'ẞ': "SS", 'æ': "ae", 'Æ': "AE", 'œ': "oe", 'Œ': "OE", 'ø': "o", 'Ø': "O", 'đ': "d", 'Đ': "D", 'ð': "d", 'Ð': "D",
	'þ': "th", 'Þ': "TH", 'ł': "l", 'Ł': "L", 'ı': "i", 'ħ': "h", 'Ħ': "H", 'ŧ': "t", 'Ŧ': "T", 'ŋ': "n", 'Ŋ': "N", 'ĸ': "k", 'ſ': "s", 'ŀ': "l", 'Ŀ': "L",
}

func stripAccents(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	strip := false // the last letter is Latin or Greek
	for i, r := range norm.NFD.String(s) {
		switch {
		case unicode.Is(unicode.Mn, r):
			if strip {
				continue
			}
		default:
			strip = unicode.Is(unicode.Latin, r) || unicode.Is(unicode.Greek, r)
		}
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(norm.NFD.String(s)[i:]); size == 1 {
				return s // bytes that are no text are not touched
			}
		}
		if plain, ok := foldedLetters[r]; ok {
			b.WriteString(plain)
			continue
		}
		b.WriteRune(r)
	}
	return norm.NFC.String(b.String())
}

// breaking has the elements that begin a line of their own.
var breaking = map[string]bool{
	"address": true, "article": true, "blockquote": true, "br": true, "dd": true, "div": true, "dl": true, "dt": true, "figcaption": true, "footer": true, "h1": true, "h2": true, "h3": true, "h4": true, "h5": true,
	"h6": true, "header": true, "hr": true, "li": true, "main": true, "nav": true, "ol": true, "p": true, "pre": true, "section": true, "table": true, "tr": true, "ul": true,
}

// unshown has the elements whose content is no text.
var unshown = map[string]bool{"script": true, "style": true, "head": true, "template": true, "noscript": true, "iframe": true, "title": true}

// maxTag bounds what the tokenizer keeps at once beside the text itself.
const maxTag = 1 << 20

func htmlText(s string) string {
	if strings.IndexByte(s, '<') < 0 && strings.IndexByte(s, '&') < 0 {
		return strings.Join(strings.FieldsFunc(s, isBlank), " ")
	}
	t := html.NewTokenizer(strings.NewReader(s))
	t.SetMaxBuf(max(maxTag, len(s)+1))
	var b strings.Builder
	blank, line, hidden := false, false, 0
	for {
		switch kind := t.Next(); kind {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
			if hidden > 0 {
				continue
			}
			for _, r := range string(t.Text()) {
				if isBlank(r) {
					blank = true
					continue
				}
				switch {
				case b.Len() == 0:
				case line:
					b.WriteByte('\n')
				case blank:
					b.WriteByte(' ')
				}
				blank, line = false, false
				b.WriteRune(r)
			}
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			tag, _ := t.TagName()
			name := string(tag)
			line = line || breaking[name]
			blank = blank || name == "td" || name == "th"
			if unshown[name] && kind == html.StartTagToken {
				hidden++
			} else if unshown[name] && kind == html.EndTagToken && hidden > 0 {
				hidden--
			}
		}
	}
}
