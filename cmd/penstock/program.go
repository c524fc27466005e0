package main

import (
	"fmt"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/transform"
)

// program makes a transform.Program what the sink wants, for every version of the
// table's schema: events of another version than the checked one are evaluated by a
// program compiled for theirs.
type program struct {
	*transform.Program
	pipeline *config.Pipeline
	table    *change.Table
	env      transform.Env
	// moved is told when events have another version of the table than those before; nil: nobody is.
	moved func(*change.Table)
}

func (p *program) Fields() []sink.FieldSpec {
	out := make([]sink.FieldSpec, 0, len(p.Program.Fields()))
	for _, f := range p.Program.Fields() {
		out = append(out, sink.FieldSpec{Name: f.Name, Group: sink.Group(f.Group), PII: f.PII})
	}
	return out
}

func (p *program) NewWorker() sink.Worker {
	return &worker{program: p, byVersion: map[string]*compiled{}}
}

// worker evaluates events of any version of the table.
type worker struct {
	program   *program
	byVersion map[string]*compiled
	last      *change.Table // of the event before
	result    transform.Result
}

// compiled is the transform of one version, or why there is none.
type compiled struct {
	worker *transform.Worker
	broken string
}

func (w *worker) Eval(e *change.Event, r *sink.Made) {
	if e.Table != w.last && w.program.moved != nil {
		w.last = e.Table
		w.program.moved(e.Table)
	}
	v := w.byVersion[e.Table.Version]
	if v == nil {
		v = w.compile(e.Table)
		w.byVersion[e.Table.Version] = v
	}
	if v.worker == nil {
		*r = sink.Made{Outcome: sink.Rejected, Reason: "schema_changed", Message: v.broken}
		return
	}
	v.worker.Eval(e, &w.result)
	*r = sink.Made{
		Outcome: outcomes[w.result.Outcome], Reason: w.result.Reason, Message: w.result.Message,
		Key: w.result.Key, Match: w.result.Match, Fields: w.result.Fields,
	}
}

var outcomes = map[transform.Outcome]sink.Outcome{
	transform.Pass: sink.Pass, transform.Filtered: sink.Filtered, transform.Rejected: sink.Rejected, transform.Reselect: sink.Reselect,
}

func (w *worker) compile(t *change.Table) *compiled {
	if t.Version == w.program.table.Version {
		return &compiled{worker: w.program.Program.NewWorker()}
	}
	prog, diags := transform.Compile(w.program.pipeline, t, nil, w.program.env)
	if diags.HasErrors() {
		return &compiled{broken: fmt.Sprintf("the pipeline does not fit version %s of table %s: %s", t.Version, t.QualifiedName(), diags[0].Summary)}
	}
	return &compiled{worker: prog.NewWorker()}
}
