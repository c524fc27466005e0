package alert

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sure(string) bool { return true }

func guard(subject string) Condition {
	return Condition{Kind: "guard", Subject: subject, Summary: "held back", Since: noon}
}

// story runs observations, a minute apart, of the subjects that are wrong, and returns the queue.
func story(l *ledger, repeat time.Duration, minutes ...string) []string {
	for i, wrong := range minutes {
		var all []Condition
		for _, s := range strings.Fields(wrong) {
			all = append(all, guard(s))
		}
		l.observe(noon.Add(time.Duration(i)*time.Minute), repeat, all, sure)
	}
	out := []string{}
	for _, q := range l.Queue {
		out = append(out, q.Status+" "+q.Subject)
	}
	return out
}

func TestObserve(t *testing.T) {
	for _, c := range []struct {
		name    string
		minutes []string
		want    []string
	}{
		{"nothing", []string{"", ""}, []string{}},
		{"once while it lasts", []string{"a", "a", "a"}, []string{"firing a"}},
		{"over", []string{"a", "a", ""}, []string{"firing a", "resolved a"}},
		{"each for itself", []string{"a", "a b", "b", ""}, []string{"firing a", "firing b", "resolved a", "resolved b"}},
		{"back before the receiver knew that it was over", []string{"a", "", "a", "", "a"}, []string{"firing a"}},
		{"comes and goes while nobody listens", []string{"a", "", "a", "", "a", "", "a", ""}, []string{"firing a", "resolved a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, story(&ledger{}, time.Hour, c.minutes...)); diff != "" {
				t.Errorf("queue (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRepeat(t *testing.T) {
	var l ledger
	story(&l, 3*time.Minute, "a", "a", "a", "a", "a")
	if len(l.Queue) != 1 {
		t.Errorf("%d notices are queued for a receiver that is down, want 1", len(l.Queue))
	}
	l = ledger{}
	told := 0
	for i := range 10 {
		l.observe(noon.Add(time.Duration(i)*time.Minute), 3*time.Minute, []Condition{guard("a")}, sure)
		told += len(l.Queue)
		l.Queue = nil
	}
	if told != 4 { // at 0, 3, 6 and 9
		t.Errorf("told %d times in 10 minutes, want 4", told)
	}
}

// TestRestart writes and reads the file between any two steps: the notices are the same as without.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alert.json")
	minutes := []string{"a", "a b", "", "b", "b c", ""}
	var whole ledger
	want := story(&whole, time.Hour, minutes...)
	var got []string
	for i, wrong := range minutes {
		l, err := read(path)
		if err != nil {
			t.Fatal(err)
		}
		var all []Condition
		for _, s := range strings.Fields(wrong) {
			all = append(all, guard(s))
		}
		l.observe(noon.Add(time.Duration(i)*time.Minute), time.Hour, all, sure)
		if err := l.write(path); err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, q := range l.Queue {
			got = append(got, q.Status+" "+q.Subject)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("queue (-without +with restarts):\n%s", diff)
	}
}

// TestNotSure keeps what was told before the start, until it is known to be over or was seen.
func TestNotSure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alert.json")
	var l ledger
	l.observe(noon, time.Hour, []Condition{guard("a"), guard("b")}, sure)
	l.Queue = nil
	if err := l.write(path); err != nil {
		t.Fatal(err)
	}
	l, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	unsure := func(string) bool { return false }
	l.observe(noon.Add(time.Minute), time.Hour, []Condition{guard("a")}, unsure)
	if len(l.Queue) != 0 {
		t.Errorf("queue is %v, want none", l.Queue)
	}
	l.observe(noon.Add(2*time.Minute), time.Hour, nil, unsure) // a was seen since the start
	l.observe(noon.Add(3*time.Minute), time.Hour, nil, sure)
	got := []string{}
	for _, q := range l.Queue {
		got = append(got, fmt.Sprint(q.Status, " ", q.Subject, ": ", q.Summary))
	}
	want := []string{"resolved a: Over after 2m0s. It was: held back", "resolved b: Over after 3m0s. It was: held back"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("queue (-want +got):\n%s", diff)
	}
}
