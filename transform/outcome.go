package transform

import (
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// outcomes calls visit with every part of an expression whose value can be the
// expression's: both branches of ?:, the arguments of coalesce, fallbacks, the values of
// a map that is looked into, what a clean or a function of the configuration comes to.
func (c *checker) outcomes(n *node, visit func(*node)) {
	all := func(kids []*node) {
		for _, k := range kids {
			c.outcomes(k, visit)
		}
	}
	switch n.kind {
	case conditional:
		all(n.kids[1:])
	case cleanVar:
		if sub := c.cleans[n.index].node; sub != nil {
			c.outcomes(sub, visit)
		}
	case let:
		c.outcomes(n.kids[0], visit)
	case lazy:
		c.outcomes(n.ref, visit)
	case call:
		own := n.kids
		if n.orTo {
			own = n.kids[:len(n.kids)-1]
			c.outcomes(n.kids[len(own)], visit)
		}
		switch {
		case n.expand:
			visit(n)
		case n.fn.lazy, n.fn.catch, n.fn.name == "default":
			all(own)
		case n.fn.name == "nullif":
			all(own[:1])
		case n.fn.name == "lookup_map" && own[1].isConst() && own[1].val.list != nil:
			for i, v := range *own[1].val.list {
				if i%2 == 1 {
					visit(&node{kind: constant, typ: typ{base: v.kind}, rng: own[1].rng, val: v})
				}
			}
			all(own[2:])
		default:
			visit(n)
		}
	default:
		visit(n)
	}
}

// texts calls visit with every constant text that a field's value can be, list elements too.
func (c *checker) texts(n *node, visit func(n *node, s string)) {
	c.outcomes(n, func(k *node) {
		switch {
		case k.kind == listOf:
			for _, item := range k.kids {
				c.texts(item, visit)
			}
		case k.isConst() && k.val.kind == text:
			visit(k, k.val.s)
		case k.isConst() && k.val.kind == list && k.val.list != nil:
			for _, item := range *k.val.list {
				if item.kind == text {
					visit(k, item.s)
				}
			}
		}
	})
}

// usedAt relates the last diagnostic to the field that it is about, where its own place is another line.
func (c *checker) usedAt(ne config.NamedExpr) {
	d := c.diags[len(c.diags)-1]
	if d.Subject != nil && d.Subject.Start.Line != ne.NameRange.Start.Line {
		config.Relate(d, related(ne.NameRange, "written to "+ne.Name+" here"))
	}
}

// options checks what a field can be set to against the values that the app takes.
func (c *checker) options(f *ObjectField, ne config.NamedExpr, n *node) {
	if len(f.Options) == 0 {
		return
	}
	c.texts(n, func(k *node, s string) {
		if !contains(f.Options, s) {
			c.errorf("E0324", k.rng, "Not an option of the field", "Field %q of the app does not take %q. %s", f.Name, s, didYouMean(s, f.Options))
			c.usedAt(ne)
		}
	})
	told := false
	c.outcomes(n, func(k *node) {
		if k.isConst() || told {
			return
		}
		for _, label := range k.typ.labels {
			if !contains(f.Options, label) {
				c.warnf("W0305", k.rng, "A label is no option of the field", "The enum can be %q, which field %q of the app does not take: such rows will be refused. %s", label, f.Name, didYouMean(label, f.Options))
				c.usedAt(ne)
				told = true
				return
			}
		}
	})
}

// length checks what a field can be set to against the longest text that the app takes.
func (c *checker) length(f *ObjectField, ne config.NamedExpr, n *node) {
	if f.Length == 0 || f.Type == FieldList {
		return
	}
	c.texts(n, func(k *node, s string) {
		if count := utf8.RuneCountInString(s); count > f.Length {
			c.errorf("E0325", k.rng, "Text is too long for the field", "Field %q of the app takes %d characters, this has %d.", f.Name, f.Length, count)
			c.usedAt(ne)
		}
	})
	c.outcomes(n, func(k *node) {
		if !k.isConst() && k.typ.length > f.Length {
			c.warnf("W0306", k.rng, "Text may be too long for the field", "Field %q of the app takes %d characters, the column up to %d; cut it with substr(value, 0, %d).", f.Name, f.Length, k.typ.length, f.Length)
			c.usedAt(ne)
		}
	})
}

// personal warns of personal data that goes into an app that is not marked for it.
func (c *checker) personal(ne config.NamedExpr, n *node) {
	if c.env.PersonalData || !n.typ.pii || n.isFailed() {
		return
	}
	name := "a column with personal data"
	if col := c.personalColumn(n); col != nil {
		name = "column " + col.Name + ", which is marked as personal data"
	}
	c.warnf("W0307", ne.Expr.Range(), "Personal data into an app that is not marked for it", "The value is made of %s. If the app may have it, write pii = true in its block; sha256() and hmac() leave nothing personal.", name)
}

func (c *checker) personalColumn(n *node) *change.Column {
	switch {
	case n.kind == column || n.kind == oldColumn:
		if col := &c.table.Columns[n.index]; col.PII {
			return col
		}
	case n.kind == cleanVar && c.cleans[n.index].node != nil:
		return c.personalColumn(c.cleans[n.index].node)
	case n.kind == lazy:
		return c.personalColumn(n.ref)
	}
	for _, k := range n.kids {
		if col := c.personalColumn(k); col != nil {
			return col
		}
	}
	return nil
}

// leftOut tells whether the database may leave a column's value out of an update that
// did not touch it, so often that it matters: documents and binary values, which
// Postgres keeps outside the row (TOAST). Other texts seldom grow so large (2 kB).
func (c *checker) leftOut(i int) bool {
	k := c.table.Columns[i].Kind
	return c.pipeline.From.Kind == "postgres" && !c.table.FullBefore && (k == change.JSON || k == change.Bytes)
}

// unchanged warns where a rule, or a value made of several columns, needs a value that the database may leave out.
func (c *checker) unchanged(rng hcl.Range, n *node, alone bool) {
	if n.isFailed() || c.pipeline.From.Kind != "postgres" {
		return
	}
	_, in := c.usage(n)
	read := 0
	for _, used := range in.columns {
		if used {
			read++
		}
	}
	if alone && read == 1 && !in.other {
		return // all that it is made of is unchanged together: the field is left as it is
	}
	for i, used := range in.columns {
		if used && c.leftOut(i) {
			c.warnf("W0308", rng, "Value may be missing from an update", "Postgres leaves a large %s out of an update that did not change it, and column %s is needed here whenever the row changes: such rows are read from the table again. ALTER TABLE %s REPLICA IDENTITY FULL sends it always.",
				c.table.Columns[i].Kind, c.table.Columns[i].Name, c.table.QualifiedName())
			return
		}
	}
}
