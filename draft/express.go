package draft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/transform"
)

// maxOptions is up to how many options a text is compared with in the written file.
const maxOptions = 20

// Quote is a text as HCL has it.
func Quote(s string) string { return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes()) }

// row is the expression that reads a column.
func row(column string) string {
	if hclsyntax.ValidIdentifier(column) {
		return "row." + column
	}
	return "row[" + Quote(column) + "]"
}

// express gives a pair its value; false: the column's type does not go into the field.
func (d *drafter) express(p *pair) bool {
	c, f := p.column, p.field
	x := row(c.Name)
	if p.minor {
		if c.Kind != change.Int && c.Kind != change.Decimal {
			return false
		}
		currency := Quote(DefaultCurrency)
		if cur := d.column(isText, "currency", "currencycode"); cur != nil {
			currency = row(cur.Name)
			d.read[cur.Name] = true
		}
		p.value = fmt.Sprintf("major(%s, %s)", x, currency)
	} else if p.value = convert(x, c, f); p.value == "" {
		return false
	}
	if f.Type == transform.FieldEmail || f.Type == transform.FieldPhone {
		return true // its clean sees to NULL
	}
	maybe := c.Nullable || strings.Contains(p.value, "_or(") || p.minor && strings.Contains(p.value, ", row")
	if f.Required && maybe {
		with := placeholder(f)
		if with == "" {
			return false
		}
		function := "coalesce"
		if f.Type == transform.FieldText {
			function = "default"
		}
		p.value = fmt.Sprintf("%s(%s, %s)", function, p.value, with)
	}
	return true
}

// isText tells columns whose values are texts that people write.
func isText(c *change.Column) bool { return c.Kind == change.String }

// convert is the column's value as the field's type, "" when there is no plain way.
func convert(x string, c *change.Column, f *transform.ObjectField) string {
	if c.Kind == change.Uint && (c.Precision == 0 || c.Precision > 32) && f.Type == transform.FieldInt {
		return ""
	}
	switch f.Type {
	case transform.FieldEmail, transform.FieldPhone:
		if isText(c) {
			return x
		}
	case transform.FieldText, transform.FieldURL:
		return convertText(x, c, f)
	case transform.FieldEnum:
		return convertEnum(x, c, f)
	case transform.FieldInt:
		switch c.Kind {
		case change.Int, change.Uint:
			return x
		case change.Bool, change.Bytes:
		case change.String:
			return fmt.Sprintf("toint_or(%s, null)", x)
		}
	case transform.FieldDecimal:
		switch c.Kind {
		case change.Int, change.Uint, change.Decimal, change.Float:
			return x
		case change.String:
			return fmt.Sprintf("todecimal_or(%s, null)", x)
		}
	case transform.FieldBool:
		switch c.Kind {
		case change.Bool:
			return x
		case change.Int, change.String:
			return fmt.Sprintf("tobool_or(%s, null)", x)
		}
	case transform.FieldDate:
		switch c.Kind {
		case change.Date:
			return x
		case change.Timestamp, change.TimestampTZ:
			return fmt.Sprintf("todate(%s)", x)
		case change.String:
			return fmt.Sprintf("todate_or(%s, null)", x)
		}
	case transform.FieldTimestamp:
		switch c.Kind {
		case change.TimestampTZ:
			return x
		case change.Timestamp:
			return fmt.Sprintf(`to_tz(%s, "UTC")`, x)
		case change.Date:
			return fmt.Sprintf(`totimestamp(%s, "UTC")`, x)
		}
	}
	return ""
}

func convertText(x string, c *change.Column, f *transform.ObjectField) string {
	if f.Length > 0 && c.Length > f.Length {
		return fmt.Sprintf("substr(%s, 0, %d)", x, f.Length)
	}
	switch c.Kind {
	case change.String:
		return fmt.Sprintf("trim(%s)", x)
	case change.Enum:
		return x
	case change.Int, change.Uint, change.Decimal, change.Float, change.Bool, change.Date, change.Timestamp, change.TimestampTZ, change.UUID:
		return fmt.Sprintf("tostring(%s)", x)
	}
	return ""
}

func convertEnum(x string, c *change.Column, f *transform.ObjectField) string {
	switch {
	case c.Kind == change.Enum && (f.Options == nil || !slices.ContainsFunc(c.Labels, func(l string) bool { return !slices.Contains(f.Options, l) })):
		return x
	case c.Kind == change.String && len(f.Options) > 0 && len(f.Options) <= maxOptions:
		return fmt.Sprintf("one_of_or(%s, [%s], null)", x, quoted(f.Options))
	}
	return ""
}

func quoted(all []string) string {
	var out []string
	for _, s := range all {
		out = append(out, Quote(s))
	}
	return strings.Join(out, ", ")
}

// placeholder is a value for a field that the app requires and no column has, "" when there is none.
func placeholder(f *transform.ObjectField) string {
	switch f.Type {
	case transform.FieldText:
		return Quote("unknown")
	case transform.FieldEnum:
		if len(f.Options) > 0 {
			return Quote(f.Options[0])
		}
	case transform.FieldInt, transform.FieldDecimal:
		return "0"
	case transform.FieldBool:
		return "false"
	case transform.FieldDate:
		return "todate(meta.now)"
	case transform.FieldTimestamp:
		return "meta.now"
	}
	return ""
}
