package transform

import (
	"fmt"
	"time"
	_ "time/tzdata" // zones are known on machines without a zone database too
)

var timeFunctions = []*function{
	{
		name: "date_trunc", params: []param{{name: "unit", types: textType, constant: true}, {name: "time", types: setOf(date, timestamp, timestampTZ)}},
		result: func(args []*node) typ { return typ{base: args[1].typ.base} }, fails: []string{"bad_date"},
		bind: bindTrunc,
		doc:  "The beginning of the `year`, `quarter`, `month`, `week` (Monday), `day`, `hour`, `minute` or `second`; of a timestamptz in UTC.", examples: [][2]string{{`tostring(date_trunc("month", todate("2026-03-14")))`, `"2026-03-01"`}},
	},
	{
		name: "format_time", params: []param{{name: "time", types: setOf(date, timestamp, timestampTZ)}, {name: "layout", types: textType, constant: true}}, result: returns(text), fails: []string{"bad_date"},
		bind: func(args []*node) (callFunc, error) {
			l, err := parseLayout(args[1].val.s)
			if err != nil {
				return nil, badArg(1, "%s", err)
			}
			return func(w *Worker, a []value) value {
				n, ok := a[0].micros()
				if !ok || n == infinity || n == minusInfinity {
					return fail("bad_date")
				}
				start := len(w.buf)
				w.buf = l.format(w.buf, moment(n))
				return ofText(w.string(start))
			}, nil
		},
		doc: "The time as text, in the layout's form; of a timestamptz in UTC.", examples: [][2]string{{`format_time(todate("2026-03-14"), "%d.%m.%Y")`, `"14.03.2026"`}},
	},
	{
		name: "parse_time", params: []param{{name: "text", types: textType}, {name: "layout", types: textType, constant: true}}, fails: []string{"bad_time"},
		result: func(args []*node) typ {
			if l, err := parseLayout(args[1].val.s); err == nil && l.zoned {
				return typ{base: timestampTZ}
			}
			return typ{base: timestamp}
		},
		bind: func(args []*node) (callFunc, error) {
			l, err := parseLayout(args[1].val.s)
			if err != nil {
				return nil, badArg(1, "%s", err)
			}
			kind := timestamp
			if l.zoned {
				kind = timestampTZ
			}
			return func(_ *Worker, a []value) value {
				n, ok := l.parse(a[0].s)
				if !ok {
					return fail("bad_time")
				}
				return value{kind: kind, n: n}
			}, nil
		},
		doc: "The time that the text names: a timestamptz if the layout has `%z`, else a timestamp.", examples: [][2]string{{`tostring(parse_time("14/03/2026 09:05", "%d/%m/%Y %H:%M"))`, `"2026-03-14T09:05:00"`}},
	},
	{
		name: "to_tz", params: []param{{name: "time", types: setOf(timestamp, timestampTZ)}, {name: "zone", types: textType, constant: true}},
		result: func(args []*node) typ {
			if args[0].typ.base == timestamp {
				return typ{base: timestampTZ}
			}
			return typ{base: timestamp}
		}, fails: []string{"bad_date"},
		bind: func(args []*node) (callFunc, error) {
			zone, err := loadZone(args[1].val.s)
			if err != nil {
				return nil, err
			}
			return func(_ *Worker, a []value) value { return toTZ(a[0], zone) }, nil
		},
		doc: "A timestamp read as the zone's wall clock: a timestamptz. A timestamptz as the zone's wall clock: a timestamp. The same as SQL's AT TIME ZONE.", examples: [][2]string{{`tostring(to_tz(parse_time("2026-07-01 12:00", "%Y-%m-%d %H:%M"), "Europe/Berlin"))`, `"2026-07-01T10:00:00Z"`}},
	},
	{
		name: "unix_seconds", params: []param{{name: "time", types: setOf(timestampTZ)}}, result: returns(integer), fails: []string{"bad_date"},
		call: func(_ *Worker, a []value) value {
			n, ok := a[0].micros()
			if !ok || n == infinity || n == minusInfinity {
				return fail("bad_date")
			}
			return ofInt(floorDiv(n, microsPerSecond))
		},
		doc: "Whole seconds since 1970-01-01 in UTC.", examples: [][2]string{{`unix_seconds(parse_time("1970-01-02T00:00:00Z", "%Y-%m-%dT%H:%M:%S%z"))`, `86400`}},
	},
	{
		name: "date_add", params: []param{{name: "unit", types: textType, constant: true}, {name: "amount", types: intType}, {name: "time", types: setOf(date, timestamp, timestampTZ)}},
		result: func(args []*node) typ { return typ{base: args[2].typ.base} }, fails: []string{"bad_date", "overflow"},
		bind: bindAdd,
		doc:  "The time so many units later, earlier where `amount` is negative. Units are those of date_trunc, of a date `day` and above. A day that the month does not have becomes its last (31 January and a month is 28 or 29 February); of a timestamptz in UTC.", examples: [][2]string{{`tostring(date_add("month", 1, todate("2026-01-31")))`, `"2026-02-28"`}, {`tostring(date_add("day", -1, todate("2026-03-01")))`, `"2026-02-28"`}},
	},
	{
		name: "age_days", params: []param{{name: "time", types: setOf(date, timestamp, timestampTZ)}}, result: returns(integer), fails: []string{"bad_date"}, reads: true,
		call: func(w *Worker, a []value) value {
			n, ok := a[0].micros()
			if !ok || n == infinity || n == minusInfinity {
				return fail("bad_date")
			}
			now := w.event.CommitTime.UnixMicro()
			if a[0].kind == date {
				now = floorDiv(now, microsPerDay) * microsPerDay
			}
			return ofInt(floorDiv(now-n, microsPerDay))
		},
		doc: "Whole days from the time to `meta.now`, the time of the change at the source; negative where it lies ahead. A timestamp is read as UTC.", examples: [][2]string{{`age_days(meta.now)`, `0`}, {`age_days(date_add("day", -30, meta.now))`, `30`}},
	},
}

// loadZone finds the zone that is the second argument of a function.
func loadZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, badArg(1, "%q is not a zone of the IANA database, such as Europe/Berlin", name)
	}
	return zone, nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func bindTrunc(args []*node) (callFunc, error) {
	unit := args[0].val.s
	switch unit {
	case "year", "quarter", "month", "week", "day", "hour", "minute", "second":
	default:
		return nil, badArg(0, "there is no unit %q. %s", unit, didYouMean(unit, []string{"year", "quarter", "month", "week", "day", "hour", "minute", "second"}))
	}
	return func(_ *Worker, a []value) value {
		n, ok := a[1].micros()
		if !ok {
			return fail("bad_date")
		}
		if n == infinity || n == minusInfinity {
			return a[1]
		}
		return value{kind: a[1].kind, n: truncate(n, unit)}
	}, nil
}

// units has how many months or microseconds a unit is.
var units = map[string]struct{ months, micros int64 }{
	"year": {months: 12}, "quarter": {months: 3}, "month": {months: 1}, "week": {micros: 7 * microsPerDay}, "day": {micros: microsPerDay},
	"hour": {micros: 3600 * microsPerSecond}, "minute": {micros: 60 * microsPerSecond}, "second": {micros: microsPerSecond},
}

func bindAdd(args []*node) (callFunc, error) {
	name := args[0].val.s
	unit, ok := units[name]
	switch {
	case !ok:
		return nil, badArg(0, "there is no unit %q. %s", name, didYouMean(name, keysOf(units)))
	case args[2].typ.base == date && unit.months == 0 && unit.micros < microsPerDay:
		return nil, badArg(0, "a date has no %ss", name)
	}
	return func(_ *Worker, a []value) value {
		amount, ok := a[1].int()
		n, ok2 := a[2].micros()
		switch {
		case !ok || !ok2:
			return fail("bad_date")
		case n == infinity || n == minusInfinity:
			return a[2]
		case amount > 10_000_000_000 || amount < -10_000_000_000:
			return fail("overflow")
		case unit.months == 0:
			step := mulInt(amount, unit.micros)
			if step.kind == failed {
				return step
			}
			if step = intOp(opAdd, ofInt(n), step); step.kind == failed {
				return step
			}
			n = step.n
		default:
			t := moment(n)
			months := int64(t.Year())*12 + int64(t.Month()) - 1 + amount*unit.months
			year, month := floorDiv(months, 12), int(months-floorDiv(months, 12)*12)+1
			if year > 290_000 || year < -290_000 {
				return fail("overflow")
			}
			rest := n - floorDiv(n, microsPerDay)*microsPerDay
			n = daysOf(int(year), month, min(t.Day(), daysIn(int(year), month)))*microsPerDay + rest
		}
		if year := moment(n).Year(); year > 290_000 || year < -290_000 {
			return fail("overflow")
		}
		return value{kind: a[2].kind, n: n}
	}, nil
}

func truncate(n int64, unit string) int64 {
	year, month, day := moment(n).Date()
	switch unit {
	case "year":
		month, day = 1, 1
	case "quarter":
		month, day = (month-1)/3*3+1, 1
	case "month":
		day = 1
	case "week":
		days := floorDiv(n, microsPerDay)
		return (days - (((days+3)%7)+7)%7) * microsPerDay // 1970-01-01 was a Thursday
	case "day":
	case "hour":
		return floorDiv(n, 3600*microsPerSecond) * 3600 * microsPerSecond
	case "minute":
		return floorDiv(n, 60*microsPerSecond) * 60 * microsPerSecond
	case "second":
		return floorDiv(n, microsPerSecond) * microsPerSecond
	}
	return daysOf(year, int(month), day) * microsPerDay
}

// toTZ is SQL's AT TIME ZONE. A wall clock's time that comes twice or never in the
// zone is what Go makes of it.
func toTZ(v value, zone *time.Location) value {
	n, ok := v.micros()
	if !ok {
		return fail("bad_date")
	}
	to := timestamp
	if v.kind == timestamp {
		to = timestampTZ
	}
	if n == infinity || n == minusInfinity {
		return value{kind: to, n: n}
	}
	t := moment(n)
	if v.kind == timestampTZ {
		_, offset := t.In(zone).Zone()
		return value{kind: to, n: n + int64(offset)*microsPerSecond}
	}
	return value{kind: to, n: time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone).UnixMicro()}
}

// layout is a form of time in strftime's letters.
type layout struct {
	parts []layoutPart
	zoned bool
}

type layoutPart struct {
	letter byte   // 0: literal
	text   string // literal
}

const layoutLetters = "Y m d H M S f z y b B a A j p I e %"

func parseLayout(s string) (*layout, error) {
	l := &layout{}
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			if n := len(l.parts); n > 0 && l.parts[n-1].letter == 0 {
				l.parts[n-1].text += s[i : i+1]
			} else {
				l.parts = append(l.parts, layoutPart{text: s[i : i+1]})
			}
			continue
		}
		i++
		if i == len(s) || s[i] == ' ' || !contains([]string{"Y", "m", "d", "H", "M", "S", "f", "z", "y", "b", "B", "a", "A", "j", "p", "I", "e", "%"}, s[i:i+1]) {
			return nil, fmt.Errorf("the layout has letters of strftime after %%: %s", layoutLetters)
		}
		l.zoned = l.zoned || s[i] == 'z'
		l.parts = append(l.parts, layoutPart{letter: s[i]})
	}
	return l, nil
}

func (l *layout) format(dst []byte, t time.Time) []byte {
	for _, p := range l.parts {
		switch p.letter {
		case 0:
			dst = append(dst, p.text...)
		case 'Y':
			dst = t.AppendFormat(dst, "2006")
		case 'y':
			dst = appendPadded(dst, ((t.Year()%100)+100)%100, 2)
		case 'm':
			dst = appendPadded(dst, int(t.Month()), 2)
		case 'd':
			dst = appendPadded(dst, t.Day(), 2)
		case 'e':
			dst = appendPadded(dst, t.Day(), 1)
		case 'H':
			dst = appendPadded(dst, t.Hour(), 2)
		case 'I':
			dst = appendPadded(dst, (t.Hour()+11)%12+1, 2)
		case 'p':
			dst = t.AppendFormat(dst, "PM")
		case 'M':
			dst = appendPadded(dst, t.Minute(), 2)
		case 'S':
			dst = appendPadded(dst, t.Second(), 2)
		case 'f':
			dst = appendPadded(dst, t.Nanosecond()/1000, 6)
		case 'z':
			dst = append(dst, 'Z')
		case 'b':
			dst = t.AppendFormat(dst, "Jan")
		case 'B':
			dst = t.AppendFormat(dst, "January")
		case 'a':
			dst = t.AppendFormat(dst, "Mon")
		case 'A':
			dst = t.AppendFormat(dst, "Monday")
		case 'j':
			dst = appendPadded(dst, t.YearDay(), 3)
		case '%':
			dst = append(dst, '%')
		}
	}
	return dst
}
