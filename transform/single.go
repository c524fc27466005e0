package transform

import (
	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// Single is one compiled expression, for trying it out. It belongs to one goroutine.
type Single struct {
	Type     string // in the words of diagnostics: text, list of int
	Nullable bool
	PII      bool // made of personal data

	eval   eval
	worker *Worker
}

// CompileSingle checks and compiles one expression as if it stood in a field of the
// pipeline: with its cleans, over its table. It is nil if a diagnostic is an error.
func CompileSingle(e hcl.Expression, p *config.Pipeline, table *change.Table, env Env) (*Single, hcl.Diagnostics) {
	c := &checker{pipeline: p, table: table, env: env}
	c.scratch = (&Program{table: table, source: p.From.Source}).NewWorker()
	for _, ne := range p.Clean {
		c.cleans = append(c.cleans, &clean{NamedExpr: ne})
	}
	n := c.check(e)
	prog := &Program{table: table, source: p.From.Source}
	for _, cl := range c.cleans {
		out := compiledClean{name: cl.Name}
		if cl.used {
			out.eval = c.compiled(cl.node)
		}
		prog.cleans = append(prog.cleans, out)
	}
	if c.diags.HasErrors() {
		return nil, c.diags
	}
	return &Single{Type: n.typ.String(), Nullable: n.typ.null, PII: n.typ.pii, eval: compile(n), worker: prog.NewWorker()}, c.diags
}

// Eval computes the expression on an event. A value lives until the next Eval. Where
// there is none, the result says why, as of a rejected row.
func (s *Single) Eval(e *change.Event) (value change.Value, why *Result) {
	var res Result
	defer func() {
		if r := recover(); r != nil {
			s.worker.refuse(&res, fail("internal"), "")
			value, why = change.Value{}, &res
		}
	}()
	s.worker.begin(e, &res)
	v := s.eval(s.worker)
	if v.kind != failed {
		return s.worker.output(v), nil
	}
	s.worker.refuse(&res, v, "")
	return change.Value{}, &res
}
