package draft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/transform"
)

// clean moves addresses and phone numbers into cleans and chooses the rejection.
func (d *drafter) clean() {
	for i := range d.pairs {
		p := &d.pairs[i]
		name := Identifier(p.field.Name)
		switch p.field.Type {
		case transform.FieldEmail:
			c := clean{name: name, value: fmt.Sprintf("email_normalize_or(%s, null)", p.value)}
			if p.field.Required {
				c.value = fmt.Sprintf("email_normalize(%s)", present(p))
			}
			d.cleans = append(d.cleans, c)
		case transform.FieldPhone:
			country, comment := Quote(DefaultCountry), "numbers without + are dialled there"
			if at := d.column(isText, "country", "countrycode"); at != nil {
				d.read[at.Name] = true
				country, comment = fmt.Sprintf("country_code_or(coalesce(%s, %s), %s)", row(at.Name), country, country), ""
				if !at.Nullable {
					country = fmt.Sprintf("country_code_or(%s, %s)", row(at.Name), Quote(DefaultCountry))
				}
			}
			c := clean{name: name, value: fmt.Sprintf("phone_e164_or(%s, %s, null)", p.value, country), comment: comment}
			if p.field.Required {
				c.value = fmt.Sprintf("phone_e164(%s, %s)", present(p), country)
			}
			d.cleans = append(d.cleans, c)
		default:
			continue
		}
		p.value = "clean." + name
	}
	if p := d.find("email"); p != nil && d.object.Name == "contacts" && p.field.Type == transform.FieldEmail && !p.field.Required {
		d.addressed = true
	}
}

// present is a column's value with a text that is refused instead of NULL.
func present(p *pair) string {
	if p.column.Nullable {
		return fmt.Sprintf(`coalesce(%s, "")`, p.value)
	}
	return p.value
}

// deleted is the column that marks rows as gone, nil if there is none.
func (d *drafter) deleted() *change.Column {
	if c := d.column(func(c *change.Column) bool {
		return c.Nullable && (c.Kind == change.Timestamp || c.Kind == change.TimestampTZ || c.Kind == change.Date)
	}, "deletedat", "deletedon", "removedat", "archivedat"); c != nil {
		return c
	}
	return d.column(func(c *change.Column) bool { return c.Kind == change.Bool || c.Kind == change.Int && c.Precision == 8 }, "isdeleted", "deleted")
}

func (d *drafter) where() string {
	c := d.deleted()
	switch {
	case c == nil:
		return ""
	case c.Kind == change.Bool:
		return row(c.Name) + " != true"
	case c.Kind == change.Int && c.Nullable:
		return fmt.Sprintf("coalesce(%s, 0) == 0", row(c.Name))
	case c.Kind == change.Int:
		return row(c.Name) + " == 0"
	}
	return row(c.Name) + " == null"
}

// pipeline writes the pipeline block and lists what it leaves open.
func (d *drafter) pipeline() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Table %s becomes %s of %s.", oneLine(d.table.QualifiedName()), d.object.Name, d.App)
	if d.Missing {
		line("#\n# TODO: make the property %s of %s in the app: single-line text, with unique values\n# required. Until then validate --live refuses the key (E0320).", d.Key, d.object.Name)
	}
	line("\npipeline %s {", Quote(d.Name))
	line("from = source.%s.%s.%s", d.SourceKind, d.Source, d.alias)
	line("to = app.%s.%s.%s", d.AppKind, d.App, d.object.Name)
	where := d.where()
	if where != "" {
		line("where = %s", where)
	}
	if len(d.cleans) > 0 {
		line("\nclean {")
		for _, c := range d.cleans {
			if c.comment != "" {
				c.value += " # " + c.comment
			}
			line("%s = %s", c.name, c.value)
		}
		line("}")
	}
	if d.addressed {
		line("reject \"no_email\" {\nwhen = clean.email == null\nmessage = \"row %s has no usable e-mail\"\n}", d.keyText())
	}
	line("\nkey { %s = %s } # how our record is found again", d.Key, d.keyValue())
	if d.addressed {
		line("match { email = clean.email } # once: take over the record that was there before us")
	}
	d.fields(line)
	line("\non \"delete\" { action = \"archive\" }")
	if where != "" {
		line("on \"leave\" { action = \"archive\" }")
	}
	line("guard { max_deletes = \"20%%\" }")
	d.rest(line)
	line("}")
	return b.String()
}

// keyText is the key within a message.
func (d *drafter) keyText() string {
	var parts []string
	for _, k := range d.table.Key {
		parts = append(parts, "${"+row(d.table.Columns[k].Name)+"}")
	}
	return strings.Join(parts, "/")
}

// fields writes the fields blocks.
func (d *drafter) fields(line func(string, ...any)) {
	if len(d.pairs) > 0 {
		line("\nfields \"source\" { # the database owns these")
	}
	for i := range d.pairs {
		p := &d.pairs[i]
		comment := ""
		switch {
		case p.minor && strings.Contains(p.value, Quote(DefaultCurrency)):
			comment = " # TODO: the currency is assumed"
		case strings.Contains(p.value, Quote("UTC")):
			comment = " # TODO: the zone is assumed"
		case p.field.Required && (strings.HasPrefix(p.value, "coalesce(") || strings.HasPrefix(p.value, "default(")):
			comment = " # required by the app; TODO: the fallback is assumed"
		}
		line("%s = %s%s", p.field.Name, p.value, comment)
		d.Matched = append(d.Matched, p.column.Name+" -> "+p.field.Name)
	}
	if len(d.pairs) > 0 {
		line("}")
	}
	var assumed []string
	for i := range d.object.Fields {
		f := &d.object.Fields[i]
		if !f.Required || f.ReadOnly || f.Name == d.Key || d.find(f.Name) != nil {
			continue
		}
		value := placeholder(f)
		if value == "" {
			d.none = append(d.none, f.Name)
			continue
		}
		d.Assumed = append(d.Assumed, f.Name)
		assumed = append(assumed, fmt.Sprintf("%s = %s # TODO: no column is named like it", f.Name, value))
	}
	if len(assumed) > 0 {
		line("fields \"app\" { # required by the app: written on create, never again")
		for _, a := range assumed {
			line("%s", a)
		}
		line("}")
	}
}

// rest lists the columns that go nowhere.
func (d *drafter) rest(line func(string, ...any)) {
	for i := range d.table.Columns {
		c := &d.table.Columns[i]
		used := slices.ContainsFunc(d.pairs, func(p pair) bool { return p.column == c }) || slices.Contains(d.table.Key, i) || d.deleted() == c || d.read[c.Name]
		if !used {
			d.Columns = append(d.Columns, c.Name)
		}
	}
	if len(d.Columns) == 0 {
		return
	}
	line("\n# Columns that go nowhere yet:")
	for _, name := range d.Columns {
		c := &d.table.Columns[d.table.Column(name)]
		line("#   %s (%s)", oneLine(name), oneLine(c.Type))
	}
}

// oneLine keeps a name of the database from ending a comment.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
