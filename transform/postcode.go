package transform

import "strings"

// postcodeForms has the forms of postal codes by country, from the Universal Postal
// Union's addressing sheets: 9 is a digit, A a letter, anything else itself.
var postcodeForms = func() map[string][]string {
	all := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(`
AD AD999
AR A9999AAA|9999
AT 9999
AU 9999
BA 99999
BD 9999
BE 9999
BG 9999
BR 99999-999
BY 999999
CA A9A 9A9
CH 9999
CL 999 9999
CN 999999
CO 999999
CR 99999
CY 9999
CZ 999 99
DE 99999
DK 9999
DO 99999
DZ 99999
EC 999999
EE 99999
EG 99999
ES 99999
FI 99999
FO 999
FR 99999
GB A9 9AA|A99 9AA|AA9 9AA|AA99 9AA|A9A 9AA|AA9A 9AA
GG AA9 9AA|AA99 9AA
GI AA99 9AA
GL 9999
GR 999 99
HR 99999
HU 9999
ID 99999
IE A99 ****|A9A ****
IL 9999999|99999
IM AA9 9AA|AA99 9AA
IN 999999
IS 999
IT 99999
JE AA9 9AA|AA99 9AA
JP 999-9999
KE 99999
KR 99999
LI 9999
LT 99999
LU 9999
LV LV-9999
MA 99999
MC 99999
MD 9999
ME 99999
MK 9999
MT AAA 9999
MX 99999
MY 99999
NL 9999 AA
NO 9999
NZ 9999
PE 99999
PH 9999
PK 99999
PL 99-999
PT 9999-999
RO 999999
RS 99999
RU 999999
SA 99999|99999-9999
SE 999 99
SG 999999
SI 9999
SK 999 99
SM 99999
TH 99999
TN 9999
TR 99999
TW 999|99999|999999
UA 99999
US 99999|99999-9999
UY 99999
VA 99999
VN 99999
ZA 9999
`), "\n") {
		country, forms, _ := strings.Cut(line, " ")
		all[country] = strings.Split(forms, "|")
	}
	return all
}()

// postcode returns a postal code as the country's post writes it. A country's letters in
// front (D-10115) are dropped. Of a country whose form is not known: capitals, letters,
// digits, inner spaces and hyphens, 12 at most.
func postcode(s, country string) (string, bool) {
	if len(s) > 40 {
		return "", false
	}
	var b []byte
	for _, r := range strings.TrimFunc(s, isBlank) {
		switch {
		case isBlank(r):
			r = ' '
		case r >= 'a' && r <= 'z':
			r -= 'a' - 'A'
		case r == '–' || r == '—' || r == '‐' || r == '‑':
			r = '-'
		case r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r == '-':
		default:
			return "", false
		}
		b = append(b, byte(r))
	}
	forms := postcodeForms[country]
	if forms == nil {
		out := strings.Join(strings.Fields(string(b)), " ")
		return out, out != "" && len(out) <= 12
	}
	bare := strings.NewReplacer(" ", "", "-", "").Replace(string(b))
	for _, form := range forms {
		if out, ok := inForm(bare, form); ok {
			return out, true
		}
	}
	// The country's letters, or those of its plates, stand before digits.
	i := 0
	for i < len(b) && b[i] >= 'A' && b[i] <= 'Z' {
		i++
	}
	if i > 0 && i <= 3 && i < len(b) && (b[i] == '-' || b[i] == ' ') {
		for _, form := range forms {
			if out, ok := inForm(strings.NewReplacer(" ", "", "-", "").Replace(string(b[i:])), form); ok {
				return out, true
			}
			if out, ok := inForm(bare[i:], strings.TrimLeft(form, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-")); ok && form[0] == 'L' {
				return form[:3] + out, true
			}
		}
	}
	if out, ok := inForm(bare, strings.TrimPrefix(forms[0], "LV-")); ok && country == "LV" {
		return "LV-" + out, true
	}
	return "", false
}

// inForm writes letters and digits in a form: 9 a digit, A a letter, * either.
func inForm(bare, form string) (string, bool) {
	var out []byte
	at := 0
	for i := 0; i < len(form); i++ {
		if form[i] == ' ' || form[i] == '-' {
			out = append(out, form[i])
			continue
		}
		if at == len(bare) {
			return "", false
		}
		c := bare[at]
		switch f := form[i]; {
		case f == '9' && !isDigit(c), f == 'A' && isDigit(c), f != '9' && f != 'A' && f != '*' && f != c:
			return "", false
		}
		out = append(out, c)
		at++
	}
	return string(out), at == len(bare)
}
