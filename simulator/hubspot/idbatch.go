package hubspot

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/penstock-cdc/penstock/simulator"
)

// idBatch is the body of batch/read and batch/archive.
type idBatch struct {
	Inputs []struct {
		ID string `json:"id"`
	} `json:"inputs"`
	IDProperty string   `json:"idProperty"`
	Properties []string `json:"properties"`
}

func readIDs(body []byte) (idBatch, *apiError) {
	var b idBatch
	if err := json.Unmarshal(body, &b); err != nil {
		return b, badRequest("Invalid input JSON on line 1, column 1: %v", err)
	}
	if len(b.Inputs) == 0 {
		return b, badRequest("The batch has no inputs")
	}
	if len(b.Inputs) > maxInputs {
		return b, badRequest("The batch has %d inputs, the maximum is %d", len(b.Inputs), maxInputs)
	}
	return b, nil
}

// batchArchive takes object ids only; ids that do not exist are passed over in
// silence, and the answer is 204 with nothing in it.
func (a *app) batchArchive(t *objectType, c *simulator.Call) simulator.Reply {
	b, e := readIDs(c.Body)
	if e == nil && b.IDProperty != "" {
		e = badRequest("Batch archive takes object IDs only, not idProperty %s", b.IDProperty)
	}
	for _, in := range b.Inputs {
		if _, err := strconv.ParseUint(in.ID, 10, 64); e == nil && err != nil {
			e = badRequest("Invalid object id %q: batch archive takes object IDs only", in.ID)
		}
	}
	if e != nil {
		reply := e.reply()
		reply.Records = len(b.Inputs)
		return reply
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.begin(t)
	for _, in := range b.Inputs {
		if r := t.find(in.ID); r != nil && r.live() {
			w.archive(r)
		}
	}
	w.commit()
	return simulator.Reply{Status: http.StatusNoContent, Records: len(b.Inputs)}
}

// batchRead reads by id, or by a unique property or a contact's e-mail; what is not
// found is one entry of errors in a 207 ([php-619]).
func (a *app) batchRead(t *objectType, c *simulator.Call) simulator.Reply {
	b, e := readIDs(c.Body)
	if e == nil && b.IDProperty != "" && b.IDProperty != "hs_object_id" {
		if d := t.defs.Load().byName[b.IDProperty]; d == nil || !d.HasUniqueValue && b.IDProperty != t.identifier {
			e = notUnique(a, t, b.IDProperty)
		}
	}
	if e != nil {
		reply := e.reply()
		reply.Records = len(b.Inputs)
		return reply
	}
	archived := c.Request.URL.Query().Get("archived") == "true"
	found := make([]snapshot, 0, len(b.Inputs))
	var missing []string
	seen := make(map[uint64]bool, len(b.Inputs))
	a.mu.Lock()
	for _, in := range b.Inputs {
		r := a.lookup(t, b.IDProperty, in.ID, archived)
		if r == nil {
			missing = append(missing, in.ID)
		} else if !seen[r.id] {
			seen[r.id] = true
			found = append(found, r.snapshot())
		}
	}
	if a.shuffle != nil {
		a.shuffle.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	}
	a.mu.Unlock()

	reply := simulator.Reply{Status: http.StatusOK, Records: len(b.Inputs)}
	body := append(make([]byte, 0, 128+512*len(found)), `{"status":"COMPLETE","results":[`...)
	names := t.names(b.Properties)
	for i, s := range found {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(s.appendJSON(body, t, names), '}')
	}
	body = append(body, ']')
	if len(missing) > 0 {
		reply.Status = http.StatusMultiStatus
		body = appendErrors(body, []failure{{&input{}, notFound(t, missing...)}})
	}
	reply.Body = a.appendTimes(body, c.At)
	return reply
}

// lookup finds a record that is, or is not, in the recycle bin; app.mu is held.
func (a *app) lookup(t *objectType, property, id string, archived bool) *record {
	if property != "" && property != "hs_object_id" {
		if archived {
			return nil // the bin is read by id
		}
		if d := t.defs.Load().byName[property]; d != nil {
			id, _ = a.canonical(d, id)
		}
		return t.index[property][id]
	}
	if r := t.find(id); r != nil && r.now.archived == archived {
		return r
	}
	return nil
}
