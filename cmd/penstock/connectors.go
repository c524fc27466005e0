package main

import (
	"context"
	"log/slog"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/mysql"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/simulator"
	simhubspot "github.com/penstock-cdc/penstock/simulator/hubspot"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/discard"
	"github.com/penstock-cdc/penstock/sink/http"
	"github.com/penstock-cdc/penstock/sink/hubspot"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// database is what commands need of a source beyond capture.Source.
type database interface {
	capture.Source
	// Identity is what the encoder writes into each event.
	Identity(version string) change.Source
	// Describe returns the schemas that the captured tables have now.
	Describe(ctx context.Context) ([]*change.Table, error)
	// Estimates says of the captured tables, by name, about how many rows they have; -1: not known.
	Estimates(ctx context.Context) (map[string]int64, error)
	// Restrict applies the settings of a table's block to a schema described under others.
	Restrict(t *change.Table) *change.Table
	// TableAliases maps the labels of table blocks to the tables' names.
	TableAliases() map[string]string
	// Goal returns a function that tells whether all that is committed now is durable in the log.
	Goal(ctx context.Context) (func() bool, error)
	// At is what a resume point says of a source that nobody captures now: Position, Epoch.
	At(resume []byte) (capture.Status, error)
	// Reset gives up a position: it returns the resume point from which the tables are read again.
	Reset(ctx context.Context, resume []byte) ([]byte, error)
	// Rejoin returns the resume point from which tables are read again before the stream goes on, and what is estimated of
	// their rows; those that were never read are left out.
	Rejoin(ctx context.Context, resume []byte, tables []string) ([]byte, map[string]int64, error)
}

// sources has a line for each kind of source block.
var sources = map[string]func(dataDir string) opener[database]{
	"postgres": func(dataDir string) opener[database] {
		return connector(postgres.Decode, func(cfg *postgres.Config, name string) (database, error) {
			return postgres.Open(cfg, name, postgres.WithDataDir(dataDir))
		})
	},
	"mysql": func(string) opener[database] {
		return connector(mysql.Decode, func(cfg *mysql.Config, name string) (database, error) { return mysql.Open(cfg, name, slog.Default()) })
	},
}

// apps has a line for each kind of app block.
var apps = map[string]func(env rest.Env) opener[sink.App]{
	"hubspot": func(env rest.Env) opener[sink.App] {
		return connector(hubspot.Decode, func(cfg *hubspot.Config, name string) (sink.App, error) { return hubspot.Open(cfg, name, env) })
	},
	"http": func(env rest.Env) opener[sink.App] {
		return connector(http.Decode, func(cfg *http.Config, name string) (sink.App, error) { return http.Open(cfg, name, env) })
	},
	"discard": func(env rest.Env) opener[sink.App] {
		return connector(discard.Decode, func(cfg *discard.Config, name string) (sink.App, error) { return discard.Open(cfg, name, env) })
	},
}

// opener makes a connector of its block.
type opener[T any] func(body hcl.Body, ctx *hcl.EvalContext, name string) (T, hcl.Diagnostics)

// simulators has a line for each app that `penstock simulate` knows.
var simulators = map[string]func() simulator.App{
	"hubspot": func() simulator.App { return simhubspot.New() },
}

// connector makes one function of a connector's Decode and Open.
func connector[C, T any](decode func(hcl.Body, *hcl.EvalContext) (*C, hcl.Diagnostics), open func(*C, string) (T, error)) opener[T] {
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
