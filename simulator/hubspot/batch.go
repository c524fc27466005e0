package hubspot

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// result is one record that a batch write took.
type result struct {
	snapshot
	in      *input
	created bool
}

// outcome of a batch write.
type outcome struct {
	results []result
	failed  []failure
}

// batchKind is how the batch writes differ.
type batchKind struct {
	success  int  // status when nothing failed
	whole    bool // one failure is the whole batch's, even with trace ids
	tellsNew bool // each result says whether the record is new
}

type failure struct {
	in *input
	e  *apiError
}

func (a *app) batchCreate(t *objectType, c *simulator.Call) simulator.Reply {
	list, e := a.inputs(t, c.Body)
	if e != nil {
		return refused(e, list)
	}
	for i := range list {
		list[i].id, list[i].idProperty = "", "" // a create names no record
	}
	return a.writeBatch(t, c.At, list, batchKind{success: http.StatusCreated}, func(w *write, in *input) (*record, bool, *apiError) {
		r, e := w.create(in.fields)
		return r, true, e
	})
}

func (a *app) batchUpdate(t *objectType, c *simulator.Call) simulator.Reply {
	list, e := a.inputs(t, c.Body)
	if e == nil {
		e = a.identify(t, list, "", false)
	}
	if e != nil {
		return refused(e, list)
	}
	return a.writeBatch(t, c.At, list, batchKind{success: http.StatusOK}, func(w *write, in *input) (*record, bool, *apiError) {
		if in.target == nil {
			return nil, false, notFound(t, in.id)
		}
		return in.target, false, w.update(in.target, in.fields, false)
	})
}

func (a *app) batchUpsert(t *objectType, c *simulator.Call) simulator.Reply {
	list, e := a.inputs(t, c.Body)
	if e == nil {
		e = a.identify(t, list, c.Request.URL.Query().Get("idProperty"), true)
	}
	if e != nil {
		return refused(e, list)
	}
	whole := a.wholeEmailUpserts && slices.ContainsFunc(list, func(in input) bool { return in.idProperty == "email" })
	return a.writeBatch(t, c.At, list, batchKind{success: http.StatusOK, whole: whole, tellsNew: true}, func(w *write, in *input) (*record, bool, *apiError) {
		if in.target != nil {
			return in.target, false, w.update(in.target, in.fields, false)
		}
		if in.idProperty == "" {
			return nil, false, notFound(t, in.id)
		}
		fields := in.fields
		if value(fields, in.idProperty) == "" {
			with := input{fields: append(slices.Clip(fields), simulator.Field{Name: in.idProperty, Value: in.id})}
			with.sort()
			fields = with.fields
		}
		r, e := w.create(fields)
		return r, true, e
	})
}

// identify checks how the inputs of an update or upsert name their records and puts
// ids in canonical form. Ids that repeat are refused, as are two inputs that come to
// the same record (segmentio/action-destinations pull 3969); writeBatch sees to the
// latter, which needs the records.
func (a *app) identify(t *objectType, list []input, idProperty string, upsert bool) *apiError {
	defs := t.defs.Load()
	type name struct{ property, value string }
	seen := make(map[name]struct{}, len(list))
	for i := range list {
		in := &list[i]
		if in.id == "" {
			return badRequest("Invalid input JSON on line 1, column 1: Some required fields were not set: [id]")
		}
		if in.fields == nil && in.problems == nil {
			return badRequest("Invalid input JSON on line 1, column 1: Some required fields were not set: [properties]")
		}
		if in.idProperty == "" {
			in.idProperty = idProperty
		}
		if in.idProperty != "" {
			d := defs.byName[in.idProperty]
			// Update by email is refused though upsert by email works ([node-548], [node-514]).
			byEmail := upsert && in.idProperty == t.identifier
			if d == nil || !d.HasUniqueValue && !byEmail {
				return notUnique(a, t, in.idProperty)
			}
			id, bad := a.canonical(d, in.id)
			if bad != nil {
				in.problems = append(in.problems, *bad)
			} else {
				in.id = id
			}
		}
		n := name{in.idProperty, in.id}
		if _, repeated := seen[n]; repeated {
			return badRequest("Duplicate IDs found in batch input: [%s]. IDs must be unique", in.id)
		}
		seen[n] = struct{}{}
	}
	return nil
}

// writeBatch does a write for each input in turn. Only if every input has an
// objectWriteTraceId of its own do failures stand alone ([errors], multi-status);
// otherwise the first fails the whole batch and nothing is done ([python-51]). Ids
// that do not exist are told in a 207 either way ([php-619]).
func (a *app) writeBatch(t *objectType, started time.Time, list []input, kind batchKind, one func(*write, *input) (*record, bool, *apiError)) simulator.Reply {
	multi := !kind.whole && traced(list)
	var o outcome
	o.results = make([]result, 0, len(list))

	a.mu.Lock()
	w := a.begin(t)
	if e := resolve(t, list); e != nil {
		a.mu.Unlock()
		return refused(e, list)
	}
	w.done = make([]step, 0, len(list))
	w.changes = make([]simulator.Change, 0, len(list))
	for i := range list {
		in := &list[i]
		var e *apiError
		var r *record
		var created bool
		if len(in.problems) > 0 {
			e = invalid(in.problems)
		} else {
			r, created, e = one(w, in)
		}
		if e == nil {
			o.results = append(o.results, result{r.snapshot(), in, created})
			continue
		}
		o.failed = append(o.failed, failure{in, e})
		if !multi && e.category != "OBJECT_NOT_FOUND" {
			w.rollback()
			a.mu.Unlock()
			reply := e.reply()
			reply.Records = len(list)
			reply.Refused = []simulator.Refusal{{Key: in.key(), Reason: e.reason()}}
			return reply
		}
	}
	w.commit()
	if a.shuffle != nil {
		a.shuffle.Shuffle(len(o.results), func(i, j int) { o.results[i], o.results[j] = o.results[j], o.results[i] })
	}
	a.mu.Unlock()
	return a.batchReply(t, started, list, o, kind)
}

// resolve finds the records that inputs name.
func resolve(t *objectType, list []input) *apiError {
	seen := make(map[*record]struct{}, len(list))
	for i := range list {
		in := &list[i]
		if in.id == "" {
			continue
		}
		if in.target = t.findBy(in.idProperty, in.id); in.target == nil {
			continue
		}
		if _, repeated := seen[in.target]; repeated {
			return badRequest("Duplicate IDs found in batch input: [%s]. IDs must be unique", in.id)
		}
		seen[in.target] = struct{}{}
	}
	return nil
}

func traced(list []input) bool {
	seen := make(map[string]struct{}, len(list))
	for i := range list {
		if list[i].trace == "" {
			return false
		}
		seen[list[i].trace] = struct{}{}
	}
	return len(seen) == len(list)
}

func refused(e *apiError, list []input) simulator.Reply {
	reply := e.reply()
	reply.Records = len(list)
	for i := range list {
		reply.Refused = append(reply.Refused, simulator.Refusal{Key: list[i].key(), Reason: e.reason()})
	}
	return reply
}

func (a *app) batchReply(t *objectType, started time.Time, list []input, o outcome, kind batchKind) simulator.Reply {
	reply := simulator.Reply{Status: kind.success, Records: len(list)}
	body := make([]byte, 0, 128+512*len(o.results))
	body = append(body, `{"status":"COMPLETE","results":[`...)
	var names []string
	for i := range o.results {
		r := &o.results[i]
		if i > 0 {
			body = append(body, ',')
		}
		names = append(names[:0], t.system...)
		for _, f := range r.in.fields {
			names = append(names, f.Name)
		}
		if r.in.idProperty != "" {
			names = append(names, r.in.idProperty)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		body = r.appendJSON(body, t, names)
		if kind.tellsNew {
			body = append(body, `,"new":`...)
			body = strconv.AppendBool(body, r.created)
		}
		if r.in.trace != "" {
			body = append(body, `,"objectWriteTraceId":`...)
			body = simulator.AppendString(body, r.in.trace)
		}
		body = append(body, '}')
		if r.created {
			reply.Created++
		}
	}
	body = append(body, ']')
	if len(o.failed) > 0 {
		reply.Status = http.StatusMultiStatus
		body = appendErrors(body, o.failed)
		for _, f := range o.failed {
			reply.Refused = append(reply.Refused, simulator.Refusal{Key: f.in.key(), Reason: f.e.reason()})
		}
	}
	reply.Body = a.appendTimes(body, started)
	return reply
}

// appendErrors appends numErrors and errors: one entry for all ids not found, and one
// for each other failure, with the trace ids of its inputs in its context.
func appendErrors(body []byte, failed []failure) []byte {
	var missing []failure
	var rest []failure
	for _, f := range failed {
		if f.e.category == "OBJECT_NOT_FOUND" {
			missing = append(missing, f)
		} else {
			rest = append(rest, f)
		}
	}
	count := len(rest)
	if len(missing) > 0 {
		count++
	}
	body = append(body, `,"numErrors":`...)
	body = strconv.AppendInt(body, int64(count), 10)
	body = append(body, `,"errors":[`...)
	for i, f := range rest {
		if i > 0 {
			body = append(body, ',')
		}
		body = f.e.appendBody(body)
		body = append(body, `,"context":{"objectWriteTraceId":`...)
		body = appendStrings(body, []string{f.in.trace})
		body = append(body, `}}`...)
	}
	if len(missing) > 0 {
		if len(rest) > 0 {
			body = append(body, ',')
		}
		var ids, traces []string
		for _, f := range missing {
			ids = append(ids, f.e.ids...)
			if f.in.trace != "" {
				traces = append(traces, f.in.trace)
			}
		}
		body = missing[0].e.appendBody(body)
		body = append(body, `,"context":{"ids":`...)
		body = appendStrings(body, ids)
		if len(traces) > 0 {
			body = append(body, `,"objectWriteTraceId":`...)
			body = appendStrings(body, traces)
		}
		body = append(body, `}}`...)
	}
	return append(body, ']')
}

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = simulator.AppendString(dst, s)
	}
	return append(dst, ']')
}

func (a *app) appendTimes(body []byte, started time.Time) []byte {
	body = append(body, `,"startedAt":`...)
	body = simulator.AppendTime(body, started)
	body = append(body, `,"completedAt":`...)
	body = simulator.AppendTime(body, a.env.Now())
	return append(body, '}')
}

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
