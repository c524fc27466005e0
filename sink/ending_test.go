package sink_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// lastRead is a vendor whose first answer to a read comes when the process that asked has no time left.
type lastRead struct {
	*sinktest.Vendor
	end func() // nil: it has come
}

func (l *lastRead) Read(ctx context.Context, object, field string, values, fields []string) ([]sink.Record, error) {
	found, err := l.Vendor.Read(ctx, object, field, values, fields)
	if end := l.end; end != nil {
		l.end = nil
		go end()
		<-ctx.Done()
	}
	return found, err
}

// A create is not answered and its row gets another key; the process ends as it is told that the record is there.
func TestProcessEndsAsItLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor()
		v.SetFault(func(call int, _ sink.Action, _ []sink.Change) sinktest.Fault {
			if call == 1 {
				return sinktest.DropAfter
			}
			return sinktest.None
		})
		p, s := newPlant(t, v, 1, nil), newShop(1)
		stopped := make(chan bool)
		p.app = &lastRead{v, func() {
			p.stop()
			close(stopped)
		}}
		p.open()
		defer func() { p.stop() }()
		s.begin()
		s.insert(customer(1))
		p.take(s, 100)
		<-time.After(time.Millisecond)
		if calls, _ := v.Calls(); calls != 1 {
			t.Fatalf("%d calls were made, want one", calls)
		}
		s.begin()
		s.rekey(customer(1), row(2, "c1@x.test", "C", "pro", 2, 1))
		p.take(s, 100)
		<-stopped
		p.open()
		p.take(s, 100)
		p.settle()
		if live := v.Live(); len(live) != 1 || live["2"]["ident"] != "1" {
			t.Errorf("the app has %v, want one record under the new key", live)
		}
	})
}
