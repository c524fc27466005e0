package hubspot

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync/atomic"
	"time"
)

// property is the definition of a property, in the form of the properties API.
type property struct {
	Name            string       `json:"name"`
	Label           string       `json:"label"`
	Type            string       `json:"type"`
	FieldType       string       `json:"fieldType"`
	Description     string       `json:"description"`
	GroupName       string       `json:"groupName"`
	Options         []option     `json:"options"`
	DisplayOrder    int          `json:"displayOrder"`
	Calculated      bool         `json:"calculated"`
	ExternalOptions bool         `json:"externalOptions"`
	HasUniqueValue  bool         `json:"hasUniqueValue"`
	Hidden          bool         `json:"hidden"`
	HubspotDefined  bool         `json:"hubspotDefined"`
	FormField       bool         `json:"formField"`
	Archived        bool         `json:"archived"`
	CreatedAt       *time.Time   `json:"createdAt,omitempty"`
	UpdatedAt       *time.Time   `json:"updatedAt,omitempty"`
	Modification    modification `json:"modificationMetadata"`

	rules []*rule        // set by an administrator
	rank  map[string]int // option value -> place in Options; set by newProperties
}

type option struct {
	Label        string `json:"label"`
	Value        string `json:"value"`
	Description  string `json:"description"`
	DisplayOrder int    `json:"displayOrder"`
	Hidden       bool   `json:"hidden"`
}

type modification struct {
	Archivable         bool `json:"archivable"`
	ReadOnlyDefinition bool `json:"readOnlyDefinition"`
	ReadOnlyOptions    bool `json:"readOnlyOptions"`
	ReadOnlyValue      bool `json:"readOnlyValue"`
}

// properties is a set of definitions. It is never changed: a new one replaces it.
type properties struct {
	byName map[string]*property
	// unique are the properties whose values HubSpot keeps unique, by which records
	// are found: hasUniqueValue, and a contact's email, which is not marked so.
	unique []string
}

func newProperties(defs []*property, identifier string) *properties {
	p := &properties{byName: make(map[string]*property, len(defs))}
	if identifier != "" {
		p.unique = append(p.unique, identifier)
	}
	for _, d := range defs {
		if d.rank == nil { // a definition already in use is being read by others
			d.rank = make(map[string]int, len(d.Options))
			for i, o := range d.Options {
				d.rank[o.Value] = i
			}
		}
		p.byName[d.Name] = d
		if d.HasUniqueValue {
			p.unique = append(p.unique, d.Name)
		}
	}
	slices.Sort(p.unique)
	return p
}

func (p *properties) all() []*property {
	return slices.SortedFunc(maps.Values(p.byName), func(a, b *property) int {
		return cmpString(a.Name, b.Name)
	})
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// maxUnique is how many properties of an object may have hasUniqueValue ([properties]).
const maxUnique = 10

// fieldTypes are the forms that each type can have ([properties]).
var fieldTypes = map[string][]string{
	"bool":         {"booleancheckbox", "calculation_equation"},
	"enumeration":  {"booleancheckbox", "checkbox", "radio", "select", "calculation_equation"},
	"date":         {"date"},
	"datetime":     {"date"},
	"string":       {"text", "textarea", "file", "html", "phonenumber", "calculation_equation"},
	"number":       {"number", "calculation_equation"},
	"phone_number": {"phonenumber"},
}

var propertyName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,99}$`)

// define checks a new definition by the rules of [properties] and completes it.
func (d *property) define(now time.Time) *apiError {
	if !propertyName.MatchString(d.Name) {
		return badRequest("Property name %q must start with a letter and have only lower-case letters, digits and underscores", d.Name)
	}
	forms, ok := fieldTypes[d.Type]
	if !ok {
		return badRequest("Property %s: type %q is not one of bool, enumeration, date, datetime, string, number", d.Name, d.Type)
	}
	if !slices.Contains(forms, d.FieldType) {
		return badRequest("Property %s: fieldType %q does not go with type %s", d.Name, d.FieldType, d.Type)
	}
	if d.Label == "" || d.GroupName == "" {
		return badRequest("Property %s: label and groupName are required", d.Name)
	}
	if d.Type == "enumeration" && len(d.Options) == 0 && !d.ExternalOptions {
		return badRequest("Property %s: an enumeration needs options", d.Name)
	}
	if d.HasUniqueValue && d.Type != "string" && d.Type != "number" {
		return badRequest("Property %s: only string and number properties can have unique values", d.Name)
	}
	if d.Type == "bool" && len(d.Options) == 0 {
		d.Options = yesNo()
	}
	if d.Options == nil {
		d.Options = []option{}
	}
	seen := make(map[string]bool, len(d.Options))
	for _, o := range d.Options {
		if o.Value == "" || seen[o.Value] {
			return badRequest("Property %s: option values must be present and differ", d.Name)
		}
		seen[o.Value] = true
	}
	d.HubspotDefined, d.Calculated, d.Archived = false, false, false
	d.Modification = modification{Archivable: true}
	d.CreatedAt, d.UpdatedAt = &now, &now
	return nil
}

func yesNo() []option {
	return []option{{Label: "Yes", Value: "true"}, {Label: "No", Value: "false", DisplayOrder: 1}}
}

// definitions is where an object type keeps its properties.
type definitions struct{ atomic.Pointer[properties] }

// add takes a new definition. The caller holds app.mu, so that two do not race.
func (t *objectType) add(d *property) *apiError {
	old := t.defs.Load()
	if old.byName[d.Name] != nil {
		return &apiError{status: 409, category: "OBJECT_ALREADY_EXISTS", message: fmt.Sprintf("A property named '%s' already exists.", d.Name)}
	}
	all := append(old.all(), d)
	if d.HasUniqueValue {
		count := 0
		for _, p := range all {
			if p.HasUniqueValue {
				count++
			}
		}
		if count > maxUnique {
			return badRequest("Property %s: an object has at most %d properties with unique values", d.Name, maxUnique)
		}
	}
	t.replace(all)
	return nil
}

func (t *objectType) replace(all []*property) {
	next := newProperties(all, t.identifier)
	for _, name := range next.unique {
		if t.index[name] == nil {
			t.index[name] = map[string]*record{}
		}
	}
	t.defs.Store(next)
}
