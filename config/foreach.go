package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// decodePipelines decodes a pipeline block: one pipeline, or one for each element of
// its for_each, named LABEL.KEY. A name has no character that a shell, a metric, a
// consumer group or a file name would need quoted.
func (p *Project) decodePipelines(block *hcl.Block) hcl.Diagnostics {
	content, _, _ := block.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "for_each"}}})
	attr := content.Attributes["for_each"]
	if attr == nil {
		pipe, diags := p.decodePipeline(block, nil)
		p.Pipelines = append(p.Pipelines, pipe)
		return diags
	}
	all, diags := p.forEach(attr)
	if len(all) == 0 {
		if diags.HasErrors() {
			p.nameless[block.Labels[0]] = true
		}
		// None to run; what else is wrong in it is told all the same.
		_, ds := p.decodePipeline(block, map[string]cty.Value{"key": cty.UnknownVal(cty.String), "value": cty.DynamicVal})
		return append(diags, ds...)
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		pipe, ds := p.decodePipeline(block, map[string]cty.Value{"key": cty.StringVal(key), "value": all[key]})
		pipe.Name += "." + key
		diags = append(diags, ds...)
		p.Pipelines = append(p.Pipelines, pipe)
	}
	return diags
}

// forEach evaluates for_each: the values by their keys.
func (p *Project) forEach(attr *hcl.Attribute) (map[string]cty.Value, hcl.Diagnostics) {
	rng := attr.Expr.Range()
	for _, v := range attr.Expr.Variables() {
		if root := v.RootName(); root != "var" && root != "local" {
			at := v.SourceRange()
			return nil, hcl.Diagnostics{Errorf("E0203", &at, fmt.Sprintf("%s is not known in for_each", root), "It is worked out once, before anything runs, and makes names, which are shown: var and local are there, and neither rows nor secrets.")}
		}
	}
	value, diags := attr.Expr.Value(&hcl.EvalContext{Functions: settingFunctions, Variables: map[string]cty.Value{
		"var": object(p.Vars, p.unknownNames["var"]), "local": object(p.Locals, p.unknownNames["local"]),
	}})
	if diags.HasErrors() {
		return nil, diags
	}
	refuse := func(summary, detail string) (map[string]cty.Value, hcl.Diagnostics) {
		return nil, hcl.Diagnostics{Errorf("E0118", &rng, summary, detail)}
	}
	t := value.Type()
	switch {
	case value.IsMarked():
		return refuse("for_each over something sensitive", "The names of pipelines are made of its keys, and names are shown. Take what is not sensitive.")
	case !value.IsKnown():
		return nil, nil // what it comes from was refused
	case value.IsNull() || !value.CanIterateElements():
		return refuse("for_each needs a map, a set or a list", `Write for_each = ["EU", "US"] or for_each = { EU = { zone = "Europe/Berlin" } }.`)
	}
	out := map[string]cty.Value{}
	for it := value.ElementIterator(); it.Next(); {
		k, v := it.Element()
		if !t.IsMapType() && !t.IsObjectType() {
			k = v // a list's or set's element is its own key, so that its place in the list does not matter
		}
		switch {
		case k.IsMarked():
			return refuse("for_each over something sensitive", "The names of pipelines are made of its elements, and names are shown. Use a map whose keys are not sensitive.")
		case !k.IsKnown() || k.Type() == cty.DynamicPseudoType && !k.IsNull():
			return nil, nil
		case k.IsNull() || k.Type() != cty.String && k.Type() != cty.Number:
			return refuse("Element has no key", "The elements of a list or set are texts or numbers, for each pipeline is named after one. Make a map of others: { for x in list : x.name => x }.")
		}
		key := keyText(k)
		if !validKey(key) {
			return refuse(fmt.Sprintf("Key %q can't be used", key), "Pipelines are named after the keys, so they have letters, digits, '_' and '-'. Make a map with such keys, and put the text into the value.")
		}
		if _, twice := out[key]; twice {
			return refuse(fmt.Sprintf("Key %q comes twice", key), "Each pipeline has a key of its own; distinct() takes doubles out.")
		}
		out[key] = v
	}
	return out, nil
}

func keyText(k cty.Value) string {
	if k.Type() == cty.Number {
		return k.AsBigFloat().Text('f', -1)
	}
	return k.AsString()
}

func validKey(s string) bool {
	for _, r := range s {
		if r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return s != ""
}
