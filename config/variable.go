package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// Input is what a command is given for a project's variables, besides the environment:
// -var and -var-file.
type Input struct {
	Vars  []string // "name=value"
	Files []string // of attributes: name = value
}

// variablePrefix is that of the environment variables that set variables.
const variablePrefix = "PENSTOCK_VAR_"

// variable is a variable block.
type variable struct {
	name        string
	typ         cty.Type
	defaults    *typeexpr.Defaults
	value       cty.Value // cty.NilVal: none yet
	from        string    // where the value comes from, for diagnostics
	sensitive   bool
	validations []validation
	rng         hcl.Range
}

type validation struct {
	condition, message hcl.Expression
	rng                hcl.Range
}

var variableSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "type"}, {Name: "default"}, {Name: "description"}, {Name: "sensitive"}},
	Blocks:     []hcl.BlockHeaderSchema{{Type: "validation"}},
}

// sensitiveMark is on the values of variables with sensitive = true: row expressions refuse them.
const sensitiveMark = "sensitive"

// decodeVariables reads the variable blocks and gives each its value: the last of its
// default, PENSTOCK_VAR_name, the files of -var-file in order, and -var in order.
func (p *Project) decodeVariables(blocks hcl.Blocks, parser *hclparse.Parser, in Input) hcl.Diagnostics {
	var diags hcl.Diagnostics
	p.Vars = map[string]cty.Value{}
	for _, block := range blocks {
		if block.Type != "variable" || p.variable(block.Labels[0]) != nil {
			continue // a second of one name is refused with the other blocks
		}
		v, ds := p.decodeVariable(block)
		diags = append(diags, ds...)
		p.variables = append(p.variables, v)
		if text, ok := os.LookupEnv(variablePrefix + v.name); ok {
			diags = append(diags, v.parse(text, variablePrefix+v.name)...)
		}
	}
	for _, name := range in.Files {
		diags = append(diags, p.readVariables(parser, name)...)
	}
	for _, arg := range in.Vars {
		name, text, ok := strings.Cut(arg, "=")
		v := p.variable(name)
		switch {
		case !ok:
			diags = append(diags, Errorf("E0107", nil, fmt.Sprintf("-var %s has no value", name), `Write -var 'name=value'.`))
		case v == nil:
			diags = append(diags, p.undeclared(nil, name, "-var"))
		default:
			diags = append(diags, v.parse(text, "-var")...)
		}
	}
	for _, v := range p.variables {
		if v.value == cty.NilVal {
			if !diags.HasErrors() { // else a misspelt name may be the reason
				diags = append(diags, Errorf("E0113", &v.rng, fmt.Sprintf("Variable %q has no value", v.name),
					fmt.Sprintf("Export %s%s, give -var '%s=...' or a -var-file, or give the variable a default.", variablePrefix, v.name, v.name)))
			}
			v.value = cty.UnknownVal(v.typ)
		}
		if p.Vars[v.name] = v.value; v.sensitive {
			p.Vars[v.name] = v.value.Mark(sensitiveMark)
		}
	}
	return append(diags, p.validateVariables()...)
}

func (p *Project) variable(name string) *variable {
	for _, v := range p.variables {
		if v.name == name {
			return v
		}
	}
	return nil
}

func (p *Project) undeclared(rng *hcl.Range, name, from string) *hcl.Diagnostic {
	var names []string
	for _, v := range p.variables {
		names = append(names, v.name)
	}
	detail := fmt.Sprintf("%s sets it, but no variable block declares it.", from)
	if s := Suggest(name, names); s != "" {
		detail += fmt.Sprintf(" Did you mean %q?", s)
	}
	return Errorf("E0116", rng, fmt.Sprintf("There is no variable %q", name), detail)
}

func (p *Project) decodeVariable(block *hcl.Block) (*variable, hcl.Diagnostics) {
	v := &variable{name: block.Labels[0], typ: cty.DynamicPseudoType, rng: block.DefRange}
	content, diags := block.Body.Content(variableSchema)
	if a := content.Attributes["type"]; a != nil {
		t, defaults, ds := typeexpr.TypeConstraintWithDefaults(a.Expr)
		if ds.HasErrors() {
			rng := a.Expr.Range()
			ds = hcl.Diagnostics{Errorf("E0107", &rng, "Unknown type of a variable", typeHint(a.Expr))}
		} else {
			v.typ, v.defaults = t, defaults
		}
		diags = append(diags, ds...)
	}
	if a := content.Attributes["sensitive"]; a != nil {
		diags = append(diags, gohcl.DecodeExpression(a.Expr, nil, &v.sensitive)...)
	}
	if a := content.Attributes["description"]; a != nil {
		var text string
		diags = append(diags, gohcl.DecodeExpression(a.Expr, nil, &text)...)
	}
	if a := content.Attributes["default"]; a != nil {
		value, ds := a.Expr.Value(&hcl.EvalContext{Functions: settingFunctions})
		diags = append(diags, ds...)
		rng := a.Expr.Range()
		if ds.HasErrors() {
			v.value = cty.UnknownVal(v.typ)
		} else {
			diags = append(diags, v.set(value, "its default", &rng)...)
		}
	}
	for _, b := range content.Blocks {
		var raw struct {
			Condition hcl.Expression `hcl:"condition"`
			Message   hcl.Expression `hcl:"error_message"`
		}
		ds := needs(gohcl.DecodeBody(b.Body, nil, &raw), b, "condition", raw.Condition)
		ds = needs(ds, b, "error_message", raw.Message)
		if diags = append(diags, ds...); !ds.HasErrors() {
			v.validations = append(v.validations, validation{raw.Condition, raw.Message, b.DefRange})
		}
	}
	return v, diags
}

// typeHint names the types, and the one that was meant by another language's name.
func typeHint(expr hcl.Expression) string {
	const all = "Types are string, number, bool, any, list(string), set(string), map(string), tuple([...]) and object({ name = string })."
	switch hcl.ExprAsKeyword(expr) {
	case "text", "str", "varchar":
		return "Did you mean string? " + all
	case "int", "integer", "float", "decimal":
		return "Did you mean number? " + all
	case "boolean":
		return "Did you mean bool? " + all
	case "list", "set", "map":
		return fmt.Sprintf("Say of what: %s(string). ", hcl.ExprAsKeyword(expr)) + all
	}
	return all
}

// parse sets a value that is given as text: as it is where the type is text, or
// nothing is known of it; else as an expression.
func (v *variable) parse(text, from string) hcl.Diagnostics {
	if v.typ == cty.String || v.typ == cty.DynamicPseudoType {
		return v.set(cty.StringVal(text), from, nil)
	}
	expr, diags := hclsyntax.ParseExpression([]byte(text), from, hcl.InitialPos)
	if !diags.HasErrors() {
		var value cty.Value
		if value, diags = expr.Value(nil); !diags.HasErrors() {
			return v.set(value, from, nil)
		}
	}
	// Not the parser's words, for they can have the value in them.
	return v.wrong(fmt.Sprintf("What %s says is no expression of type %s.", from, typeexpr.TypeString(v.typ)), nil)
}

// wrong refuses a value. Where it does not stand in a file, the variable's block is the place.
func (v *variable) wrong(detail string, rng *hcl.Range) hcl.Diagnostics {
	v.value = cty.UnknownVal(v.typ) // one complaint is enough
	summary := fmt.Sprintf("Value does not fit variable %q", v.name)
	if rng == nil {
		return hcl.Diagnostics{Errorf("E0114", &v.rng, summary, detail)}
	}
	return hcl.Diagnostics{Errorf("E0114", rng, summary, detail, Place{v.rng, "declared here"})}
}

func (v *variable) set(value cty.Value, from string, rng *hcl.Range) hcl.Diagnostics {
	if v.defaults != nil && !value.IsNull() {
		value = v.defaults.Apply(value)
	}
	converted, err := convert.Convert(value, v.typ)
	if err != nil {
		detail := fmt.Sprintf("The type is %s, and %s does not fit it: %s.", typeexpr.TypeString(v.typ), from, err)
		return v.wrong(detail, rng)
	}
	v.value, v.from = converted, from
	return nil
}

// readVariables reads a file of -var-file.
func (p *Project) readVariables(parser *hclparse.Parser, name string) hcl.Diagnostics {
	path, err := filepath.Abs(name)
	if err != nil {
		path = name
	}
	text, err := readFile(path)
	if err != nil {
		return hcl.Diagnostics{Errorf("E0002", nil, "File of -var-file can't be read", err.Error())}
	}
	file, diags := parser.ParseHCL(text, path)
	if diags.HasErrors() {
		diags, _ = syntaxErrors(text, diags)
		return diags
	}
	attrs, diags := file.Body.JustAttributes()
	for _, d := range diags {
		d.Detail = "A file of variables has lines name = value, and no blocks."
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		a := attrs[name]
		v := p.variable(name)
		if v == nil {
			diags = append(diags, p.undeclared(&a.NameRange, name, "The file"))
			continue
		}
		value, ds := a.Expr.Value(nil)
		for _, d := range ds {
			if d.Summary == "Variables not allowed" || d.Summary == "Function calls not allowed" {
				d.Detail = "A file of variables has values alone, texts in quotes."
			}
		}
		if diags = append(diags, ds...); !ds.HasErrors() {
			rng := a.Expr.Range()
			diags = append(diags, v.set(value, "what the file says", &rng)...)
		}
	}
	return diags
}

// validateVariables evaluates the validation blocks, once all variables have values.
func (p *Project) validateVariables() hcl.Diagnostics {
	var diags hcl.Diagnostics
	ctx := &hcl.EvalContext{Functions: settingFunctions, Variables: map[string]cty.Value{"var": unmarked(p.Vars)}}
	for _, v := range p.variables {
		if !v.value.IsWhollyKnown() {
			continue
		}
		for _, check := range v.validations {
			got, ds := check.condition.Value(ctx)
			rng := check.condition.Range()
			diags = append(diags, ds...)
			switch ok, err := convert.Convert(got, cty.Bool); {
			case ds.HasErrors():
			case err != nil || ok.IsNull():
				diags = append(diags, Errorf("E0107", &rng, "Not a condition", "A validation's condition is true or false."))
			case ok.IsKnown() && ok.False():
				diags = append(diags, Errorf("E0115", &v.rng, fmt.Sprintf("Variable %q is not valid", v.name), v.complaint(check, ctx), Place{check.rng, "checked here"}))
			}
		}
	}
	return diags
}

// complaint is a validation's error_message, unless it would tell a sensitive value.
func (v *variable) complaint(check validation, ctx *hcl.EvalContext) string {
	from := " The value is from " + v.from + "."
	if v.sensitive && len(check.message.Variables()) > 0 {
		return "Its error_message is not shown, for the variable is sensitive." + from
	}
	text, diags := check.message.Value(ctx)
	if diags.HasErrors() || text.IsNull() || !text.IsKnown() || text.Type() != cty.String {
		return "Its error_message can't be computed: it must be a text." + from
	}
	return text.AsString() + from
}
