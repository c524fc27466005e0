package draft

import (
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/transform"
)

// synonyms are names for the same thing, normalised, the most telling first. A word in
// two lists is taken by the field that has it nearer to the front.
var synonyms = [][]string{
	{"email", "emailaddress", "mail", "mailaddress", "emailaddr"},
	{"firstname", "fname", "givenname", "forename"},
	{"lastname", "lname", "surname", "familyname"},
	{"phone", "phonenumber", "telephone", "telephonenumber", "tel", "phoneno"},
	{"mobilephone", "mobile", "mobilenumber", "cellphone", "cell"},
	{"jobtitle", "position"},
	{"company", "companyname", "organisation", "organization", "employer"},
	{"address", "streetaddress", "street", "address1", "addressline1"},
	{"address2", "addressline2", "street2"},
	{"city", "town"},
	{"state", "region", "province"},
	{"zip", "zipcode", "postcode", "postalcode"},
	{"country", "countrycode", "countryname"},
	{"website", "websiteurl", "url", "homepage"},
	{"domain", "domainname"},
	{"dateofbirth", "birthdate", "birthday", "dob"},
	{"numberofemployees", "employees", "employeecount", "headcount"},
	{"description", "notes"},
	{"amount", "total", "totalamount", "value", "price"},
	{"closedate", "closedat", "closedon"},
}

// ofObject are synonyms that hold for one object alone.
var ofObject = map[string][][]string{
	"companies": {{"name", "companyname", "company", "organisation", "organization"}},
	"deals":     {{"dealname", "name", "title", "subject"}},
}

// objects are what tables of these names hold, in the words of a CRM.
var objects = map[string]string{
	"customer": "contacts", "user": "contacts", "person": "contacts", "people": "contacts", "contact": "contacts", "member": "contacts", "subscriber": "contacts", "client": "contacts",
	"company": "companies", "account": "companies", "organisation": "companies", "organization": "companies",
	"deal": "deals", "order": "deals", "opportunity": "deals",
}

// GuessObject is the object that a table of this name fits, "" when the name does not tell.
func GuessObject(table string) string {
	if o := objects[singular(strings.ToLower(table))]; o != "" {
		return o
	}
	words := strings.Split(strings.ToLower(table), "_")
	return objects[singular(words[len(words)-1])]
}

func singular(name string) string {
	if stem, ok := strings.CutSuffix(name, "ies"); ok {
		return stem + "y"
	}
	return strings.TrimSuffix(name, "s")
}

// normal is a name without what writers of names differ in: case, underscores, blanks.
func normal(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

// pair is a column that goes into a field.
type pair struct {
	column *change.Column
	field  *transform.ObjectField
	// minor: the column has the amount in minor units, cents.
	minor bool
	value string // the expression
}

// names are what a column of a field may be called, the nearest first.
func names(object, field string) []string {
	n := normal(field)
	out := []string{n}
	for _, group := range append(ofObject[object], synonyms...) {
		if group[0] == n {
			out = append(out, group...)
		}
	}
	return out
}

// match pairs columns with fields, each at most once, nearer names before farther ones.
func (d *drafter) match() {
	stem := normal(singular(d.table.Name))
	var called []string // by column
	for i := range d.table.Columns {
		called = append(called, normal(d.table.Columns[i].Name))
	}
	taken, done := make([]bool, len(called)), make([]bool, len(d.object.Fields))
	for rank := 0; ; rank++ {
		more := false
		for f := range d.object.Fields {
			field := &d.object.Fields[f]
			if done[f] || field.ReadOnly || field.Name == d.Key {
				continue
			}
			list := names(d.object.Name, field.Name)
			more = more || rank < len(list)
			if rank >= len(list) {
				continue
			}
			for i, name := range called {
				minor := false
				if amount, ok := strings.CutSuffix(name, "cents"); ok && field.Type == transform.FieldDecimal {
					name, minor = amount, true
				}
				if taken[i] || name != list[rank] && strings.TrimPrefix(name, stem) != list[rank] {
					continue
				}
				p := pair{column: &d.table.Columns[i], field: field, minor: minor}
				if !d.express(&p) {
					continue
				}
				taken[i], done[f] = true, true
				d.pairs = append(d.pairs, p)
				break
			}
		}
		if !more {
			break
		}
	}
	order := func(p pair) int { return d.table.Column(p.column.Name) }
	slices.SortFunc(d.pairs, func(a, b pair) int { return order(a) - order(b) })
}

// find is the column that is paired with a field of this name, nil if none is.
func (d *drafter) find(field string) *pair {
	for i := range d.pairs {
		if d.pairs[i].field.Name == field {
			return &d.pairs[i]
		}
	}
	return nil
}

// column is the table's first column that is called like one of these and is of a kind that fits.
func (d *drafter) column(fits func(*change.Column) bool, called ...string) *change.Column {
	for _, name := range called {
		for i := range d.table.Columns {
			if c := &d.table.Columns[i]; normal(c.Name) == name && fits(c) {
				return c
			}
		}
	}
	return nil
}
