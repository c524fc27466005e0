package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/schema"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/transform"
)

// schemaWatch notices while the process runs that a table or an object of an app is no
// longer what the pipelines were checked against, and says what that breaks: in the log
// once, and in the status as long as it is so.
type schemaWatch struct {
	p *project

	mu      sync.Mutex
	tables  map[string]*change.Table     // as last seen, by source and name
	objects map[string]*transform.Object // as last seen, by app.object
	breaks  map[string][]string          // by pipeline
	lock    map[string][]string          // by source or app: how it differs from the lock since the start
}

// newSchemaWatch begins with what the project was checked against at the start, and
// compares that with the lock, if there is one.
func newSchemaWatch(p *project) *schemaWatch {
	w := &schemaWatch{p: p, tables: map[string]*change.Table{}, objects: map[string]*transform.Object{}, breaks: map[string][]string{}, lock: map[string][]string{}}
	for source, tables := range p.tables {
		for _, t := range tables {
			w.tables[source+" "+t.QualifiedName()] = t
		}
	}
	for name, o := range p.objects {
		w.objects[name] = o
	}
	lock, err := schema.Read(lockPath(p.Dir))
	if err != nil {
		return w // none, or one that validate complains of
	}
	for _, pipe := range p.Pipelines {
		src, t := p.sources[pipe.From.Source], p.table(pipe)
		if l := lock.Sources[pipe.From.Source]; l != nil && t != nil {
			for _, was := range l.Tables {
				if was.QualifiedName() == t.QualifiedName() {
					w.differs(schema.DiffTables(pipe.From.Source, t.QualifiedName(), schema.TableOf(src.Restrict(was.Table())), schema.TableOf(t)))
				}
			}
		}
		o := p.objects[pipe.To.App+"."+pipe.To.Object]
		if l := lock.Apps[pipe.To.App]; l != nil && o != nil && l.Objects[pipe.To.Object] != nil {
			w.differs(schema.DiffObjects(pipe.To.App, pipe.To.Object, l.Objects[pipe.To.Object], schema.ObjectOf(o)))
		}
	}
	return w
}

// differs notes how what is there differs from the lock.
func (w *schemaWatch) differs(all []schema.Difference) {
	for i := range all {
		d := &all[i]
		of := "app " + d.App
		if d.Source != "" {
			of = "source " + d.Source
		}
		text := fmt.Sprintf("%s is not as %s has it: %s", d.Place(), schema.FileName, d)
		if slices.Contains(w.lock[of], text) {
			continue // two pipelines from one table
		}
		w.lock[of] = append(w.lock[of], text)
		slog.Warn("schema differs from the lock; penstock schema pull takes it over", "of", d.Place(), "difference", d.String())
	}
}

// table takes note of a table as a source or the stream has it now.
func (w *schemaWatch) table(source string, t *change.Table) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := source + " " + t.QualifiedName()
	was := w.tables[key]
	if was != nil && was.Version == t.Version {
		return
	}
	w.tables[key] = t
	var differences []schema.Difference
	if was != nil {
		differences = schema.DiffTables(source, t.QualifiedName(), schema.TableOf(was), schema.TableOf(t))
	}
	for _, pipe := range w.p.Pipelines {
		if src := w.p.sources[pipe.From.Source]; pipe.From.Source == source && src != nil && src.TableAliases()[pipe.From.Table] == t.QualifiedName() {
			w.check(pipe, differences)
		}
	}
}

// object takes note of an app's object as it is now.
func (w *schemaWatch) object(app, name string, o *transform.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.objects[app+"."+name]
	if was != nil {
		differences := schema.DiffObjects(app, name, schema.ObjectOf(was), schema.ObjectOf(o))
		if len(differences) == 0 {
			return
		}
		w.objects[app+"."+name] = o
		for _, pipe := range w.p.Pipelines {
			if pipe.To.App == app && pipe.To.Object == name {
				w.check(pipe, differences)
			}
		}
		return
	}
	w.objects[app+"."+name] = o
}

// check compiles a pipeline against what is known now, and says what is broken.
func (w *schemaWatch) check(pipe *config.Pipeline, differences []schema.Difference) {
	src := w.p.sources[pipe.From.Source]
	table := w.tables[pipe.From.Source+" "+src.TableAliases()[pipe.From.Table]]
	if table == nil {
		return
	}
	_, diags := transform.Compile(pipe, table, w.objects[pipe.To.App+"."+pipe.To.Object], w.p.env(pipe))
	var now []string
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			now = append(now, breakText(d))
		}
	}
	before := w.breaks[pipe.Name]
	w.breaks[pipe.Name] = now
	var what []string
	for i := range differences {
		what = append(what, differences[i].Place()+": "+differences[i].String())
	}
	changed := strings.Join(what, "; ")
	switch {
	case len(now) > 0 && !slices.Equal(before, now):
		for _, b := range now {
			slog.Warn("schema has changed and breaks a pipeline: records that need this will be rejected", "pipeline", pipe.Name, "at", b, "changed", changed)
		}
	case len(now) == 0 && len(before) > 0:
		slog.Info("schema fits the pipeline again", "pipeline", pipe.Name)
	case changed != "":
		slog.Info("schema has changed; the pipeline still fits", "pipeline", pipe.Name, "changed", changed)
	}
}

// breakText is a diagnostic on one line: customers.hcl:12:5: E0302: Unknown column: Table ...
func breakText(d *hcl.Diagnostic) string {
	place := ""
	if d.Subject != nil {
		place = fmt.Sprintf("%s:%d:%d: ", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column)
	}
	return fmt.Sprintf("%s%s: %s: %s", place, config.Code(d), d.Summary, d.Detail)
}

// warnings are a pipeline's, for the status.
func (w *schemaWatch) warnings(pipeline string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.breaks[pipeline])
}

// drift is how a source or app differs from the lock since the start, for the status.
func (w *schemaWatch) drift(of string) []string { return w.lock[of] }

// poll asks the apps for their objects every so often, until ctx ends: no app tells
// that one of its fields was changed.
func (w *schemaWatch) poll(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		seen := map[string]bool{}
		for _, pipe := range w.p.Pipelines {
			name := pipe.To.App + "." + pipe.To.Object
			if _, declared := w.p.apps[pipe.To.App].(sink.Declared); declared || seen[name] {
				continue
			}
			seen[name] = true
			limit, cancel := context.WithTimeout(ctx, time.Minute)
			o, err := w.p.object(limit, pipe)
			cancel()
			if err != nil {
				slog.Debug("app's fields were not checked again", "app", pipe.To.App, "error", err) // that it is down is said elsewhere
			} else if o != nil {
				w.object(pipe.To.App, pipe.To.Object, o)
			}
		}
	}
}

// watchedWriter tells the watch of every version of a table that capture hands to the stream.
type watchedWriter struct {
	stream.Writer
	source string
	watch  *schemaWatch
}

func (l watchedWriter) Table(ctx context.Context, t *change.Table) error {
	if err := l.Writer.Table(ctx, t); err != nil {
		return err
	}
	l.watch.table(l.source, t)
	return nil
}
