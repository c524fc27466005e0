package transform

import "strings"

// ibanLengths is how long an IBAN of each country is, from SWIFT's registry for ISO 13616.
var ibanLengths = func() map[string]int {
	all := map[string]int{}
	for _, entry := range strings.Fields(`
		AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27
		GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20
		MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26
		UA29 VA22 VG24 XK20 YE30`) {
		all[entry[:2]] = atoi(entry[2:])
	}
	return all
}()

// iban returns an IBAN in its electronic form: capitals, no blanks.
func iban(s string) (string, bool) {
	var b [34]byte
	n := 0
	s = strings.TrimFunc(s, isBlank)
	if len(s) > 5 && strings.EqualFold(s[:5], "IBAN:") {
		s = s[5:]
	} else if len(s) > 5 && strings.EqualFold(s[:5], "IBAN ") {
		s = s[5:]
	}
	for _, r := range s {
		switch {
		case isBlank(r) || r == '-' || r == '.':
			continue
		case r >= 'a' && r <= 'z':
			r -= 'a' - 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
		default:
			return "", false
		}
		if n == len(b) {
			return "", false
		}
		b[n] = byte(r)
		n++
	}
	if n < 5 {
		return "", false
	}
	text := string(b[:n])
	if ibanLengths[text[:2]] != n || !digits(text[2:4]) || mod97(text[4:]+text[:4]) != 1 {
		return "", false
	}
	return text, true
}
