package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
)

// pipeline returns the pipeline of that name, nil for none.
func (p *project) pipeline(name string) *config.Pipeline {
	i := slices.IndexFunc(p.Pipelines, func(pipe *config.Pipeline) bool { return pipe.Name == name })
	if i < 0 {
		return nil
	}
	return p.Pipelines[i]
}

// checkParents checks that the parents of a pipeline can be ones: other pipelines of the same app, not in a circle, in an app
// that associates records.
func (p *project) checkParents(pipe *config.Pipeline) (diags hcl.Diagnostics) {
	refuse := func(code string, rng hcl.Range, summary, detail string, args ...any) {
		diags = append(diags, config.Errorf(code, &rng, summary, fmt.Sprintf(detail, args...)))
	}
	for i := range pipe.Parents {
		par := &pipe.Parents[i]
		if par.Pipeline == "" {
			continue // refused already
		}
		of := p.pipeline(par.Pipeline)
		app := p.apps[pipe.To.App]
		switch {
		case of == nil:
			var names []string
			for _, other := range p.Pipelines {
				names = append(names, other.Name)
			}
			detail := "There is " + strings.Join(names, ", ") + "."
			if s := config.Suggest(par.Pipeline, names); s != "" {
				detail = fmt.Sprintf("Did you mean %q?", s)
			}
			refuse("E0109", par.PipelineRange, fmt.Sprintf("There is no pipeline %q", par.Pipeline), "%s", detail)
			continue
		case of.To.App != pipe.To.App:
			refuse("E0120", par.PipelineRange, "Parent in another app", "Pipeline %q writes to app %s, this one to %s: records are associated within one app.", of.Name, of.To.App, pipe.To.App)
		case p.reaches(of, pipe, map[*config.Pipeline]bool{}):
			refuse("E0120", par.PipelineRange, "Parents in a circle", "Pipeline %q waits for records of %q itself: neither would ever be sent. Take one of the parent blocks out.", of.Name, pipe.Name)
		case app != nil:
			if _, can := app.(sink.Associator); !can {
				refuse("E0120", par.Range, "App has no associations", "Apps of kind %s do not associate records with each other.", pipe.To.Kind)
			}
		}
	}
	return diags
}

// reaches tells whether a pipeline is another one, or has it among its parents, or theirs.
func (p *project) reaches(from, to *config.Pipeline, seen map[*config.Pipeline]bool) bool {
	if from == to {
		return true
	}
	if from == nil || seen[from] {
		return false
	}
	seen[from] = true
	return slices.ContainsFunc(from.Parents, func(par config.Parent) bool { return p.reaches(p.pipeline(par.Pipeline), to, seen) })
}

// orphaned tells whether a parent's table is not known, which was said where the parent is checked.
func (p *project) orphaned(pipe *config.Pipeline) bool {
	return slices.ContainsFunc(pipe.Parents, func(par config.Parent) bool {
		of := p.pipeline(par.Pipeline)
		return of == nil || p.table(of) == nil
	})
}

// parentsOf are a pipeline's parents as the sink has them.
func parentsOf(pipe *config.Pipeline) (all []sink.Parent) {
	for i := range pipe.Parents {
		par := &pipe.Parents[i]
		all = append(all, sink.Parent{Name: par.Name, Field: par.Field(), Pipeline: par.Pipeline, Kind: par.Kind, Required: par.Required, Wait: par.Wait})
	}
	return all
}

// parentsFirst returns the pipelines so that each comes after its parents.
func (p *project) parentsFirst() (order []*config.Pipeline) {
	seen := map[*config.Pipeline]bool{}
	var add func(pipe *config.Pipeline)
	add = func(pipe *config.Pipeline) {
		if pipe == nil || seen[pipe] {
			return
		}
		seen[pipe] = true
		for i := range pipe.Parents {
			add(p.pipeline(pipe.Parents[i].Pipeline))
		}
		order = append(order, pipe)
	}
	for _, pipe := range p.Pipelines {
		add(pipe)
	}
	return order
}

// parentNames are the names of a pipeline's parents.
func parentNames(pipe *config.Pipeline) (names []string) {
	for i := range pipe.Parents {
		names = append(names, pipe.Parents[i].Name)
	}
	return names
}
