package transform

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"github.com/penstock-cdc/penstock/config"
)

// fingerprint hashes what determines a pipeline's results. Expressions are hashed as
// they were understood: layout, comments and parentheses do not count, values of
// locals and variables do. Columns count by name, so that a new column is no change.
type fingerprint struct {
	h hash.Hash
}

func newFingerprint(p *config.Pipeline) *fingerprint {
	f := &fingerprint{h: sha256.New()}
	f.add("penstock", fmt.Sprint(functionsVersion), p.From.Source, p.From.Table, p.To.App, p.To.Object)
	return f
}

// add writes texts so that no two lists of them are written alike.
func (f *fingerprint) add(texts ...string) {
	for _, t := range texts {
		fmt.Fprintf(f.h, "%d:%s,", len(t), t)
	}
}

// node adds an expression under a label.
func (f *fingerprint) node(label string, n *node) {
	f.add(label)
	writeNode(f.h, n)
}

// cleans adds the used cleans; their order does not matter to the expressions, which refer to them by place.
func (f *fingerprint) cleans(all []*clean) {
	for _, c := range all {
		if c.used {
			f.node("clean "+c.Name, c.node)
		}
	}
}

func writeNode(w io.Writer, n *node) {
	fmt.Fprintf(w, "(%d", n.kind)
	switch n.kind {
	case constant:
		value := appendText(nil, n.val)
		fmt.Fprintf(w, " %d %d:%s", n.val.kind, len(value), value)
	case column, oldColumn, metaField, cleanVar:
		fmt.Fprintf(w, " %d:%s", len(n.name), n.name)
	case variable, lazy:
		fmt.Fprintf(w, " %d", n.index)
	case forEach:
		fmt.Fprintf(w, " %d %t %t", n.index, n.named, n.group)
	case let:
		fmt.Fprint(w, " ", n.slots)
	case binary:
		fmt.Fprintf(w, " %d", n.op)
	case call:
		fmt.Fprintf(w, " %s %t", n.fn.name, n.orTo)
		if n.expand {
			io.WriteString(w, " ...") //nolint:errcheck // a hash takes everything
		}
	}
	for _, k := range n.kids {
		writeNode(w, k)
	}
	io.WriteString(w, ")") //nolint:errcheck // a hash takes everything
}

// String is the hash: 32 hex digits.
func (f *fingerprint) String() string { return hex.EncodeToString(f.h.Sum(nil)[:16]) }
