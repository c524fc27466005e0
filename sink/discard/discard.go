// Package discard is an app that accepts everything and keeps nothing: for measuring
// what all but the app costs. A record's id is its key's value; there is nothing to
// read back.
package discard

import (
	"context"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// Config is an app "discard" block: it has no settings.
type Config struct{}

// Decode reads an app block's body. It has no side effects.
func Decode(body hcl.Body, ctx *hcl.EvalContext) (*Config, hcl.Diagnostics) {
	c := &Config{}
	diags := gohcl.DecodeBody(body, ctx, c)
	if diags.HasErrors() {
		return nil, diags
	}
	return c, diags
}

type app struct{}

// Open makes the app; it has no use for what it is given.
func Open(*Config, string, rest.Env) (sink.App, error) { return app{}, nil }

// Limits are those of no app: 1,000 records a batch, no pace.
func (app) Limits(string) sink.Limits {
	return sink.Limits{Batch: 1000, Read: 1000, Associate: 1000, Concurrent: 4}
}

// Push takes every change. An upsert is never said to have created anything: nothing
// tells the first from the next.
func (app) Push(_ context.Context, _ string, _ sink.Action, changes []sink.Change) ([]sink.Result, error) {
	results := make([]sink.Result, len(changes))
	for i := range changes {
		results[i].AppID = changes[i].AppID
		if results[i].AppID == "" {
			results[i].AppID = changes[i].Key.Value.Text()
		}
	}
	return results, nil
}

// Associate takes every pair.
func (app) Associate(_ context.Context, a sink.Associations) ([]error, error) {
	return make([]error, len(a.Pairs)), nil
}

// Ping always succeeds.
func (app) Ping(context.Context) error { return nil }

var (
	_ sink.App        = app{}
	_ sink.Associator = app{}
)
