package transform

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/change"
)

// The reference interpreter walks HCL's syntax tree and knows nothing of the checker
// and the compiler: types are those of the values that it meets. It shares only the
// bodies of the functions, which have tests of their own. Its values: nil (NULL),
// bool, int64, number (a decimal), float64, string, refTime.

// number is a decimal as coefficient and scale.
type number struct {
	coef  *big.Int
	scale int
}

// refTime is a timestamptz by its exact text.
type refTime string

// refFail is a failed evaluation, by its reason.
type refFail string

type reference struct {
	table *change.Table
	row   change.Row
	src   string
}

func (r *reference) eval(e hclsyntax.Expression) any {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return r.eval(e.Expression)
	case *hclsyntax.LiteralValueExpr:
		return r.literal(e)
	case *hclsyntax.ScopeTraversalExpr:
		return r.column(r.table.Column(e.Traversal[1].(hcl.TraverseAttr).Name))
	case *hclsyntax.TemplateExpr:
		return r.template(e.Parts)
	case *hclsyntax.TemplateWrapExpr:
		return r.template([]hclsyntax.Expression{e.Wrapped})
	case *hclsyntax.ConditionalExpr:
		c := r.eval(e.Condition)
		if f, ok := c.(refFail); ok {
			return f
		}
		if c == true {
			return r.eval(e.TrueResult)
		}
		return r.eval(e.FalseResult)
	case *hclsyntax.UnaryOpExpr:
		return r.unary(e)
	case *hclsyntax.BinaryOpExpr:
		return r.binary(e)
	case *hclsyntax.FunctionCallExpr:
		return r.call(e)
	}
	panic("not in the reference")
}

func (r *reference) literal(e *hclsyntax.LiteralValueExpr) any {
	switch {
	case e.Val.IsNull():
		return nil
	case e.Val.Type() == cty.Bool:
		return e.Val.True()
	case e.Val.Type() == cty.String:
		return e.Val.AsString()
	}
	return parseNumeral(r.src[e.SrcRange.Start.Byte:e.SrcRange.End.Byte])
}

func parseNumeral(s string) any {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && !strings.Contains(s, ".") {
		return n
	}
	return parseDecimal(s)
}

func parseDecimal(s string) number {
	whole, fraction, _ := strings.Cut(s, ".")
	coef, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok {
		panic("bad decimal in the test: " + s)
	}
	return number{coef, len(fraction)}
}

func (r *reference) column(i int) any {
	v := r.row[i]
	switch v.Kind() {
	case change.Null:
		return nil
	case change.Unchanged:
		return refFail("unchanged " + strconv.Itoa(i))
	case change.Bool:
		return v.Text() == "true"
	case change.Int:
		n, _ := v.Int64()
		return n
	case change.Uint:
		if r.table.Columns[i].Precision < 64 {
			n, _ := v.Int64()
			return n
		}
		return parseDecimal(v.Text())
	case change.Decimal:
		return parseDecimal(v.Text())
	case change.Float:
		f, _ := strconv.ParseFloat(v.Text(), 64)
		return f
	case change.TimestampTZ:
		return refTime(v.Text())
	}
	return v.Text()
}

func (r *reference) template(parts []hclsyntax.Expression) any {
	out, absent := "", false
	for _, p := range parts {
		v := r.eval(p)
		if f, ok := v.(refFail); ok {
			return f
		}
		absent = absent || v == nil
		if v != nil {
			out += refText(v)
		}
	}
	if absent {
		return nil
	}
	return out
}

func refText(v any) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case number:
		return v.String()
	case float64:
		return string(appendFloat(nil, v))
	case refTime:
		return string(v)
	}
	return v.(string)
}

func (n number) String() string {
	if n.scale <= 0 {
		return new(big.Int).Mul(n.coef, pow10(-n.scale)).String()
	}
	digits := new(big.Int).Abs(n.coef).String()
	if pad := n.scale + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	sign := ""
	if n.coef.Sign() < 0 {
		sign = "-"
	}
	return sign + digits[:len(digits)-n.scale] + "." + digits[len(digits)-n.scale:]
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func (r *reference) unary(e *hclsyntax.UnaryOpExpr) any {
	v := r.eval(e.Val)
	switch v := v.(type) {
	case bool:
		return !v
	case int64:
		if v == math.MinInt64 {
			return refFail("overflow")
		}
		return -v
	case number:
		return number{new(big.Int).Neg(v.coef), v.scale}
	case float64:
		return -v
	}
	return v
}

func (r *reference) binary(e *hclsyntax.BinaryOpExpr) any {
	a := r.eval(e.LHS)
	if f, ok := a.(refFail); ok {
		return f
	}
	if e.Op == hclsyntax.OpLogicalAnd && a == false || e.Op == hclsyntax.OpLogicalOr && a == true {
		return a
	}
	b := r.eval(e.RHS)
	if f, ok := b.(refFail); ok {
		return f
	}
	switch e.Op {
	case hclsyntax.OpLogicalAnd:
		if b == false || a == true {
			return b
		}
		return nil
	case hclsyntax.OpLogicalOr:
		if b == true || a == false {
			return b
		}
		return nil
	case hclsyntax.OpEqual:
		return refEqual(a, b)
	case hclsyntax.OpNotEqual:
		return !refEqual(a, b)
	}
	if a == nil || b == nil {
		return nil
	}
	switch e.Op {
	case hclsyntax.OpLessThan:
		return refCompare(a, b) < 0
	case hclsyntax.OpLessThanOrEqual:
		return refCompare(a, b) <= 0
	case hclsyntax.OpGreaterThan:
		return refCompare(a, b) > 0
	case hclsyntax.OpGreaterThanOrEqual:
		return refCompare(a, b) >= 0
	}
	return refArithmetic(binaryOps[e.Op].sign, a, b)
}

func refEqual(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return refCompare(a, b) == 0
}

func refCompare(a, b any) int {
	switch x := a.(type) {
	case bool:
		if x == b.(bool) {
			return 0
		}
		return 1
	case string:
		return strings.Compare(x, b.(string))
	case refTime:
		// All of one length in these tests but for the fraction.
		pad := func(t refTime) string {
			s, f, _ := strings.Cut(strings.TrimSuffix(string(t), "Z"), ".")
			return s + "." + f + strings.Repeat("0", 9-len(f))
		}
		return strings.Compare(pad(x), pad(b.(refTime)))
	}
	if isFloat(a) || isFloat(b) {
		x, y := refFloat(a), refFloat(b)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	return refRat(a).Cmp(refRat(b))
}

func isFloat(v any) bool { _, ok := v.(float64); return ok }

func refFloat(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	f, _ := strconv.ParseFloat(v.(number).String(), 64)
	return f
}

func refRat(v any) *big.Rat {
	n, ok := v.(number)
	if !ok {
		return new(big.Rat).SetInt64(v.(int64))
	}
	if n.scale < 0 {
		return new(big.Rat).SetInt(new(big.Int).Mul(n.coef, pow10(-n.scale)))
	}
	return new(big.Rat).SetFrac(n.coef, pow10(n.scale))
}

func refArithmetic(op string, a, b any) any {
	if isFloat(a) || isFloat(b) {
		x, y := refFloat(a), refFloat(b)
		z := 0.0
		switch op {
		case "+":
			z = x + y
		case "-":
			z = x - y
		case "*":
			z = x * y
		default:
			if y == 0 {
				return refFail("division_by_zero")
			}
			if z = x / y; op == "%" {
				z = math.Mod(x, y)
			}
		}
		if math.IsInf(z, 0) {
			return refFail("overflow")
		}
		return z
	}
	_, intA := a.(int64)
	_, intB := b.(int64)
	x, y := refRat(a), refRat(b)
	if (op == "/" || op == "%") && y.Sign() == 0 {
		return refFail("division_by_zero")
	}
	sx, sy := scaleOf(a), scaleOf(b)
	var exact *big.Rat
	scale := max(sx, sy)
	switch op {
	case "+":
		exact = new(big.Rat).Add(x, y)
	case "-":
		exact = new(big.Rat).Sub(x, y)
	case "*":
		exact, scale = new(big.Rat).Mul(x, y), sx+sy
	case "/":
		return refRound(new(big.Rat).Quo(x, y), sx-sy)
	case "%":
		q := new(big.Rat).Quo(x, y)
		whole := new(big.Int).Quo(q.Num(), q.Denom())
		if len(new(big.Int).Abs(whole).String()) > 34 && !(intA && intB) {
			return refFail("invalid_operation")
		}
		exact = new(big.Rat).Sub(x, new(big.Rat).Mul(y, new(big.Rat).SetInt(whole)))
	}
	if intA && intB {
		if !exact.Num().IsInt64() {
			return refFail("overflow")
		}
		return exact.Num().Int64()
	}
	return refRound(exact, scale)
}

func scaleOf(v any) int {
	if n, ok := v.(number); ok {
		return n.scale
	}
	return 0
}

// refRound gives a rational number 34 digits at most, half to even, with the scale
// nearest to the ideal one where it is exact.
func refRound(q *big.Rat, ideal int) any {
	at := func(scale int) (*big.Int, bool) { // q times 10^scale, half to even
		t := new(big.Rat).Set(q)
		if scale >= 0 {
			t.Mul(t, new(big.Rat).SetInt(pow10(scale)))
		} else {
			t.Quo(t, new(big.Rat).SetInt(pow10(-scale)))
		}
		n, rest := new(big.Int).QuoRem(t.Num(), t.Denom(), new(big.Int))
		exact := rest.Sign() == 0
		twice := new(big.Int).Abs(rest)
		twice.Lsh(twice, 1)
		if c := twice.Cmp(t.Denom()); c > 0 || c == 0 && n.Bit(0) == 1 {
			n.Add(n, big.NewInt(int64(t.Sign())))
		}
		return n, exact
	}
	fits := func(n *big.Int) bool { return len(new(big.Int).Abs(n).String()) <= 34 }
	for d := 0; d <= 140; d++ { // exact ones, nearest to the ideal scale first, more digits before fewer
		for _, scale := range []int{ideal + d, ideal - d} {
			if n, exact := at(scale); exact && fits(n) {
				if n.Sign() == 0 {
					scale = max(scale, 0) // zero has no digits before the point to leave out
				}
				return number{n, scale}
			}
		}
	}
	for scale := 140; ; scale-- {
		if n, _ := at(scale); fits(n) {
			return number{n, scale}
		}
	}
}

// toValue and fromValue are for the bodies of functions.
func toValue(v any) value {
	switch v := v.(type) {
	case nil:
		return null
	case bool:
		return ofBool(v)
	case int64:
		return ofInt(v)
	case float64:
		return ofFloat(v)
	case refTime:
		return value{kind: timestampTZ, s: string(v)}
	case number:
		d, _, err := apd.NewFromString(v.coef.String() + "e" + strconv.Itoa(-v.scale))
		if err != nil {
			panic(err)
		}
		return ofDecimal(d)
	}
	return ofText(v.(string))
}

func fromValue(w *Worker, v value) any {
	s := strings.Clone(w.text(v))
	switch v.kind {
	case isNull:
		return nil
	case failed:
		return refFail(v.s)
	case boolean:
		return v.n != 0
	case integer:
		n, _ := v.int()
		return n
	case decimal:
		if v.dec != nil {
			coef, _ := new(big.Int).SetString(v.dec.Coeff.String(), 10)
			if v.dec.Negative {
				coef.Neg(coef)
			}
			return number{coef, int(-v.dec.Exponent)}
		}
		return parseDecimal(s)
	case float:
		f, _ := v.float()
		return f
	case timestampTZ:
		return refTime(s)
	}
	return s
}

func (r *reference) call(e *hclsyntax.FunctionCallExpr) any {
	name, or := strings.CutSuffix(e.Name, "_or")
	f, own := functions[name], len(e.Args)
	if or {
		own--
	}
	var args []value
	absent := false
	for _, a := range e.Args[:own] {
		v := r.eval(a)
		if failure, ok := v.(refFail); ok {
			return failure
		}
		if name == "coalesce" {
			if v != nil {
				return v
			}
			continue
		}
		absent = absent || v == nil
		args = append(args, toValue(v))
	}
	if name == "coalesce" || absent && !f.lenient {
		return nil
	}
	w := (&Program{table: r.table}).NewWorker()
	impl := f.call
	if impl == nil {
		nodes := make([]*node, len(args))
		for i, a := range args {
			nodes[i] = &node{kind: constant, typ: typ{base: a.kind}, val: a}
		}
		var err error
		if impl, err = f.bind(nodes); err != nil {
			panic(err)
		}
	}
	v := fromValue(w, impl(w, args))
	if _, ok := v.(refFail); ok && or {
		return r.eval(e.Args[own])
	}
	return v
}
