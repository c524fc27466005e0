package transform

import (
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/text/unicode/norm"
)

// literal makes a constant of a literal. HCL's own value has lost something: the
// scale of a number (0.10) and the exact bytes of text (it is brought to Unicode's
// form NFC); both are taken from the source where that is at hand.
func (c *checker) literal(e *hclsyntax.LiteralValueExpr) *node {
	n := &node{kind: constant, rng: e.SrcRange}
	v := e.Val
	switch {
	case v.IsNull():
		n.typ = typ{null: true}
	case v.Type() == cty.Bool:
		n.typ, n.val = typ{base: boolean}, ofBool(v.True())
	case v.Type() == cty.String:
		n.typ, n.val = typ{base: text}, ofText(c.exactText(v.AsString(), e.SrcRange))
	case v.Type() == cty.Number:
		return c.number(v.AsBigFloat(), n)
	default:
		return c.errorf("E0306", e.SrcRange, "Unsupported literal", "This literal is not part of row expressions.")
	}
	return n
}

// number: without a point or exponent an int, else a decimal.
func (c *checker) number(f *big.Float, n *node) *node {
	src := c.source(n.rng)
	if src == "" {
		src = f.Text('g', -1)
	}
	if i, acc := f.Int64(); acc == big.Exact && !strings.ContainsAny(src, ".eE") {
		n.typ, n.val = typ{base: integer}, ofInt(i)
		return n
	}
	d, _, err := apd.NewFromString(src)
	if err != nil || d.Exponent > arithmetic.MaxExponent || d.Exponent < arithmetic.MinExponent {
		return c.errorf("E0319", n.rng, "Number out of range", "The number can't be written as a decimal.")
	}
	if d.NumDigits() > int64(arithmetic.Precision) {
		return c.errorf("E0319", n.rng, "Number out of range", "Decimals have at most %d digits.", arithmetic.Precision)
	}
	n.typ, n.val = typ{base: decimal}, ofDecimal(d)
	return n
}

// source returns the text of a range of the configuration, empty where it is not at hand.
func (c *checker) source(rng hcl.Range) string {
	f := c.env.Files[rng.Filename]
	if f == nil || !rng.CanSliceBytes(f.Bytes) {
		return ""
	}
	return string(rng.SliceBytes(f.Bytes))
}

// exactText returns the bytes as written of a text whose value HCL has normalised.
func (c *checker) exactText(value string, rng hcl.Range) string {
	if isASCII(value) {
		return value
	}
	src := c.source(rng)
	for _, candidate := range []string{src, unescape(src), reindent(src, value)} {
		if norm.NFC.String(candidate) == value {
			return candidate
		}
	}
	return value
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// unescape reads the escapes of a quoted text, and of heredocs: \n \r \t \" \\ \uXXXX \UXXXXXXXX $${ %%{.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		rest := s[i:]
		if strings.HasPrefix(rest, "$${") || strings.HasPrefix(rest, "%%{") {
			b.WriteString(rest[1:3])
			i += 2
			continue
		}
		if s[i] != '\\' || len(rest) < 2 {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u', 'U':
			size := 4
			if s[i] == 'U' {
				size = 8
			}
			r, ok := new(big.Int).SetString(s[min(i+1, len(s)):min(i+1+size, len(s))], 16)
			if !ok {
				return s
			}
			b.WriteRune(rune(r.Int64()))
			i += size
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// reindent gives the lines of a heredoc's source the indentation that they have in its value.
func reindent(src, value string) string {
	lines, want := strings.Split(src, "\n"), strings.Split(value, "\n")
	if len(lines) != len(want) {
		return ""
	}
	for i, l := range lines {
		indent := want[i][:len(want[i])-len(strings.TrimLeft(want[i], " \t"))]
		lines[i] = indent + strings.TrimLeft(l, " \t")
	}
	out := strings.Join(lines, "\n")
	return strings.NewReplacer("$${", "${", "%%{", "%{").Replace(out)
}
