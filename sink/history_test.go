package sink_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

// told returns a record's history as lines, oldest first.
func (p *plant) told(id int) []string {
	p.t.Helper()
	var out []string
	found, err := p.engine.History(p.t.Context(), "crm", fmt.Appendf(nil, `{"id":%d}`, id), 100, func(c sink.RecordChange) error {
		line := c.Kind.String()
		for _, f := range c.Fields {
			text := func(v interface {
				IsUnchanged() bool
				Text() string
			}) string {
				if v.IsUnchanged() {
					return "?"
				}
				return v.Text()
			}
			line += " " + f.Name + ":" + text(f.Old) + ">" + text(f.New)
		}
		out = append(out, line)
		return nil
	})
	if err != nil || !found {
		p.t.Fatalf("history of %d: found %v, %v", id, found, err)
	}
	slices.Reverse(out)
	return out
}

func (p *plant) wantHistory(id int, want ...string) {
	p.t.Helper()
	if got := p.told(id); !slices.Equal(got, want) {
		p.t.Errorf("history of %d:\n%s\nwant:\n%s", id, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHistoryTellsEachChange(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.fill(s, 3)
		for _, name := range []string{"New", "New", "Newer"} { // the second changes nothing
			s.begin()
			s.update(row(1, "c1@x.test", name, "pro", 1, 1))
			p.take(s, 100)
			p.settle()
		}
		p.stop()
		p.open()
		s.begin()
		s.delete(customer(1))
		p.take(s, 100)
		p.settle()
		p.wantHistory(1,
			"created source_id:?>1 email:?>c1@x.test name:?>C ver:?>1 ident:?>1 stage:?>lead",
			"updated name:C>New", "updated name:New>Newer",
			"archived source_id:1>? email:c1@x.test>? name:Newer>? ver:1>? ident:1>? stage:lead>?")
		// A call with no answer is told, and what settles it.
		v.SetFault(func(call int, _ sink.Action, _ []sink.Change) sinktest.Fault {
			v.Fault = nil
			return sinktest.DropAfter
		})
		s.begin()
		s.update(row(2, "c2@x.test", "Lost", "pro", 1, 2))
		p.take(s, 100)
		p.settle()
		if got := p.told(2); len(got) != 3 || got[1] != "unanswered name:C>Lost" || !strings.HasPrefix(got[2], "updated name:?>Lost") {
			t.Errorf("%q", got)
		}
		n := 0
		if err := p.engine.Changes(t.Context(), "crm", 4, func(c sink.RecordChange) error {
			if n++; n == 4 && c.Kind != state.Updated {
				t.Errorf("the fourth last change is %+v", c)
			}
			return nil
		}); err != nil || n != 4 {
			t.Errorf("%d changes, %v", n, err)
		}
	})
}

func TestHistoryIsTrimmed(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, _ *sinktest.Vendor) {
		p.fill(s, 2)
		<-time.After(23 * time.Hour)
		s.begin()
		s.update(row(1, "c1@x.test", "New", "pro", 1, 1))
		p.take(s, 100)
		p.settle()
		<-time.After(2 * time.Hour) // it is kept for a day here
		p.wantHistory(1, "updated name:C>New")
		p.wantHistory(2)
		<-time.After(24 * time.Hour)
		p.wantHistory(1)
		p.stop()
		p.open()
		for i := range 3 { // IDs begin anew: what is left of old chains leads nowhere
			s.begin()
			s.update(row(2, "c2@x.test", "Name "+itoa(i), "pro", 1, 2))
			p.take(s, 100)
			p.settle()
		}
		p.wantHistory(1)
		if got := p.told(2); len(got) != 3 {
			t.Errorf("%q", got)
		}
	})
}
