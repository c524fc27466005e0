package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
	"github.com/hashicorp/hcl/v2"
)

// Schedule says when a pipeline sends; nil: at once.
type Schedule struct {
	Every time.Duration // of every(); 0: it is a cron()
	Cron  string
	Zone  *time.Location
	text  string
}

// String is the schedule as it is written.
func (s *Schedule) String() string { return s.text }

// leastEvery is the shortest interval of every().
const leastEvery = time.Second

// Every makes a schedule of an interval: its ticks are multiples of it since the beginning of the year 1, in UTC, so that
// they do not move when the process starts anew.
func Every(text string) (*Schedule, error) {
	d, err := ParseDuration(text)
	if err == nil && d < leastEvery {
		err = fmt.Errorf("%q is too short: at least \"1s\"", text)
	}
	return &Schedule{Every: d, text: fmt.Sprintf("every(%q)", text)}, err
}

// Cron makes a schedule of a cron expression with five fields, by the clock of a zone.
func Cron(expr, zone string) (*Schedule, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return nil, fmt.Errorf("%q is not a time zone: write a name such as \"Europe/Berlin\" or \"UTC\"", zone)
	}
	if len(strings.Fields(expr)) != 5 || !gronx.IsValid(expr) {
		return nil, fmt.Errorf("%q is not a cron expression: write minute, hour, day of month, month and day of week, such as \"30 2 * * *\"", expr)
	}
	s := &Schedule{Cron: expr, Zone: loc, text: fmt.Sprintf("cron(%q, %q)", expr, zone)}
	if s.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("%q never comes: no month has such a day", expr)
	}
	return s, nil
}

// Next returns the first tick after a moment, zero for none.
//
// A cron expression whose hour is fixed ticks once a day where the clock is changed: a time that does not exist is the
// moment at which the clock was put forward, and of a time that comes twice only the first counts. One whose hour starts
// with * ticks by the time that passes: in both hours that have one name, and in none that is left out.
func (s *Schedule) Next(after time.Time) time.Time {
	if s.Every > 0 {
		return after.Truncate(s.Every).Add(s.Every)
	}
	if strings.HasPrefix(strings.Fields(s.Cron)[1], "*") {
		return s.passing(after.In(s.Zone))
	}
	for clock := wall(after.In(s.Zone)); ; {
		next, ok := s.tick(clock, false)
		if !ok {
			return time.Time{}
		}
		if t := moment(next, s.Zone); t.After(after) {
			return t
		}
		clock = next
	}
}

// passing is Next for ticks that follow the time that passes.
func (s *Schedule) passing(after time.Time) time.Time {
	for including := false; ; including = true {
		next, ok := s.tick(wall(after), including)
		if !ok {
			return time.Time{}
		}
		_, offset := after.Zone()
		t := next.Add(-time.Duration(offset) * time.Second)
		if _, end := after.ZoneBounds(); end.IsZero() || t.Before(end) {
			return t.In(s.Zone)
		} else {
			after = end.In(s.Zone)
		}
	}
}

// tick returns the next clock time of the expression; clock times are written as if in UTC.
func (s *Schedule) tick(clock time.Time, including bool) (time.Time, bool) {
	if clock.Second() != 0 || clock.Nanosecond() != 0 {
		clock, including = clock.Truncate(time.Minute), false
	}
	next, err := gronx.NextTickAfter(s.Cron, clock, including)
	return next, err == nil
}

// wall is what the clock shows, as if in UTC.
func wall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// moment is when a clock shows a time first; for one that it never shows, when it was put forward over it.
func moment(clock time.Time, zone *time.Location) time.Time {
	t := time.Date(clock.Year(), clock.Month(), clock.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, zone)
	start, end := t.ZoneBounds()
	if !wall(t).Equal(clock) {
		if wall(t).After(clock) { // taken with the offset before: it is after the change
			return start
		}
		return end
	}
	if !start.IsZero() {
		_, offset := start.Add(-1).Zone()
		if first := clock.Add(-time.Duration(offset) * time.Second); first.Before(start) {
			return first.In(zone)
		}
	}
	return t
}

func decodeRun(attr *hcl.Attribute, ctx *hcl.EvalContext) (*Schedule, hcl.Diagnostics) {
	rng := attr.Expr.Range()
	call, diags := hcl.ExprCall(attr.Expr)
	if diags.HasErrors() {
		return nil, hcl.Diagnostics{Errorf("E0107", &rng, "run says when", `Write run = live(), every("15m") or cron("30 2 * * *", "Europe/Berlin").`)}
	}
	forms := map[string]string{"live": "live()", "every": `every("15m")`, "cron": `cron("30 2 * * *", "Europe/Berlin")`}
	takes := map[string]int{"live": 0, "every": 1, "cron": 2}
	n, known := takes[call.Name]
	if !known {
		return nil, hcl.Diagnostics{unknown(&call.NameRange, "schedule", call.Name, []string{"live", "every", "cron"})}
	}
	if len(call.Arguments) != n {
		return nil, hcl.Diagnostics{Errorf("E0107", &rng, fmt.Sprintf("%s() takes %d arguments", call.Name, n), fmt.Sprintf("Write run = %s.", forms[call.Name]))}
	}
	texts := make([]string, n)
	for i, arg := range call.Arguments {
		text, ok, ds := constant(arg, ctx)
		if ds.HasErrors() {
			return nil, ds
		}
		if !ok {
			return nil, hcl.Diagnostics{badSetting(arg.Range(), fmt.Errorf("write run = %s", forms[call.Name]))}
		}
		texts[i] = text
	}
	var s *Schedule
	var err error
	switch call.Name {
	case "live":
		return nil, nil
	case "every":
		s, err = Every(texts[0])
	default:
		s, err = Cron(texts[0], texts[1])
	}
	if err != nil {
		return nil, hcl.Diagnostics{badSetting(rng, err)}
	}
	return s, nil
}
