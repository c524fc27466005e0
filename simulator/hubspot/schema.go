package hubspot

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-cdc/penstock/simulator"
)

// schema is a custom object's definition ([schemas]).
type schema struct {
	Name   string `json:"name"`
	Labels struct {
		Singular string `json:"singular"`
		Plural   string `json:"plural"`
	} `json:"labels"`
	Primary    string            `json:"primaryDisplayProperty"`
	Required   []string          `json:"requiredProperties"`
	Searchable []string          `json:"searchableProperties"`
	Associated []string          `json:"associatedObjects"`
	Properties []json.RawMessage `json:"properties"`
}

// customs is the id of the first custom object: 2-N in paths and answers ([schemas]).
const customs = 3_000_001

var objectName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,79}$`)

// define makes an object type of a schema; app.mu is held.
func (a *app) define(s *schema) (*objectType, *apiError) {
	switch {
	case !objectName.MatchString(s.Name):
		return nil, badRequest("Object name %q must start with a letter and have only letters, numbers and underscores", s.Name)
	case a.objectType(s.Name) != nil:
		return nil, &apiError{status: 409, category: "OBJECT_ALREADY_EXISTS", message: "Object type already exists with name '" + s.Name + "'"}
	case len(s.Properties) == 0 || len(s.Required) == 0:
		return nil, badRequest("Invalid input JSON on line 1, column 1: Some required fields were not set: [properties, requiredProperties]")
	}
	custom := 0
	for _, t := range *a.types.Load() {
		if t.custom != nil {
			custom++
		}
	}
	defs := []*property{
		owner(),
		readOnly(of("hs_createdate", "Object create date/time", "datetime")), readOnly(of("hs_lastmodifieddate", "Object last modified date/time", "datetime")),
		readOnly(of("hs_object_id", "Record ID", "number")), readOnly(text("hs_merged_object_ids", "Merged record IDs")),
	}
	for _, raw := range s.Properties {
		d, err := readDefinition(raw)
		if err != nil {
			return nil, badRequest("Invalid input JSON on line 1, column 1: %v", err)
		}
		if e := d.define(a.env.Now()); e != nil {
			return nil, e
		}
		defs = append(defs, d)
	}
	system := []string{"hs_createdate", "hs_lastmodifieddate", "hs_object_id"}
	usual := slices.Clone(system)
	if s.Primary != "" {
		usual = append(usual, s.Primary)
	}
	t := newObjectType(s.Name, s.Name, s.Name, "2-"+strconv.Itoa(customs+custom), "", defs, system, usual)
	t.created, t.custom, t.required = "hs_createdate", s, s.Required
	t.qualified = fmt.Sprintf("p%d_%s", a.portal, s.Name)
	for _, name := range append(slices.Clone(s.Required), s.Searchable...) {
		if t.defs.Load().byName[name] == nil {
			return nil, badRequest("Property %s is not among the object's properties", name)
		}
	}
	all := append(slices.Clone(*a.types.Load()), t)
	a.types.Store(&all)
	return t, nil
}

// missing are the required properties that a record would not have. Those of a custom object are its schema's
// ([schemas]); of the standard ones see DocumentedRequired.
func (t *objectType) missing(fields []simulator.Field) *apiError {
	var names []string
	for _, name := range t.required {
		if value(fields, name) == "" {
			names = append(names, name)
		}
	}
	if len(t.anyOf) > 0 && !slices.ContainsFunc(t.anyOf, func(name string) bool { return value(fields, name) != "" }) {
		names = append(names, t.anyOf...)
	}
	if len(names) == 0 {
		return nil
	}
	e := badRequest("Error creating %s. Some required properties were not set.", strings.ToUpper(t.singular))
	e.unset = names
	return e
}

func (a *app) createSchema(c *simulator.Call) simulator.Reply {
	s := &schema{}
	if err := json.Unmarshal(c.Body, s); err != nil {
		return badRequest("Invalid input JSON on line 1, column 1: %v", err).reply()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t, e := a.define(s)
	if e != nil {
		return e.reply()
	}
	return jsonReply(http.StatusCreated, t.schema())
}

func (a *app) listSchemas(*simulator.Call) simulator.Reply {
	list := []map[string]any{}
	for _, t := range *a.types.Load() {
		if t.custom != nil {
			list = append(list, t.schema())
		}
	}
	return jsonReply(http.StatusOK, map[string]any{"results": list})
}

// readSchema answers for standard objects too; they require nothing by their schemas (assumed).
func (a *app) readSchema(c *simulator.Call) simulator.Reply {
	t := a.objectType(c.Request.PathValue("type"))
	if t == nil {
		return (&apiError{status: http.StatusNotFound, category: "OBJECT_NOT_FOUND", message: "Unable to infer object type from: " + c.Request.PathValue("type")}).reply()
	}
	return jsonReply(http.StatusOK, t.schema())
}

func (t *objectType) schema() map[string]any {
	s := t.custom
	if s == nil {
		s = &schema{Name: t.name}
		s.Labels.Singular, s.Labels.Plural = t.title, t.title+"s"
	}
	required := slices.Clone(t.required)
	if required == nil {
		required = []string{}
	}
	return map[string]any{
		"id": strings.TrimPrefix(t.id, "2-"), "objectTypeId": t.id, "name": t.name, "fullyQualifiedName": t.qualified, "labels": s.Labels,
		"primaryDisplayProperty": s.Primary, "requiredProperties": required, "searchableProperties": append([]string{}, s.Searchable...),
		"properties": t.defs.Load().all(), "associations": []any{}, "archived": false,
	}
}
