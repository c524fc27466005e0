package transform

import (
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
)

// ByParent is the group of a parent: no field of the app, its value is the parent's source key as the stream's messages
// have it, NULL where the row has no parent.
const ByParent config.Group = "parent"

// compiledParent makes a parent's source key.
type compiledParent struct {
	label   string
	table   *change.Table // the parent's
	evals   []eval        // of its key's columns, in their order
	columns []int         // of the row, all that it is made of; nil where it is made of more than columns
}

// keyTypes are the types of values that can name a row.
var keyTypes = setOf(boolean, integer, decimal, text, bytes, date, timestamp, timestampTZ, uuid)

// parents checks the parent blocks against the keys of the parents' tables.
func (c *checker) parents(p *config.Pipeline, prog *Program, sum *fingerprint) {
	for i := range p.Parents {
		par := &p.Parents[i]
		table := c.env.Parents[par.Name]
		if table == nil {
			c.errorf("E0339", par.Range, "Parent can't be checked", "The table of pipeline %q is not known.", par.Pipeline)
			continue
		}
		out := compiledParent{label: "parent " + par.Name, table: table, evals: make([]eval, len(table.Key))}
		columns := make([]string, len(table.Key))
		for k, at := range table.Key {
			columns[k] = table.Columns[at].Name
		}
		if len(columns) == 0 {
			c.errorf("E0339", par.Range, "Parent has no key", "Table %s has no key, so its rows can't be named. Give it a primary key, or name one with key = [...] at its table block.", table.QualifiedName())
			continue
		}
		sum.add("parent", par.Name, par.Pipeline, par.Kind)
		pii, whole := false, true
		for _, ne := range par.Key {
			n := c.noSkip(c.check(ne.Expr), "a parent's key")
			k := slices.Index(columns, ne.Name)
			if k < 0 {
				c.errorf("E0339", ne.NameRange, "Not a column of the parent's key", "The key of table %s is %s. %s", table.QualifiedName(), strings.Join(columns, ", "), didYouMean(ne.Name, columns))
				continue
			}
			n = c.parentType(ne, n, &table.Columns[table.Key[k]])
			c.unchanged(ne.Expr.Range(), n, true)
			used, _ := c.usage(n)
			whole = whole && used != nil
			out.columns = append(out.columns, used...)
			out.evals[k] = c.compiled(n)
			pii = pii || n.typ.pii || table.Columns[table.Key[k]].PII
			columns[k] = "" // given
			sum.node("parent "+par.Name+" "+ne.Name, n)
		}
		if missing := slices.DeleteFunc(columns, func(s string) bool { return s == "" }); len(missing) > 0 && len(missing)+len(par.Key) == len(table.Key) {
			c.errorf("E0339", par.Range, "Parent's key is not whole", "The key of table %s has %s too: give it in the key block.", table.QualifiedName(), strings.Join(missing, ", "))
		}
		if !whole {
			out.columns = nil
		}
		prog.parents = append(prog.parents, out)
		prog.specs = append(prog.specs, FieldSpec{Name: par.Field(), Group: ByParent, PII: pii})
	}
}

// parentType checks that a value has the type of the parent's column: keys are compared by their exact text.
func (c *checker) parentType(ne config.NamedExpr, n *node, column *change.Column) *node {
	want := columnType(column)
	switch {
	case n.isFailed() || n.typ.base == isNull:
		return n
	case !keyTypes.has(want.base):
		return c.errorf("E0339", ne.Expr.Range(), "Key of a type that can't be named", "Column %s of the parent's table is %s.", column.Name, want)
	case n.typ.base != want.base:
		return c.errorf("E0339", ne.Expr.Range(), "Wrong type for the parent's key", "Column %s of the parent's table is %s, but the value is %s.%s", column.Name, want, n.typ, convertHint(want, n.typ))
	case want.base == decimal && want.precision > 0 && n.typ.precision > 0 && want.scale != n.typ.scale:
		return c.errorf("E0339", ne.Expr.Range(), "Wrong scale for the parent's key", "Column %s of the parent's table has %d digits after the point, the value has %d: keys are compared by their exact text.", column.Name, want.scale, n.typ.scale)
	}
	return n
}

// evalParents appends the parents' keys to the fields; false: the row is refused.
func (w *Worker) evalParents(res *Result) bool {
	p := w.program
	for i := range p.parents {
		par := &p.parents[i]
		at := len(p.fields) + i
		if w.unchanged(par.columns) {
			w.fields[at] = change.Of(change.Unchanged, "")
			continue
		}
		row := make(change.Row, len(par.table.Columns))
		none := false
		for k, eval := range par.evals {
			v := eval(w)
			if v.kind == failed {
				w.refuse(res, v, par.label)
				return false
			}
			none = none || v.absent()
			if !none {
				at := par.table.Key[k]
				row[at] = change.Of(par.table.Columns[at].Kind, w.text(v))
			}
		}
		w.fields[at] = change.Value{}
		if !none {
			start := len(w.buf)
			w.buf = change.AppendKey(w.buf, par.table, row)
			w.fields[at] = change.OfString(w.string(start))
		}
	}
	return true
}
