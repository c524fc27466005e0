package hubspot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// Read reads by object id, by a property with unique values or a contact's email; by
// any other property through search, which shows writes a few seconds late. A record
// that was merged into another comes back under the other's id, which names it.
func (a *app) Read(ctx context.Context, object, field string, values, fields []string) ([]sink.Record, error) {
	values = distinct(values)
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) > maxBatch {
		return nil, fmt.Errorf("read %s: %d values in a call, hubspot takes %d", object, len(values), maxBatch)
	}
	path, err := a.object(ctx, object)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	object = path
	names := slices.Clone(fields)
	if field == "id" {
		live, err := a.batchRead(ctx, object, "", values, names, false)
		lost := missing(values, live)
		if err != nil || len(lost) == 0 {
			return live, err
		}
		archived, err := a.batchRead(ctx, object, "", lost, names, true)
		return append(live, archived...), err
	}
	if !slices.Contains(names, field) {
		names = append(names, field)
	}
	unique, err := a.unique(ctx, object, field)
	if err != nil {
		return nil, err
	}
	if !unique {
		return a.find(ctx, object, field, values, names)
	}
	return a.batchRead(ctx, object, field, values, names, false)
}

// unique tells whether records can be read by a property. One that can stays so: the
// setting of a property cannot be changed.
func (a *app) unique(ctx context.Context, object, field string) (bool, error) {
	if object == "contacts" && field == "email" {
		return true, nil
	}
	name := object + "." + field
	if _, known := a.uniques.Load(name); known {
		return true, nil
	}
	p, err := a.property(ctx, object, field)
	if err != nil {
		return false, err
	}
	if p.Unique {
		a.uniques.Store(name, true)
	}
	return bool(p.Unique), nil
}

func distinct(values []string) []string {
	out := make([]string, 0, len(values))
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if v != "" && !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

func missing(ids []string, found []sink.Record) []string {
	have := make(map[string]bool, len(found))
	for _, r := range found {
		have[r.ID] = true
		for _, id := range r.Merged {
			have[id] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return have[id] })
}

// mergedIDs is the property that has the ids of the records merged into one, with
// semicolons between them.
const mergedIDs = "hs_merged_object_ids"

type recordID struct {
	ID string `json:"id"`
}

func (a *app) batchRead(ctx context.Context, object, property string, values, names []string, archived bool) ([]sink.Record, error) {
	body := struct {
		Property string     `json:"idProperty,omitempty"`
		Fields   []string   `json:"properties"`
		History  []string   `json:"propertiesWithHistory"`
		Inputs   []recordID `json:"inputs"`
	}{property, names, []string{}, make([]recordID, len(values))}
	if property == "" && !slices.Contains(names, mergedIDs) {
		body.Fields = append(slices.Clone(names), mergedIDs)
	}
	for i, v := range values {
		body.Inputs[i].ID = v
	}
	r := rest.Request{
		Method: http.MethodPost, Path: a.path("objects", object) + "/batch/read",
		Template: a.path("objects", "{object}") + "/batch/read", Body: body, Records: len(values),
	}
	if archived {
		r.Query = map[string][]string{"archived": {"true"}}
	}
	var answer reply
	r.Into = &answer
	if err := a.call(ctx, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	for i := range answer.Errors {
		// What is not there is told as an error; any other would pass for absence.
		if c := answer.Errors[i].Category; c != "OBJECT_NOT_FOUND" {
			return nil, fmt.Errorf("read %s: hubspot answers in part: %s", object, known(string(c)))
		}
	}
	return records(answer.Results, names), nil
}

// search is the body of a search call.
type search struct {
	Groups []group  `json:"filterGroups"`
	Sorts  []sort   `json:"sorts,omitempty"`
	Fields []string `json:"properties"`
	Limit  int      `json:"limit"`
	After  string   `json:"after,omitempty"`
}

// group is filters of which all are to be true.
type group struct {
	Filters []filter `json:"filters"`
}

type filter struct {
	Property string   `json:"propertyName"`
	Operator string   `json:"operator"`
	Value    string   `json:"value,omitempty"`
	Values   []string `json:"values,omitempty"`
}

type sort struct {
	Property  string `json:"propertyName"`
	Direction string `json:"direction"`
}

// find searches for the values, all pages of it.
func (a *app) find(ctx context.Context, object, field string, values, names []string) ([]sink.Record, error) {
	s := search{Groups: []group{{[]filter{{Property: field, Operator: "IN", Values: values}}}}, Fields: names, Limit: searchPage}
	var found []sink.Record
	for {
		answer, err := a.searchPage(ctx, object, s, len(values))
		if err != nil {
			return nil, err
		}
		found = append(found, records(answer.Results, names)...)
		next := string(answer.Paging.Next.After)
		if next == "" || next == s.After || len(answer.Results) == 0 {
			return found, nil
		}
		s.After = next
	}
}

// searchPage makes one search, at the pace that searches have of their own.
func (a *app) searchPage(ctx context.Context, object string, s search, about int) (answer reply, err error) {
	for try := 1; ; try++ {
		if err := a.search.Wait(ctx); err != nil {
			return answer, fmt.Errorf("search %s: %w", object, err)
		}
		err := a.call(ctx, rest.Request{
			Method: http.MethodPost, Path: a.path("objects", object) + "/search",
			Template: a.path("objects", "{object}") + "/search", Body: s, Into: &answer, Records: about,
		})
		if err == nil {
			return answer, nil
		}
		var full *searchLimit
		var retry *sink.RetryError
		if !errors.As(err, &full) || !errors.As(err, &retry) || retry.After > searchWait || try == searchTries {
			return answer, fmt.Errorf("search %s: %w", object, err)
		}
		// The limit of searches is the account's and apart from that of other calls: those need not wait.
		timer := time.NewTimer(retry.After)
		select {
		case <-ctx.Done():
			timer.Stop()
			return answer, fmt.Errorf("search %s: %w", object, ctx.Err())
		case <-timer.C:
		}
	}
}

// searchTries is how often a search is made that others' searches leave no room for, searchWait how long it waits at most
// before each.
const (
	searchTries = 10
	searchWait  = 2 * time.Second
)

// searchLimit is the refusal of a call since there were too many searches in a second.
type searchLimit struct{ plain }

func records(results []result, names []string) []sink.Record {
	list := make([]sink.Record, 0, len(results))
	for i := range results {
		r := &results[i]
		if r.ID == "" {
			continue
		}
		fields := make(map[string]string, len(names))
		for _, name := range names {
			fields[name] = string(r.Properties[name])
		}
		record := sink.Record{ID: string(r.ID), Archived: bool(r.Archived), Fields: fields, Updated: r.Updated.Time}
		if ids := string(r.Properties[mergedIDs]); ids != "" {
			record.Merged = strings.Split(ids, ";")
		}
		list = append(list, record)
	}
	return list
}
