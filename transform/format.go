package transform

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"
)

// formatPart is a literal, or one verb with its argument.
type formatPart struct {
	text             string // literal
	verb             byte   // s d f; 0: literal
	left, zero, plus bool
	width, precision int // precision -1: not given
	argument         int
}

var formatFunction = &function{
	name: "format", params: []param{{name: "format", types: textType, constant: true}, {name: "value", types: scalars}}, optional: 1, variadic: true, result: returns(text), fails: []string{"bad_number"},
	bind: func(args []*node) (callFunc, error) {
		parts, err := parseFormat(args[0].val.s)
		if err != nil {
			return nil, badArg(0, "%s", err)
		}
		used := 0
		for _, p := range parts {
			if p.verb == 0 {
				continue
			}
			used++
			if p.argument >= len(args) {
				return nil, badArg(0, "the format has more verbs than there are values")
			}
			b := args[p.argument].typ.base
			if p.verb == 'd' && b != integer && b != isNull {
				return nil, badArg(p.argument, "%%d writes an int, but this is %s", b)
			}
			if p.verb == 'f' && !b.numeric() && b != isNull {
				return nil, badArg(p.argument, "%%f writes a number, but this is %s", b)
			}
		}
		if used != len(args)-1 {
			return nil, badArg(0, "the format has %d verbs for %d values", used, len(args)-1)
		}
		return func(w *Worker, a []value) value { return w.format(parts, a) }, nil
	},
	doc: "The text with `%s` (any value), `%d` (int), `%f` and `%.2f` (numbers, rounded as `round` does) replaced by the values in order; `%05d` fills up with zeros, `%8s` with spaces, `%-8s` on the right, `%+d` writes the sign, `%%` is a percent sign.", examples: [][2]string{{`format("%05d/%s", 42, "a")`, `"00042/a"`}, {`format("%.2f %%", 12.345)`, `"12.35 %"`}},
}

func parseFormat(s string) ([]formatPart, error) {
	var parts []formatPart
	argument := 1
	for s != "" {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return append(parts, formatPart{text: s}), nil
		}
		if i > 0 {
			parts = append(parts, formatPart{text: s[:i]})
		}
		s = s[i+1:]
		if strings.HasPrefix(s, "%") {
			parts, s = append(parts, formatPart{text: "%"}), s[1:]
			continue
		}
		p := formatPart{precision: -1, argument: argument}
		for s != "" && strings.IndexByte("-+0", s[0]) >= 0 {
			p.left, p.plus, p.zero = p.left || s[0] == '-', p.plus || s[0] == '+', p.zero || s[0] == '0'
			s = s[1:]
		}
		p.width, s = leadingNumber(s)
		if rest, ok := strings.CutPrefix(s, "."); ok {
			p.precision, s = leadingNumber(rest)
		}
		if s == "" || strings.IndexByte("sdf", s[0]) < 0 {
			return nil, fmt.Errorf("the format has something else than %%s, %%d, %%f or %%%% after a %%")
		}
		if p.width > 1000 || p.precision > 100 {
			return nil, fmt.Errorf("the format has a width above 1000 or more than 100 digits")
		}
		if p.verb = s[0]; p.verb != 'f' && p.precision >= 0 {
			return nil, fmt.Errorf("the format has a precision for %%%c; only %%f has one", p.verb)
		}
		s = s[1:]
		parts = append(parts, p)
		argument++
	}
	return parts, nil
}

func leadingNumber(s string) (int, string) {
	n, i := 0, 0
	for ; i < len(s) && isDigit(s[i]); i++ {
		n = min(n*10+int(s[i]-'0'), 1_000_000)
	}
	return n, s[i:]
}

func (w *Worker) format(parts []formatPart, a []value) value {
	var out []byte
	for i := range parts {
		p := &parts[i]
		if p.verb == 0 {
			out = append(out, p.text...)
			continue
		}
		v, s := a[p.argument], ""
		switch p.verb {
		case 's':
			s = w.text(v)
		case 'd':
			n, ok := v.int()
			if !ok {
				return fail("bad_number")
			}
			s = strconv.FormatInt(n, 10)
		default:
			var ok bool
			if s, ok = w.fixed(v, p.precision); !ok {
				return fail("bad_number")
			}
		}
		out = p.write(out, s)
	}
	return ofText(string(out))
}

func (p *formatPart) write(dst []byte, s string) []byte {
	sign := ""
	if p.verb != 's' {
		if strings.HasPrefix(s, "-") {
			sign, s = "-", s[1:]
		} else if p.plus {
			sign = "+"
		}
	}
	missing := p.width - utf8.RuneCountInString(s) - len(sign)
	switch {
	case p.left:
		dst = append(append(dst, sign...), s...)
		for ; missing > 0; missing-- {
			dst = append(dst, ' ')
		}
		return dst
	case p.zero && p.verb != 's':
		dst = append(dst, sign...)
		for ; missing > 0; missing-- {
			dst = append(dst, '0')
		}
		return append(dst, s...)
	}
	for ; missing > 0; missing-- {
		dst = append(dst, ' ')
	}
	return append(append(dst, sign...), s...)
}

// fixed writes a number with so many digits after the point; with its own where digits is negative.
func (w *Worker) fixed(v value, digits int) (string, bool) {
	d := toDecimal(w, []value{v})
	if d.kind == failed {
		return "", false
	}
	x, ok := w.decimal(d)
	if !ok || x.Form != apd.Finite {
		return "", false
	}
	if digits < 0 {
		return x.Text('f'), true
	}
	q := w.newDecimal()
	if cond, _ := roundHalfUp.Quantize(q, x, -int32(digits)); cond&apd.InvalidOperation != 0 {
		return "", false
	}
	if q.IsZero() {
		q.Negative = false
	}
	return q.Text('f'), true
}
