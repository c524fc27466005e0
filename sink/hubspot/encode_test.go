package hubspot

import (
	"strconv"
	"testing"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
)

func BenchmarkEncode100(b *testing.B) {
	changes := make([]sink.Change, 100)
	for i := range changes {
		changes[i] = sink.Change{Ref: strconv.Itoa(i), Key: sink.Field{Name: "shop_id", Value: change.OfInt(int64(i))}, Fields: []sink.Field{
			{Name: "email", Value: change.OfString("person@example.com")},
			{Name: "firstname", Value: change.OfString("Ada \"A\"")},
			{Name: "mrr", Value: change.Of(change.Decimal, "12.50")},
			{Name: "vip", Value: change.OfBool(true)},
			{Name: "seen", Value: change.Of(change.TimestampTZ, "2026-03-04T13:14:15.123456Z")},
			{Name: "city"},
		}}
	}
	b.ReportAllocs()
	for b.Loop() {
		batch := batch{object: "contacts", changes: changes, results: make([]sink.Result, len(changes))}
		if body := batch.encode(appendUpsert); len(body) < 100 || batch.sent != 100 {
			b.Fatal("body is wrong")
		}
	}
}
