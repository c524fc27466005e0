package sink_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// metered is a vendor with a quota for the day, of which others use some.
type metered struct {
	*sinktest.Vendor
	day, left atomic.Int64
	reserve   float64
}

func (m *metered) Limits(object string) sink.Limits {
	l := m.Vendor.Limits(object)
	l.Day, l.DayLeft, l.Reserve = int(m.day.Load()), int(m.left.Load()), m.reserve
	return l
}

func (m *metered) Push(ctx context.Context, object string, action sink.Action, changes []sink.Change) ([]sink.Result, error) {
	m.left.Add(-1)
	return m.Vendor.Push(ctx, object, action, changes)
}

func meteredBubble(t *testing.T, day, left int64, reserve float64, test func(p *plant, s *shop, m *metered)) {
	t.Helper()
	bubble(t, nil, func(t *testing.T, p *plant, s *shop, v *sinktest.Vendor) {
		p.stop()
		m := &metered{Vendor: v, reserve: reserve}
		m.day.Store(day)
		m.left.Store(left)
		p.app = m
		p.open()
		test(p, s, m)
	})
}

func TestQuotaIsForeseen(t *testing.T) {
	meteredBubble(t, 100_000, 50_000, 0, func(p *plant, s *shop, m *metered) {
		for i := range 60 { // 10,000 an hour, most of it by others
			s.begin()
			s.insert(customer(i))
			p.take(s, 100)
			p.settle()
			m.left.Add(-166)
			<-time.After(time.Minute)
		}
		a := p.engine.Status().Apps[0]
		if in := time.Until(a.QuotaEmpty); in < 3*time.Hour || in > 5*time.Hour {
			t.Errorf("empty in %s, want about 4 hours", in)
		}
		if len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "the day's quota of 100000 calls will be empty at ") {
			t.Errorf("warnings %q", a.Warnings)
		}
		m.left.Store(100_000) // midnight
		s.begin()
		s.insert(customer(100))
		p.take(s, 100)
		p.settle()
		if a := p.engine.Status().Apps[0]; !a.QuotaEmpty.IsZero() || len(a.Warnings) > 0 || a.QuotaLeft != 99_999 {
			t.Errorf("after the renewal: %+v", a)
		}
	})
}

func TestReserveIsLeftToOthers(t *testing.T) {
	meteredBubble(t, 1000, 105, 0.1, func(p *plant, s *shop, m *metered) {
		for i := range 20 {
			s.begin()
			s.insert(customer(i))
			p.take(s, 1)
			<-time.After(time.Second)
		}
		if left := m.left.Load(); left < 99 || left > 100 {
			t.Errorf("%d calls are left, want the reserve of 100, or one less to ask", left)
		}
		a := p.engine.Status().Apps[0]
		if a.State != "slowed" || !strings.Contains(a.Detail, "reserve") {
			t.Errorf("%+v", a)
		}
		m.left.Store(1000) // midnight; an answer tells
		<-time.After(16 * time.Minute)
		p.settle()
		if live := m.Live(); len(live) != 20 {
			t.Errorf("%d records", len(live))
		}
	})
}
