package transform

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// callFunc computes a function of arguments that are not NULL, unless the function
// is lenient. It must not keep the slice.
type callFunc func(w *Worker, args []value) value

// baseSet is a set of types.
type baseSet uint32

func setOf(bs ...base) baseSet {
	var s baseSet
	for _, b := range bs {
		s |= 1 << b
	}
	return s
}

func (s baseSet) has(b base) bool { return s&(1<<b) != 0 }

func (s baseSet) String() string {
	var names []string
	for b := boolean; b < bases; b++ {
		if s.has(b) {
			names = append(names, b.String())
		}
	}
	if s == anyType {
		return "any"
	}
	return strings.Join(names, "|")
}

var (
	textType = setOf(text)
	intType  = setOf(integer)
	numbers  = setOf(integer, decimal, float)
	anyType  = setOf(boolean, integer, decimal, float, text, bytes, date, clock, clockTZ, timestamp, timestampTZ, interval, uuid, document, list, composite)
	ordered  = setOf(integer, decimal, float, text, date, clock, timestamp, timestampTZ, uuid)
)

// param is one parameter.
type param struct {
	name     string
	types    baseSet
	secret   bool // may be a secret: nothing of it can be told from the result
	constant bool // must be known when the configuration is checked
}

// function is one function of the language. The table of them feeds the checker, the
// compiler and the reference in docs/language.md.
type function struct {
	name     string
	params   []param
	optional int  // so many of the last parameters may be left out
	variadic bool // the last parameter may be repeated
	unify    bool // the arguments (from the first on) have one type
	lenient  bool // gets NULL arguments; otherwise NULL for a NULL argument
	hides    bool // nothing personal can be told from the result
	reads    bool // reads the event besides its arguments
	catch    bool // try: like lazy, but the first argument that does not fail
	lazy     bool // coalesce: the first argument that is not NULL, the others are not looked at
	// fails has the reasons for which it can refuse a row; such a function has a
	// sibling name_or whose last argument is the result instead.
	fails []string
	// result is the type of the result; null only where the function itself can
	// give NULL (NULL arguments are seen to).
	result func(args []*node) typ
	// bind prepares a call from the arguments that are constants (regular
	// expressions, layouts, zones); nil: call is used as it is.
	bind func(args []*node) (callFunc, error)
	call callFunc

	family   string
	doc      string
	examples [][2]string // expression, and an expression of the result
}

func returns(b base) func([]*node) typ {
	return func([]*node) typ { return typ{base: b} }
}

// functionsVersion is part of every pipeline's fingerprint: it is raised when the
// result of a function changes.
const functionsVersion = 1

// functions has every function by name, the _or siblings aside.
var functions = func() map[string]*function {
	all := map[string]*function{}
	for _, family := range families {
		for _, f := range family.functions {
			f.family = family.name
			all[f.name] = f
		}
	}
	return all
}()

// families are the functions in the order of the reference.
var families = []struct {
	name      string
	functions []*function
}{
	{"Text", append(append(append([]*function{}, textFunctions...), plainFunctions...), formatFunction)}, {"NULL", nullFunctions}, {"Cleaning", cleaningFunctions}, {"Numbers", numberFunctions},
	{"Time", timeFunctions}, {"Structure", append(append([]*function{}, structureFunctions...), listFunctions...)}, {"Identity", identityFunctions}, {"Conversion", conversionFunctions}, {"Control", controlFunctions},
}

// lookup finds a function, or the one that an _or belongs to.
func lookup(name string) (f *function, or bool) {
	if f := functions[name]; f != nil {
		return f, false
	}
	if base, ok := strings.CutSuffix(name, "_or"); ok {
		if f := functions[base]; f != nil && f.fails != nil {
			return f, true
		}
	}
	return nil, false
}

// functionNames has all names that can be called.
func functionNames() []string {
	var out []string
	for name, f := range functions {
		out = append(out, name)
		if f.fails != nil {
			out = append(out, name+"_or")
		}
	}
	return out
}

// Signature is how a function is called: substr(text, start int, [length int]) text.
func (f *function) signature() string {
	var b strings.Builder
	b.WriteString(f.name + "(")
	for i, p := range f.params {
		if i > 0 {
			b.WriteString(", ")
		}
		if i >= len(f.params)-f.optional {
			b.WriteString("[")
		}
		b.WriteString(p.name)
		if f.variadic && i == len(f.params)-1 {
			b.WriteString("...")
		}
		if i >= len(f.params)-f.optional {
			b.WriteString("]")
		}
	}
	return b.String() + ")"
}

// call checks a function call.
func (c *checker) call(e *hclsyntax.FunctionCallExpr) *node {
	rng := e.Range()
	f, or := lookup(e.Name)
	if f == nil {
		if own := c.env.Functions[e.Name]; own != nil {
			return c.inline(e, own)
		}
		for _, a := range e.Args {
			c.expr(a) // other mistakes are told as well
		}
		return c.errorf("E0304", e.NameRange, "Unknown function", "There is no function %q. %s", e.Name, unknownFunction(e.Name, keysOf(c.env.Functions)))
	}
	args := make([]*node, len(e.Args))
	bad := false
	if f.catch {
		c.tried++
		defer func() { c.tried-- }()
	}
	for i, a := range e.Args {
		c.secretOK = len(f.params) > 0 && f.params[min(i, len(f.params)-1)].secret
		args[i] = c.expr(a)
		c.secretOK = false
		bad = bad || args[i].isFailed()
	}
	if e.ExpandFinal {
		return c.expanded(e, f, or, args, bad)
	}
	own := len(args)
	if or {
		own--
	}
	if own < len(f.params)-f.optional || !f.variadic && own > len(f.params) {
		sign := f.signature()
		if or {
			sign = strings.TrimSuffix(strings.Replace(sign, f.name, e.Name, 1), ")") + ", fallback)"
		}
		return c.errorf("E0313", rng, "Wrong number of arguments", "%s has %d arguments here. It is called as %s.", e.Name, len(args), sign)
	}
	if bad {
		return c.invalid(rng)
	}
	if !c.arguments(e, f, args[:own]) {
		return c.invalid(rng)
	}
	n := &node{kind: call, rng: rng, fn: f, impl: f.call, kids: args, orTo: or}
	if f.unify {
		if !c.unifyArgs(e, f, args[:own]) {
			return c.invalid(rng)
		}
	}
	if f.bind != nil {
		impl, err := f.bind(args[:own])
		if err != nil {
			at := rng
			var ae *argError
			if errors.As(err, &ae) {
				at = e.Args[ae.index].Range()
			}
			return c.errorf("E0315", at, "Wrong argument", "%s: %s.", e.Name, strings.TrimSuffix(err.Error(), "."))
		}
		if impl != nil {
			n.impl = impl
		}
	}
	n.typ = f.result(args[:own])
	if !f.lenient {
		for _, a := range args[:own] {
			n.typ.null = n.typ.null || a.typ.null
		}
	}
	if or {
		t, ok := unify(n.typ, args[own].typ)
		if !ok {
			return c.errorf("E0311", e.Args[own].Range(), "Fallback of another type", "%s gives %s, but the fallback is %s.%s", f.name, n.typ, args[own].typ, convertHint(n.typ, args[own].typ))
		}
		if t.base != n.typ.base && n.typ.base.numeric() {
			return c.errorf("E0311", e.Args[own].Range(), "Fallback of another type", "%s gives %s, but the fallback is %s.", f.name, n.typ, args[own].typ)
		}
		args[own] = c.widen(args[own], t)
		n.typ = t
	}
	return c.fold(n)
}

// expanded checks f(a, list...): the list's elements are arguments.
func (c *checker) expanded(e *hclsyntax.FunctionCallExpr, f *function, or bool, args []*node, bad bool) *node {
	rng, last := e.Range(), len(args)-1
	switch {
	case bad:
		return c.invalid(rng)
	case !f.variadic || or || f.bind != nil || f.catch || len(args) < len(f.params):
		return c.errorf("E0306", rng, "Unsupported expression", "A list can be expanded only into the last arguments of coalesce, concat_ws, min and max.")
	case args[last].typ.base != list:
		return c.errorf("E0310", e.Args[last].Range(), "Not a list", "What is expanded into arguments must be a list, but this is %s.", args[last].typ)
	}
	elem := typ{null: true}
	if args[last].typ.elem != nil {
		elem = *args[last].typ.elem
	}
	like := append(append([]*node{}, args[:last]...), &node{kind: variable, typ: elem, rng: args[last].rng})
	if !c.arguments(e, f, like) || f.unify && !c.unifyArgs(e, f, like) {
		return c.invalid(rng)
	}
	for i, a := range like[:last] {
		if f.unify && a != args[i] || like[last].typ.base != elem.base {
			return c.errorf("E0311", rng, "Arguments of different types", "The arguments and the elements of the list must have one type.")
		}
	}
	t := f.result(like)
	t.null = t.null || !f.lenient || args[last].typ.null
	if f.lazy {
		t.null = true
		for _, a := range args[:last] {
			t.null = t.null && a.typ.null
		}
	}
	return c.fold(&node{kind: call, typ: t, rng: rng, fn: f, impl: f.call, kids: args, expand: true})
}

// impure are names that people look for and that are left out on purpose.
var impure = map[string]string{
	"now": "Results depend on the event alone: use meta.now, the time of the change at the source.", "timestamp": "Results depend on the event alone: use meta.now, the time of the change at the source.",
	"random": "Results depend on the event alone; there is nothing random.", "uuid": "Results depend on the event alone; there is nothing random.",
	"env": "Read the environment in a variable's default or a secret, not per row.",
	"if":  "Write condition ? a : b.", "ifnull": "Use coalesce(value, fallback).", "concat": "Use a template, \"${a} ${b}\", or concat_ws(\" \", a, b).",
}

// arguments checks the types of a call's arguments.
func (c *checker) arguments(e *hclsyntax.FunctionCallExpr, f *function, args []*node) bool {
	ok := true
	for i, a := range args {
		p := f.params[min(i, len(f.params)-1)]
		rng := e.Args[i].Range()
		switch {
		case a.typ.base == isNull:
			if p.constant {
				c.errorf("E0314", rng, "Argument must be constant", "%s of %s can't be null.", p.name, e.Name)
				ok = false
			}
		case !p.types.has(a.typ.base):
			c.errorf("E0312", rng, "Wrong type of argument", "%s of %s must be %s, but this is %s.%s", p.name, e.Name, strings.ReplaceAll(p.types.String(), "|", " or "), a.typ, argumentHint(p.types, a.typ.base))
			ok = false
		case p.constant && !a.isConst():
			c.errorf("E0314", rng, "Argument must be constant", "%s of %s must be known before anything runs: a literal, local or variable.", p.name, e.Name)
			ok = false
		}
	}
	return ok
}

func argumentHint(want baseSet, got base) string {
	switch {
	case want.has(text) && got != list && got != composite && got != bytes:
		return " Use tostring()."
	case want.has(integer) && (got == text || got == decimal || got == float):
		return " Use toint()."
	case want.has(decimal) && got == text:
		return " Use todecimal()."
	case want.has(timestampTZ) && got == timestamp:
		return " Give it a zone with to_tz(value, \"Europe/Berlin\")."
	case want.has(timestampTZ) && got == text:
		return " Use parse_time()."
	}
	return ""
}

// unifyArgs brings the arguments to one type.
func (c *checker) unifyArgs(e *hclsyntax.FunctionCallExpr, f *function, args []*node) bool {
	t := args[0].typ
	for i, a := range args[1:] {
		u, ok := unify(t, a.typ)
		if !ok {
			c.errorf("E0311", hcl.RangeBetween(e.Args[0].Range(), e.Args[i+1].Range()), "Arguments of different types", "The arguments of %s must have one type, but these are %s and %s.%s", f.name, t, a.typ, convertHint(t, a.typ))
			return false
		}
		t = u
	}
	for i, a := range args {
		args[i] = c.widen(a, t)
	}
	return true
}

// argError is a mistake in one constant argument.
type argError struct {
	index int
	why   string
}

func (e *argError) Error() string { return e.why }

func badArg(index int, format string, args ...any) error {
	return &argError{index: index, why: fmt.Sprintf(format, args...)}
}
