package config_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the machine may have no zones

	"github.com/penstock-cdc/penstock/config"
)

// Where clocks are changed: Berlin on 2026-03-29 from 02:00 to 03:00 and on 2026-10-25 from 03:00 back to 02:00, New York on
// 2026-03-08 and 2026-11-01, Lord Howe by half an hour (IANA time zone database).
func TestCronNext(t *testing.T) {
	for _, c := range []struct {
		name, expr, zone, after string
		want                    []string
	}{
		{"every night", "30 2 * * *", "Europe/Berlin", "2026-06-01T02:30:00+02:00", []string{"2026-06-02T02:30:00+02:00", "2026-06-03T02:30:00+02:00"}},
		{"a time that does not exist", "30 2 * * *", "Europe/Berlin", "2026-03-28T02:30:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"two times that do not exist are one", "0,30 2 * * *", "Europe/Berlin", "2026-03-28T02:30:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"a time that comes twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T02:30:00+02:00", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"after the first of it", "30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", []string{"2026-10-26T02:30:00+01:00"}},
		{"every quarter of the hour that is left out", "*/15 * * * *", "Europe/Berlin", "2026-03-29T01:30:00+01:00", []string{"2026-03-29T01:45:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00"}},
		{"every half of the hour that comes twice", "*/30 * * * *", "Europe/Berlin", "2026-10-25T02:00:00+02:00",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"New York", "15 2 * * 0", "America/New_York", "2026-03-01T02:15:00-05:00", []string{"2026-03-08T03:00:00-04:00", "2026-03-15T02:15:00-04:00"}},
		{"New York, twice", "15 1 * * *", "America/New_York", "2026-10-31T01:15:00-04:00", []string{"2026-11-01T01:15:00-04:00", "2026-11-02T01:15:00-05:00"}},
		{"half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T02:15:00+10:30", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"a leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		{"within a minute", "30 2 * * *", "UTC", "2026-01-01T02:29:59.5Z", []string{"2026-01-01T02:30:00Z"}},
		{"just after", "30 2 * * *", "UTC", "2026-01-01T02:30:00.5Z", []string{"2026-01-02T02:30:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := config.Cron(c.expr, c.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				at = s.Next(at)
				if got := at.Format(time.RFC3339); got != want {
					t.Fatalf("got %s, want %s", got, want)
				}
			}
		})
	}
}

func TestEveryNext(t *testing.T) {
	s, err := config.Every("15m")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 10, 7, 3, 0, time.UTC)
	for _, want := range []string{"10:15:00", "10:30:00"} {
		if at = s.Next(at); at.Format(time.TimeOnly) != want {
			t.Errorf("got %s, want %s", at.Format(time.TimeOnly), want)
		}
	}
}

func TestSchedulesRefused(t *testing.T) {
	for _, c := range [][2]string{{"30 2 * *", "UTC"}, {"61 2 * * *", "UTC"}, {"0 0 30 2 *", "UTC"}, {"0 30 2 * * *", "UTC"}, {"30 2 * * *", "Berlin"}, {"30 2 * * *", ""}} {
		if s, err := config.Cron(c[0], c[1]); err == nil {
			t.Errorf("cron(%q, %q) is taken: %v", c[0], c[1], s)
		}
	}
	for _, c := range []string{"0s", "10ms", "often", "-5m"} {
		if s, err := config.Every(c); err == nil {
			t.Errorf("every(%q) is taken: %v", c, s)
		}
	}
}
