package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/ops"
	"github.com/penstock-cdc/penstock/schema"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
	"github.com/penstock-cdc/penstock/transform"
)

// project is a loaded configuration with its sources and apps opened, none of them connected yet.
type project struct {
	*config.Project
	sources map[string]database
	apps    map[string]sink.App
	tables  map[string][]*change.Table        // by source, once described
	objects map[string]*transform.Object      // by app.object, once described
	lock    *schema.Lock                      // that the pipelines are checked against; nil: what is there now
	secret  func(name string) (string, error) // what a secret is worth that a row expression uses
	diags   hcl.Diagnostics
	// compiled tells whether every pipeline was checked against its table and its app.
	compiled bool

	requests *ops.Requests // the calls to the apps
	taps     callTaps      // who looks at them
	edits    editTaps      // who looks at what people do in the apps
}

// load reads a project and all that can be known of it without a network. Its
// diagnostics are in the project.
func (c *cli) load(dir string) *project { return c.loadAs(dir, true) }

// loadAs is load; without the environment, secrets and variables that are not set are
// nothing that is wrong, as nothing will be connected to.
func (c *cli) loadAs(dir string, environment bool) *project {
	cfg, diags := config.Load(dir, c.input)
	p := &project{Project: cfg, sources: map[string]database{}, apps: map[string]sink.App{}, tables: map[string][]*change.Table{}, objects: map[string]*transform.Object{}, diags: diags, requests: ops.NewRequests()}
	p.secret = cfg.Secret
	if environment {
		p.diags = append(p.diags, cfg.CheckSecrets()...)
	} else {
		p.secret = func(name string) (string, error) {
			s, err := cfg.Secret(name)
			if err != nil && cfg.HasSecret(name) {
				return "not-set", nil
			}
			return s, err
		}
	}
	p.diags = append(p.diags, cfg.CheckSensitive()...)
	settings := func(placeholder string) *hcl.EvalContext {
		if environment {
			return cfg.EvalContextWith(placeholder)
		}
		return config.WithoutEnvironment(cfg.EvalContextWith(placeholder), placeholder)
	}
	env := rest.Env{UserAgent: "penstock/" + version, Vault: rest.Files(filepath.Join(cfg.DataDir, "tokens")), Settings: cfg.FreshContext, OnCall: func(call rest.Call) {
		p.requests.Count(call.App, call.Status, call.Duration)
		p.taps.add(call)
	}}
	for _, block := range cfg.Sources {
		open := sources[block.Kind]
		if open == nil {
			p.diags = append(p.diags, unknownKind(block.Range, "source", block.Kind, sortedKeys(sources)))
			continue
		}
		src, ds := open(cfg.DataDir)(block.Body, settings(block.Kind+"://not-set@not-set.invalid/not-set"), block.Name)
		p.diags = append(p.diags, ds...)
		if !ds.HasErrors() {
			p.sources[block.Name] = src
		}
	}
	for _, block := range cfg.Apps {
		open := apps[block.Kind]
		if open == nil {
			p.diags = append(p.diags, unknownKind(block.Range, "app", block.Kind, sortedKeys(apps)))
			continue
		}
		app, ds := open(env)(block.Body, settings("https://not-set.invalid"), block.Name)
		p.diags = append(p.diags, ds...)
		if !ds.HasErrors() {
			p.apps[block.Name] = app
		}
	}
	if cfg.RequiredVersion != "" {
		if ok, err := meets(version, cfg.RequiredVersion); err != nil {
			p.diags = append(p.diags, config.Errorf("E0107", cfg.RequiredRange, "required_version can't be used", err.Error()))
		} else if !ok && version != "dev" {
			p.diags = append(p.diags, config.Errorf("E0112", cfg.RequiredRange, fmt.Sprintf("This is penstock %s", version),
				fmt.Sprintf("The project asks for required_version = %q: install one of those.", cfg.RequiredVersion)))
		}
	}
	p.diags = append(p.diags, transform.CheckFunctions(cfg.Functions)...)
	for _, pipe := range cfg.Pipelines {
		p.diags = append(p.diags, p.checkEnds(pipe)...)
		p.diags = append(p.diags, p.checkParents(pipe)...)
	}
	p.diags = config.Normalize(append(p.diags, p.checkOwners()...))
	return p
}

func unknownKind(rng hcl.Range, what, kind string, known []string) *hcl.Diagnostic {
	detail := fmt.Sprintf("There are %s.", strings.Join(known, ", "))
	if s := config.Suggest(kind, known); s != "" {
		detail = fmt.Sprintf("Did you mean %q? %s", s, detail)
	}
	return config.Errorf("E0108", &rng, fmt.Sprintf("Unknown kind of %s %q", what, kind), detail)
}

// checkEnds checks that a pipeline's source, table and app are there.
func (p *project) checkEnds(pipe *config.Pipeline) (diags hcl.Diagnostics) {
	refer := func(rng hcl.Range, what, kind, name string, kinds map[string]string) bool {
		if name == "" {
			return false // the reference itself was refused
		}
		got, ok := kinds[name]
		switch {
		case !ok:
			detail := fmt.Sprintf("Write a block for it: %s %q %q { ... }.", what, kind, name)
			if s := config.Suggest(name, sortedKeys(kinds)); s != "" {
				detail = fmt.Sprintf("Did you mean %q?", s)
			}
			diags = append(diags, config.Errorf("E0109", &rng, fmt.Sprintf("There is no %s %q", what, name), detail))
		case got != kind:
			diags = append(diags, config.Errorf("E0109", &rng, fmt.Sprintf("%s %q is of kind %s, not %s", what, name, got, kind), fmt.Sprintf("Write %s.%s.%s.", what, got, name)))
		default:
			return true
		}
		return false
	}
	kinds := map[string]string{}
	for _, s := range p.Sources {
		kinds[s.Name] = s.Kind
	}
	if refer(pipe.From.Range, "source", pipe.From.Kind, pipe.From.Source, kinds) {
		if src := p.sources[pipe.From.Source]; src != nil {
			aliases := src.TableAliases()
			if _, ok := aliases[pipe.From.Table]; !ok {
				detail := fmt.Sprintf("Give the source a block: table %q { name = \"schema.table\" }.", pipe.From.Table)
				if s := config.Suggest(pipe.From.Table, sortedKeys(aliases)); s != "" {
					detail = fmt.Sprintf("Did you mean %q?", s)
				}
				diags = append(diags, config.Errorf("E0109", &pipe.From.Range, fmt.Sprintf("Source %q has no table block %q", pipe.From.Source, pipe.From.Table), detail))
			}
		}
	}
	kinds = map[string]string{}
	for _, a := range p.Apps {
		kinds[a.Name] = a.Kind
	}
	if refer(pipe.To.Range, "app", pipe.To.Kind, pipe.To.App, kinds) {
		diags = append(diags, p.checkVerify(pipe)...)
	}
	return diags
}

// checkVerify checks that the app can tell what `verify` wants to know.
func (p *project) checkVerify(pipe *config.Pipeline) hcl.Diagnostics {
	app := p.apps[pipe.To.App]
	if app == nil {
		return nil
	}
	_, reads := app.(sink.Reader)
	_, tells := app.(sink.Changer)
	what := ""
	switch {
	case pipe.Verify.BeforeWrite && !reads:
		what = "before_write = true reads records from the app"
	case pipe.Verify.Every > 0 && !(reads && tells):
		what = "every asks the app what has changed"
	default:
		return nil
	}
	return hcl.Diagnostics{config.Errorf("E0119", &pipe.Verify.Range, fmt.Sprintf("App %q can't be verified", pipe.To.App), fmt.Sprintf("%s, and apps of kind %s can't tell. Take the block out.", what, pipe.To.Kind))}
}

// checkOwners refuses two pipelines that write one field of one object.
func (p *project) checkOwners() (diags hcl.Diagnostics) {
	owners := map[string]*config.Pipeline{}
	for _, pipe := range p.Pipelines {
		fields := slices.Concat(pipe.On.SetDelete, pipe.On.SetLeave)
		for i := range pipe.Fields {
			fields = append(fields, pipe.Fields[i].NamedExpr)
		}
		for i := range fields {
			f := &fields[i]
			name := pipe.To.App + "." + pipe.To.Object + "." + f.Name
			if first := owners[name]; first != nil && first != pipe {
				diags = append(diags, config.Errorf("E0111", &f.NameRange, fmt.Sprintf("Field %s is written by two pipelines", name),
					fmt.Sprintf("Pipeline %q writes it too; a field has one owner.", first.Name), config.Place{Range: first.Range, Note: "its other owner"}))
			}
			owners[name] = pipe
		}
	}
	return diags
}

// describe asks every source for its tables' schemas, unless they are known.
func (p *project) describe(ctx context.Context) error {
	for name, src := range p.sources {
		if p.tables[name] != nil {
			continue
		}
		tables, err := src.Describe(ctx)
		if err != nil {
			return err
		}
		p.tables[name] = tables
	}
	return nil
}

// table returns the schema that a pipeline's table has now, nil when it is not there.
func (p *project) table(pipe *config.Pipeline) *change.Table {
	src := p.sources[pipe.From.Source]
	if src == nil {
		return nil
	}
	name := src.TableAliases()[pipe.From.Table]
	for _, t := range p.tables[pipe.From.Source] {
		if t.QualifiedName() == name {
			return t
		}
	}
	return nil
}

// object asks an app what an object looks like; nil: it can't say.
func (p *project) object(ctx context.Context, pipe *config.Pipeline) (*transform.Object, error) {
	app, ok := p.apps[pipe.To.App].(sink.Describer)
	if !ok {
		return nil, nil
	}
	found, err := describe(ctx, app, pipe.To.Object)
	if err != nil {
		return nil, err
	}
	return objectOf(&found), nil
}

// objectOf is an app's object as the row language sees it.
func objectOf(found *sink.Object) *transform.Object {
	out := &transform.Object{Name: found.Name}
	for _, f := range found.Fields {
		out.Fields = append(out.Fields, transform.ObjectField{
			Name: f.Name, Type: transform.FieldType(f.Type), Length: f.Length, Options: f.Options, Required: f.Required, Unique: f.Unique, ReadOnly: f.ReadOnly,
		})
	}
	return out
}

// describe asks an app for an object, again for up to half a minute when it answers that it is busy.
func describe(ctx context.Context, app sink.Describer, object string) (sink.Object, error) {
	for end := time.Now().Add(30 * time.Second); ; {
		found, err := app.Describe(ctx, object)
		var busy *sink.RetryError
		if !errors.As(err, &busy) || time.Now().Add(busy.After).After(end) {
			return found, err
		}
		timer := time.NewTimer(max(busy.After, 100*time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return found, ctx.Err()
		case <-timer.C:
		}
	}
}

// objects says what the app's object of a pipeline looks like; nil: not known.
type objects func(ctx context.Context, pipe *config.Pipeline) (*transform.Object, error)

// live asks the apps.
func (p *project) live(ctx context.Context, pipe *config.Pipeline) (*transform.Object, error) {
	if p.apps[pipe.To.App] == nil {
		return nil, nil
	}
	object, err := p.object(ctx, pipe)
	if err == nil && object != nil {
		p.objects[pipe.To.App+"."+pipe.To.Object] = object
	}
	return object, err
}

// unasked leaves the apps' fields unchecked.
func unasked(context.Context, *config.Pipeline) (*transform.Object, error) { return nil, nil }

// compile checks and compiles the pipelines against the described tables and the objects
// that ask finds; a known pipeline whose app does not answer is let off that.
func (p *project) compile(ctx context.Context, ask objects, known func(pipeline, fingerprint string) bool) (map[string]*program, error) {
	out := map[string]*program{}
	p.compiled = true
	for _, pipe := range p.Pipelines {
		if pipe.Key.Expr == nil || p.sources[pipe.From.Source] == nil {
			p.compiled = false
			continue // said already
		}
		table := p.table(pipe)
		if table == nil {
			p.diags = append(p.diags, p.missing(pipe)...)
			continue
		}
		object, silent := ask(ctx, pipe)
		if _, can := p.apps[pipe.To.App].(sink.Describer); can && object == nil {
			p.compiled = false
		}
		if p.orphaned(pipe) {
			p.compiled = false
			continue // said already
		}
		prog, ds := transform.Compile(pipe, table, object, p.env(pipe))
		if silent != nil {
			if ds.HasErrors() || !known(pipe.Name, prog.Fingerprint()) {
				return nil, fmt.Errorf("describe %s of app %s: %w", pipe.To.Object, pipe.To.App, silent)
			}
			slog.Warn("app does not answer; its fields are not checked this time", "app", pipe.To.App, "pipeline", pipe.Name, "error", silent)
		}
		p.diags = append(p.diags, ds...)
		if !ds.HasErrors() {
			out[pipe.Name] = &program{Program: prog, pipeline: pipe, table: table, env: p.env(pipe)}
		}
	}
	return out, nil
}

// env is what the row expressions of the project may refer to.
func (p *project) env(pipe *config.Pipeline) transform.Env {
	env := transform.Env{Files: p.Files(), Vars: p.Vars, Locals: p.Locals, Each: pipe.Each, Functions: p.Functions, Secret: p.secret}
	for i := range pipe.Parents {
		if of := p.pipeline(pipe.Parents[i].Pipeline); of != nil {
			if table := p.table(of); table != nil {
				if env.Parents == nil {
					env.Parents = map[string]*change.Table{}
				}
				env.Parents[pipe.Parents[i].Name] = table
			}
		}
	}
	for _, app := range p.Apps {
		env.PersonalData = env.PersonalData || app.Name == pipe.To.App && app.PII
	}
	return env
}

// missing says that a pipeline's table is not there.
func (p *project) missing(pipe *config.Pipeline) hcl.Diagnostics {
	name := p.sources[pipe.From.Source].TableAliases()[pipe.From.Table]
	switch {
	case name == "":
		return nil // said by checkEnds
	case p.lock != nil:
		return hcl.Diagnostics{config.Errorf("E0404", &pipe.From.Range, fmt.Sprintf("Table %s is not in %s", name, schema.FileName),
			"Write the file anew: penstock schema pull.")}
	}
	return hcl.Diagnostics{config.Errorf("E0401", &pipe.From.Range, fmt.Sprintf("Table %s is not in the database", name),
		"Check its name, and that the source's user may see it: GRANT SELECT.")}
}
