package hubspot

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// property is a property's definition.
type property struct {
	Name            word `json:"name"`
	Label           word `json:"label"`
	Type            word `json:"type"`
	FieldType       word `json:"fieldType"`
	Unique          flag `json:"hasUniqueValue"`
	Calculated      flag `json:"calculated"`
	Archived        flag `json:"archived"`
	ExternalOptions flag `json:"externalOptions"`
	Options         []struct {
		Value word `json:"value"`
	} `json:"options"`
	Modification struct {
		ReadOnly flag `json:"readOnlyValue"`
	} `json:"modificationMetadata"`
}

// Describe lists an object's properties, with those that its schema requires. A
// contact's email counts as unique though HubSpot does not mark it so: it keeps it
// unique, and takes upserts by it.
func (a *app) Describe(ctx context.Context, object string) (sink.Object, error) {
	path, err := a.object(ctx, object)
	if err != nil {
		return sink.Object{}, fmt.Errorf("describe %s: %w", object, err)
	}
	var answer struct {
		Results []property `json:"results"`
	}
	err = a.call(ctx, rest.Request{
		Method: http.MethodGet, Path: a.path("properties", path), Template: a.path("properties", "{object}"), Into: &answer,
	})
	if err != nil {
		return sink.Object{}, fmt.Errorf("describe %s: %w", object, err)
	}
	if len(answer.Results) == 0 {
		return sink.Object{}, fmt.Errorf("describe %s: hubspot lists no properties", object)
	}
	required, err := a.required(ctx, path)
	if err != nil {
		return sink.Object{}, fmt.Errorf("describe %s: %w", object, err)
	}
	described := sink.Object{Name: object, Archivable: true}
	for i := range answer.Results {
		if p := &answer.Results[i]; p.Name != "" && !bool(p.Archived) {
			f := p.field(object)
			f.Required = slices.Contains(required, p.Name)
			described.Fields = append(described.Fields, f)
		}
	}
	slices.SortFunc(described.Fields, func(x, y sink.ObjectField) int { return strings.Compare(x.Name, y.Name) })
	return described, nil
}

// property reads one definition.
func (a *app) property(ctx context.Context, object, name string) (property, error) {
	var p property
	err := a.call(ctx, rest.Request{
		Method: http.MethodGet, Path: a.path("properties", object) + "/" + url.PathEscape(name),
		Template: a.path("properties", "{object}") + "/{name}", Into: &p,
	})
	if err != nil {
		return p, fmt.Errorf("read property %s of %s: %w", name, object, err)
	}
	return p, nil
}

// field describes a property in penstock's words. Text has at most 65,536 characters.
func (p *property) field(object string) sink.ObjectField {
	f := sink.ObjectField{
		Name: string(p.Name), Label: string(p.Label),
		Unique:   bool(p.Unique),
		ReadOnly: bool(p.Calculated || p.Modification.ReadOnly),
	}
	switch p.Type {
	case "number":
		f.Type = "decimal"
	case "bool":
		f.Type = "bool"
	case "date":
		f.Type = "date"
	case "datetime":
		f.Type = "timestamp"
	case "enumeration":
		f.Type = p.choice()
	case "phone_number":
		f.Type = "phone"
	default:
		f.Type, f.Length = "text", 65_536
		if p.FieldType == "phonenumber" {
			f.Type = "phone"
		}
	}
	if object == "contacts" && f.Name == "email" {
		f.Type, f.Length, f.Unique = "email", 254, true
	}
	if f.Type == "enum" || f.Type == "list" {
		if !p.ExternalOptions {
			for _, o := range p.Options {
				f.Options = append(f.Options, string(o.Value))
			}
		}
	}
	return f
}

// choice tells a single choice, a multiple one and a yes-or-no apart.
func (p *property) choice() string {
	switch p.FieldType {
	case "checkbox":
		return "list"
	case "booleancheckbox":
		for _, o := range p.Options {
			if o.Value != "true" && o.Value != "false" {
				return "enum"
			}
		}
		return "bool"
	}
	return "enum"
}
