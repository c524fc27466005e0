package discard_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/discard"
	"github.com/penstock-cdc/penstock/sink/rest"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

func TestPushTakesEverything(t *testing.T) {
	app := open(t)
	changes := []sink.Change{
		{Ref: "1", Key: sink.Field{Name: "id", Value: change.OfInt(7)}},
		{Ref: "2", AppID: "known", Key: sink.Field{Name: "id", Value: change.OfInt(8)}},
	}
	for _, action := range []sink.Action{sink.Upsert, sink.Update, sink.Archive, sink.Remove} {
		got, err := app.Push(t.Context(), "things", action, changes)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]sink.Result{{AppID: "7"}, {AppID: "known"}}, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", action, diff)
		}
	}
	if got := app.Limits("things").Batch; got != 1000 {
		t.Errorf("batch is %d, want 1000", got)
	}
	if err := app.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSuite(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Case {
		return sinktest.Case{App: open(t), Object: "things", Key: "id", Text: "name"}
	})
}

func TestDecodeRefusesSettings(t *testing.T) {
	if _, diags := discard.Decode(body(t, `token = "x"`), nil); !diags.HasErrors() {
		t.Error("a token was accepted")
	}
}

func open(t *testing.T) sink.App {
	t.Helper()
	c, diags := discard.Decode(body(t, ""), nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	app, err := discard.Open(c, "null", rest.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func body(t *testing.T, text string) hcl.Body {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(text), "app.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return f.Body
}

func BenchmarkPush(b *testing.B) {
	app, _ := discard.Open(nil, "null", rest.Env{})
	changes := make([]sink.Change, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := app.Push(b.Context(), "things", sink.Upsert, changes); err != nil {
			b.Fatal(err)
		}
	}
}
