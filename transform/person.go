package transform

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// nameParticles stay small within a name that was typed in one case.
var nameParticles = map[string]bool{
	"van": true, "von": true, "vom": true, "zu": true, "zum": true, "zur": true, "der": true, "den": true, "de": true, "del": true, "della": true, "di": true, "da": true, "do": true, "dos": true, "das": true,
	"du": true, "la": true, "le": true, "ten": true, "ter": true, "te": true, "und": true, "y": true, "e": true, "i": true, "bin": true, "ibn": true, "bint": true, "al": true, "el": true, "af": true, "av": true,
}

// nameSuffixes follow a comma without being a first name.
var nameSuffixes = map[string]string{
	"jr": "Jr", "sr": "Sr", "ii": "II", "iii": "III", "iv": "IV", "vi": "VI", "vii": "VII", "viii": "VIII", "phd": "PhD", "md": "MD", "dds": "DDS", "esq": "Esq", "mba": "MBA", "cpa": "CPA", "msc": "MSc", "bsc": "BSc",
}

// personName writes a name as people write theirs: "KING, ADA" is Ada King. A name in
// mixed case keeps its letters; one that is all capitals or all small gets new ones.
func (w *Worker) personName(s string) string {
	s = w.collapse(s)
	s = strings.Trim(s, ",;")
	if last, first, ok := strings.Cut(s, ","); ok && !strings.Contains(first, ",") {
		last, first = strings.TrimFunc(last, isBlank), strings.TrimFunc(first, isBlank)
		if nameSuffixes[suffixKey(first)] == "" && first != "" && last != "" {
			start := len(w.buf)
			w.buf = append(append(append(w.buf, first...), ' '), last...)
			s = w.string(start)
		}
	}
	upper, lower := false, false
	for _, r := range s {
		upper, lower = upper || unicode.IsUpper(r), lower || unicode.IsLower(r)
	}
	if upper && lower {
		return s
	}
	start := len(w.buf)
	for i, word := range strings.Split(s, " ") {
		if i > 0 {
			w.buf = append(w.buf, ' ')
		}
		key := suffixKey(word)
		switch {
		case i > 0 && nameParticles[strings.ToLower(word)]:
			w.buf = append(w.buf, strings.ToLower(word)...)
		case i > 0 && nameSuffixes[key] != "":
			w.buf = append(w.buf, nameSuffixes[key]...)
			if dots := strings.TrimLeft(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"); dots == "." || dots == "," {
				w.buf = append(w.buf, dots...)
			}
		default:
			at := len(w.buf)
			done := w.titleCase(word)
			w.buf = append(w.buf[:at], w.celtic(done)...)
		}
	}
	return w.string(start)
}

func suffixKey(word string) string {
	return strings.ToLower(strings.Trim(strings.ReplaceAll(word, ".", ""), ","))
}

// celtic gives Mc its second capital: McDonald.
func (w *Worker) celtic(word string) string {
	if len(word) < 5 || !strings.HasPrefix(word, "Mc") {
		return word
	}
	r, size := utf8.DecodeRuneInString(word[2:])
	return word[:2] + string(unicode.ToTitle(r)) + word[2+size:]
}
