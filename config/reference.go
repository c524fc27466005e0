package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// references are the names that a project's expressions use, settings and rows alike.
type references struct {
	used map[string]bool // "local.x", "var.x", "secret.x", "x()"
}

// findReferences walks all files, and refuses locals and variables that are not there.
func (p *Project) findReferences(bodies []hcl.Body) hcl.Diagnostics {
	var diags hcl.Diagnostics
	p.refs.used = map[string]bool{}
	p.unknownNames = map[string][]string{}
	for _, body := range bodies {
		file, ok := body.(*hclsyntax.Body)
		if !ok {
			continue
		}
		for _, block := range file.Blocks {
			_ = hclsyntax.VisitAll(block.Body, func(n hclsyntax.Node) hcl.Diagnostics {
				switch n := n.(type) {
				case *hclsyntax.FunctionCallExpr:
					p.refs.used[n.Name+"()"] = true
				case *hclsyntax.ScopeTraversalExpr:
					root, name := n.Traversal.RootName(), stepName(n.Traversal)
					if name == "" || block.Type == "variable" && root == "var" && len(block.Labels) > 0 && name == block.Labels[0] {
						return nil // a variable's own validation does not count
					}
					p.refs.used[root+"."+name] = true
					if d := p.unknownReference(root, name, n.Traversal.SourceRange()); d != nil {
						p.unknownNames[root] = append(p.unknownNames[root], name)
						diags = append(diags, d)
					}
				}
				return nil
			})
		}
	}
	return diags
}

func (p *Project) unknownReference(root, name string, rng hcl.Range) *hcl.Diagnostic {
	var names []string
	switch root {
	case "local":
		names = slices.Collect(maps.Keys(p.locals))
	case "var":
		for _, v := range p.variables {
			names = append(names, v.name)
		}
	case "secret":
		if names = p.secretNames(); !slices.Contains(names, name) {
			return unknown(&rng, "secret", name, names)
		}
		return nil
	default:
		return nil
	}
	if slices.Contains(names, name) {
		return nil
	}
	return UnknownName(root, name, names, rng)
}

// UnknownName refuses local.x or var.x that is not defined.
func UnknownName(root, name string, names []string, rng hcl.Range) *hcl.Diagnostic {
	slices.Sort(names)
	hint := fmt.Sprintf("Define it: locals { %s = ... }.", name)
	if root == "var" {
		hint = fmt.Sprintf("Declare it: variable %q { type = string }.", name)
	}
	if s := Suggest(name, names); s != "" {
		hint = fmt.Sprintf("Did you mean %q?", s)
	} else if len(names) > 0 && len(names) <= 12 {
		hint += " There are: " + strings.Join(names, ", ") + "."
	}
	return Errorf("E0308", &rng, "Unknown name", fmt.Sprintf("There is no %s.%s. %s", root, name, hint))
}

// unused warns of what nothing refers to.
func (p *Project) unused() hcl.Diagnostics {
	var diags hcl.Diagnostics
	for name, l := range p.locals {
		if !p.refs.used["local."+name] {
			diags = append(diags, Warnf("W0101", &l.NameRange, "Unused local", fmt.Sprintf("Nothing uses local.%s.", name)))
		}
	}
	for _, v := range p.variables {
		if !p.refs.used["var."+v.name] {
			diags = append(diags, Warnf("W0102", &v.rng, "Unused variable", fmt.Sprintf("Nothing uses var.%s.", v.name)))
		}
	}
	for _, s := range p.secrets {
		if !p.refs.used["secret."+s.name] {
			diags = append(diags, Warnf("W0103", &s.rng, "Unused secret", fmt.Sprintf("Nothing uses secret.%s.", s.name)))
		}
	}
	for name, f := range p.Functions {
		if !p.refs.used[name+"()"] {
			diags = append(diags, Warnf("W0104", &f.Range, "Unused function", fmt.Sprintf("Nothing calls %s().", name)))
		}
	}
	return diags
}
