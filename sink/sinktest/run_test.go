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

func TestAccount(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Case {
		a := sinktest.NewAccount(sink.Limits{Batch: 10, Read: 10, Associate: 10}, map[string]*sinktest.Vendor{"o": sinktest.NewVendor("k", sink.Limits{}), "p": sinktest.NewVendor("pk", sink.Limits{})})
		return sinktest.Case{App: a, Object: "o", Key: "k", Text: "t", Parent: "p", ParentKey: "pk", Fail: func(f sinktest.Fault) {
			failed := map[string]bool{}
			once := func(what string) sinktest.Fault {
				if failed[what] {
					return sinktest.None
				}
				failed[what] = true
				return f
			}
			a.Objects["o"].SetFault(func(int, sink.Action, []sink.Change) sinktest.Fault { return once("push") })
			a.SetFault(func(int, sink.Associations) sinktest.Fault { return once("associate") })
		}}
	})
}
