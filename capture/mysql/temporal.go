package mysql

import "time"

// Forms of the temporal types in rows events: Field_*f::pack in the server's
// sql/field.cc, my_time.cc. The fraction takes (digits+1)/2 bytes.

func fractionSize(digits int) int { return (digits + 1) / 2 }

func append2(dst []byte, n uint64) []byte { return append(dst, byte('0'+n/10%10), byte('0'+n%10)) }

func append4(dst []byte, n uint64) []byte { return append2(append2(dst, n/100), n%100) }

// appendFraction appends a point and the first digits of microseconds.
func appendFraction(dst []byte, micros uint64, digits int) []byte {
	if digits == 0 {
		return dst
	}
	for range 6 - digits {
		micros /= 10
	}
	return appendPadded(append(dst, '.'), uint32(micros), digits)
}

func appendYMD(dst []byte, year, month, day uint64) []byte {
	dst = append4(dst, year)
	dst = append2(append(dst, '-'), month)
	return append2(append(dst, '-'), day)
}

func appendHMS(dst []byte, hour, minute, second uint64) []byte {
	dst = append2(dst, hour)
	dst = append2(append(dst, ':'), minute)
	return append2(append(dst, ':'), second)
}

// appendDate appends a DATE of 3 bytes.
func appendDate(dst, b []byte) []byte {
	n := littleEndian(b[:3])
	return appendYMD(dst, n>>9, n>>5&15, n&31)
}

// fraction returns the microseconds of a fraction field.
func fraction(b []byte, digits int) int64 {
	n := int64(bigEndian(b[:fractionSize(digits)]))
	switch fractionSize(digits) {
	case 1:
		return n * 10000
	case 2:
		return n * 100
	}
	return n
}

// appendTime appends a TIME(digits).
func appendTime(dst, b []byte, digits int) []byte {
	var packed int64 // seconds in three fields << 24 | microseconds, signed as a whole
	switch fractionSize(digits) {
	case 3:
		packed = int64(bigEndian(b[:6])) - 0x800000000000
	default:
		whole := int64(bigEndian(b[:3])) - 0x800000
		part := int64(bigEndian(b[3 : 3+fractionSize(digits)]))
		scale := int64(10000)
		full := int64(0x100)
		if fractionSize(digits) == 2 {
			scale, full = 100, 0x10000
		}
		if whole < 0 && part > 0 {
			whole++
			part -= full
		}
		packed = whole<<24 + part*scale
	}
	return appendPackedTime(dst, packed, digits)
}

// appendPackedTime appends a time in the server's packed form, which JSON has too.
func appendPackedTime(dst []byte, packed int64, digits int) []byte {
	if packed < 0 {
		dst = append(dst, '-')
		packed = -packed
	}
	hms := uint64(packed) >> 24
	hour := hms >> 12 & 0x3ff
	if hour > 99 {
		dst = append(dst, byte('0'+hour/100%10))
	}
	dst = appendHMS(dst, hour%100, hms>>6&63, hms&63)
	return appendFraction(dst, uint64(packed)&0xffffff, digits)
}

// appendDatetime appends a DATETIME(digits), with separator between date and time.
func appendDatetime(dst, b []byte, digits int, separator byte) []byte {
	packed := (int64(bigEndian(b[:5]))-0x8000000000)<<24 + fraction(b[5:], digits)
	return appendPackedDatetime(dst, packed, digits, separator)
}

// appendPackedDatetime appends a date and time in the server's packed form.
func appendPackedDatetime(dst []byte, packed int64, digits int, separator byte) []byte {
	if packed < 0 {
		packed = -packed
	}
	whole := uint64(packed) >> 24
	ymd, hms := whole>>17, whole&0x1ffff
	month := ymd >> 5
	dst = appendYMD(dst, month/13, month%13, ymd&31)
	dst = appendHMS(append(dst, separator), hms>>12, hms>>6&63, hms&63)
	return appendFraction(dst, uint64(packed)&0xffffff, digits)
}

// appendTimestamp appends a TIMESTAMP(digits) in UTC. The zero timestamp is no moment
// and has no Z.
func appendTimestamp(dst, b []byte, digits int) []byte {
	seconds := int64(bigEndian(b[:4]))
	micros := fraction(b[4:], digits)
	if seconds == 0 && micros == 0 {
		return appendFraction(append(dst, "0000-00-00T00:00:00"...), 0, digits)
	}
	days := seconds / 86400
	year, month, day := civil(days)
	dst = appendYMD(dst, uint64(year), uint64(month), uint64(day))
	s := uint64(seconds % 86400)
	dst = appendHMS(append(dst, 'T'), s/3600, s/60%60, s%60)
	return append(appendFraction(dst, uint64(micros), digits), 'Z')
}

// civil returns the date of a day counted from 1970-01-01.
func civil(days int64) (year int, month time.Month, day int) {
	// Years run from March here, so that the leap day is the last of its year; the
	// 400-year cycle has 146,097 days (the calendar algorithm of H. Hinnant).
	z := days + 719468
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = int(doy - (153*mp+2)/5 + 1)
	m := mp + 3
	if m > 12 {
		m -= 12
	}
	year = int(yoe + era*400)
	if m <= 2 {
		year++
	}
	return year, time.Month(m), day
}

// appendTemporalText appends the server's text of a DATETIME or TIMESTAMP
// (2026-03-04 13:14:15.123) in the stream's form.
func appendTemporalText(dst, text []byte, zone bool) []byte {
	zero := true
	for _, c := range text {
		if c == ' ' {
			c = 'T'
		} else if c >= '1' && c <= '9' {
			zero = false
		}
		dst = append(dst, c)
	}
	if zone && !zero {
		dst = append(dst, 'Z')
	}
	return dst
}
