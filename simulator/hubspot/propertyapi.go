package hubspot

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/penstock-cdc/penstock/simulator"
)

// listProperties answers all definitions, in order of name.
func (a *app) listProperties(t *objectType, _ *simulator.Call) simulator.Reply {
	return jsonReply(http.StatusOK, map[string]any{"results": t.defs.Load().all()})
}

func (a *app) readProperty(t *objectType, c *simulator.Call) simulator.Reply {
	d := t.defs.Load().byName[c.Request.PathValue("name")]
	if d == nil {
		return noProperty(c).reply()
	}
	return jsonReply(http.StatusOK, d)
}

func (a *app) createProperty(t *objectType, c *simulator.Call) simulator.Reply {
	d := &property{}
	if err := json.Unmarshal(c.Body, d); err != nil {
		return badRequest("Invalid input JSON on line 1, column 1: %v", err).reply()
	}
	if e := d.define(a.env.Now()); e != nil {
		return e.reply()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := t.add(d); e != nil {
		return e.reply()
	}
	return jsonReply(http.StatusCreated, d)
}

// updateProperty changes what HubSpot lets change: label, description, group, form and
// options; type and uniqueness stay ([properties]).
func (a *app) updateProperty(t *objectType, c *simulator.Call) simulator.Reply {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := t.defs.Load().byName[c.Request.PathValue("name")]
	if old == nil {
		return noProperty(c).reply()
	}
	d := *old
	d.rank, d.Options = nil, slices.Clone(old.Options)
	if err := json.Unmarshal(c.Body, &d); err != nil {
		return badRequest("Invalid input JSON on line 1, column 1: %v", err).reply()
	}
	defined, created, modification := old.HubspotDefined, old.CreatedAt, old.Modification
	d.Name, d.HasUniqueValue = old.Name, old.HasUniqueValue
	if d.Type != old.Type && defined {
		return badRequest("Property %s: the type of a default property cannot change", d.Name).reply()
	}
	if e := d.define(a.env.Now()); e != nil {
		return e.reply()
	}
	d.HubspotDefined, d.CreatedAt, d.Modification = defined, created, modification
	t.replace(append(without(t.defs.Load().all(), d.Name), &d))
	return jsonReply(http.StatusOK, &d)
}

func (a *app) deleteProperty(t *objectType, c *simulator.Call) simulator.Reply {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := t.defs.Load().byName[c.Request.PathValue("name")]
	if d == nil {
		return noProperty(c).reply()
	}
	if !d.Modification.Archivable {
		return badRequest("Property %s is a default property and cannot be archived", d.Name).reply()
	}
	t.replace(without(t.defs.Load().all(), d.Name))
	return simulator.Reply{Status: http.StatusNoContent}
}

func without(all []*property, name string) []*property {
	kept := make([]*property, 0, len(all))
	for _, d := range all {
		if d.Name != name {
			kept = append(kept, d)
		}
	}
	return kept
}

func noProperty(c *simulator.Call) *apiError {
	return &apiError{status: http.StatusNotFound, category: "OBJECT_NOT_FOUND", message: "Property " + c.Request.PathValue("name") + " does not exist"}
}

func jsonReply(status int, value any) simulator.Reply {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // our own types, all of which marshal
	}
	return simulator.Reply{Status: status, Body: body}
}
