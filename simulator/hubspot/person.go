package hubspot

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// Each passes all records of an object in order of id.
func (a *app) Each(object string, emit func(simulator.Record) bool) error {
	if object == "associations" {
		a.eachAssociation(emit)
		return nil
	}
	t := a.objectType(object)
	if t == nil {
		return fmt.Errorf("object %q: %w: %s", object, simulator.ErrNotFound, a.objects())
	}
	a.mu.Lock()
	all := t.all()
	a.mu.Unlock()
	for _, s := range all {
		if !emit(s.record()) {
			return nil
		}
	}
	return nil
}

// Edit does what a person can do in HubSpot's own screens. A record without an id is
// created. Lifecycle stages move both ways by hand.
func (a *app) Edit(edit simulator.Edit) (simulator.Record, error) {
	t := a.objectType(edit.Object)
	if t == nil {
		return simulator.Record{}, fmt.Errorf("edit object %q: %w: %s", edit.Object, simulator.ErrNotFound, a.objects())
	}
	var in input
	defs := t.defs.Load()
	for name, value := range edit.Properties {
		if value == nil {
			value = new(string)
		}
		a.set(&in, defs.byName[name], name, *value)
	}
	if len(in.problems) > 0 {
		return simulator.Record{}, fmt.Errorf("edit %s %s: %w", t.singular, edit.ID, invalid(in.problems))
	}
	in.sort()

	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.begin(t)
	w.person = true
	r, err := a.edit(w, edit, in)
	if err != nil {
		return simulator.Record{}, fmt.Errorf("edit %s %s: %w", t.singular, edit.ID, err)
	}
	w.commit()
	return r.snapshot().record(), nil
}

func (a *app) edit(w *write, edit simulator.Edit, in input) (*record, error) {
	t := w.t
	if edit.ID == "" {
		if edit.Action != "" && edit.Action != "create" {
			return nil, errors.New("the edit has no id")
		}
		r, e := w.create(in.fields)
		if e != nil {
			return nil, e
		}
		return r, nil
	}
	r := t.find(edit.ID)
	if r == nil {
		return nil, simulator.ErrNotFound
	}
	if r.now.archived && edit.Action != "restore" && edit.Action != "erase" {
		return nil, errors.New("the record is archived: restore it first")
	}
	switch edit.Action {
	case "", "update":
		if e := w.update(r, in.fields, true); e != nil {
			return nil, e
		}
	case "archive":
		w.archive(r)
	case "restore":
		if r.now.archived {
			if e := w.restore(r); e != nil {
				return nil, e
			}
		}
	case "erase":
		s := *r // shown once more, as it was
		w.erase(r)
		return &s, nil
	case "merge":
		into := t.findBy("", edit.Into)
		if into == nil || into == r {
			return nil, fmt.Errorf("merge into %q: %w", edit.Into, simulator.ErrNotFound)
		}
		w.merge(into, r)
		return into, nil
	default:
		return nil, fmt.Errorf("action %q, want update, archive, restore, merge or erase", edit.Action)
	}
	return r, nil
}

// objects says what there is, for error texts.
func (a *app) objects() string {
	var names []string
	for _, t := range *a.types.Load() {
		names = append(names, t.name)
	}
	return "the account has " + strings.Join(names, ", ")
}

// line is a line of initial data.
type line struct {
	Property   json.RawMessage    `json:"property"`
	Schema     *schema            `json:"schema"`
	Validation *rule              `json:"validation"`
	Object     string             `json:"object"`
	ID         string             `json:"id"`
	Archived   bool               `json:"archived"`
	Properties map[string]*string `json:"properties"`
	CreatedAt  *time.Time         `json:"created_at"`
	UpdatedAt  *time.Time         `json:"updated_at"`
}

// Load takes a record or the definition of a property. Options may be plain strings,
// and a label, group, form or field type that is missing is filled in.
func (a *app) Load(data []byte) error {
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return fmt.Errorf("read line: %w", err)
	}
	switch {
	case l.Property != nil:
		return a.loadProperty(l.Property)
	case l.Schema != nil:
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, e := a.define(l.Schema); e != nil {
			return e
		}
		return nil
	case l.Validation != nil:
		return a.loadRule(l.Validation)
	}
	t := a.objectType(l.Object)
	if t == nil {
		return fmt.Errorf("object %q: %w: %s", l.Object, simulator.ErrNotFound, a.objects())
	}
	return a.loadRecord(t, l)
}

func (a *app) loadProperty(data []byte) error {
	var of struct {
		Object string `json:"object"`
	}
	if err := json.Unmarshal(data, &of); err != nil {
		return fmt.Errorf("read property: %w", err)
	}
	t := a.objectType(of.Object)
	if t == nil {
		return fmt.Errorf("property's object %q: %w: %s", of.Object, simulator.ErrNotFound, a.objects())
	}
	d, err := readDefinition(data)
	if err != nil {
		return err
	}
	if e := d.define(a.env.Now()); e != nil {
		return e
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := t.add(d); e != nil {
		return e
	}
	return nil
}

// readDefinition reads a property with its options as objects or plain strings, and
// fills in label, group, form and field type.
func readDefinition(data []byte) (*property, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, fmt.Errorf("read property: %w", err)
	}
	var given []json.RawMessage
	if raw, ok := members["options"]; ok {
		if err := json.Unmarshal(raw, &given); err != nil {
			return nil, fmt.Errorf("read options: %w", err)
		}
	}
	options := []option{}
	for i, raw := range given {
		o := option{DisplayOrder: i}
		if json.Unmarshal(raw, &o.Value) != nil {
			if err := json.Unmarshal(raw, &o); err != nil {
				return nil, fmt.Errorf("read option %d: %w", i, err)
			}
		}
		if o.Label == "" {
			o.Label = o.Value
		}
		options = append(options, o)
	}
	delete(members, "options")
	plain, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("read property: %w", err)
	}
	d := &property{GroupName: "information", FormField: true}
	if err := json.Unmarshal(plain, d); err != nil {
		return nil, fmt.Errorf("read property: %w", err)
	}
	d.Options = options
	if d.Label == "" {
		d.Label = d.Name
	}
	if forms := fieldTypes[d.Type]; d.FieldType == "" && len(forms) > 0 {
		d.FieldType = forms[0]
		if d.Type == "enumeration" {
			d.FieldType = "select"
		}
	}
	return d, nil
}

func (a *app) loadRule(r *rule) error {
	if err := r.compile(); err != nil {
		return fmt.Errorf("read validation: %w", err)
	}
	t := a.objectType(r.Object)
	if t == nil {
		return fmt.Errorf("validation's object %q: %w: %s", r.Object, simulator.ErrNotFound, a.objects())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	old := t.defs.Load().byName[r.Property]
	if old == nil {
		return fmt.Errorf("validation's property %q: %w", r.Property, simulator.ErrNotFound)
	}
	d := *old
	d.rank = nil
	d.rules = append(slices.Clone(old.rules), r)
	t.replace(append(without(t.defs.Load().all(), d.Name), &d))
	return nil
}

func (a *app) loadRecord(t *objectType, l line) error {
	defs := t.defs.Load()
	var in input
	for name, value := range l.Properties {
		if value == nil {
			continue
		}
		if d := defs.byName[name]; d != nil && d.Modification.ReadOnlyValue {
			if canonical, bad := a.canonical(d, *value); bad == nil {
				in.fields = append(in.fields, simulator.Field{Name: name, Value: canonical})
			}
			continue
		}
		a.set(&in, defs.byName[name], name, *value)
	}
	if len(in.problems) > 0 {
		return invalid(in.problems)
	}
	in.sort()
	in.fields, _ = merged(nil, in.fields)

	a.mu.Lock()
	defer a.mu.Unlock()
	id := t.next
	if l.ID != "" {
		n, err := strconv.ParseUint(l.ID, 10, 64)
		if err != nil || n == 0 {
			return fmt.Errorf("id %q is not a number above 0", l.ID)
		}
		if t.byID[n] != nil {
			return fmt.Errorf("id %s is there already", l.ID)
		}
		id = n
	}
	w := a.begin(t)
	if !l.Archived {
		if e := w.free(nil, in.fields); e != nil {
			return e
		}
	}
	created := w.at
	if l.CreatedAt != nil {
		created = *l.CreatedAt
	}
	updated := created
	if l.UpdatedAt != nil {
		updated = *l.UpdatedAt
	}
	r := &record{id: id, created: created.UnixNano(), now: &version{fields: in.fields, at: updated.UnixNano(), archived: l.Archived, settled: true}}
	t.insert(r)
	w.note(r, "create", in.fields)
	w.commit()
	return nil
}
