package sinktest_test

import (
	"testing"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

func TestVendor(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Case {
		v := sinktest.NewVendor("k", sink.Limits{Batch: 10, Read: 10})
		v.Poison = func(c sink.Change) bool { return len(c.Fields) > 0 && c.Fields[0].Value.Text() == "poison" }
		return sinktest.Case{App: v, Object: "o", Key: "k", Text: "t", Bad: sink.Field{Name: "t", Value: change.OfString("poison")}, Fail: func(f sinktest.Fault) {
			failed := false
			v.SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault {
				if failed {
					return sinktest.None
				}
				failed = true
				return f
			})
		}}
	})
}
