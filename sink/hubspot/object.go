package hubspot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// standard are HubSpot's own objects that records can be written to; any other name is
// a custom object's.
var standard = []string{"contacts", "companies", "deals"}

// direct are the names by which paths take a custom object: its id (2-3000001) and its
// fully qualified name (p4242424_machines).
var direct = regexp.MustCompile(`^(2-\d+|p\d+_[A-Za-z0-9_]+)$`)

// definition is an object's schema.
type definition struct {
	ID        word   `json:"objectTypeId"`
	Name      word   `json:"name"`
	Qualified word   `json:"fullyQualifiedName"`
	Required  []word `json:"requiredProperties"`
}

// errNoObject is what an object that the account does not have comes to.
var errNoObject = errors.New("hubspot has no such object")

// object returns an object as paths have it. A custom object's own name is looked up
// once in the account's schemas, since paths do not take it.
func (a *app) object(ctx context.Context, name string) (string, error) {
	if slices.Contains(standard, name) || direct.MatchString(name) {
		return name, nil
	}
	if id, known := a.customs.Load(name); known {
		return id.(string), nil
	}
	var answer struct {
		Results []definition `json:"results"`
	}
	path := a.schemas()
	if err := a.call(ctx, rest.Request{Method: http.MethodGet, Path: path, Into: &answer}); err != nil {
		return "", fmt.Errorf("look up object %s: %w", name, err)
	}
	var names []string
	for _, s := range answer.Results {
		if string(s.Name) == name && s.ID != "" {
			a.customs.Store(name, string(s.ID))
			return string(s.ID), nil
		}
		names = append(names, string(s.Name))
	}
	slices.Sort(names)
	return "", fmt.Errorf("%w: %s; the account has %s", errNoObject, name, strings.Join(slices.Concat(standard, names), ", "))
}

// schemas is /crm-object-schemas/2026-09/schemas, or /crm-object-schemas/v3/schemas.
func (a *app) schemas() string { return "/crm-object-schemas/" + a.version + "/schemas" }

// required are the properties without which HubSpot does not make a record. A key that
// may not read schemas does not learn them: HubSpot itself refuses the records then.
func (a *app) required(ctx context.Context, path string) ([]word, error) {
	var s definition
	err := a.call(ctx, rest.Request{Method: http.MethodGet, Path: a.schemas() + "/" + path, Template: a.schemas() + "/{object}", Into: &s})
	var halt *sink.HaltError
	if errors.As(err, &halt) && !errors.Is(err, errToken) {
		return nil, nil
	}
	return s.Required, err
}

// Erase does a GDPR delete, which HubSpot has for contacts alone.
func (a *app) Erase(ctx context.Context, object, id string) error {
	if object != "contacts" {
		return sink.Reject("NOT_ERASABLE", fmt.Errorf("erase record of %s: hubspot erases contacts alone", object))
	}
	err := a.call(ctx, rest.Request{
		Method: http.MethodPost, Path: a.path("objects", object) + "/gdpr-delete", Template: a.path("objects", "{object}") + "/gdpr-delete",
		Body: struct {
			ID string `json:"objectId"`
		}{id},
		Writes: true,
	})
	var whole *callError
	if errors.As(err, &whole) {
		if err = whole.outcome(object); errors.Is(err, sink.ErrGone) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("erase record of %s: %w", object, err)
	}
	return nil
}
