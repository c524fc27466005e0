package hubspot

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-cdc/penstock/simulator"
)

// Sizes of association batches ([associations]: a changelog entry of February 2025 for reads; the other as integrators
// quote it).
const (
	maxAssociations     = 2000
	maxAssociationReads = 1000
)

// kind is one type of association, in its own direction.
type kind struct {
	Category string `json:"associationCategory"`
	Type     int    `json:"associationTypeId"`
}

// unlabelled are the default types of the standard objects, by the ids of the two object types ([associations]).
var unlabelled = map[[2]string]int{
	{"0-1", "0-1"}: 449, {"0-2", "0-2"}: 450, {"0-3", "0-3"}: 451,
	{"0-1", "0-2"}: 279, {"0-2", "0-1"}: 280,
	{"0-1", "0-3"}: 4, {"0-3", "0-1"}: 3,
	{"0-2", "0-3"}: 342, {"0-3", "0-2"}: 341,
}

// primary are the types that say which of several is the main one: a record has at most one of these, a new one takes
// the place of the old ([associations]).
var primary = map[int]int{1: 2, 2: 1, 5: 6, 6: 5}

// end is one record of an association.
type end struct {
	t  *objectType
	id uint64
}

// edge is a pair of records in one direction.
type edge struct{ from, to end }

// unlabelledType is the default type between two objects. Custom objects get ones of their own.
func unlabelledType(from, to *objectType) kind {
	if id, ok := unlabelled[[2]string{from.id, to.id}]; ok {
		return kind{"HUBSPOT_DEFINED", id}
	}
	id := 10_000
	for _, t := range []*objectType{from, to} {
		n, _ := strconv.Atoi(strings.TrimPrefix(strings.TrimPrefix(t.id, "2-"), "0-"))
		id = id*7 + n%customs
	}
	return kind{"USER_DEFINED", id}
}

// opposite is a type as it is called from the other end. Labels that come in pairs are not simulated, but for the
// primary ones.
func opposite(k kind, from, to *objectType) kind {
	if other, ok := primary[k.Type]; ok && k.Category == "HUBSPOT_DEFINED" {
		return kind{k.Category, other}
	}
	if k == unlabelledType(from, to) {
		return unlabelledType(to, from)
	}
	return k
}

// associate links two records, both ways; app.mu is held. A label brings the unlabelled type with it ([associations]).
func (a *app) associate(from, to end, kinds []kind) {
	if len(kinds) == 0 || !slices.Contains(kinds, unlabelledType(from.t, to.t)) {
		kinds = append(slices.Clone(kinds), unlabelledType(from.t, to.t))
	}
	for _, k := range kinds {
		if _, one := primary[k.Type]; one && k.Category == "HUBSPOT_DEFINED" && (k.Type == 1 || k.Type == 5) {
			for other := range a.edges[from] {
				if other.t == to.t && other != to {
					a.unlabel(edge{from, other}, k)
				}
			}
		}
		a.label(edge{from, to}, k)
		a.label(edge{to, from}, opposite(k, from.t, to.t))
	}
}

func (a *app) label(e edge, k kind) {
	if a.edges[e.from] == nil {
		a.edges[e.from] = map[end][]kind{}
	}
	if kinds := a.edges[e.from]; !slices.Contains(kinds[e.to], k) {
		kinds[e.to] = append(kinds[e.to], k)
	}
}

func (a *app) unlabel(e edge, k kind) {
	drop := func(e edge, k kind) {
		left := slices.DeleteFunc(slices.Clone(a.edges[e.from][e.to]), func(have kind) bool { return have == k })
		if len(left) == 0 {
			delete(a.edges[e.from], e.to)
		} else {
			a.edges[e.from][e.to] = left
		}
	}
	drop(e, k)
	drop(edge{e.to, e.from}, opposite(k, e.from.t, e.to.t))
}

// dissociate takes all of a pair's associations away.
func (a *app) dissociate(from, to end) {
	delete(a.edges[from], to)
	delete(a.edges[to], from)
}

// inherit gives a merged record's associations to the record it was merged into; with an empty into they go (assumed).
func (a *app) inherit(from, into end) {
	for to, kinds := range a.edges[from] {
		if into.t != nil && to != into {
			a.associate(into, to, kinds)
		}
		a.dissociate(from, to)
	}
	delete(a.edges, from)
}

// pair is an input of an association batch. To is one record or, in batch/archive, several.
type pair struct {
	From struct {
		ID string `json:"id"`
	} `json:"from"`
	To    json.RawMessage `json:"to"`
	Types []kind          `json:"types"`
}

func (p *pair) targets() ([]string, error) {
	type named struct {
		ID string `json:"id"`
	}
	var one named
	if len(p.To) > 0 && p.To[0] == '[' {
		var several []named
		err := json.Unmarshal(p.To, &several)
		ids := make([]string, len(several))
		for i := range several {
			ids[i] = several[i].ID
		}
		return ids, err
	}
	err := json.Unmarshal(p.To, &one)
	return []string{one.ID}, err
}

// associations runs one of the batch writes.
func (a *app) associations(needsTypes bool, success int, one func(from, to end, kinds []kind) (answer map[string]any)) func(from, to *objectType, c *simulator.Call) simulator.Reply {
	return func(from, to *objectType, c *simulator.Call) simulator.Reply {
		var body struct {
			Inputs []pair `json:"inputs"`
		}
		if err := json.Unmarshal(c.Body, &body); err != nil {
			return badRequest("Invalid input JSON on line 1, column 1: %v", err).reply()
		}
		if n := len(body.Inputs); n == 0 || n > maxAssociations {
			return badRequest("The batch has %d inputs, 1 to %d are allowed", n, maxAssociations).reply()
		}
		for _, in := range body.Inputs {
			if needsTypes && len(in.Types) == 0 {
				return badRequest("Invalid input JSON on line 1, column 1: Some required fields were not set: [types]").reply()
			}
			for _, k := range in.Types {
				if k.Category != "HUBSPOT_DEFINED" && k.Category != "USER_DEFINED" && k.Category != "INTEGRATOR_DEFINED" {
					return badRequest("Invalid input JSON on line 1, column 1: Cannot deserialize value of type `AssociationCategory` from %q", k.Category).reply()
				}
			}
		}
		results, problems := []any{}, []any{}
		a.mu.Lock()
		for i := range body.Inputs {
			in := &body.Inputs[i]
			targets, err := in.targets()
			if err != nil {
				a.mu.Unlock()
				return badRequest("Invalid input JSON on line 1, column 1: %v", err).reply()
			}
			source := from.findBy("", in.From.ID)
			for _, id := range targets {
				target := to.findBy("", id)
				if source == nil || target == nil {
					problems = append(problems, map[string]any{
						"status": "error", "category": "OBJECT_NOT_FOUND", "message": "One or both of the records do not exist",
						"context": map[string][]string{"fromObjectId": {in.From.ID}, "toObjectId": {id}},
					})
					continue
				}
				if answer := one(end{from, source.id}, end{to, target.id}, in.Types); answer != nil {
					results = append(results, answer)
				}
			}
		}
		a.mu.Unlock()
		if success == http.StatusNoContent && len(problems) == 0 {
			return simulator.Reply{Status: success, Records: len(body.Inputs)}
		}
		return a.associationReply(success, c, len(body.Inputs), results, problems)
	}
}

func (a *app) associationReply(success int, c *simulator.Call, records int, results, problems []any) simulator.Reply {
	answer := map[string]any{"status": "COMPLETE", "results": results, "startedAt": c.At.UTC(), "completedAt": a.env.Now().UTC()}
	if len(problems) > 0 {
		success = http.StatusMultiStatus
		answer["numErrors"], answer["errors"] = len(problems), problems
	}
	reply := jsonReply(success, answer)
	reply.Records = records
	return reply
}

// readAssociations answers what is linked to each record; records with nothing are told as errors (assumed).
func (a *app) readAssociations(from, to *objectType, c *simulator.Call) simulator.Reply {
	b := struct {
		Inputs []struct {
			ID string `json:"id"`
		} `json:"inputs"`
	}{}
	if err := json.Unmarshal(c.Body, &b); err != nil {
		return badRequest("Invalid input JSON on line 1, column 1: %v", err).reply()
	}
	if n := len(b.Inputs); n == 0 || n > maxAssociationReads {
		return badRequest("The batch has %d inputs, 1 to %d are allowed", n, maxAssociationReads).reply()
	}
	type label struct {
		Category string  `json:"category"`
		Type     int     `json:"typeId"`
		Label    *string `json:"label"`
	}
	type target struct {
		ID    uint64  `json:"toObjectId"`
		Types []label `json:"associationTypes"`
	}
	results, problems := []any{}, []any{}
	a.mu.Lock()
	for _, in := range b.Inputs {
		r := from.findBy("", in.ID)
		targets := []target{}
		var linked map[end][]kind
		if r != nil {
			linked = a.edges[end{from, r.id}]
		}
		for e, kinds := range linked {
			if e.t != to || !to.byID[e.id].live() {
				continue
			}
			out := target{ID: e.id}
			for _, k := range kinds {
				out.Types = append(out.Types, label{k.Category, k.Type, nil})
			}
			targets = append(targets, out)
		}
		if len(targets) == 0 {
			problems = append(problems, map[string]any{
				"status": "error", "category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
				"message": "No " + to.singular + " is associated with " + from.singular + " " + in.ID, "context": map[string][]string{"fromObjectId": {in.ID}},
			})
			continue
		}
		slices.SortFunc(targets, func(x, y target) int { return int(x.ID) - int(y.ID) })
		results = append(results, map[string]any{"from": map[string]string{"id": in.ID}, "to": targets})
	}
	a.mu.Unlock()
	return a.associationReply(http.StatusOK, c, len(b.Inputs), results, problems)
}

// associationRoutes are those of v4 and of the dated version, which differ in the answer to an archive.
func (a *app) associationRoutes() []simulator.Route {
	var routes []simulator.Route
	for _, base := range []string{"/crm/v4/associations", "/crm/associations/2026-09", "/crm/associations/2026-03"} {
		archived := http.StatusOK
		if base == "/crm/v4/associations" {
			archived = http.StatusNoContent
		}
		add := func(path string, writes bool, serve func(from, to *objectType, c *simulator.Call) simulator.Reply) {
			routes = append(routes, simulator.Route{
				Pattern: "POST " + base + "/{from}/{to}" + path, Writes: writes, Limits: []string{TenSecondly, Daily},
				Serve: func(c *simulator.Call) simulator.Reply {
					from, to := a.objectType(c.Request.PathValue("from")), a.objectType(c.Request.PathValue("to"))
					if from == nil || to == nil {
						return badRequest("Unable to infer object type from: %s, %s", c.Request.PathValue("from"), c.Request.PathValue("to")).reply()
					}
					if e := contentType(c); e != nil {
						return e.reply()
					}
					return serve(from, to, c)
				},
			})
		}
		add("/batch/create", true, a.associations(true, http.StatusCreated, func(from, to end, kinds []kind) map[string]any {
			a.associate(from, to, kinds)
			return map[string]any{
				"fromObjectTypeId": from.t.id, "fromObjectId": from.id, "toObjectTypeId": to.t.id, "toObjectId": to.id, "labels": []string{},
			}
		}))
		add("/batch/associate/default", true, a.associations(false, http.StatusOK, func(from, to end, _ []kind) map[string]any {
			a.associate(from, to, nil)
			return map[string]any{
				"from": map[string]string{"id": strconv.FormatUint(from.id, 10)}, "to": map[string]string{"id": strconv.FormatUint(to.id, 10)},
				"associationSpec": unlabelledType(from.t, to.t),
			}
		}))
		add("/batch/archive", true, a.associations(false, archived, func(from, to end, _ []kind) map[string]any {
			a.dissociate(from, to)
			return nil
		}))
		add("/batch/labels/archive", true, a.associations(true, archived, func(from, to end, kinds []kind) map[string]any {
			if slices.Contains(kinds, unlabelledType(from.t, to.t)) { // takes the labels with it ([associations], associate-records/batch/delete-association-labels)
				a.dissociate(from, to)
				return nil
			}
			for _, k := range kinds {
				a.unlabel(edge{from, to}, k)
			}
			return nil
		}))
		add("/batch/read", false, a.readAssociations)
	}
	return routes
}

// eachAssociation shows associations as records: from, to and the types.
func (a *app) eachAssociation(emit func(simulator.Record) bool) {
	a.mu.Lock()
	var list []simulator.Record
	for source, targets := range a.edges {
		for target, kinds := range targets {
			types := make([]string, len(kinds))
			for i, k := range kinds {
				types[i] = strconv.Itoa(k.Type)
			}
			slices.Sort(types)
			from, to := fmt.Sprintf("%s/%d", source.t.name, source.id), fmt.Sprintf("%s/%d", target.t.name, target.id)
			list = append(list, simulator.Record{ID: from + " " + to, Fields: []simulator.Field{
				{Name: "from", Value: from}, {Name: "to", Value: to}, {Name: "types", Value: strings.Join(types, ";")},
			}})
		}
	}
	a.mu.Unlock()
	slices.SortFunc(list, func(x, y simulator.Record) int { return cmpString(x.ID, y.ID) })
	for _, r := range list {
		if !emit(r) {
			return
		}
	}
}
