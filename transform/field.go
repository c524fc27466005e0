package transform

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// Object is an object of an app, as the app describes it.
type Object struct {
	Name   string
	Fields []ObjectField
}

// FieldType is the type of an app's field.
type FieldType string

// The types.
const (
	FieldText      FieldType = "text"
	FieldInt       FieldType = "int"
	FieldDecimal   FieldType = "decimal"
	FieldBool      FieldType = "bool"
	FieldTimestamp FieldType = "timestamp" // an instant
	FieldDate      FieldType = "date"
	FieldEnum      FieldType = "enum" // one of Options
	FieldList      FieldType = "list" // any of Options, if it has some
	FieldEmail     FieldType = "email"
	FieldPhone     FieldType = "phone"
	FieldURL       FieldType = "url"
)

// ObjectField is a field of an object.
type ObjectField struct {
	Name     string
	Type     FieldType
	Options  []string // of enum and list: the values that the app takes; nil: any
	Length   int      // of text: characters at most; 0: no limit known
	Required bool
	Unique   bool
	ReadOnly bool
}

// takes tells which types of values a field takes. A timestamp without zone names no
// instant, so it is not taken for one.
func (t FieldType) takes() baseSet {
	switch t {
	case FieldInt:
		return setOf(integer)
	case FieldDecimal:
		return numbers
	case FieldBool:
		return setOf(boolean)
	case FieldTimestamp:
		return setOf(timestampTZ)
	case FieldDate:
		return setOf(date)
	case FieldList:
		return setOf(list)
	case FieldText:
		return setOf(text, uuid, document)
	}
	return setOf(text)
}

func (o *Object) field(name string) *ObjectField {
	for i := range o.Fields {
		if o.Fields[i].Name == name {
			return &o.Fields[i]
		}
	}
	return nil
}

// target finds the app's field of an attribute and checks the value's type against it; nil where it is not known.
func (c *checker) target(object *Object, ne config.NamedExpr, n *node) *ObjectField {
	if object == nil {
		return nil
	}
	f := object.field(ne.Name)
	if f == nil {
		var names []string
		for _, of := range object.Fields {
			if !of.ReadOnly {
				names = append(names, of.Name)
			}
		}
		c.errorf("E0320", ne.NameRange, "Unknown field", "Object %s of the app has no field %q. %s", object.Name, ne.Name, didYouMean(ne.Name, names))
		return nil
	}
	if f.ReadOnly {
		c.errorf("E0321", ne.NameRange, "Field is read-only", "The app does not let %q be written.", f.Name)
		return nil
	}
	if n.isFailed() || n.typ.base == isNull {
		return f
	}
	if !f.Type.takes().has(n.typ.base) {
		c.errorf("E0322", ne.Expr.Range(), "Wrong type for the field", "Field %q of the app is %s, but the value is %s.%s", f.Name, f.Type, n.typ, fieldHint(f.Type, n.typ.base))
		return f
	}
	c.options(f, ne, n)
	c.length(f, ne, n)
	return f
}

func fieldHint(f FieldType, b base) string {
	switch {
	case f == FieldTimestamp && b == timestamp:
		return ` It has no zone: say which one with to_tz(value, "Europe/Berlin").`
	case f == FieldTimestamp && b == text:
		return " Use parse_time()."
	case f == FieldDate:
		return " Use todate()."
	case f == FieldInt:
		return " Use toint()."
	case f == FieldDecimal:
		return " Use todecimal()."
	case f == FieldBool:
		return " Use tobool()."
	case f == FieldList:
		return " Use [value] or split()."
	case b == list:
		return ` Use join(";", value).`
	case b == composite || b == bytes:
		return " Use json_get() or sha256()."
	}
	return " Use tostring()."
}

// key checks the key block.
func (c *checker) key(p *config.Pipeline, prog *Program, object *Object, sum *fingerprint) {
	if p.Key.Expr == nil {
		c.errorf("E0327", p.Range, "Pipeline without key", "A pipeline needs a key block with the unique field by which the app's record is found: key { id = tostring(row.id) }.")
		return
	}
	if p.Key.Name == "" {
		return // what is wrong with the block was told
	}
	rng := p.Key.Expr.Range()
	n := c.noSkip(c.check(p.Key.Expr), "the key")
	switch {
	case n.isFailed():
	case n.typ.base != text:
		n = c.errorf("E0328", rng, "Key is not text", "The app key must be text, but this is %s. Use tostring().", n.typ)
	case n.isConst():
		n = c.errorf("E0328", rng, "Key is the same for every row", "The app key must come from the row.")
	case n.typ.null:
		c.warnf("W0304", rng, "Key can be NULL", "A row whose key is NULL is rejected (null_key).")
	}
	c.personal(p.Key, n)
	c.unchanged(rng, n, false)
	if f := c.target(object, p.Key, n); f != nil && !f.Unique {
		c.errorf("E0329", p.Key.NameRange, "Key field is not unique", "The app does not keep field %q unique, so records could be doubled. %s", f.Name, didYouMean(f.Name, uniqueFields(object)))
	}
	_, in := c.usage(n)
	prog.keyOfKey = !in.other
	for i, used := range in.columns {
		if used && !c.table.InKey(i) {
			prog.keyOfKey = false
		}
	}
	prog.key, prog.keyPII = c.compiled(n), n.typ.pii
	sum.node("key "+p.Key.Name, n)
}

func uniqueFields(o *Object) []string {
	var out []string
	for _, f := range o.Fields {
		if f.Unique && !f.ReadOnly {
			out = append(out, f.Name)
		}
	}
	return out
}

// match checks the match block.
func (c *checker) match(p *config.Pipeline, prog *Program, object *Object, sum *fingerprint) {
	whole := true
	for i, m := range p.Match {
		n := c.noSkip(c.check(m.Expr), "match")
		if b := n.typ.base; b == list || b == composite || b == isNull {
			n = c.errorf("E0330", m.Expr.Range(), "Value can't be matched by", "A record is matched by one simple value, but this is %s.", n.typ)
		}
		if m.Name == p.Key.Name {
			c.errorf("E0330", m.NameRange, "Matched by the key", "Field %q is the key already; match is for a field that records had before.", m.Name)
		}
		c.target(object, m, n)
		c.unchanged(m.Expr.Range(), n, false)
		if i == 0 {
			prog.matchField, prog.matchLabel = m.Name, "match "+m.Name
		} else {
			prog.matchAlso = append(prog.matchAlso, m.Name)
		}
		columns, _ := c.usage(n)
		if whole = whole && columns != nil; whole {
			prog.matchColumns = append(prog.matchColumns, columns...)
		} else {
			prog.matchColumns = nil
		}
		prog.match = append(prog.match, c.compiled(n))
		sum.node("match "+m.Name, n)
	}
}

func (c *checker) fields(p *config.Pipeline, prog *Program, object *Object, sum *fingerprint) {
	seen := map[string]*config.FieldExpr{}
	for i := range p.Fields {
		fe := &p.Fields[i]
		if first := seen[fe.Name]; first != nil {
			detail := fmt.Sprintf("Field %q is in fields %q already; a field has one owner.", fe.Name, first.Group)
			if first.Group == fe.Group {
				detail = fmt.Sprintf("Field %q is defined already.", fe.Name)
			}
			c.errorRelated("E0326", fe.NameRange, "Field defined twice", related(first.NameRange, "the first is here"), "%s", detail)
		} else if fe.Name == p.Key.Name {
			c.errorRelated("E0326", fe.NameRange, "Field is the key", related(p.Key.NameRange, "the key is here"), "Field %q is written as the key already.", fe.Name)
		}
		seen[fe.Name] = fe
		n := c.check(fe.Expr)
		c.personal(fe.NamedExpr, n)
		c.unchanged(fe.Expr.Range(), n, true)
		if of := c.target(object, fe.NamedExpr, n); of != nil && of.Required && n.typ.null && !n.isFailed() {
			why, at := c.nullOrigin(n)
			c.errorf("E0323", fe.Expr.Range(), "Value can be NULL", "The app requires field %q, but this value can be NULL%s. Give a value with coalesce(), or reject such rows.", of.Name, why)
			if at.Start.Line != fe.Expr.Range().Start.Line {
				config.Relate(c.diags[len(c.diags)-1], related(at, "can be NULL here"))
			}
		}
		columns, _ := c.usage(n)
		out := compiledField{label: "field " + fe.Name, column: -1, columns: columns, eval: c.compiled(n)}
		if n.kind == column {
			out.column = n.index
		}
		prog.fields = append(prog.fields, out)
		prog.specs = append(prog.specs, FieldSpec{Name: fe.Name, Group: fe.Group, PII: n.typ.pii})
		sum.node("field "+string(fe.Group)+" "+fe.Name, n)
	}
	if object == nil {
		return
	}
	for i := range object.Fields {
		of := &object.Fields[i]
		if of.Required && !of.ReadOnly && seen[of.Name] == nil && of.Name != p.Key.Name {
			c.errorf("E0332", p.Range, "Required field without a value", "The app requires field %q of %s; set it in a fields block.", of.Name, object.Name)
		}
	}
}

// constants checks the fields of `action = "set"`: they are written when there is no row.
func (c *checker) constants(p *config.Pipeline, fields []config.NamedExpr, object *Object) (out []Constant) {
	for _, ne := range fields {
		n := c.noSkip(c.check(ne.Expr), "a field to set")
		if !n.isFailed() && !n.isConst() {
			n = c.errorf("E0338", ne.Expr.Range(), "Value depends on the row", "Field %q is set when its row is gone, or is not the pipeline's any more: its value is made of literals, var, local and each alone.", ne.Name)
		}
		if ne.Name == p.Key.Name {
			c.errorRelated("E0326", ne.NameRange, "Field is the key", related(p.Key.NameRange, "the key is here"), "The record is found again by %q: it stays as it is.", ne.Name)
		}
		of := c.target(object, ne, n)
		if n.isFailed() {
			continue
		}
		if of != nil && of.Required && n.typ.null {
			c.errorf("E0323", ne.Expr.Range(), "Value can be NULL", "The app requires field %q.", of.Name)
		}
		v := c.scratch.output(n.val)
		out = append(out, Constant{ne.Name, change.Of(v.Kind(), strings.Clone(v.Text()))})
	}
	return out
}

// nullOrigin names the column that lets an expression be NULL, with its place.
func (c *checker) nullOrigin(n *node) (why string, at hcl.Range) {
	switch {
	case !n.typ.null:
		return "", n.rng
	case n.kind == column:
		return fmt.Sprintf(" (column %s is nullable)", c.table.Columns[n.index].Name), n.rng
	case n.kind == oldColumn:
		return " (there is no former row of a new one)", n.rng
	case n.kind == lazy:
		return c.nullOrigin(n.ref)
	case n.kind == cleanVar && c.cleans[n.index].node != nil:
		if _, at := c.nullOrigin(c.cleans[n.index].node); at.Filename != "" {
			return fmt.Sprintf(" (clean.%s can be)", n.name), at
		}
	}
	for _, k := range n.kids {
		if why, at := c.nullOrigin(k); why != "" {
			return why, at
		}
	}
	return "", n.rng
}

// messageNode checks a message's template.
func (c *checker) messageNode(e hcl.Expression) *node {
	switch t := e.(type) {
	case *hclsyntax.TemplateExpr:
		return c.template(t.Parts, t.SrcRange, true)
	case *hclsyntax.TemplateWrapExpr:
		return c.template([]hclsyntax.Expression{t.Wrapped}, t.SrcRange, true)
	}
	return c.check(e)
}
