package transform

import (
	"strings"
	"time"
)

// parsed is what the parts of a text said.
type parsed struct {
	year, month, day, hour, minute, second, micros, yearDay int
	half                                                    int // 1 am, 2 pm
	offset                                                  int // seconds east
}

// parse reads a text in the layout's form, all of it. Numbers may have fewer digits
// than they are written with; what is missing is the beginning of 1970.
func (l *layout) parse(s string) (int64, bool) {
	t := parsed{year: 1970, month: 1, day: 1}
	for _, p := range l.parts {
		rest, ok := t.read(p, s)
		if !ok {
			return 0, false
		}
		s = rest
	}
	if t.half != 0 {
		if t.hour < 1 || t.hour > 12 {
			return 0, false
		}
		t.hour = t.hour%12 + (t.half-1)*12
	}
	if t.yearDay > 0 {
		t.month, t.day = 1, t.yearDay
		if t.yearDay == 366 && daysIn(t.year, 2) != 29 {
			return 0, false
		}
	} else if t.month < 1 || t.month > 12 || t.day < 1 || t.day > daysIn(t.year, t.month) {
		return 0, false
	}
	if s != "" || t.hour > 23 || t.minute > 59 || t.second > 60 || t.yearDay > 366 {
		return 0, false
	}
	seconds := int64(t.hour*3600 + t.minute*60 + t.second - t.offset)
	return daysOf(t.year, t.month, t.day)*microsPerDay + seconds*microsPerSecond + int64(t.micros), true
}

// read reads one part off the front of a text.
func (t *parsed) read(p layoutPart, s string) (rest string, ok bool) {
	switch p.letter {
	case 0:
		return strings.CutPrefix(s, p.text)
	case '%':
		return strings.CutPrefix(s, "%")
	case 'Y':
		return readNumber(s, 4, &t.year)
	case 'y':
		rest, ok = readNumber(s, 2, &t.year)
		t.year += 1900
		if t.year < 1969 {
			t.year += 100 // POSIX: 69 to 99 are in the 20th century
		}
		return rest, ok
	case 'm':
		return readNumber(s, 2, &t.month)
	case 'd', 'e':
		return readNumber(strings.TrimPrefix(s, " "), 2, &t.day)
	case 'H', 'I':
		return readNumber(s, 2, &t.hour)
	case 'M':
		return readNumber(s, 2, &t.minute)
	case 'S':
		return readNumber(s, 2, &t.second)
	case 'j':
		return readNumber(s, 3, &t.yearDay)
	case 'f':
		return t.readFraction(s)
	case 'z':
		return t.readZone(s)
	case 'p':
		return readName(s, 2, &t.half, func(i int) string { return [...]string{"AM", "PM"}[i-1] })
	case 'b':
		return readName(s, 12, &t.month, func(i int) string { return time.Month(i).String()[:3] })
	case 'B':
		return readName(s, 12, &t.month, func(i int) string { return time.Month(i).String() })
	case 'a':
		return readName(s, 7, new(int), func(i int) string { return time.Weekday(i % 7).String()[:3] })
	}
	return readName(s, 7, new(int), func(i int) string { return time.Weekday(i % 7).String() })
}

func readNumber(s string, digits int, to *int) (string, bool) {
	i, n := 0, 0
	for ; i < len(s) && i < digits && isDigit(s[i]); i++ {
		n = n*10 + int(s[i]-'0')
	}
	*to = n
	return s[i:], i > 0
}

func readName(s string, count int, to *int, name func(int) string) (string, bool) {
	for i := 1; i <= count; i++ {
		if n := name(i); len(s) >= len(n) && strings.EqualFold(s[:len(n)], n) {
			*to = i
			return s[len(n):], true
		}
	}
	return s, false
}

// readFraction reads one to nine digits; those beyond microseconds are cut off.
func (t *parsed) readFraction(s string) (string, bool) {
	i, unit := 0, microsPerSecond/10
	for ; i < len(s) && i < 9 && isDigit(s[i]); i++ {
		t.micros += int(s[i]-'0') * unit
		unit /= 10
	}
	return s[i:], i > 0
}

// readZone reads Z, +02, +0200 or +02:00.
func (t *parsed) readZone(s string) (string, bool) {
	if rest, ok := strings.CutPrefix(s, "Z"); ok {
		return rest, true
	}
	if len(s) < 3 || s[0] != '+' && s[0] != '-' {
		return s, false
	}
	hours, ok := twoDigits(s[1:])
	rest, minutes := s[3:], 0
	if ok {
		digits := strings.TrimPrefix(rest, ":")
		if len(digits) >= 2 {
			if m, numeric := twoDigits(digits); numeric {
				minutes, rest = m, digits[2:]
			}
		}
	}
	t.offset = hours*3600 + minutes*60
	if s[0] == '-' {
		t.offset = -t.offset
	}
	return rest, ok && hours <= 15 && minutes <= 59
}
