package config

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// secret is a secret block: what it is worth is found out when something asks.
type secret struct {
	name string
	expr hcl.Expression
	rng  hcl.Range

	once  sync.Once // exec() runs its command once
	value cty.Value
	diags hcl.Diagnostics
}

func (p *Project) secretValue(s *secret) (cty.Value, hcl.Diagnostics) {
	s.once.Do(func() { s.value, s.diags = s.expr.Value(p.secretContext()) })
	return s.value, s.diags
}

func (p *Project) decodeSecret(block *hcl.Block) hcl.Diagnostics {
	var raw struct {
		Value hcl.Expression `hcl:"value"`
	}
	diags := needs(gohcl.DecodeBody(block.Body, nil, &raw), block, "value", raw.Value)
	if diags.HasErrors() {
		return diags
	}
	p.secrets = append(p.secrets, &secret{name: block.Labels[0], expr: raw.Value, rng: block.DefRange})
	call, ds := hcl.ExprCall(raw.Value)
	rng := raw.Value.Range()
	if ds.HasErrors() || call.Name != "env" && call.Name != "file" && call.Name != "exec" {
		return hcl.Diagnostics{Errorf("E0204", &rng, "A secret's value does not stand in the configuration", `Write value = env("NAME"), file("path") or exec("command", "argument").`)}
	}
	return nil
}

// EvalContext is what settings of sources and apps may use: variables, locals and the secrets. A
// secret that can't be had (its variable is not set) is an error where it is defined.
func (p *Project) EvalContext() *hcl.EvalContext { return p.EvalContextWith(notSet) }

// EvalContextWith has a placeholder of a setting's form for the secrets that can't be had.
func (p *Project) EvalContextWith(placeholder string) *hcl.EvalContext {
	ctx := p.settings()
	values := map[string]cty.Value{}
	for _, s := range p.secrets {
		if v, diags := p.secretValue(s); !diags.HasErrors() {
			values[s.name] = v
		} else {
			values[s.name] = cty.StringVal(placeholder) // said by CheckSecrets: no second complaint
		}
	}
	for _, name := range p.unknownNames["secret"] {
		values[name] = cty.StringVal(placeholder) // refused where it is used
	}
	ctx.Variables["secret"] = cty.ObjectVal(values)
	return ctx
}

// FreshContext is EvalContext with every secret read again: a file may have another by now. Its error has no values.
func (p *Project) FreshContext() (*hcl.EvalContext, error) {
	ctx := p.settings()
	values := map[string]cty.Value{}
	for _, s := range p.secrets {
		v, diags := s.expr.Value(p.secretContext())
		if diags.HasErrors() {
			return nil, fmt.Errorf("secret %q can't be had any more", s.name)
		}
		values[s.name] = v
	}
	ctx.Variables["secret"] = cty.ObjectVal(values)
	return ctx, nil
}

// CheckSecrets evaluates every secret and says which can't be had.
func (p *Project) CheckSecrets() hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, s := range p.secrets {
		_, ds := p.secretValue(s)
		diags = append(diags, ds...)
	}
	return Normalize(diags)
}

func (p *Project) secretContext() *hcl.EvalContext {
	ctx := p.settings()
	ctx.Functions = maps.Clone(ctx.Functions)
	ctx.Functions["file"] = text(func(args []string) (string, error) {
		if len(args) != 1 {
			return "", fmt.Errorf("file() takes a path")
		}
		path := args[0]
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.Dir, path)
		}
		content, err := os.ReadFile(path)
		return strings.TrimRight(string(content), "\r\n"), err
	})
	ctx.Functions["exec"] = text(func(args []string) (string, error) {
		if len(args) == 0 {
			return "", fmt.Errorf("exec() takes a command and its arguments")
		}
		limit, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(limit, args[0], args[1:]...)
		cmd.Dir = p.Dir
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("exec %s: %w", args[0], err) // not what it printed: that may be the secret
		}
		return strings.TrimRight(string(out), "\r\n"), nil
	})
	return ctx
}

// settings is the context of plain settings: variables, locals and their functions.
func (p *Project) settings() *hcl.EvalContext {
	return &hcl.EvalContext{Functions: settingFunctions, Variables: map[string]cty.Value{
		"var": unmarked(p.Vars, p.unknownNames["var"]...), "local": unmarked(p.Locals, p.unknownNames["local"]...),
	}}
}

func env(args []string) (string, error) {
	if len(args) == 0 || len(args) > 2 {
		return "", fmt.Errorf("env() takes a name and, if wanted, a default")
	}
	if v, ok := os.LookupEnv(args[0]); ok {
		return v, nil
	}
	if len(args) == 2 {
		return args[1], nil
	}
	return "", fmt.Errorf("environment variable %s is not set: export it, or give a default with env(%q, \"...\")", args[0], args[0])
}

// text makes a function of texts that gives a text.
func text(f func(args []string) (string, error)) function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "arguments", Type: cty.String},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			texts := make([]string, len(args))
			for i, a := range args {
				texts[i] = a.AsString()
			}
			s, err := f(texts)
			return cty.StringVal(s), err
		},
	})
}

// notSet stands for a secret that can't be had.
const notSet = "unknown"

// sensitive are the settings of apps and alerts whose values come from secret blocks and from nowhere else.
var sensitive = map[string]bool{"token": true, "password": true, "client_secret": true, "refresh_token": true, "api_key": true, "signing_key": true}

// CheckSensitive refuses secrets that are written into an app or alert block.
func (p *Project) CheckSensitive() hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, app := range p.Apps {
		diags = append(diags, p.checkSensitive(app.Name, app.Body)...)
	}
	for _, a := range p.Alerts {
		diags = append(diags, p.checkSensitive(a.Name, a.body)...)
	}
	return diags
}

func (p *Project) checkSensitive(block string, body hcl.Body) (diags hcl.Diagnostics) {
	attrs, _ := body.JustAttributes()
	for name, attr := range attrs {
		if !sensitive[name] {
			continue
		}
		rng := attr.Expr.Range()
		root, ds := hcl.AbsTraversalForExpr(attr.Expr)
		if ds.HasErrors() || root.RootName() != "secret" {
			diags = append(diags, Errorf("E0205", &rng, fmt.Sprintf("%s must come from a secret block", name),
				fmt.Sprintf("Write secret %q { value = env(\"...\") } and here %s = secret.%s.", block, name, block)))
		}
	}
	return diags
}

func (p *Project) secret(name string) *secret {
	for _, s := range p.secrets {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (p *Project) secretNames() (names []string) {
	for _, s := range p.secrets {
		names = append(names, s.name)
	}
	return names
}

// HasSecret tells whether there is a secret block of a name.
func (p *Project) HasSecret(name string) bool { return p.secret(name) != nil }

// Secret returns what a secret is worth.
func (p *Project) Secret(name string) (string, error) {
	s := p.secret(name)
	if s == nil {
		return "", fmt.Errorf("there is no secret %q", name)
	}
	v, diags := p.secretValue(s)
	if diags.HasErrors() || v.IsNull() {
		return "", fmt.Errorf("secret %q can't be had", name) // CheckSecrets says why
	}
	return v.AsString(), nil
}
