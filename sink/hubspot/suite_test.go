package hubspot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/simulator"
	lookalike "github.com/penstock-cdc/penstock/simulator/hubspot"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// parents are the objects with which records are associated in the suite.
var parents = map[string]string{"deals": "contacts", "companies": "contacts", "machines": "contacts"}

// suite runs the suite of all apps on an object whose key is key.
func suite(t *testing.T, object, key, text string, bad sink.Field) {
	sinktest.Run(t, func(t *testing.T) sinktest.Case {
		a := open(t, "", simulator.Options{Data: strings.NewReader(properties + machines)}, lookalike.ShuffleResults(1))
		return sinktest.Case{App: a.app, Object: object, Key: key, Text: text, Bad: bad, Parent: parents[object], ParentKey: "shop_id", Fail: func(f sinktest.Fault) {
			switch f {
			case sinktest.Busy:
				a.fault(t, simulator.Fault{Kind: "status", Status: 429, RetryAfter: simulator.Duration(time.Second), Calls: 1})
			case sinktest.Halted:
				a.fault(t, simulator.Fault{Kind: "status", Status: 401})
			case sinktest.Drop:
				a.fault(t, simulator.Fault{Kind: "drop", Calls: 1})
			case sinktest.DropAfter:
				a.fault(t, simulator.Fault{Kind: "drop_after_commit", Calls: 1})
			default:
				t.Fatalf("the suite asks for fault %d, which this test cannot make", f)
			}
		}}
	})
}

func TestSuite(t *testing.T) {
	t.Run("contacts", func(t *testing.T) {
		suite(t, "contacts", "shop_id", "firstname", sink.Field{Name: "email", Value: change.OfString("nobody")})
	})
	t.Run("companies", func(t *testing.T) {
		suite(t, "companies", "erp_id", "name", sink.Field{Name: "annualrevenue", Value: change.OfString("much")})
	})
	t.Run("deals", func(t *testing.T) {
		suite(t, "deals", "erp_id", "dealname", sink.Field{Name: "dealstage", Value: change.OfString("dreaming")})
	})
	t.Run("custom objects", func(t *testing.T) {
		suite(t, "machines", "serial", "model", sink.Field{Name: "weight", Value: change.OfString("heavy")})
	})
}
