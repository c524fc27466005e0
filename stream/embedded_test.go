package stream_test

import (
	"path/filepath"
	"testing"

	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/stream/streamtest"
)

func openEmbedded(tb testing.TB, opts stream.EmbeddedOptions) *stream.Embedded {
	tb.Helper()
	e, err := stream.OpenEmbedded(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestEmbedded(t *testing.T) {
	streamtest.Run(t, func(tb testing.TB) streamtest.Open {
		path := filepath.Join(tb.TempDir(), "stream.db")
		return func() stream.Log { return openEmbedded(tb, stream.EmbeddedOptions{Path: path, Partitions: 3}) }
	})
}
