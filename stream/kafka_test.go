package stream_test

import (
	"testing"

	"github.com/penstock-cdc/penstock/integration/service"
	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/stream/streamtest"
)

func openKafka(tb testing.TB, opts stream.KafkaOptions) *stream.Kafka {
	tb.Helper()
	if opts.Brokers == nil {
		opts.Brokers = []string{service.Shared(tb, "kafka").Addr}
	}
	k, err := stream.OpenKafka(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestKafka(t *testing.T) {
	service.Shared(t, "kafka")
	streamtest.Run(t, func(tb testing.TB) streamtest.Open {
		return func() stream.Log { return openKafka(tb, stream.KafkaOptions{Partitions: 3}) }
	})
}
