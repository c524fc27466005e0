package hubspot

import (
	"encoding/json"
	"net/http"
	"sort"
	"strconv"
	"strings"

	"github.com/penstock-cdc/penstock/simulator"
)

// one reads the body of a write of a single record.
func (a *app) one(t *objectType, body []byte) (input, *apiError) {
	s := scanner{body: body}
	if !json.Valid(body) {
		return input{}, s.malformed(body)
	}
	var in input
	if err := a.input(&s, t.defs.Load(), &in); err != nil {
		return in, badRequest("Invalid input JSON on line 1, column %d: %v", s.at+1, err)
	}
	if in.fields == nil && in.problems == nil {
		return in, badRequest("Invalid input JSON on line 1, column 1: Some required fields were not set: [properties]")
	}
	if len(in.problems) > 0 {
		return in, invalid(in.problems)
	}
	return in, nil
}

func (a *app) createOne(t *objectType, c *simulator.Call) simulator.Reply {
	in, e := a.one(t, c.Body)
	var s snapshot
	if e == nil {
		a.mu.Lock()
		w := a.begin(t)
		var r *record
		if r, e = w.create(in.fields); e == nil {
			w.commit()
			s = r.snapshot()
		}
		a.mu.Unlock()
	}
	if e != nil {
		return refusedOne(e, in.key())
	}
	reply := a.object(t, s, http.StatusCreated, namesOf(in))
	reply.Records, reply.Created = 1, 1
	return reply
}

// updateOne takes an id, or with idProperty a unique value or a contact's e-mail
// ([contacts]; only the batch update refuses e-mails).
func (a *app) updateOne(t *objectType, c *simulator.Call) simulator.Reply {
	id := c.Request.PathValue("id")
	in, e := a.one(t, c.Body)
	var s snapshot
	if e == nil {
		a.mu.Lock()
		var r *record
		if r, e = a.named(t, c, false); e == nil {
			w := a.begin(t)
			if e = w.update(r, in.fields, false); e == nil {
				w.commit()
				s = r.snapshot()
			}
		}
		a.mu.Unlock()
	}
	if e != nil {
		return refusedOne(e, id)
	}
	reply := a.object(t, s, http.StatusOK, namesOf(in))
	reply.Records = 1
	return reply
}

func (a *app) readOne(t *objectType, c *simulator.Call) simulator.Reply {
	archived := c.Request.URL.Query().Get("archived") == "true"
	a.mu.Lock()
	r, e := a.named(t, c, archived)
	var s snapshot
	if e == nil {
		s = r.snapshot()
	}
	a.mu.Unlock()
	if e != nil {
		reply := e.reply()
		reply.Records = 1
		return reply
	}
	reply := a.object(t, s, http.StatusOK, asked(c))
	reply.Records = 1
	return reply
}

func (a *app) archiveOne(t *objectType, c *simulator.Call) simulator.Reply {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := t.find(c.Request.PathValue("id"))
	if r != nil && r.live() {
		w := a.begin(t)
		w.archive(r)
		w.commit()
	}
	return simulator.Reply{Status: http.StatusNoContent, Records: 1}
}

// named finds the record of a call's path; app.mu is held.
func (a *app) named(t *objectType, c *simulator.Call, archived bool) (*record, *apiError) {
	property, id := c.Request.URL.Query().Get("idProperty"), c.Request.PathValue("id")
	if property != "" && property != "hs_object_id" && property != t.identifier {
		if d := t.defs.Load().byName[property]; d == nil || !d.HasUniqueValue {
			return nil, notUnique(a, t, property)
		}
	}
	if r := a.lookup(t, property, id, archived); r != nil {
		return r, nil
	}
	return nil, &apiError{status: http.StatusNotFound, category: "OBJECT_NOT_FOUND", message: "Object not found.  objectId are usually numeric."}
}

func refusedOne(e *apiError, key string) simulator.Reply {
	reply := e.reply()
	reply.Records = 1
	reply.Refused = []simulator.Refusal{{Key: key, Reason: e.reason()}}
	return reply
}

func (a *app) object(t *objectType, s snapshot, status int, names []string) simulator.Reply {
	body := append(s.appendJSON(nil, t, t.names(names)), '}')
	return simulator.Reply{Status: status, Body: body}
}

func namesOf(in input) []string {
	names := make([]string, len(in.fields))
	for i, f := range in.fields {
		names[i] = f.Name
	}
	return names
}

// asked are the properties of a query: properties=a,b or properties=a&properties=b.
func asked(c *simulator.Call) []string {
	var names []string
	for _, list := range c.Request.URL.Query()["properties"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// list pages through all records by id, at most 100 at a time ([contacts]).
func (a *app) list(t *objectType, c *simulator.Call) simulator.Reply {
	query := c.Request.URL.Query()
	limit, after := 10, uint64(0)
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			return badRequest("limit %q is not a number from 1 to 100", text).reply()
		}
		limit = n
	}
	if text := query.Get("after"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return badRequest("after %q is not a paging cursor", text).reply()
		}
		after = n
	}
	archived := query.Get("archived") == "true"

	a.mu.Lock()
	var page []snapshot
	more := false
	first := sort.Search(len(t.ordered), func(i int) bool { return t.ordered[i].id >= after })
	for _, r := range t.ordered[first:] {
		if r.into != nil || r.erased || r.now.archived != archived {
			continue
		}
		if len(page) == limit {
			more, after = true, r.id
			break
		}
		page = append(page, r.snapshot())
	}
	a.mu.Unlock()

	names := t.names(asked(c))
	body := []byte(`{"results":[`)
	for i, s := range page {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(s.appendJSON(body, t, names), '}')
	}
	body = append(body, ']')
	if more {
		body = append(body, `,"paging":{"next":{"after":"`...)
		body = strconv.AppendUint(body, after, 10)
		body = append(body, `"}}`...)
	}
	return simulator.Reply{Status: http.StatusOK, Body: append(body, '}'), Records: len(page)}
}

// gdprDelete erases a contact for good. An address that no contact has is blocked from
// being used again (assumed).
func (a *app) gdprDelete(t *objectType, c *simulator.Call) simulator.Reply {
	var body struct {
		ObjectID   string `json:"objectId"`
		IDProperty string `json:"idProperty"`
	}
	if err := json.Unmarshal(c.Body, &body); err != nil || body.ObjectID == "" {
		return badRequest("Invalid input JSON on line 1, column 1: Some required fields were not set: [objectId]").reply()
	}
	if t.identifier != "email" || body.IDProperty != "" && body.IDProperty != "email" {
		return badRequest("GDPR delete is for contacts, by id or by email").reply()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var r *record
	if body.IDProperty == "email" {
		email := strings.ToLower(strings.TrimSpace(body.ObjectID))
		if r = t.index["email"][email]; r == nil {
			t.blocked[email] = true
		}
	} else {
		r = t.find(body.ObjectID) // in the recycle bin too
	}
	if r != nil {
		w := a.begin(t)
		w.erase(r)
		w.commit()
	}
	return simulator.Reply{Status: http.StatusNoContent, Records: 1}
}

// merge joins two records of a type.
func (a *app) merge(t *objectType, c *simulator.Call) simulator.Reply {
	var body struct {
		Primary string `json:"primaryObjectId"`
		Other   string `json:"objectIdToMerge"`
	}
	if err := json.Unmarshal(c.Body, &body); err != nil {
		return badRequest("Invalid input JSON on line 1, column 1: %v", err).reply()
	}
	a.mu.Lock()
	winner, loser := t.findBy("", body.Primary), t.findBy("", body.Other)
	if winner == nil || loser == nil || winner == loser {
		a.mu.Unlock()
		return badRequest("Unable to merge %q into %q: two records are needed", body.Other, body.Primary).reply()
	}
	w := a.begin(t)
	w.merge(winner, loser)
	w.commit()
	s := winner.snapshot()
	a.mu.Unlock()
	reply := a.object(t, s, http.StatusOK, nil)
	reply.Records = 2
	return reply
}
