package sink_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
	"github.com/penstock-cdc/penstock/state"
)

func TestQuarantineIsBounded(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, _ *sinktest.Vendor) {
		p.stop()
		p.bounds = sink.QuarantineOptions{Records: 2, Age: 24 * time.Hour}
		p.open()
		s.begin()
		for id := range 5 {
			s.insert(row(id, "", "N", "pro", 1, id))
		}
		p.take(s, 100)
		left := func() (ids []string) {
			if err := p.engine.Quarantined(t.Context(), sink.QuarantineFilter{}, func(_ string, q *state.Quarantine) error {
				ids = append(ids, string(q.Key))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return ids
		}
		<-time.After(2 * time.Minute)
		if got := left(); len(got) != 2 || got[0] != `{"id":3}` {
			t.Errorf("left: %q, want the newest two", got)
		}
		if l := p.ledger(); l.Rejected != 5 || l.Dropped != 3 {
			t.Errorf("ledger %+v", l)
		}
		if st := p.engine.Status().Pipelines[0]; !strings.Contains(st.Expired, "3 entries of the quarantine were dropped: more than 2") {
			t.Errorf("status says %q", st.Expired)
		}
		<-time.After(25 * time.Hour)
		if got := left(); len(got) != 0 {
			t.Errorf("left after a day: %q", got)
		}
		if err := p.engine.Recount(t.Context(), "crm"); err != nil {
			t.Error(err)
		}
	})
}

func TestDropSaysWhy(t *testing.T) {
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, _ *sinktest.Vendor) {
		p.fill(s, 1)
		s.begin()
		s.update(row(1, "", "N", "pro", 2, 1))
		p.take(s, 100)
		if err := p.engine.Drop(t.Context(), "crm", 1, "test account"); err != nil {
			t.Fatal(err)
		}
		var notes []string
		if _, err := p.engine.History(t.Context(), "crm", key(1), 10, func(c sink.RecordChange) error {
			notes = append(notes, c.Kind.String()+" "+c.Note)
			return nil
		}); err != nil || notes[0] != "dropped test account" {
			t.Errorf("%q, %v", notes, err)
		}
		var gone *sink.EntryError
		if err := p.engine.Drop(t.Context(), "crm", 1, ""); !errors.As(err, &gone) {
			t.Errorf("again: %v", err)
		}
	})
}
