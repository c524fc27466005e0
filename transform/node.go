package transform

import "github.com/hashicorp/hcl/v2"

// nodeKind is what a node of a checked expression does.
type nodeKind uint8

const (
	constant  nodeKind = iota
	column             // row.x; index: the column
	oldColumn          // old.x; index: the column
	oldIsNull          // old == null
	cleanVar           // clean.x; index: the clean
	metaField          // meta.x; index: a metaKey
	template           // kids joined as text
	conditional
	and
	or
	not
	equal
	notEqual
	binary // an operator that is strict about NULL
	negate
	call
	listOf
	widen      // a number to a wider type
	objectCons // kids: names and values in turn
	indexOf    // collection, key
	forEach    // collection, condition, name, body; index: the slot of its key, the next is its value's
	joinText   // a list of texts as one
	variable   // of a for; index: its slot
	lazy       // a parameter of an inlined function; index: its slot, ref: its argument
	let        // an inlined function: its body, then the arguments that have slots
)

// node is one part of a checked expression: typed, names resolved to slots.
type node struct {
	kind  nodeKind
	typ   typ
	rng   hcl.Range
	kids  []*node
	val   value    // constant
	index int      // column, clean or meta
	name  string   // the name that index stands for
	op    operator // binary
	fn    *function
	impl  callFunc // call: the function bound to its constant arguments
	orTo  bool     // call: the last kid is the fallback of f_or
	nulls bool     // template: NULL parts are written as NULL (messages)

	expand bool  // call: the last argument is a list of arguments
	named  bool  // forEach: makes an object
	group  bool  // forEach: makes an object of lists
	elem   base  // forEach: the type of the values it goes through
	slots  []int // let
	ref    *node // lazy
	memo   eval  // of an argument that ref points to: compiled once
}

// isSlot tells what can be read again at no cost and has facts.
func (n *node) isSlot() bool {
	switch n.kind {
	case column, cleanVar, oldColumn, variable, lazy:
		return true
	}
	return false
}

func (n *node) isConst() bool { return n.kind == constant }
func (n *node) isNull() bool {
	return n.kind == constant && n.val.kind == isNull && n.typ.base == isNull
}
func (n *node) isFailed() bool { return n.typ.base == failed }

// inputs is what an expression reads.
type inputs struct {
	columns []bool // of row, with those read through clean
	other   bool   // meta or old
	cleans  map[int]bool
}

// collect adds what a node reads; cleans resolves a clean to its expression.
func (in *inputs) collect(n *node, cleans func(int) *node) {
	switch n.kind {
	case column:
		in.columns[n.index] = true
	case oldColumn, oldIsNull, metaField:
		in.other = true
	case call:
		in.other = in.other || n.fn.reads
	case cleanVar:
		if in.cleans[n.index] {
			return
		}
		if in.cleans == nil {
			in.cleans = map[int]bool{}
		}
		in.cleans[n.index] = true
		if sub := cleans(n.index); sub != nil {
			in.collect(sub, cleans)
		}
	}
	for _, k := range n.kids {
		in.collect(k, cleans)
	}
}

// slot names a column or clean for what is known of it on a path.
type slot struct {
	kind  nodeKind
	index int
}

// facts are the slots that cannot be NULL on a path.
type facts map[slot]bool

func (f facts) with(more facts) facts {
	if len(more) == 0 {
		return f
	}
	out := make(facts, len(f)+len(more))
	for s := range f {
		out[s] = true
	}
	for s := range more {
		out[s] = true
	}
	return out
}

// known adds what holds where a condition is true, or where it is not. Only
// comparisons by == and != are looked at: they are never NULL themselves.
func (f facts) known(n *node, whenTrue bool) {
	switch n.kind {
	case not:
		f.known(n.kids[0], !whenTrue)
	case and, or:
		if (n.kind == and) == whenTrue {
			f.known(n.kids[0], whenTrue)
			f.known(n.kids[1], whenTrue)
		}
	case equal, notEqual:
		a, b := n.kids[0], n.kids[1]
		if a.isConst() {
			a, b = b, a
		}
		if a.isSlot() && b.isConst() {
			// x != null, or x == a value.
			if (n.kind == notEqual) == whenTrue == (b.val.kind == isNull) {
				f[slot{a.kind, a.index}] = true
			}
		}
	}
}
