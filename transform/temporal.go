package transform

import (
	"math"
	"strconv"
	"time"
)

// Dates, times and timestamps are computed with as microseconds: since 1970-01-01
// (UTC, or the wall clock's) or since midnight. The infinities are the ends of the range.
const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86_400 * microsPerSecond
	infinity        = math.MaxInt64
	minusInfinity   = math.MinInt64
)

// micros returns the microseconds of a date, time or timestamp. What names no day
// or moment, such as MySQL's zero date, has none.
func (v value) micros() (int64, bool) {
	if v.s == "" {
		return v.n, true
	}
	switch v.kind {
	case date:
		n, rest, ok := parseDate(v.s)
		return n, ok && rest == ""
	case clock:
		n, rest, ok := parseClock(v.s)
		return n, ok && rest == ""
	}
	n, rest, ok := parseDate(v.s)
	if !ok || n == infinity || n == minusInfinity {
		return n, ok && (rest == "" || rest == "Z")
	}
	if len(rest) == 0 || rest[0] != 'T' {
		return 0, false
	}
	c, rest, ok := parseClock(rest[1:])
	return n + c, ok && (rest == "" || rest == "Z")
}

// parseDate reads a date off the front of a text.
func parseDate(s string) (int64, string, bool) {
	switch s {
	case "infinity":
		return infinity, "", true
	case "-infinity":
		return minusInfinity, "", true
	}
	sign, i := 1, 0
	if s != "" && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = -1
		}
		i = 1
	}
	start := i
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if i-start < 4 || i-start > 6 || len(s) < i+6 || s[i] != '-' || s[i+3] != '-' {
		return 0, s, false
	}
	year, _ := strconv.Atoi(s[start:i])
	month, ok := twoDigits(s[i+1:])
	day, ok2 := twoDigits(s[i+4:])
	if !ok || !ok2 || month < 1 || month > 12 || day < 1 || day > daysIn(sign*year, month) {
		return 0, s, false
	}
	return daysOf(sign*year, month, day) * microsPerDay, s[i+6:], true
}

// parseClock reads a time off the front of a text: hours (MySQL: up to 838, with a sign), minutes, seconds, fraction.
func parseClock(s string) (int64, string, bool) {
	neg := false
	if s != "" && s[0] == '-' {
		neg, s = true, s[1:]
	}
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if i < 2 || i > 3 || len(s) < i+6 || s[i] != ':' || s[i+3] != ':' {
		return 0, s, false
	}
	hours, _ := strconv.Atoi(s[:i])
	minutes, ok := twoDigits(s[i+1:])
	seconds, ok2 := twoDigits(s[i+4:])
	if !ok || !ok2 || minutes > 59 || seconds > 60 {
		return 0, s, false
	}
	n := int64(hours*3600+minutes*60+seconds) * microsPerSecond
	s = s[i+6:]
	if s != "" && s[0] == '.' {
		unit := int64(microsPerSecond / 10)
		j := 1
		for ; j < len(s) && isDigit(s[j]); j++ {
			n += int64(s[j]-'0') * unit
			unit /= 10
		}
		s = s[j:]
	}
	if neg {
		n = -n
	}
	return n, s, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func twoDigits(s string) (int, bool) {
	return int(s[0]-'0')*10 + int(s[1]-'0'), isDigit(s[0]) && isDigit(s[1])
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysOf returns the days from 1970-01-01 to a day of the proleptic Gregorian calendar; year 0 is 1 BC.
func daysOf(year, month, day int) int64 {
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix() / 86_400
}

// moment returns microseconds as a time in UTC.
func moment(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// appendTemporal appends the exact text of a date, time or timestamp.
func appendTemporal(dst []byte, kind base, n int64) []byte {
	switch {
	case kind == clock:
		return appendClock(dst, n)
	case n == infinity:
		return append(dst, "infinity"...)
	case n == minusInfinity:
		return append(dst, "-infinity"...)
	}
	t := moment(n)
	year, month, day := t.Date()
	switch {
	case year < 0:
		dst = appendPadded(append(dst, '-'), -year, 4)
	case year > 9999:
		dst = appendPadded(append(dst, '+'), year, 4)
	default:
		dst = appendPadded(dst, year, 4)
	}
	dst = appendPadded(append(dst, '-'), int(month), 2)
	dst = appendPadded(append(dst, '-'), day, 2)
	if kind == date {
		return dst
	}
	rest := n % microsPerDay
	if rest < 0 {
		rest += microsPerDay
	}
	dst = appendClock(append(dst, 'T'), rest)
	if kind == timestampTZ {
		dst = append(dst, 'Z')
	}
	return dst
}

// appendClock appends a time of day, its fraction without trailing zeros.
func appendClock(dst []byte, n int64) []byte {
	if n < 0 {
		dst, n = append(dst, '-'), -n
	}
	seconds, fraction := n/microsPerSecond, int(n%microsPerSecond)
	dst = appendPadded(dst, int(seconds/3600), 2)
	dst = appendPadded(append(dst, ':'), int(seconds/60%60), 2)
	dst = appendPadded(append(dst, ':'), int(seconds%60), 2)
	if fraction > 0 {
		dst = appendPadded(append(dst, '.'), fraction, 6)
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return dst
}

// appendPadded appends a number with leading zeros up to a width.
func appendPadded(dst []byte, n, width int) []byte {
	limit := 1
	for range width - 1 {
		limit *= 10
	}
	for ; n < limit && limit > 1; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(n), 10)
}
