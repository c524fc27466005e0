package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
)

// decodeFunction reads a function block. Its result is a row expression, which is
// checked where the function is called.
func decodeFunction(block *hcl.Block) (*Function, hcl.Diagnostics) {
	f := &Function{Name: block.Labels[0], Range: block.DefRange}
	var raw struct {
		Params      hcl.Expression `hcl:"params,optional"`
		Result      hcl.Expression `hcl:"result"`
		Description string         `hcl:"description,optional"`
	}
	diags := needs(gohcl.DecodeBody(block.Body, nil, &raw), block, "result", raw.Result)
	if diags.HasErrors() {
		return nil, diags
	}
	f.Result = raw.Result
	if !hasText(raw.Params) {
		return f, diags
	}
	rng := raw.Params.Range()
	params, ds := hcl.ExprList(raw.Params)
	if ds.HasErrors() {
		return nil, append(diags, Errorf("E0107", &rng, "params is a list of names", "Write params = [first, last]."))
	}
	for _, e := range params {
		at := e.Range()
		name := hcl.ExprAsKeyword(e)
		if name == "" {
			return nil, append(diags, Errorf("E0107", &at, "A parameter is a plain name", "Write params = [first, last], without quotes."))
		}
		for _, other := range f.Params {
			if other == name {
				return nil, append(diags, Errorf("E0105", &at, fmt.Sprintf("Second parameter named %q", name), "Give one of them another name."))
			}
		}
		f.Params = append(f.Params, name)
	}
	return f, diags
}
