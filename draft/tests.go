package draft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/transform"
)

// samples are texts for fields by their names, as the app shall have them.
var samples = map[string]string{
	"email": "ada@example.com", "firstname": "Ada", "lastname": "Lovelace", "name": "Example Ltd", "dealname": "Engine",
	"company": "Example Ltd", "city": "London", "country": "GB", "phone": "+14155552671", "mobilephone": "+14155552671",
}

// given is a row of a test: literals by column, in the table's order.
type given struct {
	d      *drafter
	values map[string]string
}

// tests begins the pipeline's tests: a row that goes through, and one that does not.
func (d *drafter) tests() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	good, fields := d.good()
	line("\n# penstock test runs these.\n\ntest %s \"a new row becomes a record\" {", Quote(d.Name))
	line("given {\n%s}", good.text())
	line("expect {\naction = \"create\"")
	if key := d.sampleKey(); key != "" {
		line("key = %s", Quote(key))
	}
	if len(fields) > 0 {
		line("fields = {\n%s\n}", strings.Join(fields, "\n"))
	}
	line("}\n}")
	bad := given{d, map[string]string{}}
	for name, value := range good.values {
		bad.values[name] = value
	}
	switch c := d.deleted(); {
	case d.addressed:
		bad.values[d.find("email").column.Name] = Quote("nobody")
		line("\ntest %s \"a row without a usable address is rejected\" {\ngiven {\n%s}\nexpect { reject = \"no_email\" }\n}", Quote(d.Name), bad.text())
	case c != nil:
		bad.values[c.Name] = sample(c)
		switch c.Kind {
		case change.Bool:
			bad.values[c.Name] = "true"
		case change.Int:
			bad.values[c.Name] = "1"
		}
		line("\ntest %s \"a row that is marked as deleted is left out\" {\ngiven {\n%s}\nexpect { action = \"filter\" }\n}", Quote(d.Name), bad.text())
	}
	return b.String()
}

// good is a row that goes through, and what is expected of it.
func (d *drafter) good() (given, []string) {
	g := given{d, map[string]string{}}
	for i := range d.table.Columns {
		c := &d.table.Columns[i]
		if slices.Contains(d.table.Key, i) || !c.Nullable {
			g.values[c.Name] = sample(c)
		}
	}
	if c := d.deleted(); c != nil {
		delete(g.values, c.Name)
		switch c.Kind {
		case change.Bool:
			g.values[c.Name] = "false"
		case change.Int:
			g.values[c.Name] = "0"
		}
	}
	var fields []string
	for i := range d.pairs {
		p := &d.pairs[i]
		text, ok := samples[p.field.Name]
		switch p.field.Type {
		case transform.FieldEmail:
			text, ok = samples["email"], true
		case transform.FieldPhone:
			text, ok = samples["phone"], true
		}
		plain := p.value == "trim("+row(p.column.Name)+")" || strings.HasPrefix(p.value, "clean.")
		if !ok || !plain || p.column.Length > 0 && len(text) > p.column.Length || slices.Contains(d.table.Key, d.table.Column(p.column.Name)) {
			continue
		}
		written := text
		if p.field.Type == transform.FieldEmail {
			written = strings.Replace(text, "ada@", "Ada@", 1)
		}
		g.values[p.column.Name] = Quote(written)
		fields = append(fields, fmt.Sprintf("%s = %s", p.field.Name, Quote(text)))
	}
	if cur := d.column(isText, "currency", "currencycode"); cur != nil && g.values[cur.Name] != "" {
		g.values[cur.Name] = Quote(DefaultCurrency)
	}
	return g, fields
}

func (g given) text() string {
	var b strings.Builder
	b.WriteString("row = {\n")
	for i := range g.d.table.Columns {
		name := g.d.table.Columns[i].Name
		value, ok := g.values[name]
		if !ok || value == "" {
			continue
		}
		if !hclsyntax.ValidIdentifier(name) {
			name = Quote(name)
		}
		fmt.Fprintf(&b, "%s = %s\n", name, value)
	}
	b.WriteString("}\n")
	return b.String()
}

// sample is a value of a column as tests write it, "" where there is no simple one.
func sample(c *change.Column) string {
	switch c.Kind {
	case change.Bool:
		return "false"
	case change.Int, change.Uint, change.Float, change.Decimal:
		if c.Precision > 0 && c.Scale >= c.Precision {
			return "0" // a fraction alone
		}
		return "1"
	case change.String:
		return Quote("x")
	case change.Date:
		return Quote("2026-03-04")
	case change.Time:
		return Quote("13:14:15")
	case change.Timestamp:
		return Quote("2026-03-04 13:14:15")
	case change.TimestampTZ:
		return Quote("2026-03-04T13:14:15Z")
	case change.UUID:
		return Quote("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
	case change.Enum:
		if len(c.Labels) > 0 {
			return Quote(c.Labels[0])
		}
	}
	return ""
}

// sampleKey is the key of a sample row, "" where its text is not told here.
func (d *drafter) sampleKey() string {
	var parts []string
	for _, k := range d.table.Key {
		switch c := &d.table.Columns[k]; c.Kind {
		case change.Int, change.Uint:
			parts = append(parts, "1")
		case change.String:
			parts = append(parts, "x")
		case change.UUID:
			parts = append(parts, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
		default:
			return ""
		}
	}
	return strings.Join(parts, "/")
}
