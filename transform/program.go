// Package transform has the row-expression language: it checks a pipeline's expressions
// against the schema of its table and the fields of its app object, compiles them to
// closures over typed values, and evaluates them on one event after the other. The
// language is described in docs/language.md.
//
// HCL's parser is used and nothing else of it at run time: a value is never a cty.Value.
package transform

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// Env is what expressions may refer to besides the event.
type Env struct {
	// Vars and Locals are var.x and local.x: text, numbers, bools and lists of them.
	// A marked value (a secret) is refused.
	Vars, Locals map[string]cty.Value
	// Parents are the tables of the parents' pipelines, by the parent block's name.
	Parents map[string]*change.Table
	// Each is each.key and each.value of a pipeline with for_each; nil: it has none.
	Each map[string]cty.Value
	// PersonalData: the app may have columns that are marked as personal data.
	PersonalData bool
	// Functions are the configuration's own, by name.
	Functions map[string]*config.Function
	// Secret returns the value of a secret, for the key of hmac(); nil: there is none.
	Secret func(name string) (string, error)
	// Files has the configuration's files by name. With them, the literals are taken
	// as they are written: HCL's parser drops the scale of numbers and normalises text.
	Files map[string]*hcl.File
}

// FieldSpec is one field that a program writes.
type FieldSpec struct {
	Name  string
	Group config.Group
	PII   bool // made of a column with personal data
}

// Program is a compiled pipeline. It is immutable and shared by its workers.
type Program struct {
	table       *change.Table
	source      string
	where       eval
	cleans      []compiledClean
	rejects     []compiledReject
	key         eval
	match       []eval
	keyOfKey    bool // the app key is made of the table's key alone
	keyLabel    string
	matchLabel  string
	keyField    string
	keyPII      bool
	matchField  string
	matchAlso   []string
	fields      []compiledField
	parents     []compiledParent
	specs       []FieldSpec
	setOnDelete []Constant
	setOnLeave  []Constant
	fingerprint string
	// matchColumns are those that match is made of; nil where it is made of more than columns.
	matchColumns []int
}

type compiledClean struct {
	name string
	eval eval
}

type compiledReject struct {
	name, label string
	when        eval
	message     eval // nil: none
}

type compiledField struct {
	label   string
	eval    eval
	column  int   // the field is this column as it is; -1: it is computed
	columns []int // all that it is made of; nil where it is made of more than columns
}

// Fields returns the fields in the order of the pipeline, then its parents.
func (p *Program) Fields() []FieldSpec { return p.specs }

// KeyField is the app's field that holds the key.
func (p *Program) KeyField() string { return p.keyField }

// KeyPII tells whether the key is made of a column with personal data.
func (p *Program) KeyPII() bool { return p.keyPII }

// KeyOfKey tells whether the key is made of the table's key alone.
func (p *Program) KeyOfKey() bool { return p.keyOfKey }

// MatchField is the app's field by which a record that was there before us is found, empty for none.
func (p *Program) MatchField() string { return p.matchField }

// MatchAlso are the further fields of match: a record is the row's only if it has all of the values.
func (p *Program) MatchAlso() []string { return p.matchAlso }

// Constant is a field whose value does not depend on the row.
type Constant struct {
	Name  string
	Value change.Value
}

// SetOnDelete are the fields of `on "delete" { action = "set" }`.
func (p *Program) SetOnDelete() []Constant { return p.setOnDelete }

// SetOnLeave are the fields of `on "leave" { action = "set" }`.
func (p *Program) SetOnLeave() []Constant { return p.setOnLeave }

// Fingerprint is a hash over all that determines results: where, clean, reject, key,
// match and fields (not their layout, comments and order of cleans), the values of the
// locals and variables in them, the functions' version, app, object and table. Run,
// deliver, on and guard are not part of it.
func (p *Program) Fingerprint() string { return p.fingerprint }

// Compile checks a pipeline against the schema of its table and, where it is known,
// the app's object, and compiles it. All problems are returned at once; the program is
// nil if one of them is an error.
func Compile(p *config.Pipeline, table *change.Table, object *Object, env Env) (*Program, hcl.Diagnostics) {
	c := &checker{pipeline: p, table: table, env: env}
	c.scratch = (&Program{table: table, source: p.From.Source}).NewWorker()
	prog := &Program{table: table, source: p.From.Source, keyField: p.Key.Name, keyLabel: "key " + p.Key.Name}
	names := map[string]hcl.Range{}
	for _, ne := range p.Clean {
		if first, ok := names[ne.Name]; ok {
			c.errorRelated("E0331", ne.NameRange, "Defined twice", related(first, "the first is here"), "clean.%s is defined already.", ne.Name)
			continue
		}
		names[ne.Name] = ne.NameRange
		c.cleans = append(c.cleans, &clean{NamedExpr: ne})
	}

	sum := newFingerprint(p)
	holds := facts{}
	if p.Where != nil {
		n := c.rule(p.Where, "where")
		holds.known(n, true)
		sum.node("where", n)
		prog.where = c.compiled(n)
	}
	c.facts = holds
	c.rejects(p, prog, holds, sum)
	c.key(p, prog, object, sum)
	c.match(p, prog, object, sum)
	c.fields(p, prog, object, sum)
	c.parents(p, prog, sum)
	prog.setOnDelete = c.constants(p, p.On.SetDelete, object)
	prog.setOnLeave = c.constants(p, p.On.SetLeave, object)
	c.finishCleans(prog, sum)
	if c.diags.HasErrors() {
		return nil, c.diags
	}
	prog.fingerprint = sum.String()
	return prog, c.diags
}

// compiled compiles a checked expression; none while there are errors.
func (c *checker) compiled(n *node) eval {
	if c.diags.HasErrors() {
		return nil
	}
	return compile(n)
}

// noSkip refuses skip() where no field is left out.
func (c *checker) noSkip(n *node, what string) *node {
	if n.typ.skip && !n.isFailed() {
		return c.errorf("E0337", n.rng, "Nothing to skip here", "skip() leaves a field of the app as it is; %s is none.", what)
	}
	return n
}

// rule checks `where` and `when`.
func (c *checker) rule(e hcl.Expression, what string) *node {
	n := c.noSkip(c.check(e), what)
	switch b := n.typ.base; {
	case b == failed:
	case b != boolean && b != isNull:
		return c.errorf("E0318", e.Range(), "Not a condition", "%s must be a bool, but this is %s.", what, n.typ)
	case n.isConst():
		c.warnf("W0303", e.Range(), "Condition is always the same", "%s does not depend on the row.", what)
		return n
	case n.typ.null:
		c.warnf("W0301", e.Range(), "Condition can be NULL", "%s counts as false where it is NULL; say what NULL means with == null, != true or coalesce().", what)
	}
	c.unchanged(e.Range(), n, false)
	return n
}

func (c *checker) rejects(p *config.Pipeline, prog *Program, holds facts, sum *fingerprint) {
	names := map[string]hcl.Range{}
	for _, r := range p.Rejects {
		if first, ok := names[r.Name]; ok {
			c.errorRelated("E0331", r.Range, "Defined twice", related(first, "the first is here"), "reject %q is defined already.", r.Name)
		}
		names[r.Name] = r.Range
		when := c.rule(r.When, "when")
		out := compiledReject{name: r.Name, label: "reject " + r.Name}
		if r.Message != nil {
			outer := c.facts
			more := facts{}
			more.known(when, true)
			c.facts = outer.with(more)
			out.message = c.compiled(c.message(r.Message))
			c.facts = outer
		}
		out.when = c.compiled(when)
		prog.rejects = append(prog.rejects, out)
		sum.node("reject "+r.Name, when)
		holds.known(when, false)
		c.facts = holds
	}
}

// message checks a reject's message: a text in which NULL is written as NULL.
func (c *checker) message(e hcl.Expression) *node {
	n := c.noSkip(c.messageNode(e), "a message")
	if b := n.typ.base; b != text && b != failed {
		return c.errorf("E0310", e.Range(), "Message is not text", "A message is text, but this is %s.", n.typ)
	}
	return n
}

// usage returns the columns that an expression is made of, nil where it reads more than columns.
func (c *checker) usage(n *node) (columns []int, all *inputs) {
	in := &inputs{columns: make([]bool, len(c.table.Columns))}
	in.collect(n, func(i int) *node { return c.cleans[i].node })
	if !in.other {
		for i, used := range in.columns {
			if used {
				columns = append(columns, i)
			}
		}
	}
	return columns, in
}

// finishCleans checks what nothing used, and compiles all.
func (c *checker) finishCleans(prog *Program, sum *fingerprint) {
	for _, cl := range c.cleans {
		if !cl.used {
			c.checkClean(cl)
			c.warnf("W0302", cl.NameRange, "Unused clean", "Nothing uses clean.%s.", cl.Name)
		}
		prog.cleans = append(prog.cleans, compiledClean{name: cl.Name, eval: c.compiled(cl.node)})
	}
	sum.cleans(c.cleans)
}
