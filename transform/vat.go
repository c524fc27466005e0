package transform

import "strings"

// vatNumber returns a VAT identification number in the form of the EU's VIES: prefix
// and number, no blanks and marks. Formats are those of the VIES FAQ (question 11),
// check digits those that the member states use.
func vatNumber(s, country string) (string, bool) {
	if len(s) > 40 {
		return "", false
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
			b = append(b, c-'a'+'A')
		case c >= 'A' && c <= 'Z', isDigit(c), c == '+', c == '*':
			b = append(b, c)
		case c == ' ', c == '.', c == '-', c == '/', c == '\t':
		default:
			return "", false
		}
	}
	n := string(b)
	prefix := vatPrefix(strings.ToUpper(country))
	if len(n) >= 2 && vatRules[vatPrefix(n[:2])] != nil && (prefix == "" || vatPrefix(n[:2]) == prefix) {
		p := vatPrefix(n[:2])
		if full, ok := vatWithin(p, n[2:]); ok {
			return full, true
		}
	}
	if prefix != "" {
		return vatWithin(prefix, n)
	}
	return "", false
}

// vatPrefix is VIES' prefix of a country: Greece has EL, Northern Ireland XI.
func vatPrefix(country string) string {
	if country == "GR" {
		return "EL"
	}
	return country
}

func vatWithin(prefix, n string) (string, bool) {
	check := vatRules[prefix]
	if check == nil {
		return "", false
	}
	if prefix == "BE" && len(n) == 9 || prefix == "EL" && len(n) == 8 {
		n = "0" + n // as it was written before the number grew
	}
	return prefix + n, check(n)
}

// vatRules checks the part after the prefix.
var vatRules = map[string]func(n string) bool{
	"AT": func(n string) bool {
		if len(n) != 9 || n[0] != 'U' || !digits(n[1:]) {
			return false
		}
		sum := 4
		for i := range 7 {
			d := int(n[i+1] - '0')
			if i%2 == 1 {
				d = d*2/10 + d*2%10
			}
			sum += d
		}
		return (10-sum%10)%10 == int(n[8]-'0')
	},
	"BE": func(n string) bool {
		return sized(n, 10) && (n[0] == '0' || n[0] == '1') && 97-atoi(n[:8])%97 == atoi(n[8:])
	},
	"BG": vatBulgaria,
	"CY": func(n string) bool {
		if len(n) != 9 || !digits(n[:8]) || strings.HasPrefix(n, "12") {
			return false
		}
		odd := [...]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21}
		sum := 0
		for i := range 8 {
			if d := int(n[i] - '0'); i%2 == 0 {
				sum += odd[d]
			} else {
				sum += d
			}
		}
		return n[8] == byte('A'+sum%26)
	},
	"CZ": func(n string) bool {
		switch {
		case !digits(n):
			return false
		case len(n) == 8:
			c := 11 - weighted(n, 8, 7, 6, 5, 4, 3, 2)%11
			return n[0] != '9' && c%10 == int(n[7]-'0')
		case len(n) == 9:
			return true // birth numbers before 1954, and special ones, have no check digit for all
		}
		return len(n) == 10 && atoi(n[:9])%11%10 == int(n[9]-'0')
	},
	"DE": func(n string) bool { return sized(n, 9) && n[0] != '0' && mod11and10(n) },
	"DK": func(n string) bool { return sized(n, 8) && n[0] != '0' && weighted(n, 2, 7, 6, 5, 4, 3, 2, 1)%11 == 0 },
	"EE": func(n string) bool { return sized(n, 9) && weighted(n, 3, 7, 1, 3, 7, 1, 3, 7, 1)%10 == 0 },
	"EL": func(n string) bool {
		return sized(n, 9) && weighted(n, 256, 128, 64, 32, 16, 8, 4, 2)%11%10 == int(n[8]-'0')
	},
	"ES": vatSpain,
	"FI": func(n string) bool { return sized(n, 8) && weighted(n, 7, 9, 10, 5, 8, 4, 2, 1)%11 == 0 },
	"FR": func(n string) bool {
		if len(n) != 11 || !digits(n[2:]) || strings.ContainsAny(n[:2], "IO+*") {
			return false
		}
		if n[2:5] != "000" && !luhn(n[2:]) {
			return false // not a SIREN; Monaco's numbers begin with 000
		}
		return !digits(n[:2]) || (12+3*(atoi(n[2:])%97))%97 == atoi(n[:2])
	},
	"HR": func(n string) bool { return sized(n, 11) && mod11and10(n) },
	"HU": func(n string) bool { return sized(n, 8) && weighted(n, 9, 7, 3, 1, 9, 7, 3, 1)%10 == 0 },
	"IE": vatIreland,
	"IT": func(n string) bool { return sized(n, 11) && n[:7] != "0000000" && luhn(n) },
	"LT": func(n string) bool {
		if !digits(n) || !(len(n) == 9 && n[7] == '1' || len(n) == 12 && n[10] == '1') {
			return false
		}
		first, second := 0, 0
		for i := range len(n) - 1 {
			d := int(n[i] - '0')
			first += d * (1 + i%9)
			second += d * (1 + (i+2)%9)
		}
		c := first % 11
		if c == 10 {
			c = second % 11 % 10
		}
		return c == int(n[len(n)-1]-'0')
	},
	"LU": func(n string) bool { return sized(n, 8) && atoi(n[:6])%89 == atoi(n[6:]) },
	"LV": func(n string) bool {
		switch {
		case !sized(n, 11):
			return false
		case n[0] > '3':
			return weighted(n, 9, 1, 4, 8, 3, 10, 2, 5, 7, 6, 1)%11 == 3
		case strings.HasPrefix(n, "32"):
			return true // persons' codes since 2017 have none
		}
		return (1+weighted(n, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9))%11%10 == int(n[10]-'0')
	},
	"MT": func(n string) bool { return sized(n, 8) && n[0] != '0' && weighted(n, 3, 4, 6, 7, 8, 9, 10, 1)%37 == 0 },
	"NL": func(n string) bool {
		if len(n) != 12 || n[9] != 'B' || !digits(n[:9]) || !digits(n[10:]) {
			return false
		}
		return (weighted(n, 9, 8, 7, 6, 5, 4, 3, 2)-int(n[8]-'0'))%11 == 0 || mod97("NL"+n) == 1
	},
	"PL": func(n string) bool { return sized(n, 10) && weighted(n, 6, 5, 7, 2, 3, 4, 5, 6, 7)%11 == int(n[9]-'0') },
	"PT": func(n string) bool {
		return sized(n, 9) && n[0] != '0' && (11-weighted(n, 9, 8, 7, 6, 5, 4, 3, 2)%11)%11%10 == int(n[8]-'0')
	},
	"RO": func(n string) bool {
		switch {
		case !digits(n) || n[0] == '0':
			return false
		case len(n) == 13:
			c := weighted(n, 2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9) % 11
			return min(c, 10)%10+bit(c == 10) == int(n[12]-'0')
		case len(n) < 2 || len(n) > 10:
			return false
		}
		body := strings.Repeat("0", 10-len(n)) + n
		return 10*weighted(body, 7, 5, 3, 2, 1, 7, 5, 3, 2)%11%10 == int(body[9]-'0')
	},
	"SE": func(n string) bool { return sized(n, 12) && n[10:] != "00" && luhn(n[:10]) },
	"SI": func(n string) bool {
		if !sized(n, 8) || n[0] == '0' {
			return false
		}
		c := 11 - weighted(n, 8, 7, 6, 5, 4, 3, 2)%11
		return c != 11 && c%10 == int(n[7]-'0')
	},
	"SK": func(n string) bool {
		return sized(n, 10) && n[0] != '0' && strings.IndexByte("234789", n[2]) >= 0 && atoi(n)%11 == 0
	},
	"XI": vatBritain,
	"GB": vatBritain,
}

func vatBulgaria(n string) bool {
	switch {
	case !digits(n):
		return false
	case len(n) == 9:
		c := weighted(n, 1, 2, 3, 4, 5, 6, 7, 8) % 11
		if c == 10 {
			c = weighted(n, 3, 4, 5, 6, 7, 8, 9, 10) % 11 % 10
		}
		return c == int(n[8]-'0')
	case len(n) != 10:
		return false
	}
	last := int(n[9] - '0')
	other := 11 - weighted(n, 4, 3, 2, 7, 6, 5, 4, 3, 2)%11
	return weighted(n, 2, 4, 8, 5, 10, 9, 7, 3, 6)%11%10 == last || // persons
		weighted(n, 21, 19, 17, 13, 11, 9, 7, 3, 1)%10 == last || // foreigners
		other%11 == last // others
}

func vatSpain(n string) bool {
	const letters = "TRWAGMYFPDXBNJZSQVHLCKE"
	if len(n) != 9 || !digits(n[1:8]) {
		return false
	}
	switch first := n[0]; {
	case isDigit(first):
		return n[8] == letters[atoi(n[:8])%23]
	case first >= 'X' && first <= 'Z':
		return n[8] == letters[(int(first-'X')*10_000_000+atoi(n[1:8]))%23]
	case strings.IndexByte("KLM", first) >= 0:
		return n[8] == letters[atoi(n[1:8])%23]
	case strings.IndexByte("ABCDEFGHJNPQRSUVW", first) < 0:
		return false
	}
	sum := 0
	for i := 1; i < 8; i++ {
		d := int(n[i] - '0')
		if i%2 == 1 {
			d = d*2/10 + d*2%10
		}
		sum += d
	}
	c := (10 - sum%10) % 10
	asDigit, asLetter := n[8] == byte('0'+c), n[8] == "JABCDEFGHI"[c]
	switch {
	case strings.IndexByte("NPQRSW", n[0]) >= 0:
		return asLetter
	case strings.IndexByte("ABEH", n[0]) >= 0:
		return asDigit
	}
	return asDigit || asLetter
}

func vatIreland(n string) bool {
	const letters = "WABCDEFGHIJKLMNOPQRSTUV"
	switch {
	case len(n) < 8 || len(n) > 9 || !isDigit(n[0]) || !digits(n[2:7]):
		return false
	case len(n) == 8 && !isDigit(n[1]): // before 2013: 1A23456B
		old := "0" + n[2:7] + n[:1]
		return n[7] == letters[weighted(old, 8, 7, 6, 5, 4, 3, 2)%23]
	case !isDigit(n[1]):
		return false
	}
	sum := weighted(n, 8, 7, 6, 5, 4, 3, 2)
	if len(n) == 9 {
		switch {
		case n[8] == 'W':
		case n[8] >= 'A' && n[8] <= 'I':
			sum += 9 * int(n[8]-'A'+1)
		default:
			return false
		}
	}
	return n[7] == letters[sum%23]
}

// vatBritain: 9 digits, 12 with a branch, GD and HA for the government and health
// authorities. Northern Ireland's numbers (XI) are made alike.
func vatBritain(n string) bool {
	switch {
	case len(n) == 5 && digits(n[2:]):
		return n[:2] == "GD" && n[2:] < "500" || n[:2] == "HA" && n[2:] >= "500"
	case !sized(n, 9) && !sized(n, 12):
		return false
	}
	sum := weighted(n, 8, 7, 6, 5, 4, 3, 2, 10, 1) % 97
	return sum == 0 || sum == 42
}

// digits tells whether a text has digits alone, and some.
func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

func sized(s string, n int) bool { return len(s) == n && digits(s) }

// atoi reads up to 18 digits.
func atoi(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// weighted sums the first digits times their weights.
func weighted(s string, weights ...int) int {
	sum := 0
	for i, w := range weights {
		sum += w * int(s[i]-'0')
	}
	return sum
}

func luhn(s string) bool {
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 1 {
			d = d*2/10 + d*2%10
		}
		sum += d
	}
	return sum%10 == 0
}

// mod11and10 is the hybrid system of ISO 7064.
func mod11and10(s string) bool {
	p := 10
	for i := range len(s) - 1 {
		if p = (p + int(s[i]-'0')) % 10; p == 0 {
			p = 10
		}
		p = p * 2 % 11
	}
	return (11-p)%10 == int(s[len(s)-1]-'0')
}

// mod97 is ISO 7064's over digits and letters, A being 10.
func mod97(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if isDigit(s[i]) {
			n = (n*10 + int(s[i]-'0')) % 97
		} else {
			n = (n*100 + int(s[i]-'A') + 10) % 97
		}
	}
	return n
}
