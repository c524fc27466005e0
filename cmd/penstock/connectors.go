package main

import (
	"context"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/mysql"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/simulator"
	simhubspot "github.com/penstock-cdc/penstock/simulator/hubspot"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/discard"
	"github.com/penstock-cdc/penstock/sink/hubspot"
)

// database is what commands need of a source beyond capture.Source.
type database interface {
	capture.Source
	// Identity is what the encoder writes into each event.
	Identity(version string) change.Source
	// Describe returns the schemas that the captured tables have now.
	Describe(ctx context.Context) ([]*change.Table, error)
	// TableAliases maps the labels of table blocks to the tables' names.
	TableAliases() map[string]string
}

// sources has a line for each kind of source block.
var sources = map[string]func(body hcl.Body, ctx *hcl.EvalContext, name string) (database, hcl.Diagnostics){
	"postgres": connector(postgres.Decode, func(cfg *postgres.Config, name string) (database, error) { return postgres.Open(cfg, name) }),
	"mysql":    connector(mysql.Decode, func(cfg *mysql.Config, name string) (database, error) { return mysql.Open(cfg, name) }),
}

// apps has a line for each kind of app block.
var apps = map[string]func(body hcl.Body, ctx *hcl.EvalContext, name string) (sink.App, hcl.Diagnostics){
	"hubspot": connector(hubspot.Decode, func(cfg *hubspot.Config, name string) (sink.App, error) { return hubspot.Open(cfg, name) }),
	"discard": connector(discard.Decode, func(cfg *discard.Config, name string) (sink.App, error) { return discard.Open(cfg, name) }),
}

// simulators has a line for each app that `penstock simulate` knows.
var simulators = map[string]func() simulator.App{
	"hubspot": func() simulator.App { return simhubspot.New() },
}

// connector makes one function of a connector's Decode and Open.
func connector[C, T any](decode func(hcl.Body, *hcl.EvalContext) (*C, hcl.Diagnostics), open func(*C, string) (T, error)) func(hcl.Body, *hcl.EvalContext, string) (T, hcl.Diagnostics) {
	return func(body hcl.Body, ctx *hcl.EvalContext, name string) (out T, diags hcl.Diagnostics) {
		cfg, diags := decode(body, ctx)
		if diags.HasErrors() {
			return out, diags
		}
		out, err := open(cfg, name)
		if err != nil {
			diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Settings can't be used", Detail: err.Error(), Subject: body.MissingItemRange().Ptr()})
		}
		return out, diags
	}
}
