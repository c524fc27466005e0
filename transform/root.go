package transform

import (
	"math/big"
	"sort"
	"strings"

	"github.com/cockroachdb/apd/v3"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/text/unicode/norm"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// roots are the names that expressions begin with; later are those that this version does not have.
var (
	roots = []string{"row", "old", "clean", "meta", "local", "var"}
	later = map[string]string{
		"app": "the record in the app", "base": "the value last agreed", "lookup": "lookups", "child": "child tables",
		"ours": "resolve rules", "theirs": "resolve rules",
	}
)

// constantWords are null, true and false as other languages write them.
var constantWords = map[string]string{"null": "null", "nil": "null", "none": "null", "undefined": "null", "true": "true", "yes": "true", "false": "false", "no": "false"}

// metaKey is a field of the root meta.
type metaKey int

const (
	metaOp metaKey = iota
	metaSource
	metaTable
	metaTS
	metaID
	metaSnapshot
)

var metaFields = map[string]struct {
	key metaKey
	typ base
}{
	"op": {metaOp, text}, "source": {metaSource, text}, "table": {metaTable, text}, "ts": {metaTS, timestampTZ}, "now": {metaTS, timestampTZ},
	"id": {metaID, text}, "snapshot": {metaSnapshot, boolean},
}

// traversal resolves row.x, clean.x and so on to slots.
func (c *checker) traversal(t hcl.Traversal) *node {
	root, rng := t.RootName(), t.SourceRange()
	if n := c.bound(root, rng); n != nil {
		return c.steps(n, t[1:], rng)
	}
	if len(c.inlining) > 0 && root != "local" && root != "var" && root != "secret" && root != "env" {
		return c.errorf("E0336", rng, "Functions see their parameters alone", "%q is none of the function's parameters; hand it over as one. %s", root, c.parameterHint(root))
	}
	switch root {
	case "row", "old":
		return c.columnOf(root, t, rng)
	case "clean":
		return c.cleanOf(t, rng)
	case "meta":
		name, ok := c.member(t, rng, "meta.op", 2)
		if !ok {
			return c.invalid(rng)
		}
		f, ok := metaFields[name]
		if !ok {
			return c.errorf("E0305", rng, "Unknown field of meta", "meta has no %q. %s", name, didYouMean(name, keysOf(metaFields)))
		}
		return &node{kind: metaField, typ: typ{base: f.typ}, rng: rng, index: int(f.key), name: name}
	case "local":
		return c.constantOf("local", c.env.Locals, t, rng)
	case "var":
		return c.constantOf("var", c.env.Vars, t, rng)
	case "each":
		if c.env.Each == nil {
			return c.errorf("E0301", rng, "Unknown name", "each is known only in a pipeline with for_each.")
		}
		return c.constantOf("each", c.env.Each, t, rng)
	case "secret", "env":
		if root == "secret" && c.secretOK && len(t) == 2 {
			return c.secret(t, rng)
		}
		return c.errorf("E0333", rng, "A secret in a row expression", "Row expressions end up in apps and in history: secrets are for the settings of sources and apps alone.")
	}
	if what, ok := later[root]; ok {
		return c.errorf("E0306", rng, "Not yet", "This version does not have %s (%s) in row expressions.", root, what)
	}
	if c.table.Column(root) >= 0 {
		return c.errorf("E0301", rng, "Unknown name", "Columns are read through row. Did you mean \"row.%s\"?", root)
	}
	if word := constantWords[strings.ToLower(root)]; word != "" {
		return c.errorf("E0301", rng, "Unknown name", "Write %s, in small letters and without quotes.", word)
	}
	return c.errorf("E0301", rng, "Unknown name", "%q is none of the names that an expression can begin with. %s", root, didYouMean(root, roots))
}

func (c *checker) parameterHint(name string) string {
	var names []string
	for _, b := range c.scope {
		names = append(names, b.name)
	}
	return didYouMean(name, names)
}

// secret is secret.x where it may be: the key of hmac().
func (c *checker) secret(t hcl.Traversal, rng hcl.Range) *node {
	name, ok := stepName(t[1])
	if !ok || c.env.Secret == nil {
		return c.errorf("E0333", rng, "A secret in a row expression", "This secret is not known here.")
	}
	s, err := c.env.Secret(name)
	if err != nil {
		return c.errorf("E0333", rng, "Secret can't be had", "%s.", err)
	}
	return &node{kind: constant, typ: typ{base: text}, rng: rng, val: ofText(s)}
}

func (c *checker) invalid(rng hcl.Range) *node {
	return &node{kind: constant, typ: typ{base: failed, null: true}, rng: rng, val: fail("invalid")}
}

// member returns the name after the root; depth is how many steps there may be.
func (c *checker) member(t hcl.Traversal, rng hcl.Range, example string, depth int) (string, bool) {
	if len(t) < 2 {
		c.errorf("E0307", rng, "Incomplete reference", "%q alone is not a value; name what is meant, as in %s.", t.RootName(), example)
		return "", false
	}
	name, ok := stepName(t[1])
	if !ok || len(t) > depth {
		c.errorf("E0307", rng, "Reference goes too deep", "%s has plain values; nothing can be read below them with a dot or an index.", t.RootName())
		return "", false
	}
	return name, true
}

func stepName(s hcl.Traverser) (string, bool) {
	switch s := s.(type) {
	case hcl.TraverseAttr:
		return s.Name, true
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && !s.Key.IsNull() {
			return s.Key.AsString(), true
		}
	}
	return "", false
}

// columnOf is row.x and old.x.
func (c *checker) columnOf(root string, t hcl.Traversal, rng hcl.Range) *node {
	if root == "old" {
		switch {
		case !c.table.FullBefore:
			return c.noFullBefore(rng)
		case len(t) == 1:
			return c.errorf("E0307", rng, "Incomplete reference", "old alone can only be compared with null; name a column, as in old.%s.", c.table.Columns[0].Name)
		}
	}
	var columns []string
	for _, col := range c.table.Columns {
		columns = append(columns, col.Name)
	}
	example := root + ".id"
	if len(columns) > 0 {
		example = root + "." + columns[0]
	}
	if len(t) > 2 {
		if name, ok := stepName(t[1]); ok && c.columnIndex(name) >= 0 {
			if k := c.table.Columns[c.columnIndex(name)].Kind; k == change.Array {
				return c.steps(c.columnOf(root, t[:2], t[:2].SourceRange()), t[2:], rng)
			}
			return c.errorf("E0307", rng, "Reference goes too deep", "%s.%s is one value; read inside a JSON document or composite with json_get(%s.%s, \"path\").", root, name, root, name)
		}
	}
	name, ok := c.member(t, rng, example, 2)
	if !ok {
		return c.invalid(rng)
	}
	i := c.columnIndex(name)
	if i < 0 {
		return c.errorf("E0302", rng, "Unknown column", "Table %s has no column %q. %s", c.table.QualifiedName(), name, didYouMean(name, columns))
	}
	n := &node{kind: column, typ: columnType(&c.table.Columns[i]), rng: rng, index: i, name: c.table.Columns[i].Name}
	if root == "old" {
		n.kind, n.typ.null = oldColumn, true
	}
	if c.facts[slot{n.kind, i}] {
		n.typ.null = false
	}
	return n
}

// columnIndex finds a column; HCL hands quoted names over in Unicode's form NFC.
func (c *checker) columnIndex(name string) int {
	if i := c.table.Column(name); i >= 0 {
		return i
	}
	for i := range c.table.Columns {
		if norm.NFC.String(c.table.Columns[i].Name) == name {
			return i
		}
	}
	return -1
}

func (c *checker) noFullBefore(rng hcl.Range) *node {
	return c.errorf("E0316", rng, "old needs full row images", "Table %s sends only the key of former rows. Postgres: ALTER TABLE %s REPLICA IDENTITY FULL; MySQL: SET GLOBAL binlog_row_image = 'FULL'.", c.table.QualifiedName(), c.table.QualifiedName())
}

// cleanOf is clean.x; the clean's own expression is checked at its first use.
func (c *checker) cleanOf(t hcl.Traversal, rng hcl.Range) *node {
	if len(t) > 2 {
		return c.steps(c.cleanOf(t[:2], t[:2].SourceRange()), t[2:], rng)
	}
	name, ok := c.member(t, rng, "clean.email", 2)
	if !ok {
		return c.invalid(rng)
	}
	for i, cl := range c.cleans {
		if cl.Name != name {
			continue
		}
		cl.used = true
		if cl.state == 1 {
			return c.errorf("E0317", rng, "Circular clean", "clean.%s is computed from itself.", name)
		}
		c.checkClean(cl)
		n := &node{kind: cleanVar, typ: cl.node.typ, rng: rng, index: i, name: name}
		if c.facts[slot{cleanVar, i}] {
			n.typ.null = false
		}
		return n
	}
	var names []string
	for _, cl := range c.cleans {
		names = append(names, cl.Name)
	}
	hint := didYouMean(name, names)
	if len(names) == 0 {
		hint = "The pipeline has no clean block."
	}
	return c.errorf("E0303", rng, "Unknown clean", "The clean block has no %q. %s", name, hint)
}

func (c *checker) checkClean(cl *clean) {
	if cl.state != 0 {
		return
	}
	cl.state = 1
	outer, scope, items, inlining := c.facts, c.scope, c.items, c.inlining
	c.facts, c.scope, c.items, c.inlining = nil, nil, nil, nil // what is known where it is used need not hold elsewhere
	cl.node = c.check(cl.Expr)
	c.facts, c.scope, c.items, c.inlining = outer, scope, items, inlining
	cl.state = 2
}

// constantOf is local.x and var.x, with what lies below.
func (c *checker) constantOf(root string, all map[string]cty.Value, t hcl.Traversal, rng hcl.Range) *node {
	name, ok := c.member(t, rng, root+".name", len(t))
	if !ok {
		return c.invalid(rng)
	}
	v, ok := all[name]
	if !ok {
		if root == "each" {
			return c.errorf("E0308", rng, "Unknown name", "each has key and value, and no %q.", name)
		}
		c.diags = append(c.diags, config.UnknownName(root, name, keysOf(all), rng))
		return c.invalid(rng)
	}
	if !v.IsKnown() {
		return c.invalid(rng) // it was refused where it is defined
	}
	if v.ContainsMarked() {
		return c.errorf("E0333", rng, "A secret in a row expression", "%s.%s is sensitive. Row expressions end up in apps and in history.", root, name)
	}
	if len(t) > 2 {
		var diags hcl.Diagnostics
		// The rest is looked up as HCL does it.
		if v, diags = t[2:].TraverseRel(v); diags.HasErrors() {
			return c.errorf("E0308", rng, "Unknown name", "%s.%s: %s", root, name, diags[0].Detail)
		}
	}
	k, ok := c.fromCty(v, rng)
	if !ok {
		return c.errorf("E0309", rng, "Value of no use here", "%s.%s is %s; row expressions take text, numbers, bools and lists of one of them.", root, name, v.Type().FriendlyName())
	}
	return k
}

// fromCty makes a constant of a config value.
func (c *checker) fromCty(v cty.Value, rng hcl.Range) (*node, bool) {
	n := &node{kind: constant, rng: rng}
	switch {
	case !v.IsWhollyKnown():
		return nil, false
	case v.IsNull():
		n.typ = typ{null: true}
		return n, true
	case v.Type() == cty.String:
		n.typ, n.val = typ{base: text}, ofText(v.AsString())
	case v.Type() == cty.Bool:
		n.typ, n.val = typ{base: boolean}, ofBool(v.True())
	case v.Type() == cty.Number:
		f := v.AsBigFloat()
		if i, acc := f.Int64(); acc == big.Exact {
			n.typ, n.val = typ{base: integer}, ofInt(i)
			return n, true
		}
		d, _, err := apd.NewFromString(f.Text('g', -1))
		if err != nil {
			return nil, false
		}
		n.typ, n.val = typ{base: decimal}, ofDecimal(d)
	case v.Type().IsTupleType(), v.Type().IsListType(), v.Type().IsSetType():
		elem := typ{}
		var kids []*node
		for it := v.ElementIterator(); it.Next(); {
			_, ev := it.Element()
			k, ok := c.fromCty(ev, rng)
			if !ok {
				return nil, false
			}
			if elem, ok = unify(elem, k.typ); !ok {
				return nil, false
			}
			kids = append(kids, k)
		}
		for i, k := range kids {
			kids[i] = c.widen(k, elem)
		}
		return c.fold(&node{kind: listOf, typ: listType(elem), rng: rng, kids: kids}), true
	case v.Type().IsObjectType(), v.Type().IsMapType():
		n.typ = typ{base: composite, attrs: []attribute{}}
		var names []string
		var values []value
		for it := v.ElementIterator(); it.Next(); {
			key, ev := it.Element()
			k, ok := c.fromCty(ev, rng)
			if !ok || !k.isConst() {
				return nil, false
			}
			names, values = append(names, key.AsString()), append(values, k.val)
			n.typ.attrs = append(n.typ.attrs, attribute{key.AsString(), k.typ})
		}
		n.val = objectOf(names, values)
		sort.Slice(n.typ.attrs, func(i, j int) bool { return n.typ.attrs[i].name < n.typ.attrs[j].name })
	default:
		return nil, false
	}
	return n, true
}

func keysOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
